"""Scored match frames → insights: what changed, why, and a sentence when there is something to say.

In:  rows of `WinModel`: match frames with logit, p, score_*, weight_*, contribution_* and model_*.
Out: the same rows, one for one, as match-insights.avsc has them, less emit_time_ms and source_topic.

A match is on the record from its first frame, which is silent. After it a line comes when the probability has moved
by `SPEAK_AT` since the last line or the lead has passed to the other side, no sooner than `PAUSE_S` of game clock after
the last line, and always at the end. All of it follows from the rows of the match alone, however batches are cut.
"""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from streaming.features.catalogue import GROUPS
from streaming.insights.commentary import (
    EVEN_BAND,
    Beat,
    Voice,
    ending,
    leader,
    leading_group,
    parse_moment,
    situation,
)
from streaming.insights.wording import TEMPLATES
from streaming.state import Column, Slots, StateTable

SPEAK_AT = 0.08
"""Change of probability since the last line that is worth a new one (TSSTN dossier §10)."""

PAUSE_S = 20.0
"""Game clock between two lines, at least."""

KEY_LOGIT, KEY_P = 0.35, 0.05
"""A key moment moves the log-odds and the probability by this much in one frame, or the lead passes."""

CAUSE_PART = 0.25
"""An event is named as the cause where its frame brought this part, or more, of what went the side's way."""

REASON_CHANGE = 0.05
"""Changes of contributions below this are no reason; then the largest contribution is."""

LANGUAGES = ("en", "zh")

_IDLE_MS = 6 * 3600 * 1000  # longer than the fold remembers a silent match: it comes back as frame 0
_G = len(GROUPS)
_NO_MATCH = -1  # attempt of a row that is to be treated as never seen

_LAYOUT = {
    "attempt": Column(np.int32, default=_NO_MATCH),
    "event_time_ms": Column(np.int64),
    "p": Column(np.float64),
    "logit": Column(np.float64),
    "contribution": Column(np.float32, (_G,)),
    "leader": Column(np.int32),  # +1, -1; 0 until there has been one
    "low": Column(np.float64),  # extremes of p in this attempt, and when
    "low_clock_s": Column(np.float64),
    "high": Column(np.float64),
    "high_clock_s": Column(np.float64),
    # As of the last line, or the first frame:
    "told_p": Column(np.float64),
    "told_clock_s": Column(np.float64),
    "told_leader": Column(np.int32),
    "told_contribution": Column(np.float32, (_G,)),
    "turned_clock_s": Column(np.float64),  # when the lead was last said to have passed; 0 for never
    **{f"told_{language}": Column(str) for language in LANGUAGES},  # the wordings used
    # Since then, per side: the event whose frame moved the log-odds most in that side's favour, and by how much.
    "cause_a": Column(str),
    "cause_b": Column(str),
    "cause": Column(np.float64, (2,)),
}

Rows = npt.NDArray[np.int64]


