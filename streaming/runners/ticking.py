"""When a live runner tells its stages that time has passed, and of which partitions.

    clock ─► where does the log end? ─► partitions answered up to there are quiet ─► `Flow.tick`

A partition is quiet as of a moment when the stages have been handed every record that the log held then. So the clock
is read before the log is asked, and a partition has its tick as soon as it has been answered up to there: a busy one a
little later, one that lags not at all. The log is asked in a thread beside: a broker that keeps silent for seconds must
not hold up the partitions of the others.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

from streaming.pipeline import Pipeline, TickingStage
from streaming.transport import Source

log = logging.getLogger(__name__)

PERIOD_MS = 1_000


class Tick(NamedTuple):
    """Processing time has come to a moment, and some partitions were quiet then."""

    now_ms: int  # UTC
    positions: Mapping[int, int]  # next unread offset of every quiet partition


class _Question(NamedTuple):
    asked_ms: int
    ends: Future[Mapping[int, int]]


class Ticker:
    """Gives every quiet partition a tick about once a second, if the pipeline has a stage for it. Not thread-safe.

    Args:
        pipeline: whose stages are told.
        source: what it reads.
        clock: milliseconds, UTC.
    """

    def __init__(self, pipeline: Pipeline, source: Source, clock: Callable[[], int]) -> None:
        self._is_wanted = any(isinstance(stage, TickingStage) for stage in pipeline.stages)
        self._source, self._clock = source, clock
        self._beside = ThreadPoolExecutor(1, "end-of-log")
        self._question: _Question | None = None
        self._asked_ms: int | None = None
        self._is_failing = False
        self._as_of_ms = 0
        self._awaited: dict[int, int] = {}  # where the log ended then, of partitions that have had no tick since

    def due(self, positions: Mapping[int, int]) -> Tick | None:
        """What the stages are to be told now, if anything. Waits for nothing.

        Args:
            positions: next offset that the stages have not been handed, by partition.
        """
        if not self._is_wanted:
            return None
        self._hear()
        self._ask()
        quiet = {p: positions[p] for p, end in self._awaited.items() if p in positions and positions[p] >= end}
        for partition in quiet:
            del self._awaited[partition]
        return Tick(self._as_of_ms, quiet) if quiet else None

    def close(self) -> None:
        """Wait for a question under way; the source is not asked again."""
        self._beside.shutdown(cancel_futures=True)

    def _hear(self) -> None:
        if self._question is None or not self._question.ends.done():
            return
        (asked_ms, ends), self._question = self._question, None
        failure = ends.exception()
        if failure is None:
            self._as_of_ms, self._awaited = asked_ms, dict(ends.result())
        elif not self._is_failing:
            # Whatever it is, reading meets it as well and says so; without knowing the end nothing is quiet.
            log.warning("no ticks: the end of %s is not known: %s", self._source.topic, failure)
        self._is_failing = failure is not None

    def _ask(self) -> None:
        now_ms = self._clock()
        # A clock that was set back must not silence ticks until it has caught up.
        is_early = self._asked_ms is not None and abs(now_ms - self._asked_ms) < PERIOD_MS
        if self._question is None and not is_early:
            self._asked_ms = now_ms
            self._question = _Question(now_ms, self._beside.submit(self._source.end_offsets))
