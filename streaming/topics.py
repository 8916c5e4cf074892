"""Every topic once: name, key, schema, partitions, retention, event-time field."""

from __future__ import annotations

from dataclasses import dataclass

HOUR_MS = 3600 * 1000
DAY_MS = 24 * HOUR_MS


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic as the platform defines it; `streaming.kafka.admin` makes the broker agree."""

    name: str
    key: str  # the column whose UTF-8 bytes are the record key
    schema: str | None  # file name without .avsc in streaming/schemas, or the path of your own; None for raw bytes
    event_time: str | None = None  # column with the event time, UTC
    partitions: int = 4
    retention_ms: int = 7 * DAY_MS
    compacted: bool = False
    dead_letters_ms: int = 30 * DAY_MS  # retention of what could not be accepted
    sheddable: bool = False  # whether a record may go unanswered for a newer one, as frames of a camera may

    @property
    def dead_letters(self) -> Topic:
        """Where the records go that this topic's pipelines cannot accept: raw bytes, coordinates in the headers."""
        return Topic(f"{self.name}.dead-letters", self.key, None, partitions=1, retention_ms=self.dead_letters_ms)

    @property
    def dead_letter_marks(self) -> Topic:
        """What was done about each dead letter: keys are `PARTITION/OFFSET` of it, values `replayed` or `skipped`."""
        return Topic(f"{self.name}.dead-letters.marks", "id", schema=None, partitions=1, compacted=True)


MATCH_EVENTS = Topic("match.events", key="match_id", schema="match-events", event_time="event_time_ms")
MATCH_INSIGHTS = Topic("match.insights", key="match_id", schema="match-insights", event_time="event_time_ms")
MATCH_INSIGHTS_SHADOW = Topic(
    "match.insights.shadow", key="match_id", schema="match-insights", event_time="event_time_ms"
)
CAMERA_FRAMES = Topic(
    "camera.frames",
    key="camera_id",
    schema="camera-frames",
    event_time="captured_ms",
    retention_ms=HOUR_MS,  # pictures of people: long enough to outlive a restart, too short to be an archive
    dead_letters_ms=DAY_MS,
    sheddable=True,
)
PERSON_SIGHTINGS = Topic("person.sightings", key="camera_id", schema="person-sightings", event_time="captured_ms")
STORE_METRICS = Topic("store.metrics", key="zone_id", schema="store-metrics", event_time="window_end_ms")
STORE_ALERTS = Topic("store.alerts", key="zone_id", schema="store-alerts", event_time="event_time_ms")
USER_SESSIONS = Topic(
    "user.sessions",
    key="session_id",
    schema="user-sessions",
    event_time="event_time_ms",
    dead_letters_ms=7 * DAY_MS,  # who asks to be forgotten is gone from everywhere after the same time
)
ITEM_CATALOGUE = Topic(
    "item.catalogue",
    key="item_id",
    schema="item-catalogue",
    event_time="changed_ms",
    partitions=1,  # so that one offset says how much of it an answer knew
    compacted=True,
)
SESSION_RECOMMENDATIONS = Topic(
    "session.recommendations", key="session_id", schema="session-recommendations", event_time="event_time_ms"
)
PIPELINE_STATUS = Topic(
    "sightline.status", key="pipeline", schema="pipeline-status", event_time="time_ms", partitions=1, compacted=True
)

CONTROL = Topic("sightline.control", key="entity", schema="control", event_time="time_ms", partitions=1, compacted=True)


def state_topic(pipeline: str) -> Topic:
    """The compacted changelog of one pipeline's keyed state: `streaming.changelog` says what lies there."""
    return Topic(f"sightline.state.{pipeline}", key="key", schema=None, compacted=True)


def identity(pipeline: str) -> str:
    """Consumer group and transactional id of a pipeline. Both hang on its name alone, as the topic of its state does:
    progress and state of different names would contradict each other."""
    return f"sightline.{pipeline}"


ALERT_WEBHOOK = "alert-webhook"
"""Under which `sightline alerts forward` reads store.alerts; the ops page calls it so."""

_SHADOW = "-shadow"


def shadow_of(pipeline: str) -> str:
    """Name of the pipeline that answers the same source by a candidate, for nobody but who compares the two."""
    return f"{pipeline}{_SHADOW}"


def is_shadow(pipeline: str) -> bool:
    """Whether nobody waits for what this pipeline says."""
    return pipeline.endswith(_SHADOW)


def pipeline_topics(name: str, source: Topic, sink: Topic, looks_up: tuple[Topic, ...] = ()) -> tuple[Topic, ...]:
    """All that a run of this pipeline needs to be there."""
    own = (source, source.dead_letters, source.dead_letter_marks, *looks_up, sink)
    return *own, PIPELINE_STATUS, CONTROL, state_topic(name)


TOPICS = (
    MATCH_EVENTS,
    MATCH_EVENTS.dead_letters,
    MATCH_EVENTS.dead_letter_marks,
    MATCH_INSIGHTS,
    MATCH_INSIGHTS_SHADOW,
    CAMERA_FRAMES,
    CAMERA_FRAMES.dead_letters,
    CAMERA_FRAMES.dead_letter_marks,
    PERSON_SIGHTINGS,
    PERSON_SIGHTINGS.dead_letters,
    PERSON_SIGHTINGS.dead_letter_marks,
    STORE_METRICS,
    STORE_ALERTS,
    STORE_ALERTS.dead_letters,
    STORE_ALERTS.dead_letter_marks,
    USER_SESSIONS,
    USER_SESSIONS.dead_letters,
    USER_SESSIONS.dead_letter_marks,
    ITEM_CATALOGUE,
    SESSION_RECOMMENDATIONS,
    PIPELINE_STATUS,
    CONTROL,
)
