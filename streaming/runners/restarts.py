"""How long the successor of a worker that died is waited for."""

from __future__ import annotations

from collections import Counter

PAUSES_S = (0.0, 0.5, 2.0, 5.0)
STEADY_S = 60.0


class Restarts:
    """Longer with every death in a row, so that what dies at once does not take the machine; the first is replaced at
    once. A life of `STEADY_S` ends the row."""

    def __init__(self) -> None:
        self._in_a_row: Counter[int] = Counter()

    def pause_s(self, number: int, lived_s: float) -> float:
        """Worker `number` has died after so long."""
        if lived_s >= STEADY_S:
            self._in_a_row[number] = 0
        pause_s = PAUSES_S[min(self._in_a_row[number], len(PAUSES_S) - 1)]
        self._in_a_row[number] += 1
        return pause_s
