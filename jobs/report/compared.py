"""Two training runs side by side as one page."""

from __future__ import annotations

import math
from typing import Any

from jobs.report import plots
from jobs.report.page import index_page, tables_section
from jobs.runs.compare import CURVES, Seen, differences, figure_rows


def compared_page(one: Seen, other: Seen) -> str:
    """The page: figures and their differences, curves of both on the same axes, what was asked otherwise."""
    names = one.record.run, other.record.run
    tables: list[dict[str, Any]] = [
        {
            "caption": "Figures on the matches held out, of the epoch that was kept",
            "columns": ["figure", *names, "difference"],
            "rows": [(name, _cell(a), _cell(b), _signed(apart)) for name, a, b, apart in figure_rows(one, other)],
            "plot": "",
        },
        {
            "caption": "What is different about them",
            "columns": ["", *names],
            "rows": [(name, _cell(a), _cell(b)) for name, a, b in differences(one, other)]
            or [("nothing that was noted", "", "")],
            "plot": "",
        },
    ]
    for curve, words in CURVES.items():
        lines = {
            run.record.run: values
            for run in (one, other)
            if (values := [value for value in run.curves[curve] if math.isfinite(value)])
        }
        if lines:
            drawn = plots.curves(lines, across="epoch", upwards=words, title=f"{words} by epoch")
            last = [(run, len(values), _cell(values[-1])) for run, values in lines.items()]
            columns = ["run", "epochs", "at the last"]
            tables.append(
                {"caption": words, "columns": columns, "rows": last, "plot": drawn, "plot_caption": f"{words} by epoch"}
            )
    section = tables_section("", [_story(one), _story(other)], tables)
    return index_page(f"{names[0]} and {names[1]}", "", [], [section])


def _story(run: Seen) -> str:
    record = run.record
    came = f"made {record.model}" if record.model else f"{record.state}: {record.reason or 'no reason noted'}"
    return f"{record.run}: {record.recipe_name} on {record.data['source']}, begun {record.started}; {came}."


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:.5g}" if isinstance(value, float) else str(value)


def _signed(value: float | None) -> str:
    return "–" if value is None else f"{value:+.4g}"
