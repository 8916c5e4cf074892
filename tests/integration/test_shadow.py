"""A candidate in the shadow of a live pipeline: what it answers, that it is told when one fails, and that the live
pipeline notices nothing of it, while it runs and when it is gone."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from jobs import cli
from jobs.errors import Exit
from jobs.run_continuous import make_worker
from jobs.settings import load_settings
from models.store import SHIPPED, ModelStore
from serve.win import LocalPredict
from streaming import topics
from streaming.codec import Decoder, Encoder, PackagedRegistry, load_schema
from streaming.features.match_fold import fold_events
from streaming.kafka.admin import ensure_topics, read_all
from streaming.kafka.broker import EmbeddedBroker
from streaming.kafka.publisher import Publisher
from streaming.kafka.settings import KafkaSettings
from streaming.kafka.source import KafkaSource
from streaming.pipelines.win_prediction import win_prediction
from streaming.runners.progress import Progress
from streaming.simulators.match import simulate
from streaming.topics import MATCH_EVENTS, MATCH_INSIGHTS, MATCH_INSIGHTS_SHADOW, identity, state_topic
from tests.stored_models import save_turned
from tests.visible import until_visible
from tests.waiting import PATIENCE_S, wait_until

pytestmark = [pytest.mark.kafka, pytest.mark.ray]

ROOT = Path(__file__).parents[2]
SHADOW = "win-prediction-shadow"
POISON = b"\x00\x00\x00\x00\x01 not a match event"
BY_EVENT = ["source_partition", "source_offset"]


@pytest.fixture
def kafka(tmp_path: Path) -> Iterator[KafkaSettings]:
    """A broker of its own: the pipelines' topics have fixed names."""
    broker = EmbeddedBroker(tmp_path / "kafka")
    try:
        settings = KafkaSettings(str(broker.start(timeout_s=PATIENCE_S).bootstrap_servers))
        ensure_topics(settings, [*topics.TOPICS, state_topic("win-prediction")])
        yield settings
    finally:
        broker.stop()


@pytest.fixture
def live(kafka: KafkaSettings, tmp_path: Path) -> Iterator[None]:
    """The pipeline as a worker here, by the models that ship."""
    settings = load_settings({"models.store": (str(tmp_path / "none"), "--set")}).settings
    predict = LocalPredict(str(tmp_path / "none"), {"lol": "tsstn-lol"}, store_must_exist=False)
    worker = make_worker(win_prediction(predict), settings, kafka)(0, Progress(0))
    thread = threading.Thread(target=worker.run, name="live", daemon=True)
    thread.start()
    yield
    worker.stop()
    thread.join(PATIENCE_S)
    assert not thread.is_alive()


class Shadow:
    """`sightline run win-prediction --shadow` as a process."""

    def __init__(self, kafka: KafkaSettings, home: Path) -> None:
        self.log = home / "shadow.log"
        environment = {"SIGHTLINE_KAFKA__BOOTSTRAP_SERVERS": kafka.bootstrap_servers, "SIGHTLINE_HOME": str(home)}
        with self.log.open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "jobs.run", "win-prediction", "--shadow", "tsstn-lol@candidate",
                 "--runner", "continuous"],
                cwd=ROOT,
                env={**os.environ, **environment},
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )  # fmt: skip

    def check_alive(self) -> None:
        assert self._process.poll() is None, self.log.read_text()[-4_000:]

    def terminate(self) -> int:
        self._process.terminate()
        return self._process.wait(PATIENCE_S)

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


def publish(kafka: KafkaSettings, events: pl.DataFrame, *more: bytes) -> None:
    encoder = Encoder(load_schema("match-events"), PackagedRegistry().id_of("match-events"))
    keys = [match_id.encode() for match_id in events["match_id"]]
    with closing(Publisher(kafka)) as publisher:
        publisher.send(
            MATCH_EVENTS.name, [*keys, *[b"poison"] * len(more)], [*encoder.encode(events).to_pylist(), *more]
        )
        assert publisher.flush(PATIENCE_S)
        assert publisher.failed == 0


def decoded(kafka: KafkaSettings, topic: str, schema: str) -> pl.DataFrame:
    decoder = Decoder(schema, PackagedRegistry())
    return pl.concat([decoder.decode(records).frame for records in read_all(kafka, topic).values()])


