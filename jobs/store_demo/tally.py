"""What the pipelines of a store have said so far, counted from their topics. Pure: frames of rows in, figures out."""

from __future__ import annotations

from collections import deque

import numpy as np
import polars as pl

from streaming.store.plan import STORE

_LATENCIES = 20_000  # of the newest frames


class Tally:
    """Counts rows of person.sightings, store.metrics and store.alerts as they come, each once and in their order.

    One thread may take while another reads: figures are made of copies, which are made at once.
    """

    def __init__(self) -> None:
        self.frames = 0  # answered
        self.sightings = 0
        self.corrections = 0
        self.alerts = 0  # raised
        self._answered: dict[int, int] = {}  # partition of camera.frames → offset of the last answer
        self._names: dict[tuple[str, int], str | None] = {}  # of each track, as it is known now
        self._windows: dict[int, tuple[int, int, int]] = {}  # start → revision, entered, end
        self._first_ms: float | None = None  # when the first answer came
        self._latency_ms: deque[float] = deque(maxlen=_LATENCIES)

    @property
    def people(self) -> int:
        """Names that tracks have now."""
        return len({name for name in list(self._names.values()) if name is not None})

    @property
    def visits(self) -> int:
        """That the store counted, by the latest revision of each window."""
        return sum(entered for _, entered, _ in list(self._windows.values()))

    @property
    def counted_until_ms(self) -> int | None:
        """The end of the newest window of the store; None before the first."""
        return max((end for _, _, end in list(self._windows.values())), default=None)

    @property
    def latency_ms(self) -> dict[str, float | None]:
        """From a frame's capture to the receipt of its answer, p50 and p99; None where none was measured."""
        if not self._latency_ms:
            return {"p50": None, "p99": None}
        p50, p99 = np.percentile(np.array(list(self._latency_ms)), [50, 99])
        return {"p50": round(float(p50), 1), "p99": round(float(p99), 1)}

    def take_sightings(self, rows: pl.DataFrame, now_ms: float) -> None:
        """Rows of person.sightings, which were received at this time (UTC)."""
        corrects = rows["corrects_from_ms"].is_not_null()
        self.corrections += int(corrects.sum())
        told = rows.filter(~corrects)
        self.sightings += told["track_id"].count()
        # A frame's own sightings stand behind those of earlier ones that are told with it.
        last = told.unique(["source_partition", "source_offset"], keep="last", maintain_order=True)
        for partition, offset, captured_ms in last.select(
            "source_partition", "source_offset", pl.col("captured_ms").dt.epoch("ms")
        ).iter_rows():
            if offset > self._answered.get(partition, -1):
                self._answered[partition] = offset
                self.frames += 1
                # What waited for the pipeline to start says how long that took, not how long an answer takes.
                if self._first_ms is not None and captured_ms >= self._first_ms:
                    self._latency_ms.append(now_ms - captured_ms)
        if self.frames and self._first_ms is None:
            self._first_ms = now_ms
        for row in rows.select(
            "camera_id", "track_id", "person_id", "corrects_person_id", corrects=corrects
        ).iter_rows():
            self._name(*row)

    def _name(self, camera: str, track: int | None, person: str | None, before: str | None, corrects: bool) -> None:
        if track is not None:
            self._names[camera, track] = person
        elif corrects:  # a merge: all of the one is of the other
            for known, name in self._names.items():
                if name == before:
                    self._names[known] = person

    def take_metrics(self, rows: pl.DataFrame) -> None:
        """Rows of store.metrics."""
        of_store = rows.filter(zone_id=STORE).select(
            pl.col("window_start_ms", "window_end_ms").dt.epoch("ms"), "revision", "entered"
        )
        for start, end, revision, entered in of_store.iter_rows():
            if revision >= self._windows.get(start, (-1, 0, 0))[0]:
                self._windows[start] = (revision, entered, end)

    def take_alerts(self, rows: pl.DataFrame) -> None:
        """Rows of store.alerts."""
        self.alerts += rows.filter(state="raised").height
