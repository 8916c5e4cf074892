"""Real clicks from files, as the same events of sessions that a live shop gives.

    imported = import_sessions(Path("yoochoose_clicks_train.txt"))
    imported.events     `streaming.sessions.events.EVENT_SCHEMA`, in the order of their times
    imported.items      `streaming.sessions.items.ITEM_SCHEMA`: every item that is in them

Layouts, told apart by content; a folder may hold one file of each kind of one layout:

    yoochoose    RecSys Challenge 2015. Clicks as published, without header: session, time, item, category; buys:
                 session, time, item, price, quantity. Or as a table with the header SessionId, ItemId, Time (s).
    diginetica   CIKM Cup 2016. train-item-views.csv: sessionId, userId, itemId, timeframe (ms), eventdate;
                 train-purchases.csv with ordernumber; products.csv and product-categories.csv for the items.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from streaming.importers.problem import ImportProblem
from streaming.importers.tables import Table, read_table
from streaming.sessions.events import EVENT_SCHEMA
from streaming.sessions.items import ITEM_SCHEMA

YOOCHOOSE, DIGINETICA = "yoochoose", "diginetica"

_PUBLISHED = re.compile(rb"\s*\d+,\d{4}-\d{2}-\d{2}T[^,\n]*,\d+,[^\n]*")
_CLICK_COLUMNS = ("session", "time", "item", "category")
_BUY_COLUMNS = ("session", "time", "item", "price", "quantity")
_TIME = "%Y-%m-%dT%H:%M:%S%.fZ"
_SUFFIXES = (".csv", ".tsv", ".txt", ".dat", ".parquet")
_FORMATS = "clicks in the yoochoose or the diginetica layout"
_MOST_MS = 4_102_444_800_000  # the year 2100


@dataclass(frozen=True)
class ImportedSessions:
    """Events of one layout."""

    events: pl.DataFrame
    items: pl.DataFrame
    format: str
    sessions: int


@dataclass
class _Found:
    """Parts of files: views and purchases have session, user, item, at_ms; items have item_id and what is known."""

    path: Path
    format: str
    acts: list[pl.DataFrame]
    items: list[pl.DataFrame]


def import_sessions(path: Path) -> ImportedSessions:
    """Import a file, or all files of a folder that are of one layout.

    Raises:
        ImportProblem: nothing can be imported; one line that names the file, the place and the remedy.
    """
    if path.is_dir():
        files = sorted(p for p in path.iterdir() if p.is_file() and p.suffix.lower() in _SUFFIXES)
    else:
        files = [path]
    found = [_read(file) for file in files]
    if not any(part.acts for part in found):
        raise ImportProblem(path, "", "no clicks in it", f"give {_FORMATS}")
    formats = sorted({part.format for part in found})
    if len(formats) > 1:
        raise ImportProblem(path, "", f"both {' and '.join(formats)} are in it", "give one of them")
    return _imported(found, formats[0])


def _read(path: Path) -> _Found:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ImportProblem(path, "", f"cannot be read: {error.strerror}", f"give {_FORMATS}") from error
    if not content.strip():
        raise ImportProblem(path, "byte 0", "the file is empty", "copy or download it again")
    if _PUBLISHED.match(content[:1000]):
        return _published(path, content)
    table = read_table(path, content)
    if table.has("SessionId", "ItemId", "Time"):
        return _Found(path, YOOCHOOSE, [_yoochoose(table)], [])
    if table.has("sessionId", "itemId", "timeframe", "eventdate"):
        return _Found(path, DIGINETICA, [_diginetica(table)], [])
    if table.has("itemId", "categoryId"):
        names = {"item_id": table.column("itemId", pl.String()), "category": table.column("categoryId", pl.String())}
        return _Found(path, DIGINETICA, [], [pl.DataFrame(names)])
    if table.has("itemId", "pricelog2"):
        priced = {"item_id": table.column("itemId", pl.String()), "log2": table.column("pricelog2", pl.Float64())}
        items = pl.DataFrame(priced).select("item_id", price=(2.0 ** pl.col("log2")).round(2))
        return _Found(path, DIGINETICA, [], [items])
    raise ImportProblem(path, "header", f"columns {', '.join(table.frame.columns[:8])} are those of no known table",
                        f"give {_FORMATS}")  # fmt: skip


def _published(path: Path, content: bytes) -> _Found:
    """Lines without a header; clicks have four columns and buys five."""
    first = content[: content.find(b"\n")] if b"\n" in content else content
    columns = _BUY_COLUMNS if first.count(b",") == 4 else _CLICK_COLUMNS
    try:
        frame = pl.read_csv(content, has_header=False, new_columns=list(columns), infer_schema=False)
    except pl.exceptions.PolarsError as error:
        fault = str(error).splitlines()[0][:120]
        raise ImportProblem(path, "", f"not as published: {fault}", "copy or download it again") from error
    table = Table(path, frame, is_text=True)
    time = frame["time"].str.to_datetime(_TIME, time_unit="ms", strict=False)
    table.refuse(
        time.is_null(), lambda row: f"time is {frame['time'][row]!r}", "times look as 2014-04-07T10:51:09.277Z"
    )
    acts = _acts(table, "session", "item", time.to_physical(), kind="purchase" if columns == _BUY_COLUMNS else "view")
    return _Found(path, YOOCHOOSE, [acts], [])


def _yoochoose(table: Table) -> pl.DataFrame:
    seconds = table.column("Time", pl.Float64())
    return _acts(table, "SessionId", "ItemId", (seconds * 1000).round().cast(pl.Int64), kind="view")


def _diginetica(table: Table) -> pl.DataFrame:
    date, since_ms = table.column("eventdate", pl.String()), table.column("timeframe", pl.Int64())
    day = date.str.to_date("%Y-%m-%d", strict=False)
    table.refuse(day.is_null(), lambda row: f"eventdate is {date[row]!r}", "dates look as 2016-05-09")
    kind = "purchase" if table.has("ordernumber") else "view"
    acts = _acts(table, "sessionId", "itemId", day.cast(pl.Datetime("ms")).to_physical() + since_ms, kind=kind)
    if not table.has("userId"):
        return acts
    user = table.frame["userId"].cast(pl.String)
    return acts.with_columns(user=user.set(user.str.to_uppercase() == "NA", None))


def _acts(table: Table, session: str, item: str, at_ms: pl.Series, *, kind: str) -> pl.DataFrame:
    table.refuse(
        ~at_ms.is_between(0, _MOST_MS, closed="left"),
        lambda row: f"its time is {at_ms[row]} ms after 1970",
        "times lie before 2100",
    )
    return pl.DataFrame(
        {
            "session": table.column(session, pl.String()),
            "item": table.column(item, pl.String()),
            "at_ms": at_ms.rename("at_ms"),
        }
    ).with_columns(kind=pl.lit(kind), user=pl.lit(None, pl.String))


def _imported(found: Sequence[_Found], layout: str) -> ImportedSessions:
    acts = pl.concat([part for one in found for part in one.acts]).sort("at_ms", maintain_order=True)
    events = acts.select(
        session_id="session",
        event_time_ms=pl.col("at_ms").cast(EVENT_SCHEMA["event_time_ms"]),
        kind="kind",
        user_id="user",
        item_id="item",
        text=pl.lit(None, pl.String),
        dwell_s=pl.lit(None, pl.Float64),
        items=pl.lit([], pl.List(pl.String)),
        answer_id=pl.lit(None, pl.String),
    )
    items = events.select("item_id").unique(maintain_order=True)
    for part in (part for one in found for part in one.items):
        items = items.join(part.unique("item_id", keep="last"), on="item_id", how="left", maintain_order="left")
    known = set(items.columns)
    items = items.select(
        "item_id",
        pl.lit(events["event_time_ms"][0]).cast(ITEM_SCHEMA["changed_ms"]).alias("changed_ms"),
        pl.format("Item {}", "item_id").alias("title"),
        (pl.col("category").fill_null("") if "category" in known else pl.lit("")).alias("category"),
        (pl.col("price") if "price" in known else pl.lit(None)).cast(pl.Float64).alias("price"),
        pl.lit([], ITEM_SCHEMA["attributes"]).alias("attributes"),
        pl.lit(True).alias("in_stock"),
        pl.lit(False).alias("withdrawn"),
    )
    return ImportedSessions(events, items, layout, events["session_id"].n_unique())
