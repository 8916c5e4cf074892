"""What the fold makes of a feed, by hand. The rules are in the words of streaming.features.match_fold."""

from __future__ import annotations

import math
from typing import Any

import polars as pl
import pytest

from streaming.features.catalogue import FEATURES
from streaming.features.form import Elo
from streaming.features.match import events_frame
from streaming.features.match_fold import FRAME_SCHEMA, MatchFold, fold_events
from streaming.state import StateTable

T0 = 1_700_000_000_000


class Feed:
    """Rows as one or more matches send them; the clock runs with the event time unless said otherwise."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self.next: dict[str, int] = {}

    def send(self, kind: str, clock_s: float = 0.0, match: str = "m", **fields: Any) -> Feed:
        sequence = fields.pop("sequence", self.next.get(match, 0))
        self.next[match] = max(self.next.get(match, 0), sequence + 1)
        time = fields.pop("at_s", clock_s)
        row = {
            "match_id": match, "sequence": sequence, "event_time_ms": T0 + round(time * 1000), "title": "lol",
            "kind": kind, "clock_s": clock_s,
        }  # fmt: skip
        self.rows.append(row | fields)
        return self

    def start(self, team_a: str = "TSM", team_b: str = "C9", **fields: Any) -> Feed:
        return self.send("start", team_a=team_a, team_b=team_b, league="LCS", patch="6.1", origin="live", **fields)

    def score(self, clock_s: float, side: str, subject: str, **fields: Any) -> Feed:
        return self.send("score", clock_s, side=side, subject=subject, **fields)

    def take(self) -> pl.DataFrame:
        """The rows sent since the last take, with the runner's columns; offsets are as of one partition, 0."""
        rows, self.rows = self.rows, []
        return events_frame(rows).with_columns(
            _partition=pl.lit(0, pl.Int32),
            _offset=pl.int_range(pl.len(), dtype=pl.Int64) + 100,
            _ingest_time_ms=pl.lit(T0 + 5, pl.Int64),
            _schema_id=pl.lit(3, pl.Int32),
        )


@pytest.fixture
def feed() -> Feed:
    return Feed()


@pytest.fixture
def state() -> StateTable:
    return MatchFold().new_state()


def fold(feed: Feed, state: StateTable | None = None) -> list[dict[str, Any]]:
    stage = MatchFold()
    return stage(feed.take(), stage.new_state() if state is None else state).to_dicts()


def counted(state: StateTable) -> tuple[int, int]:
    slots = state.slots(state.keys())
    return int(state["late_total"][slots].sum()), int(state["repeated_total"][slots].sum())


def test_the_columns_are_those_of_the_contract(feed: Feed, state: StateTable) -> None:
    stage = MatchFold()
    frames = stage(feed.start().take(), state)
    assert frames.schema == FRAME_SCHEMA
    assert frames.columns[:12] == [
        "match_id", "title", "attempt", "frame", "clock_s", "event_time_ms", "status", "origin", "team_a", "team_b",
        "league", "patch",
    ]  # fmt: skip
    assert frames.columns[12:14] == ["heroes_a", "heroes_b"]
    assert frames.columns[14:-10] == list(FEATURES)
    assert frames.columns[-10:] == [
        "moment",
        "winner",
        "flags",
        "_partition",
        "_offset",
        "_ingest_time_ms",
        "_schema_id",
        "_elapsed_ms",
        "_time_ms",
        "_horizon_ms",
    ]
    assert stage(frames.clear(), state).schema == FRAME_SCHEMA
    assert stage.name == state.name == "fold"


def test_a_start_makes_the_first_frame_and_each_new_slot_one_more(feed: Feed) -> None:
    feed.start().send("snapshot", 10, gold=100.0).send("snapshot", 29.999, gold=200.0)
    feed.send("snapshot", 30, gold=300.0).send("snapshot", 59, gold=400.0).send("snapshot", 125, gold=500.0)
    frames = fold(feed)
    assert [(f["frame"], f["clock_s"], f["gold"]) for f in frames[1:]] == [(1, 30.0, 300.0), (2, 125.0, 500.0)]
    first, second = frames[:2]
    assert math.isnan(first["gold"])
    assert {f["status"] for f in frames} == {"live"}
    assert (first["team_a"], first["team_b"], first["league"], first["patch"], first["origin"]) == (
        "TSM", "C9", "LCS", "6.1", "live",
    )  # fmt: skip
    assert second["_offset"] == 103
    assert (second["_partition"], second["_ingest_time_ms"], second["_schema_id"]) == (0, T0 + 5, 3)
    assert second["event_time_ms"].timestamp() * 1000 == T0 + 30_000
    assert second["winner"] is None


