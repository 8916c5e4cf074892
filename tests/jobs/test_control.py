"""`sightline.control`: a move of an alias is told to whoever follows, and nothing hangs on whether it could be."""

from __future__ import annotations

import threading
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from jobs import cli
from jobs.control import announce, follow_control
from jobs.settings import Settings
from jobs.threads import beside
from models.store import ModelStore
from models.store.aliases import AliasMove
from streaming.codec import Decoder, PackagedRegistry
from streaming.kafka.admin import ensure_topics, read_all
from streaming.kafka.settings import KafkaSettings
from streaming.topics import CONTROL
from tests.waiting import PATIENCE_S, wait_until

MOVE = AliasMove("rollback", 4, 5, "ann@desk", "2026-11-22T12:00:00.000+00:00", "worse")


def settings_of(**kafka: Any) -> Settings:
    return Settings.model_validate({"kafka": kafka})


def test_without_a_kafka_nothing_is_said() -> None:
    assert not announce(settings_of(), "m", "live", MOVE, 3)


def test_a_kafka_that_is_away_holds_nobody_up(caplog: pytest.LogCaptureFixture) -> None:
    assert not announce(settings_of(bootstrap_servers="127.0.0.1:9"), "m", "live", MOVE, 3)
    called = threading.Event()
    with beside(partial(follow_control, KafkaSettings("127.0.0.1:9", unavailable_after_s=0.2), called.set), "control"):
        wait_until(lambda: "sightline.control is not followed for now" in caplog.text)
    assert not called.is_set()


@pytest.mark.kafka
def test_a_move_is_heard_by_who_follows(kafka: str) -> None:
    ensure_topics(KafkaSettings(kafka), [CONTROL])
    called = threading.Semaphore(0)
    with beside(partial(follow_control, KafkaSettings(kafka), called.release), "control"):
        assert called.acquire(timeout=PATIENCE_S)  # once at the start: something may have come before
        assert announce(settings_of(bootstrap_servers=kafka), "m", "live", MOVE, 3)
        assert called.acquire(timeout=PATIENCE_S)
    (records,) = read_all(KafkaSettings(kafka), CONTROL.name).values()
    assert CONTROL.schema is not None
    said = Decoder(CONTROL.schema, PackagedRegistry()).decode(records).frame.row(-1, named=True)
    assert records.keys.to_pylist()[-1] == b"m@live"
    assert {name: said[name] for name in ("entity", "kind", "version", "moves", "who")} == {
        "entity": "m@live", "kind": "rollback", "version": 4, "moves": 3, "who": "ann@desk",
    }  # fmt: skip


@pytest.mark.kafka
def test_a_training_tells_of_its_candidate(kafka: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A shadow that follows the candidate need not look for it."""
    ensure_topics(KafkaSettings(kafka), [CONTROL])
    monkeypatch.setenv("SIGHTLINE_KAFKA__BOOTSTRAP_SERVERS", kafka)
    monkeypatch.setenv("SIGHTLINE_HOME", str(tmp_path))
    small = ["--workers=0", "--set=optim.epochs=1", "--set=sizes.hidden=4"]
    assert cli.main(["train", "win-tsstn", "--data=simulator:lol?matches=8&seed=1", "--name=told", *small]) == 0
    assert ModelStore(tmp_path / "models").resolve("told@candidate") == ("told", 1)
    keys = [key for part in read_all(KafkaSettings(kafka), CONTROL.name).values() for key in part.keys.to_pylist()]
    assert keys.count(b"told@candidate") == 1
