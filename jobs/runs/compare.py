"""Two runs side by side: what was asked otherwise, and what came of it. Plain values, for terminal and page alike."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jobs.runs.folder import look_at
from jobs.runs.record import RunRecord, read_curve

CURVES = {
    "train_loss": "training loss",
    "log_loss": "validation log-loss",
    "accuracy": "validation accuracy",
    "map": "validation mAP",
    "map_across": "validation mAP across cameras",
}
_WIN = ("log_loss", "accuracy", "brier", "auc", "ece")
_PEOPLE = ("map", "rank1", "map_across", "rank1_across")
_FIGURES = (*_WIN, *_PEOPLE, "best_epoch", "train_s")
Row = tuple[str, Any, Any]


@dataclass(frozen=True)
class Seen:
    """A run as it is shown."""

    record: RunRecord
    curves: Mapping[str, list[float]]  # by the names of CURVES, one value per epoch, NaN where there is none


def see(folder: Path) -> Seen:
    """The run in this folder.

    Raises:
        BrokenRun: its record cannot be read.
    """
    epochs = read_curve(folder)
    flat = [{**epoch.get("validation", {}), "train_loss": epoch.get("train_loss")} for epoch in epochs]
    return Seen(look_at(folder), {name: [_number(epoch.get(name)) for epoch in flat] for name in CURVES})


def figures(run: Seen) -> dict[str, Any]:
    """What the run achieved: of the epoch that was kept, or else of its last."""
    if run.record.metrics:
        return {name: run.record.metrics[name] for name in _FIGURES if name in run.record.metrics}
    last = {name: values[-1] for name, values in run.curves.items() if values}
    return {name: value for name, value in last.items() if name in _FIGURES and math.isfinite(value)}


def figure_rows(one: Seen, other: Seen) -> list[tuple[str, Any, Any, float | None]]:
    """Each figure of both, and the second minus the first where both have it."""
    a, b = figures(one), figures(other)
    rows = []
    for name in _FIGURES:
        if name in a or name in b:
            both = a.get(name) is not None and b.get(name) is not None
            rows.append((name, a.get(name), b.get(name), b[name] - a[name] if both else None))
    return rows


def differences(one: Seen, other: Seen) -> list[Row]:
    """What else is different: recipe, data, environment, by dotted names; None where one has no such thing."""
    a, b = _asked(one.record), _asked(other.record)
    return [(name, a.get(name), b.get(name)) for name in dict.fromkeys([*a, *b]) if a.get(name) != b.get(name)]


def _asked(record: RunRecord) -> dict[str, Any]:
    return _flat({"recipe": record.recipe, "data": record.data, "environment": record.environment})


def _flat(values: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in values.items():
        found |= _flat(value, f"{before}{name}.") if isinstance(value, Mapping) else {f"{before}{name}": value}
    return found


def _number(value: Any) -> float:
    return float(value) if isinstance(value, (int, float)) else math.nan
