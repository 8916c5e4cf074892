"""The door on real sockets: TLS, tokens over every transport, clients that send too much or nothing, silent logs."""

import contextlib
import datetime
import io
import ipaddress
import json
import logging
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from jobs.logs import STRUCK_OUT, JsonLines
from serve.gateway.connections import MAX_HEAD_BYTES, BoundedHeads
from serve.gateway.run import Gateway, Unguarded
from serve.gateway.settings import GatewaySettings
from serve.gateway.testing import RowLog, insight_row
from serve.gateway.tls import TlsProblem, tls_context
from serve.gateway.tokens import BadTokenFile, TokenBook, mint, utc_now
from tests.waiting import PATIENCE_S, wait_until


@contextlib.contextmanager
def running(log: RowLog, **settings) -> Iterator[str]:
    up, listening = threading.Event(), []
    gateway = Gateway(
        log.feeds(), GatewaySettings(port=0, **settings), lambda address: (listening.append(address), up.set())
    )
    thread = threading.Thread(target=gateway.serve)
    thread.start()
    try:
        assert up.wait(PATIENCE_S)
        yield listening[0]
    finally:
        gateway.stop()
        thread.join(PATIENCE_S)
        assert not thread.is_alive()


@pytest.fixture
def log() -> RowLog:
    made = RowLog()
    now_ms = time.time_ns() // 1_000_000
    made.append("match.insights", *(insight_row("m1", frame, emit_time_ms=now_ms) for frame in range(3)))
    return made


class Tokens:
    """A file of tokens, as `sightline tokens` writes it."""

    def __init__(self, path: Path) -> None:
        self.path, self._book = path, TokenBook()
        self._write()

    def create(self, name: str, *scopes: str, **options) -> str:
        written, token = mint(name, scopes or ["matches:read"], utc_now(), **options)
        self._book = self._book.with_token(token)
        self._write()
        return written

    def revoke(self, name: str) -> None:
        self._book = self._book.without(name)
        self._write()

    def _write(self) -> None:
        draft = self.path.with_suffix(".draft")
        draft.write_text(self._book.model_dump_json())
        draft.chmod(0o600)
        draft.replace(self.path)


@pytest.fixture
def tokens(tmp_path) -> Tokens:
    return Tokens(tmp_path / "tokens.json")


def socket_of(url: str, path: str = "/api/matches/m1/ws", **headers: str):
    return connect(url.replace("http", "ws", 1) + path, additional_headers=headers)


def closed_with(url: str, path: str = "/api/matches/m1/ws", **headers: str) -> tuple[int, str]:
    with socket_of(url, path, **headers) as opened, pytest.raises(ConnectionClosed) as closed:
        while True:
            opened.recv(PATIENCE_S)
    return closed.value.rcvd.code, closed.value.rcvd.reason


def test_a_websocket_opens_with_a_token_in_header_address_or_cookie(log, tokens) -> None:
    token, other = tokens.create("studio"), tokens.create("ops", "ops:read")
    with running(log, tokens=tokens.path, rate_burst=1_000_000) as url:  # a new token is asked for until it is known
        path = "/api/matches/m1/ws"
        for ways in (
            {"Authorization": f"Bearer {token}"},
            {"path": f"{path}?token={token}"},
            {"path": f"{path}?token={token}&last_id=0-0"},
            {"Cookie": f"a=b; sightline={token}"},
        ):
            with socket_of(url, **ways) as opened:
                assert json.loads(opened.recv(PATIENCE_S))["event"] == "insight"
        assert closed_with(url)[0] == 4401
        assert closed_with(url, Authorization=f"Bearer {token}x")[0] == 4401
        assert closed_with(url, Authorization=f"Bearer {other}") == (4403, "this token has no scope matches:read")
        elsewhere = {"Origin": "http://elsewhere.example", "Cookie": f"sightline={token}"}
        assert closed_with(url, **elsewhere)[0] == 1008
        lck = tokens.create("lck", matches=("LCK/*",))
        wait_until(lambda: closed_with(url, Authorization=f"Bearer {lck}")[0] != 4401)  # until it is seen
        assert closed_with(url, Authorization=f"Bearer {lck}") == (4403, "this token is for other matches")


