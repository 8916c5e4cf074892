"""What offers were worth lately, and which items they reach. Pure; arms are `streaming.experiments`'."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import polars as pl

from serve.gateway.shop.goods import item_of, may_be_offered
from serve.gateway.shop.schemas import ArmRow, ColdItem, CtrPoint, ShopFigures
from streaming.experiments import ArmFigures, figures, outcomes
from streaming.features.runs import Ints
from streaming.sessions.catalogue import Index

MAX_STEPS = 24  # with more, a step of an hour has too few rows to say anything
NEWEST_COLD = 12
_STEPS_S = (10, 20, 30, 60, 120, 180, 300, 600, 1800, 3600)


@dataclass(frozen=True)
class Material:
    """What figures are made of."""

    answers: pl.DataFrame | None  # `rows.ANSWER_COLUMNS`
    named: pl.DataFrame | None  # `rows.NAMED_COLUMNS`
    viewed_ms: Ints  # (V,) by code
    offered_ms: Ints  # (V,)
    index: Index
    since_ms: int
    until_ms: int


def shop_figures(material: Material) -> ShopFigures:
    """All of the figures, from what was answered at `since_ms` or later."""
    answers, shown = _shown(material)
    first_ms = answers["event_time_ms"].dt.timestamp("ms").min() if answers is not None else None
    began_ms = max(material.since_ms, first_ms) if isinstance(first_ms, int) else material.until_ms
    step_s = fitting_step_s((material.until_ms - began_ms) / 1000)
    arms = figures(shown) if shown is not None and shown.height else []
    index = material.index
    codes = may_be_offered(index)
    offered = _since(material.offered_ms, codes, material.since_ms)
    cold = ~_since(material.viewed_ms, codes, material.since_ms)
    order = np.argsort(-index.changed_at[codes[cold]], kind="stable")[:NEWEST_COLD]
    newest = zip(codes[cold][order].tolist(), offered[cold][order].tolist(), strict=True)
    newest_cold = [ColdItem(item=item_of(index, code), offered=was) for code, was in newest]
    return ShopFigures(
        since_ms=material.since_ms,
        until_ms=material.until_ms,
        step_s=step_s,
        answers=0 if answers is None else answers.height,
        arms=[_arm_row(arm) for arm in arms],
        points=[] if shown is None else _points(shown, step_s, material.until_ms),
        items=len(codes),
        items_offered=int(offered.sum()),
        cold=int(cold.sum()),
        cold_offered=int((cold & offered).sum()),
        newest_cold=newest_cold,
    )


def fitting_step_s(span_s: float) -> int:
    """The shortest step of which a span has no more than `MAX_STEPS`."""
    return next((step for step in _STEPS_S if span_s <= step * MAX_STEPS), 86_400)


def _shown(material: Material) -> tuple[pl.DataFrame | None, pl.DataFrame | None]:
    """Answers of the time asked for, and of those what became of what was shown."""
    if material.answers is None:
        return None, None
    since = pl.lit(material.since_ms).cast(pl.Datetime("ms", "UTC"))
    answers = material.answers.filter(pl.col("event_time_ms") >= since)
    if answers.is_empty() or material.named is None:
        return (None if answers.is_empty() else answers), None
    return answers, outcomes(answers, material.named)


def _since(times_ms: Ints, codes: Ints, since_ms: int) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    known = codes[codes < len(times_ms)]
    late = np.zeros(len(codes), bool)
    late[: len(known)] = times_ms[known] >= since_ms  # codes rise: those that are new stand at the end
    return late


def _points(shown: pl.DataFrame, step_s: int, until_ms: int) -> list[CtrPoint]:
    """Of the steps that are over: clicks come after their answers, and the newest step would always seem to fall."""
    step_ms = step_s * 1000
    rows = (
        shown.with_columns(time_ms=pl.col("event_time_ms").dt.timestamp("ms") // step_ms * step_ms)
        .filter(pl.col("time_ms") + step_ms <= until_ms)
        .group_by("time_ms", "experiment", "arm")
        .agg(answers=pl.col("answer_id").n_unique(), clicks=pl.col("clicked").sum())
        .sort("time_ms", "experiment", "arm")
    )
    return [CtrPoint(**row) for row in rows.iter_rows(named=True)]


def _arm_row(arm: ArmFigures) -> ArmRow:
    against = arm.against_first
    return ArmRow(
        experiment=arm.experiment,
        arm=arm.arm,
        sessions=arm.sessions,
        answers=arm.answers,
        clicks=arm.clicks,
        ctr=arm.clicks / arm.answers,
        ctr_low=None if arm.shown is None else max(0.0, arm.shown.low),
        ctr_high=None if arm.shown is None else arm.shown.high,
        difference=None if against is None else against.difference,
        difference_low=None if against is None else _finite(against.low),
        difference_high=None if against is None else _finite(against.high),
        differs=None if against is None else against.differs,
    )


def _finite(value: float) -> float | None:
    """JSON knows no infinity."""
    return value if math.isfinite(value) else None
