"""Scored match frames → insights: what changed, why, and a sentence when there is something to say.

In:  rows of `WinModel`: match frames with logit, p, score_*, weight_*, contribution_* and model_*.
Out: the same rows, one for one, as match-insights.avsc has them, less emit_time_ms and source_topic.

A match is on the record from its first frame, which is silent. After it a line comes when, since the last line,

- the probability has moved by `SPEAK_AT`, or the lead has passed to the other side,
- or a key moment moved it by `KEY_P` at least,
- or, after a silence of `LONG_PAUSE_S`, a side gained something major and a little probability with it,
- or the flag `degraded` came or went,

no sooner than `PAUSE_S` of game clock after the last line, and always at the end. A reason that the last line gave, if
that was less than `SAME_REASON_S` ago, is not given again.

All of it follows from the rows of the match alone (`streaming.features.threads`), however batches are cut.
"""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from streaming.features.catalogue import FORM, GROUPS, title_spec
from streaming.features.guard import DEGRADED
from streaming.features.match_fold import MOMENTS
from streaming.features.threads import THREAD_LAYOUT, Threads
from streaming.insights.commentary import (
    EVEN_BAND,
    Beat,
    Event,
    Turn,
    Voice,
    ending,
    explain,
    leader,
    situation,
)
from streaming.insights.gained import Gained, Leads, parse_event
from streaming.insights.wording import LANGUAGES, PACKAGED, load_wording
from streaming.state import Column, Slots, StateTable

SPEAK_AT = 0.08
"""Change of probability since the last line that is worth a new one (TSSTN dossier §10)."""

PAUSE_S = 20.0
"""Game clock between two lines, at least."""

KEY_LOGIT, KEY_P = 0.35, 0.05
"""A key moment moves the log-odds and the probability by this much in one frame, or the lead passes."""

LONG_PAUSE_S, STIR = 120.0, 0.02
"""After such a silence a major gain with this change of probability is worth a line."""

SAME_REASON_S = 120.0
"""Game clock within which the reason of the last line is not said again."""

FRESH_S = 120.0
"""What was gained longer ago than this is named no more: nobody remembers which tower is meant."""

CAUSE_PART = 0.25
"""An event is named where its frame brought this part of what went the side's way, and as the cause where its own
group did so."""

REASON_CHANGE = 0.05
"""Changes of contributions below this are no reason; then the largest contribution is."""

FROM_START_S = 60.0
"""A match whose first frame is no later than this was followed from its start."""

FEW_GROUPS, FEW_AFTER_S = 0.5, 600.0
"""A feed that after this long fills a smaller part of its title's groups than this lets the model see little."""

_G, _S = len(GROUPS), len(MOMENTS)

_LAYOUT = {
    **THREAD_LAYOUT,
    "p": Column(np.float64),
    "logit": Column(np.float64),
    "contribution": Column(np.float32, (_G,)),
    "degraded": Column(np.bool_, default=False),
    "leader": Column(np.int32),  # +1, -1; 0 until there has been one
    "low": Column(np.float64),  # extremes of p in this attempt, and when
    "low_clock_s": Column(np.float64),
    "high": Column(np.float64),
    "high_clock_s": Column(np.float64),
    "from_start": Column(np.bool_, default=False),
    "lead": Column(np.float32, (_S,)),  # of what can be gained, in MOMENTS order
    "gained": Column(np.int32, (2, _S)),  # in all, by camp
    # The largest change of p in one frame to each camp, and what it gained in it:
    "turn": Column(np.float64, (2,)),
    "turn_points": Column(np.int32, (2,)),  # the same in whole per cent, as lines and pages say it
    "turn_clock_s": Column(np.float64, (2,)),
    "turn_a": Column(str),
    "turn_b": Column(str),
    # As of the last line, or the first frame:
    "told_p": Column(np.float64),
    "told_clock_s": Column(np.float64),
    "told_leader": Column(np.int32),
    "told_contribution": Column(np.float32, (_G,)),
    "told_degraded": Column(np.bool_, default=False),
    "told_few": Column(np.bool_, default=False),  # whether it was ever said that the feed fills few groups
    "told_reason": Column(str),
    "told_reason_s": Column(np.float64),
    "turned_clock_s": Column(np.float64),  # when the lead was last said to have passed; 0 for never
    **{f"told_{language}": Column(str) for language in LANGUAGES},  # the wordings used of late
    # Since then: whether there was a key moment, and per camp the last major gain, and the gain whose own group moved
    # the log-odds most, by how much, and what the frame of it moved in all.
    "key_moment": Column(np.bool_, default=False),
    "major_a": Column(str),
    "major_b": Column(str),
    "cause_a": Column(str),
    "cause_b": Column(str),
    "cause": Column(np.float64, (2,)),
    "cause_swing": Column(np.float64, (2,)),
    "major_clock_s": Column(np.float64, (2,)),
    "cause_clock_s": Column(np.float64, (2,)),
}
_AT_FIRST = [name for name in _LAYOUT if name not in THREAD_LAYOUT]

