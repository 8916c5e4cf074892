"""Sessions of made-up shoppers, for tests: each walks along one of a few aisles, whose items follow each other."""

from __future__ import annotations

from pathlib import Path

import numpy as np

DAY_S = 86_400.0
START_S = 1_400_000_000.0


def walks(sessions: int = 240, *, days: float = 4.0, aisles: int = 5, length: int = 8, seed: int = 0) -> str:
    """Lines of SessionId, ItemId, Time: item "10000 · aisle + place", mostly one place on with each click."""
    chance = np.random.default_rng(seed)
    lines = ["SessionId\tItemId\tTime"]
    for session in range(sessions):
        aisle, place = int(chance.integers(aisles)), int(chance.integers(length))
        moment = START_S + session / sessions * days * DAY_S
        for _ in range(int(chance.integers(2, 7))):
            lines.append(f"{session}\t{10_000 * (aisle + 1) + place}\t{moment:.3f}")
            moment += float(chance.uniform(5, 60))
            place = (place + int(chance.random() > 0.2)) % length
    return "\n".join(lines) + "\n"


def walk_file(folder: Path, **how: int | float) -> Path:
    """The same as a file."""
    path = folder / "clicks.txt"
    path.write_text(walks(**how))  # type: ignore[arg-type] # numbers, each for its own parameter
    return path
