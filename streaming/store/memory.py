"""What is remembered of sightings: per camera, track and slice of 2 s where somebody stood in each fifth of a second;
and what each closed window handed on.

A slice is a set: of several rows in one fifth the newest holds, of equal times the later one. So rows may come in any
order and twice, and a window can be counted again when one was late or an identity was corrected.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import polars as pl

from streaming.event_time import Ints
from streaming.layouts import Columns
from streaming.state import Column, Slots, StateTable
from streaming.store.carry import Carry
from streaming.store.clock import CAMERA_LAYOUT, STORE_LAYOUT
from streaming.store.geometry import Bools

SLICE_MS, FIX_MS = 2_000, 200
"""A place is kept so often: who walks through a door is near its line for a second."""
FIXES = SLICE_MS // FIX_MS
NOBODY = -1
"""Track of a frame that shows nobody."""

_NEVER = np.iinfo(np.int64).max

_SLICE_LAYOUT = {
    "slice_ms": Column(np.int64, default=_NEVER),  # start
    "camera": Column(str),
    "track": Column(np.int64),
    "person": Column(str),  # empty: not known
    "is_clear": Column(np.bool_, default=False),  # a frame that shows the place is among them
    "x": Column(np.float32, (FIXES,), default=np.nan),
    "y": Column(np.float32, (FIXES,), default=np.nan),
    "is_floor": Column(np.bool_, (FIXES,), default=False),  # metres on the floor, else pixels
    "at_ms": Column(np.int32, (FIXES,), default=-1),  # when in the slice; -1: not seen
}
_WINDOW_LAYOUT = {
    "window_ms": Column(np.int64, default=_NEVER),  # start
    "issued": Column(np.int32, default=0),  # so many times
    "carry": Column(str),
    "checks": Column(str),  # of the figures as issued last
}
_CORRECTION_LAYOUT = {
    "from_ms": Column(np.int64, default=_NEVER),
    "new_person": Column(str),
    "order": Column(np.int64),
}
_PLACE = ("x", "y", "is_floor", "at_ms")
LAYOUT = {**CAMERA_LAYOUT, **STORE_LAYOUT, "closed_ms": Column(np.int64, default=-1),
          "final_ms": Column(np.int64, default=-1),
          "dirty_ms": Column(np.int64, default=_NEVER), **_SLICE_LAYOUT, **_WINDOW_LAYOUT,
          **_CORRECTION_LAYOUT}  # fmt: skip
"""State columns of the stage; a row uses those of its kind: `@store`, `@camera/…`, `s…`, `w…`, `c…`."""


def taken_over(columns: Columns) -> Columns:
    """Rows of the layout before this one, with a place for each step: `streaming.layouts.Migrate`."""
    if "at_ms" not in columns or columns["at_ms"].shape[1] == FIXES:
        return columns
    at_ms = columns["at_ms"]
    row, step = np.nonzero(at_ms >= 0)
    wide = {name: LAYOUT[name].empty(len(at_ms)) for name in _PLACE}
    for name, places in wide.items():
        places[row, at_ms[row, step] // FIX_MS] = columns[name][row, step]
    return {**columns, **wide}


class Slices(NamedTuple):
    """N slices, in no order."""

    slots: Slots  # (N,)
    slice_ms: Ints  # (N,)
    camera: list[str]
    track: list[int]
    person: list[str]

    @property
    def keys(self) -> list[str]:
        """Their state keys."""
        columns = zip(self.slice_ms.tolist(), self.camera, self.track, self.person, strict=True)
        return [slice_key(*values) for values in columns]


@dataclass(frozen=True)
class Rename:
    """An identity that became another one, from `from_ms` on; empty for nobody, which only a track has."""

    old: str
    new: str
    from_ms: int
    camera: str = ""  # with `track`: only what this camera saw as it
    track: int = NOBODY


def slice_key(slice_ms: int, camera: str, track: int, person: str) -> str:
    """State key of a slice; a camera's name has no slash, and the person stands last."""
    return f"s{slice_ms}/{camera}/{track}/{person}"


