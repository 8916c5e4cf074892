"""Versions of a model change between two batches, once for each move of the alias, whoever answers after whatever
crash; and recurrent state never meets other weights than those that made it."""

from __future__ import annotations

import dataclasses
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streaming.pipeline import DependencyUnavailable, FactualStage
from streaming.pipelines.win_prediction import Arrays, Prediction, WinModel
from streaming.releases import InService, Release, ReleasedPredict, ReleaseLost
from streaming.state import StateTable
from streaming.testing import Changelog, every_row
from tests.streaming.test_win_model import counting, frame, frames

LIVE = "m@live"


class Holder:
    """Has some versions, and offers one; answers with the number of frames that the recurrent state has seen."""

    def __init__(self, moves: int, version: int, reference: str = LIVE) -> None:
        self.offers = Release(reference, moves, version)
        self.asked: list[str] = []
        self.gone: set[str] = set()

    def offered(self, title: str) -> Release:
        return self.offers

    def alerts(self) -> tuple[str, ...]:
        return ("m@9 cannot take over",)

    def __call__(self, title: str, request: Arrays, release: Release) -> Prediction:
        self.asked.append(release.exact)
        if release.exact in self.gone:
            raise ReleaseLost(release, "no such model")
        return dataclasses.replace(counting(title, request), model_name="m", model_version=str(release.version))


def said(rows: pl.DataFrame) -> list[tuple[str, float]]:
    """Version, and the number of frames that the state has seen."""
    return list(zip(rows["model_version"].to_list(), rows["logit"].to_list(), strict=True))


def restored(changelog: Changelog, holder: Holder) -> tuple[WinModel, StateTable]:
    """As after a start anywhere."""
    stage = WinModel(holder)
    table = stage.new_state()
    changelog.restore(table)
    return stage, table


def test_a_holder_is_told_apart_from_a_plain_predict_and_its_alerts_are_the_stages() -> None:
    stage = WinModel(Holder(1, 1))
    assert isinstance(Holder(1, 1), ReleasedPredict) and not isinstance(counting, ReleasedPredict)
    assert isinstance(stage, FactualStage)
    assert stage.facts(stage.new_state()).alerts == ("m@9 cannot take over",)
    assert WinModel(counting).facts(stage.new_state()).alerts == ()


def test_the_next_batch_is_the_new_versions_and_state_of_other_weights_is_not_gone_on_from() -> None:
    holder = Holder(1, 1)
    stage = WinModel(holder)
    state = stage.new_state()
    assert said(stage(frames(frame("a"), frame("b"), frame("a", 1)), state)) == [("1", 1), ("1", 1), ("1", 2)]
    holder.offers = Release(LIVE, 2, 2)
    assert said(stage(frames(frame("a", 2), frame("c"), frame("a", 3)), state)) == [("2", 1), ("2", 1), ("2", 2)]
    assert said(stage(frames(frame("b", 1), frame("a", 4)), state)) == [("2", 1), ("2", 3)]
    holder.offers = Release(LIVE, 3, 1)  # rolled back
    assert said(stage(frames(frame("a", 5)), state)) == [("1", 1)]


def test_a_move_to_the_same_version_changes_nothing_for_a_match() -> None:
    holder = Holder(1, 1)
    stage = WinModel(holder)
    state = stage.new_state()
    stage(frames(frame("a")), state)
    holder.offers = Release(LIVE, 3, 1)
    assert said(stage(frames(frame("a", 1)), state)) == [("1", 2)]


def test_every_partition_has_its_own_turn() -> None:
    holder = Holder(2, 2)
    stage = WinModel(holder)
    state = stage.new_state()
    stage(frames(frame("a")), state)
    holder.offers = Release(LIVE, 1, 1)  # one that has not heard of the move
    both = frames(frame("a", 1), frame("b", _partition=1), frame("a", 2))
    assert said(stage(both, state)) == [("2", 2), ("1", 1), ("2", 3)]
    assert InService(state).now("lol", 0) == Release(LIVE, 2, 2)
    assert InService(state).now("lol", 1) == Release(LIVE, 1, 1)
    assert InService(state).now("dota2", 0) is None


def test_a_restart_by_one_who_has_not_heard_of_a_promotion_does_not_go_back() -> None:
    changelog, ahead = Changelog(), Holder(2, 2)
    stage, state = restored(changelog, ahead)
    stage(frames(frame("a")), state)
    changelog.drain(state)
    behind = Holder(1, 1)
    stage, state = restored(changelog, behind)
    assert said(stage(frames(frame("a", 1), frame("new")), state)) == [("2", 2), ("2", 1)]
    assert behind.asked == ["m@2"]