Rows = npt.NDArray[np.int64]


class Narrator:
    """The stage after the model.

    Args:
        wording: a file such as the packaged `wording.toml`, which it is if None.

    Raises:
        TemplateError: the file is missing or wrong.
    """

    name = "narrate"

    def __init__(self, wording: Path | None = None) -> None:
        self._voices = {language: Voice(words) for language, words in load_wording(wording or PACKAGED).items()}

    def new_state(self) -> StateTable:
        """One row a match that is on."""
        return StateTable(self.name, _LAYOUT, partitioned=True)

    def __call__(self, rows: pl.DataFrame, state: StateTable) -> pl.DataFrame:
        """One insight a row, in the same order; a match's state is dropped when the match is over or silent."""
        frames = _Frames(rows)
        if rows.is_empty():
            return frames.insights()
        threads = Threads.of(rows, state)
        slots = state.slots(threads.ids)
        for now in _rounds(threads):
            self._follow(frames, now, threads.begins[now], slots[threads.match[now]], state)
        threads.remember(state)
        return frames.insights()

    def _follow(self, frames: _Frames, now: Rows, begins: npt.NDArray[np.bool_], at: Slots, state: StateTable) -> None:
        """Advance each of these matches by one frame. `now` (R,) rows of the batch, `begins` (R,) whether they are
        the first, `at` (R,) their slots, distinct."""
        p, logit, clock_s = frames.p[now], frames.logit[now], frames.clock_s[now]
        contribution, degraded = frames.contribution[now], frames.degraded[now]
        _open(state, frames, now[begins], at[begins])

        swing = logit - state["logit"][at]
        delta_p = frames.delta_p[now] = p - state["p"][at]
        change = frames.change[now] = contribution - state["contribution"][at]
        same_model = state["degraded"][at] == degraded  # else the change is none of the match

        lead = _leaders(p)
        was_lead = state["leader"][at]
        key = (lead * was_lead < 0) | ((np.abs(swing) >= KEY_LOGIT) & (np.abs(delta_p) >= KEY_P))
        frames.key_moment[now] = key & same_model
        state["key_moment"][at] |= key & same_model
        state["p"][at], state["logit"][at], state["contribution"][at] = p, logit, contribution
        state["degraded"][at] = degraded
        state["leader"][at] = np.where(lead == 0, was_lead, lead)
        _keep_extremes(state, at, p, clock_s)

        gained = self._count(frames, now, at, change, state)
        _forget_causes(state, at, clock_s)
        _keep_causes(state, at[same_model], gained.where(same_model), swing[same_model], clock_s[same_model])
        _keep_turns(
            state,
            at[same_model],
            gained.where(same_model),
            p[same_model],
            delta_p[same_model],
            clock_s[same_model],
        )

        told_leader = state["told_leader"][at]
        state["told_leader"][at] = np.where(told_leader == 0, lead, told_leader)  # the first leader is no news
        news = self._is_news(p, lead, degraded, at, clock_s, state)
        speaks = frames.over[now] | (news & (clock_s - state["told_clock_s"][at] >= PAUSE_S))
        for row, slot in zip(now[speaks].tolist(), at[speaks].tolist(), strict=True):
            self._speak(frames, row, slot, state)

    @staticmethod
    def _count(frames: _Frames, now: Rows, at: Slots, change: npt.NDArray[np.float32], state: StateTable) -> Gained:
        """Note what each camp gained in these frames."""
        from_start = state["from_start"][at]
        gained = frames.leads.gained(now, state["lead"][at], from_start)
        state["gained"][at] += gained
        state["lead"][at] = frames.leads.lead[now]
        return Gained.of(frames.leads.title[now], gained, state["gained"][at], change, from_start)

    @staticmethod
    def _is_news(
        p: npt.NDArray[np.float64],
        lead: npt.NDArray[np.int64],
        degraded: npt.NDArray[np.bool_],
        at: Slots,
        clock_s: npt.NDArray[np.float64],
        state: StateTable,
    ) -> npt.NDArray[np.bool_]:
        """Which of these matches have something new to say, (R,)."""
        since = p - state["told_p"][at]
        moved, to_side = np.abs(since), (since < 0).astype(np.int64)
        flips = (lead * state["told_leader"][at] < 0) & (moved >= EVEN_BAND / 100)
        key = state["key_moment"][at] & (moved >= KEY_P)
        major = np.where(to_side, state["major_b"][at], state["major_a"][at]) != ""
        major &= (moved >= STIR) & (clock_s - state["told_clock_s"][at] >= LONG_PAUSE_S)
        switched = degraded != state["told_degraded"][at]
        news: npt.NDArray[np.bool_] = (moved >= SPEAK_AT) | flips | key | major | switched
        return news

    def _speak(self, frames: _Frames, row: int, slot: int, state: StateTable) -> None:
        beat = _beat(frames, row, slot, state)
        reason = explain(beat)
        clock_s = frames.clock_s[row]
        if reason and reason.mark == state["told_reason"][slot] and not frames.over[row]:
            reason = reason if clock_s - state["told_reason_s"][slot] >= SAME_REASON_S else None
        seed = zlib.crc32(f"{frames.text('match_id', row)}/{frames.attempt[row]}/{frames.frame[row]}".encode())
        for language, voice in self._voices.items():
            line, wordings = voice.say(beat, reason, seed, state[f"told_{language}"][slot])
            frames.lines[language][row] = line
            state[f"told_{language}"][slot] = wordings
        if reason:
            state["told_reason"][slot], state["told_reason_s"][slot] = reason.mark, clock_s
            state["told_few"][slot] |= reason.kind == "thin"
        p = float(frames.p[row])
        state["told_p"][slot], state["told_clock_s"][slot] = p, clock_s
        state["told_degraded"][slot] = frames.degraded[row]
        lead = leader(_percent(0, p))
        if lead * state["told_leader"][slot] < 0:
            state["told_leader"][slot], state["turned_clock_s"][slot] = lead, clock_s
        state["told_contribution"][slot] = frames.contribution[row]
        _clear_causes(state, np.array([slot]))


