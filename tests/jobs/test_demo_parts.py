"""The demo's parts, one by one: settings of its children, a start that can be given up, replays, steps, logs."""

from __future__ import annotations

import itertools
import json
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from jobs import demo
from jobs.children import Child
from jobs.demo import DemoOptions, replayed
from jobs.demo_parts import (
    BrokerStart,
    DemoFailed,
    environment_of_children,
    pipeline_steps_s,
    settings_of_children,
)
from jobs.settings import load_settings, to_toml
from streaming.importers.problem import ImportProblem
from streaming.kafka.broker import EmbeddedBroker
from tests.waiting import PATIENCE_S

REAL_CLUSTER = """
[kafka]
bootstrap_servers = "broker:9093"
security_protocol = "SASL_SSL"
sasl_mechanism = "PLAIN"
sasl_username = "me"
sasl_password = "hunter2"
[registry]
url = "http://registry:8081"
[ray]
address = "ray://head:10001"
num_cpus = 5
[serve]
max_batch = 77
"""


def test_children_get_what_was_set_but_never_a_real_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.toml").write_text(REAL_CLUSTER)
    monkeypatch.setenv("RAY_ADDRESS", "ray://other:10001")
    monkeypatch.setenv("SIGHTLINE_KAFKA__PORT", "9099")
    monkeypatch.setenv("SIGHTLINE_SERVE__REPLICAS", "2")
    options = {"gateway.port": ("9000", "--set"), "models.titles.lol": ("mine@3", "--set")}
    settings = load_settings(options, tmp_path / "mine.toml").settings
    file = tmp_path / "settings.toml"
    file.write_text(to_toml(settings_of_children(settings, "127.0.0.1:1234", tmp_path / "url")), "utf-8")
    assert "hunter2" not in file.read_text()

    for name, value in environment_of_children(file).items():
        monkeypatch.delenv(name, raising=False) if value is None else monkeypatch.setenv(name, value)
    found = load_settings()
    assert (found.file, found.settings.ray.address) == (file, None)
    assert found.settings.kafka.connection().bootstrap_servers == "127.0.0.1:1234"
    assert found.settings.kafka.security_protocol == "PLAINTEXT"
    assert found.settings.registry.url is None
    assert (found.settings.ray.num_cpus, found.settings.serve.replicas, found.settings.serve.max_batch) == (5, 2, 77)
    assert (found.settings.gateway.port, found.settings.gateway.ready_file) == (9000, tmp_path / "url")
    assert found.settings.models.titles["lol"] == "mine@3"
    assert not [name for name in os.environ if name.startswith("SIGHTLINE_") and name != "SIGHTLINE_CONFIG"]


def test_a_child_is_given_variables_and_relieved_of_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "auto")
    environment = {"RAY_ADDRESS": None, "SIGHTLINE_CONFIG": ""}
    child = Child("config", ["jobs.cli", "config", "--json"], environment, tmp_path / "log")
    while child.ended is None:
        threading.Event().wait(0.05)
    assert set(json.loads((tmp_path / "log").read_text())["origins"].values()) == {"default"}


class SlowBroker(EmbeddedBroker):
    """Its start takes until `stop`, as one does whose process has been launched."""

    def __init__(self, home: Path) -> None:
        super().__init__(home)
        self.launched, self.stopped = threading.Event(), threading.Event()

    def start(self, on_progress: Any = None, timeout_s: float = 60.0) -> Any:
        on_progress("starting Kafka")
        self.launched.set()
        assert self.stopped.wait(PATIENCE_S)
        raise RuntimeError("Kafka ended while starting")

    def stop(self, timeout_s: float = 20.0) -> bool:
        self.stopped.set()
        return True


class FetchingBroker(SlowBroker):
    """Its start fetches one jar after another, without end."""

    def start(self, on_progress: Any = None, timeout_s: float = 60.0) -> Any:
        self.launched.set()
        for number in itertools.count():
            on_progress(f"fetched {number}")