def caught_up(kafka: KafkaSettings, pipeline: str) -> bool:
    with closing(KafkaSource(kafka, MATCH_EVENTS.name, identity(pipeline))) as source:
        return source.committed() == source.end_offsets()


def alerted(kafka: KafkaSettings, words: str) -> bool:
    status = decoded(kafka, topics.PIPELINE_STATUS.name, "pipeline-status").filter(pl.col("pipeline") == SHADOW)
    return any(words in alert for alert in status.sort("time_ms").item(-1, "alerts"))


def wait_for(what: Callable[[], bool], check: Callable[[], None] = lambda: None) -> None:
    def has_come() -> bool:
        check()
        return what()

    wait_until(has_come, pause_s=0.1)


def test_a_candidate_answers_beside_the_live_pipeline_which_notices_nothing(
    kafka: KafkaSettings,
    live: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    store = ModelStore(tmp_path / "models", SHIPPED)
    shipped, candidate = store.resolve("tsstn-lol")[1], save_turned(store, 1.2)
    store.set_alias("tsstn-lol", "candidate", candidate)
    events = simulate("lol", matches=6, seed=5).events.sort("event_time_ms", maintain_order=True)
    third, more = events.height // 3, list[pl.DataFrame]()
    shadow = Shadow(kafka, tmp_path)
    try:
        publish(kafka, events[:third], POISON)
        wait_for(lambda: caught_up(kafka, "win-prediction"))
        wait_for(lambda: caught_up(kafka, SHADOW), shadow.check_alive)
        broken = save_turned(store, 1.5)
        (tmp_path / "models" / "tsstn-lol" / str(broken) / "weights.safetensors").write_bytes(b"torn")
        store.set_alias("tsstn-lol", "candidate", broken)
        second = events[third : 2 * third].iter_slices(20)
        others = (simulate("lol", matches=1, seed=seed).events for seed in itertools.count(6))

        def is_told() -> bool:
            """With the next answers after it was found out, however many matches that takes."""
            if (piece := next(second, None)) is None:
                publish(kafka, piece := next(others))
                more.append(piece)
            else:
                publish(kafka, piece)
            return alerted(kafka, f"tsstn-lol@{broken} (tsstn-lol@candidate) cannot take over")

        wait_for(is_told, shadow.check_alive)
        for piece in second:
            publish(kafka, piece)
        wait_for(lambda: caught_up(kafka, SHADOW), shadow.check_alive)
        assert shadow.terminate() == 0
    finally:
        shadow.kill()
    publish(kafka, events[2 * third :])
    wait_for(lambda: caught_up(kafka, "win-prediction"))

    until_visible(kafka, MATCH_INSIGHTS.name, MATCH_INSIGHTS_SHADOW.name)
    answers, shadowed = (decoded(kafka, t.name, "match-insights") for t in (MATCH_INSIGHTS, MATCH_INSIGHTS_SHADOW))
    assert answers["model_version"].unique().to_list() == [str(shipped)]
    assert shadowed["model_version"].unique().to_list() == [str(candidate)]
    for rows in (answers, shadowed):
        assert not rows.select(BY_EVENT).is_duplicated().any()
    assert answers.height == fold_events(pl.concat([events, *more])).height
    assert shadowed.join(answers, on=[*BY_EVENT, "match_id", "attempt", "frame"], how="anti").is_empty()
    (letters,) = read_all(kafka, MATCH_EVENTS.dead_letters.name).values()
    assert letters.values.to_pylist() == [POISON]

    monkeypatch.setenv("SIGHTLINE_HOME", str(tmp_path))
    assert cli.main(["models", "shadow", "--brokers", kafka.bootstrap_servers, "--json"]) == Exit.OK
    told: dict[str, Any] = json.loads(capsys.readouterr().out)
    (pair,) = told["pairs"]
    assert (pair["live"], pair["shadow"]) == (f"tsstn-lol@{shipped}", f"tsstn-lol@{candidate}")
    on_air = shadowed.filter(pl.col("status") == "live")
    assert pair["frames"] == on_air.height > 50
    both = on_air.join(answers, on=BY_EVENT, suffix="_live")
    assert pair["mean_abs"] == pytest.approx((both["p"] - both["p_live"]).abs().mean()) and pair["mean_abs"] > 0.001
    assert (told["live_only"], told["shadow_only"]) == (0, 0)
    assert told["behind"] == answers.height - shadowed.height > 0
    assert pair["outcome"]["matches"] == pair["matches"] == on_air["match_id"].n_unique() > 1