class _Frames:
    """The batch as arrays, and the columns that are filled in. N rows."""

    def __init__(self, rows: pl.DataFrame) -> None:
        n = len(rows)
        self._rows = rows
        self.attempt = rows["attempt"].to_numpy()
        self.frame = rows["frame"].to_numpy()
        self.clock_s = rows["clock_s"].to_numpy()
        self.p = rows["p"].to_numpy()
        self.logit = rows["logit"].to_numpy()
        self.contribution = rows[[f"contribution_{group}" for group in GROUPS]].to_numpy().astype(np.float32)
        self.over = (rows["status"] != "live").to_numpy()
        self.degraded = np.array([DEGRADED in flags.split() for flags in rows["flags"].to_list()], dtype=bool)
        self.leads = Leads.of(rows)
        self.delta_p = np.zeros(n)
        self.change = np.zeros((n, _G), np.float32)
        self.key_moment = np.zeros(n, bool)
        self.lines: dict[str, list[str | None]] = {language: [None] * n for language in LANGUAGES}

    def text(self, column: str, row: int) -> str:
        return str(self._rows.item(row, column))

    def winner(self, row: int) -> str | None:
        value = self._rows.item(row, "winner")
        return None if value is None else str(value)

    def few_groups(self, row: int) -> tuple[str, ...] | None:
        """The groups of which this frame says anything, if they are few; form, which no feed fills, does not count.
        Early in a match it is normal that nothing was gained yet."""
        if self.clock_s[row] < FEW_AFTER_S:
            return None
        values = self._rows.row(row, named=True)
        groups = {group: names for group, names in title_spec(values["title"]).groups.items() if group != FORM}
        known = tuple(group for group, names in groups.items() if not all(np.isnan(values[name]) for name in names))
        return known if known and len(known) < FEW_GROUPS * len(groups) else None

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


