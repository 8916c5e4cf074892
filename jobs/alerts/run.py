"""The forwarder as a process: Kafka, the webhook that is set, status once a second for the ops page."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from typing import Any

from jobs.alerts.delivery import Patience, Webhook
from jobs.alerts.forward import Forwarder
from jobs.alerts.message import secret_bytes
from jobs.errors import UsageProblem
from jobs.settings import Settings
from jobs.signals import signals_set
from jobs.status import StatusReporter
from streaming.topics import ALERT_WEBHOOK, PIPELINE_STATUS, STORE_ALERTS, identity

log = logging.getLogger(__name__)

Tell = Callable[[Mapping[str, Any]], None]


def forward_alerts(settings: Settings, tell: Tell) -> None:
    """Hand alerts on until SIGTERM or Ctrl-C.

    Args:
        settings: with `alerts.url`.
        tell: told of the totals, at the end.

    Raises:
        UsageProblem: no address is set.
        BadSecret: the secret cannot sign.
        TransportUnavailable, AccessDenied, TopicMissing: Kafka is away at the start, or does not let us.
    """
    from streaming.codec import Decoder
    from streaming.kafka.admin import ensure_topics
    from streaming.kafka.plain_sink import KafkaPlainSink
    from streaming.kafka.publisher import Publisher
    from streaming.kafka.source import KafkaSource
    from streaming.runners.progress import Progress

    wanted = settings.alerts
    if wanted.url is None:
        raise UsageProblem("no webhook is set: --url https://…, or alerts.url")
    secret = secret_bytes(wanted.secret.get_secret_value()) if wanted.secret is not None else None
    if secret is None:
        log.warning("alerts.secret is not set: the receiver cannot tell our messages from anybody else's")
    kafka, registry, group = settings.kafka.connection(), settings.registry.open(), identity(ALERT_WEBHOOK)
    ensure_topics(kafka, [STORE_ALERTS, STORE_ALERTS.dead_letters, PIPELINE_STATUS])
    source, sink = KafkaSource(kafka, STORE_ALERTS.name, group), KafkaPlainSink(kafka, group, STORE_ALERTS.name)
    stopping = threading.Event()
    assert STORE_ALERTS.schema is not None

    def now_ms() -> int:
        return time.time_ns() // 1_000_000

    progress = Progress(now_ms())
    patience = Patience(timeout_s=wanted.timeout_s, tries=wanted.tries)
    webhook = Webhook(
        wanted.url.get_secret_value(), secret, patience, stopping, lambda why: progress.waits("deliver", why)
    )
    with closing(Publisher(kafka)) as publisher, closing(webhook), signals_set(stopping):
        reporter = StatusReporter(
            ALERT_WEBHOOK,
            KafkaSource(kafka, STORE_ALERTS.name, group),
            progress,
            publisher,
            registry,
            cluster=lambda: {"models": [], "replicas": -1, "ray_nodes": 0},
            starting=lambda: "",
            clock=now_ms,
        )
        reporter.start()
        state, reason = "stopped", ""
        try:
            Forwarder(source, Decoder(STORE_ALERTS.schema, registry), sink, webhook, progress, stopping).run()
        except Exception as error:
            state, reason = "failed", str(error)
            raise
        finally:
            source.close()
            reporter.stop(state, reason)
            report = progress.report(now_ms())
            tell({name: report[f"{name}_total"] for name in ("answers", "dead_letters", "repeated")})
