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
    CONTROL,
    MATCH_EVENTS,
    MATCH_INSIGHTS,
    MATCH_INSIGHTS_SHADOW,
    PIPELINE_STATUS,
    TOPICS,
    identity,
    is_shadow,
    pipeline_topics,
    shadow_of,
    state_topic,
)

ROLES = ("run", "gateway", "feed", "operator")
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


def rights(pipeline: Pipeline) -> dict[str, tuple[Right, ...]]:
    """What each of `ROLES` needs of one pipeline, and nothing that it could do without.

    run: `sightline run`, where the topics are there already; to let it create them, let it do what an operator does.
    gateway: `sightline gateway`. feed: whoever sends the events, and what they are about. operator: `sightline topics`,
    `sightline dlq`, and promotions and shadows by `sightline models`.
    """
    source, letters, marks = pipeline.source, pipeline.source.dead_letters, pipeline.source.dead_letter_marks
    state, name, replay = state_topic(pipeline.name), identity(pipeline.name), transactional_id(pipeline.source)
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
    gateway = [
        Right(TOPIC, MATCH_INSIGHTS.name, "Read", "answers to show"),
        Right(TOPIC, MATCH_EVENTS.name, "Read", "the event log beside them"),
        Right(TOPIC, PIPELINE_STATUS.name, "Read", "the ops page"),
    ]
    operator = [
        Right(TOPIC, letters.name, "Read", "dlq ls, show"),
        Right(TOPIC, marks.name, "Read", "what was done about letters"),
        Right(TOPIC, marks.name, "Write", "dlq replay, skip"),
        Right(TOPIC, source.name, "Write", "dlq replay"),
        Right(TOPIC, CONTROL.name, "Write", "models promote, rollback"),
        Right(TOPIC, MATCH_INSIGHTS.name, "Read", "models shadow"),
        Right(TOPIC, MATCH_INSIGHTS_SHADOW.name, "Read", "models shadow"),
        Right(GROUP, commits_group(replay), "Read", "a note in each transaction of dlq"),
        Right(TRANSACTIONAL_ID, replay, "Write", "dlq replay, skip: once each"),
    ]
    topics = pipeline_topics(pipeline.name, source, pipeline.sink, pipeline.looks_up)
    run += _to_look(run, [topic.name for topic in topics])
    every = [*TOPICS, state]
    feed = [Right(TOPIC, topic.name, "Write", "what events are about") for topic in pipeline.looks_up]
    made = every if is_shadow(pipeline.name) else [*every, state_topic(shadow_of(pipeline.name))]
    operator += [Right(TOPIC, topic.name, "Create", "topics create") for topic in made]
    operator += _to_look(operator, [topic.name for topic in made])
    return {
        "run": tuple(sorted(run)),
        "gateway": tuple(sorted(gateway)),
        "feed": tuple(sorted([Right(TOPIC, source.name, "Write", "events"), *feed])),
        "operator": tuple(sorted(operator)),
    }


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
