"""The page of a gate's judgement: the verdict first, then both models on the window."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jobs.report.page import index_page, section

Json = Mapping[str, Any]


def gate_page(report: Json) -> str:
    """HTML of a report of `jobs.gate.judge.judgement_report`."""
    model, verdict = report["model"], report["verdict"]
    name = f"{model['name']}@{model['version']}"
    said = "may take over from" if verdict["passed"] else "may not take over from"
    lead = f"{name} {said} {verdict['against'] or 'nothing: it is the first'}. Judged on {verdict['window']}."
    gates = [
        {"name": reason["criterion"], "wanted": _cell(reason["bound"]), "got": _cell(reason["figure"]), **reason}
        for reason in verdict["reasons"]
    ]
    columns = ("", "candidate, ms", "live, ms")
    rows = [
        (what, *(f"{1000 * times[who]:.3f}" if who in times else "–" for who in ("candidate", "live")))
        for what, times in report["median_s"].items()
    ]
    caption = "Median time of an answer, both in turn in one process"
    times = {"caption": caption, "columns": columns, "rows": rows, "plot": ""}
    sections = [section(report, "Both on the window", tables=[times])] if "overall" in report else []
    return index_page(f"Gate: {name}", lead, gates, sections)


def _cell(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"
