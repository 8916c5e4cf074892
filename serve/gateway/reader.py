"""Reads the topics into the board, for ever: polls and decoding on a thread a topic, the board on the event loop.

After a start the topics are read from some hours back, found by their time stamps, up to where they end; then the board
is ready. A broker that cannot be reached is waited for, and reading goes on exactly where it stopped.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import polars as pl

from serve.gateway.board import Board
from serve.gateway.broker import BrokerHealth
from serve.gateway.hub import Hub
from serve.gateway.rows import Offsets, answer_rows, event_rows, report_rows
from serve.gateway.streams import now_ms
from streaming.codec import SchemaRegistry
from streaming.records import OffsetRange, Records
from streaming.transport import LogCorrupt, OffsetsExpired, Reader, Source, TransportUnavailable

_POLL_S = 0.25
_AT_ONCE = 500  # rows applied in one go: some milliseconds in which no client is served
_PROBE_RECORDS = 64
_QUIET_S = 5.0  # nothing came for so long: what is left up to the end are holes, not records
_CLOSE_S = 2.0
_BACKOFF_S = (0.25, 0.5, 1.0, 2.0, 5.0)

logger = logging.getLogger(__name__)


class Decoded(Protocol):
    """What a decoder makes of some records; `streaming.codec.Decoded` is one."""

    @property
    def frame(self) -> pl.DataFrame:
        """The good rows."""

    @property
    def rows(self) -> Offsets:
        """(N,) the position of each good row among the records."""

    @property
    def bad(self) -> Sequence[Any]:
        """One entry for each record that could not be decoded."""


Decode = Callable[[Records], Decoded]


@dataclass(frozen=True, slots=True)
class Feed:
    """One topic and how to read its bytes."""

    source: Source
    decode: Decode


@dataclass(frozen=True, slots=True)
class Feeds:
    """The topics that a gateway reads: of matches, what pipelines say of themselves, those of a store, of a shop."""

    insights: Feed
    events: Feed
    status: Feed
    store: StoreFeeds | None = None
    shop: ShopFeeds | None = None


@dataclass(frozen=True, slots=True)
class StoreFeeds:
    """The topics of a store; without frames its cameras show no picture."""

    metrics: Feed
    alerts: Feed
    sightings: Feed
    frames: Feed | None = None


@dataclass(frozen=True, slots=True)
class ShopFeeds:
    """The topics of a shop, and the way onto user.sessions: keys and values in, of each whether it lies there out."""

    catalogue: Source
    answers: Feed
    events: Feed
    registry: SchemaRegistry
    write: Callable[[Sequence[bytes], Sequence[bytes]], Sequence[bool]]


class _Batch(NamedTuple):
    """Decoded records of one partition, converted off the event loop."""

    rows: Sequence[Any]
    newest_ms: int  # record time
    bad: int


Convert = Callable[[pl.DataFrame, int, Offsets], Sequence[Any]]
Apply = Callable[[Sequence[Any], int], set[str]]  # rows, newest record time → matches that changed, or other bells
Ring = Callable[[set[str]], None]


class Keeper(Protocol):
    """Whoever keeps the rows of a topic."""

    broker: BrokerHealth
    bad_records: int


def followers(feeds: Feeds, board: Board, hub: Hub) -> list[Follower]:
    """One for each topic, over one board."""

    def status(rows: Sequence[Any], newest_ms: int) -> set[str]:
        board.apply_status(rows)
        return set()

    def insights(rows: Sequence[Any], newest_ms: int) -> set[str]:
        return board.apply_insights(rows, now_ms())

    def events(rows: Sequence[Any], newest_ms: int) -> set[str]:
        return board.apply_events(rows, newest_ms, now_ms())

    history_s = board.settings.history_s
    return [
        Follower(feeds.status, board, hub.ring, lambda frame, *_: report_rows(frame), status, history_s),
        Follower(feeds.insights, board, hub.ring, answer_rows, insights, history_s),
        Follower(feeds.events, board, hub.ring, event_rows, events, history_s),
    ]


class Follower:
    """Follows one topic, from `history_s` back. `run` is cancelled to stop it.

    Args:
        feed: of the topic.
        keeper: of its rows.
        ring: told what changed.
        convert: rows of a frame to rows of the keeper, off the event loop.
        apply: takes them in.
        history_s: how far back reading begins.
        after: nothing is read before this one has read back to where its topic ended.
    """

    def __init__(
        self,
        feed: Feed,
        keeper: Keeper,
        ring: Ring,
        convert: Convert,
        apply: Apply,
        history_s: float,
        after: Follower | None = None,
    ) -> None:
        self._feed, self._keeper, self._ring = feed, keeper, ring
        self._convert, self._apply, self._history_s, self._after = convert, apply, history_s, after
        self._caught_up = asyncio.Event()
        self._topic = feed.source.topic
        self._reader: Reader | None = None
        self._positions: dict[int, int] = {}  # next unread offset of each partition
        self._ends: dict[int, int] = {}  # where the topic ended when reading began

    async def run(self) -> None:
        """Read and apply until cancelled."""
        if self._after is not None:
            await self._after.wait_caught_up()
        loop = asyncio.get_running_loop()
        thread = ThreadPoolExecutor(1, thread_name_prefix=f"gateway-{self._topic}")
        failures, heard_s = 0, loop.time()
        try:
            while True:
                try:
                    batch = await loop.run_in_executor(thread, self._next)
                except Exception as error:
                    # A broken dependency, whichever: the broker, the registry, the network. Nothing read is lost.
                    self._note_failure(error, failures)
                    if not isinstance(error, TransportUnavailable):
                        await loop.run_in_executor(thread, self._close)  # a fresh reader may fare better
                    await asyncio.sleep(_BACKOFF_S[min(failures, len(_BACKOFF_S) - 1)])
                    failures, heard_s = failures + 1, loop.time()
                    continue
                failures = 0
                self._keeper.broker.read(self._topic, now_ms())
                if batch is not None:
                    heard_s = loop.time()
                    self._take_in(batch)
                if not self._caught_up.is_set() and (self._at_end() or loop.time() - heard_s > _QUIET_S):
                    self._caught_up.set()
                    self._keeper.broker.caught_up(self._topic)
                    logger.info("%s: read back to where it ended", self._topic)
        finally:
            # On the thread that reads, after the poll it may be in.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_CLOSE_S):
                    await loop.run_in_executor(thread, self._close)
            thread.shutdown(wait=False)

    async def wait_caught_up(self) -> None:
        """Until it has read back to where its topic ended when it began."""
        await self._caught_up.wait()

    def _take_in(self, batch: _Batch) -> None:
        self._keeper.bad_records += batch.bad
        try:
            self._ring(self._apply(batch.rows, batch.newest_ms))
        except Exception:
            # The same rows would come again after a restart: passing over them is all that helps.
            self._keeper.bad_records += len(batch.rows)
            logger.exception("%s: %d rows could not be shown", self._topic, len(batch.rows))

    def _at_end(self) -> bool:
        return all(self._positions[partition] >= end for partition, end in self._ends.items())

    def _note_failure(self, error: Exception, failures: int) -> None:
        why = str(error).partition("\n")[0] or type(error).__name__
        self._keeper.broker.failed(self._topic, why, now_ms())
        if failures == 0:
            logger.warning("%s: cannot be read, trying again: %s", self._topic, why)

    # What follows runs on the reading thread.

    def _next(self) -> _Batch | None:
        """The next batch, or None when nothing came in time; after a failure the next call repeats what failed."""
        reader = self._reader or self._open()
        try:
            fetched = reader.poll(_POLL_S, _AT_ONCE)
        except OffsetsExpired as gone:
            logger.warning("%s", gone)
            reader.seek(gone.partition, gone.earliest)
            return None
        except LogCorrupt as broken:
            logger.error("%s; the pages go on without it", broken)
            reader.seek(broken.partition, broken.end)
            return None
        if fetched is None:
            return None
        partition, records = fetched.range.partition, fetched.records
        if not len(records):
            self._positions[partition] = fetched.range.end  # only holes
            return None
        try:
            decoded = self._feed.decode(records)
        except Exception:
            reader.seek(partition, fetched.range.start)
            raise
        self._positions[partition] = fetched.range.end
        newest_ms = int(records.timestamps_ms.max(initial=0))
        try:
            rows = self._convert(decoded.frame, partition, records.offsets[decoded.rows])
        except Exception:
            logger.exception("%s/%d: records from %d on make no rows", self._topic, partition, fetched.range.start)
            return _Batch([], newest_ms, len(records))
        return _Batch(rows, newest_ms, len(decoded.bad))

    def _open(self) -> Reader:
        source = self._feed.source
        if self._positions:
            self._reader = source.open(dict(self._positions))
            return self._reader
        try:
            earliest, ends = source.committed(), source.end_offsets()
        finally:
            source.close()  # asked once, not to be kept open for the life of the gateway
        since_ms = now_ms() - round(self._history_s * 1000)
        reader = source.open(dict(earliest))
        try:
            positions = {
                partition: first_since(reader, OffsetRange(partition, start, max(start, ends[partition])), since_ms)
                for partition, start in earliest.items()
            }
            for partition, position in positions.items():
                reader.seek(partition, position)
        except Exception:
            reader.close()
            raise
        self._positions, self._ends, self._reader = positions, dict(ends), reader
        return reader

    def _close(self) -> None:
        if self._reader is not None:
            self._reader.close()
            self._reader = None


def first_since(reader: Reader, span: OffsetRange, since_ms: int) -> int:
    """The offset in this range from which on records are not older than a moment, by bisection over their time
    stamps. Where they do not rise strictly it may start somewhat early or late, within the disorder."""
    low, high = span.start, span.end
    while high - low > _PROBE_RECORDS:
        middle = (low + high) // 2
        probe = reader.read(OffsetRange(span.partition, middle, min(middle + _PROBE_RECORDS, span.end)))
        # A stretch of holes says nothing: to look before it is always safe, it only means to read more.
        if len(probe) and probe.timestamps_ms[0] < since_ms:
            low = middle
        else:
            high = middle
    return low
