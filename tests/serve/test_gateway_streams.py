"""The gateway as a process: real sockets, streams that resume, restarts, slow clients, and an end in good order."""

import contextlib
import json
import logging
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from serve.gateway.run import AddressTaken, Gateway
from serve.gateway.settings import GatewaySettings
from serve.gateway.testing import Row, RowLog, event_row, insight_row, status_row
from tests.waiting import PATIENCE_S, wait_until

ROOT = Path(__file__).parents[2]


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def answer(match_id: str, frame: int, p: float = 0.5, **changed) -> Row:
    return insight_row(match_id, frame, p, **({"emit_time_ms": now_ms()} | changed))


@contextlib.contextmanager
def running(log: RowLog, **settings) -> Iterator[str]:
    """A gateway over this log on a thread; at its end no client may hold it up."""
    held_up: list[logging.LogRecord] = []
    watcher = logging.Handler(logging.ERROR)
    watcher.emit = lambda record: held_up.append(record) if "timeout graceful shutdown" in str(record.msg) else None
    logging.getLogger("uvicorn.error").addHandler(watcher)
    listening: list[str] = []
    up = threading.Event()

    def on_listening(address: str) -> None:
        listening.append(address)
        up.set()

    gateway = Gateway(log.feeds(), GatewaySettings(port=settings.pop("port", 0), **settings), on_listening)
    thread = threading.Thread(target=gateway.serve)
    thread.start()
    try:
        assert up.wait(PATIENCE_S)
        yield listening[0]
    finally:
        gateway.stop()
        thread.join(PATIENCE_S)
        logging.getLogger("uvicorn.error").removeHandler(watcher)
        assert not thread.is_alive() and not held_up


@dataclass
class Message:
    event: str = "message"
    id: str | None = None
    data: dict | None = field(default_factory=dict)


@contextlib.contextmanager
def following(url: str, **request) -> Iterator[Iterator[Message]]:
    """The messages of an SSE stream, parsed as a browser does: it shows no comment to anybody."""
    with httpx.stream("GET", url, timeout=PATIENCE_S, **request) as response:
        assert response.status_code == 200, response.read()
        assert response.headers["content-type"].startswith("text/event-stream")
        yield _parsed(response.iter_lines())


def _parsed(lines: Iterator[str]) -> Iterator[Message]:
    message = Message()
    for line in lines:
        name, _, value = line.partition(": ")
        if not line:
            if message.data is None or message.data:
                yield message
            message = Message()
        elif name == "data":
            message.data = json.loads(value)
        elif name in ("event", "id"):
            setattr(message, name, value)


def told(messages: Iterator[Message], count: int) -> list[Message]:
    """The next messages that move the position."""
    found: list[Message] = []
    for message in messages:
        if message.id is not None:
            found.append(message)
        if len(found) == count:
            return found
    raise AssertionError(f"the stream ended after {found}")


def keys(messages: list[Message]) -> list[tuple[str, str]]:
    return [(message.event, message.data.get("id", "")) for message in messages]


def test_a_match_from_start_to_result() -> None:
    log = RowLog()
    log.append("match.events", event_row("m1", 0, "start"))
    log.append("match.insights", answer("m1", 0, 0.5))
    with running(log) as url, following(f"{url}/api/matches/m1/events") as messages:
        first = told(messages, 2)
        assert keys(first) == [("event", "0-0"), ("insight", "0-0")]
        log.append("match.insights", answer("m1", 1, 0.7, delta_p=0.2, status="ended", winner="A"))
        insight, result = told(messages, 2)
        assert (insight.data["p"], insight.data["winner"], insight.data["state"]) == (0.7, "A", "ended")
        assert (result.event, result.data["team"]) == ("result", "Northwind")
        assert result.data["swings"][0]["delta_p"] == 0.2


