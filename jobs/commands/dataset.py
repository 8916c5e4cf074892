"""`sightline dataset`: training sets from the stream."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
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
    say,
    seconds,
)

if TYPE_CHECKING:
    from jobs.stream_set.build import OnProgress, Progress
    from jobs.stream_set.manifest import Manifest
    from jobs.stream_set.plan import Plan

dataset = typer.Typer(no_args_is_help=True, help="Training sets from the stream: build one, or look at it.")

_BOUND = "A time (2026-11-22T18:00, UTC unless it says otherwise), or offsets (0:1200,1:980)."
_SAY_S = 5.0


@dataset.command()
def build(
    out: Annotated[Path, typer.Option(metavar="DIR", help="A new folder. On a cluster, one that all nodes share.")],
    topic: Annotated[str, typer.Option(metavar="NAME", help="What to learn from.")] = "match.events",
    begin: Annotated[
        str | None, typer.Option("--from", metavar="WHEN", help=f"{_BOUND} Default: the earliest.")
    ] = None,
    end: Annotated[str | None, typer.Option("--to", metavar="WHEN", help="The same; default: as of now.")] = None,
    label_delay: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="So long after --to a result still counts, such as 90m; default: 1h."),
    ] = None,
    tasks: Annotated[
        int | None, typer.Option(min=1, help="Partitions at a time; default: the cores, at most 4.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be read, and stop.")] = False,
    brokers: Brokers = None,
    as_json: AsJson = False,
    assignments: Assignments = None,
) -> None:
    """Make a training set of a part of the stream: frames as the live pipeline sees them, with who won.

    Ratings of teams begin with the range, as in a replay. Cut short, the same command goes on with the partitions that
    are not done. `sightline train win-tsstn --data DIR` learns from the set.

    Example: sightline dataset build --from 2026-11-15T00:00 --to 2026-11-22T00:00 --out week-47
    """
    from jobs.stream_set.build import build as build_set
    from jobs.stream_set.build import estimated_s, known_topic, planned
    from jobs.stream_set.staging import refuse_taken
    from jobs.trials import cores

    refuse_taken(out)
    source, at_once = known_topic(topic), tasks or cores()
    delay_s = None if label_delay is None else seconds(label_delay)
    settings = kafka_settings(assignments, brokers)
    plan = planned(settings, source, begin, end, delay_s)
    if dry_run:
        _show_plan(plan, estimated_s(plan, at_once), as_json)
        return
    with _progress() as on_progress:
        manifest = build_set(plan, settings, source, out, tasks=at_once, say=say, on_progress=on_progress)
    if as_json:
        emit_json({"out": str(out), **manifest.to_json()})
        return
    matches = sum(title["matches"] for title in manifest.matches.values())
    say(
        f"{manifest.rows:,} frames of {matches:,} matches from {manifest.records:,} records in "
        f"{manifest.took_s:.0f} s; fingerprint {manifest.content_fingerprint}; in {out}"
    )
    for reason, count in manifest.left_out.items():
        say(f"left out {count:,} match(es): {reason}")
    for error, count in manifest.rejected.items():
        say(f"left out {count:,} record(s): {error}")


@dataset.command()
def show(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Of `sightline dataset build`.")],
    as_json: AsJson = False,
) -> None:
    """Show what a training set is made of, after checking every row against its fingerprints.

    Example: sightline dataset show week-47
    """
    from jobs.stream_set.manifest import check, read_manifest

    manifest = read_manifest(folder)
    check(folder, manifest)
    if as_json:
        emit_json(manifest.to_json())
        return
    emit_table(("", ""), _rows(manifest))


def _rows(manifest: Manifest) -> Iterator[tuple[str, object]]:
    said = manifest.to_json()
    yield "topic", manifest.topic
    for partition, (first, end) in manifest.offsets.items():
        yield f"offsets of {partition}", f"{first:,} to {end:,}"
    yield "from", manifest.window["from"]
    yield "to", manifest.window["to"]
    for name in ("label_delay_s", "label_rule", "records", "rows", "code_version", "code", "created", "took_s"):
        yield name.replace("_", " "), said[name]
    for name in ("rejected", "schema_ids", "left_out"):
        yield name.replace("_", " "), ", ".join(f"{key}: {count:,}" for key, count in said[name].items())
    for title, count in manifest.matches.items():
        yield title, f"{count['matches']:,} matches, {count['won_by_a']:,} won by camp A"
    yield "files", len(manifest.files)
    yield "fingerprint", f"{manifest.content_fingerprint}, checked"


def _show_plan(plan: Plan, estimate_s: float, as_json: bool) -> None:
    if as_json:
        emit_json({**plan.to_json(), "records": plan.records, "estimated_s": round(estimate_s, 1)})
        return
    rows = [(w.partition, f"{w.start:,}", f"{w.end:,}", f"{w.end - w.start:,}") for w in plan.ranges]
    emit_table(("partition", "from", "to", "records"), rows)
    say(f"at most {plan.records:,} records, about {estimate_s:.0f} s")


@contextmanager
def _progress() -> Iterator[OnProgress]:
    """A bar with the rate and the time left; a line every few seconds where no terminal watches."""
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal:
        yield _lines()
        return
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns: tuple[Any, ...] = (TextColumn("{task.description}"), MofNCompleteColumn(), BarColumn())
    with Bar(*columns, TimeRemainingColumn(), console=console) as bar:
        task, began = bar.add_task("starting Ray", total=None), time.monotonic()

        def show(done: Progress) -> None:
            rate = done.records / max(time.monotonic() - began, 1e-9)
            words = "writing days" if done.finishing else f"{rate:,.0f} records/s"
            bar.update(task, completed=done.records, total=done.of_records, description=words)

        yield show


def _lines() -> OnProgress:
    began = said = time.monotonic()

    def line(done: Progress) -> None:
        nonlocal said
        now = time.monotonic()
        if now - said < _SAY_S:
            return
        said = now
        rate = done.records / (now - began)
        left_s = (done.of_records - done.records) / max(rate, 1e-9)
        say(f"{done.records:,} of {done.of_records:,} records, {rate:,.0f} a second, {left_s:.0f} s left")

    return line
