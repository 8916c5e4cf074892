"""What is told of a frame after it: sightings of tracks on trial, and of whom the detector missed in it.

A track is believed at its second or third sighting, and where that matters most, at a door or the edge of a picture,
somebody has walked a metre by then. So its sightings are kept until it is believed, and then told with the times at
which they were made. What is never believed is never told.

A detector misses people here and there, those most who are half hidden. Whoever is seen before and after was there in
between, on the straight way (as ByteTrack's authors fill in tracks, Zhang et al., ECCV 2022, section 4.1, though not
after the last frame but at the next sighting). Such a sighting has no score, as no detection was made.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from streaming.state import Column, Slots, StateTable

OWN = ("x0_px", "y0_px", "x1_px", "y1_px", "score", "x_m", "y_m")
"""Columns of a sighting that are its own, and not its frame's."""

INCOMPLETE = "_incomplete"
"""Column: whether sightings of the frame may follow."""

BRIDGED_MS = 1_000
"""Who was out of sight for longer may have been anywhere in between."""

RECENT = 16
"""Frames of a camera that are remembered, to tell of those between two sightings."""

_NEVER = -1

Floats = npt.NDArray[np.float32]


class Held(NamedTuple):
    """A sighting of a track that is kept: of one on trial each, of a believed one the last."""

    captured_ms: int
    frame: int
    own: Floats  # (7,) as `OWN` names them, NaN where nothing is known


class Late(NamedTuple):
    """A sighting that is told with a later frame, by its number in the batch."""

    number: int
    track_id: int
    held: Held


def layout(most: int) -> dict[str, Column]:
    """State columns of a track, of which up to `most` sightings are kept."""
    return {
        "held_ms": Column(np.int64, (most,), default=_NEVER),
        "held_frame": Column(np.int64, (most,), default=_NEVER),
        "held": Column(np.float32, (most, len(OWN)), default=np.nan),
    }


def held_in(state: StateTable, slots: Slots) -> dict[int, list[Held]]:
    """What is kept of these tracks, by id; in order of time."""
    columns = (state[name][slots] for name in ("track_id", "held_ms", "held_frame", "held"))
    return {
        int(track_id): [Held(*one) for one in zip(at_ms.tolist(), frame.tolist(), own, strict=True) if one[0] != _NEVER]
        for track_id, at_ms, frame, own in zip(*columns, strict=True)
        if at_ms[0] != _NEVER
    }


def hold(state: StateTable, slots: Slots, track_ids: Iterable[int], held: Mapping[int, Sequence[Held]]) -> None:
    """Write what is kept of these tracks, which may be nothing any more."""
    state["held_ms"][slots] = state["held_frame"][slots] = _NEVER
    state["held"][slots] = np.nan
    for slot, track_id in zip(slots.tolist(), track_ids, strict=True):
        for at, one in enumerate(held.get(track_id, ())):
            state["held_ms"][slot, at], state["held_frame"][slot, at] = one.captured_ms, one.frame
            state["held"][slot, at] = one.own


def between(before: Held, after: Held, frames: Sequence[tuple[int, int]]) -> list[Held]:
    """Where a track was while it was missed, in order of time; nothing where that is not known.

    Args:
        before: a sighting.
        after: the next one.
        frames: (captured_ms, frame) of the camera's last frames, ascending.
    """
    passed_ms = after.captured_ms - before.captured_ms
    if not frames or frames[-1][0] <= before.captured_ms or passed_ms > BRIDGED_MS:
        return []
    missed = [one for one in frames if before.captured_ms <= one[0] < after.captured_ms]
    if missed[0][0] > before.captured_ms:
        return []  # the frame before is not remembered any more
    found = []
    for at_ms, frame in missed[1:]:
        share = (at_ms - before.captured_ms) / passed_ms
        own = ((1 - share) * before.own + share * after.own).astype(np.float32)
        own[OWN.index("score")] = np.nan
        found.append(Held(at_ms, frame, own))
    return found


def late_rows(late: Sequence[Late], heads: pl.DataFrame, schema: pl.Schema) -> pl.DataFrame:
    """Rows of these sightings: what belongs to the record is that of the frame with which they are told.

    Args:
        late: what to tell.
        heads: a row a frame of the batch.
        schema: of rows of sightings; columns that are known of none stay out.
    """
    of_record = ["camera_id", *(name for name in heads.columns if name.startswith("_"))]
    own = np.array([one.held.own for one in late], dtype=np.float32).reshape(-1, len(OWN))
    columns = {name: pl.Series(own[:, at]).fill_nan(None) for at, name in enumerate(OWN) if name in schema}
    return (
        heads[[one.number for one in late]]
        .select(of_record)
        .with_columns(
            pl.Series("captured_ms", [one.held.captured_ms for one in late], pl.Int64).cast(schema["captured_ms"]),
            pl.Series("frame", [one.held.frame for one in late], pl.Int64).cast(schema["frame"]),
            pl.Series("track_id", [one.track_id for one in late], pl.Int64),
            **{name: values.cast(schema[name]) for name, values in columns.items()},
        )
    )
