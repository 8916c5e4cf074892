"""Curves in a terminal, of block characters."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

_BLOCKS = " ▁▂▃▄▅▆▇█"


def chart(values: Sequence[float], low: float, high: float, *, width: int, height: int) -> list[str]:
    """Bars over `values` as `height` lines of at most `width` characters, the top first.

    More values than columns are averaged, neighbours together; fewer get a column each. A value at `low` or below is
    the lowest bar, one at `high` or above the highest; NaN leaves a gap.
    """
    columns = _gathered(values, width)
    eighths = [0 if math.isnan(value) else _eighths(value, low, high, height) for value in columns]
    return ["".join(_BLOCKS[min(max(level - 8 * row, 0), 8)] for level in eighths) for row in reversed(range(height))]


def bounds(lines: Sequence[Sequence[float]]) -> tuple[float, float]:
    """Lowest and highest of all values that are numbers; (0, 0) where there are none."""
    numbers = [value for values in lines for value in values if math.isfinite(value)]
    return (min(numbers), max(numbers)) if numbers else (0.0, 0.0)


def _eighths(value: float, low: float, high: float, height: int) -> int:
    """Height of the bar in eighths of a character, at least one: the lowest value is no gap."""
    share = (value - low) / (high - low) if high > low else 0.0
    return 1 + round(min(max(share, 0.0), 1.0) * (8 * height - 1))


def _gathered(values: Sequence[float], width: int) -> list[float]:
    if len(values) <= width:
        return list(values)
    cuts = [len(values) * column // width for column in range(width + 1)]
    return [sum(values[start:end]) / (end - start) for start, end in pairwise(cuts)]