def test_an_end_makes_a_frame_in_an_old_slot_too_with_the_winner(feed: Feed) -> None:
    feed.start().send("snapshot", 1801, gold=900.0).send("end", 0.0, at_s=1805, side="B")
    *_, last = fold(feed)
    assert (last["status"], last["winner"], last["gold"], last["clock_s"]) == ("ended", "B", 900.0, 1801.0)


def test_a_match_joined_in_its_middle_has_no_names_and_no_form(feed: Feed) -> None:
    (frame,) = fold(feed.send("snapshot", 900, gold=1.0))
    assert (frame["team_a"], frame["league"], frame["attempt"], frame["frame"]) == ("", "", 0, 0)
    assert math.isnan(frame["form"])


def test_a_start_that_comes_late_gives_names_and_form_from_there_on(feed: Feed) -> None:
    feed.send("snapshot", 60, gold=1.0, sequence=1).start(sequence=0).send("snapshot", 90, sequence=2, gold=1.0)
    frames = fold(feed)
    assert [(f["attempt"], f["team_a"], f["form"]) for f in frames[1:]] == [(0, "TSM", 0.0)]
    assert math.isnan(frames[0]["form"])


def test_levels_hold_by_game_clock_and_an_older_one_is_late(feed: Feed, state: StateTable) -> None:
    feed.start().send("snapshot", 20, gold=200.0).send("snapshot", 10, gold=100.0, xp=7.0).send("snapshot", 31)
    _, frame = fold(feed, state)
    assert (frame["gold"], frame["xp"], frame["flags"]) == (200.0, 7.0, "late")
    assert counted(state) == (1, 0)


def test_of_two_levels_of_one_clock_the_later_row_holds(feed: Feed) -> None:
    feed.start().send("snapshot", 30, gold=1.0).send("snapshot", 30, gold=2.0).send("snapshot", 60)
    frames = fold(feed)
    assert [(f["gold"], f["flags"]) for f in frames[1:]] == [(1.0, ""), (2.0, "")]


def test_scores_add_up_in_any_order(feed: Feed) -> None:
    feed.start().score(40, "A", "kills", count=3.0).score(10, "B", "kills").score(35, "B", "dragons").send(
        "snapshot", 60
    )
    *_, frame = fold(feed)
    assert (frame["kills"], frame["dragons"], frame["barons"], frame["flags"]) == (2.0, -1.0, 0.0, "")


def test_counts_are_missing_until_the_feed_names_one_and_for_what_the_title_lacks(feed: Feed) -> None:
    feed.start().send("snapshot", 30, gold=1.0).score(60, "A", "towers").score(90, "A", "tank")
    _, only_gold, full, heroes = fold(feed)
    assert math.isnan(only_gold["kills"]) and math.isnan(only_gold["towers"])
    assert (full["towers"], full["kills"], full["heralds"]) == (1.0, 0.0, 0.0)
    assert math.isnan(full["roshans"]), "League of Legends has no Roshan"
    assert math.isnan(heroes["tank"]), "and its specification no classes"


def test_hero_classes_are_known_apart_from_the_other_counts(feed: Feed) -> None:
    feed.send("start", title="hok").score(0, "A", "tank", title="hok").score(0, "B", "mage", title="hok")
    feed.send("snapshot", 30, title="hok").score(60, "B", "barons", title="hok")
    _, classes, full = fold(feed)
    assert (classes["tank"], classes["mage"], classes["support"]) == (1.0, -1.0, 0.0)
    assert math.isnan(classes["kills"])
    assert (full["kills"], full["barons"], full["tank"]) == (0.0, -1.0, 1.0)


def test_totals_win_over_scores_of_their_subject_which_still_make_moments(feed: Feed) -> None:
    feed.start().score(10, "A", "kills").send("snapshot", 30, kills_a=4.0, kills_b=1.0)
    feed.score(40, "B", "kills").score(45, "A", "towers").send("snapshot", 60).send("snapshot", 90)
    _, first, second, third = fold(feed)
    assert (first["kills"], first["moment"], first["towers"]) == (3.0, "A:kills", 0.0)
    assert (second["kills"], second["towers"], second["moment"]) == (3.0, 1.0, "A:towers")
    assert third["moment"] == ""


