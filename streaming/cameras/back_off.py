"""How long to wait before a camera is tried again."""

from __future__ import annotations

import random
from dataclasses import dataclass


@dataclass(frozen=True)
class BackOff:
    """Twice as long after each failure, up to a cap, and of that a random part between half and all: cameras that were
    lost together, behind one switch, do not come back all at once."""

    first_s: float = 0.5
    cap_s: float = 30.0

    def __post_init__(self) -> None:
        if not 0 < self.first_s <= self.cap_s:
            raise ValueError(f"waits begin above 0 and at most at the cap, not at {self.first_s} s of {self.cap_s} s")

    def delay_s(self, failures: int, rng: random.Random) -> float:
        """Before the next try, after so many failures in a row: 1 or more."""
        doublings = min(failures - 1, 64)  # beyond any cap, and a float holds it
        longest_s = min(self.cap_s, self.first_s * 2.0**doublings)
        return longest_s * rng.uniform(0.5, 1.0)
