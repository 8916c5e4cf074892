"""Files of clicks as they are published, each into the same columns: who clicked what when, and what is known of items.

Layouts, told apart by the first line, with comma, semicolon or tab between fields, or as Parquet:

    SessionId, ItemId, Time                          yoochoose (RecSys Challenge 2015) as the papers preprocess it:
                                                     seconds of Unix time
    11,2014-04-03T10:44:35.672Z,214821275,0          the challenge's own clicks, without a header; the category may lack
    11,2014-04-03T10:44:35.672Z,214821275,1046,1     its buys: price and quantity in place of the category
    sessionId;userId;itemId;timeframe;eventdate      Diginetica (CIKM Cup 2016): ms since the session began, and a date;
                                                     purchases have an ordernumber as well
    itemId;categoryId                                its categories,
    itemId;pricelog2;product.name.tokens             and its prices and titles
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from streaming.importers.problem import ImportProblem
from streaming.importers.tables import PARQUET_MAGIC, read_table

YOOCHOOSE, DIGINETICA = "yoochoose", "diginetica"

ACT_SCHEMA = pl.Schema(
    {"session": pl.String(), "user": pl.String(), "item": pl.String(), "time_s": pl.Float64(), "kind": pl.String()}
)
"""Views and purchases in the order of the file; user is null where not known, time is Unix time."""
KNOWN_SCHEMA = pl.Schema(
    {"item": pl.String(), "category": pl.String(), "price_log2": pl.String(), "title_words": pl.String()}
)
"""What a file says of an item, null where nothing; words are numbers with commas between."""

_LAYOUTS = "SessionId, ItemId, Time; or session,timestamp,item,category; or sessionId;userId;itemId;timeframe;eventdate"
_PUBLISHED = {
    3: ("sessionid", "time", "itemid"),
    4: ("sessionid", "time", "itemid", "category"),
    5: ("sessionid", "time", "itemid", "price", "quantity"),
}
_WHEN = re.compile(r"\d{8}t\d{6,15}z")  # 2014-04-03T10:44:35.672Z, its letters and digits
_NO_CATEGORY = ("0", "")
_NO_USER = ("NA", "")
_END_S = 4_102_444_800.0  # the year 2100
_REMEDY = "mend them or leave them out"


@dataclass(frozen=True)
class ClickFile:
    """One file; of one about items alone, no acts."""

    path: Path
    layout: str
    acts: pl.DataFrame  # `ACT_SCHEMA`
    known: pl.DataFrame  # `KNOWN_SCHEMA`, one row an item


def read_clicks(path: Path) -> ClickFile:
    """A file of one of the layouts.

    Raises:
        ImportProblem: no such file, another layout, or a line that cannot be used; it names file and line.
    """
    names, separator, table = _opened(path)
    if {"sessionid", "itemid", "time"} <= set(names):
        table = _table(path, names, separator) if table is None else table
        acts = _acts(path, table, pl.col("time").cast(pl.Float64, strict=False), "seconds of Unix time", ("time",))
        return ClickFile(path, YOOCHOOSE, acts, KNOWN_SCHEMA.to_frame())
    if {"sessionid", "itemid", "timeframe", "eventdate"} <= set(names):
        table = _table(path, names, separator) if table is None else table
        return ClickFile(path, DIGINETICA, _diginetica(path, table), KNOWN_SCHEMA.to_frame())
    about = {"category": "categoryid", "price_log2": "pricelog2", "title_words": "productnametokens"}
    if "itemid" in names and set(about.values()) & set(names):
        table = _table(path, names, separator) if table is None else table
        return ClickFile(path, DIGINETICA, ACT_SCHEMA.to_frame(), _known(path, table, about))
    if table is None and len(names) in _PUBLISHED and _WHEN.fullmatch(names[1]):
        return _published(path, _table(path, _PUBLISHED[len(names)], ",", header=False))
    raise ImportProblem(
        path, "line 1", f"is of no layout that is known: {_first_line(path)[:60]!r}", f"give {_LAYOUTS}"
    )


def _opened(path: Path) -> tuple[Sequence[str], str, pl.DataFrame | None]:
    """Names in the first line, as lower-case letters and digits, and what stands between them; of Parquet all rows."""
    try:
        with path.open("rb") as stream:
            magic = stream.read(len(PARQUET_MAGIC))
        if magic == PARQUET_MAGIC:
            frame = read_table(path, path.read_bytes()).frame
            names = [_plain(name) for name in frame.columns]
            texts = frame.select(pl.all().cast(pl.String)).rename(dict(zip(frame.columns, names, strict=True)))
            return names, "", texts.with_row_index("line", offset=1)
        first = _first_line(path)
    except UnicodeDecodeError as error:
        raise ImportProblem(path, f"byte {error.start}", "cannot be read as text", f"give {_LAYOUTS}") from None
    except OSError as error:
        raise ImportProblem(path, "", f"cannot be read: {error.strerror}", f"give {_LAYOUTS}") from None
    if not first:
        raise ImportProblem(path, "line 1", "is of no layout that is known: it is empty", f"give {_LAYOUTS}")
    separator = max(",;\t", key=first.count)
    return [_plain(name) for name in first.split(separator)], separator, None


def _first_line(path: Path) -> str:
    with path.open(encoding="utf-8-sig") as stream:
        return stream.readline(4096).strip("\r\n")


def _plain(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())


def _table(path: Path, names: Sequence[str], separator: str, *, header: bool = True) -> pl.DataFrame:
    """All lines as text, one column a name, with the line's number."""
    try:
        found = pl.read_csv(
            path, separator=separator, has_header=False, skip_rows=int(header), new_columns=list(names),
            schema={name: pl.String for name in names}, quote_char=None,
        )  # fmt: skip
    except pl.exceptions.PolarsError as error:
        raise _ragged(path, separator, len(names)) or ImportProblem(path, "", str(error), "copy it again") from None
    if not len(found):
        raise ImportProblem(path, "line 2", "there are no clicks", f"give {_LAYOUTS}")
    return found.with_row_index("line", offset=1 + header).with_columns(
        pl.col(name).str.strip_chars(' "\r') for name in names
    )


