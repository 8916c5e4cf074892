"""Where a client is in the stream of one match.

A match lives in one partition of each topic, so the offsets of its answers rise, and so do those of its events: two
offsets say exactly what a client has seen, across restarts of the gateway too. Written `ANSWER[.EVENT][.r]`, each part
`PARTITION-OFFSET`, such as `2-1045.1-8310`; `.r` says that the result that follows from the answer was seen as well.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import NamedTuple

_WRITTEN = re.compile(r"(?:(\d{1,6})-(\d{1,19}))?(?:\.(\d{1,6})-(\d{1,19}))?(\.r)?", re.ASCII)

PATTERN = r"^([0-9]{1,6}-[0-9]{1,19}(\.[0-9]{1,6}-[0-9]{1,19})?(\.r)?|\.[0-9]{1,6}-[0-9]{1,19})?$"
"""The same for the interface's description; empty means from the start."""


class Mark(NamedTuple):
    """One record of a topic."""

    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.partition}-{self.offset}"


@dataclass(frozen=True, slots=True)
class Position:
    """The last answer and the last event seen; the default has seen nothing."""

    answer: Mark | None = None
    event: Mark | None = None
    result_seen: bool = False

    @classmethod
    def parse(cls, written: str) -> Position:
        """Read what `str` wrote.

        Raises:
            ValueError: the text is none, in one line fit to be shown.
        """
        found = _WRITTEN.fullmatch(written)
        if not written or found is None or (found[1] is None and found[5]):
            # Its beginning only: a token in the wrong header should not be said back.
            raise ValueError(f"last id {written[:20]!r} is not a position such as 2-1045.1-8310")
        answer = None if found[1] is None else Mark(int(found[1]), int(found[2]))
        event = None if found[3] is None else Mark(int(found[3]), int(found[4]))
        return cls(answer, event, result_seen=found[5] is not None)

    def __str__(self) -> str:
        answer = "" if self.answer is None else str(self.answer)
        event = "" if self.event is None else f".{self.event}"
        return f"{answer}{event}{'.r' if self.result_seen else ''}"

    def after_answer(self, mark: Mark) -> Position:
        """Having seen this answer as well."""
        return replace(self, answer=mark, result_seen=False)

    def after_event(self, mark: Mark) -> Position:
        """Having seen this event as well."""
        return replace(self, event=mark)

    def after_result(self) -> Position:
        """Having seen the result that follows from the last answer."""
        return replace(self, result_seen=True)


_MARKS = r"\d{1,6}-\d{1,19}(?:_\d{1,6}-\d{1,19})*"
_STORE_WRITTEN = re.compile(rf"(?:({_MARKS})?(?:\.({_MARKS}))?|-)", re.ASCII)
_WRITTEN_MARKS = "[0-9]{1,6}-[0-9]{1,19}(_[0-9]{1,6}-[0-9]{1,19})*"
STORE_PATTERN = rf"^(-|({_WRITTEN_MARKS})?(\.{_WRITTEN_MARKS})?)$"


@dataclass(frozen=True, slots=True)
class StorePosition:
    """Where a client is in the stream of the store, which lives in all partitions of two topics: the newest row seen of
    each. Written `METRICS[.ALERTS]`, marks joined by `_`, such as `0-45_2-7.1-3`; `-` has seen nothing."""

    metrics: tuple[Mark, ...] = ()  # one a partition, by partition
    alerts: tuple[Mark, ...] = ()

    @classmethod
    def parse(cls, written: str) -> StorePosition:
        """Read what `str` wrote.

        Raises:
            ValueError: the text is none, in one line fit to be shown.
        """
        found = _STORE_WRITTEN.fullmatch(written)
        if not written or found is None:
            raise ValueError(f"last id {written[:20]!r} is not a position such as 0-45_2-7.1-3")
        return cls(*(_marks(part) for part in found.groups()))

    def __str__(self) -> str:
        metrics, alerts = ("_".join(map(str, marks)) for marks in (self.metrics, self.alerts))
        return (metrics + (f".{alerts}" if alerts else "")) or "-"

    def metric_of(self, partition: int) -> int:
        """The newest row of store.metrics seen of a partition; -1 for none."""
        return _of(self.metrics, partition)

    def alert_of(self, partition: int) -> int:
        """The same of store.alerts."""
        return _of(self.alerts, partition)

    def after_metric(self, mark: Mark) -> StorePosition:
        """Having seen this row of store.metrics as well."""
        return replace(self, metrics=_with(self.metrics, mark))

    def after_alert(self, mark: Mark) -> StorePosition:
        """Having seen this row of store.alerts as well."""
        return replace(self, alerts=_with(self.alerts, mark))

    def beyond(self, other: StorePosition) -> bool:
        """Whether anything was seen here that was not there."""
        return any(mark.offset > other.metric_of(mark.partition) for mark in self.metrics) or any(
            mark.offset > other.alert_of(mark.partition) for mark in self.alerts
        )


def _marks(written: str | None) -> tuple[Mark, ...]:
    marks: tuple[Mark, ...] = ()
    for part in written.split("_") if written else ():
        partition, offset = part.split("-")
        marks = _with(marks, Mark(int(partition), int(offset)))
    return marks


def _of(marks: tuple[Mark, ...], partition: int) -> int:
    return next((mark.offset for mark in marks if mark.partition == partition), -1)


def _with(marks: tuple[Mark, ...], mark: Mark) -> tuple[Mark, ...]:
    others = (other for other in marks if other.partition != mark.partition)
    return tuple(sorted((*others, Mark(mark.partition, max(mark.offset, _of(marks, mark.partition))))))


SHOP_PATTERN = r"^([0-9]{1,19})?$"


class ShopPosition(NamedTuple):
    """Where a client is in the stream of the shop: every change of the catalogue before this offset was seen. The
    catalogue has one partition, and of each item only the newest record counts, so nothing is ever too old."""

    offset: int

    @classmethod
    def parse(cls, written: str) -> ShopPosition:
        """Read what `str` wrote.

        Raises:
            ValueError: the text is none, in one line fit to be shown.
        """
        if not re.fullmatch(r"\d{1,19}", written, re.ASCII):
            raise ValueError(f"last id {written[:20]!r} is not a position such as 5021")
        return cls(int(written))

    def __str__(self) -> str:
        return str(self.offset)
