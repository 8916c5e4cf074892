"""What a scheduler sees of Kafka, on a real broker: ends of topics, alarms, and what is not there."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import polars as pl
import pytest

from jobs.schedule.runs import TopicOffsets
from jobs.schedule.sensors import KafkaSensors, Sight, watching
from jobs.status import STATUS_SCHEMA
from streaming.codec import Encoder, PackagedRegistry, load_schema
from streaming.kafka.admin import ensure_topics
from streaming.kafka.publisher import Publisher
from streaming.kafka.settings import KafkaSettings
from streaming.topics import PIPELINE_STATUS, Topic
from tests.schedule_submitters import until
from tests.waiting import PATIENCE_S

pytestmark = pytest.mark.kafka

_EMPTY: dict[Any, Any] = {pl.String: "", pl.Int64: 0, pl.Int32: 0, pl.Float64: 0.0, pl.List: [], pl.Datetime: None}


@pytest.fixture
def publisher(kafka: str) -> Iterator[Publisher]:
    ensure_topics(KafkaSettings(bootstrap_servers=kafka), [PIPELINE_STATUS])
    made = Publisher(KafkaSettings(bootstrap_servers=kafka))
    yield made
    made.close()


def say(publisher: Publisher, pipeline: str, alerts: list[str], age_s: float = 0.0) -> None:
    moment = datetime.fromtimestamp(time.time() - age_s, UTC)
    row = {name: _EMPTY[kind.base_type()] for name, kind in STATUS_SCHEMA.items()}
    row |= {"pipeline": pipeline, "alerts": alerts, "time_ms": moment, "started_ms": moment}
    frame = pl.DataFrame([row], schema=STATUS_SCHEMA)
    encoder = Encoder(load_schema("pipeline-status"), PackagedRegistry().id_of("pipeline-status"))
    publisher.send(PIPELINE_STATUS.name, [pipeline.encode()], encoder.encode(frame).to_pylist())
    assert publisher.flush(PATIENCE_S)


def test_ends_of_topics_and_fresh_alarms_are_seen(kafka: str, topic_prefix: str, publisher: Publisher) -> None:
    settings = KafkaSettings(bootstrap_servers=kafka)
    topic = Topic(f"{topic_prefix}.events", key="k", schema=None, event_time=None, partitions=2)
    ensure_topics(settings, [topic])
    publisher.send(topic.name, [b"a"] * 7, [b"x"] * 7)
    assert publisher.flush(PATIENCE_S)
    mine, other, old = (f"{topic_prefix}-{name}" for name in ("mine", "other", "old"))
    say(publisher, mine, ["adrift"])
    say(publisher, other, [])
    say(publisher, old, ["adrift"], age_s=600)
    sensors = KafkaSensors(settings, PackagedRegistry, [topic.name, "not-there"], alarms=True)
    with watching(sensors) as sight:
        until(lambda: mine in sight().alerts, "the alarm is seen")
        seen = sight()
        assert seen.topics.keys() == {topic.name} and seen.topics[topic.name].since(None) == 7
        assert (seen.alerts[mine], seen.alerts[other]) == (("adrift",), ()) and old not in seen.alerts
        assert seen.problems and "not-there" in seen.problems[0]
        say(publisher, mine, [])
        until(lambda: sight().alerts.get(mine) == (), "the end of the alarm is seen")


def test_without_a_broker_nothing_is_seen_and_it_is_said(caplog: pytest.LogCaptureFixture) -> None:
    away = KafkaSettings(bootstrap_servers="127.0.0.1:1", unavailable_after_s=0.5)
    with watching(KafkaSensors(away, PackagedRegistry, ["t"], alarms=False)) as sight:
        until(lambda: "schedules by events or drift wait" in caplog.text, "it is said")
        assert sight() == Sight()


def test_what_was_seen_long_ago_is_not_told() -> None:
    topics = {"t": TopicOffsets({0: 0}, {0: 1})}
    assert Sight(topics, at_s=time.monotonic()).fresh().topics == topics
    assert Sight(topics, at_s=time.monotonic() - 61).fresh() == Sight()
