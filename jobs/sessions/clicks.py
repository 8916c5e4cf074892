"""Clicks of sessions from public files, as columns.

The layouts are those of `streaming.importers.clicks`; beside a file of Diginetica's, products.csv and
product-categories.csv are read where they lie. Only views count.

Content of an item is a set of words, such as "category:5": the challenge's category, Diginetica's category, price class
and title words.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from jobs.errors import UsageProblem
from streaming.importers.clicks import DIGINETICA, read_clicks
from streaming.importers.problem import ImportProblem

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

_BESIDE = ("product-categories.csv", "products.csv")
_WORDS = ("category", "price", "title")
"""Of the columns of `KNOWN_SCHEMA` after the item."""


@dataclass(frozen=True)
class ClickSet:
    """N clicks of S sessions on I items: sessions by their last click, clicks of a session by time.

    Attributes:
        source: name of the file.
        session: (N,) 0 … S - 1, rising.
        item: (N,) position in `items`.
        time_s: (N,) Unix time.
        items: ids.
        content: words of each item that has any.
        left_out: what the rules took away, in words.
    """

    source: str
    session: Ints
    item: Ints
    time_s: Floats
    items: tuple[str, ...]
    content: Mapping[str, tuple[str, ...]]
    left_out: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.session)

    @cached_property
    def starts(self) -> Ints:
        """(S + 1,) row where each session begins, and N."""
        return np.append(np.flatnonzero(np.diff(self.session, prepend=-1)), len(self))

    @property
    def sessions(self) -> int:
        """S."""
        return len(self.starts) - 1

    @cached_property
    def fingerprint(self) -> str:
        """First 16 hex digits of a digest over everything that a model can learn from."""
        digest = hashlib.sha256("\x00".join(self.items).encode())
        for values in (self.session, self.item, self.time_s):
            digest.update(np.ascontiguousarray(values).tobytes())
        digest.update(repr([self.content.get(item, ()) for item in self.items]).encode())
        return digest.hexdigest()[:16]

    @cached_property
    def marks(self) -> npt.NDArray[np.uint64]:
        """Of each session the first 64 bits of a SHA-256 of its items and times, (S,), by which it is known again."""
        found = np.empty(self.sessions, np.uint64)
        for number, (start, end) in enumerate(pairwise(self.starts.tolist())):
            names = "\x00".join(self.items[each] for each in self.item[start:end].tolist()).encode()
            digest = hashlib.sha256(names + self.time_s[start:end].round(3).tobytes()).digest()
            found[number] = int.from_bytes(digest[:8], "big")
        return found


@dataclass(frozen=True)
class SessionRules:
    """What is a session. The papers take those of the file with 2 clicks or more."""

    min_clicks: int = 2
    max_clicks: int = 200  # a longer one is a crawler's, and left out
    gap_s: float = 0.0  # a longer pause ends a session; 0: as the file says

    def check(self) -> None:
        """Raises UsageProblem where a number makes no sense; the message names it."""
        if self.min_clicks < 2:
            raise UsageProblem(f"rules.min_clicks={self.min_clicks}: must be at least 2, to have a next click")
        if self.max_clicks < self.min_clicks:
            raise UsageProblem(f"rules.max_clicks={self.max_clicks}: must not be below rules.min_clicks")
        if not 0 <= self.gap_s < float("inf"):
            raise UsageProblem(f"rules.gap_s={self.gap_s}: must be seconds, or 0 for the file's own sessions")


def load_clicks(data: str, rules: SessionRules | None = None) -> ClickSet:
    """All sessions of a file that the rules admit.

    Raises:
        UsageProblem: no such file, another layout, or a line that cannot be used; the message names file and line.
    """
    path = Path(data)
    clicks, content = _read(path)
    return click_set(path.name, clicks, content, rules or SessionRules())


def click_set(
    source: str, clicks: pl.DataFrame, content: Mapping[str, tuple[str, ...]], rules: SessionRules
) -> ClickSet:
    """Clicks as read, cut into sessions and put in order.

    Args:
        source: of them, in words.
        clicks: session (str), item (str), time_s (f64).
        content: words by item.
        rules: what is a session.

    Raises:
        UsageProblem: the rules make no sense, or leave nothing.
    """
    rules.check()
    clicks = clicks.with_row_index("row").sort("session", "time_s", "row")
    if rules.gap_s:
        pause = pl.col("time_s").diff().over("session").fill_null(0.0) > rules.gap_s
        clicks = clicks.with_columns(part=pause.cum_sum().over("session"))
    else:
        clicks = clicks.with_columns(part=pl.lit(0, pl.UInt32))
    own = ["session", "part"]
    clicks = clicks.with_columns(clicks=pl.len().over(own), last_s=pl.col("time_s").max().over(own))
    sizes = clicks.group_by(own).agg(pl.col("clicks").first())
    short, long = (sizes["clicks"] < rules.min_clicks).sum(), (sizes["clicks"] > rules.max_clicks).sum()
    clicks = clicks.filter(pl.col("clicks").is_between(rules.min_clicks, rules.max_clicks))
    if not len(clicks):
        raise UsageProblem(f"{source}: no session has {rules.min_clicks} to {rules.max_clicks} clicks")
    clicks = clicks.sort("last_s", "session", "part", "time_s", "row")
    number = clicks.select((pl.struct(own) != pl.struct(own).shift(1)).fill_null(True).cum_sum().cast(pl.Int64) - 1)
    items = clicks["item"].unique(maintain_order=True)
    kind = pl.Enum(items)
    told = [f"{short:,} sessions of fewer than {rules.min_clicks} clicks"] if short else []
    told += [f"{long:,} sessions of more than {rules.max_clicks} clicks"] if long else []
    return ClickSet(
        source=source,
        session=number.to_series().to_numpy().copy(),
        item=clicks["item"].cast(kind).to_physical().cast(pl.Int64).to_numpy().copy(),
        time_s=clicks["time_s"].to_numpy().copy(),
        items=tuple(items.to_list()),
        content={item: content[item] for item in items.to_list() if item in content},
        left_out=tuple(told),
    )


def _read(path: Path) -> tuple[pl.DataFrame, Mapping[str, tuple[str, ...]]]:
    """Columns session, item, time_s of all views; and words by item."""
    try:
        file = read_clicks(path)
        beside = [path.parent / name for name in _BESIDE if file.layout == DIGINETICA]
        known = [file.known, *(read_clicks(other).known for other in beside if other.exists())]
    except ImportProblem as problem:
        raise UsageProblem(str(problem)) from None
    clicks = file.acts.filter(kind="view").select("session", "item", "time_s")
    if not clicks.height:
        raise UsageProblem(f"{path}: no views in it; give a file of clicks")
    words: dict[str, list[str]] = {}
    for item, *values in pl.concat(known).iter_rows():
        for name, value in zip(_WORDS, values, strict=True):
            words.setdefault(item, []).extend(f"{name}:{each}" for each in (value or "").split(",") if each)
    return clicks, {item: tuple(dict.fromkeys(own)) for item, own in words.items() if own}
