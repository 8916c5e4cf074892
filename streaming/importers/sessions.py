"""Real clicks from files, as the same events of sessions that a live shop gives.

    imported = import_sessions(Path("yoochoose_clicks_train.txt"))
    imported.events     `streaming.sessions.events.EVENT_SCHEMA`, in the order of their times
    imported.items      `streaming.sessions.items.ITEM_SCHEMA`: every item that is in them

The layouts are those of `streaming.importers.clicks`; a folder may hold one file of each kind of one layout.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from streaming.importers.clicks import DIGINETICA, YOOCHOOSE, ClickFile, read_clicks
from streaming.importers.problem import ImportProblem
from streaming.sessions.events import EVENT_SCHEMA
from streaming.sessions.items import ITEM_SCHEMA

__all__ = ["DIGINETICA", "YOOCHOOSE", "ImportedSessions", "import_sessions"]

_SUFFIXES = (".csv", ".tsv", ".txt", ".dat", ".parquet")
_FORMATS = "clicks in the yoochoose or the diginetica layout"


@dataclass(frozen=True)
class ImportedSessions:
    """Events of one layout."""

    events: pl.DataFrame
    items: pl.DataFrame
    format: str
    sessions: int


def import_sessions(path: Path) -> ImportedSessions:
    """Import a file, or all files of a folder that are of one layout.

    Raises:
        ImportProblem: nothing can be imported; one line that names the file, the place and the remedy.
    """
    if path.is_dir():
        files = sorted(p for p in path.iterdir() if p.is_file() and p.suffix.lower() in _SUFFIXES)
    else:
        files = [path]
    found = [read_clicks(file) for file in files]
    if not any(part.acts.height for part in found):
        raise ImportProblem(path, "", "no clicks in it", f"give {_FORMATS}")
    formats = sorted({part.layout for part in found})
    if len(formats) > 1:
        raise ImportProblem(path, "", f"both {' and '.join(formats)} are in it", "give one of them")
    return _imported(found, formats[0])


def _imported(found: Sequence[ClickFile], layout: str) -> ImportedSessions:
    acts = pl.concat([part.acts for part in found]).sort("time_s", maintain_order=True)
    events = acts.select(
        session_id="session",
        event_time_ms=(pl.col("time_s") * 1000).round().cast(pl.Int64).cast(EVENT_SCHEMA["event_time_ms"]),
        kind="kind",
        user_id="user",
        item_id="item",
        text=pl.lit(None, pl.String),
        dwell_s=pl.lit(None, pl.Float64),
        items=pl.lit([], pl.List(pl.String)),
        answer_id=pl.lit(None, pl.String),
    )
    # Files say different things of an item: of each the last that was said.
    known = pl.concat([part.known for part in found]).group_by("item").agg(pl.all().drop_nulls().last())
    items = events.select("item_id").unique(maintain_order=True)
    items = items.join(known.rename({"item": "item_id"}), on="item_id", how="left", maintain_order="left").select(
        "item_id",
        pl.lit(events["event_time_ms"][0]).cast(ITEM_SCHEMA["changed_ms"]).alias("changed_ms"),
        pl.format("Item {}", "item_id").alias("title"),
        pl.col("category").fill_null(""),
        (2.0 ** pl.col("price_log2").cast(pl.Float64, strict=False)).round(2).alias("price"),
        pl.lit([], ITEM_SCHEMA["attributes"]).alias("attributes"),
        pl.lit(True).alias("in_stock"),
        pl.lit(False).alias("withdrawn"),
    )
    return ImportedSessions(events, items, layout, events["session_id"].n_unique())
