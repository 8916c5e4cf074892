"""Freshness, health, the ops page and the metrics: pure tables."""

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from serve.gateway.board import TOPICS, Board, StreamCounts
from serve.gateway.broker import BrokerHealth
from serve.gateway.freshness import freshness, pipeline_view
from serve.gateway.metrics import exposition, registry
from serve.gateway.rows import event_rows, report_rows
from serve.gateway.settings import GatewaySettings
from serve.gateway.testing import T0_MS, event_row, frame_of, status_row

NOW_MS = T0_MS + 100_000
COUNTS = StreamCounts(open=4, slow_clients=1)


def board_of(**settings) -> Board:
    board = Board(GatewaySettings(**settings), T0_MS)
    for topic in TOPICS:
        board.broker.read(topic, T0_MS)
        board.broker.caught_up(topic)
    return board


def report(board: Board, **changed) -> None:
    board.apply_status(report_rows(frame_of([status_row(**({"time_ms": NOW_MS} | changed))])))


def events_seen(board: Board, at_ms: int) -> None:
    board.apply_events(event_rows(frame_of([event_row("m1", 1)]), 0, np.array([0])), at_ms, NOW_MS)


# --- freshness


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        # What the pipeline says bounds the delay: it had answered all that was known 1 s ago.
        ({"reports": [{"time_ms": NOW_MS - 1000}], "word_s": 60}, ("live", 1.0)),
        ({"reports": [{"time_ms": NOW_MS - 1000, "lag_s": 8.0}], "word_s": 60}, ("delayed", 9.0)),
        # A newer answer says more than an old report.
        ({"reports": [{"time_ms": NOW_MS - 30_000}], "word_s": 2}, ("live", 2.0)),
        ({"reports": [{"time_ms": NOW_MS - 30_000}], "word_s": 60}, ("delayed", 30.0)),
        ({"reports": [], "word_s": 4.9}, ("live", 4.9)),
        ({"reports": [], "word_s": 5}, ("delayed", 5.0)),
        # Of two pipelines, the one that is ahead counts; one over another topic says nothing.
        ({"reports": [{"lag_s": 50.0}, {"pipeline": "shadow"}], "word_s": 60}, ("live", 0.0)),
        ({"reports": [{"source_topic": "camera.frames"}], "word_s": 60}, ("delayed", 60.0)),
        ({"reports": [{"state": "waiting"}], "word_s": 60}, ("degraded", 0.0)),
        ({"reports": [{"replicas": 0}], "word_s": 60}, ("degraded", 0.0)),
        ({"reports": [{"state": "waiting", "lag_s": 7.0}], "word_s": 60}, ("delayed", 7.0)),
        ({"reports": [{}], "word_s": 0, "flags": "late contributions-broken"}, ("degraded", 0.0)),
        ({"reports": [{}], "word_s": 0, "flags": "degraded", "origin": "replay"}, ("degraded", 0.0)),
        ({"reports": [{}], "word_s": 0, "version": "3+baseline"}, ("degraded", 0.0)),
        ({"reports": [{}], "word_s": 0, "flags": "not-degraded", "version": "3"}, ("live", 0.0)),
        ({"reports": [{}], "word_s": 0, "origin": "replay"}, ("replay", 0.0)),
        ({"reports": [{}], "word_s": 0, "origin": "simulated"}, ("simulated", 0.0)),
        ({"reports": [], "word_s": 900, "status": "ended"}, ("ended", 0.0)),
        ({"reports": [], "word_s": 900, "status": "void"}, ("ended", 0.0)),
        ({"reports": [], "word_s": -3}, ("live", 0.0)),  # a clock that runs ahead is no delay
    ],
)
def test_freshness(case, expected) -> None:
    rows = [status_row(**({"time_ms": NOW_MS} | changed)) for changed in case["reports"]]
    view = pipeline_view(
        [reported for row in rows for reported in report_rows(frame_of([row]))], "match.events", NOW_MS
    )
    *found, causes = freshness(
        status=case.get("status", "live"),
        origin=case.get("origin", "live"),
        flags=case.get("flags", ""),
        model_version=case.get("version", ""),
        last_word_ms=NOW_MS - round(case["word_s"] * 1000),
        view=view,
        now_ms=NOW_MS,
        delayed_s=5.0,
    )
    assert tuple(found) == expected
    assert bool(causes) == (expected[0] == "degraded" or case["reports"] == [{"state": "waiting", "lag_s": 7.0}])


