"""Parquet and CSV files as frames, and columns of them that are what they should be."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from streaming.importers.problem import ImportProblem

PARQUET_MAGIC = b"PAR1"


@dataclass(frozen=True)
class Table:
    """A file's rows. Those of a CSV file are text until a column is asked for."""

    path: Path
    frame: pl.DataFrame
    is_text: bool

    def row_place(self, row: int) -> str:
        """How a person finds row `row` (from 0) in the file."""
        return f"line {row + 2}" if self.is_text else f"row {row + 1}"

    def has(self, *names: str) -> bool:
        """Whether all these columns are there."""
        return set(names) <= set(self.frame.columns)

    def column(self, name: str, dtype: pl.DataType, *, may_be_null: bool = False) -> pl.Series:
        """A column as this type: Int64, Float64, String or Boolean (also from 0 and 1).

        Raises:
            ImportProblem: no such column, or the first value in it that is of another type, missing or not finite.
        """
        if name not in self.frame.columns:
            raise ImportProblem(
                self.path,
                "header",
                f"no column {name!r} among {', '.join(self.frame.columns[:12])}",
                "add it, or import another file",
            )
        raw = self.frame[name]
        values = _as(raw, dtype)
        bad = values.is_null() if not may_be_null else values.is_null() & raw.is_not_null()
        if dtype == pl.Float64:
            bad = bad | values.is_infinite().fill_null(False) | values.is_nan().fill_null(False)

        def fault(row: int) -> str:
            said = "is missing" if raw[row] is None else f"is {str(raw[row])[:40]!r}, not {_NAMES[dtype]}"
            return f"{name} {said}"

        self.refuse(bad, fault, "correct or remove the row")
        return values

    def refuse(self, bad: pl.Series, fault: Callable[[int], str], remedy: str) -> None:
        """Refuse the table for its first bad row, if it has one.

        Args:
            bad: for every row, null for a good one.
            fault: what is wrong with a row, by its number from 0.
            remedy: what to do about it.

        Raises:
            ImportProblem: there is one.
        """
        if bad.any():
            row = int(bad.fill_null(False).arg_max() or 0)
            raise ImportProblem(self.path, self.row_place(row), fault(row), remedy)

    def require_agreement(self, rows: pl.DataFrame, by: Sequence[str], facts: Mapping[str, str]) -> None:
        """Rows of one match may repeat what others say of it; they may not contradict them.

        Args:
            rows: made of this table, row by row.
            by: columns of `rows` that a thing is known by; the first is its id.
            facts: column of `rows` → its name in the file.

        Raises:
            ImportProblem: the first row that says something else than a row before it.
        """
        for fact, name in facts.items():
            first = rows.select(pl.col(fact).drop_nulls().first().over(by)).to_series()

            def fault(row: int, name: str = name, here: pl.Series = rows[fact], before: pl.Series = first) -> str:
                return f"{name} of match {rows[by[0]][row]} is {here[row]} here, and {before[row]} before"

            remedy = "correct the row; if it is another match, give it an id of its own"
            self.refuse(rows[fact] != first, fault, remedy)

    def optional(self, name: str, dtype: pl.DataType) -> pl.Series:
        """A column that may be absent or have gaps: nulls there; else as `column`."""
        if name not in self.frame.columns:
            return pl.Series(name, [None] * len(self.frame), dtype)
        return self.column(name, dtype, may_be_null=True)


_NAMES = {pl.Int64(): "a whole number", pl.Float64(): "a number", pl.String(): "text", pl.Boolean(): "true or false"}
_POLARS = (pl.exceptions.PolarsError, pl.exceptions.PanicException)  # the second is no Exception: 256-bit decimals
_TRUTHS = {"true": True, "false": False, "1": True, "0": False}


def _as(raw: pl.Series, dtype: pl.DataType) -> pl.Series:
    if raw.dtype in (pl.Categorical, pl.Enum):
        raw = raw.cast(pl.String)
    may_be_number = raw.dtype.is_numeric() or raw.dtype == pl.String  # a date or a truth is none, though it casts
    is_no_value = raw.dtype == pl.Null or raw.dtype.is_nested() or raw.dtype == pl.Binary
    if is_no_value or (dtype.is_numeric() and not may_be_number):
        return pl.Series(raw.name, [None] * len(raw), dtype)
    if raw.dtype == dtype:
        return raw
    if dtype == pl.Boolean:
        if raw.dtype == pl.String:
            return raw.str.to_lowercase().replace_strict(_TRUTHS, default=None, return_dtype=pl.Boolean)
        return raw.cast(pl.String, strict=False).replace_strict(_TRUTHS, default=None, return_dtype=pl.Boolean)
    if dtype == pl.Int64 and not raw.dtype.is_integer():
        # "12.0" is a whole number, "12.5" is none.
        number = raw.cast(pl.Float64, strict=False)
        whole = number.round()
        return whole.set(number != whole, None).cast(pl.Int64, strict=False)
    return raw.cast(dtype, strict=False)


