"""The feed of matches on air, on a clock that the test moves."""

import itertools
from collections.abc import Iterator

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streaming.features.match import EVENT_SCHEMA, events_frame
from streaming.simulators.feed import MatchFeed, Pacer, live_matches, schedule, season_with_patch
from streaming.simulators.match import simulate
from streaming.simulators.titles import FIRST_PATCH, Patch

EPOCH_MS = 1_700_000_000_000


def match(name: str, clocks: list[float]) -> pl.DataFrame:
    return events_frame(
        {"match_id": name, "sequence": i, "event_time_ms": i, "title": "lol", "kind": "snapshot", "clock_s": clock}
        for i, clock in enumerate(clocks)
    )


def stamps(events: pl.DataFrame) -> list[int]:
    return (events["event_time_ms"].cast(pl.Int64) - EPOCH_MS).to_list()


def test_a_scheduled_match_is_due_by_its_clock_and_stamped_so() -> None:
    scheduled = schedule(match("m", [0, 60, 120]), start_s=5, speed=60, epoch_ms=EPOCH_MS)
    assert scheduled["due_s"].to_list() == [5.0, 6.0, 7.0]
    assert stamps(scheduled) == [5000, 6000, 7000]


def test_in_fast_motion_event_time_passes_as_in_the_match() -> None:
    scheduled = schedule(match("m", [0, 60, 120]), start_s=5, speed=60, epoch_ms=EPOCH_MS, time_lapse=60)
    assert scheduled["due_s"].to_list() == [5.0, 6.0, 7.0]
    assert stamps(scheduled) == [300_000, 360_000, 420_000]
    feed = MatchFeed([match("m", [0, 60])], concurrent=1, speed=60, epoch_ms=EPOCH_MS, time_lapse=60)
    assert stamps(feed.take(1)) == [0, 60_000]


@pytest.mark.parametrize("after", [1, 64, 70])
def test_a_season_changes_its_patch_after_so_many_matches_and_goes_on(after: int) -> None:
    season = season_with_patch("hok", 2, patch=Patch("new", 2.0), after=after)
    events = pl.concat(itertools.islice(season, 3))
    starts = events.filter(kind="start")
    assert starts["patch"].to_list() == [FIRST_PATCH.name] * after + ["new"] * (starts.height - after)
    assert starts["match_id"].n_unique() == starts.height and events["league"].drop_nulls().n_unique() == 1
    assert starts["match_id"].to_list() == [f"hok-sim-2-{number:06d}" for number in range(starts.height)]


def test_drafts_are_due_at_the_start_and_a_late_clock_keeps_its_place() -> None:
    scheduled = schedule(match("m", [-90, 0, 60, 30, 61]), start_s=0, speed=1, epoch_ms=EPOCH_MS)
    assert scheduled["due_s"].to_list() == [0, 0, 60, 60, 61]


def test_a_channel_starts_the_next_match_after_the_gap() -> None:
    feed = MatchFeed(
        [pl.concat([match("a", [0, 100]), match("b", [0, 50])]), match("c", [0, 10])],
        concurrent=1, speed=10, epoch_ms=EPOCH_MS, gap_s=2,
    )  # fmt: skip
    assert feed.next_due_s == 0.0
    assert feed.take(0)["match_id"].to_list() == ["a"]
    assert feed.take(11.9)["match_id"].to_list() == ["a"]
    assert feed.next_due_s == 12.0
    assert feed.take(12)["match_id"].to_list() == ["b"]
    assert feed.take(100)["match_id"].to_list() == ["b", "c", "c"]
    assert feed.next_due_s is None
    assert len(feed.take(1e9)) == 0


def test_a_head_start_puts_matches_at_different_points_at_once() -> None:
    feed = MatchFeed(
        [match(str(i), list(range(0, 101, 10))) for i in range(4)],
        concurrent=2, speed=1, epoch_ms=EPOCH_MS, head_start=True,
    )  # fmt: skip
    behind = feed.take(0)
    assert behind.group_by("match_id", maintain_order=True).len().rows() == [("0", 10), ("1", 5)]
    assert max(stamps(behind)) <= 0 and min(stamps(behind)) == -90_000


