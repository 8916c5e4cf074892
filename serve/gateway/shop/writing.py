"""Shoppers' events onto user.sessions: checked as the pipeline checks them, and confirmed before anybody is told so."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from starlette.concurrency import run_in_threadpool

from streaming.codec import Encoder, SchemaRegistry, load_schema
from streaming.sessions.events import events_frame, validate_events
from streaming.topics import USER_SESSIONS

Write = Callable[[Sequence[bytes], Sequence[bytes]], Sequence[bool]]
"""(keys, values) → of each, whether it lies on user.sessions. `streaming.sessions.publishing.KafkaEvents` is one."""

_AT_ONCE = 500
_MOST_WAITING = 2_000


class BadEvent(ValueError):
    """The pipeline would refuse this event; the message says why."""


class NotWritten(ConnectionError):
    """Kafka has not confirmed the event. It may come to lie there all the same: who sends it again may count twice."""


class _Waiting(NamedTuple):
    row: Mapping[str, Any]
    done: asyncio.Future[None]


class EventWriter:
    """Writes events one after another; those that wait meanwhile go together. One event loop owns it.

    Args:
        write: onto the topic.
        registry: of schemas.
    """

    def __init__(self, write: Write, registry: SchemaRegistry) -> None:
        self._write, self._registry = write, registry
        self._encoder: Encoder | None = None
        self._waiting: deque[_Waiting] = deque()
        self._writing: asyncio.Task[None] | None = None

    async def put(self, row: Mapping[str, Any]) -> None:
        """Write one event; `event_time_ms` is now.

        Raises:
            BadEvent: it breaks a rule of `streaming.sessions.events`.
            NotWritten: it was not confirmed.
        """
        if len(self._waiting) >= _MOST_WAITING:
            raise NotWritten(f"{_MOST_WAITING:,} events wait for Kafka already")
        waiting = _Waiting(row, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        if self._writing is None:
            self._writing = asyncio.create_task(self._drain())
        await waiting.done

    async def _drain(self) -> None:
        try:
            while self._waiting:
                some = [self._waiting.popleft() for _ in range(min(_AT_ONCE, len(self._waiting)))]
                try:
                    found = await run_in_threadpool(self._put_all, [waiting.row for waiting in some])
                except Exception as problem:  # whatever it is, those who wait must hear of it
                    found = [NotWritten(str(problem).partition("\n")[0])] * len(some)
                for waiting, why_not in zip(some, found, strict=True):
                    if waiting.done.done():  # who asked has left
                        continue
                    if why_not is None:
                        waiting.done.set_result(None)
                    else:
                        waiting.done.set_exception(why_not)
        finally:
            self._writing = None

    def _put_all(self, rows: list[Mapping[str, Any]]) -> list[Exception | None]:
        """What came of each of the rows. In a thread."""
        topic = USER_SESSIONS
        assert topic.schema is not None
        if self._encoder is None:  # a registry that is away now may be back later
            self._encoder = Encoder(load_schema(topic.schema), self._registry.id_of(topic.schema))
        frame = events_frame(rows)
        checked = validate_events(frame.with_columns(_ingest_time_ms=frame["event_time_ms"].to_physical()))
        reasons = checked["_reject"].to_list()
        found: list[Exception | None] = [None if reason is None else BadEvent(_told(reason)) for reason in reasons]
        good = frame.filter(checked["_reject"].is_null())
        if good.is_empty():
            return found
        keys = [session_id.encode() for session_id in good["session_id"]]
        confirmed = iter(self._write(keys, self._encoder.encode(good).to_pylist()))
        return [why_not or (None if next(confirmed) else NotWritten("Kafka does not confirm it")) for why_not in found]


def _told(reason: str) -> str:
    """Without the name of the error class, which is for dead letters."""
    return reason.partition(": ")[2]