def test_streams_end_when_their_token_is_revoked(log, tokens) -> None:
    token = tokens.create("studio")
    bearer = {"Authorization": f"Bearer {token}"}
    with running(log, tokens=tokens.path, heartbeat_s=0.1) as url:
        with (
            httpx.stream("GET", f"{url}/api/stream", headers=bearer, timeout=PATIENCE_S) as wall,
            socket_of(url, **bearer) as opened,
        ):
            assert wall.status_code == 200
            tokens.revoke("studio")
            for _ in wall.iter_lines():  # ends, or the test times out
                pass
            with pytest.raises(ConnectionClosed) as closed:
                while True:
                    opened.recv(PATIENCE_S)
        assert closed.value.rcvd.code == 1001 and "token no longer holds" in closed.value.rcvd.reason
        assert httpx.get(f"{url}/api/matches", headers=bearer).status_code == 401


def test_a_wall_shows_the_matches_of_its_token_alone(log, tokens) -> None:
    token = tokens.create("lck", matches=("LCK/*",))
    now_ms = time.time_ns() // 1_000_000
    with running(log, tokens=tokens.path, wall_interval_s=0.05, heartbeat_s=0.2) as url:
        bearer = {"Authorization": f"Bearer {token}"}
        with httpx.stream("GET", f"{url}/api/stream", headers=bearer, timeout=PATIENCE_S) as wall:
            lines = wall.iter_lines()
            assert '"matches":[]' in next(line for line in lines if line.startswith("data: {"))
            log.append("match.insights", insight_row("LPL/1", 0, emit_time_ms=now_ms))
            log.append("match.insights", insight_row("LCK/1", 0, emit_time_ms=now_ms))
            told: list[str] = []
            for line in lines:
                told.append(line)
                if "LCK/1" in line:
                    log.append("match.insights", insight_row("LPL/1", 1, emit_time_ms=now_ms))
                    log.append("match.insights", insight_row("LCK/1", 1, p=0.875, emit_time_ms=now_ms))
                if "0.875" in line:
                    break
    assert not [line for line in told if "LPL" in line]


@pytest.mark.parametrize("message", ["x" * (64 * 1024 + 1), b"x" * (64 * 1024 + 1)])
def test_a_message_that_is_too_large_closes_the_socket(log, message) -> None:
    with running(log) as url, socket_of(url) as opened:
        with contextlib.suppress(ConnectionClosed):
            opened.send(message)
        with pytest.raises(ConnectionClosed) as closed:
            while True:
                opened.recv(PATIENCE_S)
    assert closed.value.rcvd.code == 1009


def test_a_client_that_does_not_stop_talking_is_closed(log) -> None:
    with running(log, rate_per_s=0.001, rate_burst=5) as url, socket_of(url) as opened:
        with contextlib.suppress(ConnectionClosed):
            for _ in range(5):
                opened.send("hello")
        with pytest.raises(ConnectionClosed) as closed:
            while True:
                opened.recv(PATIENCE_S)
    assert (closed.value.rcvd.code, closed.value.rcvd.reason[:17]) == (1008, "too many messages")


def test_sockets_beyond_a_clients_share_are_refused(log) -> None:
    with running(log, max_streams_per_client=1) as url:
        with socket_of(url) as first:
            first.recv(PATIENCE_S)
            code, reason = closed_with(url)
        assert code == 1013 and reason.startswith("127.0.0.1 has as many streams open")
        assert httpx.get(f"{url}/livez").status_code == 200


@contextlib.contextmanager
def raw(url: str) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", urlsplit(url).port), timeout=PATIENCE_S) as opened:
        yield opened


def rest(opened: socket.socket) -> bytes:
    told = b""
    with contextlib.suppress(ConnectionError):
        while piece := opened.recv(65_536):
            told += piece
    return told


