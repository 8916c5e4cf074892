"""`sightline replay`: a part of the past through a pipeline again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from jobs.commands.console import (
    AsJson,
    Assignments,
    Brokers,
    emit_json,
    kafka_settings,
    known_pipeline,
    say,
    writable_file,
)
from jobs.errors import UsageProblem

_BOUND = "A time (2026-11-22T18:00, UTC unless it says otherwise), or offsets (0:1200,1:980)."


def replay(
    pipeline: Annotated[str, typer.Argument(help="win-prediction or recommendations")],
    to_topic: Annotated[str | None, typer.Option(metavar="TOPIC", help="Write the answers to this new topic.")] = None,
    parquet: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the answers to this file.")] = None,
    begin: Annotated[
        str | None, typer.Option("--from", metavar="WHEN", help=f"{_BOUND} Default: the earliest.")
    ] = None,
    end: Annotated[str | None, typer.Option("--to", metavar="WHEN", help="The same; default: as of now.")] = None,
    brokers: Brokers = None,
    as_json: AsJson = False,
    assignments: Assignments = None,
) -> None:
    """Answer a part of the past again, by the same code as live, without touching anybody's offsets.

    State begins empty: let the range begin before the matches or sessions that count. Another model: --set
    models.titles.lol=my-lol@3, or --set shop.recommenders.live=session-gru4rec@3. What a shop offers is of the
    catalogue as it is now; its answers have the ids of those of then.

    Example: sightline replay win-prediction --from 2026-11-22T18:00 --parquet answers.parquet
    """
    from jobs.replay import replay_pipeline

    known_pipeline(pipeline)
    if (to_topic is None) == (parquet is None):
        raise UsageProblem("say where the answers go: --to-topic TOPIC or --parquet FILE, one of them")
    writable_file(parquet, "--parquet")
    settings = kafka_settings(assignments, brokers)
    done = replay_pipeline(pipeline, settings, begin, end, to_topic=to_topic, parquet=parquet, say=say)
    told = f"{done.records:,} records, {done.answers:,} answers, {done.rejected:,} rejected"
    if as_json:
        emit_json({"records": done.records, "answers": done.answers, "rejected": done.rejected})
    else:
        say(f"{told}; in {to_topic or parquet}")
