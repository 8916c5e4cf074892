"""`sightline models shadow`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobs.commands.console import (
    AsJson,
    Assignments,
    Brokers,
    emit_json,
    emit_table,
    kafka_settings,
    made_folder,
    say,
)
from jobs.errors import UsageProblem

if TYPE_CHECKING:
    from jobs.settings import Settings
    from jobs.shadow.diff import Pair


def shadow(
    candidate: Annotated[
        str | None,
        typer.Argument(metavar="[MODEL]", help="NAME, NAME@ALIAS or NAME@VERSION; default: every candidate."),
    ] = None,
    begin: Annotated[
        str | None,
        typer.Option("--from", metavar="TIME", help="Of events, UTC unless it says otherwise; default: the earliest."),
    ] = None,
    end: Annotated[str | None, typer.Option("--to", metavar="TIME", help="The same; default: now.")] = None,
    report: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write a page and all figures as JSON here.")
    ] = None,
    brokers: Brokers = None,
    as_json: AsJson = False,
    assignments: Assignments = None,
) -> None:
    """Compare what a candidate said in shadow (`sightline run win-prediction --shadow MODEL`) with what the live model
    said of the same frames: how far apart they are, on which matches most, and which of them was right.

    Example: sightline models shadow tsstn-lol@candidate --from 2026-11-22T18:00 --report shadow
    """
    from jobs.files import write_json, write_text
    from jobs.report.shadowed import shadow_page

    folder = made_folder(report, "--report")
    settings = kafka_settings(assignments, brokers)
    found = _report(settings, candidate, _moment(begin, "--from"), _moment(end, "--to"))
    if folder is not None:
        write_text(folder / "index.html", shadow_page(found))
        write_json(folder / "report.json", found)
        say(f"wrote {folder / 'index.html'}")
    if as_json:
        emit_json(found)
    else:
        _tell(found)


def _report(settings: Settings, candidate: str | None, since_ms: int | None, until_ms: int | None) -> dict[str, Any]:
    from dataclasses import asdict

    from jobs.shadow.answers import read_answers
    from jobs.shadow.diff import diff
    from streaming.topics import MATCH_EVENTS, MATCH_INSIGHTS, MATCH_INSIGHTS_SHADOW

    kafka, registry = settings.kafka.connection(), settings.registry.open()
    wanted = None if candidate is None else _wanted(settings, candidate)
    # The shadow's first: what is answered live meanwhile is no gap.
    shadowed = read_answers(kafka, registry, MATCH_INSIGHTS_SHADOW, since_ms, until_ms)
    if shadowed.is_empty():
        raise UsageProblem(
            f"{MATCH_INSIGHTS_SHADOW.name} has no answers to events of this time; `sightline run win-prediction "
            "--shadow MODEL`, beside the live pipeline, makes them"
        )
    live = read_answers(kafka, registry, MATCH_INSIGHTS, since_ms, until_ms)
    compared = diff(live, shadowed)
    return {
        "since": _words(since_ms),
        "until": _words(until_ms) or _words(_now_ms()),
        "source_topic": MATCH_EVENTS.name,
        "live": {"topic": MATCH_INSIGHTS.name, "answers": live.height},
        "shadow": {"topic": MATCH_INSIGHTS_SHADOW.name, "answers": shadowed.height},
        **asdict(compared),
        "pairs": [asdict(pair) for pair in compared.pairs if wanted is None or _is(pair, *wanted)],
    }


def _wanted(settings: Settings, candidate: str) -> tuple[str, int | None]:
    """Name, and version if one is meant."""
    from models.store import ModelStore

    name, at, _ = candidate.partition("@")
    return ModelStore(*settings.models.store_roots).resolve(candidate) if at else (name, None)


def _is(pair: Pair, name: str, version: int | None) -> bool:
    theirs, _, number = pair.shadow.rpartition("@")
    return theirs == name and version in (None, int(number))


def _moment(text: str | None, option: str) -> int | None:
    from jobs.bounds import parse_bound

    bound = parse_bound(text, option)
    if isinstance(bound, dict):
        raise UsageProblem(f"{option} {text}: write a time, such as 2026-11-22T18:00")
    return bound


def _tell(found: dict[str, Any]) -> None:
    from jobs.report.shadowed import LARGEST_COLUMNS, SUMMARY_COLUMNS, largest_row, summary_row, uncompared

    emit_table(SUMMARY_COLUMNS, [summary_row(pair) for pair in found["pairs"]])
    for pair in found["pairs"]:
        typer.echo(f"\n{pair['shadow']} in the shadow of {pair['live']}, furthest apart")
        emit_table(LARGEST_COLUMNS, [largest_row(apart, found["source_topic"]) for apart in pair["largest"]])
    typer.echo()
    for line in uncompared(found):
        typer.echo(line)


def _words(time_ms: int | None) -> str:
    from datetime import UTC, datetime

    return "" if time_ms is None else datetime.fromtimestamp(time_ms / 1e3, UTC).isoformat(timespec="seconds")


def _now_ms() -> int:
    import time

    return time.time_ns() // 1_000_000
