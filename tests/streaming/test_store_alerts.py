"""Alerts: each rule, told once, and what is over; observations by hand, and from walks."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streaming.state import StateTable
from streaming.store.alerts import AlertStage
from streaming.store.rules import parse_rules
from streaming.store.stage import frame_of
from streaming.store.watching import OBSERVED_SCHEMA, StoreWatch
from tests.store_walks import ALERT_RULES, START_MS, Feed, Walk, plan, watched_rows

Row = dict[str, Any]
Said = tuple[str, str, float]
"""State, subject, second."""

CROWDED = {"name": "r", "kind": "crowding", "zone": "till", "people": 4, "clear_below": 3, "for_s": 4, "quiet_s": 20}
LOITERS = {"name": "r", "kind": "loitering", "zone": "shelf", "limit_s": 60, "quiet_s": 100}
CROSSES = {"name": "r", "kind": "line", "line": "door", "direction": "out", "quiet_s": 10}
NIGHT = {"name": "r", "kind": "after_hours", "opens": "09:00", "closes": "20:00", "quiet_s": 0}
DOWN = {"name": "r", "kind": "camera_down", "limit_s": 30, "quiet_s": 0}
COVERED = {"name": "r", "kind": "camera_covered", "limit_s": 10, "quiet_s": 0}


def observed(
    what: str, second: float, zone: str, subject: str, value: float | None = None, covered: bool = False
) -> Row:
    """At a second after the start; its window ends with the even second that follows, and is known a second later."""
    end_ms = START_MS + -(-round(second * 1000) // 2_000) * 2_000
    return {
        "event_time_ms": START_MS + round(second * 1000),
        "window_end_ms": end_ms,
        "what": what,
        "zone_id": zone,
        "subject": subject,
        "value": value,
        "covered": covered,
        "camera_partition": 3 if what == "camera" else None,
        "_partition": 3,
        "_offset": round(second),
        "_ingest_time_ms": end_ms + 1_000,
        "_schema_id": 7,
    }


class Alerts:
    """The stage with one rule."""

    def __init__(self, rule: dict[str, Any], **changed: Any) -> None:
        self.stage = AlertStage(plan(**changed), parse_rules([rule], plan(**changed)))
        self.state = self.stage.new_state()

    def see(self, *rows: Row) -> list[Said]:
        return self.of(self.stage(frame_of(rows, OBSERVED_SCHEMA), self.state))

    def tick(self, second: float, partitions: Sequence[int] = (3,)) -> list[Said]:
        return self.of(self.stage.tick(START_MS + round(second * 1000), partitions, self.state))

    @staticmethod
    def of(alerts: pl.DataFrame) -> list[Said]:
        second = (pl.col("event_time_ms").to_physical() - START_MS) / 1000
        return alerts.select("state", "subject", second).rows()


def test_a_crowd_is_told_when_it_has_lasted_and_cleared_when_it_is_well_below() -> None:
    people = [3, 4, 5, 4, 6, 3, 4, 2, 4, 4, 4, 4, 1]
    alerts = Alerts(CROWDED)
    said = alerts.see(*[observed("occupancy", 2 * n, "till", "till", float(many)) for n, many in enumerate(people)])
    # Four from 2 s on, so raised at 6 s; three at 10 s is not below three; again from 16 s on, but quiet until 26 s.
    assert said == [("raised", "till", 6.0), ("cleared", "till", 14.0)]
    assert alerts.see(observed("occupancy", 26, "shelf", "shelf", 9.0)) == [], "another zone"


def test_a_crowd_that_is_gone_before_its_time_is_not_told() -> None:
    alerts = Alerts(CROWDED)
    rows = [observed("occupancy", 2 * n, "till", "till", 9.0 if n % 2 else 0.0) for n in range(21)]
    assert alerts.see(*rows) == []
    assert len(alerts.state) == 0, "and not remembered"


def test_an_alert_says_what_was_measured_and_where_it_came_from() -> None:
    stage = AlertStage(plan(), parse_rules([{**CROWDED, "for_s": 0}], plan()))
    (alert,) = stage(
        frame_of([observed("occupancy", 4, "till", "till", 5.0)], OBSERVED_SCHEMA), stage.new_state()
    ).to_dicts()
    assert (alert["zone_id"], alert["rule"], alert["kind"], alert["value"], alert["limit"]) == (
        "till",
        "r",
        "crowding",
        5,
        4,
    )
    assert (alert["source_partition"], alert["source_offset"], alert["_offset"], alert["_reject"]) == (3, 4, 4, None)


def stays(second: float, **people_s: float) -> list[Row]:
    """One window: how long each has been at the shelf; and a shelf, so that it is not empty."""
    others = [observed("occupancy", second, "shelf", "shelf", float(len(people_s)))]
    return others + [observed("stay", second, "shelf", name, value) for name, value in people_s.items()]


def test_who_loiters_is_told_once_while_they_stay_and_after_the_quiet_time_again() -> None:
    alerts = Alerts(LOITERS)
    assert alerts.see(*stays(2, a=58, b=70)) == [("raised", "b", 2.0)]
    assert alerts.see(*stays(4, a=60, b=72), *stays(6, a=62, b=74)) == [("raised", "a", 4.0)]
    assert alerts.see(*stays(300, a=400)) == [], "b has left, a is still there"
    assert alerts.see(*stays(302), *stays(310, a=60, b=60)) == [("raised", "a", 310.0), ("raised", "b", 310.0)]
    assert alerts.see(*stays(312), *stays(340, b=61)) == [], "b is back before the quiet time is over"
    assert alerts.see(*stays(342), *stays(800)) == []
    assert len(alerts.state) == 0


def test_what_was_told_of_an_identity_was_told_of_the_one_that_it_becomes() -> None:
    alerts = Alerts(LOITERS)
    assert alerts.see(*stays(2, a=70)) == [("raised", "a", 2.0)]
    assert alerts.see(observed("renamed", 4, "a", "b"), *stays(4, b=72)) == []
    assert Alerts(LOITERS).see(*stays(4, b=72)) == [("raised", "b", 4.0)]
    assert "r/a" not in alerts.state


def crossed(second: float, who: str, way: int) -> Row:
    return observed("crossed", second, "door", who, float(way))


def test_a_line_is_told_in_its_direction_and_once_in_the_quiet_time() -> None:
    alerts = Alerts(CROSSES)
    assert alerts.see(crossed(1, "a", -1), crossed(1.5, "a", -1), crossed(1.6, "b", 1)) == [("raised", "a", 1.0)]
    assert alerts.see(crossed(5, "a", -1), crossed(5, "b", -1)) == [("raised", "b", 5.0)]
    assert alerts.see(crossed(11, "a", -1)) == [("raised", "a", 11.0)]


def test_after_hours_goes_by_the_clock_of_the_store() -> None:
    # 2023-11-14 22:13:20 UTC is 17:13 in New York: the store has 166 minutes to go there, and is closed in Berlin.
    late = observed("stay", 0, "store", "a", 5.0)
    assert Alerts(NIGHT, time_zone="America/New_York").see(late) == []
    berlin = Alerts(NIGHT, time_zone="Europe/Berlin")
    assert berlin.see(late) == [("raised", "a", 0.0)]
    assert berlin.see(observed("stay", 2, "store", "a", 7.0), observed("stay", 2, "till", "b", 1.0)) == []


def seen(second: float, silence_s: float | None, covered: bool = False, camera: str = "cam-1") -> Row:
    return observed("camera", second, camera, camera, silence_s, covered)


def test_a_camera_is_down_when_it_has_been_silent_for_the_limit_and_cleared_when_it_is_back() -> None:
    alerts = Alerts(DOWN)
    assert alerts.see(seen(2, 0.2), seen(30, 28.2)) == []
    assert alerts.see(seen(32, 30.2), seen(34, 32.2)) == [("raised", "cam-1", 32.0)]
    assert alerts.stage.facts(alerts.state).alerts == ("camera cam-1: camera_down",)
    assert alerts.see(seen(36, 0.1)) == [("cleared", "cam-1", 36.0)]
    assert alerts.stage.facts(alerts.state).alerts == ()


def test_a_camera_that_was_never_seen_is_down_after_the_limit() -> None:
    alerts = Alerts(DOWN)
    assert alerts.see(seen(2, None), seen(30, None)) == []
    assert alerts.see(seen(32, None)) == [("raised", "cam-1", 32.0)]


def test_when_everything_is_silent_a_tick_says_so_of_partitions_that_were_read() -> None:
    alerts = Alerts(DOWN)
    alerts.see(seen(2, 0.5))
    # At 2 s it had been silent for 0.5 s, which was known when the log said 3 s.
    assert alerts.tick(32.4) == []
    assert alerts.tick(40, partitions=[1]) == []
    assert alerts.tick(32.5) == [("raised", "cam-1", 31.5)]
    assert alerts.tick(60) == []
    assert alerts.see(seen(62, 0.1)) == [("cleared", "cam-1", 62.0)]


def test_a_covered_camera_is_told_after_its_time() -> None:
    alerts = Alerts(COVERED)
    rows = [seen(second, 0.1, covered=True) for second in range(2, 12, 2)]
    assert alerts.see(*rows) == []
    assert alerts.see(seen(12, 0.1, covered=True)) == [("raised", "cam-1", 12.0)]
    assert alerts.see(seen(14, 0.1)) == [("cleared", "cam-1", 14.0)]


class Watched:
    """Both stages over sightings."""

    def __init__(self) -> None:
        self.watch, self.alerts = StoreWatch(plan()), AlertStage(plan(), parse_rules(ALERT_RULES, plan()))
        self.states: list[StateTable] = [self.watch.new_state(), self.alerts.new_state()]

    def see(self, rows: pl.DataFrame) -> pl.DataFrame:
        observations = self.watch(rows, self.states[0]).filter(pl.col("_reject").is_null())
        return self.alerts(observations, self.states[1])


def test_sightings_become_alerts() -> None:
    alerts = Watched().see(watched_rows())
    second = (pl.col("event_time_ms").to_physical() - START_MS) / 1000
    said = alerts.select("rule", "state", "subject", second).rows()
    assert [row for row in said if row[0] == "in"] == [("in", "raised", "p0", 2.6), ("in", "raised", "p1", 4.4)]
    assert [row[1:3] for row in said if row[0] == "loiterer"] == [("raised", "p0")]
    assert [row[1:] for row in said if row[0] == "down"] == [("raised", "cam-2", 36.0), ("cleared", "cam-2", 46.0)]
    assert [row[1:] for row in said if row[0] == "covered"] == [("raised", "cam-1", 36.0), ("cleared", "cam-1", 38.0)]
    assert [row[1] for row in said if row[0] == "crowd"] == ["raised", "cleared"]


@settings(max_examples=4, deadline=None)
@given(cuts=st.lists(st.integers(0, 600), max_size=10))
def test_cuts_change_no_alert(cuts: list[int]) -> None:
    rows = watched_rows()
    whole, parts = Watched(), Watched()
    expected = whole.see(rows)
    edges = [0, *sorted(min(cut, len(rows)) for cut in cuts), len(rows)]
    found = [parts.see(rows[start:end]) for start, end in pairwise(edges) if start < end]
    assert pl.concat(found).equals(expected)
    assert expected.height >= 8
    for one, other in zip(whole.states, parts.states, strict=True):
        assert content(one) == content(other)


def content(state: StateTable) -> dict[str, bytes]:
    state.touch(state.keys())
    keys, rows, _ = state.drain()
    return dict(zip(keys, rows, strict=True))


@pytest.mark.parametrize("linked_at_s", [4.0, 12.0])
def test_who_gets_an_identity_while_loitering_is_not_told_of_twice(linked_at_s: float) -> None:
    rows = Feed([Walk([(6, 3), (8, 3), (6, 3)], pause_s=30)], 30).rows()
    is_linked = pl.col("captured_ms").to_physical() - START_MS >= linked_at_s * 1000
    alerts = Watched().see(rows.with_columns(person_id=pl.when(is_linked).then("person_id")))
    assert alerts.filter(rule="loiterer").height == 1
