"""`sightline models`: every command does what it says, tells other programs as JSON, and fails with the right code."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jobs import cli
from jobs.errors import Exit
from models.store import ModelStore, promote
from tests.stored_models import own_store, save_small, somebody_is_faster, verdict

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModelStore:
    """Versions 1 to 3 of m; live means 1."""
    store = own_store(tmp_path, monkeypatch)
    for seed in range(3):
        save_small(store, seed=seed)
    store.set_alias("m", "live", 1)
    return store


@pytest.fixture
def run(store: ModelStore, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs `sightline models …` on that store: (exit code, stdout, stderr)."""

    def models(*arguments: str) -> tuple[int, str, str]:
        code = cli.main(["models", *arguments])
        told = capsys.readouterr()
        return code, told.out, told.err

    return models


def test_promote_then_roll_back(run: Run, store: ModelStore, tmp_path: Path) -> None:
    (tmp_path / "verdict.json").write_text(json.dumps(verdict().to_json()))
    code, out, err = run("promote", "m@2", "--expect-current", "1", "--verdict", "verdict.json", "--reason", "better")
    assert (code, out, err) == (Exit.OK, "", "m@live now means version 2; before, version 1\n")
    assert store.resolve("m") == ("m", 2) and store.verdict("m", 2) == verdict()
    code, out, _ = run("promote", "m@2", "--json")
    assert (code, json.loads(out)) == (Exit.OK, {"name": "m", "alias": "live", "moved": False})
    code, out, _ = run("rollback", "m", "--reason", "worse", "--json")
    told = json.loads(out)
    assert code == Exit.OK and (told["kind"], told["before"], told["version"], told["why"]) == (
        "rollback",
        2,
        1,
        "worse",
    )
    assert store.resolve("m") == ("m", 1)


def test_force_is_kept_in_the_history_that_show_tells(run: Run, store: ModelStore) -> None:
    assert run("promote", "m@3", "--force", "--reason", "the old one is wrong")[0] == Exit.OK
    code, out, _ = run("show", "m@live", "--json")
    told = json.loads(out)
    assert code == Exit.OK and told["aliases"] == ["live"] and told["verdict"] is None
    assert [(move["version"], move["forced"]) for move in told["history"]["live"]] == [(1, False), (3, True)]
    assert "no gate has judged it" in told["history"]["live"][1]["why"]
    store.record_verdict("m", 3, verdict(passed=False))
    out = " ".join(run("show", "m")[1].split())
    assert "promote, forced, 1 → 3, by " in out and "the old one is wrong" in out
    assert "verdict.passed no" in out and "FAILED: 0.02, bound 0.0" in out


def test_diff_shows_both(run: Run) -> None:
    code, out, _ = run("diff", "m@1", "m@3", "--json")
    told = json.loads(out)
    assert code == Exit.OK and (told["a"], told["b"], told["config"]) == ("m@1", "m@3", [])
    assert told["metrics"] == [["log_loss", 0.5, 0.5]]
    assert next(t for t in told["weights"] if t["name"] == "layers.0.weight")["distance"] > 0.1
    code, out, _ = run("diff", "m@live", "m@3")
    assert code == Exit.OK and "(the same)" in out and "layers.0.weight" in out and "(2, 5)" in out


