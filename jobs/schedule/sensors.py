"""What is looked at outside: how far topics go, and which pipelines raise an alarm. In a thread of its own, so that a
broker that does not answer delays no cron time."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from jobs.schedule.definition import Schedule
from jobs.schedule.runs import TopicOffsets
from jobs.threads import beside

if TYPE_CHECKING:
    from streaming.codec import Decoder, SchemaRegistry
    from streaming.kafka.settings import KafkaSettings
    from streaming.kafka.source import KafkaSource
    from streaming.transport import Reader

log = logging.getLogger(__name__)

_PERIOD_S = 2.0
_FRESH_S = 60.0  # what was seen longer ago says nothing of now
_TAIL = 1_000  # of the status topic, at the start
_POLL_S = 0.2
_MOST_POLLS = 20


@dataclass(frozen=True, slots=True)
class Sight:
    """What was seen, and when."""

    topics: Mapping[str, TopicOffsets] = field(default_factory=dict)
    alerts: Mapping[str, Sequence[str]] = field(default_factory=dict)
    problems: Sequence[str] = ()  # why something is missing
    at_s: float = float("-inf")  # of the monotonic clock

    def fresh(self) -> Sight:
        """This, or nothing, if it was long ago."""
        return self if time.monotonic() - self.at_s <= _FRESH_S else Sight()


class KafkaSensors:
    """Looks at Kafka.

    Args:
        kafka: which.
        registry: of the status schema.
        topics: whose ends to ask.
        alarms: whether to read the status of pipelines.
    """

    def __init__(
        self, kafka: KafkaSettings, registry: Callable[[], SchemaRegistry], topics: Collection[str], alarms: bool
    ) -> None:
        self._kafka, self._registry, self._topics, self._alarms = kafka, registry, topics, alarms
        self._sources: dict[str, KafkaSource] = {}
        self._reader: Reader | None = None
        self._decoder: Decoder | None = None
        self._said: dict[str, tuple[int, Sequence[str]]] = {}  # pipeline → when, in ms, and its alerts

    def look(self) -> Sight:
        """All of it, now; topics that are not there are among the problems.

        Raises:
            TransportUnavailable, AccessDenied: Kafka, or a right, is not there.
        """
        topics: dict[str, TopicOffsets] = {}
        alerts: Mapping[str, Sequence[str]] = {}
        problems: list[str] = []
        for name in self._topics:
            try:
                topics[name] = self._offsets(name)
            except LookupError as missing:
                problems.append(str(missing))
        if self._alarms:
            try:
                alerts = self._alerts()
            except LookupError as missing:
                problems.append(str(missing))
        return Sight(topics, alerts, problems, time.monotonic())

    def close(self) -> None:
        """Disconnect."""
        if self._reader is not None:
            self._reader.close()
            self._reader = None
        for source in self._sources.values():
            source.close()

    def _source(self, topic: str) -> KafkaSource:
        from streaming.kafka.source import KafkaSource

        if topic not in self._sources:
            self._sources[topic] = KafkaSource(self._kafka, topic, "")
        return self._sources[topic]

    def _offsets(self, topic: str) -> TopicOffsets:
        source = self._source(topic)
        return TopicOffsets(source.beginning_offsets(), source.end_offsets())

    def _alerts(self) -> Mapping[str, Sequence[str]]:
        """Of pipelines that said something lately: of one that is silent, nobody knows."""
        from streaming.codec import Decoder
        from streaming.topics import PIPELINE_STATUS

        if self._decoder is None:
            assert PIPELINE_STATUS.schema is not None
            self._decoder = Decoder(PIPELINE_STATUS.schema, self._registry())
        if self._reader is None:
            source = self._source(PIPELINE_STATUS.name)
            begins = source.beginning_offsets()
            self._reader = source.open({p: max(begins[p], end - _TAIL) for p, end in source.end_offsets().items()})
        for _ in range(_MOST_POLLS):
            fetched = self._reader.poll(_POLL_S, _TAIL)
            if fetched is None:
                break
            frame = self._decoder.decode(fetched.records).frame
            for pipeline, said, alerts in frame.select("pipeline", "time_ms", "alerts").iter_rows():
                self._said[pipeline] = (round(said.timestamp() * 1000), tuple(alerts))
        since_ms = time.time() * 1000 - _FRESH_S * 1000
        return {pipeline: alerts for pipeline, (at_ms, alerts) in self._said.items() if at_ms >= since_ms}


@contextmanager
def watching(sensors: KafkaSensors | None) -> Iterator[Callable[[], Sight]]:
    """Within the body these look around all the time; the function says what they saw last, if that was lately."""
    latest = Sight()

    def work(over: threading.Event) -> None:
        nonlocal latest
        assert sensors is not None
        said: Sequence[str] = ()
        try:
            while not over.is_set():
                try:
                    latest = sensors.look()
                    problems = latest.problems
                except Exception as problem:  # whatever it is, it may pass; cron times come all the same
                    sensors.close()
                    problems = [str(problem)]
                for each in problems:
                    if each not in said:
                        log.warning("schedules by events or drift wait: %s", each)
                said = problems
                over.wait(_PERIOD_S)
        finally:
            sensors.close()

    if sensors is None:
        yield Sight
        return
    with beside(work, "sensors"):
        yield lambda: latest.fresh()


def wanted(schedules: Mapping[str, Schedule]) -> tuple[set[str], bool]:
    """The topics whose ends these need, and whether they need alarms."""
    topics = {schedule.topic for schedule in schedules.values() if schedule.events is not None}
    return topics, any(schedule.drift is not None for schedule in schedules.values())
