"""`sightline models gate`: verdicts on stored models, kept beside them, and promotions that follow."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from jobs import cli
from jobs.datasets import load_matches
from jobs.errors import Exit
from jobs.gate import judge
from models._registry import config_to_json
from models.store import SHIPPED, ModelStore, promote
from models.tsstn import TSSTN, TSSTNConfig
from tests.stored_models import own_store

Run = Callable[..., tuple[int, str, str]]

WINDOW = "simulator:lol?matches=120&seed=77"
LENIENT = ("--min-matches", "100", "--max-ece", "0.2", "--max-slowdown", "1000")
NONE_OF_THEM = np.array([1, 2], np.uint64)


def save(
    store: ModelStore, *, name: str = "m", temperature: float = 1.0, marks: np.ndarray | None = NONE_OF_THEM
) -> int:
    """A version of the shipped weights, whose log-odds are multiplied by so much; 1 is the best."""
    model = ModelStore(SHIPPED).load("tsstn-lol").build_as(TSSTN)
    model.temperature *= temperature
    words = {"title": "lol", "trained_on": "", "data_fingerprint": "", "code_version": ""}
    return store.save(name, model, config_to_json(model.config), metrics={}, training_matches=marks, **words).version


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModelStore:
    """m@1 is wrong and live; m@2 is as it was trained."""
    store = own_store(tmp_path, monkeypatch)
    monkeypatch.setattr(judge, "_ROUNDS", {1: 3, 512: 3})
    save(store, temperature=-0.5)
    save(store)
    store.set_alias("m", "live", 1)
    return store


@pytest.fixture
def run(store: ModelStore, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs `sightline models gate …`: (exit code, stdout, stderr)."""

    def gate(*arguments: str, data: str = WINDOW) -> tuple[int, str, str]:
        code = cli.main(["models", "gate", *arguments, "--data", data])
        told = capsys.readouterr()
        return code, told.out, told.err

    return gate


def test_a_better_model_passes_and_may_then_be_promoted(run: Run, store: ModelStore) -> None:
    code, out, err = run("m@2", *LENIENT)
    assert code == Exit.OK, out + err
    assert "m@2 passes against m@1" in out and "FAILED" not in out and "120 matches" in out
    assert store.resolve("m") == ("m", 1)
    verdict = store.verdict("m", 2)
    assert verdict is not None and verdict.passed and verdict.against == "m@1" and len(verdict.reasons) == 11
    move = promote(store, "m@2")
    assert move is not None and not move.forced


def test_promotion_follows_a_pass_and_only_a_pass(run: Run, store: ModelStore, tmp_path: Path) -> None:
    code, out, _ = run("m@2", "--promote", "--json", "--report", "page", *LENIENT)
    told = json.loads(out)
    assert code == Exit.OK and told["verdict"]["passed"]
    assert (told["moved"]["alias"], told["moved"]["before"], told["moved"]["version"]) == ("live", 1, 2)
    assert store.resolve("m") == ("m", 2) and store.history("m")[-1].why == "gate passed"
    value, _, high = told["differences"]["candidate"]["log_loss"]
    assert value < high < 0 and told["predictors"] == {"candidate": "candidate, m@2", "live": "live, m@1"}
    page = (tmp_path / "page" / "index.html").read_text()
    assert "m@2 may take over from m@1" in page and page.count("<svg") == 4 and "log-loss minus that of" in page
    kept = json.loads((tmp_path / "page" / "report.json").read_text())
    assert {**kept, "moved": told["moved"]} == told

    code, out, err = run("m@1", "--promote", *LENIENT)
    assert err.splitlines()[-1].startswith("m@1: the gate refused it (log-loss"), "schedules keep the last line"
    assert code == Exit.REFUSED and "m@1 does not pass against m@2" in out and "FAILED" in out
    assert store.resolve("m") == ("m", 2)


def test_few_matches_are_no_evidence(run: Run, store: ModelStore, tmp_path: Path) -> None:
    code, out, _ = run("m@2", "--promote", "--report", "page")
    assert code == Exit.REFUSED and "80 more are needed, nothing else was judged" in out
    verdict = store.verdict("m", 2)
    assert store.resolve("m") == ("m", 1) and verdict is not None and len(verdict.reasons) == 2
    assert "may not take over" in (tmp_path / "page" / "index.html").read_text()


