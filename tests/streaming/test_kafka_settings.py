"""How to reach Kafka: what is refused, and what the clients are given."""

from __future__ import annotations

import pickle
import socket
import threading
import time

import pytest

from streaming.kafka.clients import open_batch_producer, open_consumer
from streaming.kafka.settings import KafkaSettings
from streaming.transport import TransportUnavailable
from tests.waiting import PATIENCE_S


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@pytest.mark.parametrize("servers", ["", "host", "host:", ":9092", "a:1,b", "host:port"])
def test_addresses_need_a_host_and_a_port(servers: str) -> None:
    with pytest.raises(ValueError, match="host:port"):
        KafkaSettings(servers)


def test_addresses_may_be_several_and_ipv6() -> None:
    assert KafkaSettings("a:1, [::1]:9092").addresses() == [("a", 1), ("::1", 9092)]


def test_unknown_protocols_and_missing_passwords_are_named() -> None:
    with pytest.raises(ValueError, match="security_protocol is 'TLS'"):
        KafkaSettings("a:1", security_protocol="TLS")
    with pytest.raises(ValueError, match="sasl_mechanism is None"):
        KafkaSettings("a:1", security_protocol="SASL_SSL")
    with pytest.raises(ValueError, match="needs sasl_username"):
        KafkaSettings("a:1", security_protocol="SASL_SSL", sasl_mechanism="PLAIN")


def test_passwords_are_not_printed_and_settings_travel() -> None:
    settings = KafkaSettings("a:1", "SASL_SSL", "PLAIN", "user", "secret", ssl_password="hidden")
    assert "secret" not in repr(settings)
    assert "hidden" not in repr(settings)
    assert pickle.loads(pickle.dumps(settings)) == settings  # noqa: S301
    assert settings.client_options()["sasl_plain_password"] == "secret"
    assert settings.client_options()["retry_backoff_ms"] == 2


def test_an_absent_cluster_is_told_at_once_and_leaves_no_thread() -> None:
    settings = KafkaSettings(f"127.0.0.1:{closed_port()}")
    before = set(threading.enumerate())
    for _ in range(3):
        with pytest.raises(TransportUnavailable, match="does not answer"):
            open_consumer(settings)
        with pytest.raises(TransportUnavailable, match="does not answer"):
            open_batch_producer(settings)
    assert set(threading.enumerate()) <= before


def test_a_server_that_accepts_and_says_nothing_is_away_in_bounded_time_and_leaves_no_thread() -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        settings = KafkaSettings(f"127.0.0.1:{mute.getsockname()[1]}", unavailable_after_s=0.5)
        before, began = set(threading.enumerate()), time.monotonic()
        with pytest.raises(TransportUnavailable, match="does not answer"):
            open_consumer(settings)
        assert time.monotonic() - began < PATIENCE_S
        assert set(threading.enumerate()) <= before