def test_reconnecting_after_a_restart_loses_nothing_and_doubles_nothing() -> None:
    log = RowLog()
    frames, events = iter(range(1000)), iter(range(1, 1000))

    def play(steps: int) -> None:
        for _ in range(steps):
            log.append("match.events", event_row("m1", next(events)), partition=1)
            log.append("match.insights", answer("m1", next(frames)))

    play(10)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    seen: list[Message] = []
    for leave_after in (7, 9, 11):
        header = {"last-event-id": seen[-1].id} if seen else {}
        # The address still says what the page was loaded with, as a browser's does.
        stale = f"?last_id={seen[0].id}" if seen else ""
        path = f"/api/matches/m1/events{stale}"
        with running(log, port=port) as url, following(f"{url}{path}", headers=header) as messages:
            play(3)
            seen += told(messages, leave_after)
        play(2)  # while the gateway is down
    log.append("match.insights", answer("m1", next(frames), status="ended", winner="B"))
    with running(log) as url:
        with following(f"{url}/api/matches/m1/events?last_id={seen[-1].id}") as messages:
            for message in messages:
                if message.id is not None:
                    seen.append(message)
                if message.event == "result":
                    break
        rest = httpx.get(f"{url}/api/matches/m1").json()
    got = keys(seen)
    assert len(got) == len(set(got))
    assert [key for event, key in got if event == "insight"] == [f"0-{n}" for n in range(26)]
    assert [key for event, key in got if event == "event"] == [f"1-{n}" for n in range(25)]
    assert got[-1][0] == "result"
    assert [point["id"] for point in rest["curve"]] == [f"0-{n}" for n in range(26)]
    assert rest["last_id"] == seen[-1].id


def test_following_from_what_the_page_loaded() -> None:
    log = RowLog()
    log.append("match.insights", *(answer("m1", frame) for frame in range(5)))
    with running(log) as url:
        last_id = httpx.get(f"{url}/api/matches/m1").json()["last_id"]
        with following(f"{url}/api/matches/m1/events?last_id={last_id}") as messages:
            log.append("match.insights", answer("m1", 5))
            assert keys(told(messages, 1)) == [("insight", "0-5")]


def test_a_position_of_another_kafka_starts_over_and_says_so() -> None:
    log = RowLog()
    log.append("match.insights", *(answer("m1", frame) for frame in range(2)))
    with running(log) as url, following(f"{url}/api/matches/m1/events?last_id=0-900") as messages:
        first = next(messages)
        assert first.event == "resync" and "not on this log" in first.data["reason"]
        assert keys(told(messages, 2)) == [("insight", "0-0"), ("insight", "0-1")]


def test_quiet_streams_beat_and_state_changes_are_told() -> None:
    log = RowLog()
    log.append("match.insights", answer("m1", 0, emit_time_ms=now_ms() + 3_600_000))  # however slow we are: not late
    with running(log, heartbeat_s=0.2, delayed_s=1.0) as url, following(f"{url}/api/matches/m1/events") as messages:
        told(messages, 1)
        assert next(messages).data["state"] == "live"
        assert next(messages) == Message("beat", None, None)
        log.append("sightline.status", status_row(now_ms(), state="waiting", reason="no model"))
        states = (message.data for message in messages if message.event == "state")
        # The report says what the weights were trained on, and that it waits: each is told once it is known.
        told_now = next(state for state in states if state["state"] != "live")
        assert (told_now["state"], told_now["causes"]) == ("degraded", ["pipeline"])
        assert told_now["model"]["trained_on"] == "simulator"
        log.append("match.insights", answer("m1", 1))
        assert next(state for state in states if state["state"] != "degraded")["state"] == "delayed"  # it says no more


def test_kafka_away_is_said_and_what_comes_after_is_told() -> None:
    log = RowLog()
    log.append("match.insights", answer("m1", 0))
    with running(log) as url, following(f"{url}/api/matches/m1/events") as messages:
        told(messages, 1)
        log.away = "no broker answers at localhost:9092"
        gone = next(m for m in messages if m.event == "state" and not m.data["broker"]["reachable"])
        assert gone.data["broker"]["text"].startswith("unreachable since ")
        health = httpx.get(f"{url}/healthz")
        assert health.status_code == 503 and "no broker answers at localhost:9092" in health.text
        log.append("match.insights", answer("m1", 1))
        log.away = None
        assert keys(told(messages, 1)) == [("insight", "0-1")]
        wait_until(lambda: httpx.get(f"{url}/healthz").status_code == 200)