def test_the_head_of_a_request_has_a_size(log) -> None:
    with running(log) as url:
        with raw(url) as opened:
            opened.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nx: " + b"x" * MAX_HEAD_BYTES)  # and no end
            told = rest(opened)
        assert told.startswith(b"HTTP/1.1 400") and b"head of the request is above 32768 bytes" in told
        with raw(url) as opened:  # one just below it is read
            pad = b"x" * (MAX_HEAD_BYTES - 200)
            opened.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nx: %s\r\n\r\n" % pad)
            assert rest(opened).startswith(b"HTTP/1.1 200")


def test_whoever_sends_no_request_is_let_go_and_whoever_does_stays(log, monkeypatch) -> None:
    monkeypatch.setattr(BoundedHeads, "head_timeout_s", 1.0)

    def saying(said: bytes) -> socket.socket:
        """At once: what lies there counts, however late the gateway comes to read it."""
        opened = stack.enter_context(raw(url))
        opened.sendall(said)
        return opened

    with running(log, heartbeat_s=0.1) as url, contextlib.ExitStack() as stack:
        busy = saying(b"GET /api/matches/m1/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        again = saying(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\nGET /livez HTT")
        slow, silent = saying(b"GET / HTTP/1.1\r\nHost: loc"), saying(b"")
        assert rest(silent) == b"" and rest(slow) == b""
        assert rest(again).count(b"alive") == 1
        told = b""
        while told.count(b"event: beat") < 15:  # the head came: how long the answer takes is another matter
            piece = busy.recv(65_536)
            assert piece
            told += piece


def test_open_to_all_only_when_told(log, tokens, caplog) -> None:
    why = r"gateway.host 0.0.0.0 lets other machines in, and there are no tokens: .*gateway.open = true"
    with pytest.raises(Unguarded, match=why):
        Gateway(log.feeds(), GatewaySettings(host="0.0.0.0", port=0)).serve()
    with running(log, host="0.0.0.0", open=True) as url:
        assert httpx.get(f"{url.replace('0.0.0.0', '127.0.0.1')}/api/ops").status_code == 200
    with caplog.at_level(logging.WARNING), running(log, host="0.0.0.0", tokens=tokens.path) as url:
        assert httpx.get(f"{url.replace('0.0.0.0', '127.0.0.1')}/api/ops").status_code == 401
    assert "tokens travel unencrypted on 0.0.0.0" in caplog.text


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
def test_this_machine_alone_needs_no_leave(log, host) -> None:
    if host == "::1" and not _has_ipv6():
        pytest.skip("this machine has no IPv6")
    with running(log, host=host) as url:
        assert httpx.get(f"{url}/api/ops").status_code == 200


def _has_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


def test_a_missing_file_of_tokens_keeps_the_gateway_shut(log, tmp_path) -> None:
    with pytest.raises(BadTokenFile, match=r"none\.json: no such file"):
        Gateway(log.feeds(), GatewaySettings(port=0, tokens=tmp_path / "none.json")).serve()


def test_behind_a_trusted_proxy_the_client_is_the_one_it_names(log) -> None:
    def statuses(url: str) -> list[int]:
        clients = ({"X-Forwarded-For": f"203.0.113.{number}"} for number in (1, 2, 2))
        return [httpx.get(f"{url}/api/matches", headers=headers).status_code for headers in clients]

    few = {"rate_per_s": 0.001, "rate_burst": 1}
    with running(log, trusted_proxies="127.0.0.1", **few) as url:
        assert statuses(url) == [200, 200, 429]
    with running(log, **few) as url:  # nobody is believed unless told
        assert statuses(url) == [200, 429, 429]


