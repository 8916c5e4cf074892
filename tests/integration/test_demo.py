"""The demo as a user sees it: started by its command, watched in a real browser, ended by Ctrl-C."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import psutil
import pytest

from streaming.ports import free_ports
from tests.waiting import PATIENCE_S

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = [pytest.mark.kafka, pytest.mark.ray]

ROOT = Path(__file__).parents[2]


class Demo:
    """`sightline demo` as a process, with what it says."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.report = folder / "report.json"
        self.lines: list[str] = []
        command = [sys.executable, "-m", "jobs.cli", "demo", "--port", "0", "--report", str(self.report), *arguments]
        self.process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, "SIGHTLINE_HOME": str(folder / "home")},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            for line in lines:
                self.lines.append(line.rstrip())

    def said(self, pattern: str, timeout_s: float = 120.0) -> str:
        """The first group of the pattern, once a line has it."""
        found: list[str] = []

        def look() -> bool:
            found.extend(match[1] for line in list(self.lines) if (match := re.search(pattern, line)))
            return bool(found)

        eventually(look, lambda: "\n".join(self.lines), timeout_s)
        return found[0]

    def processes(self) -> list[psutil.Process]:
        """All that it started and that is still there, the broker too, which is nobody's child."""
        home = str(self.report.parent / "home")
        children = psutil.Process(self.process.pid).children(recursive=True) if self.process.poll() is None else []
        brokers = [p for p in psutil.process_iter(["cmdline"]) if home in " ".join(p.info["cmdline"] or [])]
        return [*children, *brokers]


def eventually(what: Callable[[], bool], otherwise: Callable[[], str], timeout_s: float = 60.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not what():
        assert time.monotonic() < deadline, otherwise()
        time.sleep(0.1)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    running = Demo(tmp_path_factory.mktemp("demo"), "--speed", "60", "--matches", "4")
    try:
        yield running
    finally:
        if running.process.poll() is None:
            running.process.send_signal(signal.SIGINT)
            try:
                running.process.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                os.killpg(running.process.pid, signal.SIGKILL)


def young_match(url: str) -> dict[str, Any]:
    """A live match, answered a few times, that will still be played when a browser on a slow machine has opened its
    page: the demo shows its first matches from near their end."""
    found: list[dict[str, Any]] = []

    def look() -> bool:
        matches = httpx.get(f"{url}/api/matches").json()["matches"]
        found.extend(m for m in matches if m["status"] == "live" and len(m["spark"]) >= 3 and m["clock_s"] < 720)
        return bool(found)

    eventually(look, lambda: "no live match was answered three times in its first twelve minutes", 120)
    return found[0]


def points(page: Page) -> int:
    return int(page.get_by_test_id("curve").get_attribute("data-points") or 0)


@pytest.mark.browser
def test_the_wall_and_a_match_move_and_say_why(demo: Demo, browser: Browser) -> None:
    url = demo.said(r"open (http\S+)")
    match = young_match(url)
    page = browser.new_page(viewport={"width": 1280, "height": 720})
    page.goto(url)
    page.get_by_test_id("wall-card").first.wait_for(timeout=20_000)
    page.goto(f"{url}/matches/{match['id']}")
    page.get_by_test_id("headline-p").wait_for(timeout=20_000)
    before = points(page)
    eventually(lambda: points(page) > before, lambda: f"{match} stays at {before} points: {page.inner_text('main')}")
    values = [float(row.get_attribute("data-value") or 0) for row in page.get_by_test_id("contribution-row").all()]
    assert any(value != 0 for value in values)
    state = page.get_by_test_id("state").first.inner_text()
    assert "simulated" in state.lower() or "final" in state.lower() or "ended" in state.lower()
    page.close()


@pytest.mark.browser
def test_a_gateway_that_restarts_loses_nothing_and_doubles_nothing(
    demo: Demo, browser: Browser, tmp_path: Path
) -> None:
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
        eventually(lambda: answers(f"{url}/livez"), (tmp_path / "gateway.log").read_text, 60)
        return gateway

    brokers = demo.said(r"Kafka: (\S+)")
    gateway = start()
    try:
        match = young_match(url)
        page = browser.new_page()
        page.goto(f"{url}/matches/{match['id']}")
        page.get_by_test_id("headline-p").wait_for(timeout=20_000)
        gateway.send_signal(signal.SIGKILL)
        gateway.wait()
        time.sleep(2.0)  # answers come meanwhile: that is what is tested
        gateway = start()

        def complete() -> bool:
            curve = httpx.get(f"{url}/api/matches/{match['id']}").json()["curve"]
            ids = [point["id"] for point in curve]
            return len(set(ids)) == len(ids) > 3 and points(page) == len(ids)

        eventually(complete, lambda: f"the page has {points(page)} points, the gateway another number", 40)
        page.close()
    finally:
        gateway.kill()
        gateway.wait()


def answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=1.0).is_success
    except httpx.HTTPError:
        return False


def test_ctrl_c_ends_it_all_and_the_report_is_measured(demo: Demo) -> None:
    demo.said(r"first insight: after ([0-9.]+) s")
    url = demo.said(r"open (http\S+)")
    ops = httpx.get(f"{url}/api/ops").json()
    (pipeline,) = ops["pipelines"]
    assert pipeline["state"] == "running"
    assert {model["title"] for model in pipeline["models"]} == {"dota2", "hok", "lol"}
    assert "sightline_" in httpx.get(f"{url}/metrics").text
    assert httpx.get(f"{url}/healthz").status_code == 200

    started = demo.processes()
    assert started
    demo.process.send_signal(signal.SIGINT)
    assert demo.process.wait(PATIENCE_S) == 0, "\n".join(demo.lines)
    left = [process for process in started if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]
    assert not left, left
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
