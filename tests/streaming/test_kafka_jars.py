"""The jars of the embedded broker: what is altered, cut or missing is fetched again, named, or refused."""

from __future__ import annotations

import errno
import hashlib
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from streaming.kafka import jars as jars_module
from streaming.kafka.jars import BrokerError, Jar, class_path, locked_jars
from tests.waiting import PATIENCE_S

GOOD = b"a jar"
JAR = Jar("org.example", "thing", "1.2", hashlib.sha256(GOOD).hexdigest())


class Registry:
    """Stands for the resolver: writes what it serves where the resolver would."""

    def __init__(self, serves: bytes | Exception) -> None:
        self.serves, self.asked = serves, 0

    def context(self, folder: Path) -> Any:
        self.folder = folder
        return self

    def project(self, group: str, artifact: str) -> Registry:
        assert (group, artifact) == ("org.example", "thing")
        return self

    def at_version(self, version: str) -> Registry:
        assert version == "1.2"
        return self

    def artifact(self) -> Registry:
        return self

    def resolve(self) -> None:
        self.asked += 1
        if isinstance(self.serves, Exception):
            raise self.serves
        JAR.path(self.folder).parent.mkdir(parents=True, exist_ok=True)
        JAR.path(self.folder).write_bytes(self.serves)


def fetch(folder: Path, monkeypatch: pytest.MonkeyPatch, registry: Registry) -> list[str]:
    monkeypatch.setattr(jars_module, "_context", registry.context)
    told: list[str] = []
    assert class_path(folder, told.append, [JAR]) == str(JAR.path(folder))
    return told


def test_the_lock_names_kafka_and_a_checksum_for_every_jar() -> None:
    jars = {jar.artifact: jar for jar in locked_jars()}
    assert jars["kafka_2.13"].version == jars["kafka-clients"].version == "4.2.1"
    assert all(len(jar.sha256) == 64 for jar in jars.values())
    assert len(jars) > 30


def test_a_jar_is_fetched_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    registry = Registry(GOOD)
    assert fetch(tmp_path, monkeypatch, registry) == ["fetched 1 of 1 Kafka jars"]
    assert fetch(tmp_path, monkeypatch, registry) == []
    assert registry.asked == 1


@pytest.mark.parametrize("found", [b"", GOOD[:3], b"b jar", GOOD + b"!"])
def test_an_altered_or_cut_jar_is_fetched_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, found: bytes) -> None:
    JAR.path(tmp_path).parent.mkdir(parents=True)
    JAR.path(tmp_path).write_bytes(found)
    fetch(tmp_path, monkeypatch, Registry(GOOD))
    assert JAR.path(tmp_path).read_bytes() == GOOD


def test_a_jar_that_does_not_match_the_lock_is_refused_and_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(BrokerError, match=r"thing-1\.2\.jar .* checksum .* not using it"):
        fetch(tmp_path, monkeypatch, Registry(b"something else"))
    assert not JAR.path(tmp_path).exists()


def test_without_a_network_the_remedy_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        BrokerError, match=r"cannot fetch org\.example:thing:1\.2 .* needs a network: connect once"
    ) as told:
        fetch(tmp_path, monkeypatch, Registry(ConnectionError("name resolution failed\nand more")))
    assert "\n" not in str(told.value)


def test_a_full_disk_is_told_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    full = OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(BrokerError, match="No space left on device; free some space"):
        fetch(tmp_path, monkeypatch, Registry(full))


def test_a_fetch_that_is_given_up_does_not_go_on_with_the_other_jars(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    began: list[Jar] = []
    given_up = threading.Event()

    class Pool(ThreadPoolExecutor):
        def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
            if cancel_futures:  # before those who are on their way come to their end, and could begin with others
                super().shutdown(wait=False, cancel_futures=True)
                given_up.set()
            super().shutdown(wait=wait)

    def fetch_one(context: Any, jar: Jar, folder: Path) -> None:
        began.append(jar)
        if len(began) > 1:
            assert given_up.wait(PATIENCE_S)  # on its way when the caller has had enough

    def give_up(words: str) -> None:
        raise InterruptedError

    monkeypatch.setattr(jars_module, "ThreadPoolExecutor", Pool)
    monkeypatch.setattr(jars_module, "_context", lambda folder: None)
    monkeypatch.setattr(jars_module, "_fetch_one", fetch_one)
    wanted = [Jar("org.example", f"thing-{number}", "1", "0") for number in range(100)]
    with pytest.raises(InterruptedError):
        class_path(tmp_path, give_up, wanted)
    assert len(began) <= 1 + jars_module._FETCHES_AT_ONCE  # noqa: SLF001 - those that were under way