def test_websocket_says_the_same_and_resumes() -> None:
    log = RowLog()
    log.append("match.insights", *(answer("m1", frame) for frame in range(3)))
    with running(log) as url:
        address = url.replace("http", "ws") + "/api/matches/m1/ws"
        with connect(address) as first:
            got = [json.loads(first.recv(PATIENCE_S)) for _ in range(2)]
        assert [message["data"]["id"] for message in got] == ["0-0", "0-1"]
        with connect(f"{address}?last_id={got[-1]['id']}") as second:
            message = json.loads(second.recv(PATIENCE_S))
            assert (message["event"], message["data"]["id"]) == ("insight", "0-2")
            second.send("what a client says is not heard")
            log.append("match.insights", answer("m1", 3, status="void"))
            rest: list[str] = []
            while "result" not in rest:
                rest.append(json.loads(second.recv(PATIENCE_S))["event"])
            assert [event for event in rest if event != "state"] == ["insight", "result"]


@pytest.mark.parametrize(
    ("path", "headers", "code", "reason"),
    [
        ("/api/matches/x/ws", {}, 4404, "no match 'x'"),
        ("/api/matches/m1/ws?last_id=oops", {}, 1008, "last id 'oops' is not a position"),
        ("/api/matches/m1/ws", {"origin": "http://elsewhere.example"}, 1008, "pages from elsewhere"),
        ("/api/matches/m1/ws", {"origin": "http://[x"}, 1008, "pages from elsewhere"),
    ],
)
def test_websocket_refusals(path, headers, code, reason) -> None:
    log = RowLog()
    log.append("match.insights", answer("m1", 0))
    with running(log) as url:
        socket_ = connect(url.replace("http", "ws") + path, additional_headers=headers)
        with socket_, pytest.raises(ConnectionClosed) as closed:
            socket_.recv(PATIENCE_S)
    assert closed.value.rcvd.code == code and reason in closed.value.rcvd.reason


def test_the_wall_starts_whole_and_tells_changes_together() -> None:
    log = RowLog()
    log.append("match.insights", answer("m1", 0), answer("m2", 0))
    with running(log, wall_interval_s=0.2, delayed_s=1e9) as url:
        wait_until(lambda: httpx.get(f"{url}/healthz").status_code == 200)  # the topics are read back
        with following(f"{url}/api/stream") as messages:
            snapshot = next(messages)
            assert snapshot.event == "snapshot" and len(snapshot.data["matches"]) == 2
            more = [answer("m1", frame, frame / 10) for frame in range(1, 6)]
            log.append("match.insights", *more, answer("m3", 0))
            by_id = {message.data["id"]: message for message in (next(messages), next(messages))}
        assert by_id["m3"].event == "match" and by_id["m3"].data["teams"] == ["Northwind", "Sundogs"]
        delta = by_id["m1"].data
        assert delta["p"] == 0.5 and [p for _, p in delta["spark"]] == [0.1, 0.2, 0.3, 0.4, 0.5]
        assert delta["last_id"] == "0-6"


def test_ops_stream_starts_with_history_then_ticks() -> None:
    log = RowLog()
    log.append("sightline.status", *(status_row(now_ms() - 1000 * ago) for ago in (2, 1, 0)))
    with running(log, ops_interval_s=0.05) as url:
        wait_until(lambda: httpx.get(f"{url}/healthz").status_code == 200)
        with following(f"{url}/api/ops/stream") as messages:
            snapshot, tick = next(messages), next(messages)
        assert snapshot.event == "snapshot" and len(snapshot.data["pipelines"][0]["history"]) == 3
        assert tick.event == "tick" and tick.data["pipelines"][0]["history"] == []
        assert tick.data["gateway"]["streams"] == 1


def test_a_client_that_takes_nothing_is_let_go_and_harms_nobody(caplog) -> None:
    caplog.set_level(logging.CRITICAL, "uvicorn.error")  # it says that the answer was not completed, and it was not
    log = RowLog()
    text = "x" * 20_000  # 12 MB in all: more than the sockets between them take
    log.append("match.insights", *(answer("m1", frame, commentary_en=text) for frame in range(600)))
    log.append("match.insights", *(answer("m2", frame) for frame in range(20)))  # which they take, whoever is slow
    with running(log, send_timeout_s=0.5) as url:
        wait_until(lambda: httpx.get(f"{url}/healthz").status_code == 200)
        stuck = socket.socket()
        stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        stuck.connect(("127.0.0.1", urlsplit(url).port))
        with stuck:
            stuck.sendall(b"GET /api/matches/m1/events HTTP/1.1\r\nHost: localhost\r\n\r\n")

            def gateway() -> dict:
                return httpx.get(f"{url}/api/ops").json()["gateway"]

            wait_until(lambda: gateway()["slow_clients"] == 1)
            assert gateway()["streams"] == 0
            with following(f"{url}/api/matches/m2/events") as messages:
                assert len(told(messages, 20)) == 20


