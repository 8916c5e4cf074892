"""The guard as a stage: a simulated patch that doubles every lead, and what viewers see before, during and after it."""

from __future__ import annotations

import logging
from functools import cache

import numpy as np
import polars as pl
import pytest

from streaming.features.baseline import packaged_baselines
from streaming.features.catalogue import GROUPS
from streaming.features.guard import ModelGuard
from streaming.features.match_fold import fold_events
from streaming.simulators.match import simulate
from streaming.state import StateTable
from streaming.testing import Changelog, every_row

LOL = packaged_baselines()["lol"]
MATCHES = 60


@cache
def season(seed: int = 3, matches: int = MATCHES) -> pl.DataFrame:
    """Frames of simulated matches, one match after the other, as the fold makes them."""
    return fold_events(simulate("lol", matches, seed=seed).events)


def patched(frames: pl.DataFrame, patch: str = "new", factor: float = 2.0) -> pl.DataFrame:
    """The same matches with their leads in gold multiplied."""
    return frames.with_columns(pl.col("gold") * factor, patch=pl.lit(patch), match_id=pl.col("match_id") + f"/{patch}")


def answered(frames: pl.DataFrame) -> pl.DataFrame:
    """With the answers of a model that is right about the patch it knows: it takes every lead at its old worth."""
    by_gold, by_form = LOL.parts(*(frames[name].to_numpy().astype(np.float64) for name in ("clock_s", "gold", "form")))
    said = {"gold": by_gold.astype(np.float32), "form": by_form.astype(np.float32)}
    logit = said["gold"].astype(np.float64) + said["form"]
    columns = [pl.Series("logit", logit), pl.Series("p", 1 / (1 + np.exp(-logit)))]
    nothing = np.zeros(frames.height, np.float32)
    for group in GROUPS:
        columns += [pl.Series(f"{kind}_{group}", nothing + 1) for kind in ("score", "weight")]
        columns.append(pl.Series(f"contribution_{group}", said.get(group, nothing)))
    version = pl.lit("7").alias("model_version")
    columns.append(pl.Series("usual_gold", nothing + np.nan))
    return frames.with_columns(*columns, version, model_name=pl.lit("m"), weight_hash=pl.lit("0" * 12))


def guarded(frames: pl.DataFrame, state: StateTable | None = None) -> pl.DataFrame:
    stage = ModelGuard(packaged_baselines())
    return stage(answered(frames), stage.new_state() if state is None else state)


def is_degraded(frames: pl.DataFrame) -> pl.Series:
    return frames["flags"].str.contains("degraded")


def brier(frames: pl.DataFrame, p: pl.Series) -> float:
    won = dict(frames.drop_nulls("winner").select("match_id", "winner").iter_rows())
    y = np.array([won[match] == "A" for match in frames["match_id"]])
    return float(np.mean((p.to_numpy() - y) ** 2))


def test_a_patch_the_model_knows_goes_through_untouched() -> None:
    frames = season()
    assert guarded(frames).equals(answered(frames))


def sure(frames: pl.DataFrame) -> float:
    """Share of answers above 99 % or below 1 % in the middle of matches."""
    playing = frames.filter((frames["status"] == "live") & frames["clock_s"].is_between(600, 1_500))
    return float(((playing["p"] - 0.5).abs() > 0.49).mean())  # type: ignore[arg-type]


def test_a_patch_that_doubles_leads_is_caught_and_not_everybody_is_at_100_percent_meanwhile() -> None:
    measured = []
    for seed in range(3, 9):
        frames = patched(season(seed))
        shown, said = guarded(frames), answered(frames)
        degraded = is_degraded(shown)
        ids = frames["match_id"].unique(maintain_order=True).to_list()
        assert ids.index(frames["match_id"][degraded.arg_max()]) in range(10, 31)  # type: ignore[arg-type]
        after, model = shown.filter(degraded), said.filter(degraded)
        measured.append((sure(shown), sure(after), sure(model), brier(after, after["p"]), brier(model, model["p"])))
    sure_all, sure_after, sure_model, brier_after, brier_model = np.mean(measured, axis=0).tolist()
    assert sure_all < 0.08  # most of it before the patch is caught
    assert sure_after < 0.05 < 0.15 < sure_model
    assert brier_after < brier_model


