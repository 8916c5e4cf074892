"""What a training leaves behind, and the commands that show it."""

from __future__ import annotations

import errno
import json
import math
import os
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs import checkpoints, fit_tsstn
from jobs.cli import main
from jobs.errors import Exit, UsageProblem
from jobs.fit_tsstn import EpochReport
from jobs.recipes.overrides import restored, with_overrides
from jobs.recipes.win_tsstn import WinTSSTN
from jobs.runs.chart import bounds, chart
from jobs.runs.compare import differences, figure_rows, see
from jobs.runs.folder import all_runs, begun, continued, find_run, look_at
from jobs.runs.record import BrokenRun, RunRecord, curve_line, read_curve, read_record
from jobs.train import resume, train
from models.store import ModelStore

SOURCE = "simulator:lol?matches=20&seed=3"
SMALL = with_overrides(
    WinTSSTN(data=SOURCE, validation=0.2),
    ["optim.epochs=3", "optim.batch_matches=8", "sizes.hidden=4", "sizes.state=4", "scaling.workers=0"],
)
Sightline = Callable[..., tuple[int, str, str]]


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    return tmp_path / "home" / "runs"


@pytest.fixture
def sightline(capsys: pytest.CaptureFixture[str], runs: Path, monkeypatch: pytest.MonkeyPatch) -> Sightline:
    monkeypatch.setenv("SIGHTLINE_HOME", str(runs.parent))
    monkeypatch.setenv("SIGHTLINE_CONFIG", "")

    def run(*arguments: str) -> tuple[int, str, str]:
        code = main(arguments)
        told = capsys.readouterr()
        return code, told.out, told.err

    return run


def record(run: str) -> RunRecord:
    data = {"source": "by hand", "title": "lol", "fingerprint": "f00d", "matches": 4, "held_out": 1, "frames": 40}
    return RunRecord(run, "2026-01-01T00:00:00+00:00", "win-tsstn", {"seed": 0, "optim": {"lr": 0.1}}, "models", "m",
                     None, data, {"commit": "c0ffee", "machine": "here", "cores": 2})  # fmt: skip


def epoch(number: int, loss: float, log_loss: float = 0.5) -> dict[str, object]:
    return {"epoch": number, "train_loss": loss, "validation": {"log_loss": log_loss, "accuracy": 0.75}}


def finished(runs: Path, losses: list[float], **changes: object) -> str:
    with begun(runs, lambda run: replace(record(run), **changes)) as run:
        epochs = [epoch(number, loss) for number, loss in enumerate(losses, 1)]
        run.registered("m@1")
        run.done({"log_loss": losses[-1], "accuracy": 0.75, "auc": None, "best_epoch": len(losses)}, epochs)
    return run.record.run


def test_a_training_leaves_what_was_asked_how_it_went_and_what_came_of_it(runs: Path, tmp_path: Path) -> None:
    result = train(SMALL, store=tmp_path / "models", runs=runs, name="mine")
    folder = runs / result.run
    left = read_record(folder)
    assert (left.state, left.reason, left.model) == ("done", "", f"mine@{result.manifest.version}")
    assert restored(WinTSSTN(data=""), left.recipe, "here") == SMALL
    assert left.data["fingerprint"] == result.manifest.data_fingerprint and left.data["matches"] == 16
    assert left.environment["packages"]["torch"] and left.environment["cores"] == os.cpu_count()
    assert left.metrics["log_loss"] == result.metrics["validation"]["log_loss"]
    assert [line["train_loss"] for line in read_curve(folder)] == [report.train_loss for report in result.reports]
    assert sorted(path.name for path in folder.iterdir()) == ["curve.jsonl", "run.json"], "no checkpoint is left"