@pytest.mark.parametrize(
    ("said", "trouble"),
    [
        ({"state": "running"}, None),
        ({"state": "starting", "replicas": 0}, "starting"),  # not "no model can predict": it will, in a moment
        ({"state": "starting", "replicas": 0, "time_ms": NOW_MS - 15_000}, "pipeline"),  # killed before it had begun
        ({"state": "running", "replicas": 0}, "pipeline"),
        ({"state": "failed"}, "pipeline"),
    ],
)
def test_what_keeps_a_pipeline_from_answering(said, trouble) -> None:
    reports = report_rows(frame_of([status_row(**({"time_ms": NOW_MS} | said))]))
    assert pipeline_view(reports, "match.events", NOW_MS).trouble == trouble


# --- health is progress


@pytest.mark.parametrize(
    ("status", "events_at_ms", "reason"),
    [
        ({}, NOW_MS, None),
        ({"lag_s": 14.0, "events_per_s": 0, "answers_per_s": 0}, NOW_MS, None),  # may be slow for a moment
        ({"lag_s": 60.0, "events_per_s": 9.0, "answers_per_s": 0.0}, NOW_MS, None),  # behind, but it moves
        (
            {"lag_s": 60.0, "events_per_s": 0, "answers_per_s": 0, "state": "waiting", "reason": "no model"},
            NOW_MS,
            "pipeline win-prediction: waiting (no model), no answers flow and the oldest event waits for 60 s",
        ),
        ({"time_ms": NOW_MS - 60_000}, NOW_MS - 61_000, None),  # silent, and nothing has come since
        ({"time_ms": NOW_MS - 60_000, "state": "stopped"}, 0, None),
        (
            {"time_ms": NOW_MS - 60_000},
            NOW_MS - 30_000,
            "pipeline win-prediction: running, last word 60 s ago, and events wait on match.events",
        ),
        (
            {"time_ms": NOW_MS - 60_000, "lag_s": 1.0},
            0,
            "pipeline win-prediction: running, last word 60 s ago, and events wait on match.events",
        ),
        ({"time_ms": NOW_MS - 9_000}, NOW_MS, None),  # not silent yet
        ({"state": "failed"}, 0, None),  # broken, but nobody waits
    ],
)
def test_health_is_about_progress(status, events_at_ms, reason) -> None:
    board = board_of()
    report(board, **status)
    if events_at_ms:
        events_seen(board, events_at_ms)
    health = board.health(NOW_MS)
    assert health.healthy == (reason is None)
    assert health.reasons == ([] if reason is None else [reason])


def test_how_a_shadow_is_says_nothing_of_what_is_shown() -> None:
    board = board_of()
    failing = {"state": "waiting", "lag_s": 60.0, "events_per_s": 0, "answers_per_s": 0, "replicas": 5}
    report(board, pipeline="win-prediction-shadow", **failing)
    events_seen(board, T0_MS)
    assert board.health(NOW_MS).reasons == ["no pipeline has reported; events but no answer in 1 of the matches known"]
    ops = board.ops(COUNTS, NOW_MS)
    assert {part.name: part.ok for part in ops.parts if part.name in ("ray", "replicas")} == {
        "ray": None, "replicas": None,
    }  # fmt: skip
    assert [(row.pipeline, row.healthy) for row in ops.pipelines] == [("win-prediction-shadow", False)]
    report(board, time_ms=NOW_MS - 1)
    assert board.health(NOW_MS).healthy
    board.tick(NOW_MS)
    (match,) = board.summaries()
    assert match.state == "live"


def test_healthy_with_nothing_at_all_but_not_with_events_that_nobody_answers() -> None:
    board = board_of()
    assert board.health(NOW_MS).healthy
    events_seen(board, T0_MS)
    assert board.health(T0_MS + 14_000).healthy
    assert board.health(T0_MS + 16_000).reasons == [
        "no pipeline has reported; events but no answer in 1 of the matches known"
    ]


def test_waiting_for_kafka_and_reading_back_are_not_healthy() -> None:
    board = Board(GatewaySettings(), T0_MS)
    assert board.health(T0_MS).reasons == ["waiting for Kafka: connecting"]
    board.broker.failed(TOPICS[0], "no broker at localhost:9092", T0_MS + 4000)
    assert board.health(T0_MS).reasons == [
        "waiting for Kafka: unreachable since 22:13:24 UTC: no broker at localhost:9092"
    ]
    board.broker.read(TOPICS[0], T0_MS + 5000)
    assert board.health(T0_MS).reasons == ["reading the topics back after a start"]