def test_only_the_kept_time_is_read_back() -> None:
    log = RowLog()
    for ago_h, first in ((7, 0), (1, 300)):
        at_ms = now_ms() - ago_h * 3_600_000
        rows = [answer("m1", first + frame, emit_time_ms=at_ms) for frame in range(300)]
        log.append("match.insights", *rows, time_ms=at_ms)
    with running(log, history_s=6 * 3600) as url:
        curve = httpx.get(f"{url}/api/matches/m1").json()["curve"]
        assert 300 - 64 <= curve[0]["frame"] <= 300 and curve[-1]["frame"] == 599


def test_bad_records_are_counted_and_the_rest_flows(caplog) -> None:
    caplog.set_level(logging.CRITICAL, "serve.gateway.reader")
    log = RowLog()
    log.append("match.insights", b"garbage", answer("m1", 0))
    log.append("match.events", json.dumps({"no": "event"}).encode())
    with running(log) as url:
        assert httpx.get(f"{url}/api/matches/m1").json()["curve"][0]["id"] == "0-1"
        wait_until(lambda: httpx.get(f"{url}/api/ops").json()["gateway"]["bad_records"] == 2)


def test_a_gateway_that_starts_before_kafka_waits_for_it() -> None:
    log = RowLog()
    log.away = "no broker yet"
    with running(log, ready_wait_s=0.1) as url:
        wait_until(lambda: "no broker yet" in httpx.get(f"{url}/healthz").text)
        assert httpx.get(f"{url}/api/matches/m1").status_code == 503
        log.append("match.insights", answer("m1", 0))
        log.away = None
        wait_until(lambda: httpx.get(f"{url}/api/matches/m1").status_code == 200)


def test_an_address_in_use_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        gateway = Gateway(RowLog().feeds(), GatewaySettings(port=port))
        with pytest.raises(
            AddressTaken, match=rf"cannot listen on 127.0.0.1:{port}: Address already in use; choose another port"
        ):
            gateway.serve()


PROCESS = """
from serve.gateway.run import serve_gateway
from serve.gateway.settings import GatewaySettings
from serve.gateway.testing import RowLog, insight_row
import time
log = RowLog()
log.append("match.insights", insight_row("m1", 0, emit_time_ms=time.time_ns() // 1_000_000))
serve_gateway(log.feeds(), GatewaySettings(port=0), lambda address: print(address, flush=True))
print("ended in order", flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_process_in_order_with_clients_connected(number) -> None:
    process = subprocess.Popen([sys.executable, "-c", PROCESS], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    with process:
        url = process.stdout.readline().strip()
        address = url.replace("http", "ws") + "/api/matches/m1/ws"
        with following(f"{url}/api/matches/m1/events") as messages, connect(address) as socket_:
            told(messages, 1)
            process.send_signal(number)
            assert [message for message in messages if message.event == "insight"] == []  # the stream ends
            with pytest.raises(ConnectionClosed):
                while True:
                    socket_.recv(PATIENCE_S)
        assert process.wait(PATIENCE_S) == 0
        assert process.stdout.read() == "ended in order\n"


def test_fifty_matches_a_second_are_cheap() -> None:
    log = RowLog()
    names = [f"m{number}" for number in range(50)]
    log.append("match.insights", *(answer(name, 0) for name in names))
    with running(log) as url, contextlib.ExitStack() as stack:
        wait_until(lambda: httpx.get(f"{url}/healthz").status_code == 200)
        streams = [stack.enter_context(following(f"{url}/api/matches/{name}/events")) for name in names[:10]]
        before_s = time.process_time()
        for frame in range(1, 21):  # twenty seconds' worth
            log.append("match.insights", *(answer(name, frame) for name in names))
        assert all(len(told(messages, 21)) == 21 for messages in streams)
        # Gateway, clients and test together; it takes a tenth of a second. A fifth of a core would be 4 s.
        assert time.process_time() - before_s < 4.0
