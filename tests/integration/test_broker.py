"""The embedded broker: started, found, killed, starved and lied to; and the pipeline's connections while it is away."""

from __future__ import annotations

import gc
import json
import os
import shutil
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from streaming.kafka import broker as broker_module
from streaming.kafka.admin import ensure_topics, read_all
from streaming.kafka.broker import BrokerError, EmbeddedBroker
from streaming.kafka.settings import KafkaSettings
from streaming.kafka.sink import KafkaSink
from streaming.kafka.source import KafkaSource
from streaming.records import Records
from streaming.topics import Topic
from streaming.transport import Output, TransportUnavailable
from tests.visible import until_visible
from tests.waiting import PATIENCE_S, wait_until

# kafka-python drops the socket of a refused connection without closing it: collected below, where that is no error
pytestmark = [pytest.mark.kafka, pytest.mark.filterwarnings("ignore:unclosed <socket")]


@pytest.fixture(autouse=True)
def collect_dropped_sockets() -> Iterator[None]:
    yield
    gc.collect()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    home = Path(tmp_path_factory.mktemp("broker"))
    yield home
    EmbeddedBroker(home).stop()


def processes_of(home: Path) -> list[int]:
    return [
        process.pid
        for process in psutil.process_iter(["cmdline"])
        if any(str(home) in argument for argument in process.info["cmdline"] or ())
    ]


def settings_of(broker: EmbeddedBroker) -> KafkaSettings:
    """For what has to come about; a broker that is to be missed is so within 2 s (`impatient`)."""
    address = broker.status().bootstrap_servers
    assert address is not None
    return KafkaSettings(address, unavailable_after_s=PATIENCE_S)


def impatient(settings: KafkaSettings) -> KafkaSettings:
    return replace(settings, unavailable_after_s=2.0)


def write(settings: KafkaSettings, topic: str, values: range) -> None:
    sink = KafkaSink(settings, f"writer-{topic}", "writers", topic)
    sink.open()
    keys: list[bytes | None] = [b"k%d" % (i % 50) for i in values]
    sink.commit(
        answers=[Output(topic, Records.of(keys, [b"%d" % i for i in values]))], dead_letters=[], state=[], offsets={}
    )
    sink.close()


def values_in(settings: KafkaSettings, topic: str) -> Counter[bytes]:
    until_visible(settings, topic)  # a broker that comes back may have to end what was under way
    return Counter(v for records in read_all(settings, topic).values() for v in records.values.to_pylist())


def test_starting_twice_finds_the_first_and_stopping_leaves_no_process(home: Path) -> None:
    told: list[str] = []
    first = EmbeddedBroker(home).start(on_progress=told.append)
    assert first.running
    assert first.answers
    assert "starting Kafka" in told
    again = EmbeddedBroker(home).start()
    assert again.pid == first.pid
    assert processes_of(home) == [first.pid]
    assert first.bootstrap_servers is not None
    taken = int(first.bootstrap_servers.split(":")[1])
    with pytest.raises(BrokerError, match=f"already runs on port {taken}"):
        EmbeddedBroker(home, port=taken + 1 if taken < 65535 else taken - 1).start()
    assert EmbeddedBroker(home).stop()
    assert not EmbeddedBroker(home).stop()
    assert processes_of(home) == []
    assert not EmbeddedBroker(home).status().running


def test_starts_at_the_same_moment_share_one_broker(home: Path) -> None:
    pids: list[int | None] = []
    threads = [threading.Thread(target=lambda: pids.append(EmbeddedBroker(home).start().pid)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert len(pids) == 3
    assert len(set(pids)) == 1
    assert processes_of(home) == pids[:1]


def test_a_killed_broker_comes_back_at_its_address_with_its_data(home: Path) -> None:
    broker = EmbeddedBroker(home)
    before = broker.start()
    settings = settings_of(broker)
    ensure_topics(settings, [Topic("kept", key="k", schema=None, partitions=2)])
    write(settings, "kept", range(500))
    assert before.pid is not None
    os.kill(before.pid, signal.SIGKILL)
    wait_until(lambda: not broker.status().running)
    with pytest.raises(TransportUnavailable):
        read_all(impatient(settings), "kept")
    after = broker.start()
    assert after.bootstrap_servers == before.bootstrap_servers
    assert values_in(settings, "kept") == Counter(b"%d" % i for i in range(500))


def test_a_pid_that_belongs_to_another_program_now_is_not_taken_for_the_broker(tmp_path: Path) -> None:
    me = {"port": 1, "controller_port": 2, "pid": os.getpid(), "started": 0.0}
    (tmp_path / "broker.json").write_text(json.dumps(me))
    broker = EmbeddedBroker(tmp_path)
    assert not broker.status().running
    assert not broker.stop()
    (tmp_path / "broker.json").write_text('{"port": 12')
    assert broker.status().bootstrap_servers is None


def test_a_port_in_use_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(BrokerError, match=f"port {port} .* in use by another program"):
            EmbeddedBroker(tmp_path, port=port).start()
    assert processes_of(tmp_path) == []


def test_a_full_disk_is_told_before_anything_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=3 << 20))
    with pytest.raises(BrokerError, match=r"only 3 MB are free .* free some space"):
        EmbeddedBroker(tmp_path).start()


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(BrokerError, match=r"cannot use .*file.* choose another folder"):
        EmbeddedBroker(tmp_path / "file" / "kafka").start()
    with pytest.raises(BrokerError, match="cannot handle"):
        EmbeddedBroker(tmp_path / "a,b")