def read_table(path: Path, content: bytes) -> Table:
    """A Parquet or CSV file's rows.

    Raises:
        ImportProblem: the content is neither, or is cut or damaged.
    """
    if content.startswith(PARQUET_MAGIC):
        return Table(path, _read_parquet(path, content), is_text=False)
    return Table(path, _read_csv(path, content), is_text=True)


def _read_parquet(path: Path, content: bytes) -> pl.DataFrame:
    if not content.endswith(PARQUET_MAGIC) or len(content) < 12:
        raise ImportProblem(
            path, f"byte {len(content)}", "the Parquet file is cut short: its footer is missing", "copy it again"
        )
    try:
        # pyarrow, because a damaged file makes it raise; polars' reader would panic.
        table = pq.read_table(pa.BufferReader(content), use_threads=False)
        table.validate(full=True)
        frame = pl.from_arrow(table)
    except (pa.ArrowException, OSError, ValueError, TypeError, MemoryError, *_POLARS) as error:
        raise ImportProblem(path, "Parquet footer or pages", f"damaged: {error}"[:200], "copy it again") from error
    if not isinstance(frame, pl.DataFrame) or frame.is_empty():
        raise ImportProblem(path, "row 1", "the table has no rows", "import a table of at least one match")
    return frame


def _read_csv(path: Path, content: bytes) -> pl.DataFrame:
    """All columns as text; an empty cell is null."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ImportProblem(
            path, f"byte {error.start}", "neither Parquet nor JSON, and no UTF-8 text", "see the formats in --help"
        ) from error
    first_line = text[: text.find("\n")] if "\n" in text else text
    separator = max(",;\t", key=first_line.count)
    header: list[str] = []
    rows: list[list[str]] = []
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    try:
        for row in reader:
            if not header:
                header = [name.strip() for name in row]
                if len(header) < 2 or len(set(header)) < len(header):
                    raise ImportProblem(
                        path, "line 1", "no header of distinct column names", "see the formats in --help"
                    )
            elif len(row) == len(header):
                rows.append(row)
            elif row:
                raise ImportProblem(
                    path,
                    f"line {reader.line_num}",
                    f"{len(row)} values under {len(header)} columns",
                    "if the last line was cut, copy the file again; else correct the line",
                )
    except csv.Error as error:
        raise ImportProblem(
            path, f"line {reader.line_num}", f"not CSV: {error}", "see the formats in --help"
        ) from error
    if not rows:
        raise ImportProblem(path, "line 2", "the table has no rows", "import a table of at least one match")
    columns = zip(*rows, strict=True)
    return pl.DataFrame(
        [
            pl.Series(name, [cell.strip() or None for cell in cells], pl.String)
            for name, cells in zip(header, columns, strict=True)
        ]
    )


def one_spelling(*columns: pl.Series) -> list[pl.Series]:
    """Names that differ only in case get the spelling that is used most; null and blank names are null."""
    names = pl.concat([column.rename("name") for column in columns]).to_frame()
    spelling = (
        names.with_columns(key=pl.col("name").str.to_lowercase().str.strip_chars())
        .filter(pl.col("key") != "")
        .group_by("key", "name", maintain_order=True)
        .len()
        .sort("len", descending=True, maintain_order=True)
        .unique("key", keep="first", maintain_order=True)
    )
    by_key = dict(zip(spelling["key"].to_list(), spelling["name"].str.strip_chars().to_list(), strict=True))
    return [
        column.str.to_lowercase().str.strip_chars().replace_strict(by_key, default=None, return_dtype=pl.String)
        for column in columns
    ]


def listed(names: Iterable[str], most: int = 5) -> str:
    """Names for a message, the first few."""
    every = list(names)
    return ", ".join(every[:most]) + (f" and {len(every) - most} more" if len(every) > most else "")