def test_a_degraded_answer_is_the_baselines_with_its_own_reasons() -> None:
    frames = patched(season()).with_columns(flags=pl.lit("late"))
    shown = guarded(frames).filter(pl.col("model_version") == "7+baseline")
    assert shown.height > 1_000
    assert shown["flags"].unique().to_list() == ["late degraded"]
    assert shown["model_name"].unique().to_list() == ["m"]
    total = shown.select(pl.sum_horizontal(f"contribution_{group}" for group in GROUPS)).to_series()
    assert (total - shown["logit"]).abs().max() < 1e-4  # type: ignore[operator]
    assert (1 / (1 + (-shown["logit"]).exp()) - shown["p"]).abs().max() < 1e-12  # type: ignore[operator]
    for group in GROUPS:
        product = shown[f"score_{group}"] * shown[f"weight_{group}"]
        assert (product - shown[f"contribution_{group}"]).abs().max() < 1e-4  # type: ignore[operator]
        if group not in ("gold", "form"):
            assert (shown[f"contribution_{group}"] == 0).all()


def test_parity_without_form_is_even_however_the_baseline_is_calibrated() -> None:
    stage = ModelGuard(packaged_baselines())
    state = stage.new_state()
    stage(answered(patched(season())), state)
    even = patched(season()).tail(1).with_columns(gold=pl.lit(0.0, pl.Float32), form=pl.lit(float("nan"), pl.Float32))
    shown = stage(answered(even.with_columns(match_id=pl.lit("even"), frame=pl.lit(0, pl.Int32))), state)
    assert (is_degraded(shown).to_list(), shown["logit"].to_list()) == ([True], [0.0])


def test_a_new_patch_begins_with_the_model_and_the_old_one_stays_as_decided() -> None:
    stage = ModelGuard(packaged_baselines())
    state = stage.new_state()
    stage(answered(patched(season())), state)
    newer = stage(answered(patched(season(), patch="newer", factor=1.0)), state)
    assert not is_degraded(newer).any()
    assert len(stage.facts(state).alerts) == 1


def test_when_leads_are_as_they_used_to_be_the_model_returns(caplog: pytest.LogCaptureFixture) -> None:
    stage = ModelGuard(packaged_baselines())
    state = stage.new_state()
    with caplog.at_level(logging.WARNING, "streaming.features.guard_results"):
        stage(answered(patched(season(), patch="p")), state)
        (alert,) = stage.facts(state).alerts
        assert alert.startswith("lol, patch p: the model is set aside: Brier ")
        fixed = season(9).with_columns(patch=pl.lit("p"))
        shown = stage(answered(fixed), state)
    assert is_degraded(shown).to_list()[0]
    assert not is_degraded(shown).to_list()[-1]
    assert stage.facts(state).alerts == ()
    assert ["answers from here on" in m or "answers again" in m for m in caplog.messages] == [True, True]


def learned(frames: pl.DataFrame, factor: float) -> pl.DataFrame:
    """Answers of a model that was trained where leads in gold are so many times as large."""
    usual = np.interp(frames["clock_s"] / 60.0, LOL.minutes, LOL.gold_spread) * factor
    return answered(frames.with_columns(gold=pl.col("gold") / factor)).with_columns(
        gold=frames["gold"], usual_gold=pl.Series(usual, dtype=pl.Float32)
    )


def test_a_model_that_has_learned_from_the_new_patch_is_not_set_aside_for_its_leads() -> None:
    stage = ModelGuard(packaged_baselines())
    frames = learned(patched(season(3, 120)), 2.0)
    shown = stage(frames, stage.new_state())
    assert shown.equals(frames)
    stage = ModelGuard(packaged_baselines())
    assert is_degraded(stage(learned(patched(season(3, 120)), 1.0), stage.new_state())).any(), "its units decide"


def test_when_a_model_trained_on_the_new_patch_answers_the_model_returns() -> None:
    stage = ModelGuard(packaged_baselines())
    state = stage.new_state()
    stage(answered(patched(season(), patch="p")), state)
    assert len(stage.facts(state).alerts) == 1
    shown = stage(learned(patched(season(9), patch="p"), 2.0), state)
    assert is_degraded(shown).to_list()[0] and not is_degraded(shown).to_list()[-1]
    assert stage.facts(state).alerts == ()


