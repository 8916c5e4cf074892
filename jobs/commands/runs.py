"""`sightline runs`: what trainings were asked to do, how they went, and what came of them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobs.commands.console import AsJson, emit_json, emit_table, loaded, say, writable_file
from jobs.task import WATCHED

if TYPE_CHECKING:
    from jobs.runs.compare import Seen

runs = typer.Typer(no_args_is_help=True, help="Trainings: what each was asked to do, its curves, what came of it.")

Name = Annotated[str, typer.Argument(metavar="RUN", help="Its name, or the beginning of it.")]
_WIDTH, _HEIGHT = 60, 6


@runs.command(name="ls")
def ls(
    count: Annotated[int, typer.Option(min=1, max=100_000, help="The latest so many.")] = 20, as_json: AsJson = False
) -> None:
    """List the trainings, newest first.

    Example: sightline runs ls --json | jq .[0].state
    """
    from jobs.runs.folder import all_runs

    root = _root()
    found = all_runs(root)[:count]
    if as_json:
        emit_json([asdict(record) if record else {"run": run, "state": "unreadable"} for run, record in found])
        return
    if not found:
        say(f"no runs in {root}: `sightline train` makes one")
    rows = [
        (
            run,
            record.recipe_name,
            record.data.get("source", ""),
            record.state,
            next((f"{words} {record.metrics[name]}" for name, words in WATCHED.items() if name in record.metrics), "-"),
            record.model or record.reason,
        )
        if record is not None
        else (run, "-", "-", "unreadable", "-", "")
        for run, record in found
    ]
    emit_table(("run", "recipe", "data", "state", "figure", "came of it"), rows)


@runs.command()
def show(run: Name, as_json: AsJson = False) -> None:
    """Show all that is known of a training, with its curves.

    Example: sightline runs show 20260801
    """
    from jobs.runs.folder import find_run
    from jobs.runs.record import read_curve

    folder = find_run(_root(), run)
    seen = _seen(folder)
    record = seen.record
    if as_json:
        emit_json({**asdict(record), "curve": read_curve(folder)})
        return
    data, where = record.data, record.environment
    emit_table(
        ("", record.run),
        [
            ("state", record.state),
            ("came of it", record.model or record.reason or "-"),
            ("recipe", f"{record.recipe_name}, seed {record.recipe.get('seed')}"),
            ("data", f"{data.get('source')}: {_counts(data)}, fingerprint {data.get('fingerprint')}"),
            ("began", record.started),
            ("went on", ", ".join(record.resumed) or "-"),
            ("ended", record.ended or "-"),
            ("commit", where.get("commit") or "-"),
            ("machine", f"{where.get('machine')}, {where.get('cores')} cores"),
            ("figures", ", ".join(f"{name} {value}" for name, value in _figures(seen).items()) or "-"),
            ("folder", folder),
        ],
    )
    _draw([seen])


@runs.command()
def compare(
    one: Name,
    other: Name,
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the comparison as one page here.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show two trainings side by side: figures, what was asked otherwise, curves on one scale.

    Example: sightline runs compare 20260801-0 20260802-0 --html compared.html
    """
    from jobs.runs.compare import differences, figure_rows
    from jobs.runs.folder import find_run

    writable_file(html, "--html")
    root = _root()
    a, b = (_seen(find_run(root, run)) for run in (one, other))
    if html is not None:
        from jobs.files import write_text
        from jobs.report.compared import compared_page

        write_text(html, compared_page(a, b))
        say(f"wrote {html}")
    figures, apart = figure_rows(a, b), differences(a, b)
    if as_json:
        emit_json(
            {
                "runs": [a.record.run, b.record.run],
                "figures": {name: {"values": [x, y], "difference": d} for name, x, y, d in figures},
                "differences": {name: [x, y] for name, x, y in apart},
            }
        )
        return
    names = a.record.run, b.record.run
    emit_table(
        ("figure", *names, "difference"),
        [(name, x, y, "-" if d is None else f"{d:+.4g}") for name, x, y, d in figures],
    )
    emit_table(("different", *names), apart or [("nothing that was noted", "", "")])
    _draw([a, b])


def _root() -> Path:
    return loaded().settings.home / "runs"


def _seen(folder: Path) -> Seen:
    from jobs.runs.compare import see

    return see(folder)


def _counts(data: Mapping[str, Any]) -> str:
    """How much there was to learn from: matches, or people and their images."""
    return ", ".join(f"{data[name]} {name}" for name in ("matches", "people", "images") if name in data)


def _figures(seen: Seen) -> dict[str, Any]:
    from jobs.runs.compare import figures

    return figures(seen)


def _draw(shown: list[Seen]) -> None:
    """Each curve of each run, those of one kind on one scale."""
    from rich.console import Console

    from jobs.runs.chart import bounds, chart
    from jobs.runs.compare import CURVES

    console = Console()
    width = min(_WIDTH, max(console.width - 12, 10))
    for curve, words in CURVES.items():
        low, high = bounds([seen.curves[curve] for seen in shown])
        for seen in shown:
            values = seen.curves[curve]
            if not any(math.isfinite(value) for value in values):
                continue  # another kind of model has this one
            whose = f", {seen.record.run}" if len(shown) > 1 else ""
            console.print(f"\n{words}{whose}, {len(values)} epochs", highlight=False, markup=False)
            lines = chart(values, low, high, width=width, height=_HEIGHT)
            for row, line in enumerate(lines):
                mark = f"{high:.4f}" if row == 0 else f"{low:.4f}" if row == len(lines) - 1 else ""
                console.print(f"{mark:>8} {line}", highlight=False, markup=False)