class Narrator:
    """The stage after the model.

    Args:
        templates_dir: a folder with `en.toml` and `zh.toml`; the packaged ones if None.

    Raises:
        TemplateError: a template file is missing or wrong.
    """

    name = "narrate"

    def __init__(self, templates_dir: Path | None = None) -> None:
        folder = templates_dir or TEMPLATES
        self._voices = {language: Voice.load(folder / f"{language}.toml") for language in LANGUAGES}

    def new_state(self) -> StateTable:
        """One row a match that is on."""
        return StateTable(self.name, _LAYOUT)

    def __call__(self, rows: pl.DataFrame, state: StateTable) -> pl.DataFrame:
        """One insight a row, in the same order; a match's state is dropped when the match is over."""
        keys = rows["match_id"].to_list()
        slots = state.slots(keys)
        frames = _Frames(rows)
        for now in _rounds(slots):
            self._follow(frames, now, slots[now], state)
        over = state["attempt"][slots] == _NO_MATCH
        state.touch([key for key, gone in zip(keys, over, strict=True) if not gone])
        state.delete([key for key, gone in zip(keys, over, strict=True) if gone])
        if keys:
            state.delete(state.keys_where(state["event_time_ms"] < frames.event_time_ms.max() - _IDLE_MS))
        return frames.insights()

    def _follow(self, frames: _Frames, now: Rows, at: Slots, state: StateTable) -> None:
        """Advance each of these matches by one frame. `now` (R,) rows of the batch, `at` (R,) their slots, distinct."""
        p, logit, clock_s = frames.p[now], frames.logit[now], frames.clock_s[now]
        contribution, attempt = frames.contribution[now], frames.attempt[now]
        first = (state["attempt"][at] != attempt) | (frames.frame[now] == 0)
        _open(state, at[first], attempt[first], p[first], logit[first], clock_s[first], contribution[first])

        swing = logit - state["logit"][at]
        frames.delta_p[now] = p - state["p"][at]
        frames.change[now] = contribution - state["contribution"][at]

        lead = np.where(p >= 0.5 + EVEN_BAND, 1, np.where(p <= 0.5 - EVEN_BAND, -1, 0))
        was_lead = state["leader"][at]
        passed = lead * was_lead < 0
        frames.key_moment[now] = passed | ((np.abs(swing) >= KEY_LOGIT) & (np.abs(frames.delta_p[now]) >= KEY_P))

        state["event_time_ms"][at] = frames.event_time_ms[now]
        state["p"][at], state["logit"][at], state["contribution"][at] = p, logit, contribution
        state["leader"][at] = np.where(lead == 0, was_lead, lead)
        _keep_extremes(state, at, p, clock_s)
        _keep_causes(state, at, swing, frames.gainer[now], frames.moment[now])

        told_leader = state["told_leader"][at]
        state["told_leader"][at] = np.where(told_leader == 0, lead, told_leader)  # the first leader is no news
        moved = np.abs(p - state["told_p"][at])
        news = (moved >= SPEAK_AT) | ((lead * told_leader < 0) & (moved >= EVEN_BAND))
        over = frames.over[now]
        speaks = over | (news & (clock_s - state["told_clock_s"][at] >= PAUSE_S))
        for row, slot in zip(now[speaks].tolist(), at[speaks].tolist(), strict=True):
            self._speak(frames, row, slot, state)
        state["attempt"][at[over]] = _NO_MATCH

    def _speak(self, frames: _Frames, row: int, slot: int, state: StateTable) -> None:
        beat = _beat(frames, row, slot, state)
        seed = zlib.crc32(f"{frames.text('match_id', row)}/{frames.attempt[row]}/{frames.frame[row]}".encode())
        for language, voice in self._voices.items():
            sentence, wordings = voice.say(beat, seed, state[f"told_{language}"][slot])
            frames.lines[language][row] = sentence
            state[f"told_{language}"][slot] = wordings
        p = float(frames.p[row])
        state["told_p"][slot], state["told_clock_s"][slot] = p, frames.clock_s[row]
        if leader(p) * state["told_leader"][slot] < 0:
            state["told_leader"][slot], state["turned_clock_s"][slot] = leader(p), frames.clock_s[row]
        state["told_contribution"][slot] = frames.contribution[row]
        state["cause_a"][slot] = state["cause_b"][slot] = ""
        state["cause"][slot] = 0.0