def test_what_it_has_learned_from_is_no_evidence(run: Run, store: ModelStore) -> None:
    window = load_matches(WINDOW)
    save(store, marks=window.marks[:7])
    save(store, marks=None)
    code, out, _ = run("m@3", *LENIENT)
    verdict = store.verdict("m", 3)
    assert code == Exit.REFUSED and verdict is not None and verdict.reasons[1].figure == 7
    code, out, _ = run("m@4", *LENIENT)
    assert code == Exit.REFUSED and "does not say which it learned from" in out


def test_that_the_live_model_knows_the_window_is_told(run: Run, store: ModelStore) -> None:
    version = save(store, temperature=-0.5, marks=load_matches(WINDOW).marks)
    store.set_alias("m", "live", version)
    code, out, _ = run("m@2", *LENIENT)
    assert code == Exit.OK and "the live model has learned from 120 of them" in out


def test_the_first_of_a_name_is_compared_with_the_base_rate(run: Run, store: ModelStore) -> None:
    save(store, name="new")
    store.set_alias("new", "candidate", 1)
    code, out, err = run("new@candidate", "--promote", *LENIENT)
    assert code == Exit.OK and "new@1 passes against the base rate" in out and "new@live now means version 1" in err
    verdict = store.verdict("new", 1)
    assert verdict is not None and verdict.against == "" and not store.history("new")[-1].forced


def test_whoever_loses_the_race_is_told(run: Run, store: ModelStore, monkeypatch: pytest.MonkeyPatch) -> None:
    save(store, temperature=0.9)
    weigh = judge.weigh

    def slowly(*arguments: object, **named: object) -> object:
        store.set_alias("m", "live", 3)
        return weigh(*arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(judge, "weigh", slowly)
    code, _, err = run("m@2", "--promote", *LENIENT)
    assert code == Exit.FAILED and "m@live means version 3 now, and not 1 as expected; nothing was changed" in err
    assert store.resolve("m") == ("m", 3)


@pytest.mark.parametrize(
    ("code", "said", "arguments", "data"),
    [
        (Exit.BAD_INPUT, "m@1 is what it would be compared with", ("m@1",), WINDOW),
        (Exit.BAD_INPUT, "no matches of title lol; it holds dota2", ("m@2",), "simulator:dota2?matches=3"),
        (Exit.BAD_INPUT, "m@2 is for lol, but tsstn-hok@", ("m@2", "--against", "tsstn-hok"), WINDOW),
        (Exit.BAD_INPUT, "has won all of these 1 matches", ("m@2",), "simulator:lol?matches=1"),
        (Exit.BAD_INPUT, "no matches until 1990", ("m@2", "--until", "1990"), "simulator:lol?matches=3"),
        (Exit.BAD_INPUT, "gone", ("m@2",), "gone"),
        (Exit.BAD_INPUT, "is no alias of m", ("m@2", "--against", "tsstn-lol@live", "--promote"), WINDOW),
        (Exit.BAD_INPUT, "is no alias of m", ("m@2", "--against", "m@1", "--promote"), WINDOW),
        (Exit.BAD_INPUT, "--min-matches", ("m@2", "--min-matches", "1"), WINDOW),
        (Exit.BAD_INPUT, "cannot be streamed (temporal=attention)", ("attentive@1",), WINDOW),
        (Exit.UNAVAILABLE, "no model m@9", ("m@9",), WINDOW),
        (Exit.UNAVAILABLE, "no model m@staging", ("m@2", "--against", "m@staging"), WINDOW),
    ],
)
def test_what_cannot_be_judged_is_one_line_and_a_code(
    run: Run, store: ModelStore, code: Exit, said: str, arguments: tuple[str, ...], data: str
) -> None:
    config = TSSTNConfig(groups=(("gold", ("gold",)),), temporal="attention")
    words = {"title": "lol", "trained_on": "", "data_fingerprint": "", "code_version": ""}
    store.save("attentive", config.build(), config_to_json(config), metrics={}, **words)
    got, out, err = run(*arguments, data=data)
    last = err.splitlines()[-1]
    assert (got, out) == (code, "") and last.startswith("sightline: ") and said in last
    assert store.verdict("m", 2) is None and store.resolve("m") == ("m", 1)
