"""Which offsets a training set is made of, and which results it may know: settled before anything is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from jobs.bounds import parse_bound, require_partitions
from jobs.errors import UsageProblem
from streaming.features.labels import LabelRule
from streaming.records import OffsetRange
from streaming.transport import OffsetsExpired, Source

DEFAULT_DELAY_S = 3600.0


class BoundedSource(Source, Protocol):
    """A source that knows where times lie."""

    def beginning_offsets(self) -> Mapping[int, int]:
        """The earliest offset still on the log, of every partition."""

    def offsets_at(self, time_ms: int) -> Mapping[int, int]:
        """The first offset of every partition whose record is not older than this; the end where all are."""

    def earliest_ms(self) -> int | None:
        """Record time of the oldest record."""


@dataclass(frozen=True)
class Request:
    """What was asked for."""

    topic: str
    begin: str | None  # as `jobs.bounds` reads it; None: the earliest
    end: str | None  # None: as of now
    label_delay_s: float | None  # None: an hour where the end is a time
    code: str  # digest of the code that is to do it


@dataclass(frozen=True)
class Plan:
    """What will be done. The same plan makes the same set."""

    request: Request
    ranges: tuple[OffsetRange, ...]  # of all partitions, rising
    rule: LabelRule

    @property
    def records(self) -> int:
        """At most so many: transaction markers have offsets, too."""
        return sum(wanted.end - wanted.start for wanted in self.ranges)

    @property
    def label_delay_s(self) -> float:
        """From the window's end to the last result that counts."""
        if self.rule.results_until_ms is None or self.rule.until_ms is None:
            return 0.0
        return (self.rule.results_until_ms - self.rule.until_ms) / 1000

    @property
    def window(self) -> dict[str, str | None]:
        """Event time, for people."""
        return {"from": iso(self.rule.since_ms), "to": iso(self.rule.until_ms)}

    def to_json(self) -> dict[str, Any]:
        """For `from_json`."""
        return {
            "request": asdict(self.request),
            "ranges": [[wanted.partition, wanted.start, wanted.end] for wanted in self.ranges],
            "rule": asdict(self.rule),
        }

    @classmethod
    def from_json(cls, said: Mapping[str, Any]) -> Plan:
        """Raises KeyError, TypeError or ValueError where this is no plan."""
        ranges = tuple(OffsetRange(*map(int, numbers)) for numbers in said["ranges"])
        return cls(Request(**said["request"]), ranges, LabelRule(**said["rule"]))


def make_plan(request: Request, source: BoundedSource) -> Plan:
    """Find the offsets.

    A time bounds event time; the offsets that may hold it are found by record time, which is not earlier.

    Raises:
        UsageProblem: a bound that is none, a range without records, a delay without an end in time, or a beginning in
            time before which records were deleted.
        OffsetsExpired: an offset to begin with is no longer on the log.
    """
    begin, end = parse_bound(request.begin, "--from"), parse_bound(request.end, "--to")
    begins, ends = dict(source.beginning_offsets()), dict(source.end_offsets())
    since_ms = begin if isinstance(begin, int) else None
    until_ms = end if isinstance(end, int) else None
    if since_ms is not None and until_ms is not None and since_ms >= until_ms:
        raise UsageProblem(f"--from {request.begin} is not before --to {request.end}")
    if until_ms is None and request.label_delay_s is not None:
        raise UsageProblem("--label-delay counts from the time of --to; give one")
    results_until_ms = None
    if until_ms is not None:
        delay_s = DEFAULT_DELAY_S if request.label_delay_s is None else request.label_delay_s
        results_until_ms = until_ms + round(delay_s * 1000)
    starts = _starts(request, source, begin, begins, ends)
    stops = dict(ends)
    if results_until_ms is not None:
        stops = dict(source.offsets_at(results_until_ms))
    elif isinstance(end, dict):
        require_partitions(end, ends, "--to", request.topic)
        stops |= end
        if beyond := [p for p in ends if stops[p] > ends[p]]:
            p = beyond[0]
            raise UsageProblem(f"--to {p}:{stops[p]}: partition {p} of {request.topic} ends at {ends[p]}")
    ranges = tuple(OffsetRange(p, starts[p], max(starts[p], stops[p])) for p in sorted(starts))
    plan = Plan(request, ranges, LabelRule(since_ms, until_ms, results_until_ms))
    if plan.records == 0:
        earliest = iso(source.earliest_ms())
        said = f"its oldest record is of {earliest}" if earliest else "it has none at all"
        raise UsageProblem(f"there are no records of {request.topic} in this range; {said}")
    return plan


def _starts(
    request: Request, source: BoundedSource, begin: object, begins: Mapping[int, int], ends: Mapping[int, int]
) -> dict[int, int]:
    if isinstance(begin, int):
        starts = dict(source.offsets_at(begin))
        expired = [p for p in begins if 0 < begins[p] == starts[p] < ends[p]]
        if expired:
            raise UsageProblem(
                f"--from {request.begin}: partition {expired[0]} of {request.topic} has lost records since then, its "
                f"log begins with offset {begins[expired[0]]} (oldest record of all: {iso(source.earliest_ms())}); "
                "begin later, or leave --from out to take all that is left"
            )
        return starts
    starts = dict(begins)
    if isinstance(begin, dict):
        require_partitions(begin, begins, "--from", request.topic)
        starts |= begin
        for p, wanted in starts.items():
            if wanted < begins[p]:
                raise OffsetsExpired(request.topic, p, wanted, begins[p])
    return starts


def iso(time_ms: int | None) -> str | None:
    """A time in UTC, as options take it."""
    if time_ms is None:
        return None
    return datetime.fromtimestamp(time_ms / 1000, UTC).replace(tzinfo=None).isoformat(timespec="milliseconds")