class _Frames:
    """The batch as arrays, and the columns that are filled in. N rows."""

    def __init__(self, rows: pl.DataFrame) -> None:
        n = len(rows)
        self._rows = rows
        self.attempt = rows["attempt"].to_numpy()
        self.frame = rows["frame"].to_numpy()
        self.clock_s = rows["clock_s"].to_numpy()
        self.event_time_ms = rows["event_time_ms"].dt.epoch("ms").to_numpy()
        self.p = rows["p"].to_numpy()
        self.logit = rows["logit"].to_numpy()
        self.contribution = rows.select(f"contribution_{group}" for group in GROUPS).to_numpy().astype(np.float32)
        self.over = (rows["status"] != "live").to_numpy()
        self.moment: npt.NDArray[Any] = np.array(rows["moment"].to_list(), dtype=object)
        starts = rows["moment"].str.slice(0, 2)
        self.gainer = (starts == "A:").cast(pl.Int32).to_numpy() - (starts == "B:").cast(pl.Int32).to_numpy()
        self.delta_p = np.zeros(n)
        self.change = np.zeros((n, _G), np.float32)
        self.key_moment = np.zeros(n, bool)
        self.lines: dict[str, list[str | None]] = {language: [None] * n for language in LANGUAGES}

    def text(self, column: str, row: int) -> str:
        return str(self._rows.item(row, column))

    def winner(self, row: int) -> str | None:
        value = self._rows.item(row, "winner")
        return None if value is None else str(value)

    def insights(self) -> pl.DataFrame:
        """The batch in the columns of match-insights.avsc, less what the runner adds."""
        strength = np.abs(self.change)
        quiet = strength.max(axis=1, initial=0.0) < REASON_CHANGE
        reasons = np.where(quiet[:, None], np.abs(self.contribution), strength).argmax(axis=1)
        filled = [
            pl.Series("delta_p", self.delta_p),
            *(pl.Series(f"change_{group}", self.change[:, i]) for i, group in enumerate(GROUPS)),
            pl.Series("top_reason", [GROUPS[i] for i in reasons.tolist()], pl.String),
            pl.Series("key_moment", self.key_moment),
            *(pl.Series(f"commentary_{language}", lines, pl.String) for language, lines in self.lines.items()),
        ]
        return self._rows.with_columns(filled).select(_INSIGHT)


def _per_group(prefix: str, dtype: pl.DataType) -> list[pl.Expr]:
    return [pl.col(f"{prefix}_{group}").cast(dtype) for group in GROUPS]


_TIME, _F4, _F8, _I4 = pl.Datetime("ms", "UTC"), pl.Float32(), pl.Float64(), pl.Int32()

_INSIGHT = [
    pl.col("match_id", "title"),
    pl.col("attempt", "frame").cast(_I4),
    pl.col("clock_s").cast(_F8),
    pl.col("event_time_ms").cast(_TIME),
    pl.col("_ingest_time_ms").cast(_TIME).alias("ingest_time_ms"),
    pl.col("status", "origin", "team_a", "team_b", "league", "patch"),
    pl.col("p", "logit", "delta_p").cast(_F8),
    *(column for prefix in ("contribution", "change", "score", "weight") for column in _per_group(prefix, _F4)),
    pl.col("gold", "kills", "towers").cast(_F4),
    pl.col("top_reason", "key_moment", "moment", "commentary_en", "commentary_zh", "winner", "flags"),
    pl.col("_partition").cast(_I4).alias("source_partition"),
    pl.col("_offset").cast(pl.Int64()).alias("source_offset"),
    pl.col("_schema_id").cast(_I4).alias("schema_id"),
    pl.col("model_name", "model_version", "weight_hash"),
]


def _rounds(slots: Slots) -> list[Rows]:
    """Rows of the batch such that the r-th list holds the r-th frame of every match that has so many."""
    if not len(slots):
        return []
    order = np.argsort(slots, kind="stable")
    starts = np.flatnonzero(np.diff(slots[order], prepend=slots[order[0]] - 1))
    nth = np.arange(len(slots)) - np.repeat(starts, np.diff(starts, append=len(slots)))
    by_round = order[np.argsort(nth, kind="stable")]
    return np.split(by_round, np.cumsum(np.bincount(nth))[:-1])


