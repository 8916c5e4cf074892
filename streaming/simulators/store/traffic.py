"""Who comes to the store and what they mean to do there, drawn before anybody walks."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from streaming.simulators.store.plan import Flags, Floats, FloorPlan
from streaming.simulators.store.routes import Ints

MOST_STOPS = 16


@dataclass(frozen=True)
class Traffic:
    """A stretch of opening time.

    Args:
        duration_s: how long it lasts; nobody is in the store when it begins.
        arrivals_per_min: rate of the Poisson process of visits.
        people: how many different people there are at most; when all have come, only those come who were there before.
        return_share: of the visits, those by somebody who has been there before, as far as there is anybody outside.
        new_clothes_share: of these, those in other clothes than the last time.
        away_s: how long one stays away at least.
        loiterer_share: of the visits, those that hang about in one aisle and leave without paying.

    Raises:
        ValueError: a time, rate or number that is not positive and finite, or a share outside 0 to 1.
    """

    duration_s: float = 600.0
    arrivals_per_min: float = 6.0
    people: int = 60
    return_share: float = 0.2
    new_clothes_share: float = 0.5
    away_s: float = 60.0
    loiterer_share: float = 0.05

    def __post_init__(self) -> None:
        for name in ("duration_s", "arrivals_per_min", "people", "away_s"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise ValueError(f"{name} of the store's traffic is to be positive, not {value}")
        for name in ("return_share", "new_clothes_share", "loiterer_share"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"{name} of the store's traffic is to be 0 to 1, not {getattr(self, name)}")


@dataclass(frozen=True)
class Intents:
    """V visits as they are meant to go: one row each, in the order of arrival."""

    arrives_s: Floats  # (V,)
    loiters: Flags  # (V,)
    stops: Ints  # (V, MOST_STOPS) spots of the plan
    stop_count: Ints  # (V,)
    dwell_s: Floats  # (V, MOST_STOPS)
    pay_s: Floats  # (V,)
    speed_mps: Floats  # (V,)


def draw_intents(plan: FloorPlan, traffic: Traffic, rng: np.random.Generator) -> Intents:
    """Visits of a stretch of time. Shoppers go from one side of the store to the other, loiterers stay in one aisle."""
    visits = int(rng.poisson(traffic.arrivals_per_min * traffic.duration_s / 60.0))
    arrives_s = np.sort(rng.random(visits)) * traffic.duration_s
    loiters = rng.random(visits) < traffic.loiterer_share
    stop_count = np.where(loiters, rng.integers(6, 13, visits), 1 + rng.binomial(8, 0.4, visits))
    spots = np.array([(spot.x_m, spot.y_m) for spot in plan.spots])
    stops = rng.integers(len(spots), size=(visits, MOST_STOPS))
    # Sorted by side of the store, and half of the visitors from the other end.
    key = spots[stops, 0] * np.where(rng.random(visits) < 0.5, -1.0, 1.0)[:, None]
    key[np.arange(MOST_STOPS) >= stop_count[:, None]] = np.inf
    stops = np.take_along_axis(stops, np.argsort(key, axis=1, kind="stable"), axis=1)
    # A loiterer's stops: the spots nearest to the first one, there and back again.
    distance = np.hypot(*(spots[:, None] - spots[None, :]).transpose(2, 0, 1))
    near = np.argsort(distance, axis=1, kind="stable")[:, : min(5, len(spots))]
    around = near[stops[:, 0]][np.arange(visits)[:, None], rng.integers(near.shape[1], size=(visits, MOST_STOPS))]
    dwell_s = np.exp(rng.normal(np.log(9.0), 0.6, (visits, MOST_STOPS)))
    return Intents(
        arrives_s=arrives_s,
        loiters=loiters,
        stops=np.where(loiters[:, None], around, stops),
        stop_count=stop_count,
        dwell_s=dwell_s * np.where(loiters, 3.0, 1.0)[:, None],
        pay_s=rng.uniform(7.0, 18.0, visits),
        speed_mps=np.clip(rng.normal(1.15, 0.15, visits), 0.7, 1.6),
    )
