"""`ray job submit --working-dir . -- python -m jobs.run win-prediction`, as the README has it, on a fresh cluster."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from jobs.runs.folder import all_runs
from jobs.schedule.ray_jobs import RayJobs
from jobs.schedule.submitter import SubmitterAway
from models.store import ModelStore
from streaming import topics
from streaming.codec import Encoder, PackagedRegistry, load_schema
from streaming.kafka.admin import ensure_topics
from streaming.kafka.broker import EmbeddedBroker
from streaming.kafka.publisher import Publisher
from streaming.kafka.settings import KafkaSettings
from streaming.kafka.source import KafkaSource
from streaming.ports import free_ports
from streaming.simulators.match import simulate
from tests.schedule_submitters import check_submitter, lasting, until
from tests.waiting import PATIENCE_S, wait_until

pytestmark = [pytest.mark.kafka, pytest.mark.ray]

ROOT = Path(__file__).parents[2]
RAY = Path(sys.executable).parent / "ray"


@pytest.fixture
def cluster(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The dashboard address of a fresh one-node Ray cluster; stopped by its process group, not by name."""
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    # For head and clients alike: else whether tokens are asked for depends on a file in the user's home.
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    # Ray puts sockets below its folder, whose whole path must stay short: not in pytest's deep one.
    folder = Path("/tmp") / f"ray-{os.getpid()}-{time.monotonic_ns() % 10**6}"
    port, dashboard, client, agent, agent_grpc = free_ports(5)
    log = tmp_path_factory.mktemp("ray") / "head.log"
    with log.open("wb") as output:
        head = subprocess.Popen(
            [
                RAY, "start", "--head", "--block", "--num-cpus=8", f"--port={port}", "--include-dashboard=true",
                f"--dashboard-port={dashboard}", f"--temp-dir={folder}", "--ray-client-server-port", str(client),
                # Without these two every cluster of a machine wants the same port for the agent that takes jobs.
                f"--dashboard-agent-listen-port={agent}", f"--dashboard-agent-grpc-port={agent_grpc}",
                "--object-store-memory=200000000", "--disable-usage-stats",
            ],
            env={**os.environ, "PATH": f"{RAY.parent}:{os.environ['PATH']}", "RAY_enable_metrics_collection": "0"},
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )  # fmt: skip

    def answers() -> bool:
        assert head.poll() is None, log.read_text()
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", dashboard), timeout=PATIENCE_S):
            return True
        return False

    try:
        wait_until(answers, pause_s=0.3, otherwise=log.read_text)
        yield f"http://127.0.0.1:{dashboard}"
    finally:
        family = psutil.Process(head.pid).children(recursive=True)
        for process in [*family, head]:
            with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError):
                process.kill()
        head.wait(PATIENCE_S)
        psutil.wait_procs(family, timeout=PATIENCE_S)
        shutil.rmtree(folder, ignore_errors=True)


def submit(
    cluster: str, environment: dict[str, str], options: list[str], words: list[str]
) -> subprocess.CompletedProcess[str]:
    """`ray job submit --working-dir . -- WORDS`, as soon as the cluster takes jobs."""
    command = [
        RAY, "job", "submit", "--address", cluster, "--working-dir", ".",
        "--runtime-env-json", json.dumps({"env_vars": environment}), *options, "--", *words,
    ]  # fmt: skip
    submitted: list[subprocess.CompletedProcess[str]] = []

    def is_heard() -> bool:
        """The dashboard answers before the agent that takes jobs does."""
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        submitted[:] = [done]
        return "No available agent" not in done.stderr

    wait_until(is_heard, pause_s=0.5, otherwise=lambda: submitted[0].stderr)
    return submitted[0]


@pytest.mark.long
def test_a_submitted_training_stores_its_model(cluster: str, tmp_path: Path) -> None:
    words = ["python", "-m", "jobs.train", "win-tsstn", "--data", "simulator:lol?matches=20&seed=1", "--name", "mine"]
    small = ["--set", "optim.epochs=2", "--set", "sizes.hidden=4", "--workers", "2"]
    submitted = submit(cluster, {"SIGHTLINE_HOME": str(tmp_path)}, [], [*words, *small])
    assert submitted.returncode == 0, submitted.stdout + submitted.stderr
    assert "epoch 2/2" in submitted.stdout
    stored = ModelStore(tmp_path / "models").load("mine@1")
    ((_, record),) = all_runs(tmp_path / "runs")
    assert record is not None and (record.state, record.model) == ("done", "mine@1")
    assert record.recipe["scaling"]["workers"] == 2 and stored.manifest.data_fingerprint == record.data["fingerprint"]


def test_a_submitted_job_answers_from_a_clean_cluster(cluster: str, tmp_path: Path) -> None:
    broker = EmbeddedBroker(tmp_path / "kafka")
    sources: list[KafkaSource] = []
    try:
        kafka = KafkaSettings(bootstrap_servers=str(broker.start().bootstrap_servers))
        ensure_topics(kafka, [*topics.TOPICS, topics.state_topic("win-prediction")])
        events = simulate("lol", matches=1, seed=1).events
        encoder = Encoder(load_schema("match-events"), PackagedRegistry().id_of("match-events"))
        publisher = Publisher(kafka)
        publisher.send("match.events", [m.encode() for m in events["match_id"]], encoder.encode(events).to_pylist())
        assert publisher.flush(PATIENCE_S)
        publisher.close()

        environment = {"SIGHTLINE_KAFKA__BOOTSTRAP_SERVERS": kafka.bootstrap_servers, "SIGHTLINE_HOME": str(tmp_path)}
        words = ["python", "-m", "jobs.run", "win-prediction"]
        submitted = submit(cluster, environment, ["--no-wait", "--submission-id", "win"], words)
        assert submitted.returncode == 0, submitted.stdout + submitted.stderr

        insights = KafkaSource(kafka, "match.insights", "reader")
        committed = KafkaSource(kafka, "match.events", "sightline.win-prediction")
        sources += [insights, committed]

        def logs() -> str:
            command = [RAY, "job", "logs", "--address", cluster, "win"]
            told = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S)
            return told.stdout[-4_000:]

        wait_until(lambda: dict(committed.committed()) == dict(committed.end_offsets()), pause_s=0.5, otherwise=logs)
        assert sum(insights.end_offsets().values()) > 20
        stopped = subprocess.run(
            [RAY, "job", "stop", "--address", cluster, "win"], capture_output=True, text=True, timeout=PATIENCE_S
        )
        assert stopped.returncode == 0, stopped.stdout + stopped.stderr
        apps = f"{cluster}/api/serve/applications/"  # the cluster is others' too: the app goes with the run
        wait_until(
            lambda: not httpx.get(apps).json()["applications"], pause_s=0.5, otherwise=lambda: httpx.get(apps).text
        )
    finally:
        for source in sources:
            source.close()
        broker.stop()


def test_a_scheduler_submits_finds_and_stops_jobs(cluster: str, tmp_path: Path) -> None:
    jobs = RayJobs(cluster, ROOT, {"SIGHTLINE_HOME": str(tmp_path)})

    def takes_jobs() -> bool:
        try:
            jobs.submit("first-1", ("version",))
        except SubmitterAway:  # the dashboard answers before the agent that takes jobs does
            return False
        return True

    until(takes_jobs, "the cluster takes jobs")
    check_submitter(jobs, lasting(tmp_path))
