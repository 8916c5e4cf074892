"""Sightings folded into windows of event time, store-wide: which close when, and what is counted again.

A window closes when the store's time (`streaming.store.clock`) reaches its end plus `lateness_s`, if any camera looked
while it lasted; what nobody looked at is not reported as empty. Until `horizon_s` after that its slices are kept. Rows
that come for a closed window, and corrections of identities, are gathered until the next window closes or a tick comes;
then every window from the first that they touch is counted again, and figures that changed leave with the next
revision. So is one as whose end somebody was out of sight whom a later window sees again. Beyond the horizon a row is
dropped, and a correction reaches no further; either way rows that came after their window had closed are counted as
late.

What leaves is the same however the stream is cut into batches; a window is issued with the row that closed it, the last
of the partitions to come so far, so with other interleavings of partitions the figures are the same and the row may be
another. As with `streaming.windows`, two runs whose ticks fall otherwise may issue windows at other moments.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from streaming.event_time import Ints
from streaming.state import StateTable
from streaming.store import memory
from streaming.store.clock import CLOCK_WENT_BACK, STORE_KEY, StoreClock
from streaming.store.counting import Counted, WindowCount
from streaming.store.memory import NOBODY, SLICE_MS, Rename, unlinked
from streaming.store.plan import StorePlan
from streaming.store.sightings import feet
from streaming.windows.clock import ORIGIN
from streaming.windows.definition import milliseconds

_NEVER = np.iinfo(np.int64).max

Row = dict[str, Any]
Report = Callable[[Counted], list[Row]]
"""What is to be said of a window: as many rows for every window of a plan, where windows may be corrected."""


class Closed(NamedTuple):
    """A window that is over."""

    counted: Counted
    rows: list[Row]  # of its report, those that have changed since it was issued last
    revision: int
    origin: dict[str, int]  # `_partition`, `_offset`, ... of the row that closed it
    closed_by: str  # data or tick
    renames: tuple[Rename, ...]
    """Identities that became others since the window before, with the first of several windows."""


@dataclass(frozen=True)
class Folding:
    """How windows are made.

    Args of `of`:
        window_s: their length, a multiple of 2 s.
        lateness_s: how long the store's time goes on before one closes.
        horizon_s: how long after that it may be corrected, a multiple of `window_s`.
        hold_s: how far behind the newest a camera may be for the others to wait for it.
        idle_s: how long the store's time stands still, by the wall clock, before a tick moves it on.
    """

    plan: StorePlan
    clock: StoreClock
    count: WindowCount
    report: Report
    window_ms: int
    lateness_ms: int
    horizon_ms: int

    @classmethod
    def of(
        cls,
        plan: StorePlan,
        report: Report,
        *,
        window_s: float,
        lateness_s: float,
        horizon_s: float,
        hold_s: float,
        idle_s: float,
    ) -> Folding:
        """Raises ValueError: a duration is out of range, or not the multiple that it has to be."""
        window_ms, horizon_ms = milliseconds("window_s", window_s), milliseconds("horizon_s", horizon_s, least_s=0.0)
        if window_ms % SLICE_MS:
            raise ValueError(f"window_s is {window_s}, not a multiple of {SLICE_MS / 1000:g}")
        if horizon_ms % window_ms:
            raise ValueError(f"horizon_s is {horizon_s}, not a multiple of window_s, {window_s}")
        cameras = [camera.name for camera in plan.camera]
        clock = StoreClock(cameras, milliseconds("hold_s", hold_s), milliseconds("idle_s", idle_s))
        lateness_ms = milliseconds("lateness_s", lateness_s, least_s=0.0)
        return cls(plan, clock, WindowCount(plan, horizon_ms), report, window_ms, lateness_ms, horizon_ms)

    def fold(self, rows: pl.DataFrame, state: StateTable) -> tuple[list[Closed], pl.DataFrame]:
        """Windows that N rows closed, in order; and the rows that are refused, with `_reject`."""
        rows = rows.with_columns(
            _time_ms=pl.col("captured_ms").to_physical(),
            _from_ms=pl.col("corrects_from_ms").to_physical(),
            _is_correction=pl.col("corrects_from_ms").is_not_null(),
            _order=pl.col("_offset"),
        )
        (store,) = state.slots([STORE_KEY])
        was_ms = int(state["reached_ms"][store])
        reached_ms, went_back = self.clock.advance(rows, state)
        refused = rows.filter(went_back).with_columns(
            _reject=pl.format(
                f"{CLOCK_WENT_BACK}: captured_ms is {{}} at frame {{}}, earlier than a frame before it; camera {{}} "
                "counts again once its clock has caught up",
                "_time_ms",
                "frame",
                "camera_id",
            )
        )
        rows = feet(rows, self.plan).with_columns(_reached_ms=pl.Series(reached_ms), _went_back=pl.Series(went_back))
        closed: list[Closed] = []
        start = 0
        for end in self._boundaries(reached_ms, was_ms):
            self._take(rows[start:end], state)
            last = rows.row(end - 1, named=True)
            origin = {name: last[name] for name in ORIGIN}
            closed += self._close(int(reached_ms[end - 1]), origin, "data", state)
            start = end
        self._take(rows[start:], state)
        return closed, refused

    def tick(self, now_ms: int, partitions: Collection[int], state: StateTable) -> list[Closed]:
        """Windows that are due since nothing comes any more."""
        origin = self.clock.last_row(partitions, state)
        if origin is None:
            return []
        would_ms = self.clock.of_tick(now_ms, partitions, state)
        (store,) = state.slots([STORE_KEY])
        if would_ms <= state["reached_ms"][store]:
            return []
        open_ms = [start for start in self._open(state) if start + self.window_ms + self.lateness_ms <= would_ms]
        has_news = state["dirty_ms"][store] != _NEVER or bool((state["from_ms"] != _NEVER).any())
        if not open_ms and not has_news:
            return []
        due_ms = max((start + self.window_ms + self.lateness_ms for start in open_ms), default=-1)
        state["reached_ms"][store] = max(due_ms, int(state["reached_ms"][store]))
        return list(self._close(int(state["reached_ms"][store]), origin, "tick", state))

    def _boundaries(self, reached_ms: Ints, was_ms: int) -> list[int]:
        """Numbers of rows up to and including those with which windows may close."""
        periods = (np.concatenate([[was_ms], reached_ms]) - self.lateness_ms) // self.window_ms
        return [int(end) for end in np.flatnonzero(np.diff(periods)) + 1]

    def _take(self, rows: pl.DataFrame, state: StateTable) -> None:
        """Remember rows, none of which meets a window that closed among them."""
        if rows.is_empty():
            return
        rows = rows.filter(~pl.col("_went_back"))
        memory.note_corrections(rows.filter("_is_correction"), state)
        (store,) = state.slots([STORE_KEY])
        start_ms = pl.col("_time_ms") // self.window_ms * self.window_ms
        behind_ms = pl.col("_reached_ms") - (start_ms + self.window_ms + self.lateness_ms)
        rows = rows.filter(~pl.col("_is_correction")).with_columns(_start_ms=start_ms, _behind_ms=behind_ms)
        is_gone = rows["_behind_ms"] >= self.horizon_ms
        is_late = rows["_start_ms"] < int(state["closed_ms"][store])
        state["late_total"][store] += int((is_gone | is_late).sum())
        for start in rows.filter(is_late & ~is_gone)["_start_ms"].unique().to_list():
            state["dirty_ms"][store] = min(int(state["dirty_ms"][store]), start)
        rows = rows.filter(~is_gone)
        memory.absorb(rows, state)

    def _open(self, state: StateTable) -> list[int]:
        """Starts of windows in which a camera looked and that have not closed, ascending."""
        (store,) = state.slots([STORE_KEY])
        held = state["slice_ms"]
        starts = np.unique(held[(held != _NEVER) & (held >= state["closed_ms"][store])] // self.window_ms)
        return [int(start) for start in starts * self.window_ms]

    def _close(self, reached_ms: int, origin: dict[str, int], closed_by: str, state: StateTable) -> Iterator[Closed]:
        """Count all that is due at this time, again where something came since."""
        (store,) = state.slots([STORE_KEY])
        due = [start for start in self._open(state) if start + self.window_ms + self.lateness_ms <= reached_ms]
        renames = self._rename(state)
        dirty_ms = int(state["dirty_ms"][store])
        again = self._closed_since(dirty_ms - self.count.around_ms, state) if dirty_ms != _NEVER else []
        for start in due:
            # One by one, so that figures do not hang on how many are due at once.
            changed_ms = self.count.changed_by(start, self.window_ms, state)
            if changed_ms is not None:
                again = sorted({*again, *self._closed_since(changed_ms, state)})
            yield from self._counted([*again, start], min(dirty_ms, start), state, origin, closed_by, renames)
            again, renames, dirty_ms = [], (), _NEVER
            state["closed_ms"][store] = start + self.window_ms
        if again:
            yield from self._counted(again, dirty_ms, state, origin, closed_by, renames)
        state["dirty_ms"][store] = _NEVER
        state.touch([STORE_KEY])
        self._expire(reached_ms, state)

    def _closed_since(self, from_ms: int, state: StateTable) -> list[int]:
        """Starts of windows that have closed and may be counted again, from that of this time on."""
        (store,) = state.slots([STORE_KEY])
        first_ms = max(from_ms // self.window_ms * self.window_ms, int(state["final_ms"][store]))
        return [start for start in self._held(state) if first_ms <= start < int(state["closed_ms"][store])]

    def _held(self, state: StateTable) -> list[int]:
        """Starts of windows that are remembered, by what they handed on or by their slices."""
        held = state["slice_ms"]
        starts = np.unique(held[held != _NEVER] // self.window_ms) * self.window_ms
        return sorted({*starts.tolist(), *memory.windows(state)})

    def _rename(self, state: StateTable) -> tuple[Rename, ...]:
        """Correct identities, and note from which window on that changes anything."""
        (store,) = state.slots([STORE_KEY])
        renames = memory.take_corrections(state)
        self._apply(renames, state)
        # Only now: what a correction took back must not link the rest of its track.
        linked = memory.links(memory.slices(state))
        self._apply(linked, state)
        renames += linked
        dirty_ms = min(int(state["dirty_ms"][store]), int(state["closed_ms"][store]))
        dirty_ms = max(dirty_ms, int(state["final_ms"][store]))
        base = max((start for start in memory.windows(state) if start < dirty_ms), default=None)
        whole = [rename for rename in renames if not rename.old or rename.track == NOBODY]
        named = [
            Rename(rename.old or unlinked(rename.camera, rename.track), rename.new, rename.from_ms) for rename in whole
        ]
        if named and base is not None:
            # What is older than all that can be counted again goes over as it stands, or the visit would break in two.
            was = carry = memory.carry_of(state, base)
            for rename in named:
                if rename.from_ms < base + self.window_ms:
                    carry = carry.renamed(rename.old, rename.new)
            if carry != was:
                key = memory.window_key(base)
                state["carry"][state.slots([key])] = carry.to_json()
                state.touch([key])
                state["final_ms"][store] = max(int(state["final_ms"][store]), base + self.window_ms)
        return tuple(named)

    def _apply(self, renames: Sequence[Rename], state: StateTable) -> None:
        (store,) = state.slots([STORE_KEY])
        for rename in renames:
            changed_ms = memory.apply(rename, state)
            if changed_ms < state["closed_ms"][store]:
                start_ms = changed_ms // self.window_ms * self.window_ms
                state["dirty_ms"][store] = min(int(state["dirty_ms"][store]), start_ms)

    def _counted(
        self,
        starts: Sequence[int],
        same_ms: int,
        state: StateTable,
        origin: dict[str, int],
        closed_by: str,
        renames: tuple[Rename, ...],
    ) -> Iterator[Closed]:
        """Count windows that follow one another; all that was seen up to the end of the last, or before what has
        closed, is known. Up to `same_ms` all was seen when they were counted last, under the same names."""
        (store,) = state.slots([STORE_KEY])
        known_ms = max(starts[-1] + self.window_ms, int(state["closed_ms"][store]))
        carry = memory.carry_of(state, max((one for one in memory.windows(state) if one < starts[0]), default=None))
        around = self.count.around(starts[0], starts[-1] + self.window_ms, known_ms, state)
        issued = set(memory.windows(state))
        for start in starts:
            is_same = start + self.window_ms <= same_ms and start in issued
            was = memory.carry_of(state, start) if is_same else None
            counted = self.count(start, self.window_ms, carry, around, state, was)
            closed = self._issued(counted, state, origin, closed_by, renames)
            carry, renames = closed.counted.carry, ()
            yield closed

    def _issued(
        self,
        counted: Counted,
        state: StateTable,
        origin: dict[str, int],
        closed_by: str,
        renames: tuple[Rename, ...],
    ) -> Closed:
        rows = self.report(counted)
        checks = [f"{zlib.crc32(repr(row).encode()):08x}" for row in rows]
        key = memory.window_key(counted.start_ms)
        (slot,) = state.slots([key])
        before, revision = str(state["checks"][slot]).split(), int(state["issued"][slot])
        if len(before) == len(checks):
            rows = [row for row, now, was in zip(rows, checks, before, strict=True) if now != was]
        state["window_ms"][slot], state["carry"][slot] = counted.start_ms, counted.carry.to_json()
        state["checks"][slot] = " ".join(checks)
        state["issued"][slot] = revision + bool(rows)
        state.touch([key])
        return Closed(counted, rows, revision, origin, closed_by, renames)

    def _expire(self, reached_ms: int, state: StateTable) -> None:
        """Forget what is final, but for what the oldest window that is not goes on from."""
        final_ms = (reached_ms - self.lateness_ms - self.horizon_ms) // self.window_ms * self.window_ms
        (store,) = state.slots([STORE_KEY])
        state["final_ms"][store] = max(final_ms, int(state["final_ms"][store]))
        memory.forget_slices(state, min(final_ms, int(state["closed_ms"][store])) - self.count.around_ms)
        final = [start for start in memory.windows(state) if start + self.window_ms <= final_ms]
        memory.forget_windows(state, final[:-1])
