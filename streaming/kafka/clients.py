"""Opening kafka-python's clients so that an absent cluster is an answer within seconds, and leaves nothing behind.

The clients retry in silence and without end. Here a cluster that cannot be reached raises `TransportUnavailable`, one
that does not let us in `AccessDenied`, and a client that failed half-way in its constructor does not leave its thread
and sockets running.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import KafkaAdminClient
from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor
from kafka.errors import BrokerNotAvailableError, KafkaError, RetriableError, UnknownTopicOrPartitionError
from kafka.structs import OffsetAndMetadata

from streaming.kafka.connections import Connections
from streaming.kafka.denied import DENIALS, access_denied
from streaming.kafka.handshake import greet, tls_context
from streaming.kafka.settings import KafkaSettings
from streaming.transport import AccessDenied, TransportUnavailable

_FETCH_MAX_WAIT_MS = 100  # how long a broker may hold an empty fetch; new records are answered at once
_GATHERED_BYTES = 256 << 10  # a broker that may gather answers sooner when so much has come together
_LEAST_GATHER_S = 0.01  # less is nothing, and would ask a quiet broker hundreds of times a second
_PARTITION_FETCH_BYTES = 2 << 20
_FETCH_BYTES = 16 << 20
_REQUEST_BYTES = 8 << 20
_CLOSE_TIMEOUT_S = 2.0
_HEARTBEAT_MS = 500  # by its answer a member hears that the group moves partitions, and the others wait for it

Client = TypeVar("Client")


def open_consumer(
    settings: KafkaSettings, group: str | None = None, isolation: str = "read_committed", *, gather_s: float = 0.0
) -> Any:
    """A consumer for manual assignment: no group membership, no automatic commit, no silent reset of offsets.

    Offsets of a group that an open transaction is about to change are waited for, unless `isolation` is
    read_uncommitted. With `gather_s`, a broker holds each fetch that long, or until much has come together.
    """
    gathers = gather_s >= _LEAST_GATHER_S
    logging.getLogger("kafka.coordinator.consumer").addFilter(_without_waiting_for_offsets)
    return _open_reading(
        settings,
        group,
        isolation,
        fetch_min_bytes=_GATHERED_BYTES if gathers else 1,
        fetch_max_wait_ms=round(gather_s * 1000) if gathers else _FETCH_MAX_WAIT_MS,
    )


def open_member(settings: KafkaSettings, group: str, session_s: float, longest_pause_s: float) -> Any:
    """A consumer that joins its group when it subscribes; partitions move one by one (KIP-429).

    Args:
        settings: of the cluster.
        group: the consumer group.
        session_s: a member that is silent so long is taken for dead. Brokers allow 6 s and more, unless set otherwise.
        longest_pause_s: nor may a living one be longer between two polls, or in giving a partition away.
    """
    return _open_reading(
        settings,
        group,
        "read_committed",
        partition_assignment_strategy=(CooperativeStickyAssignor,),
        session_timeout_ms=round(session_s * 1000),
        heartbeat_interval_ms=_HEARTBEAT_MS,
        max_poll_interval_ms=round(longest_pause_s * 1000),
        fetch_max_wait_ms=_FETCH_MAX_WAIT_MS,
    )


def _open_reading(settings: KafkaSettings, group: str | None, isolation: str, **options: Any) -> Any:
    """A consumer that commits nothing by itself, and resets nothing in silence."""
    return _open(
        KafkaConsumer,
        settings,
        group_id=group,
        metrics_enabled=False,
        enable_auto_commit=False,
        auto_offset_reset="none",
        isolation_level=isolation,
        allow_auto_create_topics=False,
        max_partition_fetch_bytes=_PARTITION_FETCH_BYTES,
        fetch_max_bytes=_FETCH_BYTES,
        **options,
    )


def open_publisher(settings: KafkaSettings, max_block_ms: int) -> Any:
    """An idempotent producer outside transactions, whose `send` waits at most `max_block_ms` for a topic's metadata."""
    return _open(
        KafkaProducer,
        settings,
        metrics_enabled=False,
        acks="all",
        allow_auto_create_topics=False,
        linger_ms=5,
        max_request_size=_REQUEST_BYTES,
        max_block_ms=max_block_ms,
    )


def open_batch_producer(settings: KafkaSettings, **options: Any) -> Any:
    """An idempotent producer for ready-made batches; with a `transactional_id`, not yet initialised."""
    return _open(
        KafkaProducer,
        settings,
        metrics_enabled=False,  # nobody reads them
        acks="all",
        allow_auto_create_topics=False,
        linger_ms=0,
        max_request_size=_REQUEST_BYTES,
        max_block_ms=round(settings.unavailable_after_s * 1000),
        delivery_timeout_ms=30_000,
        **options,
    )


