"""How a run begins: topics are made or taken as they are, Kafka is waited for, one name for all that must agree."""

from __future__ import annotations

import logging
import threading
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from jobs import run
from jobs.pipelines import definition_of, outline
from jobs.settings import Settings, load_settings
from streaming.insights.narrator import Narrator
from streaming.kafka import admin
from streaming.kafka.admin import TopicsReport
from streaming.kafka.settings import KafkaSettings
from streaming.topics import state_topic
from streaming.transport import TransportUnavailable
from tests.waiting import PATIENCE_S, wait_until

KAFKA = KafkaSettings(bootstrap_servers="127.0.0.1:9")


def answering(monkeypatch: pytest.MonkeyPatch, *answers: Any) -> list[list[str]]:
    """Let Kafka answer so, one after another, the last for ever; the names of the topics that were asked for."""
    asked: list[list[str]] = []

    def ensure(settings: KafkaSettings, topics: list[Any]) -> TopicsReport:
        asked.append([topic.name for topic in topics])
        answer = answers[min(len(asked), len(answers)) - 1]
        if isinstance(answer, Exception):
            raise answer
        assert isinstance(answer, TopicsReport)
        return answer

    monkeypatch.setattr(admin, "ensure_topics", ensure)
    monkeypatch.setattr(run, "_RETRY_S", 0.001)
    return asked


def test_a_topic_of_another_size_is_logged_and_the_run_goes_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    told = "topic match.events has 12 partitions instead of 4; it is used as it is"
    (names,) = [answering(monkeypatch, TopicsReport((), ("match.events",), (told,)))]
    with caplog.at_level(logging.WARNING):
        assert run.prepare_topics(KAFKA, outline("win-prediction"), threading.Event())
    assert told in caplog.messages
    assert state_topic("win-prediction").name in names[0]


def test_a_kafka_that_is_not_up_yet_is_waited_for_and_said_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    away = TransportUnavailable("Kafka at 127.0.0.1:9 does not answer")
    asked = answering(monkeypatch, away, away, away, TopicsReport((), (), ()))
    with caplog.at_level(logging.WARNING):
        assert run.prepare_topics(KAFKA, outline("win-prediction"), threading.Event())
    assert len(asked) == 4
    assert caplog.messages == [f"waiting: {away}"]


def test_a_kafka_that_does_not_come_is_an_error_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    answering(monkeypatch, TransportUnavailable("away"))
    monkeypatch.setattr(run, "_KAFKA_PATIENCE_S", 0.05)
    with pytest.raises(TransportUnavailable, match="away"):
        run.prepare_topics(KAFKA, outline("win-prediction"), threading.Event())


def test_a_signal_ends_the_wait_for_kafka(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, stopping = answering(monkeypatch, TransportUnavailable("away")), threading.Event()
    monkeypatch.setattr(run, "_RETRY_S", 3_600.0)
    prepared: list[bool] = []
    waiting = threading.Thread(
        target=lambda: prepared.append(run.prepare_topics(KAFKA, outline("win-prediction"), stopping))
    )
    waiting.start()
    wait_until(lambda: asked)
    stopping.set()
    waiting.join(PATIENCE_S)
    assert (prepared, len(asked)) == ([False], 1)


def test_an_unknown_pipeline_is_refused_before_anything_starts() -> None:
    with pytest.raises(KeyError, match="win-prediction"):
        run.run_pipeline("win", None)  # type: ignore[arg-type]


def test_with_a_candidate_the_shadow_is_run_and_not_the_pipeline(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[tuple[str, str]] = []

    def note(name: str, settings: Settings, stopping: threading.Event, *, shared: bool) -> None:
        asked.append((name, settings.models.titles["lol"]))

    monkeypatch.setattr(run, "ray_session", lambda *_, **__: nullcontext(False))
    monkeypatch.setattr(run, "_run_by_micro_batch", note)
    settings = load_settings({"models.store": (str(tmp_path), "--set")}).settings
    run.run_pipeline("win-prediction", settings)
    run.run_pipeline("win-prediction", settings, "tsstn-lol@4")
    assert asked == [("win-prediction", "tsstn-lol@live"), ("win-prediction-shadow", "tsstn-lol@4")]
    pipelines = [definition_of(name)(None, Narrator()) for name, _ in asked]  # type: ignore[arg-type]
    assert [(its.name, its.sink.name, its.dead_letters) for its in pipelines] == [
        ("win-prediction", "match.insights", True), ("win-prediction-shadow", "match.insights.shadow", False),
    ]  # fmt: skip
