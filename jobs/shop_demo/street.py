"""What happens while the shop is open: visits, changes of the catalogue, and what shoppers do with what is offered."""

from __future__ import annotations

import threading
import time
from collections import deque

import polars as pl

from jobs.shop_demo.stock import Lap, Stock
from streaming.codec import Encoder, PackagedRegistry, load_schema
from streaming.kafka.publisher import Publisher
from streaming.sessions.events import EVENT_SCHEMA
from streaming.sessions.feed import SessionFeed
from streaming.sessions.items import ITEM_SCHEMA
from streaming.topics import ITEM_CATALOGUE, USER_SESSIONS, Topic

_STEP_S = 0.05
_CLICKS_KNOWN = 10_000


class Writing:
    """Rows onto the shop's topics."""

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher
        self._encoders = {topic.name: _encoder(topic) for topic in (USER_SESSIONS, ITEM_CATALOGUE)}
        self.views = 0
        self.changes = 0

    def events(self, rows: pl.DataFrame) -> None:
        """Events of sessions."""
        self._write(USER_SESSIONS, rows.select(EVENT_SCHEMA.names()))
        self.views += rows.filter(kind="view").height

    def items(self, rows: pl.DataFrame) -> None:
        """Items as they are from now on."""
        self._write(ITEM_CATALOGUE, rows.select(ITEM_SCHEMA.names()))
        self.changes += rows.height

    def _write(self, topic: Topic, rows: pl.DataFrame) -> None:
        if not rows.is_empty():
            values = self._encoders[topic.name].encode(rows).to_pylist()
            self._publisher.send(topic.name, [key.encode() for key in rows[topic.key]], values)


class Street:
    """A thread that has the shop's present happen, lap after lap, from `start` until `stop`.

    Args:
        stock: of the shop.
        speed: seconds of the shop's time a second.
        writing: where it is written down.
    """

    def __init__(self, stock: Stock, speed: float, writing: Writing) -> None:
        self._stock, self._speed, self._writing = stock, speed, writing
        self._over, self._lock = threading.Event(), threading.Lock()
        self._reacting: Lap | None = None
        self._due = EVENT_SCHEMA.to_frame()  # impressions and clicks that are still to come
        self._clicks: set[tuple[str, int]] = set()
        self._clicked: deque[tuple[str, int]] = deque()
        self._thread = threading.Thread(target=self._run, name="street", daemon=True)
        self.has_ended = False
        """Whether the present is over, which that of a file is some time."""

    def start(self) -> None:
        """The doors are open."""
        self._thread.start()

    def stop(self) -> None:
        """Nobody comes any more."""
        self._over.set()
        if self._thread.ident is not None:
            self._thread.join()

    def show(self, answers: pl.DataFrame) -> None:
        """Have shoppers see these answers (rows of session-recommendations.avsc), if anybody knows what they do then.

        Who clicks goes on as was meant to: an answer to such a click is shown to nobody, or clicks would breed clicks.
        """
        lap = self._reacting
        if lap is None or lap.reactions is None:
            return
        at_ms = answers["event_time_ms"].to_physical().to_list()
        own = [each not in self._clicks for each in zip(answers["session_id"].to_list(), at_ms, strict=True)]
        come = lap.reactions(answers.filter(pl.Series(own, dtype=pl.Boolean)))
        with self._lock:
            self._due = pl.concat([self._due, come])

    def _run(self) -> None:
        for lap in self._stock.laps():
            self._reacting = lap
            self._happen(lap)
            if self._over.is_set():
                return
        self.has_ended = True

    def _happen(self, lap: Lap) -> None:
        feed = SessionFeed(lap.events, speed=self._speed, epoch_ms=_now_ms())
        changes = _Changes(lap, self._speed)
        began = time.monotonic()
        while feed.next_due_s is not None and not self._over.wait(_STEP_S):
            since_s = time.monotonic() - began
            self._writing.items(changes.take(since_s, _now_ms()))
            self._writing.events(feed.take(since_s))
            self._writing.events(self._reacted(_now_ms()))

    def _reacted(self, now_ms: int) -> pl.DataFrame:
        """Impressions and clicks whose time has come."""
        with self._lock:
            is_due = self._due["event_time_ms"].to_physical() <= now_ms
            come, self._due = self._due.filter(is_due), self._due.filter(~is_due)
        clicks = come.filter(kind="view")
        for click in zip(clicks["session_id"], clicks["event_time_ms"].to_physical(), strict=True):
            self._clicks.add(click)
            self._clicked.append(click)
            if len(self._clicked) > _CLICKS_KNOWN:
                self._clicks.discard(self._clicked.popleft())
        return come


class _Changes:
    """Changes of the catalogue, at their times."""

    def __init__(self, lap: Lap, speed: float) -> None:
        self._rows = ITEM_SCHEMA.to_frame() if lap.changes is None else lap.changes
        at_ms = self._rows["changed_ms"].to_physical()
        self._due_s = (at_ms - (at_ms[0] if len(at_ms) else 0)) / 1000.0 / speed
        self._taken = 0

    def take(self, until_s: float, now_ms: int) -> pl.DataFrame:
        """Those due up to then that were not taken before, as changed now."""
        start = self._taken
        self._taken = int(self._due_s.search_sorted(until_s, side="right"))
        stamp = pl.lit(now_ms).cast(ITEM_SCHEMA["changed_ms"])
        return self._rows[start : self._taken].with_columns(changed_ms=stamp)


def _encoder(topic: Topic) -> Encoder:
    assert topic.schema is not None
    return Encoder(load_schema(topic.schema), PackagedRegistry().id_of(topic.schema))


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
