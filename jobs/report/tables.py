"""Reports as tables: for the terminal, and as Markdown for the README."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from jobs.report.page import MEASURE_WORDS, facts

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

Json = Mapping[str, Any]
_VERDICTS = {True: "passed", False: "MISSED", None: ""}
_WIDE = 250  # characters


def print_report(report: Json) -> None:
    """Overall figures with intervals, then log-loss and accuracy of each bucket, on stdout."""
    from rich.table import Table

    out = console()
    for sentence in facts(report):
        out.print(sentence, markup=False, highlight=False)
    difference = f"log-loss minus {report['predictors'][report['reference']]}'s"
    overall = Table("", *MEASURE_WORDS.values(), difference, title="all frames, with 95 % intervals")
    for name, figures in report["overall"].items():
        cells = [_with_interval(figures[m], report["intervals"][name][m]) for m in MEASURE_WORDS]
        apart = report["differences"].get(name, {}).get("log_loss")
        cells.append("" if apart is None else f"{apart[0]:+.4f}\n{apart[1]:+.4f} – {apart[2]:+.4f}")
        overall.add_row(report["predictors"][name], *cells)
    out.print(overall)
    by_clock = Table("minutes", "frames", *report["predictors"].values(), title="log-loss / accuracy by game clock")
    for bucket in report["buckets"]:
        end = "…" if bucket["to_min"] is None else bucket["to_min"]
        cells = [
            f"{_cell(figures['log_loss'], 3)} / {_cell(figures['accuracy'], 3)}"
            for figures in (bucket["predictors"][name] for name in report["overall"])
        ]
        by_clock.add_row(f"{bucket['from_min']}–{end}", f"{bucket['frames']:,}", *cells)
    out.print(by_clock)


def console() -> Console:
    """For reports: as wide as the terminal, or, where they are piped or kept, wide enough for any table."""
    from rich.console import Console

    terminal = Console()
    return terminal if terminal.is_terminal else Console(width=_WIDE)


def gates_table(gates: Sequence[Json]) -> Table:
    """Gates of `jobs.gate_row`, for the terminal; one that was not run has no verdict."""
    from rich.table import Table

    table = Table("gate", "wanted", "got", "")
    for gate in gates:
        table.add_row(gate["name"], gate["wanted"], gate["got"], _VERDICTS[gate["passed"]])
    return table


def markdown_figures(report: Json, names: Sequence[str] | None = None) -> str:
    """A Markdown table of overall figures, the reference first, the others by log-loss."""
    reference = report["reference"]
    rest = sorted((n for n in report["overall"] if n != reference), key=lambda n: report["overall"][n]["log_loss"])
    lines = ["| | log-loss | 95 % interval | accuracy | AUC | ECE |", "| --- | --- | --- | --- | --- | --- |"]
    for name in names or [reference, *rest]:
        figures, interval = report["overall"][name], report["intervals"][name]["log_loss"]
        between = f"{interval[0]:.4f}–{interval[1]:.4f}" if interval else "–"
        words = [_cell(figures[measure]) for measure in ("accuracy", "auc", "ece")]
        cells = [report["predictors"][name], _cell(figures["log_loss"]), between, *words]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _with_interval(value: float | None, interval: Sequence[float] | None) -> str:
    return _cell(value) if interval is None else f"{_cell(value)}\n{interval[0]:.4f} – {interval[1]:.4f}"


def _cell(value: float | None, digits: int = 4) -> str:
    return "–" if value is None else f"{value:.{digits}f}"