def _rounds(threads: Threads) -> list[Rows]:
    """Rows of the batch such that the r-th list holds the r-th frame of every match that has so many."""
    counts = np.diff(threads.heads, append=len(threads.order))
    nth = np.arange(len(threads.order)) - np.repeat(threads.heads, counts)
    by_round = threads.order[np.argsort(nth, kind="stable")]
    return np.split(by_round, np.cumsum(np.bincount(nth))[:-1])


def _open(state: StateTable, frames: _Frames, now: Rows, at: Slots) -> None:
    """Begin anew at these slots, with this frame as the one before."""
    for name in _AT_FIRST:
        state[name][at] = _LAYOUT[name].empty(1)[0]
    p, clock_s = frames.p[now], frames.clock_s[now]
    for name in ("p", "low", "high", "told_p"):
        state[name][at] = p
    for name in ("low_clock_s", "high_clock_s", "told_clock_s"):
        state[name][at] = clock_s
    for name in ("contribution", "told_contribution"):
        state[name][at] = frames.contribution[now]
    state["logit"][at] = frames.logit[now]
    state["degraded"][at] = frames.degraded[now]
    state["from_start"][at] = clock_s <= FROM_START_S
    state["lead"][at] = np.where(state["from_start"][at][:, None], np.float32(0), frames.leads.lead[now])


