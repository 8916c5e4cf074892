"""The demo as a user sees it: started by its command, watched in a real browser, ended by Ctrl-C."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import psutil
import pytest

from streaming.ports import free_ports
from tests.demo_process import ROOT, Demo, running
from tests.waiting import PATIENCE_S, wait_until

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = [pytest.mark.kafka, pytest.mark.ray]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    with running(tmp_path_factory.mktemp("demo"), "--speed", "60", "--matches", "4") as started:
        yield started


def young_match(url: str) -> dict[str, Any]:
    """The youngest live match that was answered a few times: the demo shows its first matches from near their end."""
    found: list[dict[str, Any]] = []

    def look() -> bool:
        matches = httpx.get(f"{url}/api/matches").json()["matches"]
        answered = [m for m in matches if m["status"] == "live" and len(m["spark"]) >= 3 and m["clock_s"] < 720]
        found.extend(sorted(answered, key=lambda match: float(match["clock_s"])))
        return bool(found)

    wait_until(look, pause_s=0.1, otherwise=lambda: "no live match was answered three times in its first 12 minutes")
    return found[0]


def points(page: Page) -> int:
    return int(page.get_by_test_id("curve").get_attribute("data-points") or 0)


@pytest.mark.browser
def test_the_wall_and_a_match_move_and_say_why(demo: Demo, page: Page) -> None:
    url = demo.said(r"open (http\S+)")
    page.goto(url)
    page.get_by_test_id("wall-card").first.wait_for()

    def moves() -> bool:
        """A match may be over before a slow machine has opened its page: then the next is looked at."""
        match = young_match(url)
        page.goto(f"{url}/matches/{match['id']}")
        page.get_by_test_id("headline-p").wait_for()
        before, state = points(page), page.get_by_test_id("state").first
        wait_until(lambda: points(page) > before or state.get_attribute("data-state") == "ended", pause_s=0.1)
        return points(page) > before

    wait_until(moves)
    values = [float(row.get_attribute("data-value") or 0) for row in page.get_by_test_id("contribution-row").all()]
    assert any(value != 0 for value in values)
    state = page.get_by_test_id("state").first.inner_text()
    assert "simulated" in state.lower() or "final" in state.lower() or "ended" in state.lower()


@pytest.mark.browser
def test_a_gateway_that_restarts_loses_nothing_and_doubles_nothing(demo: Demo, page: Page, tmp_path: Path) -> None:
    (port,) = free_ports(1)
    url = f"http://127.0.0.1:{port}"

    def start() -> subprocess.Popen[bytes]:
        with (tmp_path / "gateway.log").open("ab") as log:
            gateway = subprocess.Popen(
                [sys.executable, "-m", "jobs.cli", "gateway", "--port", str(port), "--brokers", brokers],
                cwd=ROOT,
                stdout=subprocess.DEVNULL,
                stderr=log,
            )
        wait_until(lambda: answers(f"{url}/livez"), pause_s=0.1, otherwise=(tmp_path / "gateway.log").read_text)
        return gateway

    brokers = demo.said(r"Kafka: (\S+)")
    gateway = start()
    try:
        match = young_match(url)
        page.goto(f"{url}/matches/{match['id']}")
        page.get_by_test_id("headline-p").wait_for()
        gateway.send_signal(signal.SIGKILL)
        gateway.wait()
        time.sleep(2.0)  # answers come meanwhile: that is what is tested
        gateway = start()

        def complete() -> bool:
            told = httpx.get(f"{url}/api/matches/{match['id']}")
            ids = [point["id"] for point in told.json()["curve"]] if told.is_success else []  # it reads them back
            return len(set(ids)) == len(ids) > 3 and points(page) == len(ids)

        wait_until(
            complete, pause_s=0.1, otherwise=lambda: f"the page has {points(page)} points, the gateway another number"
        )
    finally:
        gateway.kill()
        gateway.wait()


def answers(url: str) -> bool:
    try:
        return httpx.get(url).is_success
    except httpx.HTTPError:
        return False


def test_ctrl_c_ends_it_all_and_the_report_is_measured(demo: Demo) -> None:
    demo.said(r"first insight: after ([0-9.]+) s")
    url = demo.said(r"open (http\S+)")

    def all_run() -> bool:
        (pipeline,) = httpx.get(f"{url}/api/ops").json()["pipelines"]
        titles = {model["title"] for model in pipeline["models"]}
        return pipeline["state"] == "running" and titles == {"dota2", "hok", "lol"} and answers(f"{url}/healthz")

    wait_until(all_run, pause_s=0.1, otherwise=lambda: httpx.get(f"{url}/api/ops").text)
    assert "sightline_" in httpx.get(f"{url}/metrics").text

    started = demo.processes()
    assert started
    demo.process.send_signal(signal.SIGINT)
    assert demo.process.wait(PATIENCE_S) == 0, "\n".join(demo.lines)
    _, left = psutil.wait_procs(started, timeout=PATIENCE_S)
    assert not [process for process in left if process.status() != psutil.STATUS_ZOMBIE], left
    report = json.loads(demo.report.read_text())
    assert report["events_in"] > 100
    assert report["insights_out"] > 10
    assert report["dead_letters"] == 0
    assert report["matches"] >= 4
    assert report["first_insight_s"] > 0
    assert 0 < report["latency_ms"]["p50"] <= report["latency_ms"]["p99"]


def test_a_replay_that_cannot_be_read_costs_one_line_and_starts_nothing(tmp_path: Path) -> None:
    broken = tmp_path / "timeline.json"
    broken.write_text('{"info": {"frames": [')
    done = subprocess.run(
        [sys.executable, "-m", "jobs.cli", "demo", "--replay", str(broken), "--for", "5s"],
        cwd=ROOT,
        env={**os.environ, "SIGHTLINE_HOME": str(tmp_path / "home")},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 2
    (line,) = done.stderr.strip().splitlines()
    assert str(broken) in line
    assert not (tmp_path / "home").exists()