def test_rows_from_before_models_said_what_is_usual_go_on_by_the_baseline() -> None:
    state = ModelGuard(packaged_baselines()).new_state()
    old = {"lead": np.array([[1.0, 2.0]]), "won": np.array([True])}
    assert state.migrate is not None and state.migrate(old)["lead_by_model"] is old["lead"]
    new = {**old, "lead_by_model": np.array([[3.0, 4.0]])}
    assert state.migrate(new)["lead_by_model"] is new["lead_by_model"]


def test_answers_and_state_do_not_depend_on_cuts_or_restarts() -> None:
    stage = ModelGuard(packaged_baselines())
    later = season(9, 10).with_columns(pl.col("_elapsed_ms") + season()["_elapsed_ms"].max())
    frames = answered(pl.concat([patched(season()).head(2_600), later]))
    whole_state, state, log = stage.new_state(), stage.new_state(), Changelog()
    whole = stage(frames, whole_state)
    assert 0 < is_degraded(whole).sum() < whole.height
    rng, start, parts = np.random.default_rng(1), 0, []
    while start < frames.height:
        size = int(rng.choice([1, 7, 60, 400]))
        parts.append(stage(frames.slice(start, size), state))
        start += size
        log.drain(state)
        if rng.random() < 0.2:  # a restart of the process in between
            state = stage.new_state()
            log.restore(state)
    assert pl.concat(parts).equals(whole)
    one, other = every_row(state), every_row(whole_state)
    assert [name for name in one.columns if not one[name].equals(other[name])] == []


def test_matches_side_by_side_are_answered_by_what_had_finished_before_each_frame() -> None:
    frames = patched(season())
    alone = guarded(frames)
    first = frames["match_id"][0]
    long = frames.filter(pl.col("match_id") == first).head(30).with_columns(match_id=pl.lit("long"))
    mixed = pl.concat([long.head(10), frames, long.tail(20)])
    shown = guarded(mixed)
    assert shown.slice(10, frames.height).equals(alone)
    assert not is_degraded(shown.head(10)).any()
    assert is_degraded(shown.tail(20)).all()


def test_remakes_matches_over_at_once_and_titles_without_a_baseline_do_not_count() -> None:
    stage = ModelGuard({"lol": LOL})
    state = stage.new_state()
    void = patched(season()).with_columns(
        status=pl.when(pl.col("winner").is_null()).then("status").otherwise(pl.lit("void")),
        winner=pl.lit(None, pl.String),
    )
    stage(answered(void), state)
    at_once = patched(season()).filter(pl.col("winner").is_not_null()).with_columns(clock_s=pl.lit(60.0))
    stage(answered(at_once), state)
    other = answered(patched(season())).with_columns(title=pl.lit("hok"))
    assert stage(other, state).equals(other)
    assert not [key for key in every_row(state)["key"] if key.startswith(("@patch", "@result"))]


def test_a_patch_nobody_plays_any_more_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streaming.features.guard_results.PATCH_MEMORY", 20)
    stage = ModelGuard(packaged_baselines())
    state = stage.new_state()
    stage(answered(patched(season(9, 10), patch="old", factor=1.0)), state)
    assert "@patch/lol/old" in state
    stage(answered(season()), state)
    assert not [key for key in every_row(state)["key"] if "/old" in key]
    assert sum(key.startswith(("@result/", "@unsettled/")) for key in every_row(state)["key"]) == MATCHES


SETTLE = 120_000


def until_set_aside() -> tuple[pl.DataFrame, pl.DataFrame]:
    """Frames of matches, the last of which sets the model aside; and those that follow."""
    frames = answered(patched(season()))
    first = is_degraded(guarded(frames)).arg_max()  # matches are five minutes apart: the first frame of one
    return frames.head(first), frames.slice(first)  # type: ignore[arg-type]


def at(frames: pl.DataFrame, time_ms: int) -> pl.DataFrame:
    """One more match's first frame, at this time."""
    one = frames.tail(1).with_columns(
        match_id=pl.lit(f"at {time_ms}"), frame=pl.lit(0, pl.Int32), status=pl.lit("live")
    )
    return one.with_columns(winner=pl.lit(None, pl.String), _time_ms=pl.lit(time_ms, pl.Int64))


