"""`sightline alerts forward` over a real Kafka: delivered once across runs, dead after so many tries, and counted."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from serve.gateway.testing import encoded
from streaming.codec import Decoder, PackagedRegistry
from streaming.kafka.admin import ensure_topics, read_all
from streaming.kafka.publisher import Publisher
from streaming.kafka.settings import KafkaSettings
from streaming.kafka.source import KafkaSource
from streaming.topics import ALERT_WEBHOOK, PIPELINE_STATUS, STORE_ALERTS, identity
from tests.jobs.test_alerts_webhook import Receiver, receiver, subjects  # noqa: F401 - a fixture
from tests.store_site import alert
from tests.waiting import PATIENCE_S, wait_until

pytestmark = pytest.mark.kafka
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
ROOT = Path(__file__).parents[2]


@contextmanager
def forwarding(kafka: str, url: str, folder: Path) -> Iterator[dict[str, int]]:
    """The command, ended by SIGTERM, as an orchestrator ends it; what it told last, once it has."""
    told: dict[str, int] = {}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    command = [sys.executable, "-m", "jobs.cli", "alerts", "forward", "--json", "--brokers", kafka, "--url", url]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "SIGHTLINE_ALERTS__SECRET": SECRET}
    process = subprocess.Popen([*command, "--set", "alerts.tries=2"], cwd=folder, env=environment, **pipes)
    try:
        yield told
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            out, err = process.communicate(timeout=PATIENCE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
    assert process.returncode == 0, err
    assert SECRET.encode() not in out + err and url.encode() not in out + err
    told.update(json.loads(out))


def test_alerts_are_handed_on_once_across_runs_and_given_up_ones_are_dead(
    kafka: str,
    receiver: Receiver,  # noqa: F811
    tmp_path: Path,
) -> None:
    settings = KafkaSettings(kafka)
    ensure_topics(settings, [STORE_ALERTS, STORE_ALERTS.dead_letters, PIPELINE_STATUS])
    source = KafkaSource(settings, STORE_ALERTS.name, identity(ALERT_WEBHOOK))
    now_ms = time.time_ns() // 1_000_000

    def tell(*names: str) -> None:
        rows = [alert(subject=name, event_time_ms=now_ms) for name in names]
        with closing(Publisher(settings)) as publisher:
            publisher.send(STORE_ALERTS.name, [b"queue-1"] * len(rows), encoded(STORE_ALERTS, rows), now_ms)

    def all_committed() -> bool:
        return dict(source.committed()) == dict(source.end_offsets())

    tell("one")
    with forwarding(kafka, receiver.url, tmp_path) as first:
        wait_until(lambda: subjects(receiver) == ["one"] and all_committed())
    assert first == {"answers": 1, "dead_letters": 0, "repeated": 0}
    receiver.answers = [500, 500]
    tell("two", "three")
    with forwarding(kafka, receiver.url, tmp_path) as second:
        wait_until(lambda: "three" in subjects(receiver) and all_committed())
    assert subjects(receiver) == ["one", "two", "two", "three"], "what was delivered is not sent again"
    assert second == {"answers": 1, "dead_letters": 1, "repeated": 0}
    source.close()
    letters = [records for records in read_all(settings, STORE_ALERTS.dead_letters.name).values() if len(records)]
    reasons = [dict(headers)["__streams.errors.message"] for headers in letters[0].headers or ()]
    assert reasons == [b"the webhook answers 500, 2 times"]
    decoder = Decoder(PIPELINE_STATUS.schema or "", PackagedRegistry())
    said = [decoder.decode(records).frame for records in read_all(settings, PIPELINE_STATUS.name).values()]
    own = said[0].filter(pipeline=ALERT_WEBHOOK)
    assert own["state"][-1] == "stopped" and own["dead_letters_total"][-1] == 1
