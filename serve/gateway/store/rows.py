"""Decoded frames as the rows that the board of the store keeps. Pure; the conversion happens off the event loop."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from serve.gateway.position import Mark
from serve.gateway.rows import Offsets
from serve.gateway.store.schemas import AlertEntry, SeenPerson
from streaming.store.sightings import MAX_ID_BYTES, MAX_POSITION

FIGURES = (
    "people", "occupancy_mean", "occupancy_max", "occupancy_end", "entered", "left", "dwell_mean_s", "dwell_max_s",
    "longest_s", "crossed_in", "crossed_out",
)  # fmt: skip


Box = tuple[float, float, float, float]
"""x0, y0, x1, y1 in the camera's own pixels."""
MAX_FOUND = 1_024
"""Boxes of one frame; further ones are passed over."""


class MetricRow(NamedTuple):
    """One row of store.metrics. A tuple, because a day of a store has a hundred thousand."""

    zone_id: str
    kind: str
    start_ms: int
    end_ms: int
    revision: int
    emit_ms: int
    mark: Mark
    figures: tuple[Any, ...]  # as `FIGURES` names them
    labels: tuple[str, ...]
    counts: tuple[int, ...]
    cells: bytes  # int32
    cell_s: bytes  # float32, one for each cell

    @property
    def key(self) -> tuple[str, int]:
        """Of two rows of one key the higher revision holds."""
        return self.zone_id, self.start_ms

    def figure(self, name: str) -> Any:
        """One of the columns that are numbers."""
        return self.figures[FIGURES.index(name)]

    def told(self) -> dict[str, Any]:
        """All of the figures by name."""
        return dict(zip(FIGURES, self.figures, strict=True))


class Seen(NamedTuple):
    """One camera's frame: who is in it."""

    camera_id: str
    captured_ms: int
    frame: int
    covered: bool
    people: tuple[SeenPerson, ...]
    embedding: str = ""  # the weights that tell people apart; empty where sightings do not say
    found: tuple[Box, ...] = ()  # of all persons, of confirmed tracks or not; empty where sightings do not say


class Correction(NamedTuple):
    """An identity became another, for a whole person or for one track of a camera; None: nobody."""

    old: str | None
    new: str | None
    camera_id: str | None  # with `track_id`: only what this camera saw as it
    track_id: int | None


def metric_rows(frame: pl.DataFrame, partition: int, offsets: Offsets) -> list[MetricRow]:
    """Rows of store.metrics; `offsets` (N,) are those of the frame's rows."""
    times = ("window_start_ms", "window_end_ms", "emit_time_ms")
    shown = _in_ms(frame, *times).with_columns(pl.Series("_mark", offsets, pl.Int64))
    shown = shown.filter(pl.col("window_end_ms") > pl.col("window_start_ms"))
    return [
        MetricRow(
            zone_id=sys.intern(row["zone_id"]),
            kind=sys.intern(row["kind"]),
            start_ms=row["window_start_ms"],
            end_ms=row["window_end_ms"],
            revision=row["revision"],
            emit_ms=row["emit_time_ms"],
            mark=Mark(partition, row["_mark"]),
            figures=tuple(row[name] for name in FIGURES),
            labels=tuple(map(sys.intern, row["labels"])),
            counts=tuple(row["counts"]),
            cells=np.asarray(row["cells"], np.int32).tobytes(),
            cell_s=np.asarray(row["cell_s"], np.float32).tobytes(),
        )
        for row in shown.iter_rows(named=True)
        if len(row["cells"]) == len(row["cell_s"]) and len(row["labels"]) == len(row["counts"])
    ]


def alert_rows(frame: pl.DataFrame, partition: int, offsets: Offsets) -> list[tuple[Mark, AlertEntry]]:
    """Rows of store.alerts with where they stand."""
    names = [name for name in AlertEntry.model_fields if name != "id"]
    shown = _in_ms(frame, "event_time_ms").select(names).iter_rows(named=True)
    marks = [Mark(partition, offset) for offset in offsets.tolist()]
    return [(mark, AlertEntry(id=str(mark), **row)) for mark, row in zip(marks, shown, strict=True)]


def sighting_rows(frame: pl.DataFrame) -> list[Seen | Correction]:
    """Rows of person.sightings, those of one frame together, in the order in which they came. What the pipelines would
    refuse, a box without size or of no numbers, is no person here either."""
    shown = _in_ms(frame, "captured_ms")
    told: list[Seen | Correction] = []
    frames: dict[tuple[str, int, int], int] = {}
    for row in shown.iter_rows(named=True):
        if row["corrects_person_id"] is not None or row.get("corrects_from_ms") is not None:
            track, old, new = row["track_id"], row["corrects_person_id"], row["person_id"]
            if track is not None or (old is not None and new is not None):
                told.append(Correction(old, new, None if track is None else row["camera_id"], track))
            continue
        key = (row["camera_id"], row["captured_ms"], row["frame"])
        if key not in frames:
            frames[key] = len(told)
            found = _boxes(row.get("found_px") or ())
            told.append(Seen(*key, covered=row["covered"], people=(), embedding=_embedding(row), found=found))
        if (person := _person(row)) is not None:
            seen = told[frames[key]]
            assert isinstance(seen, Seen)
            told[frames[key]] = seen._replace(people=(*seen.people, person))
    return told


def _embedding(row: dict[str, Any]) -> str:
    return " ".join(filter(None, (row.get("model_name"), row.get("model_version"))))


def _boxes(sides: Sequence[float]) -> tuple[Box, ...]:
    """Those of some boxes, four numbers each, that are any."""
    whole = min(len(sides) // 4, MAX_FOUND)
    fours = np.asarray(sides[: 4 * whole], np.float64).reshape(-1, 4)
    good = (np.abs(fours) <= MAX_POSITION).all(axis=1) & (fours[:, 2:] > fours[:, :2]).all(axis=1)
    return tuple((x0, y0, x1, y1) for x0, y0, x1, y1 in fours[good].tolist())


def _person(row: dict[str, Any]) -> SeenPerson | None:
    sides = [row[name] for name in ("x0_px", "y0_px", "x1_px", "y1_px")]
    if row["track_id"] is None or any(side is None or not abs(side) <= MAX_POSITION for side in sides):
        return None
    x0, y0, x1, y1 = (round(side, 1) for side in sides)
    if x1 <= x0 or y1 <= y0 or len((row["person_id"] or "").encode()) > MAX_ID_BYTES:
        return None
    feet = (row["x_m"], row["y_m"])
    placed = all(value is not None and abs(value) <= MAX_POSITION for value in feet)
    score = row["link_score"]
    return SeenPerson(
        track_id=row["track_id"],
        person_id=row["person_id"],
        link_score=None if score is None or not abs(score) <= MAX_POSITION else round(score, 3),
        box=(x0, y0, x1, y1),
        feet=(round(feet[0], 2), round(feet[1], 2)) if placed else None,
    )


def _in_ms(frame: pl.DataFrame, *columns: str) -> pl.DataFrame:
    return frame.with_columns(pl.col(columns).cast(pl.Datetime("ms")).cast(pl.Int64))