def test_gc_says_what_goes_and_what_stays_and_why(run: Run, store: ModelStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGHTLINE_MODELS__TITLES__LOL", "m@2")
    save_small(store)
    save_small(store)
    code, out, _ = run("gc", "m", "--keep", "1", "--dry-run", "--json")
    told = json.loads(out)
    assert code == Exit.OK and told["dry_run"] and told["deleted"] == ["m@3", "m@4"]
    assert told["kept"] == {"m@1": "live means it", "m@2": "the settings name it"} and told["drafts"] == []
    code, out, _ = run("gc", "m", "--keep", "1")
    assert code == Exit.OK and "deleted" in out and "stays" in out and store.versions("m") == (1, 2, 5)
    code, out, err = run("gc", "m", "--keep", "9")
    assert (code, out) == (Exit.OK, "") and "nothing to delete" in err


def refused(code: Exit, said: str, *arguments: str) -> Any:
    return pytest.param(code, said, arguments, id=" ".join(arguments))


@pytest.mark.parametrize(
    ("code", "said", "arguments"),
    [
        refused(Exit.REFUSED, "m@2 does not become live: no gate has judged it; --force", "promote", "m@2"),
        refused(Exit.FAILED, "means version 1 now, and not 3", "promote", "m@2", "--expect-current", "3"),
        refused(Exit.REFUSED, "nothing before version 1; choose one with", "rollback", "m"),
        refused(Exit.BAD_INPUT, "--force: say why with --reason", "promote", "m@2", "--force"),
        refused(Exit.BAD_INPUT, "names no version: write NAME@VERSION", "promote", "m@live"),
        refused(Exit.BAD_INPUT, "bad model name or alias 'B B'", "promote", "m@2", "--alias", "B B"),
        refused(Exit.BAD_INPUT, "gone.json", "promote", "m@2", "--verdict", "gone.json"),
        refused(Exit.BAD_INPUT, "bad.json: no verdict of a gate: a verdict has keys",
                "promote", "m@2", "--verdict", "bad.json"),
        refused(Exit.BAD_INPUT, "list.json: no verdict of a gate: must hold",
                "promote", "m@2", "--verdict", "list.json"),
        refused(Exit.BAD_INPUT, "text.json: no verdict of a gate: Expecting",
                "promote", "m@2", "--verdict", "text.json"),
        refused(Exit.BAD_INPUT, "bad model name or alias '../m'", "gc", "../m", "--keep", "1"),
        refused(Exit.BAD_INPUT, "--keep", "gc", "m", "--keep", "0"),
        refused(Exit.BAD_INPUT, "nowhere://x: cannot be a model store here", "ls", "--set", "models.store=nowhere://x"),
        refused(Exit.BAD_INPUT, "m@3", "diff", "m@1", "m@3"),
        refused(Exit.UNAVAILABLE, "no model m@9", "promote", "m@9", "--force", "--reason", "x"),
        refused(Exit.UNAVAILABLE, "there is no m@candidate", "rollback", "m", "--alias", "candidate"),
        refused(Exit.UNAVAILABLE, "no model n;", "gc", "n", "--keep", "1"),
        refused(Exit.UNAVAILABLE, "no model m@candidate", "diff", "m", "m@candidate"),
        refused(Exit.UNAVAILABLE, "http://127.0.0.1:9", "ls", "--set", "models.store=http://127.0.0.1:9"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_one_line_and_a_code(
    run: Run, store: ModelStore, tmp_path: Path, code: Exit, said: str, arguments: tuple[str, ...]
) -> None:
    for name, text in {"bad.json": "{}", "list.json": "[]", "text.json": "passed!"}.items():
        (tmp_path / name).write_text(text)
    if said == "m@3":  # whichever of the two is broken is named
        said = "/store/m/3/weights.safetensors is not the file that was saved"
        weights = tmp_path / "store" / "m" / "3" / "weights.safetensors"
        weights.write_bytes(weights.read_bytes()[:-1])
    got, out, err = run(*arguments)
    assert (got, out) == (code, "")
    assert err.startswith("sightline: ") and err.count("\n") == 1 and said in err
    assert store.resolve("m") == ("m", 1) and len(store.history("m")) == 1


def test_a_promotion_that_lost_the_race_is_exit_code_1(
    run: Run, store: ModelStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    for version in (2, 3):
        store.record_verdict("m", version, verdict())
    somebody_is_faster(monkeypatch, lambda: promote(store, "m@3"))
    code, out, err = run("promote", "m@2")
    assert (code, out) == (Exit.FAILED, "") and "m@live means version 3 now: it was moved by somebody else" in err