def test_a_verdict_holds_from_a_settling_time_after_the_result_to_the_millisecond() -> None:
    stage = ModelGuard(packaged_baselines())
    state = stage.new_state()
    before, _ = until_set_aside()
    stage(before, state)
    ended_ms = before["_time_ms"][-1]
    for times_ms in ([-1, 0, 1], [1, 0, -1]):  # whatever was asked before
        frames = pl.concat([at(before, ended_ms + SETTLE + each) for each in times_ms])
        assert is_degraded(stage(frames, state)).to_list() == [each >= 0 for each in times_ms]


def test_results_are_judged_in_the_order_of_their_times_however_they_come() -> None:
    stage = ModelGuard(packaged_baselines())
    frames = answered(patched(season()).head(1_400))
    # All matches side by side, a minute apart: the results of all wait at the same time.
    rank = pl.col("match_id").rank("dense").cast(pl.Int64)
    clock_ms = (pl.col("clock_s") * 1000).cast(pl.Int64)
    frames = frames.with_columns(
        _time_ms=clock_ms + rank * 60_000, _horizon_ms=pl.lit(0, pl.Int64), _elapsed_ms=pl.lit(0, pl.Int64)
    )
    asked = pl.concat([at(frames, time_ms) for time_ms in range(0, 4_000_000, 10_000)])
    said = []
    for rows in (frames.sort("_time_ms"), frames.sort("_time_ms", "match_id", descending=[False, True]), frames):
        state = stage.new_state()
        stage(rows.head(700), state)
        stage(asked.sample(40, seed=1), state)  # judges some, to be judged again
        stage(rows.slice(700), state)
        said.append(stage(asked, state))
    assert 0 < is_degraded(said[0]).sum() < asked.height
    assert said[0].equals(said[1])
    assert said[0].equals(said[2])


def test_a_late_result_counts_from_then_on_and_changes_nothing_that_was_said() -> None:
    stage = ModelGuard(packaged_baselines())
    state = stage.new_state()
    before, _ = until_set_aside()
    decisive = before["match_id"][-1]
    later_ms = before["_time_ms"][-1] + 2 * SETTLE
    stage(before.filter(pl.col("match_id") != decisive), state)
    assert not is_degraded(stage(at(before, later_ms), state)).any()
    stage(before.filter(pl.col("match_id") == decisive), state)
    assert is_degraded(stage(at(before, later_ms), state)).all()


def test_a_restart_between_result_and_effect_changes_nothing() -> None:
    stage, log = ModelGuard(packaged_baselines()), Changelog()
    state, restored = stage.new_state(), stage.new_state()
    before, after = until_set_aside()
    stage(before, state)
    log.drain(state)
    log.restore(restored)
    assert stage(after, restored).equals(stage(after, state))
    assert every_row(restored).equals(every_row(state))


def test_no_more_results_wait_than_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streaming.features.guard_results.MOST_UNSETTLED", 5)
    stage = ModelGuard(packaged_baselines())
    state = stage.new_state()
    stage(answered(season().with_columns(_horizon_ms=pl.lit(0, pl.Int64))), state)
    assert sum(key.startswith("@unsettled/") for key in every_row(state)["key"]) == 5
    assert stage.facts(state).totals == {"results-late": MATCHES - 5}


def test_the_last_results_of_a_patch_are_judged_though_none_of_it_is_on_air_any_more() -> None:
    stage = ModelGuard(packaged_baselines())
    state = stage.new_state()
    before, after = until_set_aside()
    stage(before, state)
    assert stage.facts(state).alerts == ()
    settled_ms = before["_time_ms"][-1] + SETTLE
    other = after.head(1).with_columns(patch=pl.lit("other"))
    stage(other.with_columns(_horizon_ms=pl.lit(settled_ms - 1, pl.Int64)), state)
    assert stage.facts(state).alerts == ()
    stage(other.with_columns(_horizon_ms=pl.lit(settled_ms, pl.Int64)), state)
    assert [alert.split(":")[0] for alert in stage.facts(state).alerts] == ["lol, patch new"]
