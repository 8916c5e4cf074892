"""Keeping a catalogue up with its topic, in a thread of its own."""

from __future__ import annotations

import logging
import threading
import time
from contextlib import closing

from streaming.codec import SchemaRegistry
from streaming.pipeline import DependencyUnavailable
from streaming.sessions.catalogue import Catalogue, Index
from streaming.transport import Source

log = logging.getLogger(__name__)

MAX_AGE_S = 5.0
"""Whoever asks is let wait when nothing was heard of the topic for longer: better no answer than a withdrawn item."""

_POLL_S = 0.2
_AT_ONCE = 10_000
_RETRY_S = 0.5


class CatalogueFollower:
    """A catalogue that follows its topic from the first record on, until `close`. Begins when it is first asked,
    wherever that is, so that it travels light.

    Args:
        source: of the catalogue's topic, without a group.
        registry: of schemas.
        max_age_s: how long it may be since the end of the topic was reached.
    """

    def __init__(self, source: Source, registry: SchemaRegistry, *, max_age_s: float = MAX_AGE_S) -> None:
        self.__setstate__((source, registry, max_age_s))

    def __getstate__(self) -> tuple[Source, SchemaRegistry, float]:
        return self._made

    def __setstate__(self, made: tuple[Source, SchemaRegistry, float]) -> None:
        self._made = made
        self._source, registry, self._max_age_s = made
        self.catalogue = Catalogue(registry)
        self._over = threading.Event()
        self._current_s: float | None = None  # by the monotonic clock: when the end was reached last
        self._failure = "it has not been read to its end yet"
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None

    def as_of(self, position: int = 0) -> Index:
        """The index now, with every change before `position`, no older than `max_age_s`.

        Raises:
            DependencyUnavailable: it is not that far, or may be out of date.
        """
        self._start()
        at_s = self._current_s
        if at_s is None or time.monotonic() - at_s > self._max_age_s:
            raise DependencyUnavailable(f"{self._source.topic} is not followed: {self._failure}")
        index = self.catalogue.index
        if index.position < position:
            raise DependencyUnavailable(
                f"{self._source.topic} was known up to {position}, and is read up to {index.position}"
            )
        return index

    def alerts(self) -> tuple[str, ...]:
        """What is wrong with the catalogue now."""
        return self.catalogue.alerts()

    def close(self) -> None:
        """Stop following."""
        self._over.set()
        with self._starting:
            if self._thread is not None:
                self._thread.join()
        self._source.close()

    def _start(self) -> None:
        with self._starting:
            if self._thread is None and not self._over.is_set():
                self._thread = threading.Thread(target=self._follow, name="catalogue", daemon=True)
                self._thread.start()

    def _follow(self) -> None:
        while not self._over.is_set():
            try:
                self._read()
            except Exception as failure:  # whatever it is: who asks hears of it, and it may pass
                if str(failure) != self._failure:
                    self._failure = str(failure)
                    log.warning("%s is not followed for now: %s", self._source.topic, failure)
                self._over.wait(_RETRY_S)

    def _read(self) -> None:
        begins, ends = dict(self._source.committed()), dict(self._source.end_offsets())
        if list(begins) != [0]:
            raise ValueError(f"it has {len(begins)} partitions, not one: an answer could not say how much it knew")
        with closing(self._source.open({0: max(begins[0], self.catalogue.index.position)})) as reader:
            while not self._over.is_set():
                fetched = reader.poll(_POLL_S, _AT_ONCE)
                if fetched is not None:
                    self.catalogue.apply(fetched.range, fetched.records)
                if self.catalogue.index.position >= ends[0]:
                    # What came while we looked at the end is the next round's: the end moves on as we read.
                    asked_s = time.monotonic()
                    ends = dict(self._source.end_offsets())
                    if self.catalogue.index.position >= ends[0]:
                        self._current_s = asked_s
