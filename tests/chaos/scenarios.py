"""All scenarios, by name."""

from __future__ import annotations

from tests.chaos import deaths, outages, served
from tests.chaos.scenario import SCENARIOS, Scenario

__all__ = ["SCENARIOS", "Scenario", "deaths", "outages", "served"]
