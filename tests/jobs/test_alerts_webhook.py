"""Alerts to a webhook: signed as the standard says, tried again, given up, and never lost in between.

The receiver is a real HTTP server on the loopback that fails, hangs and answers 500 as it is told.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from jobs.alerts.delivery import Outcome, Patience, Webhook
from jobs.alerts.forward import Forwarder
from jobs.alerts.message import BadSecret, Message, headers_of, message_of, secret_bytes
from jobs.alerts.run import forward_alerts
from jobs.errors import UsageProblem
from jobs.settings import load_settings
from serve.gateway.testing import encoded
from streaming.cameras.back_off import BackOff
from streaming.codec import Decoder, PackagedRegistry
from streaming.records import Records
from streaming.runners.progress import Progress
from streaming.testing import MemoryLog, MemorySink, MemorySource
from streaming.topics import ALERT_WEBHOOK, STORE_ALERTS
from streaming.transport import TransportUnavailable
from tests.store_site import alert
from tests.waiting import PATIENCE_S, wait_until

SECRET = bytes(range(32))
T0_MS = 1_700_000_000_123
SOON = Patience(timeout_s=PATIENCE_S, tries=3, back_off=BackOff(first_s=0.01, cap_s=0.02))


class Receiver:
    """Answers with the codes it is told, one after another, then 200; `hang` and `close` are told like codes."""

    def __init__(self) -> None:
        self.answers: list[int | str] = []
        self.headers: dict[str, str] = {}
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.over = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                outer.got.append(({name.lower(): value for name, value in self.headers.items()}, body))
                answer = outer.answers.pop(0) if outer.answers else 200
                if answer == "hang":
                    outer.over.wait(PATIENCE_S)
                if isinstance(answer, str):
                    self.close_connection = True
                    return
                self.send_response(answer)
                for name, value in outer.headers.items():
                    self.send_header(name, value)
                self.send_header("content-length", "4")
                self.end_headers()
                self.wfile.write(b"told")

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        self.thread.start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook"

    def close(self) -> None:
        self.over.set()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()


class Lab:
    """A forwarder over topics in memory."""

    def __init__(self, url: str, patience: Patience = SOON) -> None:
        self.url, self.patience = url, patience
        self.log = MemoryLog()
        self.log.create(STORE_ALERTS.name, 1)
        self.log.create(STORE_ALERTS.dead_letters.name, 1)
        self.source = MemorySource(self.log, STORE_ALERTS.name, ALERT_WEBHOOK)
        self.waits: list[str] = []

    def append(self, *values: bytes) -> None:
        records = Records.of([b"z"] * len(values), list(values), timestamps_ms=[T0_MS] * len(values))
        self.log.append(STORE_ALERTS.name, records, partition=0)

    def alerts(self, *subjects: str) -> None:
        self.append(*encoded(STORE_ALERTS, [alert(subject=name, event_time_ms=T0_MS) for name in subjects]))

    def run(self, until: int) -> dict[str, object]:
        """Forward until this offset is committed; the counters."""
        stopping, progress = threading.Event(), Progress(T0_MS)
        webhook = Webhook(self.url, SECRET, self.patience, stopping, self.waits.append)
        sink = MemorySink(self.log, ALERT_WEBHOOK, ALERT_WEBHOOK, STORE_ALERTS.name)
        decoder = Decoder(STORE_ALERTS.schema, PackagedRegistry())
        thread = threading.Thread(target=Forwarder(self.source, decoder, sink, webhook, progress, stopping).run)
        thread.start()
        try:
            wait_until(lambda: self.source.committed()[0] >= until)
        finally:
            stopping.set()
            thread.join(PATIENCE_S)
            webhook.close()
        return progress.report(T0_MS)

    def dead(self) -> list[dict[str, str]]:
        letters = self.log.records(STORE_ALERTS.dead_letters.name, 0)
        return [{name: value.decode() for name, value in headers} for headers in letters.headers or ()]


def subjects(receiver: Receiver) -> list[str]:
    return [json.loads(body)["data"]["subject"] for _, body in receiver.got]


def signature(body: bytes, headers: dict[str, str]) -> str:
    """As the standard states it, written anew."""
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(SECRET, signed, hashlib.sha256).digest()).decode()


def test_an_alert_arrives_signed_and_is_committed(receiver: Receiver) -> None:
    lab = Lab(receiver.url)
    lab.alerts("queue-1")
    report = lab.run(until=1)
    ((headers, body),) = receiver.got
    assert headers["webhook-signature"] == signature(body, headers)
    assert headers["idempotency-key"] == headers["webhook-id"]
    assert abs(int(headers["webhook-timestamp"]) - time.time()) < 300
    said = json.loads(body)
    assert (said["type"], said["timestamp"]) == ("store.alert.raised", "2023-11-14T22:13:20.123Z")
    assert said["data"]["rule"] == "queue-is-long" and said["data"]["value"] == 4.0
    assert (report["answers_total"], report["dead_letters_total"]) == (1, 0)


@pytest.mark.parametrize("failures", [[500], [503, 429], ["close", 500]])
def test_a_receiver_that_fails_is_tried_again_with_the_same_id(receiver: Receiver, failures: list[int | str]) -> None:
    receiver.answers = list(failures)
    lab = Lab(receiver.url)
    lab.alerts("queue-1", "queue-2")
    report = lab.run(until=2)
    assert subjects(receiver) == ["queue-1"] * (len(failures) + 1) + ["queue-2"]
    assert len({headers["webhook-id"] for headers, _ in receiver.got}) == 2
    assert report["answers_total"] == 2 and lab.dead() == []
    assert any("try 1 of 3" in why for why in lab.waits) and lab.waits[-1] == ""


def test_a_receiver_that_hangs_is_not_waited_for_and_tried_again(receiver: Receiver) -> None:
    receiver.answers = ["hang"]
    lab = Lab(receiver.url, replace(SOON, timeout_s=2.0, tries=1_000))
    lab.alerts("queue-1", "queue-2")
    lab.run(until=2)
    # On a machine that is slow enough others seem to hang as well.
    assert list(dict.fromkeys(subjects(receiver))) == ["queue-1", "queue-2"]
    assert subjects(receiver)[:2] == ["queue-1"] * 2 and lab.dead() == []


def test_after_so_many_tries_an_alert_is_dead_and_the_next_goes_on(receiver: Receiver) -> None:
    receiver.answers = [500, 500, 404]
    lab = Lab(receiver.url)
    lab.alerts("queue-1", "queue-2")
    report = lab.run(until=2)
    assert subjects(receiver) == ["queue-1"] * 3 + ["queue-2"]
    assert (report["answers_total"], report["dead_letters_total"]) == (1, 1)
    (letter,) = lab.dead()
    assert letter["__streams.errors.message"] == "the webhook answers 404, 3 times"
    assert (letter["__streams.errors.offset"], letter["sightline.pipeline"]) == ("0", ALERT_WEBHOOK)


def test_nobody_listening_is_a_failure_like_any_other() -> None:
    with socket.socket() as taken:  # bound, but it does not listen
        taken.bind(("127.0.0.1", 0))
        lab = Lab(f"http://127.0.0.1:{taken.getsockname()[1]}/")
        lab.alerts("queue-1")
        lab.run(until=1)
    assert "cannot be reached" in lab.dead()[0]["__streams.errors.message"]


def test_a_redirect_is_not_followed(receiver: Receiver) -> None:
    receiver.answers, receiver.headers = [302, 302, 302], {"location": receiver.url}
    lab = Lab(receiver.url)
    lab.alerts("queue-1")
    lab.run(until=1)
    assert len(receiver.got) == 3 and "answers 302" in lab.dead()[0]["__streams.errors.message"]


def test_an_alert_that_the_pipeline_wrote_twice_is_sent_once(receiver: Receiver) -> None:
    lab = Lab(receiver.url)
    lab.alerts("queue-1", "queue-1", "queue-2")
    report = lab.run(until=3)
    assert subjects(receiver) == ["queue-1", "queue-2"]
    assert report["repeated_total"] == 1


def test_what_is_no_alert_is_dead_and_holds_up_nothing(receiver: Receiver) -> None:
    lab = Lab(receiver.url)
    lab.append(b"nonsense")
    lab.alerts("queue-1")
    lab.run(until=2)
    assert subjects(receiver) == ["queue-1"]
    assert "no alert that can be read" in lab.dead()[0]["__streams.errors.message"]


@pytest.mark.parametrize("wrong", [{"value": float("nan")}, {"limit": float("inf")}])
def test_a_figure_that_json_cannot_tell_is_dead_and_holds_up_nothing(
    receiver: Receiver, wrong: dict[str, float]
) -> None:
    lab = Lab(receiver.url)
    lab.append(*encoded(STORE_ALERTS, [alert(subject="queue-1", event_time_ms=T0_MS, **wrong)]))
    lab.alerts("queue-2")
    report = lab.run(until=2)
    assert subjects(receiver) == ["queue-2"] and report["dead_letters_total"] == 1
    assert "cannot be told" in lab.dead()[0]["__streams.errors.message"]


def test_a_run_that_ends_in_mid_delivery_leaves_the_alert_for_the_next(receiver: Receiver) -> None:
    lab = Lab(receiver.url, Patience(timeout_s=PATIENCE_S, tries=5, back_off=BackOff(first_s=3600, cap_s=3600)))
    lab.alerts("queue-1")
    receiver.answers = [500]
    stopping, progress = threading.Event(), Progress(T0_MS)
    webhook = Webhook(lab.url, SECRET, lab.patience, stopping, lab.waits.append)
    sink = MemorySink(lab.log, ALERT_WEBHOOK, ALERT_WEBHOOK, STORE_ALERTS.name)
    decoder = Decoder(STORE_ALERTS.schema, PackagedRegistry())
    thread = threading.Thread(target=Forwarder(lab.source, decoder, sink, webhook, progress, stopping).run)
    thread.start()
    wait_until(lambda: bool(lab.waits))
    stopping.set()
    thread.join(PATIENCE_S)
    assert not thread.is_alive()
    webhook.close()
    assert lab.source.committed()[0] == 0 and lab.dead() == []
    lab.run(until=1)
    assert subjects(receiver) == ["queue-1"] * 2
    assert len({headers["webhook-id"] for headers, _ in receiver.got}) == 1


def test_a_broker_that_goes_away_after_a_delivery_does_not_send_it_again(receiver: Receiver) -> None:
    lab = Lab(receiver.url)

    class Once:
        """Delivers, and takes the broker away for a moment."""

        def __init__(self) -> None:
            self.sent: list[str] = []

        def deliver(self, message: Message) -> Outcome:
            self.sent.append(message.id)
            sink.away = 2
            return Outcome(True, 1, "")

    class Flaky(MemorySink):
        away = 0

        def commit(self, **what) -> None:
            if self.away:
                self.away -= 1
                raise TransportUnavailable("gone")
            super().commit(**what)

    stopping, progress, once = threading.Event(), Progress(T0_MS), Once()
    sink = Flaky(lab.log, ALERT_WEBHOOK, ALERT_WEBHOOK, STORE_ALERTS.name)
    decoder = Decoder(STORE_ALERTS.schema, PackagedRegistry())
    lab.alerts("queue-1")
    thread = threading.Thread(target=Forwarder(lab.source, decoder, sink, once, progress, stopping).run)
    thread.start()
    try:
        wait_until(lambda: lab.source.committed()[0] == 1)
    finally:
        stopping.set()
        thread.join(PATIENCE_S)
    assert len(once.sent) == 1


def test_a_receiver_may_ask_for_time(receiver: Receiver) -> None:
    receiver.answers, receiver.headers = [503], {"retry-after": "7200"}
    waits: list[str] = []
    stopping = threading.Event()

    def note(why: str) -> None:
        waits.append(why)
        stopping.set()

    webhook = Webhook(receiver.url, None, SOON, stopping, note)
    assert webhook.deliver(Message("id", b"{}")) is None
    webhook.close()
    assert waits == ["the webhook answers 503; try 1 of 3, again in 300 s"]


def test_the_id_follows_from_what_an_alert_says() -> None:
    row = alert(event_time_ms=datetime.fromtimestamp(T0_MS / 1000, UTC))
    same = message_of({**row, "emit_time_ms": 5, "source_offset": 9})
    assert message_of(row).id == same.id
    others = [message_of(row | change).id for change in ({"state": "cleared"}, {"subject": "p1"}, {"rule": "x"})]
    assert len({same.id, *others}) == 4


def test_the_signature_of_the_standard_s_own_example() -> None:
    # From the specification of Standard Webhooks, "Verifying Webhooks".
    secret = secret_bytes("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    message = Message("msg_p5jXN8AQM9LWM0D4loKWxJek", b'{"test": 2432232314}')
    headers = headers_of(message, secret, 1614265330)
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    assert "webhook-signature" not in headers_of(message, None, 1614265330)


@pytest.mark.parametrize("written", ["", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_!!", "whsec_c2hvcnQ="])
def test_a_secret_that_is_none_is_refused_and_not_told(written: str) -> None:
    with pytest.raises(BadSecret, match="openssl rand") as refused:
        secret_bytes(written)
    assert not written or written not in str(refused.value)


def test_without_a_webhook_nothing_is_forwarded() -> None:
    with pytest.raises(UsageProblem, match=r"no webhook is set: --url https://…, or alerts\.url"):
        forward_alerts(load_settings({}).settings, lambda totals: None)
