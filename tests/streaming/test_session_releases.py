"""Recommenders whose versions come and go: which one answers, and that nobody goes back to an earlier one."""

from __future__ import annotations

from typing import Any

import pytest

from streaming.pipeline import DependencyUnavailable
from streaming.releases import Release, ReleaseLost
from streaming.sessions.folding import SessionFold
from streaming.sessions.model import Recommended, Sessions
from streaming.sessions.recommending import RecommendStage
from streaming.sessions.settings import Arm, Experiment, Offer
from streaming.state import StateTable
from tests.shop_feed import Fixed, catalogue_of, event, feed, item

OFFER = Offer(places=2, candidates=3, diversity=0.0)
REFERENCE = "m@live"


class Versions:
    """A recommender of which any version can be asked for, but those that are lost."""

    def __init__(self, version: int) -> None:
        self.offers = version
        self.lost: set[int] = set()
        self.asked: list[tuple[int, int]] = []  # version, sessions

    def offered(self) -> Release:
        return Release(REFERENCE, self.offers, self.offers)

    def alerts(self) -> tuple[str, ...]:
        return ("a version cannot take over",)

    def __call__(self, sessions: Sessions, top_k: int, release: Release) -> Recommended:
        if release.version in self.lost:
            raise ReleaseLost(release, "it is gone")
        self.asked.append((release.version, len(sessions)))
        return Fixed("b", "c", name=f"v{release.version}")(sessions, top_k)


def stage_of(recommend: Any, offer: Offer = OFFER) -> RecommendStage:
    return RecommendStage({"live": recommend, "other": recommend}, catalogue_of(*map(item, "abc")), offer)


def said(stage: RecommendStage, state: StateTable, *partitions: int) -> list[str]:
    """Who answers a view of each of these partitions, all in one batch."""
    rows = feed([event(f"s{at}", at, item="a", _partition=partition) for at, partition in enumerate(partitions)])
    answers = stage(SessionFold()(rows, SessionFold().new_state()), state)
    return answers["model_name"].to_list()


def test_what_is_offered_takes_over_from_the_next_batch_on_in_one_call() -> None:
    recommend = Versions(1)
    stage = stage_of(recommend)
    state = stage.new_state()
    assert said(stage, state, 0, 1, 1) == ["v1"] * 3
    recommend.offers = 2
    assert said(stage, state, 0, 1) == ["v2"] * 2
    assert recommend.asked == [(1, 3), (2, 2)]


def test_nobody_goes_back_to_a_version_before_the_one_that_the_state_says() -> None:
    ahead, behind = Versions(2), Versions(1)
    stage = stage_of(ahead)
    state = stage.new_state()
    assert said(stage, state, 0) == ["v2"]
    assert said(stage_of(behind), state, 0, 1, 0) == ["v2", "v1", "v2"]
    assert sorted(behind.asked) == [(1, 1), (2, 2)]


def test_a_version_that_is_lost_gives_way_to_the_one_that_is_offered() -> None:
    recommend = Versions(2)
    stage = stage_of(recommend)
    state = stage.new_state()
    said(stage, state, 0)
    recommend.offers, recommend.lost = 1, {2}
    assert said(stage, state, 0) == ["v1"]
    assert said(stage, state, 0) == ["v1"], "and it is what stands in the state"
    recommend.lost = {1, 2}
    with pytest.raises(DependencyUnavailable, match="m@1: it is gone"):
        said(stage, state, 0)


def test_a_batch_that_fails_later_leaves_no_version_behind() -> None:
    class Behind:
        def as_of(self, position: int) -> Any:
            raise DependencyUnavailable("the catalogue is behind")

        def alerts(self) -> tuple[str, ...]:
            return ()

    stage = RecommendStage({"live": Versions(2)}, Behind(), OFFER)
    state = stage.new_state()
    with pytest.raises(DependencyUnavailable):
        said(stage, state, 0)
    assert said(stage_of(Versions(1)), state, 0) == ["v1"]


def test_arms_have_releases_of_their_own_and_an_alert_is_said_once() -> None:
    arms = (Arm("old"), Arm("new", recommender="other"))
    one = Versions(1)
    stage = stage_of(one, Offer(places=2, candidates=3, experiment=Experiment("t", arms)))
    state = stage.new_state()
    assert said(stage, state, *[0] * 40) == ["v1"] * 40
    assert "@release/live/0" in state and "@release/other/0" in state
    assert stage.facts(state).alerts == ("a version cannot take over",)
    assert stage.facts(state).totals["explored"] == 0
