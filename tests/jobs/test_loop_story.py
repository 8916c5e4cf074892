"""The story of the loop: its steps in their order, by answers made by hand, and by the real parts in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch

from jobs.loop.report import report_of, table
from jobs.loop.story import (
    ANSWER_SCHEMA,
    STEPS,
    Calibration,
    Cast,
    Seen,
    Story,
    calibration_of,
    missing_and_doubled,
    turns,
)
from jobs.schedule.decide import Past, decide
from jobs.schedule.decide import Seen as Sight
from jobs.schedule.definition import Schedule
from jobs.schedule.runs import Run, State
from models.store import SHIPPED, ModelStore, promote
from serve.win import LocalPredict
from streaming.features.baseline import packaged_baselines
from streaming.features.guard import ModelGuard
from streaming.features.match_fold import fold_events
from streaming.pipelines.win_prediction import WinModel
from streaming.simulators.match import simulate
from streaming.simulators.titles import FIRST_PATCH, Patch
from tests.stored_models import verdict

CAST = Cast("hok", ("one", "two"), "4", 8)
ALERT = "hok, patch two: the model is set aside: Brier 0.300"
RUN = Run("on-drift-1", "on-drift", "drift", 0, State.RUNNING, 1)


def answers(patch: str, version: str, matches: range = range(16), p: float = 0.5, **changes: Any) -> pl.DataFrame:
    """Three answers a match, the last of which says who won: each camp every other match."""
    row = {"attempt": 0, "patch": patch, "p": p, "model_version": version, "source_partition": 0}
    rows = [
        {**row, "match_id": f"{patch}-{match}", "frame": frame, "source_offset": 3 * match + frame}
        | {"status": "ended" if frame == 2 else "live", "winner": "AB"[match % 2] if frame == 2 else None}
        | changes
        for match in matches
        for frame in range(3)
    ]
    return pl.DataFrame(rows, ANSWER_SCHEMA)


CALM = Seen(answers("one", "4"), (), (), "4")
PATCHED = replace(CALM, answers=pl.concat([CALM.answers, answers("two", "4")]))
ALARMED = replace(PATCHED, alerts=(ALERT,))
STARTED = replace(ALARMED, runs=(RUN,))
PROMOTED = replace(STARTED, runs=(replace(RUN, state=State.SUCCEEDED),), version="5", verdict=verdict())
SWAPPED = replace(PROMOTED, answers=pl.concat([PROMOTED.answers, answers("two", "5+baseline", range(20, 24))]))
TRUSTED = replace(SWAPPED, alerts=(), answers=pl.concat([SWAPPED.answers, answers("two", "5", range(30, 34))]))
BACK = replace(TRUSTED, answers=pl.concat([TRUSTED.answers, answers("two", "5", range(40, 56))]))
MOMENTS = (CALM, PATCHED, ALARMED, STARTED, PROMOTED, SWAPPED, TRUSTED, BACK)


def test_each_moment_brings_its_step() -> None:
    story = Story(CAST)
    for name, seen in zip(STEPS, MOMENTS, strict=True):
        assert story.waits_for == name
        assert [step.name for step in story.look(seen, 1.0)] == [name]
        assert story.look(seen, 2.0) == [], "nothing is told twice"
    assert story.waits_for == ""
    words = [step.words for step in story.steps]
    assert words[2] == ALERT and "on-drift-1" in words[3] and "version 5 takes the place of 4" in words[4]
    assert "1 of 1 criteria" in words[4] and words[5] == "from offset 60 of partition 0"


def test_whoever_looks_late_sees_all_that_has_come_in_order() -> None:
    story = Story(CAST)
    found = story.look(replace(BACK, alerts=(ALERT,), runs=(RUN,)), 9.0)
    assert [step.name for step in found] == list(STEPS[:6]), "while the alarm stands the model is not trusted"
    assert [step.name for step in story.look(BACK, 10.0)] == ["trust", "calibration"]


@pytest.mark.parametrize(
    ("moment", "changes"),
    [
        (0, {"answers": answers("one", "4", range(6))}),  # too few have ended
        (0, {"answers": answers("one", "4", p=0.9)}),  # too sure from the beginning
        (2, {"alerts": ("dota2, patch two: the model is set aside", "hok, patch three: the model is set aside")}),
        (3, {"runs": (replace(RUN, state=State.QUEUED),)}),
        (5, {"answers": pl.concat([SWAPPED.answers, answers("one", "4", range(90, 91), source_partition=3)])}),
        (6, {"answers": SWAPPED.answers}),  # no alarm, but no answer by the model itself
        (7, {"answers": pl.concat([TRUSTED.answers, answers("two", "5", range(40, 56), p=0.9)])}),
    ],
)
def test_a_step_that_has_not_come_is_waited_for(moment: int, changes: dict[str, Any]) -> None:
    story = Story(CAST)
    for seen in MOMENTS[:moment]:
        story.look(seen, 0.0)
    assert story.look(replace(MOMENTS[moment], **changes), 1.0) == []
    assert story.waits_for == STEPS[moment]


def test_refusals_on_the_way_are_told() -> None:
    story = Story(CAST)
    for seen in MOMENTS[:4]:
        story.look(seen, 0.0)
    refused = replace(RUN, run_id="on-drift-0", state=State.REFUSED)
    (step,) = story.look(replace(PROMOTED, runs=(refused, RUN)), 1.0)
    assert "after 1 refusal(s)" in step.words


def test_calibration_is_the_gap_between_what_is_said_and_what_comes() -> None:
    found = calibration_of(answers("one", "4", p=0.7))
    assert found is not None and (found.matches, found.frames, found.ece) == (16, 32, pytest.approx(0.2))
    assert calibration_of(answers("one", "4", range(1))) is None, "one match has one outcome"
    assert calibration_of(answers("one", "4", winner=None)) is None


def test_an_answer_that_is_missing_doubled_or_of_nothing_is_counted() -> None:
    given = answers("one", "4")
    assert missing_and_doubled(given, given) == (0, 0)
    assert missing_and_doubled(given, given[2:]) == (2, 0)
    assert missing_and_doubled(given, pl.concat([given, given[5:6]])) == (0, 1)
    assert missing_and_doubled(given[1:], given) == (0, 1)


def test_turns_are_in_the_order_of_offsets_and_the_baseline_speaks_for_its_model() -> None:
    both = pl.concat([answers("two", "5", range(9, 12)), answers("one", "4+baseline", range(4)), answers("x", "4")[:1]])
    assert turns(both) == {0: ("4", "5")}


def report(seen: Seen, why: str = "", frames: pl.DataFrame | None = None, steps: int = len(STEPS)) -> dict[str, Any]:
    story = Story(CAST)
    for moment in MOMENTS[:steps]:
        story.look(moment, 1.0)
    store = ModelStore(SHIPPED)
    return report_of(story, why, answers("one", "4") if frames is None else frames, seen.answers, store, 0.0)


def test_the_loop_has_closed_only_if_nothing_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobs.loop.report._asked_afterwards", lambda *_: Calibration(3, 9, 0.2, 0.1))
    whole = BACK.answers
    found = report(BACK, frames=whole)
    assert found["passed"] and found["versions_by_partition"] == {"0": ["4", "5"]}, found
    rows = dict(table(found))
    assert rows["the loop"] == "closed" and rows["answers"].endswith("0 missing, 0 doubled")
    assert rows["calibration, patch 'two', version 4, asked afterwards"].startswith("calibration error 0.200 > 0.100")
    assert not report(BACK, frames=whole[1:])["passed"]
    assert not report(replace(BACK, answers=whole[1:]), frames=whole)["passed"]
    assert not report(BACK, why="stopped", frames=whole)["passed"]
    late = report(BACK, frames=whole, steps=5)
    assert not late["passed"] and dict(table(late))["the loop"] == "did not close: did not come: swap"
    back_again = pl.concat([whole, answers("two", "4", range(90, 91))])
    assert not report(replace(BACK, answers=back_again), frames=back_again)["passed"], "versions change once"


SCARCE = Patch("scarce gold", 0.2)


def rescaled(store: ModelStore) -> int:
    """A version that knows the second patch: the weights that ship, with leads in gold in its units."""
    shipped = ModelStore(SHIPPED).load("tsstn-hok@live")
    network: Any = shipped.build()
    names = [name for _, group in network.config.groups for name in group]
    with torch.no_grad():
        for name in ("gold", "gold_spread"):
            if name in names:
                network.scale.scale[:, names.index(name)] *= SCARCE.gold
    words: dict[str, Any] = dict.fromkeys(("trained_on", "data_fingerprint", "code_version"), "a test")
    return store.save("tsstn-hok", network, shipped.config, metrics={}, title="hok", **words).version


def test_the_real_parts_tell_the_story_in_memory(tmp_path: Path) -> None:
    """Simulator, fold, model, guard, scheduler's decisions, store: all but Kafka, Ray and the training itself."""
    store = ModelStore(tmp_path, SHIPPED)
    _, old = store.resolve("tsstn-hok")
    calm, before, after = 60, 60, 500
    first = simulate("hok", calm, seed=3)
    end_ms = first.events["event_time_ms"].dt.epoch("ms").max()
    more = simulate("hok", before + after, 3, league=first.league, first=calm, start_ms=end_ms + 300_000, patch=SCARCE)  # type: ignore[operator]
    frames = fold_events(pl.concat([first.events, more.events]))
    ids = frames["match_id"].unique(maintain_order=True).to_list()
    model_state, guard = None, ModelGuard(packaged_baselines())
    guard_state = guard.new_state()
    schedule = {"on-drift": Schedule(command="retrain hok --promote", drift="win-prediction")}
    story = Story(Cast("hok", (FIRST_PATCH.name, SCARCE.name), str(old), 40))
    told, runs, version = [ANSWER_SCHEMA.to_frame()], [], old

    def look(matches: Sequence[str], runs: Sequence[Run]) -> list[str]:
        nonlocal model_state
        stage = WinModel(LocalPredict(str(tmp_path), {"hok": f"tsstn-hok@{version}"}, store_must_exist=True))
        model_state = model_state or stage.new_state()
        rows = guard(stage(frames.filter(pl.col("match_id").is_in(matches)), model_state), guard_state)
        rows = rows.rename({"_partition": "source_partition", "_offset": "source_offset"})
        told.append(rows.select(ANSWER_SCHEMA.names()).cast(ANSWER_SCHEMA))
        _, live = store.resolve("tsstn-hok")
        seen = Seen(pl.concat(told), guard.facts(guard_state).alerts, runs, str(live))
        return [step.name for step in story.look(seen, 0.0)]

    assert look(ids[:calm], runs) == ["calm"]
    assert decide(1, schedule, Past(), Sight(alerts={"win-prediction": guard.facts(guard_state).alerts})).begun == []
    assert look(ids[calm : calm + before], runs) == ["patch", "alarm"]
    (run,) = decide(1, schedule, Past(), Sight(alerts={"win-prediction": guard.facts(guard_state).alerts})).begun
    assert run.cause == "drift" and run.reason.startswith(f"hok, patch {SCARCE.name}: the model is set aside")
    version = rescaled(store)
    promote(store, f"tsstn-hok@{version}", verdict=verdict(against=f"tsstn-hok@{old}"))
    assert look(ids[calm + before :], (run,)) == list(STEPS[3:])
    found = report_of(story, "", frames, pl.concat(told), store, 0.0)
    assert found["passed"], found
    ece = {stage: each["ece"] for stage, each in found["calibration"].items()}
    wrong, right = (
        next(ece[name] for name in ece if end in name) for end in ("asked afterwards", f"version {version}")
    )
    assert wrong > 0.05 > right, ece
