"""What the stages that fold sightings into windows share: `streaming.store.figures`, `streaming.store.watching`.

A row says of which record it was issued to readers, and to the runner by the columns that begin with an underscore.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Sequence
from typing import ClassVar

import polars as pl

from streaming.pipeline import Facts
from streaming.state import StateTable
from streaming.store.clock import STORE_KEY
from streaming.store.folding import Closed, Folding, Row
from streaming.store.memory import LAYOUT, taken_over

TIME = pl.Datetime("ms", "UTC")
ORIGIN_SCHEMA = {
    "ingest_time_ms": TIME,
    "source_partition": pl.Int32(),
    "source_offset": pl.Int64(),
    "schema_id": pl.Int32(),
    "_partition": pl.Int32(),
    "_offset": pl.Int64(),
    "_ingest_time_ms": pl.Int64(),
    "_schema_id": pl.Int32(),
    "_reject": pl.String(),
}


class FoldingStage(ABC):
    """Its state belongs to no partition, since people walk from camera to camera: one worker reads all.

    Args:
        folding: how windows are made.
    """

    name: ClassVar[str]
    schema: ClassVar[pl.Schema]  # of what leaves

    def __init__(self, folding: Folding) -> None:
        self._folding = folding

    def new_state(self) -> StateTable:
        """An empty table: `streaming.store.memory`."""
        return StateTable(self.name, LAYOUT, migrate=taken_over)

    def facts(self, state: StateTable) -> Facts:
        """Rows that came after their window had closed, since the state began."""
        late = int(state["late_total"][state.slots([STORE_KEY])[0]]) if STORE_KEY in state else 0
        return Facts({"late": late})

    def __call__(self, rows: pl.DataFrame, state: StateTable) -> pl.DataFrame:
        """Sightings in; what is to be said of the windows that they closed out, and rows that are refused."""
        closed, refused = self._folding.fold(rows, state)
        return _with_refused(frame_of(self._rows(closed, state), self.schema), refused)

    def tick(self, now_ms: int, partitions: Collection[int], state: StateTable) -> pl.DataFrame:
        """Close what is due: `streaming.pipeline.TickingStage`."""
        closed = self._folding.tick(now_ms, partitions, state)
        return frame_of(self._rows(closed, state), self.schema)

    @abstractmethod
    def _rows(self, closed: Sequence[Closed], state: StateTable) -> list[Row]:
        """What is to be said of these windows, in `schema`; times in milliseconds."""


def with_origin(rows: Iterable[Row], origin: dict[str, int]) -> list[Row]:
    """Rows that say where they came from, to readers and to the runner."""
    told = {
        "ingest_time_ms": origin["_ingest_time_ms"],
        "source_partition": origin["_partition"],
        "source_offset": origin["_offset"],
        "schema_id": origin["_schema_id"],
    }
    return [{**row, **told, **origin, "_reject": None} for row in rows]


def frame_of(rows: Sequence[Row], schema: pl.Schema) -> pl.DataFrame:
    """A frame of this schema; times are given in milliseconds."""
    physical = {name: pl.Int64() if dtype == TIME else dtype for name, dtype in schema.items()}
    return pl.DataFrame(rows, schema=physical, orient="row").cast(schema)


def _with_refused(rows: pl.DataFrame, refused: pl.DataFrame) -> pl.DataFrame:
    """Rows, and refused ones as such that have only `_reject` and where they came from."""
    if refused.is_empty():
        return rows
    columns = [
        (pl.col(name) if name in refused.columns and name.startswith("_") else pl.lit(None)).cast(dtype).alias(name)
        for name, dtype in rows.schema.items()
    ]
    # By offset within a partition, as they came; windows stay behind the rows that closed them.
    return pl.concat([refused.select(columns), rows])
