"""What to compute: shapes of windows, aggregates, corrections. Data only."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

MAX_S = 366 * 24 * 3600.0
"""The longest duration of any kind."""

MAX_OVERLAP = 1_000
"""A row counts in so many sliding windows at most: each of them keeps its own sums."""

How = Literal["count", "sum", "min", "max", "mean", "first", "last"]


def milliseconds(name: str, seconds: float, *, least_s: float = 0.001) -> int:
    """A duration as whole milliseconds.

    Raises:
        ValueError: it is not from `least_s` to `MAX_S`, or not a whole number of milliseconds.
    """
    if not least_s <= seconds <= MAX_S:
        raise ValueError(f"{name} is {seconds} s, not a duration from {least_s:g} to {MAX_S:.0f} s")
    whole = round(seconds * 1000)
    if not math.isclose(seconds * 1000, whole, rel_tol=1e-9, abs_tol=1e-6):
        raise ValueError(f"{name} is {seconds} s, not a whole number of milliseconds")
    return whole


@dataclass(frozen=True)
class Tumbling:
    """Windows side by side, [k·size, (k+1)·size) since 1970."""

    size_s: float

    def __post_init__(self) -> None:
        milliseconds("size_s", self.size_s)

    @property
    def size_ms(self) -> int:
        """Length of a window."""
        return milliseconds("size_s", self.size_s)

    @property
    def every_ms(self) -> int:
        """From one start to the next."""
        return self.size_ms


@dataclass(frozen=True)
class Sliding:
    """Windows that overlap (hop), [k·every, k·every + size) since 1970; a row counts in each that it falls into."""

    size_s: float
    every_s: float

    def __post_init__(self) -> None:
        if self.every_ms > self.size_ms:
            raise ValueError(f"every_s {self.every_s} is above size_s {self.size_s}: rows in between would be lost")
        if self.size_ms > MAX_OVERLAP * self.every_ms:
            raise ValueError(
                f"windows of size_s {self.size_s} every_s {self.every_s} overlap more than {MAX_OVERLAP}-fold; "
                "raise every_s"
            )

    @property
    def size_ms(self) -> int:
        """Length of a window."""
        return milliseconds("size_s", self.size_s)

    @property
    def every_ms(self) -> int:
        """From one start to the next."""
        return milliseconds("every_s", self.every_s)


@dataclass(frozen=True)
class Session:
    """A stretch of one key's rows with less than `gap_s` between neighbours, [first row, last row + gap)."""

    gap_s: float

    def __post_init__(self) -> None:
        milliseconds("gap_s", self.gap_s)

    @property
    def gap_ms(self) -> int:
        """Silence that ends a session."""
        return milliseconds("gap_s", self.gap_s)


Windows = Tumbling | Sliding | Session


@dataclass(frozen=True)
class Corrections:
    """Late rows are counted after all: a closed window is issued again, whole, with its revision counted up.

    Late rows are gathered for `every_s` of event time, so that a burst of them makes one correction, not one each;
    `horizon_s` after it closed a window is final.
    """

    horizon_s: float
    every_s: float

    def __post_init__(self) -> None:
        if self.horizon_ms % self.every_ms:
            raise ValueError(f"horizon_s {self.horizon_s} is not a multiple of every_s {self.every_s}")

    @property
    def horizon_ms(self) -> int:
        """How long after closing."""
        return milliseconds("horizon_s", self.horizon_s)

    @property
    def every_ms(self) -> int:
        """How long late rows are gathered."""
        return milliseconds("every_s", self.every_s)


@dataclass(frozen=True)
class Aggregate:
    """One figure of a window.

    Missing values (null, NaN) are passed over; a figure of no values is null, a count of none is 0. `first` and `last`
    go by event time, of equal times by offset. Sums and means take each value to 2**-32 (2.3e-10), and are exact from
    there: neither the order of rows nor the merging of sessions changes a digit.
    """

    name: str  # of the output column
    how: How
    column: str | None = None  # numbers or booleans; None for a count of rows

    def __post_init__(self) -> None:
        if self.how not in get_args(How):
            raise ValueError(f"aggregate {self.name}: {self.how!r} is not one of {', '.join(get_args(How))}")
        if self.column is None and self.how != "count":
            raise ValueError(f"aggregate {self.name}: {self.how} of which column?")
        if not self.name or self.name.startswith("_"):
            raise ValueError(f"aggregate {self.name!r}: a name is not empty and does not begin with an underscore")
