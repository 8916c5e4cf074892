"""What a candidate said in shadow, held against what the live pipeline said of the same events. Pure.

    live answers   ─┐
                    ├─ joined by partition and offset of the event ─► one `Pair` for each two versions that met
    shadow answers ─┘

Only frames of matches that are on are compared, and only where the weights differ: a shadow answers all titles, so that
what it knows of teams is what the live pipeline knows, but it has a candidate for one of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from jobs.intervals import Frames, judge

BEYOND = 0.05
"""Probabilities further apart than this are counted."""

LARGEST = 10

ANSWER_SCHEMA = pl.Schema(
    {
        "match_id": pl.String(),
        "title": pl.String(),
        "attempt": pl.Int32(),
        "clock_s": pl.Float64(),
        "ingest_time_ms": pl.Datetime("ms", "UTC"),
        "status": pl.String(),
        "p": pl.Float64(),
        "winner": pl.String(),
        "source_partition": pl.Int32(),
        "source_offset": pl.Int64(),
        "model_name": pl.String(),
        "model_version": pl.String(),
        "weight_hash": pl.String(),
    }
)
"""The columns of answers that are looked at, as in match-insights.avsc."""

_EVENT = ["source_partition", "source_offset"]
_LIFE = ["match_id", "attempt"]
_AFTER_SHADOW = pl.col("last_shadow").is_null() | (pl.col("source_offset") > pl.col("last_shadow"))


@dataclass(frozen=True)
class Apart:
    """One frame of a match, and how far apart the two are on it."""

    match_id: str
    clock_s: float
    live_p: float
    shadow_p: float
    source_partition: int
    source_offset: int


@dataclass(frozen=True)
class Outcome:
    """Both on the matches that have ended, frames before the end."""

    matches: int
    frames: int
    live_log_loss: float  # nats
    shadow_log_loss: float
    difference: tuple[float, float, float] | None  # shadow minus live, and its 95 % interval over matches


@dataclass(frozen=True)
class Pair:
    """A version that answered, and one that answered the same frames in its shadow."""

    title: str
    live: str  # NAME@VERSION; NAME@VERSION+baseline where the guard had set it aside
    shadow: str
    frames: int
    matches: int
    mean_abs: float  # mean |difference| of the probabilities
    beyond: float  # share of frames where it is above `BEYOND`
    largest: tuple[Apart, ...]  # the largest difference of each match, the largest first
    outcome: Outcome | None  # None where no match has ended


@dataclass(frozen=True)
class ShadowDiff:
    """All pairs, by title and versions, and the answers that have no other to be compared with."""

    pairs: tuple[Pair, ...]
    same_weights: int  # frames that both answered by the same weights
    live_only: int  # answers that the shadow skipped: it could give none, or counts its frames from elsewhere
    shadow_only: int
    behind: int  # live answers after the shadow's last of the partition, or of one that it has not come to


def diff(live: pl.DataFrame, shadow: pl.DataFrame) -> ShadowDiff:
    """Compare answers (`ANSWER_SCHEMA`, in any order; one that came twice counts once).

    A partition counts as answered by both from the later of their first answers to the earlier of their last.
    """
    live, shadow = (rows.unique(_EVENT, keep="last").sort(_EVENT) for rows in (live, shadow))
    live = live.with_columns(result=pl.col("winner").backward_fill().over(_LIFE))
    reach = _reach(live, "live").join(_reach(shadow, "shadow"), on="source_partition", how="left")
    both = live.join(shadow, on=_EVENT, suffix="_shadow")
    on_air = both.filter(pl.col("status") == "live")
    differ = on_air.filter(pl.col("weight_hash") != pl.col("weight_hash_shadow"))
    differ = differ.with_columns(
        _live=pl.format("{}@{}", "model_name", "model_version"),
        _shadow=pl.format("{}@{}", "model_name_shadow", "model_version_shadow"),
        _apart=(pl.col("p_shadow") - pl.col("p")).abs(),
    )
    named = ["title", "_live", "_shadow"]
    parts = differ.sort(*named, *_EVENT).partition_by(named, maintain_order=True)
    return ShadowDiff(
        pairs=tuple(_pair(part) for part in parts),
        same_weights=on_air.height - differ.height,
        live_only=_unmatched(live, shadow, reach),
        shadow_only=_unmatched(shadow, live, reach),
        behind=live.join(reach, on="source_partition").filter(_AFTER_SHADOW).height,
    )


def _reach(answers: pl.DataFrame, who: str) -> pl.DataFrame:
    """The first and the last offset answered of each partition."""
    offset = pl.col("source_offset")
    return answers.group_by("source_partition").agg(
        offset.min().alias(f"first_{who}"), offset.max().alias(f"last_{who}")
    )


def _unmatched(these: pl.DataFrame, others: pl.DataFrame, reach: pl.DataFrame) -> int:
    alone = these.join(others, on=_EVENT, how="anti").join(reach.drop_nulls(), on="source_partition")
    begin, end = pl.max_horizontal("first_live", "first_shadow"), pl.min_horizontal("last_live", "last_shadow")
    return alone.filter(pl.col("source_offset").is_between(begin, end)).height


def _pair(rows: pl.DataFrame) -> Pair:
    apart = rows["_apart"].to_numpy()
    widest = rows.sort("_apart", descending=True, maintain_order=True).unique(_LIFE, keep="first", maintain_order=True)
    return Pair(
        title=rows.item(0, "title"),
        live=rows.item(0, "_live"),
        shadow=rows.item(0, "_shadow"),
        frames=rows.height,
        matches=widest.height,
        mean_abs=float(apart.mean()),
        beyond=float((apart > BEYOND).mean()),
        largest=tuple(
            Apart(
                match_id=row["match_id"],
                clock_s=row["clock_s"],
                live_p=row["p"],
                shadow_p=row["p_shadow"],
                source_partition=row["source_partition"],
                source_offset=row["source_offset"],
            )
            for row in widest.head(LARGEST).iter_rows(named=True)
        ),
        outcome=_outcome(rows.filter(pl.col("result").is_not_null())),
    )


def _outcome(rows: pl.DataFrame) -> Outcome | None:
    if rows.is_empty():
        return None
    match = rows.select(pl.struct(_LIFE).rank("dense")).to_series().to_numpy().astype(np.int64) - 1
    frames = Frames(
        won=(rows["result"] == "A").to_numpy().astype(np.float64), match=match, matches=int(match.max()) + 1
    )
    probs = {"live": rows["p"].to_numpy(), "shadow": rows["p_shadow"].to_numpy()}
    judged = judge(frames, probs, measures=("log_loss",))
    return Outcome(
        matches=frames.matches,
        frames=rows.height,
        live_log_loss=judged["live"].values["log_loss"],
        shadow_log_loss=judged["shadow"].values["log_loss"],
        difference=judged["live"].difference(judged["shadow"], "log_loss"),
    )
