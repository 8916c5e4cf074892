"""The status of a pipeline: the registry that its readers ask, all its models, and a thread that nothing ends."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any

import polars as pl
import pytest

from jobs.status import STATUS_SCHEMA, StatusReporter
from streaming.codec import Decoder, Encoder, PackagedRegistry, RegistryUnavailable, Schema, load_schema
from streaming.records import Records
from streaming.runners.progress import Progress
from streaming.topics import PIPELINE_STATUS

NOW_MS = 1_700_000_000_000
MODELS = [
    {"title": title, "name": f"tsstn-{title}", "version": "1", "weight_hash": "abc", "trained_on": "simulator"}
    for title in ("dota2", "hok", "lol")
]


class OtherIds:
    """A registry whose ids are not those of the packaged schemas."""

    away = False

    def schema(self, schema_id: int) -> Schema:
        assert schema_id == 4711
        return load_schema("pipeline-status")

    def id_of(self, schema_name: str) -> int:
        if self.away:
            raise RegistryUnavailable("http://registry does not answer")
        assert schema_name == "pipeline-status"
        return 4711


class Log:
    """Publisher and source in one; `fails` is raised where the end of the log is asked for."""

    topic = "match.events"

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.fails: Exception | None = None
        self.news = threading.Condition()

    def send(self, topic: str, keys: list[bytes], values: list[bytes], timestamp_ms: int | None = None) -> None:
        assert (topic, keys) == (PIPELINE_STATUS.name, [b"win-prediction"])
        with self.news:
            self.sent += values
            self.news.notify_all()

    def end_offsets(self) -> dict[int, int]:
        if self.fails is not None:
            raise self.fails
        return {0: 7}

    def wait_for(self, what: Callable[[dict[str, Any]], bool], registry: OtherIds) -> dict[str, Any]:
        """The first status from now on for which this holds."""
        seen = len(self.sent)
        with self.news:
            assert self.news.wait_for(lambda: any(what(row) for row in rows(self.sent[seen:], registry)), 20.0)
        return next(row for row in rows(self.sent[seen:], registry) if what(row))


def rows(values: list[bytes], registry: OtherIds) -> list[dict[str, Any]]:
    if not values:
        return []
    decoded = Decoder("pipeline-status", registry).decode(Records.of([b"k"] * len(values), values))
    assert not decoded.bad
    return decoded.frame.to_dicts()


class Running:
    """A reporter with all that it looks at."""

    def __init__(self) -> None:
        self.log, self.registry, self.progress = Log(), OtherIds(), Progress(NOW_MS)
        self.waits_for, self.ray_away = "", False
        self.reporter = StatusReporter(
            "win-prediction", self.log, self.progress, self.log, self.registry,  # type: ignore[arg-type]
            cluster=self._cluster, starting=lambda: self.waits_for, clock=lambda: NOW_MS,
        )  # fmt: skip

    def _cluster(self) -> dict[str, Any]:
        if self.ray_away:
            raise OSError("the head node is gone")
        return {"models": MODELS, "replicas": 2, "ray_nodes": 1}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobs.status._PERIOD_S", 0.01)
    monkeypatch.setattr("jobs.status._CLUSTER_PERIOD_S", 0.01)


@pytest.fixture
def running() -> Iterator[Running]:
    made = Running()
    yield made
    made.reporter.stop("stopped")


def test_the_columns_are_those_of_the_schema() -> None:
    assert [field["name"] for field in load_schema("pipeline-status")["fields"]] == STATUS_SCHEMA.names()


def test_who_asks_the_same_registry_can_read_it_and_sees_every_model(running: Running) -> None:
    running.reporter.start()
    row = running.log.wait_for(lambda row: bool(row["models"]), running.registry)
    assert row["models"] == MODELS
    assert (row["state"], row["replicas"], row["ray_nodes"], row["broken_total"]) == ("running", 2, 1, 0)
    assert [part["end"] for part in row["partitions"]] == [7]


@pytest.mark.parametrize("version", [3, 4])
def test_status_of_versions_before_is_still_read(running: Running, version: int) -> None:
    running.reporter.start()
    row = running.log.wait_for(lambda row: True, running.registry)
    before, registry = load_schema(f"past/pipeline-status-{version}"), PackagedRegistry()
    columns = [field["name"] for field in before["fields"]]
    frame = (
        pl.DataFrame([row], schema=STATUS_SCHEMA).select(columns).with_columns(pl.col("^latency_.*$").fill_null(7.5))
    )
    (value,) = Encoder(before, version).encode(frame).to_pylist()
    decoded = Decoder("pipeline-status", registry).decode(Records.of([b"k"], [value]))
    assert not decoded.bad
    (read,) = decoded.frame.to_dicts()
    assert [read[name] for name in ("latency_p50_ms", "degraded_total", "shed_total", "alerts")] == [7.5, 0, 0, []]
    assert registry.id_of("pipeline-status") == 5


def test_a_latency_that_was_not_measured_is_none(running: Running) -> None:
    running.reporter.start()
    row = running.log.wait_for(lambda row: True, running.registry)
    assert (row["latency_p50_ms"], row["latency_p99_ms"]) == (None, None)


def test_it_is_not_running_before_it_can_answer(running: Running) -> None:
    running.waits_for = "restoring the state"
    running.reporter.start()
    row = running.log.wait_for(lambda row: True, running.registry)
    assert (row["state"], row["reason"]) == ("starting", "restoring the state")
    running.waits_for = ""
    assert running.log.wait_for(lambda row: row["state"] != "starting", running.registry)["state"] == "running"


@pytest.mark.parametrize(
    "failure", [LookupError("there is no topic match.events"), PermissionError("not authorized"), ValueError("odd")]
)
def test_what_goes_wrong_is_logged_once_a_kind_and_ends_nothing(
    running: Running, caplog: pytest.LogCaptureFixture, failure: Exception
) -> None:
    running.log.fails = failure
    with caplog.at_level(logging.WARNING):
        running.reporter.start()
        for _ in range(3):  # it goes on
            row = running.log.wait_for(lambda row: row["state"] == "waiting", running.registry)
        assert str(failure) in row["reason"] and "\n" not in row["reason"]
    said = [record for record in caplog.records if str(failure) in record.getMessage()]
    assert len(said) == 1
    running.log.fails = None
    running.log.wait_for(lambda row: row["state"] == "running", running.registry)


def test_a_registry_that_comes_back_is_asked_again(running: Running) -> None:
    running.registry.away = True
    running.reporter.start()
    running.registry.away = False
    running.log.wait_for(lambda row: row["state"] == "running", running.registry)


def test_a_cluster_that_does_not_answer_keeps_the_models_and_has_no_replicas(running: Running) -> None:
    running.reporter.start()
    running.log.wait_for(lambda row: bool(row["models"]), running.registry)
    running.ray_away = True
    row = running.log.wait_for(lambda row: row["ray_nodes"] == 0, running.registry)
    assert (row["models"], row["replicas"]) == (MODELS, -1)


def test_the_last_word_cannot_hide_why_the_run_failed() -> None:
    running = Running()
    running.registry.away = True
    running.reporter.start()
    running.reporter.stop("failed", "Fenced: taken over")
    assert running.log.sent == []


def test_the_last_word_is_heard() -> None:
    running = Running()
    running.reporter.start()
    running.reporter.stop("failed", "Fenced: taken over")
    last = rows(running.log.sent[-1:], running.registry)[0]
    assert (last["state"], last["reason"]) == ("failed", "Fenced: taken over")
