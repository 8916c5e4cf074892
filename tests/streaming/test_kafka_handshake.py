"""The greeting: what a broker may answer, what none would, and files that are no certificates."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streaming.kafka.handshake import greet, tls_context
from streaming.kafka.settings import KafkaSettings
from streaming.transport import AccessDenied, TransportUnavailable
from tests.waiting import PATIENCE_S

NO_SASL_HERE = struct.pack(">hi", 34, 0)
SASL = {"security_protocol": "SASL_PLAINTEXT", "sasl_mechanism": "PLAIN", "sasl_username": "u", "sasl_password": "p"}


def answer(body: bytes, correlation_id: int = 0) -> bytes:
    return struct.pack(">ii", 4 + len(body), correlation_id) + body


def mechanisms(code: int, *names: bytes) -> bytes:
    return struct.pack(">hi", code, len(names)) + b"".join(struct.pack(">h", len(name)) + name for name in names)


@contextlib.contextmanager
def server(said: bytes) -> Iterator[str]:
    """Something that says this to whoever comes, once it has heard something, and hangs up."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with contextlib.suppress(OSError):
                connection, _ = listener.accept()
                with connection:
                    connection.recv(4096)
                    connection.sendall(said)
                    connection.shutdown(socket.SHUT_WR)
                    connection.recv(4096)

        thread = threading.Thread(target=serve)
        thread.start()
        host, port = listener.getsockname()
        yield f"{host}:{port}"
        thread.join()


def settings(address: str, **others: str) -> KafkaSettings:
    return KafkaSettings(address, unavailable_after_s=PATIENCE_S, **others)  # type: ignore[arg-type]


def test_a_broker_without_sasl_lets_in_who_brings_none() -> None:
    with server(answer(NO_SASL_HERE)) as address:
        greet(settings(address))


def test_a_broker_with_the_mechanism_lets_in_who_has_a_password() -> None:
    with server(answer(mechanisms(0, b"PLAIN"))) as address:
        greet(settings(address, **SASL))


@pytest.mark.parametrize(
    ("said", "others", "message"),
    [
        (mechanisms(0, b"PLAIN"), {}, r"asks for a user and a password \(PLAIN\): .*to SASL_PLAINTEXT"),
        (mechanisms(33, b"A", b"B"), {}, r"asks for a user and a password \(A, B\)"),
        (mechanisms(33, b"A", b"B"), SASL, "has no PLAIN: set kafka.sasl_mechanism to one of A, B"),
        (NO_SASL_HERE, SASL, "asks for no password there, .* set PLAINTEXT"),
    ],
)
def test_a_refusal_names_the_setting(said: bytes, others: dict[str, str], message: str) -> None:
    with server(answer(said)) as address, pytest.raises(AccessDenied, match=message):
        greet(settings(address, **others))


def test_a_tls_alert_says_that_the_port_is_not_in_clear() -> None:
    alert = b"\x15\x03\x03\x00\x02\x02\x50"
    with server(alert) as address, pytest.raises(AccessDenied, match="speaks TLS there"):
        greet(settings(address))


@pytest.mark.parametrize("said", [b"", b"\x15\x03\x03\x00\x02\x01\x00"], ids=["closed", "closed with a TLS goodbye"])
def test_one_that_hangs_up_in_the_tls_handshake_may_just_be_starting(said: bytes) -> None:
    with (
        server(said) as address,
        pytest.raises(TransportUnavailable, match=r"hung up in the TLS handshake.*protocol SSL"),
    ):
        greet(settings(address, security_protocol="SSL"))


def test_one_that_lets_us_in_is_enough_and_a_refusal_counts_more_than_an_absence() -> None:
    with server(answer(mechanisms(0, b"PLAIN"))) as refuses, server(answer(NO_SASL_HERE)) as lets_in:
        greet(settings(f"127.0.0.1:1,{refuses},{lets_in}"))
    with server(answer(mechanisms(0, b"PLAIN"))) as refuses, pytest.raises(AccessDenied):
        greet(settings(f"127.0.0.1:1,{refuses}"))
    with pytest.raises(TransportUnavailable, match=r"127\.0\.0\.1:1 does not answer"):
        greet(settings("127.0.0.1:1"))


def test_one_that_takes_connections_and_says_nothing_is_away() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        host, port = silent.getsockname()
        with pytest.raises(TransportUnavailable, match="timed out"):
            greet(KafkaSettings(f"{host}:{port}", unavailable_after_s=0.05))


@given(said=st.binary(max_size=64) | st.binary(max_size=64).map(answer), sasl=st.booleans())
def test_whatever_comes_back_is_understood_or_left_to_the_client(said: bytes, sasl: bool) -> None:
    with server(said) as address, contextlib.suppress(AccessDenied):
        greet(settings(address, **(SASL if sasl else {})))


def test_files_that_are_missing_or_no_pem_are_named(tmp_path: Path) -> None:
    (tmp_path / "text.pem").write_text("no certificate")
    for name in ("text.pem", "gone.pem"):
        path = str(tmp_path / name)
        with pytest.raises(AccessDenied, match=f"kafka.ssl_cafile {path} cannot be used"):
            tls_context(settings("x:1", security_protocol="SSL", ssl_cafile=path))
        with pytest.raises(AccessDenied, match=f"kafka.ssl_certfile {path} cannot be used"):
            tls_context(settings("x:1", security_protocol="SSL", ssl_certfile=path))
    assert tls_context(settings("x:1", ssl_cafile=str(tmp_path / "gone.pem"))) is None
