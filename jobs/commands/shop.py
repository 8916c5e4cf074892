"""`sightline shop`: what recommendations are worth, and users who ask to be forgotten."""

from __future__ import annotations

import time
from contextlib import closing
from typing import TYPE_CHECKING, Annotated

import typer

from jobs.commands.console import AsJson, Assignments, Brokers, emit_json, emit_table, kafka_settings, say, seconds
from jobs.errors import UsageProblem
from jobs.files import without_infinity

if TYPE_CHECKING:
    from streaming.experiments import ArmFigures

shop = typer.Typer(no_args_is_help=True, help="Recommendations in sessions: what they are worth, and who is forgotten.")

_SENT_S = 10.0


@shop.command()
def forget(
    user_id: Annotated[str, typer.Argument(metavar="USER", help="As events of sessions name them.")],
    brokers: Brokers = None,
    as_json: AsJson = False,
    assignments: Assignments = None,
) -> None:
    """Have everything forgotten that is remembered of a user: sessions, and what was bought.

    The pipeline of recommendations does it when it reads the request. Events and answers on their topics go when their
    retention ends.

    Example: sightline shop forget u000017
    """
    import uuid

    from streaming.kafka.publisher import Publisher
    from streaming.kafka.source import KafkaSource
    from streaming.sessions.forgetting import forgetting
    from streaming.topics import USER_SESSIONS
    from streaming.transport import TransportUnavailable

    settings = kafka_settings(assignments, brokers)
    kafka, request = settings.kafka.connection(), f"forget-{uuid.uuid4().hex}"
    with closing(KafkaSource(kafka, USER_SESSIONS.name, "")) as source:
        partitions = len(source.partitions())
    try:
        outputs = forgetting(user_id, request, time.time_ns() // 1_000_000, partitions, settings.registry.open())
    except ValueError as wrong:
        raise UsageProblem(str(wrong)) from None
    with closing(Publisher(kafka, max_block_s=_SENT_S)) as publisher:
        for output in outputs:
            keys, values = output.records.keys.to_pylist(), output.records.values.to_pylist()
            publisher.send(output.topic, keys, values, int(output.records.timestamps_ms[0]), output.partition)
        publisher.flush(_SENT_S)
        told = publisher.acknowledged
    if told < partitions:
        raise TransportUnavailable(
            f"{told} of {partitions} partitions of {USER_SESSIONS.name} have the request: ask again, it does no harm"
        )
    if as_json:
        emit_json({"request": request, "partitions": partitions})
        return
    say(f"every partition of {USER_SESSIONS.name} has the request {request}; the pipeline obeys when it reads it")


@shop.command()
def report(
    since: Annotated[str, typer.Option(metavar="DURATION", help="So far back.")] = "24h",
    brokers: Brokers = None,
    as_json: AsJson = False,
    assignments: Assignments = None,
) -> None:
    """Say what each arm of an experiment was worth, in clicks an answer: as shown, of its ranking alone by inverse
    propensity, and against the first arm. The comparison holds however often one looks.

    Example: sightline shop report --since 7h
    """
    from dataclasses import asdict

    from jobs.topic_rows import read_rows
    from streaming.experiments import figures, outcomes
    from streaming.topics import SESSION_RECOMMENDATIONS, USER_SESSIONS

    since_ms = round(time.time() * 1000 - seconds(since) * 1000)
    settings = kafka_settings(assignments, brokers)
    kafka, registry = settings.kafka.connection(), settings.registry.open()
    answers, events = (
        read_rows(kafka, registry, topic, since_ms=since_ms) for topic in (SESSION_RECOMMENDATIONS, USER_SESSIONS)
    )
    found = figures(outcomes(answers, events))
    if as_json:
        emit_json([without_infinity(asdict(arm)) for arm in found])
        return
    if not found:
        say(f"no answer of the last {since} was shown: impressions name answers on {USER_SESSIONS.name}")
        return
    emit_table(("experiment", "arm", "sessions", "answers", "clicks", "as shown", "ranking alone", "against the first"),
               [_line(arm) for arm in found])  # fmt: skip


def _line(arm: ArmFigures) -> tuple[str, ...]:
    against, ranking = arm.against_first, arm.ranking
    return (
        arm.experiment or "-",
        arm.arm or "-",
        f"{arm.sessions:,}",
        f"{arm.answers:,}",
        f"{arm.clicks:,}",
        f"{arm.clicks / arm.answers:.3f}",
        "-" if ranking is None else f"{ranking.value:.3f} ({ranking.low:.3f} to {ranking.high:.3f})",
        "-"
        if against is None
        else f"{against.difference:+.3f} ({against.low:+.3f} to {against.high:+.3f}), p {against.p:.3f}",
    )