def test_a_total_of_one_camp_alone_is_no_lead(feed: Feed) -> None:
    *_, frame = fold(feed.start().score(20, "A", "kills").send("snapshot", 30, kills_a=4.0))
    assert math.isnan(frame["kills"])


def test_a_falling_total_stays_and_is_flagged_once(feed: Feed) -> None:
    feed.start().send("snapshot", 30, kills_a=5.0, kills_b=0.0, towers_a=2.0, towers_b=0.0)
    feed.send("snapshot", 60, kills_a=4.0, kills_b=1.0, towers_a=1.0, towers_b=0.0).send("snapshot", 90)
    _, _, fell, after = fold(feed)
    assert (fell["kills"], fell["towers"], fell["flags"]) == (4.0, 2.0, "kills-fell towers-fell")
    assert after["flags"] == ""


def test_an_older_total_that_is_lower_is_late_not_fallen(feed: Feed) -> None:
    feed.start().send("snapshot", 50, kills_a=5.0, kills_b=0.0).send("snapshot", 40, kills_a=4.0, kills_b=0.0)
    *_, frame = fold(feed.send("snapshot", 60))
    assert (frame["kills"], frame["flags"]) == (5.0, "late")


def test_the_weightiest_subject_that_did_not_cancel_out_is_the_moment(feed: Feed) -> None:
    feed.start().score(1, "A", "barons").score(2, "B", "barons").score(3, "B", "dragons").score(4, "A", "kills")
    feed.score(31, "A", "kills", count=4.0)
    *_, frame = fold(feed)
    assert frame["moment"] == "B:dragons"


def test_a_negative_clock_is_taken_for_0_and_flagged(feed: Feed) -> None:
    feed.send("start", -90.0).score(-5.0, "A", "kills").send("snapshot", 30)
    first, second = fold(feed)
    assert (first["clock_s"], first["flags"]) == (0.0, "negative-clock")
    assert (second["kills"], second["flags"]) == (1.0, "negative-clock")


def test_a_repeated_row_counts_once_in_a_batch_and_across_batches(feed: Feed, state: StateTable) -> None:
    feed.start().score(10, "A", "kills").score(10, "A", "kills", sequence=1)
    fold(feed, state)
    feed.score(10, "A", "kills", sequence=1).send("snapshot", 30)
    (frame,) = fold(feed, state)
    assert (frame["kills"], frame["flags"]) == (1.0, "")
    assert counted(state) == (0, 2)


def test_beyond_the_window_of_64_a_row_is_late(feed: Feed, state: StateTable) -> None:
    feed.start().score(10, "A", "kills", sequence=100)
    feed.score(11, "A", "kills", sequence=37).score(12, "A", "kills", sequence=36).send("snapshot", 30)
    *_, frame = fold(feed, state)
    assert (frame["kills"], frame["flags"]) == (2.0, "late")
    assert counted(state) == (1, 0)


def test_the_window_is_64_wide_after_a_jump_too(feed: Feed, state: StateTable) -> None:
    fold(feed.score(9, "A", "kills", sequence=0), state)
    fold(feed.score(10, "A", "kills", sequence=63), state)
    fold(feed.score(9, "A", "kills", sequence=0), state)
    assert counted(state) == (0, 1)
    fold(feed.score(11, "A", "kills", sequence=64).score(9, "A", "kills", sequence=0), state)
    assert counted(state) == (1, 1)


def test_a_restart_begins_anew_and_drops_what_was_left_of_the_old_attempt(feed: Feed, state: StateTable) -> None:
    feed.start().score(40, "A", "kills").send("snapshot", 100, gold=5.0)
    feed.start("C9", "G2", at_s=500).score(120, "A", "barons", at_s=120).score(35, "B", "kills", at_s=535)
    frames = fold(feed, state)
    assert [(f["attempt"], f["frame"], f["clock_s"]) for f in frames] == [
        (0, 0, 0.0), (0, 1, 40.0), (0, 2, 100.0), (1, 0, 0.0), (1, 1, 35.0),
    ]  # fmt: skip
    again = frames[-1]
    assert (again["team_a"], again["kills"], again["barons"], again["flags"]) == ("C9", -1.0, 0.0, "late")
    assert math.isnan(again["gold"])
    assert counted(state) == (1, 0)


