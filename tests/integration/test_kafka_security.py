"""A Kafka that asks who comes and what for: TLS, SCRAM, client certificates and ACLs, against the real broker.

Each role works with exactly the rights that `sightline topics acls` lists, and without any one of them says which it
misses; whoever is not let in at all hears at once which setting to change, instead of waiting as if Kafka was away.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from jobs import cli
from jobs.errors import Exit
from jobs.run import prepare_topics
from streaming.kafka.acls import TOPIC, Right, rights
from streaming.kafka.admin import TopicMissing, ensure_topics, read_all
from streaming.kafka.clients import open_admin
from streaming.kafka.dead_letter_queue import DeadLetterQueue
from streaming.kafka.dead_letters import STREAMS
from streaming.kafka.granting import NotGranted, grant
from streaming.kafka.plain_sink import KafkaPlainSink
from streaming.kafka.publisher import Publisher
from streaming.kafka.settings import KafkaSettings
from streaming.kafka.sink import KafkaSink
from streaming.kafka.source import KafkaSource
from streaming.pipeline import Pipeline
from streaming.records import Header, Records
from streaming.topics import (
    ALERT_WEBHOOK,
    CAMERA_FRAMES,
    CONTROL,
    MATCH_EVENTS,
    MATCH_INSIGHTS,
    MATCH_INSIGHTS_SHADOW,
    PERSON_SIGHTINGS,
    PIPELINE_STATUS,
    STORE_ALERTS,
    STORE_METRICS,
    TOPICS,
    Topic,
    identity,
    shadow_of,
    state_topic,
)
from streaming.transport import AccessDenied, Output, TransportUnavailable
from tests.secured_broker import MTLS, SCRAM, Authority, SecuredBroker, principal
from tests.waiting import wait_until

pytestmark = pytest.mark.kafka

PIPELINE = Pipeline("win-prediction", source=MATCH_EVENTS, transforms=(), stages=(), sink=MATCH_INSIGHTS)
STATE = state_topic(PIPELINE.name)
ALL_TOPICS = [*TOPICS, STATE, state_topic(shadow_of(PIPELINE.name))]
RIGHTS = rights(PIPELINE)
POLL_S = 20.0


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecuredBroker]:
    """With all topics, and for each role a user, `sightline-ROLE`, who may do what its list says and nothing more."""
    broker = SecuredBroker(Path(tmp_path_factory.mktemp("secured")))
    try:
        broker.start()
        ensure_topics(broker.super_user, ALL_TOPICS)
        broker.add("nobody", *(f"sightline-{role}" for role in RIGHTS))
        address = f"kafka.bootstrap_servers={broker.super_user.bootstrap_servers}"
        for listener in (SCRAM, MTLS):
            principals = [f"--principal={role}={principal(listener, f'sightline-{role}')}" for role in RIGHTS]
            assert cli.main(["topics", "acls", PIPELINE.name, "--apply", "--set", address, *principals]) == Exit.OK
        yield broker
    finally:
        broker.stop()


def seed(broker: SecuredBroker) -> None:
    """Two events to answer, two dead letters to deal with, something to show, and a row of state: whoever may not read
    what is empty does not notice."""
    headers: list[list[Header]] = [[(f"{STREAMS}topic", MATCH_EVENTS.name.encode())]] * 2
    letters = Records.of([b"k", b"k"], [b"v", b"v"], headers=headers)
    topics = (MATCH_EVENTS, MATCH_INSIGHTS, MATCH_INSIGHTS_SHADOW, PIPELINE_STATUS, CONTROL)
    with closing(KafkaSink(broker.super_user, "seed", "seed", MATCH_EVENTS.name)) as sink:
        sink.open()
        sink.commit(
            answers=[Output(topic.name, records(2), partition=0) for topic in topics],
            dead_letters=[Output(MATCH_EVENTS.dead_letters.name, letters)],
            state=[Output(STATE.name, records(1))],
            offsets={},
        )
        sink.open()  # a commit returns before everyone can see it, an opening waits for that


def records(count: int) -> Records:
    return Records.of([b"k"] * count, [b"v"] * count)


def answers(settings: KafkaSettings) -> None:
    """What `sightline run` does with Kafka."""
    name = identity(PIPELINE.name)
    prepare_topics(settings, PIPELINE, threading.Event())
    sink, source = (
        KafkaSink(settings, name, name, MATCH_EVENTS.name, producers=2),
        KafkaSource(settings, MATCH_EVENTS.name, name),
    )
    with closing(sink), closing(source):
        sink.open()
        read_all(settings, STATE.name)
        start = source.committed()
        assert source.end_offsets().keys() == start.keys()
        with closing(source.open(start)) as reader:
            fetched = reader.poll(POLL_S, 1)
        assert fetched is not None
        sink.commit(
            answers=[Output(MATCH_INSIGHTS.name, records(1))],
            dead_letters=[Output(MATCH_EVENTS.dead_letters.name, records(1))],
            state=[Output(STATE.name, records(1))],
            offsets={fetched.range.partition: fetched.range.end},
        )
        assert source.committed()[fetched.range.partition] == fetched.range.end
    publishes(settings, PIPELINE_STATUS.name)
    reads(settings, CONTROL)


def shows(settings: KafkaSettings) -> None:
    """What `sightline gateway` does."""
    reads(settings, MATCH_INSIGHTS, MATCH_EVENTS, PIPELINE_STATUS)


def reads(settings: KafkaSettings, *topics: Topic) -> None:
    for topic in topics:
        with closing(KafkaSource(settings, topic.name, "")) as source:
            start = source.committed()
            assert source.end_offsets().keys() == start.keys()
            with closing(source.open(start)) as reader:
                assert reader.poll(POLL_S, 1) is not None


def feeds(settings: KafkaSettings) -> None:
    publishes(settings, MATCH_EVENTS.name)


def publishes(settings: KafkaSettings, topic: str) -> None:
    with closing(Publisher(settings)) as publisher:
        publisher.send(topic, [b"k"], [b"v"])
        assert publisher.flush(POLL_S)
        assert publisher.acknowledged == 1


def operates(settings: KafkaSettings) -> None:
    """What `sightline topics`, `sightline dlq`, promotions and the report of a shadow do."""
    ensure_topics(settings, ALL_TOPICS)
    queue = DeadLetterQueue(settings, MATCH_EVENTS)
    first, second, *_ = (x for x in queue.letters() if x.done is None and x.topic == MATCH_EVENTS.name)
    assert queue.replay([first]) == queue.skip([second]) == 1
    publishes(settings, CONTROL.name)
    reads(settings, MATCH_INSIGHTS, MATCH_INSIGHTS_SHADOW)


WORK: dict[str, Callable[[KafkaSettings], None]] = {
    "run": answers,
    "gateway": shows,
    "feed": feeds,
    "operator": operates,
}
ALERTS = Pipeline("store-alerts", source=PERSON_SIGHTINGS, transforms=(), stages=(), sink=STORE_ALERTS)
OF_STORE = rights(ALERTS, show_frames=True)


def shows_a_store(settings: KafkaSettings) -> None:
    """What `sightline gateway` does with a store whose cameras are shown."""
    reads(settings, STORE_METRICS, STORE_ALERTS, PERSON_SIGHTINGS, CAMERA_FRAMES)
    shows(settings)


def hands_on(settings: KafkaSettings) -> None:
    """What `sightline alerts forward` does with Kafka."""
    ensure_topics(settings, [STORE_ALERTS, STORE_ALERTS.dead_letters, PIPELINE_STATUS])
    group = identity(ALERT_WEBHOOK)
    source, sink = KafkaSource(settings, STORE_ALERTS.name, group), KafkaPlainSink(settings, group, STORE_ALERTS.name)
    with closing(source), closing(sink):
        sink.open()
        with closing(source.open(source.committed())) as reader:
            fetched = reader.poll(POLL_S, 1)
        assert fetched is not None
        letters = [Output(STORE_ALERTS.dead_letters.name, records(1))]
        offsets = {fetched.range.partition: fetched.range.end}
        sink.commit(answers=[], dead_letters=letters, state=[], offsets=offsets)
        assert source.committed()[fetched.range.partition] == fetched.range.end
    publishes(settings, PIPELINE_STATUS.name)


def sends_back(settings: KafkaSettings) -> None:
    """What `sightline dlq --topic store.alerts` does."""
    queue = DeadLetterQueue(settings, STORE_ALERTS)
    (letter, *_) = (x for x in queue.letters() if x.done is None and x.topic == STORE_ALERTS.name)
    assert queue.replay([letter]) == 1


STORE_WORK = {"gateway": shows_a_store, "webhook": hands_on, "operator": sends_back}
TO_WORK = [(role, right) for role, its in RIGHTS.items() for right in its if right.operation != "Create"]


@pytest.mark.parametrize("listener", [SCRAM, MTLS])
def test_every_role_works_with_exactly_the_rights_that_are_listed(broker: SecuredBroker, listener: str) -> None:
    seed(broker)
    for role, work in WORK.items():
        work(broker.over(listener, f"sightline-{role}"))


def test_the_roles_of_a_store_work_with_exactly_the_rights_that_are_listed(broker: SecuredBroker) -> None:
    headers: list[list[Header]] = [[(f"{STREAMS}topic", STORE_ALERTS.name.encode())]]
    seed(broker)
    with closing(KafkaSink(broker.super_user, "seed-store", "seed-store", STORE_ALERTS.name)) as sink:
        sink.open()
        shown = (STORE_METRICS, STORE_ALERTS, PERSON_SIGHTINGS, CAMERA_FRAMES)
        sink.commit(
            answers=[Output(topic.name, records(1), partition=0) for topic in shown],
            dead_letters=[Output(STORE_ALERTS.dead_letters.name, Records.of([b"k"], [b"v"], headers=headers))],
            state=[],
            offsets={},
        )
        sink.open()
    broker.add(*(f"store-{role}" for role in STORE_WORK))
    for role, work in STORE_WORK.items():
        who = principal(SCRAM, f"store-{role}")
        grant(broker.super_user, who, OF_STORE[role])
        work(broker.over(SCRAM, f"store-{role}"))


@pytest.mark.parametrize(("role", "right"), TO_WORK, ids=[f"{role}: {right}" for role, right in TO_WORK])
def test_without_any_one_right_the_role_says_which_it_misses(
    broker: SecuredBroker, caplog: pytest.LogCaptureFixture, role: str, right: Right
) -> None:
    seed(broker)
    user = f"sightline-{role}"
    who = principal(SCRAM, user)
    # Read and Write let one see the topic as well: that must not be what it fails for.
    left = [Right(TOPIC, right.name, "Describe", "")] * (right.resource == TOPIC and right.operation != "Describe")
    broker.allow(who, left)
    broker.forbid(who, [right])
    try:
        with pytest.raises((AccessDenied, AssertionError)) as raised:
            WORK[role](broker.over(SCRAM, user))
    finally:
        broker.forbid(who, left)
        broker.allow(who, [right])
    said = f"does not allow the user {user} {right}: `sightline topics acls` lists"
    assert said in str(raised.value) or any(said in line for line in caplog.messages)  # a publisher only logs


def test_a_publisher_goes_on_when_it_is_given_the_right(broker: SecuredBroker) -> None:
    broker.add("late")
    with closing(Publisher(broker.over(SCRAM, "late"), max_block_s=2.0)) as publisher:
        who = principal(SCRAM, "late")
        broker.allow(who, [Right(TOPIC, MATCH_EVENTS.name, "Describe", "")])
        publisher.send(MATCH_EVENTS.name, [b"k"], [b"v"])
        publisher.flush(POLL_S)
        assert (publisher.acknowledged, publisher.failed) == (0, 1)
        broker.allow(who, RIGHTS["feed"])

        def is_published() -> bool:
            publisher.send(MATCH_EVENTS.name, [b"k"], [b"v"])
            publisher.flush(POLL_S)
            return publisher.acknowledged > 0

        wait_until(is_published)


def test_without_the_right_to_create_a_topic_it_is_named(broker: SecuredBroker) -> None:
    who = principal(MTLS, "sightline-operator")
    operator = broker.over(MTLS, "sightline-operator")
    create = {right.name: right for right in RIGHTS["operator"] if right.operation == "Create"}
    assert create.keys() == {topic.name for topic in ALL_TOPICS}
    broker.forbid(who, list(create.values()))
    with open_admin(broker.super_user) as admin:
        admin.delete_topics([topic.name for topic in ALL_TOPICS])
    for topic in ALL_TOPICS:
        with pytest.raises(TopicMissing, match=f"allow us Create on topic {topic.name}$"):
            ensure_topics(operator, ALL_TOPICS)
        broker.allow(who, [create[topic.name]])
    ensure_topics(operator, ALL_TOPICS)


@pytest.mark.parametrize("topic", [MATCH_EVENTS, MATCH_INSIGHTS])
def test_who_may_do_nothing_is_told_so_and_not_that_nothing_is_there(broker: SecuredBroker, topic: Any) -> None:
    nobody = broker.over(MTLS, "nobody")
    said = rf"does not allow the certificate {nobody.ssl_certfile} Describe on topic {topic.name}"
    with closing(KafkaSource(nobody, topic.name, "")) as source, pytest.raises(AccessDenied, match=said):
        source.end_offsets()
    with pytest.raises(AccessDenied, match=said):
        ensure_topics(nobody, [topic])


def test_a_right_that_is_taken_away_in_mid_stream_ends_the_reading(broker: SecuredBroker) -> None:
    seed(broker)
    broker.add("watcher")
    who, seen = principal(SCRAM, "watcher"), [Right(TOPIC, MATCH_INSIGHTS.name, "Read", "")]
    broker.allow(who, seen)
    with (
        closing(KafkaSource(broker.over(SCRAM, "watcher"), MATCH_INSIGHTS.name, "")) as source,
        closing(source.open(source.committed())) as reader,
    ):
        assert reader.poll(POLL_S, 1) is not None
        broker.forbid(who, seen)
        deadline = time.monotonic() + POLL_S
        with pytest.raises(AccessDenied, match=r"Read on topic match\.insights"):
            while time.monotonic() < deadline:
                reader.poll(0.1, 1)


def refusals(broker: SecuredBroker) -> dict[str, tuple[KafkaSettings, str]]:
    """Settings that are wrong in one thing each, and what must be said of it."""
    scram, mtls = broker.over(SCRAM, "nobody"), broker.over(MTLS, "nobody")
    elsewhere = Authority(broker.folder / "elsewhere")
    sealed = str(broker.authority.issue("sealed", password="hush"))
    clear = broker.super_user.bootstrap_servers
    at_localhost = f"localhost:{broker.ports[SCRAM]}"
    password = r"does not let the user \w+ in: check kafka.sasl_username, kafka.sasl_password"
    return {
        "wrong password": (replace(scram, sasl_password="wrong"), password),
        "unknown user": (replace(scram, sasl_username="eve"), password),
        "wrong mechanism": (replace(scram, sasl_mechanism="PLAIN"), "kafka.sasl_mechanism to one of SCRAM-SHA-512"),
        "CA of another": (replace(scram, ssl_cafile=str(elsewhere.certificate)), "not vouch for .*kafka.ssl_cafile"),
        "CAs of the system": (replace(scram, ssl_cafile=None), "that the system does not vouch for .*kafka.ssl_cafile"),
        "no such CA": (replace(scram, ssl_cafile="/gone/ca.pem"), "kafka.ssl_cafile /gone/ca.pem .*no such file"),
        "another host name": (replace(scram, bootstrap_servers=at_localhost), "another name.*kafka.ssl_check_hostname"),
        "no certificate": (replace(mtls, ssl_certfile=None), "asks for a client certificate.*set kafka.ssl_certfile"),
        "certificate of another": (
            replace(mtls, ssl_certfile=str(elsewhere.issue("nobody"))),
            "does not accept the certificate in kafka.ssl_certfile",
        ),
        "no such key": (replace(mtls, ssl_keyfile="/gone.pem"), "kafka.ssl_keyfile /gone.pem .*no such file"),
        "no key in it": (replace(mtls, ssl_certfile=mtls.ssl_cafile), "kafka.ssl_certfile .*no key is in it"),
        "sealed key": (replace(mtls, ssl_certfile=sealed), "kafka.ssl_password does not open it"),
        "wrong key password": (replace(mtls, ssl_certfile=sealed, ssl_password="x"), "ssl_password does not open it"),
        "in clear to TLS": (KafkaSettings(mtls.bootstrap_servers), "speaks TLS.*security_protocol is PLAINTEXT"),
        "no user": (replace(mtls, bootstrap_servers=scram.bootstrap_servers), "kafka.security_protocol to SASL_SSL"),
        "a user where none is asked for": (
            replace(scram, bootstrap_servers=mtls.bootstrap_servers, ssl_certfile=mtls.ssl_certfile),
            "asks for no password there, .*SASL_SSL: set SSL",
        ),
        "a user in clear": (
            replace(scram, bootstrap_servers=clear, security_protocol="SASL_PLAINTEXT"),
            "asks for no password there, .*: set PLAINTEXT",
        ),
    }  # fmt: skip


def test_who_is_not_let_in_hears_which_setting_to_change(broker: SecuredBroker) -> None:
    for what, (settings, said) in refusals(broker).items():
        source = KafkaSource(settings, MATCH_EVENTS.name, "")
        with closing(source), pytest.raises(AccessDenied, match=said) as raised:
            source.end_offsets()
        assert "\n" not in str(raised.value), what
        assert "secret" not in str(raised.value), what


def test_tls_to_a_port_in_clear_may_be_a_broker_that_starts_but_the_setting_is_named(broker: SecuredBroker) -> None:
    settings = replace(broker.over(MTLS, "nobody"), bootstrap_servers=broker.super_user.bootstrap_servers)
    source = KafkaSource(settings, MATCH_EVENTS.name, "")
    with closing(source), pytest.raises(TransportUnavailable, match=r"in the TLS handshake.*security_protocol SSL"):
        source.end_offsets()


def test_the_name_is_not_checked_when_told_so_and_a_sealed_key_opens_with_its_password(broker: SecuredBroker) -> None:
    sealed = str(broker.authority.issue("sightline-gateway", password="hush"))
    settings = replace(
        broker.over(MTLS, "sightline-gateway"),
        bootstrap_servers=f"localhost:{broker.ports[MTLS]}",
        ssl_check_hostname=False,
        ssl_certfile=sealed,
        ssl_password="hush",
    )
    with closing(KafkaSource(settings, MATCH_EVENTS.name, "")) as source:
        assert source.partitions() == [0, 1, 2, 3]
    broker.authority.issue("sightline-gateway")


def test_a_wrong_password_is_no_outage_for_any_client(broker: SecuredBroker, caplog: pytest.LogCaptureFixture) -> None:
    wrong, said = refusals(broker)["wrong password"]
    with pytest.raises(AccessDenied, match=said):
        KafkaSink(wrong, "t", "t", MATCH_EVENTS.name).open()
    with pytest.raises(AccessDenied, match=said):
        prepare_topics(wrong, PIPELINE, threading.Event())  # which waits for a Kafka that is away
    with closing(Publisher(wrong)) as publisher:
        publisher.send(MATCH_EVENTS.name, [b"k"], [b"v"])
        assert publisher.failed == 1
    assert "kafka.sasl_password" in caplog.text
    assert "wrong" not in caplog.text.replace("cannot publish", "")


def test_a_command_says_it_in_one_line_without_the_password(
    broker: SecuredBroker, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = broker.over(SCRAM, "nobody")
    for name in ("bootstrap_servers", "security_protocol", "sasl_mechanism", "sasl_username", "ssl_cafile"):
        monkeypatch.setenv(f"SIGHTLINE_KAFKA__{name.upper()}", getattr(settings, name))
    monkeypatch.setenv("SIGHTLINE_KAFKA__SASL_PASSWORD", "hunter2")
    for command in (
        ["topics", "ls"],
        ["topics", "create"],
        ["dlq", "ls"],
        ["topics", "acls", PIPELINE.name, "--apply"],
    ):
        assert cli.main(command) == Exit.BAD_INPUT
        told = capsys.readouterr()
        assert told.err.startswith("sightline: Kafka at ") and told.err.count("\n") == 1, command
        assert "kafka.sasl_password" in told.err and "hunter2" not in told.out + told.err
    assert cli.main(["config"]) == cli.main(["config", "--json"]) == Exit.OK
    told = capsys.readouterr()
    assert "*****" in told.out and "hunter2" not in told.out + told.err


def test_who_may_not_grant_is_told_so(broker: SecuredBroker) -> None:
    with pytest.raises(AccessDenied, match="the user sightline-operator Alter on the cluster"):
        grant(broker.over(SCRAM, "sightline-operator"), "User:mallory", RIGHTS["feed"])


def test_a_kafka_without_an_authorizer_takes_no_rights(kafka: str) -> None:
    with pytest.raises(NotGranted, match=r"authorizer\.class\.name"):
        grant(KafkaSettings(kafka), "User:anyone", RIGHTS["feed"])
