"""The model card: what the weights are, what they were measured on, and what they must not be used for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jobs.report.page import MEASURE_WORDS, render_template

Json = Mapping[str, Any]


def model_card(report: Json) -> str:
    """Markdown from a report of `jobs.evaluate.evaluate_win`; every figure in it is the report's."""
    reference, overall = report["reference"], report["overall"]
    others = {name: figures for name, figures in overall.items() if name != reference}
    best = min(others, key=lambda name: others[name]["log_loss"], default=None)
    difference = report["differences"][best]["log_loss"] if best else None
    trained = report["model"]["training"]
    return render_template(
        "card.md.jinja",
        report=report,
        model=report["model"],
        data=report["data"],
        measures=MEASURE_WORDS,
        best=best,
        difference=difference,
        worst=max(
            (bucket for bucket in report["buckets"] if bucket["matches"] >= min(100, report["data"]["matches"])),
            key=lambda bucket: bucket["predictors"][reference]["ece"],
        ),
        validation=trained.get("validation", {}),
        validation_matches=trained.get("validation_matches"),
    )