def test_the_same_start_again_is_no_restart(feed: Feed, state: StateTable) -> None:
    feed.start().send("snapshot", 30).start("X", "Y", sequence=0, at_s=600).start("X", "Y", sequence=2, at_s=0)
    frames = fold(feed.send("snapshot", 60).start("X", "Y", at_s=60), state)
    frames += fold(feed.start("X", "Y", at_s=60).send("snapshot", 90), state)
    assert [(f["attempt"], f["team_a"]) for f in frames] == [(0, "TSM")] * 4
    assert counted(state) == (0, 4)


def test_a_draft_before_the_start_does_not_make_the_start_a_restart(feed: Feed) -> None:
    feed.score(-60.0, "A", "tank", title="hok").start(title="hok", at_s=0).send("snapshot", 30, title="hok")
    frames = fold(feed)
    assert [(f["attempt"], f["team_a"]) for f in frames] == [(0, ""), (0, "TSM")]
    assert frames[-1]["tank"] == 1.0


def test_a_remake_is_void_and_leaves_ratings_alone(feed: Feed, state: StateTable) -> None:
    feed.start().send("remake", 95.0).send("snapshot", 200, gold=1.0).send("end", 210, side="A")
    *_, last = fold(feed, state)
    assert (last["status"], last["winner"], last["clock_s"]) == ("void", None, 95.0)
    assert not [key for key in state.keys() if key.startswith("@rating")]  # noqa: SIM118 - a method of the table
    assert counted(state) == (2, 0)


def test_after_the_end_stray_rows_make_no_frames_but_a_restart_does(feed: Feed, state: StateTable) -> None:
    feed.start().send("end", 1800, side="A").score(1790, "B", "kills").send("end", 1801, side="B")
    feed.start(at_s=2000)
    frames = fold(feed, state)
    assert [(f["status"], f["attempt"]) for f in frames] == [("live", 0), ("ended", 0), ("live", 1)]
    assert counted(state) == (2, 0)


def test_form_comes_from_settled_results_only_and_is_fixed_at_the_start(feed: Feed) -> None:
    feed.start().send("snapshot", 1800, gold=10_000.0).start("c9", "tsm", match="early", at_s=1801)
    feed.send("end", 1802, side="A").start("C9", "Tsm", match="before", at_s=1921.999)
    feed.start("C9", "Tsm", match="at", at_s=1922).start("C9", "Tsm", match="after", at_s=1922.001)
    for match in ("early", "before", "at", "after"):
        feed.send("snapshot", 30, match=match, at_s=2000)
    forms = {(f["match_id"], f["frame"]): f["form"] for f in fold(feed)}
    moved = 2 * Elo().k * math.log(2.0) * 0.5 * 2.0 / 400.0
    for frame in (0, 1):
        assert [forms[match, frame] for match in ("early", "before")] == [0.0, 0.0]
        assert [forms[match, frame] for match in ("at", "after")] == pytest.approx([-moved, -moved])


def test_teams_without_a_name_have_no_form(feed: Feed) -> None:
    feed.send("start", team_a="TSM").send("end", 100.0, side="A")
    assert all(math.isnan(frame["form"]) for frame in fold(feed))


def run_for(feed: Feed, first_s: int, last_s: int) -> Feed:
    """Another match that talks every minute, so that event time goes on."""
    for time in range(first_s, last_s + 1, 60):
        feed.send("snapshot", match="other", at_s=time, gold=1.0)
    return feed


@pytest.mark.parametrize(("silence_s", "frames"), [(3 * 3600, [0, 1]), (3 * 3600 + 120, [0, 0])])
def test_a_match_that_never_ends_is_forgotten_after_three_silent_hours(
    feed: Feed, state: StateTable, silence_s: int, frames: list[int]
) -> None:
    run_for(feed.start(), 0, silence_s).send("snapshot", 30, at_s=silence_s)
    assert [frame["frame"] for frame in fold(feed, state) if frame["match_id"] == "m"] == frames


def test_a_closed_match_is_kept_for_ten_minutes(feed: Feed, state: StateTable) -> None:
    run_for(feed.start().send("end", 100, side="A"), 100, 660)
    fold(feed, state)
    assert "m" in state
    fold(run_for(feed, 720, 840), state)
    assert "m" not in state
    assert "m" in state.drain().deleted