def test_a_training_that_was_cut_short_goes_on_to_the_same_model(
    runs: Path, tmp_path: Path, sightline: Sightline
) -> None:
    whole = train(SMALL, store=tmp_path / "whole", runs=tmp_path / "other", name="mine")

    def cut(report: EpochReport) -> None:
        if report.epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(SMALL, store=tmp_path / "models", runs=runs, name="mine", alias="live", force="the first", on_epoch=cut)
    ((run, left),) = all_runs(runs)
    assert left is not None and (left.state, left.reason, left.model) == ("interrupted", "interrupted", "")
    assert ModelStore(tmp_path / "models").names() == (), "nothing is half-registered"
    code, out, err = sightline("train", "--resume", run, "--json")
    assert code == Exit.OK, err
    assert "epoch 3/3" in err and "epoch 2/3" not in err and "mine@live now means it" in err
    told = json.loads(out)
    assert told["run"] == run
    stored = ModelStore(tmp_path / "models").load("mine@live")
    assert stored.manifest.sha256["weights.safetensors"] == whole.manifest.sha256["weights.safetensors"]
    after = read_record(runs / run)
    assert after.state == "done" and len(after.resumed) == 1
    assert [line["epoch"] for line in read_curve(runs / run)] == [1, 2, 3]
    code, _, err = sightline("train", "--resume", run)
    assert code == Exit.BAD_INPUT and "has made mine@1 already" in err


def test_a_training_that_fails_says_why_and_stores_nothing(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> dict[str, float]:
        raise RuntimeError("the loss went away")

    monkeypatch.setattr(fit_tsstn, "frame_metrics", broken)
    with pytest.raises(RuntimeError, match="the loss went away"):
        train(SMALL, store=tmp_path / "models", runs=runs)
    ((_, left),) = all_runs(runs)
    assert left is not None and left.state == "failed" and "the loss went away" in left.reason
    assert ModelStore(tmp_path / "models").names() == ()


def test_a_full_disk_ends_a_training_with_nothing_registered_and_it_goes_on_when_there_is_room(
    runs: Path, sightline: Sightline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("train", "win-tsstn", "--data", SOURCE, "--name", "mine", "--workers", "0", "--set", "optim.epochs=2",
             "--store", str(tmp_path / "models"))  # fmt: skip

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "os", SimpleNamespace(fsync=full))
        code, _, err = sightline(*words)
    assert code == Exit.FAILED and "no checkpoint could be written: no space left; make room, then go on" in err
    ((run, left),) = all_runs(runs)
    assert left is not None and (left.state, left.model) == ("failed", "") and "no space left" in left.reason
    assert ModelStore(tmp_path / "models").names() == ()
    assert sightline("train", "--resume", run)[0] == Exit.OK
    assert ModelStore(tmp_path / "models").resolve("mine@candidate") == ("mine", 1)


def test_other_data_is_not_gone_on_with(runs: Path, tmp_path: Path) -> None:
    def cut(report: EpochReport) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(SMALL, store=tmp_path / "models", runs=runs, on_epoch=cut)
    ((run, left),) = all_runs(runs)
    assert left is not None
    replace(left, data={**left.data, "fingerprint": "f00d"}).write(runs / run)
    with pytest.raises(UsageProblem, match=rf"not the data that {run} began with .* then f00d"):
        resume(run, runs=runs)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"optim.epochs": "0"}, "optim.epochs=0: must be at least 1"),
        ({"optim.batch_matches": "0"}, "optim.batch_matches=0: must be at least 1"),
        ({"optim.lr": "nan"}, "optim.lr=nan: must be a finite number"),
        ({"validation": "1"}, "validation=1.0: must lie between 0 and 1"),
        ({"scaling.restarts": "-1"}, "scaling.restarts=-1: must be at least 0"),
    ],
)
def test_a_recipe_that_makes_no_sense_is_refused_before_anything_is_read(
    runs: Path, tmp_path: Path, changes: dict[str, str], message: str
) -> None:
    recipe = with_overrides(replace(SMALL, data="nowhere"), [f"{name}={value}" for name, value in changes.items()])
    with pytest.raises(UsageProblem, match=message):
        train(recipe, store=tmp_path / "models", runs=runs)
    assert not runs.exists() and not (tmp_path / "models").exists()


def test_one_outcome_alone_teaches_nothing(runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from jobs import datasets

    original = datasets.load_matches

    def all_won(source: str, title: str | None) -> datasets.MatchSet:
        matches = original(source, title)
        return replace(matches, won=matches.won * 0)

    monkeypatch.setattr(datasets, "load_matches", all_won)
    with pytest.raises(UsageProblem, match="camp B won all 16 matches to learn from"):
        train(SMALL, store=tmp_path / "models", runs=runs)
    assert not runs.exists() and not (tmp_path / "models").exists()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"optim": {"learning_rate": 1.0}}, "run.json: optim: no field 'learning_rate' in a recipe; there are lr"),
        ({"sead": 1}, "run.json: no field 'sead'"),
        ({"seed": "1"}, "run.json: seed must be a int, not '1'"),
        ({"two_stage": 1}, "two_stage must be a bool, not 1"),
        ({"optim": 3}, "optim must be a Optim, not 3"),
    ],
)
def test_a_written_recipe_with_an_unknown_key_is_refused(values: dict[str, object], message: str) -> None:
    with pytest.raises(UsageProblem, match=message):
        restored(WinTSSTN(data=""), values, "run.json")


