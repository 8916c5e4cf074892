"""The newest rows of a table, so many at most."""

from __future__ import annotations

from collections import deque

import polars as pl

_PIECES = 64  # a frame of one row takes as much as one of hundreds: small ones are put together


class Window:
    """Rows as they come, the oldest dropped first. All frames have the same columns.

    Args:
        max_rows: kept.
    """

    def __init__(self, max_rows: int) -> None:
        self._max_rows = max_rows
        self._pieces: deque[pl.DataFrame] = deque()
        self._rows = 0
        self.dropped_ms = 0
        """`event_time_ms` of the newest row that was dropped for want of room; 0: none was."""

    def __len__(self) -> int:
        return self._rows

    def add(self, frame: pl.DataFrame) -> None:
        """Take in rows; `event_time_ms` is one of the columns."""
        if frame.is_empty():
            return
        self._pieces.append(frame)
        self._rows += frame.height
        if len(self._pieces) > _PIECES or self._rows > self._max_rows:
            whole = pl.concat(self._pieces)
            if (excess := self._rows - self._max_rows) > 0:
                # A tenth more than has to go: rows that come one by one would else be copied with each of them.
                excess = min(self._rows, excess + self._max_rows // 10)
                gone = whole["event_time_ms"][:excess].dt.timestamp("ms").max()
                assert isinstance(gone, int)
                self.dropped_ms = max(self.dropped_ms, gone)
                whole = whole[excess:]
            self._keep(whole)

    def forget(self, before_ms: int) -> None:
        """Drop what happened before a moment."""
        if self._pieces:
            since = pl.lit(before_ms).cast(pl.Datetime("ms", "UTC"))
            self._keep(pl.concat(self._pieces).filter(pl.col("event_time_ms") >= since))

    def rows(self) -> pl.DataFrame | None:
        """All that is kept; None where there is nothing."""
        return pl.concat(self._pieces) if self._rows else None

    def _keep(self, whole: pl.DataFrame) -> None:
        self._pieces = deque([whole.rechunk()] if whole.height else [])
        self._rows = whole.height