def test_one_row_from_the_future_makes_nothing_forgotten(feed: Feed, state: StateTable) -> None:
    year_s = 365 * 86_400
    feed.start().send("snapshot", 31, match="other", at_s=31 + year_s).send("snapshot", 60, gold=1.0)
    feed.send("snapshot", 90, match="other", at_s=90).send("snapshot", 120, gold=1.0)
    assert [frame["frame"] for frame in fold(feed, state) if frame["match_id"] == "m"] == [0, 1, 2]


def test_a_replay_of_old_matches_and_live_ones_can_share_a_partition(feed: Feed) -> None:
    year_s = 365 * 86_400
    feed.start().start(match="old", at_s=-year_s)
    for clock in range(30, 3600, 30):
        feed.send("snapshot", clock, gold=1.0).send("snapshot", clock, match="old", at_s=clock - year_s, gold=1.0)
    frames = fold(feed)
    for match in ("m", "old"):
        assert [frame["frame"] for frame in frames if frame["match_id"] == match] == list(range(120))


def test_frames_come_in_the_order_of_their_rows(feed: Feed) -> None:
    for clock in (0, 30, 60):
        for match in ("c", "a", "b"):
            feed.send("snapshot", clock, match=match, gold=1.0)
    assert [frame["_offset"] for frame in fold(feed)] == list(range(100, 109))


def test_recorded_events_fold_like_the_stream_whatever_their_order(feed: Feed) -> None:
    for clock in range(0, 300, 20):
        feed.send("snapshot", clock, gold=float(clock)).score(clock, "A", "kills")
    rows = feed.take()
    bare = rows.select(pl.exclude("^_.*$"))
    mixed = bare.sort("kind", "sequence", descending=True).sort("event_time_ms", "sequence")
    stage = MatchFold()
    expected = stage(rows, stage.new_state()).select(pl.exclude("^_.*$"))
    assert fold_events(mixed).select(pl.exclude("^_.*$")).equals(expected)
    assert fold_events(bare.clear()).schema == FRAME_SCHEMA


def test_recorded_events_that_cannot_be_believed_are_left_out_and_said(
    feed: Feed, caplog: pytest.LogCaptureFixture
) -> None:
    feed.start().send("snapshot", 30, gold=math.nan).send("snapshot", 31, gold=5.0)
    frames = fold_events(feed.take())
    assert frames["gold"].to_list()[1:] == [5.0]
    assert "left out 1 of 3 events; the first, of match m: InvalidEvent: gold is NaN" in caplog.text


def test_heroes_are_those_of_the_start_and_unknown_before_it(feed: Feed) -> None:
    feed.send("snapshot", 0, gold=0.0, sequence=1)
    feed.start(heroes_a=["Ahri", " Lee\nSin "], heroes_b=["", "Jinx"], sequence=0)
    feed.send("snapshot", 60, gold=1.0, sequence=2)
    stage, state = MatchFold(), MatchFold().new_state()
    before, after = stage(feed.take(), state).to_dicts()
    assert (before["heroes_a"], before["heroes_b"]) == ([], [])
    assert (after["heroes_a"], after["heroes_b"]) == (["Ahri", "Lee Sin"], ["Jinx"])
    (later,) = stage(feed.send("snapshot", 90, gold=1.0).take(), state).to_dicts()
    assert later["heroes_a"] == ["Ahri", "Lee Sin"]


def test_a_restart_forgets_the_heroes_of_the_attempt_before(feed: Feed) -> None:
    feed.start(heroes_a=["Ahri"]).send("snapshot", 60, gold=1.0).start(at_s=300)
    assert [frame["heroes_a"] for frame in fold(feed)] == [["Ahri"], ["Ahri"], []]


def test_a_frame_says_how_far_event_time_has_come_in_its_partition(feed: Feed) -> None:
    feed.start().send("snapshot", 30, gold=1.0).send("snapshot", 60, gold=1.0).send("snapshot", 90, gold=1.0)
    # The watermark is the newest time that two rows running have reached, and its first value counts from 0.
    assert [frame["_elapsed_ms"] for frame in fold(feed)] == [0, 0, 30_000, 60_000]


def test_the_totals_of_late_and_repeated_rows_are_facts(feed: Feed, state: StateTable) -> None:
    stage = MatchFold()
    feed.start().send("snapshot", 60, gold=1.0).send("snapshot", 60, gold=1.0, sequence=1)  # a repeat
    feed.send("snapshot", 30, gold=1.0)  # late
    stage(feed.take(), state)
    assert stage.facts(state).totals == {"late": 1, "repeated": 1, "results-late": 0}