def test_a_whole_number_stands_for_a_float() -> None:
    assert restored(WinTSSTN(data=""), {"optim": {"lr": 1}}, "here").optim.lr == 1.0


def test_the_curve_survives_a_line_cut_short_and_an_epoch_done_twice(tmp_path: Path) -> None:
    lines = [curve_line(epoch(1, 0.9)), curve_line(epoch(2, 0.8)), curve_line(epoch(2, 0.7)), '{"epoch": 3, "tra']
    (tmp_path / "curve.jsonl").write_text("".join(lines), "utf-8")
    assert [(line["epoch"], line["train_loss"]) for line in read_curve(tmp_path)] == [(1, 0.9), (2, 0.7)]
    assert read_curve(tmp_path / "gone") == []


def test_nan_is_null_in_a_curve() -> None:
    assert json.loads(curve_line(epoch(1, math.nan, math.nan)))["validation"] == {"log_loss": None, "accuracy": 0.75}


def test_a_run_whose_process_is_gone_is_interrupted(runs: Path) -> None:
    with begun(runs, record) as run:
        assert look_at(run.folder).state == "running"
    assert look_at(run.folder).state == "interrupted"
    assert read_record(run.folder).state == "running", "looking changes nothing"


def test_a_run_at_work_is_not_gone_on_with_and_nor_is_one_that_is_done(runs: Path) -> None:
    with (
        begun(runs, record) as run,
        pytest.raises(UsageProblem, match="is at work in another process"),
        continued(runs, run.record.run),
    ):
        pass
    done = finished(runs, [0.5])
    with pytest.raises(UsageProblem, match="has made m@1 already"), continued(runs, done):
        pass
    assert read_record(runs / done).state == "done"


def test_runs_are_found_by_their_beginning(runs: Path) -> None:
    for name in ("20260101-000000-aaaa", "20260101-000000-bbbb"):
        (runs / name).mkdir(parents=True)
    assert find_run(runs, "20260101-000000-a").name == "20260101-000000-aaaa"
    with pytest.raises(UsageProblem, match="several runs begin with '2026'"):
        find_run(runs, "2026")
    with pytest.raises(UsageProblem, match="did you mean 20260101-000000-bbbb"):
        find_run(runs, "20260101-000000-bbbc")
    for nothing in ("", "..", "../runs"):
        with pytest.raises(UsageProblem, match="no run"):
            find_run(runs, nothing)


@pytest.mark.parametrize("text", ["", "[]", '{"run": "x"}', '{"run": "x", "shoe_size": 43}'])
def test_a_record_that_is_none_is_named(runs: Path, text: str, sightline: Sightline) -> None:
    (runs / "broken").mkdir(parents=True)
    (runs / "broken" / "run.json").write_text(text, "utf-8")
    with pytest.raises(BrokenRun, match=r"broken/run\.json"):
        read_record(runs / "broken")
    assert sightline("runs", "show", "broken")[0] == Exit.BAD_INPUT
    code, out, _ = sightline("runs", "ls")
    assert code == Exit.OK and "unreadable" in out


def test_bars_are_as_high_as_values() -> None:
    assert chart([0.0, 1.0], 0.0, 1.0, width=9, height=1) == ["▁█"]
    assert chart([0.0, 0.5, 1.0], 0.0, 1.0, width=9, height=2) == [" ▁█", "▁██"]
    assert chart([math.nan, 2.0, -2.0], 0.0, 1.0, width=9, height=2) == [" █ ", " █▁"]
    assert chart([1.0, 3.0, 5.0, 5.0], 1.0, 5.0, width=2, height=1) == ["▃█"]
    assert chart([5.0], 5.0, 5.0, width=9, height=1) == ["▁"]


@given(st.lists(st.floats(allow_infinity=False, width=32), max_size=50), st.integers(1, 20), st.integers(1, 5))
def test_a_chart_always_fits(values: list[float], width: int, height: int) -> None:
    lines = chart(values, *bounds([values]), width=width, height=height)
    assert len(lines) == height
    assert {len(line) for line in lines} == {min(len(values), width)}