def test_another_reference_in_the_settings_is_no_step_back() -> None:
    changelog, before = Changelog(), Holder(7, 3)
    stage, state = restored(changelog, before)
    stage(frames(frame("a")), state)
    changelog.drain(state)
    stage, state = restored(changelog, Holder(0, 1, "other@1"))
    assert said(stage(frames(frame("a", 1)), state)) == [("1", 1)]


def test_state_that_does_not_say_which_weights_made_it_is_gone_on_from() -> None:
    state = WinModel(counting).new_state()
    WinModel(counting)(frames(frame("a")), state)  # as rows of the layout before releases are taken over
    assert said(WinModel(Holder(1, 1))(frames(frame("a", 1)), state)) == [("1", 2)]


def test_weights_that_are_gone_give_way_to_those_that_are_offered() -> None:
    changelog = Changelog()
    stage, state = restored(changelog, Holder(2, 2))
    stage(frames(frame("a")), state)
    changelog.drain(state)
    fresh = Holder(1, 1)
    fresh.gone = {"m@2"}
    stage, state = restored(changelog, fresh)
    assert said(stage(frames(frame("a", 1)), state)) == [("1", 1)]
    assert said(stage(frames(frame("a", 2)), state)) == [("1", 2)]
    assert fresh.asked == ["m@2", "m@1", "m@1"]


def test_where_nothing_can_be_loaded_it_is_waited_for_and_nothing_is_remembered() -> None:
    holder = Holder(1, 1)
    stage = WinModel(holder)
    state = stage.new_state()
    stage(frames(frame("a")), state)
    before = every_row(state)
    holder.offers, holder.gone = Release(LIVE, 2, 2), {"m@2"}
    with pytest.raises(DependencyUnavailable, match="m@2: no such model"):
        stage(frames(frame("a", 1), frame("b", _partition=1)), state)
    assert every_row(state).filter(pl.col("key") != "b").equals(before)
    holder.gone.clear()
    assert said(stage(frames(frame("a", 1)), state)) == [("2", 1)]


STEP = st.one_of(
    st.tuples(st.just("move"), st.integers(1, 3)),  # of the alias, to a version
    st.tuples(st.just("hear"), st.integers(0, 2)),  # this holder has what the alias means now
    # This holder answers a frame of each of these matches; whether that is committed.
    st.tuples(st.just("answer"), st.integers(0, 2), st.sets(st.sampled_from("abcd"), min_size=1), st.booleans()),
)


@settings(deadline=None, max_examples=150)
@given(st.lists(STEP, max_size=25))
def test_versions_change_once_a_partition_for_each_move_whoever_answers(steps: list[tuple[Any, ...]]) -> None:
    """Matches a and b lie in partition 0, c and d in 1. Whoever answers has just started, with the state committed."""
    alias = [1]  # the version after each move
    holders, changelog = [Holder(1, 1) for _ in range(3)], Changelog()
    turns: dict[int, list[int]] = {0: [1], 1: [1]}
    count, made_by, number = dict.fromkeys("abcd", 0), dict.fromkeys("abcd", ""), dict.fromkeys("abcd", 0)
    for kind, who, *rest in steps:
        if kind == "move":
            alias.append(who)
        elif kind == "hear":
            holders[who].offers = Release(LIVE, len(alias), alias[-1])
        else:
            matches, is_committed = sorted(rest[0]), rest[1]
            stage, state = restored(changelog, holders[who])
            where = {match: "abcd".index(match) // 2 for match in matches}
            rows = stage(frames(*(frame(m, number[m], _partition=where[m]) for m in matches)), state)
            if not is_committed:
                continue
            changelog.drain(state)
            for partition in set(where.values()):
                now = InService(state).now("lol", partition)
                assert now is not None and now.version == alias[now.moves - 1]
                turns[partition].append(now.moves)
            for match, (version, seen) in zip(matches, said(rows), strict=True):
                assert int(version) == alias[turns[where[match]][-1] - 1]
                count[match] = count[match] + 1 if made_by[match] in ("", version) else 1
                made_by[match], number[match] = version, number[match] + 1
                assert seen == count[match]
    for moves in turns.values():
        assert moves == sorted(moves)
