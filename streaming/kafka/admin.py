"""Making the broker agree with `streaming.topics`, and reading compacted topics whole."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from kafka.errors import KafkaError, RetriableError, TopicAlreadyExistsError, TopicAuthorizationFailedError

from streaming.changelog import Lanes, lanes_of
from streaming.kafka.clients import open_admin
from streaming.kafka.denied import missing_right
from streaming.kafka.settings import KafkaSettings
from streaming.kafka.source import KafkaSource
from streaming.records import Records
from streaming.topics import DAY_MS, Topic, state_topic
from streaming.transport import Fetched, TransportUnavailable

_BROKER_DEFAULT = -1
_LEAST_SEGMENT_MS = 60_000
_READ_AT_ONCE = 50_000
_STALLED_AFTER_S = 30.0
_POLL_S = 0.1  # so long it waits for records before it looks whether there are only markers left


@dataclass(frozen=True, slots=True)
class TopicsReport:
    """What `ensure_topics` found and did."""

    created: tuple[str, ...]
    existing: tuple[str, ...]
    mismatched: tuple[str, ...]  # one line for each existing topic with another number of partitions: it is used as is


class TopicMissing(RuntimeError):
    """A topic is not there and cannot be created."""


def ensure_topics(settings: KafkaSettings, topics: Sequence[Topic]) -> TopicsReport:
    """Create what is missing and wait until it can be used. What exists is left as it is, and compared.

    Raises:
        TopicMissing: a topic cannot be created here; one that exists is never asked to be.
        AccessDenied: we may not know whether a topic is there.
        TransportUnavailable: the cluster is away.
    """
    wanted = {topic.name: topic for topic in topics}
    with open_admin(settings) as admin:
        found = _partition_counts(settings, admin.describe_topics(list(wanted)))
        missing = [topic for name, topic in wanted.items() if name not in found]
        created = [topic.name for topic in missing if _create(admin, topic)]
        if missing:
            admin.wait_for_topics([topic.name for topic in missing])
            found = _partition_counts(settings, admin.describe_topics(list(wanted)))
    if gone := [name for name in wanted if name not in found]:
        raise TopicMissing(f"topic {gone[0]} was created, but is not there; is it being deleted?")
    mismatched = [
        f"topic {name} has {found[name]} partitions instead of {topic.partitions}; it is used as it is"
        for name, topic in wanted.items()
        if found[name] != topic.partitions
    ]
    existing = [name for name in wanted if name not in created]
    return TopicsReport(tuple(created), tuple(existing), tuple(mismatched))


def topic_options(topic: Topic) -> dict[str, str]:
    """The topic's settings on the broker. Those of compacted topics bound how much there is to read at a start."""
    if topic.compacted:
        return {
            "cleanup.policy": "compact",
            "segment.bytes": str(16 << 20),  # only closed segments are compacted: close them early
            "segment.ms": str(3600 * 1000),
            "min.cleanable.dirty.ratio": "0.2",
            "delete.retention.ms": str(
                3600 * 1000
            ),  # tombstones and transaction markers are kept so long for slow readers
            "max.compaction.lag.ms": str(DAY_MS),  # what was deleted is gone a day later, however little is written
        }
    # Segments go as a whole, when their newest record is old enough: they are closed early, or frames of a quiet camera
    # would outlive their hour by up to a week.
    return {
        "cleanup.policy": "delete",
        "retention.ms": str(topic.retention_ms),
        "segment.ms": str(max(topic.retention_ms // 4, _LEAST_SEGMENT_MS)),
    }


def read_all(
    settings: KafkaSettings, topic: str, *, since_ms: int | None = None, stalled_after_s: float = _STALLED_AFTER_S
) -> dict[int, Records]:
    """Every committed record of the topic from its beginning, or from this time on, to its end as of now, by partition,
    in log order: all of it is held in memory.

    Raises:
        LookupError: there is no such topic.
        TransportUnavailable: the cluster is away, or nothing more came for `stalled_after_s`.
    """
    start, end = _bounds(settings, topic, since_ms)
    pieces: dict[int, list[Records]] = {partition: [] for partition in start}
    for wanted, records in _drain(settings, topic, start, end, stalled_after_s):
        pieces[wanted.partition].append(records)
    return {partition: Records.joined(found) for partition, found in pieces.items()}


def read_changelog(settings: KafkaSettings, pipeline: str, owners: Collection[int] | None = None) -> Lanes:
    """A pipeline's changelog from its beginning to its end as of now, to be read piece by piece: all of it, or what
    there is of these owners (`streaming.changelog.lanes_of`).

    Its end is that of all that was written, and a transaction not decided there is waited for. Each partition hears for
    itself that a transaction was committed, that of the group's offsets perhaps before the changelog's: whoever took
    over by the new offsets, and passed over what is undecided here, would go on without the state of the last commit.

    Raises as `read_all` does, also while it is read.
    """
    topic = state_topic(pipeline).name
    start, end = _bounds(settings, topic, undecided=True)
    wanted = start if owners is None else lanes_of(owners, len(start))
    pieces = _drain(settings, topic, {p: start[p] for p in wanted}, {p: end[p] for p in wanted}, _STALLED_AFTER_S)
    return Lanes(len(start), pieces)


def _bounds(
    settings: KafkaSettings, topic: str, since_ms: int | None = None, *, undecided: bool = False
) -> tuple[dict[int, int], dict[int, int]]:
    """Where the topic begins, or was at this time, and where it ends now; `undecided`: behind open transactions too."""
    source = KafkaSource(settings, topic, group="")
    try:
        end = source.written_offsets() if undecided else source.end_offsets()
        start = source.beginning_offsets() if since_ms is None else source.offsets_at(since_ms)
        return dict(sorted(start.items())), end
    finally:
        source.close()


def _drain(
    settings: KafkaSettings, topic: str, start: dict[int, int], end: dict[int, int], stalled_after_s: float
) -> Iterator[Fetched]:
    position = dict(start)
    moved = time.monotonic()
    reader = KafkaSource(settings, topic, group="").open(start)
    try:
        while any(position[partition] < end[partition] for partition in end):
            fetched = reader.poll(_POLL_S, max_records=_READ_AT_ONCE)
            if fetched is not None:
                yield fetched
                position[fetched.range.partition] = fetched.range.end
                moved = time.monotonic()
            elif time.monotonic() - moved > stalled_after_s:
                raise TransportUnavailable(f"reading {topic} stopped at {position}, before its end {end}")
    finally:
        reader.close()


def _create(admin: object, topic: Topic) -> bool:
    options = {
        "num_partitions": topic.partitions,
        "replication_factor": _BROKER_DEFAULT,
        "configs": topic_options(topic),
    }
    try:
        admin.create_topics({topic.name: options})  # type: ignore[attr-defined]
    except TopicAlreadyExistsError:  # another process was faster
        return False
    except RetriableError:  # the cluster is away, or not ready yet
        raise
    except KafkaError as refused:
        raise TopicMissing(
            f"topic {topic.name} is not there and cannot be created ({type(refused).__name__}): create it with "
            f"{topic.partitions} partitions{', compacted' if topic.compacted else ''}, or allow us Create on topic "
            f"{topic.name}"
        ) from refused
    return True


def _partition_counts(settings: KafkaSettings, described: Sequence[dict[str, object]]) -> dict[str, int]:
    for topic in described:
        if topic["error_code"] == TopicAuthorizationFailedError.errno:
            raise missing_right(settings, "Describe", f"topic {topic['name']}")
    return {
        str(topic["name"]): len(partitions)
        for topic in described
        if topic["error_code"] == 0 and isinstance(partitions := topic["partitions"], list)
    }