@pytest.mark.parametrize("kind", [SlowBroker, FetchingBroker])
def test_a_broker_that_starts_can_be_given_up_at_any_moment(tmp_path: Path, kind: type[SlowBroker]) -> None:
    broker, stopping = kind(tmp_path), threading.Event()
    start = BrokerStart(broker, lambda words: None)
    assert broker.launched.wait(PATIENCE_S)
    stopping.set()
    assert start.wait(stopping, lambda: None) is None
    start.stop()
    assert broker.stopped.is_set()
    assert "broker" not in [thread.name for thread in threading.enumerate()]


def test_a_broker_that_cannot_start_says_why(tmp_path: Path) -> None:
    broker = SlowBroker(tmp_path)
    broker.stopped.set()
    with pytest.raises(RuntimeError, match="ended while starting"):
        BrokerStart(broker, lambda words: None).wait(threading.Event(), lambda: None)


def timelines(folder: Path, whole: int, cut: int) -> Path:
    """A folder of Riot timelines, some of them cut off."""
    folder.mkdir()
    frames = [
        {
            "timestamp": minute * 60_000,
            "events": [{"type": "WARD_PLACED", "timestamp": minute * 60_000}],
            "participantFrames": {
                str(number): {
                    "participantId": number, "totalGold": 500 + minute, "xp": 10, "level": 1,
                    "minionsKilled": 1, "jungleMinionsKilled": 0,
                }
                for number in range(1, 11)
            },
        }
        for minute in range(4)
    ]  # fmt: skip
    for number in range(whole + cut):
        text = json.dumps({"metadata": {"matchId": f"EUW1_{number}"}, "info": {"gameId": number, "frames": frames}})
        (folder / f"{number}.json").write_text(text if number < whole else text[: len(text) // 2])
    return folder


def test_every_file_of_a_replay_that_is_left_out_is_said_with_its_reason(tmp_path: Path) -> None:
    said: list[str] = []
    feed = replayed(DemoOptions(replay=timelines(tmp_path / "ten", whole=1, cut=9)), said.append)
    assert feed.next_due_s is not None
    left_out = [line for line in said if line.startswith("left out: ")]
    assert [f"{number}.json" in line for number, line in enumerate(left_out, start=1)] == [True] * 9
    assert all("\n" not in line and len(line) > len("left out: ") + 20 for line in left_out)
    assert said[-1] == "replaying 1 matches; 9 files were left out"


def test_a_replay_of_nothing_but_broken_files_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(ImportProblem, match="none of its 3 timelines can be imported"):
        replayed(DemoOptions(replay=timelines(tmp_path / "cut", whole=0, cut=3)), lambda words: None)


def test_the_steps_of_the_pipeline_are_read_from_its_log(tmp_path: Path) -> None:
    log = tmp_path / "pipeline.log"
    log.write_text(
        "warning: not JSON\n{broken\n"
        '{"time": "2026-01-01T00:00:05.500Z", "message": "starting Ray", "step": "process"}\n'
        '{"time": "2026-01-01T00:00:06.000Z", "message": "no step of its own"}\n'
        '{"time": "2026-01-01T00:00:09.250Z", "message": "committed"}\n'
        '{"time": "2026-01-01T00:00:99.250Z", "message": "committed"}\n'
    )
    began = 1_767_225_600.0  # 2026-01-01T00:00:00Z
    assert pipeline_steps_s(log, began) == {"pipeline_process": 5.5, "pipeline_first_commit": 9.25}
    assert pipeline_steps_s(tmp_path / "none", began) == {}


class Ended:
    """A child that ended by itself."""

    name, ended, last_line = "pipeline", 1, "it broke"

    def __init__(self, log: Path) -> None:
        self.log = log


def test_the_log_of_a_part_that_ended_is_kept_where_only_the_user_writes(tmp_path: Path) -> None:
    settings = load_settings({"home": (str(tmp_path / "home"), "--set")}).settings
    settings.home.mkdir()
    running = demo.Demo(DemoOptions(), settings, tmp_path, lambda words: None, 0.0)
    (tmp_path / "log").write_text("all of it")
    running._children.append(Ended(tmp_path / "log"))  # type: ignore[arg-type]  # noqa: SLF001
    kept = settings.home / "last-demo" / "pipeline.log"
    with pytest.raises(DemoFailed, match=r"the pipeline ended by itself: it broke \(its log: .*last-demo.*\)"):
        running.raise_if_ended()
    assert kept.read_text() == "all of it"