def marks_of(topic: str, offsets: Mapping[int, int], note: str = "") -> dict[TopicPartition, OffsetAndMetadata]:
    """Next unread offsets by partition, as the client takes them; `note` is kept with them."""
    return {TopicPartition(topic, p): OffsetAndMetadata(offset, note, -1) for p, offset in offsets.items()}


def force_close(producer: Any) -> None:
    """Close a producer at once, whatever is under way. Its own `close` may leave its thread running."""
    sender = producer._sender  # noqa: SLF001 - of kafka-python 3.0.12, pinned
    sender.force_close()
    sender.join(_CLOSE_TIMEOUT_S)
    with contextlib.suppress(KafkaError):
        producer.close(timeout=0)


@contextlib.contextmanager
def open_admin(settings: KafkaSettings) -> Iterator[Any]:
    """An admin client, closed at the end of the block."""
    admin = _open(KafkaAdminClient, settings)
    try:
        with unavailable_if_away(settings):
            yield admin
    finally:
        admin.close()


@contextlib.contextmanager
def unavailable_if_away(settings: KafkaSettings, operation: str = "Describe", name: str = "") -> Iterator[None]:
    """Tell `TransportUnavailable` what the client reports as a retriable error or a lost connection, and `AccessDenied`
    what it reports as one of those: a right that is missing, to a topic (`operation`) or to the group `name`."""
    try:
        yield
    except DENIALS as error:
        raise access_denied(settings, error, operation, name) from error
    except (RetriableError, BrokerNotAvailableError, ConnectionError) as error:
        if isinstance(error, TransportUnavailable):
            raise
        raise away(settings, error) from error


def away(settings: KafkaSettings, reason: object) -> TransportUnavailable:
    """The error that says that this cluster does not answer."""
    told = f"{type(reason).__name__}: {reason}" if isinstance(reason, BaseException) else str(reason)
    return TransportUnavailable(f"Kafka at {settings.bootstrap_servers} does not answer ({told.strip(': ')})")


def is_reachable(settings: KafkaSettings) -> bool:
    """Whether any bootstrap server answers. Raises `AccessDenied` when it turns us away."""
    try:
        greet(settings)
    except TransportUnavailable:
        return False
    return True


def is_missing(settings: KafkaSettings, topic: str) -> bool:
    """Whether the cluster says that it has no such topic: silence does not, nor does a cluster that has just come back.

    Raises:
        TransportUnavailable: it does not answer.
    """
    with open_admin(settings) as admin:
        (described,) = admin.describe_topics([topic])
    return bool(described["error_code"] == UnknownTopicOrPartitionError.errno)


def is_forbidden(settings: KafkaSettings, consumer: Any, topic: str) -> bool:
    """Whether the cluster does not let this consumer know of the topic. A list of all topics just leaves it out, so it
    is asked for by name, once."""
    cluster, timeout_ms = consumer._cluster, round(settings.unavailable_after_s * 1000)  # noqa: SLF001 - of kafka-python 3.0.12, pinned
    with contextlib.suppress(UnknownTopicOrPartitionError):
        consumer._net.run(consumer._manager.wait_for, cluster.add_topic(topic), timeout_ms)  # noqa: SLF001
    return topic in cluster.unauthorized_topics


@functools.cache
def require_native_packages() -> None:
    """Refuse to go on without the C modules for checksums (without which reading and writing is 10 to 400 times
    slower) and for the compressions that a feed may use (without which its first such batch stops the reader)."""
    missing = [name for name in ("crc32c", "lz4", "snappy", "zstandard") if importlib.util.find_spec(name) is None]
    if missing:
        raise ImportError(
            f"Python packages are missing that reading Kafka needs ({', '.join(missing)}): "
            "pip install 'kafka-python[crc32c,lz4,snappy,zstd]'"
        )


def _without_waiting_for_offsets(record: logging.LogRecord) -> bool:
    """Drop the error line that the client logs each time it finds offsets in an open transaction: it is just early."""
    return "UnstableOffsetCommitError" not in record.getMessage()


def _open(client: Callable[..., Client], settings: KafkaSettings, **options: Any) -> Client:
    require_native_packages()
    greet(settings)
    connections: list[Connections] = []

    def connect(**config: Any) -> Connections:
        connections.append(Connections(**config))
        return connections[-1]

    try:
        with unavailable_if_away(settings):
            return client(
                **settings.client_options(), ssl_context=tls_context(settings), kafka_client=connect, **options
            )
    except (KafkaError, OSError, AccessDenied):
        for connection in connections:
            connection.close()
        raise
