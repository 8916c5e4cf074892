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
    known_pipeline,
    pipeline_settings,
    say,
    writable_file,
)
from jobs.errors import UsageProblem

_BOUND = "A time (2026-11-22T18:00, UTC unless it says otherwise), or offsets (0:1200,1:980)."


def replay(
    pipeline: Annotated[str, typer.Argument(help="As of `sightline run`.")],
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

    State begins empty: let the range begin before the matches, sessions or visits that count. What a live pipeline does
    when nothing comes, such as closing a window or missing a camera, is done by the times at which records came.

    Other zones, lines and rules: --set store.plan=moved.toml (store-metrics and store-alerts, of the sightings that are
    kept). Another model: --set models.titles.lol=my-lol@3, shop.recommenders.live=session-gru4rec@3 or
    store.embedding=my-reid@2. What a shop offers is of the catalogue as it is now; its answers have the ids of those of
    then. person-sightings needs the frames themselves, which Kafka keeps for an hour unless told otherwise, and names
    people anew: its P1 is not the P1 of then.

    Example: sightline replay store-metrics --set store.plan=moved.toml --from 2026-11-22 --parquet moved.parquet
    """
    from jobs.replay import replay_pipeline

    known_pipeline(pipeline)
    if (to_topic is None) == (parquet is None):
        raise UsageProblem("say where the answers go: --to-topic TOPIC or --parquet FILE, one of them")
    writable_file(parquet, "--parquet")
    settings = pipeline_settings(assignments, brokers)
    done = replay_pipeline(pipeline, settings, begin, end, to_topic=to_topic, parquet=parquet, say=say)
    told = f"{done.records:,} records, {done.answers:,} answers, {done.rejected:,} rejected"
    if as_json:
        emit_json({"records": done.records, "answers": done.answers, "rejected": done.rejected})
    else:
        say(f"{told}; in {to_topic or parquet}")