def test_the_broker_is_reachable_when_every_topic_is_and_remembers_since_when() -> None:
    broker = BrokerHealth(frozenset({"a", "b"}), now_ms=0)
    broker.read("a", 1)
    broker.failed("b", "gone", 2)
    broker.failed("a", "gone", 3)
    broker.read("a", 4)
    assert not broker.reachable and broker.state().since_ms == 2
    broker.read("b", 5)
    assert broker.reachable and broker.state().since_ms == 5 and not broker.ready
    broker.caught_up("a")
    broker.caught_up("b")
    broker.failed("a", "gone", 6)
    assert broker.ready  # what was read stays known


# --- the ops page and the metrics


def test_the_ops_page_tells_what_the_pipeline_told() -> None:
    board = board_of()
    for second in range(3):
        report(board, time_ms=NOW_MS - 2000 + 1000 * second, lag_s=float(second), dead_letters_total=second)
    report(board, time_ms=NOW_MS - 5000, lag_s=99.0)  # an old one that came late
    ops = board.ops(COUNTS, NOW_MS + 500)
    (row,) = ops.pipelines
    assert (row.state, row.lag_s, row.dead_letters_total, row.age_s, row.healthy) == ("running", 2.0, 2, 0.5, True)
    assert [point.lag_s for point in row.history] == [0.0, 1.0, 2.0]
    assert (row.models[0].trained_on, row.partitions[0].end) == ("simulator", 100)
    assert {part.name: (part.ok, part.text) for part in ops.parts} == {
        "broker": (True, "reachable"),
        "ray": (True, "1 node alive"),
        "replicas": (True, "1 replica can predict"),
        "gateway": (True, "ready"),
    }
    assert board.ops(COUNTS, NOW_MS, with_history=False).pipelines[0].history == []


def test_a_pipeline_that_says_nothing_is_called_silent_and_vouches_for_nobody() -> None:
    board = board_of()
    report(board, time_ms=NOW_MS - 11_000)
    report(board, pipeline="done", state="stopped", time_ms=NOW_MS - 99_000)
    ops = board.ops(COUNTS, NOW_MS)
    assert [row.state for row in ops.pipelines] == ["stopped", "silent"]
    assert [(part.ok, part.text) for part in ops.parts][1:3] == [(None, "unknown: no pipeline reports")] * 2


def test_history_and_the_number_of_pipelines_are_bounded() -> None:
    board = board_of()
    for second in range(1000):
        report(board, time_ms=T0_MS + 1000 * second)
    (row,) = board.ops(COUNTS, NOW_MS).pipelines
    assert len(row.history) == 900 and row.history[0].time_ms == T0_MS + 100_000
    for number in range(100):
        report(board, pipeline=f"p{number:03}", time_ms=T0_MS + 10_000_000 + number)
    names = [row.pipeline for row in board.ops(COUNTS, NOW_MS).pipelines]
    assert len(names) == 64 and names[-1] == "p099"


@pytest.mark.parametrize("unknown", [float("nan"), None])
def test_a_latency_that_nobody_measured_is_not_zero(unknown: float | None) -> None:
    board = board_of()
    report(board, latency_p50_ms=unknown, latency_p99_ms=unknown)
    ops = board.ops(COUNTS, NOW_MS)
    assert (ops.pipelines[0].latency_p50_ms, ops.pipelines[0].history[0].latency_p99_ms) == (None, None)
    assert '"latency_p50_ms":null' in ops.model_dump_json()
    assert "sightline_latency_seconds{" not in exposition(registry(lambda: ops)).decode()


def test_metrics_are_the_figures_of_the_ops_page() -> None:
    board = board_of()
    report(board, lag_s=1.5, latency_p99_ms=90.0, pipeline='odd"name\n')
    events_seen(board, NOW_MS)
    text = exposition(registry(lambda: board.ops(COUNTS, NOW_MS, with_history=False))).decode()
    samples = {
        (sample.name, *(sample.labels[key] for key in sorted(sample.labels))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    name = 'odd"name\n'
    assert samples["sightline_lag_seconds", name] == 1.5
    assert samples["sightline_events_total", name] == 100
    assert samples["sightline_dead_letters_total", name] == 2
    assert samples["sightline_latency_seconds", name, "0.99"] == 0.09
    assert samples["sightline_pipeline_state", name, "running"] == 1
    assert samples["sightline_partition_lag_seconds", "0", name] == 0
    assert samples["sightline_model_info", "tsstn-lol", name, "lol", "simulator", "1", "abc"] == 1
    assert samples["sightline_broker_reachable",] == 1 and samples["sightline_healthy",] == 1
    assert samples["sightline_gateway_matches",] == 1 and samples["sightline_gateway_streams",] == 4
    assert samples["sightline_gateway_slow_clients_total",] == 1
    assert all(key[0].startswith("sightline_") for key in samples)
