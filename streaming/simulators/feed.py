"""Matches on air: whole matches in, the events that are due out. One seam for simulated and for replayed matches.

    feed = live_matches(["lol", "hok"], seed=7, concurrent=8, speed=20, epoch_ms=now_ms())      endless
    feed = MatchFeed([imported.events], concurrent=4, speed=60, epoch_ms=now_ms())              bounded
    for chunk in Pacer(feed):
        ...  # an event frame, at the time it is due

`MatchFeed` knows no clock: it is asked for what is due up to a time. `Pacer` is the thin part that waits.
Event times are restamped to the moment at which an event is due, as if the match were live.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol

import numpy as np
import polars as pl

from streaming.features.match import EVENT_SCHEMA
from streaming.simulators.match import simulate, simulated_league
from streaming.simulators.titles import FIRST_PATCH, Patch

_AT_ONCE = 64  # of one title alone, where many are wanted
BATCH_MATCHES = 8  # simulated at a time, per title: a fraction of a second's work


def schedule(
    events: pl.DataFrame, *, start_s: float, speed: float, epoch_ms: int, time_lapse: float = 1.0
) -> pl.DataFrame:
    """One match's events with `due_s`, seconds of feed time, and event times restamped to it.

    Args:
        events: an event frame of one match, in sequence order. Clocks before 0 (drafts) are due at the start.
        start_s: feed time of clock 0; may be negative.
        speed: game seconds per second.
        epoch_ms: event time of feed time 0, UTC.
        time_lapse: seconds of event time per second of feed time.
    """
    # A feed may state a clock a little late; its order is the sequence, so due times never fall.
    due_s = start_s + pl.col("clock_s").clip(0.0).cum_max() / speed
    stamp = (epoch_ms + due_s * 1000.0 * time_lapse).round().cast(pl.Int64).cast(EVENT_SCHEMA["event_time_ms"])
    return events.with_columns(event_time_ms=stamp, due_s=due_s)


class MatchFeed:
    """Puts matches on `concurrent` channels, the next match on the channel that is free first.

    Args:
        batches: event frames of whole matches, each match in one piece; taken as needed, so they may be endless.
        concurrent: matches on air at once, at most.
        speed: game seconds per second.
        epoch_ms: event time of feed time 0, UTC.
        gap_s: seconds of feed time between two matches of a channel.
        head_start: let the first matches be in progress at time 0, each one further than the next; what they have
            behind them is due at once.
        time_lapse: seconds of event time per second of feed time: at the same number as `speed` a season in fast
            motion, of which all that goes by event time sees matches as long as they are.

    Raises:
        ValueError: `concurrent` or `speed` is not positive.
    """

    def __init__(
        self,
        batches: Iterable[pl.DataFrame],
        *,
        concurrent: int,
        speed: float,
        epoch_ms: int,
        gap_s: float = 2.0,
        head_start: bool = False,
        time_lapse: float = 1.0,
    ) -> None:
        if concurrent < 1 or not speed > 0:
            raise ValueError(f"a feed needs 1 or more matches at a speed above 0, not {concurrent} at {speed}")
        self._matches = _single_matches(batches)
        self._upcoming = next(self._matches, None)
        self._speed, self._epoch_ms, self._gap_s, self._time_lapse = speed, epoch_ms, gap_s, time_lapse
        self._free_s = [0.0] * concurrent
        self._head_starts = [0.9 * (1.0 - i / concurrent) if head_start else 0.0 for i in range(concurrent)]
        self._pending = EVENT_SCHEMA.to_frame().with_columns(due_s=pl.lit(0.0))

    def begin_at(self, epoch_ms: int) -> None:
        """Let feed time 0 be this event time instead; before the first `take`."""
        self._epoch_ms = epoch_ms

    @property
    def next_due_s(self) -> float | None:
        """Feed time at which something is due next; None when all is over."""
        due_s = [self._pending["due_s"][0]] if len(self._pending) else []
        if self._upcoming is not None:
            due_s.append(min(self._free_s))
        return min(due_s, default=None)

    def take(self, until_s: float) -> pl.DataFrame:
        """The events due up to and including feed time `until_s` that were not taken before, in order of due time:
        an event frame."""
        while self._upcoming is not None and min(self._free_s) <= until_s:
            self._start(self._upcoming)
            self._upcoming = next(self._matches, None)
        due = self._pending["due_s"].search_sorted(until_s, side="right")
        taken, self._pending = self._pending[:due], self._pending[due:]
        return taken.drop("due_s")

    def _start(self, events: pl.DataFrame) -> None:
        channel = self._free_s.index(min(self._free_s))
        duration_s = max(float(events["clock_s"].max() or 0.0), 0.0) / self._speed  # type: ignore[arg-type]
        start_s = self._free_s[channel] - self._head_starts[channel] * duration_s
        self._head_starts[channel] = 0.0
        self._free_s[channel] = start_s + duration_s + self._gap_s
        match = schedule(
            events, start_s=start_s, speed=self._speed, epoch_ms=self._epoch_ms, time_lapse=self._time_lapse
        )
        self._pending = pl.concat([self._pending, match]).sort("due_s", maintain_order=True)


class Feed(Protocol):
    """What a pacer paces."""

    @property
    def next_due_s(self) -> float | None:
        """Feed time at which something is due next; None when all is over."""

    def take(self, until_s: float) -> pl.DataFrame:
        """What is due up to and including feed time `until_s` and was not taken before."""


class Pacer:
    """Iterates over a feed's chunks, each when it is due, until the feed is over.

    Args:
        feed: what to pace.
        clock: seconds that never fall.
        sleep: waits; handing in an event's `wait` lets another thread cut a wait short.
        tick_s: events less than this apart may share a chunk.
    """

    def __init__(
        self,
        feed: Feed,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
        tick_s: float = 0.05,
    ) -> None:
        self._feed, self._clock, self._sleep, self._tick_s = feed, clock, sleep, tick_s

    def __iter__(self) -> Iterator[pl.DataFrame]:
        start = self._clock()
        while (due_s := self._feed.next_due_s) is not None:
            wait_s = start + due_s - self._clock()
            if wait_s > 0:
                self._sleep(max(wait_s, self._tick_s))
            chunk = self._feed.take(self._clock() - start)
            if len(chunk):
                yield chunk


def live_matches(
    titles: Sequence[str], seed: int, *, concurrent: int, speed: float, epoch_ms: int, head_start: bool = True
) -> MatchFeed:
    """An endless feed of simulated matches, the titles taking turns; each title has one league that plays on and on.

    Raises:
        KeyError: a title that cannot be simulated.
        ValueError: no title, or `concurrent` or `speed` is not positive.
    """
    if not titles:
        raise ValueError("live matches of no title: name at least one")
    return MatchFeed(
        _seasons(titles, seed), concurrent=concurrent, speed=speed, epoch_ms=epoch_ms, head_start=head_start
    )


def season_with_patch(title: str, seed: int, *, patch: Patch, after: int) -> Iterator[pl.DataFrame]:
    """An endless season of one league in which a patch comes after so many matches: event frames for a `MatchFeed`.

    Raises:
        KeyError: a title that cannot be simulated.
    """
    league = simulated_league(title, seed)
    first = 0
    while True:
        count = min(_AT_ONCE, after - first) if first < after else _AT_ONCE
        played = FIRST_PATCH if first < after else patch
        yield simulate(title, count, seed, league=league, first=first, patch=played).events
        first += count


def _seasons(titles: Sequence[str], seed: int) -> Iterator[pl.DataFrame]:
    # Each title a league of its own: the same names and fixtures side by side would look like a mistake.
    seasons = [_season(title, seed + number) for number, title in enumerate(titles)]
    for season in itertools.cycle(seasons):
        yield next(season)


def _season(title: str, seed: int) -> Iterator[pl.DataFrame]:
    league = simulated_league(title, seed)
    batches = (
        simulate(title, BATCH_MATCHES, seed, league=league, first=first).events
        for first in itertools.count(0, BATCH_MATCHES)
    )
    return _single_matches(batches)


def _single_matches(batches: Iterable[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    for batch in batches:
        changes = (batch["match_id"] != batch["match_id"].shift(1)).fill_null(True)
        starts = [*np.flatnonzero(changes.to_numpy()), len(batch)]
        for start, end in itertools.pairwise(starts):
            yield batch[int(start) : int(end)]
