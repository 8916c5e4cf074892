"""Decoded frames as the rows that the board keeps. Pure; the conversion happens off the event loop."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from serve.gateway.position import Mark
from serve.gateway.schemas import Kind, PipelineReport, Side, Status
from streaming.features.catalogue import GROUPS
from streaming.features.match import validate

FAMILIES = ("contribution", "change", "score", "weight")
_NUMBERS = [f"{family}_{group}" for family in FAMILIES for group in GROUPS]
_LATENCIES = ("latency_p50_ms", "latency_p99_ms")
_TOLD_KINDS = ("start", "score", "end", "remake")

Offsets = npt.NDArray[np.int64]


class Heading(NamedTuple):
    """What an answer or a start says about its match as a whole."""

    title: str
    origin: str
    team_a: str
    team_b: str
    league: str
    patch: str


class Weights(NamedTuple):
    """Which weights made an answer."""

    name: str
    version: str
    weight_hash: str


@dataclass(frozen=True, slots=True)
class Answer:
    """One row of match.insights."""

    match_id: str
    mark: Mark
    attempt: int
    frame: int
    clock_s: float
    event_time_ms: int
    emit_time_ms: int
    status: Status
    p: float
    delta_p: float
    numbers: bytes  # float32, families × groups; bytes because a board holds many
    top_reason: str
    key_moment: bool
    moment: str
    commentary_en: str | None
    commentary_zh: str | None
    winner: Side | None
    flags: str

    def family(self, name: str) -> dict[str, float]:
        """Group → number, of `contribution`, `change`, `score` or `weight`."""
        start = FAMILIES.index(name) * len(GROUPS)
        values = np.frombuffer(self.numbers, np.float32)[start : start + len(GROUPS)]
        # Five places are more than a page shows and half the bytes of a float32 printed as a double.
        return {group: round(float(value), 5) for group, value in zip(GROUPS, values, strict=True)}


@dataclass(frozen=True, slots=True)
class AnswerRow:
    """An answer with what it says about its match; only the newest of the latter is kept."""

    answer: Answer
    heading: Heading
    weights: Weights


@dataclass(frozen=True, slots=True)
class Event:
    """One row of match.events that is worth a line in the log."""

    match_id: str
    mark: Mark
    sequence: int
    event_time_ms: int
    clock_s: float
    kind: Kind
    side: Side | None
    subject: str | None
    count: float
    heading: Heading  # empty text where the event does not say


def answer_rows(frame: pl.DataFrame, partition: int, offsets: Offsets) -> list[AnswerRow]:
    """Rows of match.insights; `offsets` (N,) are those of the frame's rows. What is no probability at no time is no
    answer, whoever wrote it."""
    shown = frame.with_columns(pl.Series("_mark", offsets, pl.Int64), pl.col("delta_p").fill_nan(0.0))
    shown = shown.filter(pl.col("p").is_between(0.0, 1.0) & pl.col("clock_s").is_finite() & (pl.col("match_id") != ""))
    numbers = shown.select(pl.col(_NUMBERS).cast(pl.Float32).fill_null(0.0)).to_numpy().astype(np.float32)
    numbers = np.ascontiguousarray(np.nan_to_num(numbers, posinf=0.0, neginf=0.0))
    rows = _in_ms(shown, "event_time_ms", "emit_time_ms").drop(_NUMBERS).iter_rows(named=True)
    return [
        AnswerRow(_answer(row, Mark(partition, row["_mark"]), values.tobytes()), _heading(row), _weights(row))
        for row, values in zip(rows, numbers, strict=True)
    ]


def event_rows(frame: pl.DataFrame, partition: int, offsets: Offsets) -> list[Event]:
    """The rows of match.events that the log tells: not the snapshots, which are nearly all of them, and none that the
    pipeline refuses, by the very same rules: what has gone to its dead letters makes no line and no match here."""
    told = frame.with_columns(pl.Series("_mark", offsets, pl.Int64)).filter(pl.col("kind").is_in(_TOLD_KINDS))
    told = validate(told).filter(pl.col("_reject").is_null())
    return [
        Event(
            match_id=row["match_id"],
            mark=Mark(partition, row["_mark"]),
            sequence=row["sequence"],
            event_time_ms=row["event_time_ms"],
            clock_s=row["clock_s"],
            kind=row["kind"],
            side=_side(row["side"]),
            subject=_interned(row["subject"]),
            count=row["count"],
            heading=_heading(row),
        )
        for row in _in_ms(told, "event_time_ms").iter_rows(named=True)
    ]


def report_rows(frame: pl.DataFrame) -> list[PipelineReport]:
    """Rows of sightline.status. A latency of NaN, as of null, says that nothing was measured."""
    rows = _in_ms(frame, "time_ms", "started_ms").with_columns(pl.col(_LATENCIES).cast(pl.Float64).fill_nan(None))
    return [PipelineReport.model_validate(row) for row in rows.iter_rows(named=True)]


def _in_ms(frame: pl.DataFrame, *columns: str) -> pl.DataFrame:
    return frame.with_columns(pl.col(columns).cast(pl.Datetime("ms")).cast(pl.Int64))


def _answer(row: dict[str, Any], mark: Mark, numbers: bytes) -> Answer:
    return Answer(
        match_id=row["match_id"],
        mark=mark,
        attempt=row["attempt"],
        frame=row["frame"],
        clock_s=row["clock_s"],
        event_time_ms=row["event_time_ms"],
        emit_time_ms=row["emit_time_ms"],
        status=row["status"] if row["status"] in ("ended", "void") else "live",
        p=round(row["p"], 5),
        delta_p=round(row["delta_p"], 5),
        numbers=numbers,
        top_reason=sys.intern(row["top_reason"]),
        key_moment=row["key_moment"],
        moment=sys.intern(row["moment"]),
        commentary_en=row["commentary_en"],
        commentary_zh=row["commentary_zh"],
        winner=_side(row["winner"]),
        flags=sys.intern(row["flags"]),
    )


def _heading(row: dict[str, Any]) -> Heading:
    return Heading(*(row[name] or "" for name in Heading._fields))


def _weights(row: dict[str, Any]) -> Weights:
    return Weights(row["model_name"], row["model_version"], row["weight_hash"])


def _side(written: str | None) -> Side | None:
    return "A" if written == "A" else "B" if written == "B" else None


def _interned(text: str | None) -> str | None:
    return None if text is None else sys.intern(text)
