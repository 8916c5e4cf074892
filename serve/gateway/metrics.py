"""The figures of the ops page for Prometheus, made at each scrape from the same board: the two never disagree."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from serve.gateway.schemas import Ops, PipelineOps

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_COUNTERS: dict[str, tuple[str, Callable[[PipelineOps], float]]] = {
    "sightline_events": ("Events answered or passed over.", lambda row: row.events_total),
    "sightline_answers": ("Answers written.", lambda row: row.answers_total),
    "sightline_dead_letters": ("Records that could not be accepted.", lambda row: row.dead_letters_total),
    "sightline_shed": ("Records passed over for newer ones.", lambda row: row.shed_total),
    "sightline_late_events": ("Events that came too late.", lambda row: row.late_total),
    "sightline_late_results": ("Results that came too late to count at once.", lambda row: row.results_late_total),
    "sightline_batches": ("Batches committed.", lambda row: row.batches_total),
    "sightline_broken_answers": ("Answers whose reasons do not sum to the logit.", lambda row: row.broken_total),
}
_GAUGES: dict[str, tuple[str, Callable[[PipelineOps], float]]] = {
    "sightline_lag_seconds": ("Age of the oldest unanswered record.", lambda row: row.lag_s),
    "sightline_lag_records": ("Unanswered records.", lambda row: row.lag_records),
    "sightline_events_per_second": ("Events in.", lambda row: row.events_per_s),
    "sightline_answers_per_second": ("Answers out.", lambda row: row.answers_per_s),
    "sightline_report_age_seconds": ("Since the pipeline last reported.", lambda row: row.age_s),
    "sightline_replicas": ("Serve replicas that can predict; -1 where unknown.", lambda row: row.replicas),
    "sightline_ray_nodes": ("Alive Ray nodes; 0 where Ray does not answer.", lambda row: row.ray_nodes),
    "sightline_pipeline_healthy": ("1 when answers flow or there is nothing to answer.", lambda row: row.healthy),
}


class OpsCollector(Collector):
    """Turns the ops page into metric families; `ops` is asked at every scrape."""

    def __init__(self, ops: Callable[[], Ops]) -> None:
        self._ops = ops

    def describe(self) -> Iterable[Metric]:
        """Nothing ahead of a scrape: registering must not ask the board."""
        return []

    def collect(self) -> Iterable[Metric]:
        """All families, now."""
        ops = self._ops()
        yield from _pipeline_families(ops.pipelines)
        yield from _detail_families(ops.pipelines)
        yield from _gateway_families(ops)


def registry(ops: Callable[[], Ops]) -> CollectorRegistry:
    """A registry of our own: the process's default one holds other libraries' metrics."""
    own = CollectorRegistry(auto_describe=False)
    own.register(OpsCollector(ops))
    return own


def exposition(own: CollectorRegistry) -> bytes:
    """The text that Prometheus reads."""
    return generate_latest(own)


def _pipeline_families(rows: list[PipelineOps]) -> Iterable[Metric]:
    for name, (text, value) in _COUNTERS.items():
        counter = CounterMetricFamily(name, text, labels=["pipeline"])
        for row in rows:
            counter.add_metric([row.pipeline], value(row))
        yield counter
    for name, (text, value) in _GAUGES.items():
        gauge = GaugeMetricFamily(name, text, labels=["pipeline"])
        for row in rows:
            gauge.add_metric([row.pipeline], value(row))
        yield gauge


def _detail_families(rows: list[PipelineOps]) -> Iterable[Metric]:
    latency = GaugeMetricFamily(
        "sightline_latency_seconds",
        "Record reached Kafka to answer committed, last minute; absent where nothing was answered.",
        labels=["pipeline", "quantile"],
    )
    state = GaugeMetricFamily("sightline_pipeline_state", "1 for the state it is in.", labels=["pipeline", "state"])
    partition = GaugeMetricFamily(
        "sightline_partition_lag_seconds", "Lag of one source partition.", labels=["pipeline", "partition"]
    )
    model = GaugeMetricFamily(
        "sightline_model_info",
        "1 for each model in use.",
        labels=["pipeline", "title", "name", "version", "weight_hash", "trained_on"],
    )
    for row in rows:
        for quantile, measured_ms in (("0.5", row.latency_p50_ms), ("0.99", row.latency_p99_ms)):
            if measured_ms is not None:
                latency.add_metric([row.pipeline, quantile], measured_ms / 1000)
        state.add_metric([row.pipeline, row.state], 1)
        for lag in row.partitions:
            partition.add_metric([row.pipeline, str(lag.partition)], lag.lag_s)
        for used in row.models:
            labels = [row.pipeline, used.title, used.name, used.version, used.weight_hash, used.trained_on]
            model.add_metric(labels, 1)
    yield from (latency, state, partition, model)


def _gateway_families(ops: Ops) -> Iterable[Metric]:
    gateway = ops.gateway
    yield GaugeMetricFamily("sightline_healthy", "1 when /healthz says so.", value=ops.healthy)
    yield GaugeMetricFamily("sightline_broker_reachable", "1 while Kafka can be read.", value=ops.broker.reachable)
    yield GaugeMetricFamily("sightline_gateway_matches", "Matches held.", value=gateway.matches)
    yield GaugeMetricFamily("sightline_gateway_live_matches", "Matches running.", value=gateway.live)
    yield GaugeMetricFamily("sightline_gateway_streams", "Open SSE and WebSocket streams.", value=gateway.streams)
    yield CounterMetricFamily(
        "sightline_gateway_bad_records", "Records that could not be decoded.", value=gateway.bad_records
    )
    yield CounterMetricFamily(
        "sightline_gateway_slow_clients", "Clients let go because they took nothing.", value=gateway.slow_clients
    )
