"""Who needs to be allowed what on a Kafka with ACLs, and not more: one list for each role.

Kafka counts Read and Write as Describe too; and who may write to any topic may do so idempotently, and needs no right
to the cluster. Names are literal: a right to one pipeline is none to another.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from streaming.kafka.dead_letter_queue import transactional_id
from streaming.kafka.sink import commits_group
from streaming.pipeline import Pipeline
from streaming.topics import (
    ALERT_WEBHOOK,
    CAMERA_FRAMES,
    CONTROL,
    ITEM_CATALOGUE,
    MATCH_EVENTS,
    MATCH_INSIGHTS,
    MATCH_INSIGHTS_SHADOW,
    PERSON_SIGHTINGS,
    PIPELINE_STATUS,
    SESSION_RECOMMENDATIONS,
    STORE_ALERTS,
    STORE_METRICS,
    TOPICS,
    USER_SESSIONS,
    Topic,
    identity,
    is_shadow,
    pipeline_topics,
    shadow_of,
    state_topic,
)

ROLES = ("run", "gateway", "feed", "operator", "webhook")
TOPIC, GROUP, TRANSACTIONAL_ID = "topic", "group", "transactional-id"


@dataclass(frozen=True, slots=True, order=True)
class Right:
    """One thing that a role may do, in the words of kafka-acls.sh."""

    resource: str  # TOPIC, GROUP or TRANSACTIONAL_ID
    name: str
    operation: str  # Read, Write, Describe or Create
    why: str

    def __str__(self) -> str:
        return f"{self.operation} on {self.resource} {self.name}"


def rights(pipeline: Pipeline, *, show_frames: bool = False) -> dict[str, tuple[Right, ...]]:
    """What each of `ROLES` needs of one pipeline, and nothing that it could do without; a role that has nothing to do
    with it is left out.

    run: `sightline run`, where the topics are there already; to let it create them, let it do what an operator does.
    gateway: `sightline gateway`, of a store with the store's topics, of a shop with the shop's, where it says what
    shoppers do on its page. feed: whoever sends the events, and what they are about, `sightline camera run` among them.
    operator: `sightline topics`, `sightline dlq`, promotions and shadows by `sightline models`, and `sightline shop`.
    webhook: `sightline alerts forward`. `sightline people` needs none: its orders lie in the folder of keys.

    Args:
        pipeline: which.
        show_frames: the gateway shows frames of cameras (`gateway.show_frames`).
    """
    source, letters = pipeline.source, pipeline.source.dead_letters
    state, name = state_topic(pipeline.name), identity(pipeline.name)
    run = [
        Right(TOPIC, source.name, "Read", "events"),
        *(Right(TOPIC, topic.name, "Read", "what events are about") for topic in pipeline.looks_up),
        Right(TOPIC, pipeline.sink.name, "Write", "answers"),
        *([Right(TOPIC, letters.name, "Write", "events that cannot be accepted")] * pipeline.dead_letters),
        Right(TOPIC, state.name, "Read", "state, restored at the start"),
        Right(TOPIC, state.name, "Write", "state"),
        Right(TOPIC, PIPELINE_STATUS.name, "Write", "how it is, once a second"),
        Right(TOPIC, CONTROL.name, "Read", "promotions, as soon as they are made"),
        Right(GROUP, name, "Read", "where to go on"),
        Right(TRANSACTIONAL_ID, name, "Write", "all of this in one transaction"),
        Right(TRANSACTIONAL_ID, f"{name}.2", "Write", "the same in turns, by the continuous runner"),
    ]
    topics = pipeline_topics(pipeline.name, source, pipeline.sink, pipeline.looks_up)
    run += _to_look(run, [topic.name for topic in topics])
    operator = [
        *(_of_letters(source) if pipeline.dead_letters else ()),
        Right(TOPIC, CONTROL.name, "Write", "models promote, rollback"),
    ]
    if source == MATCH_EVENTS:
        compared = (MATCH_INSIGHTS, MATCH_INSIGHTS_SHADOW)
        operator += [Right(TOPIC, topic.name, "Read", "models shadow") for topic in compared]
    if source == USER_SESSIONS:
        judged = (USER_SESSIONS, SESSION_RECOMMENDATIONS)
        operator += [Right(TOPIC, topic.name, "Read", "shop report") for topic in judged]
    if pipeline.sink == STORE_ALERTS:
        operator += _of_letters(STORE_ALERTS)
    every = [*TOPICS, state]
    feed = [Right(TOPIC, topic.name, "Write", "what events are about") for topic in pipeline.looks_up]
    made = every if is_shadow(pipeline.name) else [*every, state_topic(shadow_of(pipeline.name))]
    operator += [Right(TOPIC, topic.name, "Create", "topics create") for topic in made]
    operator += _to_look(operator, [topic.name for topic in made])
    webhook = _of_webhook() if pipeline.sink == STORE_ALERTS else []
    roles = {
        "run": run,
        "gateway": _of_gateway(pipeline, show_frames=show_frames),
        "feed": [Right(TOPIC, source.name, "Write", "events"), *feed],
        "operator": operator,
        "webhook": webhook,
    }
    return {role: tuple(sorted(its)) for role, its in roles.items() if its}


_SHOP_SHOWN = {
    ITEM_CATALOGUE: "goods",
    SESSION_RECOMMENDATIONS: "offers",
    USER_SESSIONS: "clicks, of which the figures are made",
}


def _of_gateway(pipeline: Pipeline, *, show_frames: bool) -> list[Right]:
    of_store, of_shop = pipeline.source in (CAMERA_FRAMES, PERSON_SIGHTINGS), pipeline.source == USER_SESSIONS
    shown = {
        MATCH_INSIGHTS: "answers to show",
        MATCH_EVENTS: "the event log beside them",
        PIPELINE_STATUS: "the ops page",
        **({STORE_METRICS: "counts", STORE_ALERTS: "alerts", PERSON_SIGHTINGS: "who is where"} if of_store else {}),
        **({CAMERA_FRAMES: "frames, heads blurred"} if of_store and show_frames else {}),
        **(_SHOP_SHOWN if of_shop else {}),
    }
    writes = [Right(TOPIC, USER_SESSIONS.name, "Write", "what shoppers do on /shop")] if of_shop else []
    return [*(Right(TOPIC, topic.name, "Read", why) for topic, why in shown.items()), *writes]


def _of_letters(topic: Topic) -> list[Right]:
    """Of `sightline dlq`, for records of this topic."""
    replay = transactional_id(topic)
    return [
        Right(TOPIC, topic.dead_letters.name, "Read", "dlq ls, show"),
        Right(TOPIC, topic.dead_letter_marks.name, "Read", "what was done about letters"),
        Right(TOPIC, topic.dead_letter_marks.name, "Write", "dlq replay, skip"),
        Right(TOPIC, topic.name, "Write", "dlq replay; shop forget" if topic == USER_SESSIONS else "dlq replay"),
        Right(GROUP, commits_group(replay), "Read", "a note in each transaction of dlq"),
        Right(TRANSACTIONAL_ID, replay, "Write", "dlq replay, skip: once each"),
    ]


def _of_webhook() -> list[Right]:
    return [
        Right(TOPIC, STORE_ALERTS.name, "Read", "alerts to hand on"),
        Right(TOPIC, STORE_ALERTS.dead_letters.name, "Write", "those that are given up"),
        Right(TOPIC, PIPELINE_STATUS.name, "Write", "how it is, once a second"),
        Right(GROUP, identity(ALERT_WEBHOOK), "Read", "where to go on"),
    ]


def _to_look(given: Sequence[Right], topics: Iterable[str]) -> list[Right]:
    """The right to see whether a topic is there, for those where no other right includes it."""
    seen = {right.name for right in given if right.resource == TOPIC and right.operation in ("Read", "Write")}
    return [Right(TOPIC, name, "Describe", "whether it is there") for name in topics if name not in seen]


def commands(bootstrap: str, principals: Mapping[str, str], chosen: Mapping[str, Sequence[Right]]) -> Iterator[str]:
    """The same as lines for a shell: one kafka-acls.sh call a role and resource."""
    for role, its in chosen.items():
        for (resource, name), same in groupby(its, key=lambda right: (right.resource, right.name)):
            operations = [word for right in same for word in ("--operation", right.operation)]
            words = ["kafka-acls.sh", "--bootstrap-server", bootstrap, "--add", "--allow-principal", principals[role]]
            yield shlex.join([*words, *operations, f"--{resource}", name])
