"""`sightline kafka`: the embedded broker. `sightline topics`: what is on a broker, any broker."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jobs.commands.console import (
    AsJson,
    Assignments,
    Brokers,
    emit_json,
    emit_table,
    kafka_settings,
    loaded,
    say,
)
from jobs.errors import Exit

if TYPE_CHECKING:
    from streaming.kafka.broker import EmbeddedBroker
    from streaming.topics import Topic

kafka = typer.Typer(no_args_is_help=True, help="The embedded Apache Kafka: one real broker on this machine.")
topics = typer.Typer(no_args_is_help=True, help="The topics of Sightline on your broker, or on the embedded one.")

Home = Annotated[Path | None, typer.Option(help="Folder of its data and log; default: kafka in the home setting.")]
Port = Annotated[int | None, typer.Option(min=0, max=65535, help="0 takes the one it had before, or a free one.")]


@kafka.command()
def start(home: Home = None, port: Port = None, as_json: AsJson = False) -> None:
    """Start the broker, or find it running, and return once it answers.

    Example: sightline kafka start --port 9092
    """
    status = _broker(home, port).start(on_progress=say)
    if as_json:
        emit_json(asdict(status))
    else:
        typer.echo(f"Kafka answers at {status.bootstrap_servers} (process {status.pid}, data in {status.home})")


@kafka.command()
def stop(home: Home = None, as_json: AsJson = False) -> None:
    """Stop the broker; its data stays.

    Example: sightline kafka stop
    """
    ran = _broker(home, None).stop()
    if as_json:
        emit_json({"stopped": ran})
    else:
        typer.echo("Kafka has stopped" if ran else "Kafka was not running")


@kafka.command()
def status(home: Home = None, as_json: AsJson = False) -> None:
    """Say whether the broker runs, and where; exit code 3 when it does not answer.

    Example: sightline kafka status --json
    """
    found = _broker(home, None).status()
    if as_json:
        emit_json(asdict(found))
    elif found.answers:
        typer.echo(f"Kafka answers at {found.bootstrap_servers} (process {found.pid}, data in {found.home})")
    elif found.running:
        typer.echo(
            f"Kafka runs (process {found.pid}) but does not answer at {found.bootstrap_servers}; see {found.log}"
        )
    else:
        typer.echo(f"Kafka does not run (data in {found.home}); start it with `sightline kafka start`")
    if not found.answers:
        raise typer.Exit(Exit.UNAVAILABLE)


@topics.command()
def create(brokers: Brokers = None, as_json: AsJson = False, assignments: Assignments = None) -> None:
    """Create the topics that are missing; those there are stay as they are.

    Example: sightline topics create --brokers broker:9092
    """
    from streaming.kafka.admin import ensure_topics

    report = ensure_topics(kafka_settings(assignments, brokers).kafka.connection(), _every_topic())
    if as_json:
        emit_json(asdict(report))
    else:
        typer.echo(f"created: {', '.join(report.created)}" if report.created else "all topics were there already")
        for line in report.mismatched:
            say(f"sightline: {line}")


@topics.command(name="ls")
def ls(brokers: Brokers = None, as_json: AsJson = False, assignments: Assignments = None) -> None:
    """List the topics of Sightline, with their partitions and how far their logs go.

    Example: sightline topics ls --json
    """
    from streaming.kafka.source import KafkaSource

    kafka = kafka_settings(assignments, brokers).kafka.connection()
    lines = []
    for topic in _every_topic():
        source = KafkaSource(kafka, topic.name, "")
        try:
            begins, ends = source.beginning_offsets(), source.end_offsets()
        except LookupError:  # not on this broker
            begins, ends = {}, {}
        finally:
            source.close()
        # Positions, not records: compaction and transaction markers leave holes.
        span = sum(ends.values()) - sum(begins.values())
        lines.append({"topic": topic.name, "exists": bool(ends), "partitions": len(ends), "positions": span})
    if as_json:
        emit_json(lines)
    else:
        rows = [(x["topic"], x["partitions"] if x["exists"] else "missing", x["positions"]) for x in lines]
        emit_table(("topic", "partitions", "positions"), rows)


def _every_topic() -> list[Topic]:
    from jobs.pipelines import PIPELINES, SHADOWED
    from streaming.topics import TOPICS, shadow_of, state_topic

    return [*TOPICS, *map(state_topic, PIPELINES), *(state_topic(shadow_of(name)) for name in SHADOWED)]


def _broker(home: Path | None, port: int | None) -> EmbeddedBroker:
    from streaming.kafka.broker import EmbeddedBroker

    settings = loaded(given={"kafka.port": (port, "--port")}).settings
    return EmbeddedBroker(home or settings.home / "kafka", port=settings.kafka.port)