def test_a_broker_that_dies_while_starting_says_its_last_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    properties = broker_module._PROPERTIES  # noqa: SLF001
    monkeypatch.setattr(broker_module, "_PROPERTIES", properties + "num.io.threads=none\n")
    with pytest.raises(BrokerError, match=r"num\.io\.threads"):
        EmbeddedBroker(tmp_path).start()
    assert processes_of(tmp_path) == []


@pytest.mark.long
def test_nothing_is_lost_or_doubled_when_the_broker_is_killed_under_load(home: Path) -> None:
    broker = EmbeddedBroker(home)
    broker.start()
    settings = settings_of(broker)
    ensure_topics(settings, [Topic(name, key="k", schema=None, partitions=3) for name in ("load.in", "load.out")])
    write(settings, "load.in", range(6000))
    echo = Echo(settings, "load.in", "load.out")
    echo.run(until=lambda: echo.commits == 10)

    pid = broker.status().pid
    assert pid is not None
    killer = threading.Timer(0.05, lambda: os.kill(pid, signal.SIGKILL))
    starter = threading.Timer(1.0, broker.start)
    for timer in (killer, starter):
        timer.start()
    echo.run(until=echo.is_done)
    for timer in (killer, starter):
        timer.join(PATIENCE_S)
    echo.close()

    assert echo.outages > 0
    assert values_in(settings, "load.out") == Counter(b"%d" % i for i in range(6000))


def test_a_broker_that_hangs_counts_as_away_and_the_flow_goes_on_when_it_wakes(home: Path) -> None:
    broker = EmbeddedBroker(home)
    broker.start()
    settings = settings_of(broker)
    ensure_topics(settings, [Topic(name, key="k", schema=None, partitions=2) for name in ("hang.in", "hang.out")])
    write(settings, "hang.in", range(1000))
    echo = Echo(settings, "hang.in", "hang.out")
    echo.run(until=lambda: echo.commits == 2)

    pid = broker.status().pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    try:
        before = echo.outages
        echo.run(until=lambda: echo.outages >= before + 2)
        with pytest.raises(TransportUnavailable, match="does not answer"):
            echo.source.end_offsets()
    finally:
        os.kill(pid, signal.SIGCONT)
    echo.run(until=echo.is_done)
    echo.close()

    assert values_in(settings, "hang.out") == Counter(b"%d" % i for i in range(1000))


class Echo:
    """The smallest pipeline: every record goes out as it came in, with its offset, in small transactions."""

    def __init__(self, settings: KafkaSettings, topic: str, to: str) -> None:
        self.settings, self.topic, self.to = impatient(settings), topic, to
        settings = self.settings
        self.sink = KafkaSink(settings, f"echo-{topic}", f"echo-{topic}", topic, commit_timeout_s=3.0)
        self.sink.open()
        self.source = KafkaSource(settings, topic, f"echo-{topic}")
        self.reader = self.source.open(self.source.committed())
        self.ends = self.source.end_offsets()
        self.commits = self.outages = 0
        self.position: dict[int, int] = dict(self.source.committed())
        self.pending: dict[str, Any] | None = None

    def run(self, until: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not until():
            assert time.monotonic() < deadline, f"stopped at {self.position} of {self.ends}"
            try:
                self.step()
            except TransportUnavailable:
                self.outages += 1

    def step(self) -> None:
        if self.pending is None:
            fetched = self.reader.poll(0.5, 60)
            if fetched is None:
                return
            partition, end = fetched.range.partition, fetched.range.end
            assert fetched.range.start == self.position[partition]
            self.position[partition] = end
            self.pending = {"answers": [Output(self.to, fetched.records)], "offsets": {partition: end}}
        self.sink.commit(**self.pending, dead_letters=[], state=[])
        self.pending = None
        self.commits += 1

    def is_done(self) -> bool:
        return self.pending is None and all(self.position[partition] >= end for partition, end in self.ends.items())

    def close(self) -> None:
        assert self.source.committed() == self.position
        for opened in (self.reader, self.source, self.sink):
            opened.close()
