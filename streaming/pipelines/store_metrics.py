"""Sightings of people in, counts of a store by window of event time out.

person.sightings ─► validate ─► store* (stays, crossings, heat; windows that correct themselves) ─► store.metrics
"""

from __future__ import annotations

from streaming import topics
from streaming.pipeline import Pipeline
from streaming.store.figures import StoreMetrics
from streaming.store.plan import StorePlan
from streaming.store.sightings import validate_for


def store_metrics(plan: StorePlan, *, window_s: float = 10.0) -> Pipeline:
    """Sightings in, one row per window and thing of the plan out."""
    return Pipeline(
        name="store-metrics",
        source=topics.PERSON_SIGHTINGS,
        transforms=(validate_for(plan),),
        stages=(StoreMetrics(plan, window_s=window_s),),
        sink=topics.STORE_METRICS,
    )