def _ragged(path: Path, separator: str, wanted: int) -> ImportProblem | None:
    with path.open(encoding="utf-8", errors="replace") as stream:
        for number, line in enumerate(stream, start=1):
            if (got := line.count(separator) + 1) > wanted:
                return ImportProblem(path, f"line {number}", f"{got} fields, not {wanted}: {line[:60]!r}", _REMEDY)
    return None


def _published(path: Path, table: pl.DataFrame) -> ClickFile:
    moment = pl.col("time").str.to_datetime("%Y-%m-%dT%H:%M:%S%.fZ", time_unit="us", strict=False)
    kind = "purchase" if "quantity" in table.columns else "view"
    wanted = "a time such as 2014-04-03T10:44:35.672Z"
    acts = _acts(path, table, moment.dt.epoch("us") / 1e6, wanted, ("time",), kind=kind)
    known = KNOWN_SCHEMA.to_frame()
    if "category" in table.columns:
        told = table.filter(pl.col("category").is_not_null() & ~pl.col("category").is_in(_NO_CATEGORY))
        last = told.group_by(item="itemid").agg(pl.col("category").last()).sort("item")
        known = pl.concat([known, last], how="diagonal")
    return ClickFile(path, YOOCHOOSE, acts, known)


def _diginetica(path: Path, table: pl.DataFrame) -> pl.DataFrame:
    day = pl.col("eventdate").str.to_datetime("%Y-%m-%d", time_unit="us", strict=False).dt.epoch("us") / 1e6
    moment = day + pl.col("timeframe").cast(pl.Float64, strict=False) / 1000
    kind = "purchase" if "ordernumber" in table.columns else "view"
    wanted = "a timeframe in ms and a date such as 2016-05-09"
    return _acts(path, table, moment, wanted, ("timeframe", "eventdate"), kind=kind)


def _acts(
    path: Path, table: pl.DataFrame, time_s: pl.Expr, wanted: str, columns: Sequence[str], *, kind: str = "view"
) -> pl.DataFrame:
    """`ACT_SCHEMA`; every line has a session, an item and a time from 1970 to 2100."""
    user = pl.col("userid") if "userid" in table.columns else pl.lit(None, pl.String)
    acts = table.select(
        "line", session="sessionid", user=pl.when(~user.str.to_uppercase().is_in(_NO_USER)).then(user), item="itemid",
        time_s=time_s, kind=pl.lit(kind), told=pl.concat_str(columns, ignore_nulls=True),
    )  # fmt: skip
    untimed = ~pl.col("time_s").is_between(0, _END_S, closed="left").fill_null(False)
    unnamed = pl.any_horizontal((pl.col(name).fill_null("") == "") for name in ("session", "item"))
    for wrong, what in ((unnamed, "no session or no item"), (untimed, f"no time: wanted {wanted}, before 2100")):
        if len(bad := acts.filter(wrong)):
            row = bad.row(0, named=True)
            told = f", not {str(row['told'])[:40]!r}" if what.startswith("no time") else ""
            raise ImportProblem(path, f"line {row['line']}", f"{what}{told} ({len(bad):,} such lines)", _REMEDY)
    return acts.select(ACT_SCHEMA.names())


def _known(path: Path, table: pl.DataFrame, about: dict[str, str]) -> pl.DataFrame:
    if len(bad := table.filter(pl.col("itemid").fill_null("") == "")):
        raise ImportProblem(path, f"line {bad['line'][0]}", f"no item ({len(bad):,} such lines)", _REMEDY)
    found = table.select(
        pl.col("itemid").alias("item"),
        *(
            (pl.col(name) if name in table.columns else pl.lit(None, pl.String)).alias(own)
            for own, name in about.items()
        ),
    )
    return found.unique("item", keep="last", maintain_order=True)
