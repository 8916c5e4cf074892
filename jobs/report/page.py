"""One self-contained HTML page of one evaluation, or of many."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jobs.report import plots

Json = Mapping[str, Any]
_SHOWN = 4
_TEMPLATES = Path(__file__).parent / "templates"

MEASURE_WORDS = {"log_loss": "log-loss", "accuracy": "accuracy", "brier": "Brier", "auc": "AUC", "ece": "ECE"}


def evaluation_page(report: Json) -> str:
    """The page of one report of `jobs.evaluate.evaluate_win`."""
    model, data = report["model"], report["data"]
    headline = f"{model['name']}@{model['version']} on {data['source']}"
    return _render("page.html.jinja", title=headline, sections=[section(report, headline)], gates=[], lead="")


def section(report: Json, heading: str, notes: Sequence[str] = (), tables: Sequence[Json] = ()) -> dict[str, Any]:
    """What the template shows of one report.

    Args:
        report: with the figures of `jobs.evaluate.figures`, and with `data`.
        heading: of the section.
        notes: sentences under the heading.
        tables: more tables, each with `caption`, `columns` and `rows`, and `plot` where there is one.
    """
    shown = _worth_showing(report)
    return {
        "heading": heading,
        "report": report,
        "notes": [*notes, *facts(report)],
        "order": _order(report),
        "shown": shown,
        "measures": MEASURE_WORDS,
        "plots": {
            "log_loss": plots.by_clock(report, "log_loss", shown),
            "accuracy": plots.by_clock(report, "accuracy", shown),
            "reliability": plots.reliability(report, shown),
            "differences": plots.differences(report) if report["differences"] else "",
        },
        "tables": tables,
    }


def tables_section(heading: str, notes: Sequence[str], tables: Sequence[Json]) -> dict[str, Any]:
    """A section of tables alone."""
    return {"heading": heading, "report": None, "notes": list(notes), "tables": list(tables)}


def index_page(title: str, lead: str, gates: Sequence[Json], sections: Sequence[Json]) -> str:
    """A page of several sections, with the gates first."""
    return _render("page.html.jinja", title=title, lead=lead, gates=gates, sections=sections)


def facts(report: Json) -> list[str]:
    """What was judged, and what the others learned from, in sentences."""
    data = report["data"]
    said = [
        f"{data['matches']:,} matches, {data['frames']:,} frames of {data['source']}; A won {data['won_by_a']:.1%}."
    ]
    if "model" in report:
        model = report["model"]
        said.append(f"{model['name']}@{model['version']} ({model['weight_hash']}), trained on {model['trained_on']}.")
    if report["baselines_learned_from"] is not None:
        said.append(f"Baselines learned from {report['baselines_learned_from']}.")
    said.append(f"Intervals: 95 %, {report['resamples']:,} resamples of matches, the same for all.")
    return said + [f"{problem[:1].upper()}{problem[1:]}." for problem in data["skipped"]]


def render_template(name: str, **values: Any) -> str:
    """A template of this package; text in HTML is escaped, SVG is marked safe by the template."""
    return _render(name, **values)


def _order(report: Json) -> list[str]:
    """The reference first, the others by log-loss."""
    others = [name for name in report["overall"] if name != report["reference"]]
    return [report["reference"], *sorted(others, key=lambda name: report["overall"][name]["log_loss"])]


def _worth_showing(report: Json) -> list[str]:
    """The reference, the best of the others, gold alone, and the next best."""
    order = _order(report)
    picked = [*order[:2], *(name for name in ("gold_sign",) if name in order), *order[2:]]
    return list(dict.fromkeys(picked))[:_SHOWN]


def _number(value: float | None, digits: int = 4) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _render(name: str, **values: Any) -> str:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(  # nosec B701  # pages are escaped, Markdown is no HTML
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=name.endswith(".html.jinja"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["number"] = _number
    return environment.get_template(name).render(**values)