def _open(
    state: StateTable,
    at: Slots,
    attempt: npt.NDArray[np.int32],
    p: npt.NDArray[np.float64],
    logit: npt.NDArray[np.float64],
    clock_s: npt.NDArray[np.float64],
    contribution: npt.NDArray[np.float32],
) -> None:
    """Begin anew at these slots, with this frame as the one before."""
    state["attempt"][at] = attempt
    state["p"][at] = state["low"][at] = state["high"][at] = state["told_p"][at] = p
    state["low_clock_s"][at] = state["high_clock_s"][at] = state["told_clock_s"][at] = clock_s
    state["logit"][at] = logit
    state["contribution"][at] = state["told_contribution"][at] = contribution
    state["leader"][at] = state["told_leader"][at] = 0
    state["cause"][at] = 0.0
    state["turned_clock_s"][at] = 0.0
    for column in ("cause_a", "cause_b", *(f"told_{language}" for language in LANGUAGES)):
        state[column][at] = ""


def _keep_extremes(state: StateTable, at: Slots, p: npt.NDArray[np.float64], clock_s: npt.NDArray[np.float64]) -> None:
    lower, higher = p < state["low"][at], p > state["high"][at]
    state["low"][at[lower]], state["low_clock_s"][at[lower]] = p[lower], clock_s[lower]
    state["high"][at[higher]], state["high_clock_s"][at[higher]] = p[higher], clock_s[higher]


def _keep_causes(
    state: StateTable,
    at: Slots,
    swing: npt.NDArray[np.float64],
    gainer: npt.NDArray[np.int32],
    moment: npt.NDArray[Any],
) -> None:
    """Remember the event of this frame where its side profited, and more than from any since the last line."""
    for side, (sign, column) in enumerate(((1, "cause_a"), (-1, "cause_b"))):
        better = (gainer == sign) & (sign * swing > state["cause"][at, side])
        state[column][at[better]] = moment[better]
        state["cause"][at[better], side] = (sign * swing)[better]


def _beat(frames: _Frames, row: int, slot: int, state: StateTable) -> Beat:
    """The facts behind a line: who gained, or won, and by what."""
    p, told_p = float(frames.p[row]), float(state["told_p"][slot])
    over = bool(frames.over[row])
    winner = frames.winner(row)
    side = int(winner == "B" if over else p < told_p)
    low, low_clock_s = (
        float(state["high" if side else "low"][slot]),
        float(state["high_clock_s" if side else "low_clock_s"][slot]),
    )
    contribution = (1 - 2 * side) * frames.contribution[row]
    feature, nth = "", 0
    if frames.text("status", row) == "void":
        kind, gains = "void", None
    elif over:
        kind = ending(_as_side(side, p), _as_side(side, low)) if winner else "final_unknown"
        gains = contribution if winner else None
    else:
        leads_newly = leader(p) * int(state["told_leader"][slot]) < 0
        behind = low if low_clock_s >= state["turned_clock_s"][slot] else told_p  # a comeback is one only once
        kind = situation(_as_side(side, told_p), _as_side(side, p), _as_side(side, behind), leads_newly)
        gains = contribution - (1 - 2 * side) * state["told_contribution"][slot]
        moment = state["cause_b" if side else "cause_a"][slot]
        if moment and state["cause"][slot, side] >= CAUSE_PART * gains.clip(min=0.0).sum():
            feature, nth = parse_moment(moment)
    group, part = ("", 0.0) if gains is None else leading_group(gains)
    return Beat(
        situation=kind,
        title=frames.text("title", row),
        teams=(frames.text("team_a", row), frames.text("team_b", row)),
        side=side,
        clock_s=float(frames.clock_s[row]),
        percent=_percent(side, p),
        was=_percent(side, told_p),
        since_s=float(state["told_clock_s"][slot]),
        low=_percent(side, low),
        low_clock_s=low_clock_s,
        feature=feature,
        nth=nth,
        group=group,
        part=part,
    )


def _as_side(side: int, p: float) -> float:
    """A's probability as this side sees it."""
    return 1.0 - p if side else p


def _percent(side: int, p: float) -> int:
    """A's probability in whole per cent for this side. The two sides' add up to 100, and neither is ever 0."""
    of_a = min(max(round(100 * p), 1), 99)
    return 100 - of_a if side else of_a
