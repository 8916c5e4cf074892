"""Sightings of people in, alerts of a store's rules out.

person.sightings ─► validate ─► watch* (observations, every 2 s) ─► alerts* (rules, each told once) ─► store.alerts
"""

from __future__ import annotations

from collections.abc import Sequence

from streaming import topics
from streaming.pipeline import Pipeline
from streaming.store.alerts import AlertStage
from streaming.store.plan import StorePlan
from streaming.store.rules import Rule
from streaming.store.sightings import validate_for
from streaming.store.watching import StoreWatch


def store_alerts(plan: StorePlan, rules: Sequence[Rule]) -> Pipeline:
    """Sightings in, what the rules ask to be told of out."""
    return Pipeline(
        name="store-alerts",
        source=topics.PERSON_SIGHTINGS,
        transforms=(validate_for(plan),),
        stages=(StoreWatch(plan), AlertStage(plan, rules)),
        sink=topics.STORE_ALERTS,
    )