@settings(max_examples=30, deadline=None)
@given(
    lengths=st.lists(st.integers(0, 50), min_size=1, max_size=12),
    concurrent=st.integers(1, 5),
    head_start=st.booleans(),
    steps=st.lists(st.floats(0, 40), min_size=1, max_size=30),
)
def test_every_event_comes_out_once_in_time_and_in_order(
    lengths: list[int], concurrent: int, head_start: bool, steps: list[float]
) -> None:
    matches = [match(f"m{i}", [float(c) for c in range(n + 1)]) for i, n in enumerate(lengths)]
    feed = MatchFeed(matches, concurrent=concurrent, speed=2, epoch_ms=EPOCH_MS, head_start=head_start)
    chunks = []
    for now_s in itertools.accumulate([*steps, 1e6]):
        chunks.append(feed.take(now_s))
        assert all(stamp <= now_s * 1000 + 1 for stamp in stamps(chunks[-1]))
    out = pl.concat(chunks)
    assert out.schema == EVENT_SCHEMA
    assert stamps(out) == sorted(stamps(out))
    assert (
        out.group_by("match_id")
        .agg(pl.col("sequence"))
        .sort("match_id")
        .equals(pl.concat(matches).group_by("match_id").agg(pl.col("sequence")).sort("match_id"))
    )
    spans = out.group_by("match_id").agg(
        first=pl.col("event_time_ms").min().cast(pl.Int64), last=pl.col("event_time_ms").max().cast(pl.Int64)
    )
    for moment in spans["first"]:
        assert spans.filter((pl.col("first") <= moment) & (pl.col("last") >= moment)).height <= concurrent


class Clock:
    """Time that passes only when somebody sleeps."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self.naps: list[float] = []

    def __call__(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.naps.append(seconds)
        self.now_s += seconds


def test_the_pacer_waits_until_events_are_due_and_ends_with_the_feed() -> None:
    clock = Clock()
    feed = MatchFeed([match("a", [0, 1, 1.01, 5])], concurrent=1, speed=1, epoch_ms=EPOCH_MS)
    seen = [
        (round(clock.now_s - 1000, 2), chunk["sequence"].to_list())
        for chunk in Pacer(feed, clock=clock, sleep=clock.sleep, tick_s=0.05)
    ]
    assert seen == [(0.0, [0]), (1.0, [1]), (1.05, [2]), (5.0, [3])]
    assert clock.naps == pytest.approx([1.0, 0.05, 3.95])


def test_the_pacer_catches_up_after_a_stall() -> None:
    clock = Clock()
    feed = MatchFeed([match("a", [0, 1, 2, 3])], concurrent=1, speed=1, epoch_ms=EPOCH_MS)
    chunks: Iterator[pl.DataFrame] = iter(Pacer(feed, clock=clock, sleep=clock.sleep))
    next(chunks)
    clock.now_s += 10
    assert next(chunks)["sequence"].to_list() == [1, 2, 3]


def test_live_matches_never_end_and_mix_titles() -> None:
    feed = live_matches(["lol", "hok"], seed=2, concurrent=4, speed=100, epoch_ms=EPOCH_MS)
    first = feed.take(0)
    assert first["match_id"].n_unique() == 4 and set(first["title"]) == {"lol", "hok"}
    assert set(first.filter(kind="start")["origin"]) == {"simulated"}
    later = pl.concat([feed.take(30.0 * i) for i in range(1, 12)])
    assert later.filter(kind="end").height > 10 and later.filter(kind="start").height > 10
    assert feed.next_due_s is not None
    again = live_matches(["lol", "hok"], seed=2, concurrent=4, speed=100, epoch_ms=EPOCH_MS)
    assert again.take(0).equals(first)


def test_bad_feeds_are_refused() -> None:
    with pytest.raises(ValueError, match="1 or more matches at a speed above 0, not 0 at 1"):
        MatchFeed([], concurrent=0, speed=1, epoch_ms=0)
    with pytest.raises(ValueError, match="not 1 at 0"):
        live_matches(["lol"], seed=1, concurrent=1, speed=0, epoch_ms=0)
    with pytest.raises(ValueError, match="name at least one"):
        live_matches([], seed=1, concurrent=1, speed=1, epoch_ms=0)
    assert MatchFeed([], concurrent=1, speed=1, epoch_ms=0).next_due_s is None
    assert simulate("lol", 1, seed=0).events.height > 50