def test_ls_shows_the_newest_first(runs: Path, sightline: Sightline) -> None:
    assert "`sightline train` makes one" in sightline("runs", "ls")[2]
    (runs / "20200101-000000-0000").mkdir(parents=True)
    old = replace(record("20200101-000000-0000"), state="failed", reason="no luck")
    old.write(runs / old.run)
    new = finished(runs, [0.9, 0.4])
    code, out, _ = sightline("runs", "ls", "--json")
    assert code == Exit.OK
    assert [(each["run"], each["state"]) for each in json.loads(out)] == [(new, "done"), (old.run, "failed")]
    table = sightline("runs", "ls")[1]
    assert "no luck" in table and "m@1" in table and "log-loss 0.4" in table


def test_ls_calls_each_figure_by_its_name(runs: Path, sightline: Sightline) -> None:
    with begun(runs, lambda run: replace(record(run), recipe_name="reid-osnet")) as run:
        run.done({"map": 0.71}, [])
    heading, row = sightline("runs", "ls")[1].splitlines()
    assert "log-loss" not in heading and "mAP 0.71" in row


def test_show_draws_the_curves(runs: Path, sightline: Sightline) -> None:
    run = finished(runs, [1.0, 0.25])
    code, out, _ = sightline("runs", "show", run)
    assert code == Exit.OK
    assert "m@1" in out and "f00d" in out and "c0ffee" in out
    assert "training loss, 2 epochs" in out and "1.0000 █" in out and "0.2500 █▁" in out
    told = json.loads(sightline("runs", "show", run, "--json")[1])
    assert told["recipe"]["optim"]["lr"] == 0.1 and [line["train_loss"] for line in told["curve"]] == [1.0, 0.25]


def test_compare_names_what_is_different(runs: Path, sightline: Sightline, tmp_path: Path) -> None:
    one = finished(runs, [0.9, 0.5])
    other = finished(runs, [0.9, 0.375], recipe={"seed": 0, "optim": {"lr": 0.2}})
    a, b = see(runs / one), see(runs / other)
    assert differences(a, b) == [("recipe.optim.lr", 0.1, 0.2)]
    rows = {name: (x, y, apart) for name, x, y, apart in figure_rows(a, b)}
    assert rows["log_loss"] == (0.5, 0.375, -0.125) and rows["auc"] == (None, None, None)
    code, out, _ = sightline("runs", "compare", one, other, "--html", str(tmp_path / "page.html"))
    assert code == Exit.OK
    assert "recipe.optim.lr" in out and "-0.125" in out and out.count("training loss") == 2
    page = (tmp_path / "page.html").read_text("utf-8")
    assert page.count("<svg") == 3 and "recipe.optim.lr" in page and "-0.125" in page
    assert one in page and not re.findall(r'(?:src|href)="(?!#)[^"]+"', page), "all of it is in the one file"
    told = json.loads(sightline("runs", "compare", one, other, "--json")[1])
    assert told["figures"]["log_loss"] == {"values": [0.5, 0.375], "difference": -0.125}


def test_what_a_run_holds_is_text_on_the_page(runs: Path, sightline: Sightline, tmp_path: Path) -> None:
    bad = finished(runs, [0.5], recipe={"title": "<script>alert(1)</script>"})
    assert sightline("runs", "compare", bad, finished(runs, [0.4]), "--html", str(tmp_path / "p.html"))[0] == Exit.OK
    assert "<script>" not in (tmp_path / "p.html").read_text("utf-8")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["train"], "name a recipe, one of as-gan"),
        (["train", "win-tsstn"], "say what to learn from: --data PATH"),
        (["train", "win-tsstn", "--resume", "x"], "give no recipe"),
        (["train", "--resume", "x"], "no run 'x'"),
        (["runs", "show", "x"], "no run 'x'"),
    ],
)
def test_wrong_usage_is_one_line(sightline: Sightline, arguments: list[str], said: str) -> None:
    code, _, err = sightline(*arguments)
    assert code == Exit.BAD_INPUT and said in err and len(err.splitlines()) == 1


def test_a_home_that_cannot_be_written_is_told_before_the_training(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageProblem, match="no run can be kept there"):
        train(SMALL, store=tmp_path / "models", runs=tmp_path / "file" / "runs")
    assert ModelStore(tmp_path / "models").names() == ()
