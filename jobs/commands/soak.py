"""`sightline soak`: everything under load for hours, and whether anything grows."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from jobs.commands.console import AsJson, Assignments, emit_json, emit_table, loaded, say, writable_file
from jobs.errors import Exit, UsageProblem


def soak(
    hours: Annotated[float, typer.Option(help="How long it is under load; Ctrl-C ends it with what was measured.")],
    events_per_s: Annotated[float, typer.Option(help="The load, about.")] = 50.0,
    report: Annotated[
        Path | None, typer.Option(help="Write figures here as JSON, and a plot beside it with the ending .svg.")
    ] = None,
    as_json: AsJson = False,
    assignments: Assignments = None,
) -> None:
    """Run the demo's stack for hours, and test memory, handles, threads and lag for growth; exit code 1 if any grows.

    The verdict on a series is flat when the 95 % interval of its slope (Theil-Sen, over medians of blocks, after a
    warm-up) excludes growth above the limit, grows when it excludes less, and unclear in between. It has a Kafka and a
    Ray of its own, as the demo.

    Example: sightline soak --hours 1 --report soak.json
    """
    from jobs import soak as soaking
    from jobs.files import write_json
    from jobs.soak_report import conclusion, plot, rows
    from jobs.soak_report import report as summary

    if not 0.0 < hours <= 1000.0:
        raise UsageProblem(f"--hours {hours:g}: must be above 0 and at most 1000")
    if not 0.0 < events_per_s <= 5_000.0:
        raise UsageProblem(f"--events-per-s {events_per_s:g}: must be above 0 and at most 5000")
    writable_file(report, "--report")
    settings = loaded(assignments).settings
    samples, failure = soaking.soak(hours, events_per_s, settings, say)
    found = summary(samples, failure, hours, events_per_s, settings.pipeline.epoch_s)
    if report is not None:
        write_json(report, found | {"measured": samples.as_json()})
        plot(samples, found, report.with_suffix(".svg"))
    if as_json:
        emit_json(found)
    else:
        emit_table(("series", "first → last", "slope per hour (95 %)", "limit", "verdict"), rows(found))
    say(conclusion(found))
    if not found["passed"]:
        raise typer.Exit(Exit.FAILED)