def _leaders(p: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """`leader` of each, of the probabilities as they are said."""
    percent = np.rint(100 * p)
    leads: npt.NDArray[np.int64] = (percent >= 50 + EVEN_BAND).astype(int) - (percent <= 50 - EVEN_BAND).astype(int)
    return leads


def _keep_extremes(state: StateTable, at: Slots, p: npt.NDArray[np.float64], clock_s: npt.NDArray[np.float64]) -> None:
    lower, higher = p < state["low"][at], p > state["high"][at]
    state["low"][at[lower]], state["low_clock_s"][at[lower]] = p[lower], clock_s[lower]
    state["high"][at[higher]], state["high_clock_s"][at[higher]] = p[higher], clock_s[higher]


def _forget_causes(state: StateTable, at: Slots, clock_s: npt.NDArray[np.float64]) -> None:
    """Let go of gains that are no longer fresh."""
    for side, camp in enumerate("ab"):
        stale = at[clock_s - state["major_clock_s"][at, side] > FRESH_S]
        state[f"major_{camp}"][stale] = ""
        stale = at[clock_s - state["cause_clock_s"][at, side] > FRESH_S]
        state[f"cause_{camp}"][stale] = ""
        state["cause"][stale, side] = state["cause_swing"][stale, side] = 0.0


def _keep_causes(
    state: StateTable,
    at: Slots,
    gained: Gained,
    swing: npt.NDArray[np.float64],
    clock_s: npt.NDArray[np.float64],
) -> None:
    """Remember per camp the gain whose own group moved the log-odds most since the last line."""
    for side, (sign, column, major_column) in enumerate(((1, "cause_a", "major_a"), (-1, "cause_b", "major_b"))):
        texts, majors = np.array(gained.texts(side), object), np.array(gained.major_texts(side), object)
        major = majors != ""
        state[major_column][at[major]] = majors[major]
        state["major_clock_s"][at[major], side] = clock_s[major]
        better = gained.worth[:, side] > state["cause"][at, side]
        state[column][at[better]] = texts[better]
        state["cause"][at[better], side] = gained.worth[better, side]
        state["cause_swing"][at[better], side] = (sign * swing)[better]
        state["cause_clock_s"][at[better], side] = clock_s[better]


def _keep_turns(
    state: StateTable,
    at: Slots,
    gained: Gained,
    p: npt.NDArray[np.float64],
    delta_p: npt.NDArray[np.float64],
    clock_s: npt.NDArray[np.float64],
) -> None:
    """Remember per camp the frame that brought it most probability."""
    points = np.rint(100 * p) - np.rint(100 * (p - delta_p))
    for side, (sign, column) in enumerate(((1, "turn_a"), (-1, "turn_b"))):
        texts = np.array(gained.texts(side), dtype=object)
        better = sign * delta_p > state["turn"][at, side]
        state[column][at[better]] = texts[better]
        state["turn"][at[better], side] = (sign * delta_p)[better]
        state["turn_points"][at[better], side] = (sign * points)[better]
        state["turn_clock_s"][at[better], side] = clock_s[better]


def _clear_causes(state: StateTable, at: Slots) -> None:
    for name in ("key_moment", "major_a", "major_b", "cause_a", "cause_b", "cause", "cause_swing"):  # not their clocks
        state[name][at] = _LAYOUT[name].empty(1)[0]


def _beat(frames: _Frames, row: int, slot: int, state: StateTable) -> Beat:
    """The facts behind a line: who gained, leads or won, and by what."""
    p, told_p = float(frames.p[row]), float(state["told_p"][slot])
    over, winner = bool(frames.over[row]), frames.winner(row)
    switched = not over and bool(frames.degraded[row] != state["told_degraded"][slot])
    side = int(winner == "B" if over else p < 0.5 if switched else p < told_p)
    sign = 1 - 2 * side
    percent, was = _percent(side, p), _percent(side, told_p)
    low, low_clock_s = (
        _percent(side, float(state["high" if side else "low"][slot])),
        float(state["high_clock_s" if side else "low_clock_s"][slot]),
    )
    stands = sign * frames.contribution[row].astype(np.float64)
    gains = stands - sign * state["told_contribution"][slot].astype(np.float64)
    event, turn = None, None
    if over:
        kind = "void" if frames.text("status", row) == "void" else ending(percent, low) if winner else "final_unknown"
        turn = _turn(side, slot, state) if winner else None
    elif switched:
        kind = "degraded" if frames.degraded[row] else "restored"
    else:
        leads_newly = leader(percent) * sign * int(state["told_leader"][slot]) < 0
        behind = low if low_clock_s >= state["turned_clock_s"][slot] else was  # a comeback is one only once
        kind = situation(was, percent, behind, float(frames.clock_s[row]) - low_clock_s, leads_newly)
        event = _event(side, slot, state, float(gains.clip(min=0.0).sum()))
    return Beat(
        situation=kind,
        title=frames.text("title", row),
        teams=(frames.text("team_a", row), frames.text("team_b", row)),
        side=side,
        clock_s=float(frames.clock_s[row]),
        percent=percent,
        was=was,
        since_s=float(state["told_clock_s"][slot]),
        low=low,
        low_clock_s=low_clock_s,
        event=event,
        gains=tuple(gains.tolist()),
        stands=tuple(stands.tolist()),
        few=frames.few_groups(row),
        few_said=bool(state["told_few"][slot]),
        turn=turn,
    )


def _event(side: int, slot: int, state: StateTable, gains: float) -> Event | None:
    """What to name of what the side gained since the last line: the cause, else something major, else what came with
    a good part of the change."""
    cause, major = (state[f"{name}_{'b' if side else 'a'}"][slot] for name in ("cause", "major"))
    if state["cause"][slot, side] >= CAUSE_PART * gains:
        return parse_event(cause)
    came_with_it = bool(state["cause_swing"][slot, side] >= CAUSE_PART * gains)
    return parse_event(major or (cause if came_with_it else ""), is_cause=False)


def _turn(side: int, slot: int, state: StateTable) -> Turn | None:
    """The winner's best frame, if it stands out."""
    change = float(state["turn"][slot, side])
    if change < SPEAK_AT:
        return None
    event = parse_event(state["turn_b" if side else "turn_a"][slot])
    return Turn(float(state["turn_clock_s"][slot, side]), int(state["turn_points"][slot, side]), event)


def _percent(side: int, p: float) -> int:
    """A's probability in whole per cent for this side. The two sides' add up to 100."""
    of_a = round(100 * p)
    return 100 - of_a if side else of_a
