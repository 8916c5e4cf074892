"""Sightings of tracks on trial: kept until the track is believed, and then told with the times at which they were made.

A track is believed at its second or third sighting, and where that matters most, at a door or the edge of a picture,
somebody has walked a metre by then. What is told late was confirmed before it is told; what is never believed is never
told.
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

ON_TRIAL = "_on_trial"
"""Column: whether the frame shows somebody who is not believed yet, and may be told of late."""

_NEVER = -1

Floats = npt.NDArray[np.float32]


class Held(NamedTuple):
    """A sighting of a track on trial."""

    captured_ms: int
    frame: int
    own: Floats  # (7,) as `OWN` names them, NaN where nothing is known


class Late(NamedTuple):
    """A sighting that is told with a later frame, by its number in the batch."""

    number: int
    track_id: int
    held: Held


def layout(most: int) -> dict[str, Column]:
    """State columns of a track, which is on trial for up to `most` sightings."""
    if not most:
        return {}
    return {
        "held_ms": Column(np.int64, (most,), default=_NEVER),
        "held_frame": Column(np.int64, (most,), default=_NEVER),
        "held": Column(np.float32, (most, len(OWN)), default=np.nan),
    }


def held_in(state: StateTable, slots: Slots) -> dict[int, list[Held]]:
    """What is kept of these tracks, by id; in order of time."""
    if "held" not in state.layout:
        return {}
    columns = (state[name][slots] for name in ("track_id", "held_ms", "held_frame", "held"))
    return {
        int(track_id): [Held(*one) for one in zip(at_ms.tolist(), frame.tolist(), own, strict=True) if one[0] != _NEVER]
        for track_id, at_ms, frame, own in zip(*columns, strict=True)
        if at_ms[0] != _NEVER
    }


def hold(state: StateTable, slots: Slots, track_ids: Iterable[int], held: Mapping[int, Sequence[Held]]) -> None:
    """Write what is kept of these tracks, which may be nothing any more."""
    if "held" not in state.layout:
        return
    state["held_ms"][slots] = state["held_frame"][slots] = _NEVER
    state["held"][slots] = np.nan
    for slot, track_id in zip(slots.tolist(), track_ids, strict=True):
        for at, one in enumerate(held.get(track_id, ())):
            state["held_ms"][slot, at], state["held_frame"][slot, at] = one.captured_ms, one.frame
            state["held"][slot, at] = one.own


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
