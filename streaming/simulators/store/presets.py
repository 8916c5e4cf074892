"""Stores that come ready made: a small one with 2 cameras, a middling one with 8, a large one with 16."""

from __future__ import annotations

from typing import NamedTuple

from streaming.simulators.store.cameras import Camera, hang_cameras
from streaming.simulators.store.plan import FloorPlan, supermarket
from streaming.simulators.store.traffic import Traffic


class Store(NamedTuple):
    """A plan, what hangs over it, and the traffic it is made for."""

    plan: FloorPlan
    cameras: tuple[Camera, ...]
    traffic: Traffic


def store(cameras: int = 8, *, size_px: tuple[int, int] = (1280, 720)) -> Store:
    """The preset of 2, 8 or 16 cameras, with pictures of `size_px`.

    Raises:
        ValueError: another number of cameras.
    """
    if cameras == 2:
        plan, traffic = supermarket(2, 4.0, 1), Traffic(arrivals_per_min=3.0, people=20)
    elif cameras == 8:
        plan, traffic = supermarket(5, 6.5, 3), Traffic(arrivals_per_min=8.0, people=60)
    elif cameras == 16:
        plan, traffic = supermarket(9, 8.0, 4), Traffic(arrivals_per_min=14.0, people=200)
    else:
        raise ValueError(f"there are stores of 2, 8 and 16 cameras, not of {cameras}")
    return Store(plan, hang_cameras(plan, cameras, size_px), traffic)
