"""How to reach a Kafka cluster."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

_PROTOCOLS = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
LEAST_RECORD_BYTES = 65_536
MAX_RECORD_BYTES = 1_000_000  # a topic takes 1,048,588 with the head of a batch, unless set otherwise
_SASL_MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")


@dataclass(frozen=True, slots=True)
class KafkaSettings:
    """One cluster and how to speak to it. Small and picklable: it travels to every node that opens a connection."""

    bootstrap_servers: str  # "host:port,host:port"
    security_protocol: str = "PLAINTEXT"
    sasl_mechanism: str | None = None
    sasl_username: str | None = None
    sasl_password: str | None = field(default=None, repr=False)
    ssl_cafile: str | None = None
    ssl_certfile: str | None = None
    ssl_keyfile: str | None = None
    ssl_password: str | None = field(default=None, repr=False)
    ssl_check_hostname: bool = True
    client_id: str = "sightline"
    unavailable_after_s: float = 5.0  # this long without an answer, and the cluster counts as away
    max_record_bytes: int = MAX_RECORD_BYTES  # key, value and headers; below the topics' max.message.bytes

    def __post_init__(self) -> None:
        self.addresses()
        if self.security_protocol not in _PROTOCOLS:
            raise ValueError(
                f"security_protocol is {self.security_protocol!r}, but must be one of {', '.join(_PROTOCOLS)}"
            )
        if self.security_protocol.startswith("SASL"):
            if self.sasl_mechanism not in _SASL_MECHANISMS:
                raise ValueError(
                    f"sasl_mechanism is {self.sasl_mechanism!r}, but must be one of {', '.join(_SASL_MECHANISMS)}"
                )
            if not self.sasl_username or not self.sasl_password:
                raise ValueError(f"{self.security_protocol} needs sasl_username and sasl_password")

        if self.max_record_bytes < LEAST_RECORD_BYTES:
            raise ValueError(
                f"max_record_bytes is {self.max_record_bytes}, but must be at least {LEAST_RECORD_BYTES}: the headers "
                "of a dead letter need room"
            )

    def addresses(self) -> list[tuple[str, int]]:
        """The bootstrap servers as (host, port)."""
        found = []
        for server in self.bootstrap_servers.split(","):
            host, colon, port = server.strip().rpartition(":")
            if not colon or not host or not port.isdigit():
                raise ValueError(f"bootstrap_servers has {server.strip()!r}, but must be host:port[,host:port…]")
            found.append((host.strip("[]"), int(port)))
        return found

    def client_options(self) -> dict[str, Any]:
        """What every kafka-python client of this cluster is opened with, but for `handshake.tls_context`."""
        return {
            "bootstrap_servers": [server.strip() for server in self.bootstrap_servers.split(",")],
            "client_id": self.client_id,
            "security_protocol": self.security_protocol,
            "sasl_mechanism": self.sasl_mechanism,
            "sasl_plain_username": self.sasl_username,
            "sasl_plain_password": self.sasl_password,
            "bootstrap_timeout_ms": round(self.unavailable_after_s * 1000),
            "request_timeout_ms": 10_000,
            "retry_backoff_ms": 2,  # the default 100 makes every transaction after another wait 100 ms
            "reconnect_backoff_ms": 50,
            "reconnect_backoff_max_ms": 1000,
        }