def window_key(window_ms: int) -> str:
    """State key of a closed window."""
    return f"w{window_ms}"


def unlinked(camera: str, track: int) -> str:
    """Who somebody is taken for that has no identity yet."""
    return f"{camera}#{track}"


def slices(state: StateTable, start_ms: int = 0, end_ms: int = _NEVER) -> Slices:
    """All that begin in [start, end)."""
    slots = np.flatnonzero((state["slice_ms"] >= start_ms) & (state["slice_ms"] < end_ms))
    texts = (state["camera"][slots].tolist(), state["track"][slots].tolist(), state["person"][slots].tolist())
    return Slices(slots, state["slice_ms"][slots], *texts)


def windows(state: StateTable) -> list[int]:
    """Starts of the closed windows that are remembered, ascending."""
    return sorted(state["window_ms"][state["window_ms"] != _NEVER].tolist())


def carry_of(state: StateTable, window_ms: int | None) -> Carry:
    """What a window handed on; nothing for None."""
    if window_ms is None:
        return Carry()
    (slot,) = state.slots([window_key(window_ms)])
    return Carry.from_json(state["carry"][slot])


def absorb(rows: pl.DataFrame, state: StateTable) -> None:
    """Take sightings in, with `_time_ms, _x, _y, _on_floor, _order`; frames that show nobody have no track."""
    if rows.is_empty():
        return
    fix = pl.col("_time_ms") % SLICE_MS // FIX_MS
    newest = (
        rows.select(
            (pl.col("_time_ms") // SLICE_MS * SLICE_MS).alias("slice_ms"), pl.col("camera_id").alias("camera"),
            pl.col("track_id").fill_null(NOBODY).alias("track"), pl.when(pl.col("track_id").is_null()).then(pl.lit("")).
            otherwise(pl.col("person_id").fill_null("")).alias("person"), fix.alias("fix"), (pl.col("_time_ms") %
            SLICE_MS).alias("at_ms"), "_on_floor", "_x", "_y", "covered", "_order",
        )
        .sort("at_ms", "_order")
        .with_columns(is_clear=(~pl.col("covered")).any().over("slice_ms", "camera", "track", "person"))
        .unique(("slice_ms", "camera", "track", "person", "fix"), keep="last", maintain_order=True)
    )  # fmt: skip
    names = zip(*(newest[name].to_list() for name in ("slice_ms", "camera", "track", "person")), strict=True)
    keys = [slice_key(*values) for values in names]
    slots, column = state.slots(keys), newest["fix"].to_numpy()
    at_ms = newest["at_ms"].to_numpy()
    for name in ("slice_ms", "camera", "track", "person"):
        state[name][slots] = newest[name].to_list()
    state["is_clear"][slots] |= newest["is_clear"].to_numpy()
    newer: Bools = at_ms >= state["at_ms"][slots, column]
    slots, column = slots[newer], column[newer]
    state["at_ms"][slots, column] = at_ms[newer]
    state["x"][slots, column] = newest["_x"].to_numpy()[newer]
    state["y"][slots, column] = newest["_y"].to_numpy()[newer]
    state["is_floor"][slots, column] = newest["_on_floor"].to_numpy()[newer]
    state.touch(keys)


def note_corrections(rows: pl.DataFrame, state: StateTable) -> None:
    """Keep corrections of identities, with `_from_ms, _order`, until the next window closes."""
    for row in rows.iter_rows(named=True):
        key = f"c{row['_partition']}/{row['_offset']}"
        (slot,) = state.slots([key])
        state["from_ms"][slot], state["order"][slot] = row["_from_ms"], row["_order"]
        state["person"][slot] = row["corrects_person_id"] or ""
        state["new_person"][slot] = row["person_id"] or ""
        state["camera"][slot] = row["camera_id"]
        state["track"][slot] = NOBODY if row["track_id"] is None else row["track_id"]
        state.touch([key])


def take_corrections(state: StateTable) -> list[Rename]:
    """Those that were noted, in the order in which they came; they are forgotten."""
    slots = np.flatnonzero(state["from_ms"] != _NEVER).tolist()
    slots.sort(key=lambda slot: (int(state["order"][slot]), int(state["from_ms"][slot])))
    taken = [
        Rename(
            old=str(state["person"][slot]),
            new=str(state["new_person"][slot]),
            from_ms=int(state["from_ms"][slot]),
            camera=str(state["camera"][slot]),
            track=int(state["track"][slot]),
        )
        for slot in slots
    ]
    chosen: Bools = np.zeros(len(state["from_ms"]), bool)
    chosen[slots] = True
    _delete(state, "from_ms", chosen)
    return taken


def links(held: Slices) -> list[Rename]:
    """Tracks of which some slices know the person and others do not."""
    known: dict[tuple[str, int], tuple[int, str]] = {}
    of = list(zip(held.camera, held.track, strict=True))
    for track, slice_ms, person in zip(of, held.slice_ms.tolist(), held.person, strict=True):
        if person:
            known[track] = min(known.get(track, (slice_ms, person)), (slice_ms, person))
    wanting = {track for track, person in zip(of, held.person, strict=True) if not person and track in known}
    return [Rename("", known[track][1], 0, *track) for track in sorted(wanting)]


def apply(rename: Rename, state: StateTable) -> int:
    """Move what the old identity did from then on to the new one; start of the first slice that changed, or never."""
    held = slices(state, rename.from_ms - SLICE_MS + 1)
    at_ms = state["at_ms"][held.slots]
    moves = (at_ms >= 0) & (held.slice_ms[:, None] + at_ms >= rename.from_ms)
    chosen = moves.any(axis=1) & np.array([person == rename.old for person in held.person], dtype=bool)
    if rename.track != NOBODY:
        chosen &= np.array([camera == rename.camera for camera in held.camera], dtype=bool)
        chosen &= np.array(held.track, dtype=np.int64) == rename.track
    where = np.flatnonzero(chosen).tolist()
    if not where:
        return _NEVER
    keys = held.keys
    old_keys = [keys[i] for i in where]
    new_keys = [slice_key(int(held.slice_ms[i]), held.camera[i], held.track[i], rename.new) for i in where]
    new = state.slots(new_keys)
    old, moves, at_ms = held.slots[chosen], moves[chosen], at_ms[chosen]
    for name in ("slice_ms", "camera", "track"):
        state[name][new] = state[name][old]
    state["person"][new] = rename.new
    state["is_clear"][new] |= state["is_clear"][old]
    takes = moves & (at_ms >= state["at_ms"][new])
    for name in _PLACE:
        state[name][new] = np.where(takes, state[name][old], state[name][new])
    state["at_ms"][old] = np.where(moves, -1, at_ms)
    state.touch([*old_keys, *new_keys])
    is_empty = (state["at_ms"][old] < 0).all(axis=1)
    state["slice_ms"][old[is_empty]] = _NEVER
    state.delete([key for key, empty in zip(old_keys, is_empty.tolist(), strict=True) if empty])
    return int(held.slice_ms[chosen].min())


def forget_slices(state: StateTable, before_ms: int) -> None:
    """Delete slices that begin before this time."""
    _delete(state, "slice_ms", state["slice_ms"] < before_ms)


def forget_windows(state: StateTable, starts: Iterable[int]) -> None:
    """Delete closed windows."""
    keys: Sequence[str] = [window_key(start) for start in starts]
    state["window_ms"][state.slots(keys)] = _NEVER
    state.delete(keys)


def _delete(state: StateTable, mark: str, chosen: Bools) -> None:
    keys = state.keys_where(chosen)
    state[mark][chosen] = _NEVER  # else a free slot would look as if it were in use
    state.delete(keys)
