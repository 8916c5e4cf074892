"""Clicks of sessions from public files, as columns.

Four layouts are known, and told apart by their first line:

    SessionId <tab> ItemId <tab> Time                 RecSys Challenge 2015 as the papers preprocess it, seconds of Unix
                                                      time; comma or semicolon in place of the tab as well
    11,2014-04-03T10:44:35.672Z,214821275,0           the challenge's own file, without a header; the category may lack
    sessionId;userId;itemId;timeframe;eventdate       Diginetica (CIKM Cup 2016), ms since the session began and a date;
                                                      products.csv and product-categories.csv are read where they lie
                                                      beside it

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

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

_LAYOUTS = "SessionId, ItemId, Time; or session,timestamp,item,category; or sessionId;userId;itemId;timeframe;eventdate"
_PREPROCESSED = ("sessionid", "itemid", "time")
_DIGINETICA = ("sessionid", "userid", "itemid", "timeframe", "eventdate")
_NO_CATEGORY = "0"  # of the challenge's file


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
    """Columns session, item, time_s; and words by item."""
    try:
        with path.open(encoding="utf-8") as stream:
            first = stream.readline(4096).rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        why = "no such file" if isinstance(error, FileNotFoundError) else f"cannot be read as text ({error})"
        raise UsageProblem(f"{path}: {why}; give a file of clicks: {_LAYOUTS}") from None
    for separator in "\t;,":
        names = tuple(name.strip().strip('"').lower().replace("_", "") for name in first.split(separator))
        if set(_PREPROCESSED) <= set(names):
            return _preprocessed(path, _table(path, separator, names, header=True)), {}
        if names == _DIGINETICA:
            return _diginetica(path, _table(path, separator, names, header=True)), _diginetica_content(path.parent)
    if len(fields := first.split(",")) in (3, 4) and "T" in fields[1]:
        names = ("sessionid", "time", "itemid", "category")[: len(fields)]
        return _challenge(path, _table(path, ",", names, header=False))
    raise UsageProblem(f"{path}: line 1 is of no layout that is known: {first[:60]!r}; wanted: {_LAYOUTS}")


def _table(path: Path, separator: str, names: tuple[str, ...], *, header: bool) -> pl.DataFrame:
    """All lines as text, one column a name, with the line's number."""
    try:
        found = pl.read_csv(
            path, separator=separator, has_header=False, skip_rows=int(header), new_columns=list(names),
            schema={name: pl.String for name in names}, quote_char=None,
        )  # fmt: skip
    except pl.exceptions.PolarsError as error:
        raise UsageProblem(_first_ragged(path, separator, len(names)) or f"{path}: {error}") from None
    if not len(found):
        raise UsageProblem(f"{path}: has no clicks")
    return found.with_row_index("line", offset=1 + header).with_columns(
        pl.col(name).str.strip_chars(' "\r') for name in names
    )


def _first_ragged(path: Path, separator: str, wanted: int) -> str:
    with path.open(encoding="utf-8", errors="replace") as stream:
        for number, line in enumerate(stream, start=1):
            if (got := line.count(separator) + 1) > wanted:
                return f"{path}: line {number} has {got} fields, not {wanted}: {line[:60]!r}; mend it or leave it out"
    return ""


def _preprocessed(path: Path, table: pl.DataFrame) -> pl.DataFrame:
    return _checked(path, table, pl.col("time").cast(pl.Float64, strict=False), "seconds of Unix time", "time")


def _challenge(path: Path, table: pl.DataFrame) -> tuple[pl.DataFrame, Mapping[str, tuple[str, ...]]]:
    moment = pl.col("time").str.to_datetime("%Y-%m-%dT%H:%M:%S%.fZ", time_unit="us", strict=False)
    clicks = _checked(path, table, moment.dt.epoch("us") / 1e6, "a time such as 2014-04-03T10:44:35.672Z", "time")
    if "category" not in table.columns:
        return clicks, {}
    told = table.filter(pl.col("category").is_not_null() & ~pl.col("category").is_in([_NO_CATEGORY, ""]))
    last = told.group_by("itemid").agg(pl.col("category").last())
    return clicks, {item: (f"category:{category}",) for item, category in last.sort("itemid").iter_rows()}


def _diginetica(path: Path, table: pl.DataFrame) -> pl.DataFrame:
    day = pl.col("eventdate").str.to_datetime("%Y-%m-%d", time_unit="us", strict=False).dt.epoch("us") / 1e6
    moment = day + pl.col("timeframe").cast(pl.Float64, strict=False) / 1000
    return _checked(path, table, moment, "a timeframe in ms and a date such as 2016-05-09", "timeframe", "eventdate")


def _diginetica_content(folder: Path) -> Mapping[str, tuple[str, ...]]:
    """Categories, price classes and title words, of the files that are there."""
    words: dict[str, list[str]] = {}
    for name, columns in (
        ("product-categories.csv", ("itemid", "category")),
        ("products.csv", ("itemid", "price", "title")),
    ):
        if not (folder / name).exists():
            continue
        table = _table(folder / name, ";", columns, header=True)
        for _, item, *values in table.iter_rows():
            own = words.setdefault(item, [])
            for column, value in zip(columns[1:], values, strict=True):
                own += [f"{column}:{each}" for each in (value or "").split(",") if each]
    return {item: tuple(dict.fromkeys(own)) for item, own in words.items()}


def _checked(path: Path, table: pl.DataFrame, time_s: pl.Expr, wanted: str, *columns: str) -> pl.DataFrame:
    """The three columns; every line has a session, an item and a time that is a finite number."""
    clicks = table.select("line", session="sessionid", item="itemid", time_s=time_s, told=pl.concat_str(columns))
    untimed = ~pl.col("time_s").is_finite().fill_null(False) | (pl.col("time_s") < 0)
    unnamed = pl.any_horizontal((pl.col(name).fill_null("") == "") for name in ("session", "item"))
    for wrong, what in ((unnamed, "has no session or no item"), (untimed, f"has no time: wanted {wanted}")):
        if len(bad := clicks.filter(wrong)):
            row = bad.row(0, named=True)
            told = f", not {str(row['told'])[:40]!r}" if what.startswith("has no time") else ""
            raise UsageProblem(
                f"{path}: line {row['line']} {what}{told} ({len(bad):,} such lines); mend them or leave them out"
            )
    return clicks.select("session", "item", "time_s")
