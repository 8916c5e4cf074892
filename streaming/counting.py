"""A stage for tests of delivery: what is lost, doubled or swapped on the way shows in its answers and in its state.

Here and not beside the tests, because workers of Ray import what they run.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import polars as pl

from streaming.state import Column, StateTable

_MODULUS = 1_000_003


def _nothing(rows: pl.DataFrame) -> None:
    pass


class CountingStage:
    """Answers every event of a match with itself, numbered within the match (`clock_s`, from 1).

    The state holds of each match how many events there were (`seen`), a number that hangs on all their sequences and on
    their order (`digest`), and the least sequence that is still to come (`following`).

    Args:
        before: called with every batch before any state is touched; what it raises is the stage's failure.
        is_shared: one state for all partitions.
        drops_repeats: an event whose sequence is not above all those before it is not counted, nor answered again: so
            must do a stage that is to be right when delivery is at least once (`streaming.kafka.plain_sink`).
    """

    name = "count"

    def __init__(
        self,
        before: Callable[[pl.DataFrame], None] = _nothing,
        *,
        is_shared: bool = False,
        drops_repeats: bool = False,
    ) -> None:
        self._before, self._is_shared, self._drops_repeats = before, is_shared, drops_repeats

    def new_state(self) -> StateTable:
        """No matches yet."""
        layout = {"seen": Column(np.int64), "digest": Column(np.int64), "following": Column(np.int64)}
        return StateTable(self.name, layout, partitioned=not self._is_shared)

    def __call__(self, rows: pl.DataFrame, state: StateTable) -> pl.DataFrame:
        """(N rows with match_id, sequence, _partition, _ingest_time_ms) to as many answers, less the repeats that are
        dropped."""
        self._before(rows)
        matches = rows["match_id"].to_list()
        slots = state.slots(matches, None if self._is_shared else rows["_partition"].to_numpy())
        seen, digest, following = state["seen"], state["digest"], state["following"]
        numbers = np.zeros(len(slots))
        for row, (slot, sequence) in enumerate(zip(slots, rows["sequence"].to_list(), strict=True)):
            if self._drops_repeats and sequence < following[slot]:
                continue
            seen[slot] += 1
            digest[slot] = (int(digest[slot]) * 31 + sequence + 1) % _MODULUS
            following[slot] = max(int(following[slot]), sequence + 1)
            numbers[row] = seen[slot]
        state.touch(matches)
        ingested = pl.from_epoch("_ingest_time_ms", time_unit="ms").dt.replace_time_zone("UTC")
        return rows.with_columns(ingested.alias("ingest_time_ms"), clock_s=pl.Series(numbers)).filter(numbers > 0)