def certificate(folder: Path, name: str = "gateway") -> tuple[Path, Path]:
    """A self-signed one for 127.0.0.1, and its key."""
    x509 = pytest.importorskip("cryptography.x509")
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    paths = folder / f"{name}.pem", folder / f"{name}.key"
    paths[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    formats = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    paths[1].write_bytes(key.private_bytes(*formats, serialization.NoEncryption()))
    locked = key.private_bytes(*formats, serialization.BestAvailableEncryption(b"password"))
    (folder / f"{name}.locked").write_bytes(locked)
    return paths


def test_tls(log, tokens, tmp_path) -> None:
    pem, key = certificate(tmp_path)
    token = tokens.create("studio")
    trust = ssl.create_default_context(cafile=str(pem))
    with running(log, tls_cert=pem, tls_key=key, tokens=tokens.path) as url:
        assert url.startswith("https://127.0.0.1:")
        bearer = {"Authorization": f"Bearer {token}"}
        assert httpx.get(f"{url}/api/matches/m1", headers=bearer, verify=trust).json()["id"] == "m1"
        with httpx.Client(verify=trust) as browser:
            browser.get(f"{url}/matches/m1?token={token}", headers={"accept": "text/html"})
            assert [(cookie.name, cookie.secure) for cookie in browser.cookies.jar] == [("__Host-sightline", True)]
            assert browser.get(f"{url}/api/matches/m1").status_code == 200
        address = url.replace("https", "wss") + "/api/matches/m1/ws"
        with connect(address, additional_headers=bearer, ssl=trust) as opened:
            assert json.loads(opened.recv(PATIENCE_S))["event"] == "insight"
        old = ssl.create_default_context(cafile=str(pem))
        old.maximum_version = ssl.TLSVersion.TLSv1_2
        assert httpx.get(f"{url}/livez", verify=old).status_code == 200
        with pytest.raises(httpx.HTTPError):  # plain HTTP is no answer
            httpx.get(f"{url.replace('https', 'http')}/livez")


def test_tls_that_cannot_be_names_the_file(tmp_path) -> None:
    pem, key = certificate(tmp_path)
    other, other_key = certificate(tmp_path, "other")
    nonsense = tmp_path / "nonsense"
    nonsense.write_text("nonsense")
    for certificate_, key_, message in (
        (tmp_path / "none", key, rf"gateway.tls_cert {tmp_path}/none: no such file"),
        (pem, tmp_path / "none", rf"gateway.tls_key {tmp_path}/none: no such file"),
        (nonsense, key, rf"gateway.tls_cert {nonsense}: holds no certificate in PEM"),
        (pem, nonsense, rf"gateway.tls_key {nonsense}: holds no private key in PEM"),
        (key, key, rf"gateway.tls_cert {key}: holds no certificate in PEM"),
        (pem, other_key, rf"gateway.tls_key {other_key}: not the key of the certificate {pem}"),
        (pem, tmp_path / "gateway.locked", r"gateway.tls_key .*gateway.locked: encrypted; write it without a password"),
    ):
        with pytest.raises(TlsProblem, match=message):
            tls_context(certificate_, key_)
    assert tls_context(other, other_key).minimum_version is ssl.TLSVersion.TLSv1_2


def test_no_token_is_ever_logged(log, tokens) -> None:
    token = tokens.create("studio")
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(JsonLines())
    root, level = logging.getLogger(), logging.getLogger().level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)  # libraries say everything: websockets the whole handshake
    try:
        with running(log, tokens=tokens.path, send_timeout_s=0.5) as url:
            bearer = {"Authorization": f"Bearer {token}"}
            httpx.get(f"{url}/api/matches/m1?token={token}", headers=bearer)
            httpx.get(f"{url}/matches/m1?token={token}", headers={"accept": "text/html"})
            httpx.get(f"{url}/api/matches/none?token={token}")
            httpx.post(f"{url}/session", data={"token": token})
            httpx.get(f"{url}/api/matches", headers={"Authorization": f"Basic {token}"})
            with socket_of(url, f"/api/matches/m1/ws?token={token}", Cookie=f"sightline={token}", **bearer) as opened:
                opened.recv(PATIENCE_S)
            with raw(url) as opened:
                opened.sendall(f"GET /?token={token} HTTP/9.9\r\n\r\n".encode())
                assert rest(opened).startswith(b"HTTP/1.1 400")
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
    lines = written.getvalue()
    assert token not in lines and token[3:] not in lines
    assert STRUCK_OUT in lines  # they would have been there
