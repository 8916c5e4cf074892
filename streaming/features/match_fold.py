"""Events of live matches folded into match frames: the keyed stage before the model.

    event frames (streaming.features.match, validated) ─► MatchFold ─► match frames, in the order of their source rows

A frame is made when a match's clock enters a slot of its title's grid (30 s) above every slot so far, by the row that
enters it and with that row's values; and at `end` and `remake`, always. Everything known so far of the match is in it:

- **levels** (gold, xp, …): the value with the latest game clock holds, of equal clocks the later row. An older one is
  dropped and flagged `late`.
- **counts** (kills, towers, dragons, …): score events add up, A minus B, in whatever order they come: late ones count.
  A match whose feed states totals of kills or towers has them from the totals, and its score events of that subject
  serve only as `moment`. Totals never fall: the higher one stays, flagged `kills-fell` or `towers-fell`.
  All of a title's counts are missing until the match has had its first score event or total, and start from 0 then;
  hero classes likewise with the first score of a hero class. A feed that has only gold thus never claims 0 kills.
- **form**: from the ratings as of the match's start (`streaming.features.form`); missing without a start or team names.
- **heroes**: as the match's start names them; empty without one.
- **moment**: of the score events since the match's last frame, the weightiest subject that did not cancel out, with
  the camp that gained it, such as "A:dragons".
- **flags**: what was wrong since the match's last frame: `negative-clock` (taken for 0), `late`, `kills-fell`,
  `towers-fell`.

What a feed may do to us, and what then happens:

- The same (match, sequence) again: dropped. A window of 64 sequence numbers below the highest is remembered; a row
  below it is dropped as late.
- A `start` newer (event time) than all of the match so far, once it has started, played or ended: a restart. The
  attempt counts up, everything else begins anew, and rows older than that start are dropped as late. Any other start
  gives names and form if the match had none (joined in mid-match), else it is a repeat.
- `remake`: a frame with status void, ratings untouched. `end`: a frame with status ended and the winner; ratings move,
  a settling time later.
  After either, rows that are not a restart make no more frames; they count as late.
- A match that never ends: it is forgotten when its partition's event time has advanced by `idle_s` since it last spoke
  (`closed_s` once it has ended). If it speaks again then, it starts as a match never seen. Time advances with the
  watermark, the newest event time that two rows running have reached, and by 10 minutes at most at once: neither a
  single row from the future nor a replay of old matches beside live ones makes us forget what is on air.

All of this is a function of the sequence of rows alone: however they are cut into batches, frames and state come out
the same, byte for byte. Frames also do not depend on how partitions are interleaved, under the condition that
`streaming.features.settling` states. Rows of one match must share a partition, as they do on a topic keyed by match id;
clocks are taken to the millisecond; rows must have passed `match.validate`. The sum of the state column `late_total` is
the number of late rows so far, that of `repeated_total` the number of repeats, that of `results_late_total` the number
of results that came too late to settle.

Work is done on whole batches in numpy: `streaming.features.match_lives` says which rows count and for which life of
their match (the stretch between restarts), this file what they add up to. Only starts and ends are looked at one by
one.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from streaming.features.catalogue import COUNTS, FEATURES, LEVELS, title_spec, titles
from streaming.features.form import Elo, rating_key
from streaming.features.match import HEROES, SIDES, TEXTS, validate
from streaming.features.match_lives import (
    CLOCK_BITS,
    COUNTS_NAMED,
    END,
    ENDED,
    FLAG_COLUMN,
    FLAGS,
    HEROES_NAMED,
    LAYOUT,
    LIVE,
    SCORE,
    TALLY,
    UNSEEN,
    Accepted,
    Batch,
    Floats,
    Lives,
    accept,
    divide,
    partition_key,
)  # fmt: skip
from streaming.features.runs import Bools, Ints
from streaming.features.settling import RESULTS_LATE, SETTLE_S, settle_ms
from streaming.features.standings import Result, Standings
from streaming.pipeline import Facts
from streaming.state import StateTable

Texts = npt.NDArray[np.object_]

FOLD_CHUNK_ROWS = 20_000

IDLE_S = 3 * 3600.0
"""How far a partition's event time moves on before a match that is silent in it is forgotten, by default."""

HERO_CLASSES = ("tank", "warrior", "assassin", "mage", "marksman", "support")
MOMENTS = ("barons", "roshans", "inhibitors", "dragons", "heralds", "towers", "inner_towers", "teamfights", "kills")
"""Subjects worth a moment, weightiest first."""

FRAME_SCHEMA = pl.Schema(
    {
        "match_id": pl.String(),
        "title": pl.String(),
        "attempt": pl.Int32(),
        "frame": pl.Int32(),
        "clock_s": pl.Float64(),
        "event_time_ms": pl.Datetime("ms", "UTC"),
        "status": pl.String(),
        "origin": pl.String(),
        "team_a": pl.String(),
        "team_b": pl.String(),
        "league": pl.String(),
        "patch": pl.String(),
        **dict.fromkeys(HEROES, pl.List(pl.String)),
        **dict.fromkeys(FEATURES, pl.Float32()),
        "moment": pl.String(),
        "winner": pl.String(),
        "flags": pl.String(),
        "_partition": pl.Int32(),
        "_offset": pl.Int64(),
        "_ingest_time_ms": pl.Int64(),
        "_schema_id": pl.Int32(),
        "_elapsed_ms": pl.Int64(),
        "_time_ms": pl.Int64(),
        "_horizon_ms": pl.Int64(),
    }
)
"""Columns of a match frame, in order. Features are A minus B in the units of the events; NaN is missing.

`heroes_a` and `heroes_b` are what the match's start says, empty where unknown. `_elapsed_ms` is how far event time has
come in the frame's partition (`match_lives.PartitionTime`): the clock by which later stages forget silent matches.
`_time_ms` is when the frame's row happened and `_horizon_ms` how far the fastest partition was then: by these results
settle (`streaming.features.settling`).
"""

_NO_FRAMES = FRAME_SCHEMA.to_frame()
_TITLE = titles()
_TITLE_HAS = np.array([[subject in title_spec(title).features for subject in COUNTS] for title in titles()])
_IS_HERO = np.array([subject in HERO_CLASSES for subject in COUNTS])
_TOTALLED = [COUNTS.index("kills"), COUNTS.index("towers")]
_MOMENT = [COUNTS.index(subject) for subject in MOMENTS]
_FLAG = slice(FLAG_COLUMN[FLAGS[0]], TALLY)
_FLAG_BIT = 1 << np.arange(len(FLAGS))
_SAID = {
    "title": pl.Series(_TITLE),
    "status": pl.Series(["", "live", "ended", "void"]),
    "moment": pl.Series(["", *(f"{side}:{subject}" for subject in MOMENTS for side in SIDES)]),
    "winner": pl.Series([*SIDES, None]),
    "flags": pl.Series(
        [
            " ".join(flag for bit, flag in zip(_FLAG_BIT, FLAGS, strict=True) if bits & bit)
            for bits in range(1 << len(FLAGS))
        ]
    ),
}
"""What the numbers in these columns mean."""

_GOLD = LEVELS.index("gold")
_NAMES = (*TEXTS, *HEROES)
_HERO = pl.element().str.replace_all(r"\s+", " ").str.strip_chars()
_TOLD = [
    pl.col(TEXTS).fill_null(""),
    pl.col(HEROES).list.eval(_HERO.filter(_HERO != "")).list.join("\n").fill_null(""),
]
_TAKEN = ["match_id", "event_time_ms", "_partition", "_offset", "_ingest_time_ms", "_schema_id"]
"""Columns of a frame that its row has already."""
_NEVER = np.iinfo(np.int64).max

_log = logging.getLogger(__name__)


class Ratings(Protocol):
    """Who knows form: `Standings`, or `deferred_form.FormLedger` where partitions are folded apart."""

    def form(self, team_a: str, team_b: str, time_ms: int) -> float:
        """Form of A over B as of a time; the arguments are rating keys."""

    def record(self, result: Result, horizon_ms: int) -> int:
        """Take a result in; how many joined the base before their time."""


class MatchFold:
    """The stage; the module's words say what it makes of which event.

    Args:
        form: how teams are rated.
        idle_s: how far the partition's event time moves on before a silent match is forgotten.
        closed_s: the same for a match that has ended or was remade.
        settle_s: event time from a result to its effect on form.
        ratings: asked and told in place of the state's own; then `form` of the frames is what it answers.
    """

    def __init__(
        self,
        form: Elo | None = None,
        idle_s: float = IDLE_S,
        closed_s: float = 600.0,
        settle_s: float = SETTLE_S,
        ratings: Ratings | None = None,
    ) -> None:
        self._form = form or Elo()
        self._ratings = ratings
        self._idle_ms = round(idle_s * 1000)
        self._closed_ms = round(closed_s * 1000)
        self._settle_ms = settle_ms(settle_s)

    @property
    def name(self) -> str:
        """Part of the changelog key."""
        return "fold"

    def new_state(self) -> StateTable:
        """An empty table: matches by id, watermarks by partition, ratings by team, results that wait."""
        return StateTable(self.name, LAYOUT)

    def __call__(self, rows: pl.DataFrame, state: StateTable) -> pl.DataFrame:
        """Event rows in, with the runner's columns; frames of `FRAME_SCHEMA` out, in the order of their rows."""
        if rows.is_empty():
            return _NO_FRAMES
        batch = Batch.of(rows, state)
        cuts = self._cuts(batch, state)
        if not cuts:
            return self._fold(batch, state)
        parts = [rows.slice(first, end - first) for first, end in pairwise([0, *cuts, rows.height]) if end > first]
        return pl.concat([self._fold(Batch.of(part, state), state) for part in parts])

    def facts(self, state: StateTable) -> Facts:
        """Late rows, repeats and late results, of all partitions and since the state began."""
        # Only partitions have other than 0 there, and partitions are never forgotten: free slots add nothing.
        names = ("late", "repeated", RESULTS_LATE)
        return Facts({name: int(state[f"{name.replace('-', '_')}_total"].sum()) for name in names})

    def _cuts(self, batch: Batch, state: StateTable) -> list[int]:
        """Rows before which a match may have to be forgotten. As a batch may be cut anywhere, cutting it there is all
        it takes: matches are forgotten at the end of each part."""
        matches, slots = batch.matches, state.slots(batch.ids)
        phase = state["phase"][slots]
        spoke_ms = np.roll(batch.elapsed_ms, 1)
        spoke_ms[matches.first] = np.where(phase == UNSEEN, _NEVER, state["elapsed_ms"][slots])
        may_be_closed = phase > LIVE
        may_be_closed[matches.group[batch.kind >= END]] = True
        limit_ms = np.where(may_be_closed, self._closed_ms, self._idle_ms)[matches.group]
        silent = batch.elapsed_before_ms - limit_ms > spoke_ms
        return sorted(batch.source[silent].tolist())

    def _fold(self, batch: Batch, state: StateTable) -> pl.DataFrame:
        slots = state.slots(batch.ids)
        accepted = accept(batch, state, slots)
        lives = divide(batch, accepted, state, slots)
        gauges = _gauge(batch, lives)
        tally = _tally(batch, lives, gauges)
        names = self._open_and_rate(batch, lives, gauges, state)
        frames = _Frames.of(lives, tally)
        _remember(batch, accepted, lives, gauges, tally, names, frames, state)
        self._forget(batch, state)
        return _table(batch, lives, gauges, names, frames)

    def _open_and_rate(self, batch: Batch, lives: Lives, gauges: _Gauges, state: StateTable) -> _Names:
        """Look at starts and ends one by one, in the order of the stream: ratings go from match to match."""
        names = _Names.of(batch, lives)
        group = lives.runs.group
        marked = np.flatnonzero(lives.opens | (lives.closes & (batch.kind == END)))
        if not len(marked):
            return names
        standings = self._ratings or Standings(state, self._form, self._settle_ms)
        for row in marked[np.argsort(batch.source[marked])].tolist():
            life, time_ms, horizon_ms = group[row], int(batch.time_ms[row]), int(batch.horizon_ms[row])
            is_result = batch.kind[row] == END
            untimely = int(is_result and horizon_ms - time_ms >= self._settle_ms)
            league, *teams = (names.at(lives, name, life, row) for name in ("league", "team_a", "team_b"))
            if all(teams):
                team_a, team_b = (rating_key(_TITLE[batch.title[row]], league, team) for team in teams)
                if is_result:
                    match_id, attempt = batch.ids[lives.match[life]], int(lives.attempt[life])
                    gold_lead = float(gauges.level[lives.runs.row[row], _GOLD])
                    result = Result(time_ms, match_id, attempt, team_a, team_b, bool(batch.side[row] == 0), gold_lead)
                    untimely += standings.record(result, horizon_ms)
                else:
                    names.form[life] = standings.form(team_a, team_b, time_ms)
            if untimely:
                state["results_late_total"][state.slots([partition_key(batch.partition[row])])] += untimely
        return names

    def _forget(self, batch: Batch, state: StateTable) -> None:
        """Delete matches that have been silent for too long, in the partitions of this batch."""
        phase, spoke_ms, partition = state["phase"], state["elapsed_ms"], state["partition"]
        limit_ms = np.where(phase > LIVE, self._closed_ms, self._idle_ms)
        gone = np.zeros(len(phase), dtype=bool)
        for number, time in batch.left.items():
            gone |= (phase != UNSEEN) & (partition == number) & (time.elapsed_ms - spoke_ms > limit_ms)
        if gone.any():
            keys = state.keys()
            state.delete([key for key, is_gone in zip(keys, gone[state.slots(keys)].tolist(), strict=True) if is_gone])
            phase[gone] = UNSEEN  # else a free slot would look like a silent match, again and again


@dataclass(frozen=True, slots=True)
class _Gauges:
    """Levels and totals at every place (rows and heads of lives), and what was wrong with them."""

    stated_ms: Ints  # (N + L, 11) game clock of the levels and pairs of totals
    level: Floats  # (N + L, 9)
    total: Ints  # (N + L, 4)
    late: Bools  # (N,) the row states something older than what is known
    fell: Bools  # (N, 2) a total of kills, of towers
    has_total: Bools  # (N,)


def _gauge(batch: Batch, lives: Lives) -> _Gauges:
    runs, begin = lives.runs, lives.begin
    before = runs.row - 1
    has_total = batch.totals >= 0
    pairs = has_total[:, 0::2] | has_total[:, 1::2]
    stated = lives.ok[:, None] & np.hstack([~np.isnan(batch.levels), pairs])
    times = np.where(stated, lives.clock_ms[:, None], -1)
    stated_ms = runs.running_max(begin["stated_ms"], times, CLOCK_BITS)
    older = stated & (times < stated_ms[before])
    newest = stated & ~older
    held = runs.latest(newest[:, : len(LEVELS)])
    total = runs.running_max(begin["total"], np.where(lives.ok[:, None], batch.totals, -1), CLOCK_BITS)
    fell = has_total & (batch.totals < total[before])
    return _Gauges(
        stated_ms=stated_ms,
        level=np.take_along_axis(runs.place(begin["level"], batch.levels), held, axis=0),
        total=total,
        late=older.any(axis=1),
        fell=(fell[:, 0::2] | fell[:, 1::2]) & newest[:, len(LEVELS) :],
        has_total=lives.ok & pairs.any(axis=1),
    )


def _tally(batch: Batch, lives: Lives, gauges: _Gauges) -> Ints:
    """What each life adds up so far, (N + L, TALLY)."""
    rows = np.zeros((len(batch.source), TALLY), dtype=np.int64)
    scores = np.flatnonzero(lives.ok & (batch.kind == SCORE))
    subject = batch.subject[scores]
    rows[scores, subject] = batch.count[scores] * (1 - 2 * batch.side[scores])
    rows[gauges.has_total, COUNTS_NAMED] = 1
    rows[scores, np.where(_IS_HERO[subject], HEROES_NAMED, COUNTS_NAMED)] = 1
    rows[:, FLAG_COLUMN["negative-clock"]] = lives.ok & (batch.clock_ms < 0)
    rows[:, FLAG_COLUMN["late"]] = lives.late | gauges.late
    rows[:, FLAG_COLUMN["kills-fell"]] = gauges.fell[:, 0]
    rows[:, FLAG_COLUMN["towers-fell"]] = gauges.fell[:, 1]
    runs = lives.runs
    summed = np.cumsum(runs.place(0, rows), axis=0)
    tally: Ints = summed + (lives.begin["tally"] - summed[runs.head])[runs.of]
    return tally


@dataclass(frozen=True, slots=True)
class _Names:
    """Team names, league and so on of each life, and its form: what a start says."""

    opened: Ints  # (L,) row of the start that opened the life in this batch, else beyond any row
    texts: dict[str, Texts]  # (L,) from that row on; heroes are one a line
    form: Floats  # (L,) likewise

    @classmethod
    def of(cls, batch: Batch, lives: Lives) -> _Names:
        opens = np.flatnonzero(lives.opens)
        life = lives.runs.group[opens]
        opened = np.full(len(lives.match), _NEVER)
        opened[life] = opens
        texts = {name: lives.begin[name].copy() for name in _NAMES}
        if len(opens):
            told = batch.rows[batch.source[opens]].select(_TOLD)
            for name in _NAMES:
                texts[name][life] = told[name].to_list()
        return cls(opened, texts, lives.begin["form"].copy())

    def at(self, lives: Lives, name: str, life: int, row: int) -> str:
        """One text as it stands at one row."""
        return str(self.texts[name][life] if row >= self.opened[life] else lives.begin[name][life])


@dataclass(frozen=True, slots=True)
class _Frames:
    """The rows that make frames, F of them, by life."""

    row: Ints  # (F,)
    number: Ints  # running number in the attempt
    tally: Ints  # (F, TALLY)
    since: Ints  # (F, TALLY) what the tally gained since the frame before
    tally_at_frame: Ints  # (L, TALLY) at the last frame of each life

    @classmethod
    def of(cls, lives: Lives, tally: Ints) -> _Frames:
        row = np.flatnonzero(lives.frame)
        life = lives.runs.group[row]
        earlier = lives.runs.count_before(lives.frame)[row]
        now = tally[lives.runs.row[row]]
        before = np.roll(now, 1, axis=0)
        before[earlier == 0] = lives.begin["tally_at_frame"][life[earlier == 0]]
        tally_at_frame = lives.begin["tally_at_frame"].copy()
        tally_at_frame[life] = now  # of several frames in a life the last one stays
        return cls(row, lives.begin["frame"][life] + earlier, now, now - before, tally_at_frame)


def _features(batch: Batch, lives: Lives, gauges: _Gauges, form: Floats, frames: _Frames) -> npt.NDArray[np.float32]:
    """(F, features) in the order of the catalogue."""
    place = lives.runs.row[frames.row]
    counts = frames.tally[:, : len(COUNTS)].astype(np.float64)
    total = gauges.total[place]
    for subject, a, b in zip(_TOTALLED, total[:, 0::2].T, total[:, 1::2].T, strict=True):
        lead = np.where((a >= 0) & (b >= 0), a - b, np.nan)
        counts[:, subject] = np.where((a >= 0) | (b >= 0), lead, counts[:, subject])
    named = np.where(_IS_HERO, frames.tally[:, [HEROES_NAMED]] > 0, frames.tally[:, [COUNTS_NAMED]] > 0)
    counts[~(named & _TITLE_HAS[batch.title[frames.row]])] = np.nan
    return np.column_stack([gauges.level[place], counts, form]).astype(np.float32)


def _moment(frames: _Frames) -> Ints:
    """(F,) the weightiest subject whose score moved since the frame before, as a number of `_SAID`."""
    moved = frames.since[:, _MOMENT]
    weightiest = np.argmax(moved != 0, axis=1)
    gained = moved[np.arange(len(moved)), weightiest]
    return np.where(gained == 0, 0, 1 + weightiest * len(SIDES) + (gained < 0))


def _told(lives: Lives, names: _Names) -> pl.DataFrame:
    """What is told of each life, (2L,): as the batch finds it, then as its start in the batch says."""
    both = {name: [*lives.begin[name].tolist(), *names.texts[name].tolist()] for name in _NAMES}
    for name in HEROES:  # one a line; polars would make a Series of each list
        both[name] = pa.array([text.split("\n") if text else [] for text in both[name]], pa.large_list(pa.string()))
    return pl.DataFrame([pl.Series(name, told, FRAME_SCHEMA[name]) for name, told in both.items()])


def _table(batch: Batch, lives: Lives, gauges: _Gauges, names: _Names, frames: _Frames) -> pl.DataFrame:
    """Match frames in the order of their rows."""
    if not len(frames.row):
        return _NO_FRAMES
    row, life = frames.row, lives.runs.group[frames.row]
    opened = row >= names.opened[life]
    form = np.where(opened, names.form[life], lives.begin["form"][life])
    features = _features(batch, lives, gauges, form, frames)
    kind = batch.kind[row]
    numbers: dict[str, npt.NDArray[np.generic]] = {
        "title": batch.title[row],
        "attempt": lives.attempt[life],
        "frame": frames.number,
        "clock_s": lives.top_clock_ms[lives.runs.row[row]] / 1000.0,
        "status": np.where(lives.closes[row], kind - END + ENDED, LIVE),
        "moment": _moment(frames),
        "winner": np.where(kind == END, batch.side[row], -1),
        "flags": (frames.since[:, _FLAG] > 0) @ _FLAG_BIT,
        "_elapsed_ms": batch.elapsed_ms[row],
        "_time_ms": batch.time_ms[row],
        "_horizon_ms": batch.horizon_ms[row],
    }
    source = batch.source[row]
    order = np.argsort(source)
    # One call for many columns: by column it costs a ms.
    parts = [*batch.rows[_TAKEN][source[order]], *_told(lives, names)[(life + opened * len(lives.match))[order]]]
    parts += [*pl.from_numpy(features[order], schema=list(FEATURES))]
    for name, column in numbers.items():
        said = _SAID.get(name)
        values = column[order]
        parts.append(pl.Series(name, values, FRAME_SCHEMA[name]) if said is None else said[values].alias(name))
    made = {part.name: part for part in parts}
    return pl.DataFrame([made[name] for name in FRAME_SCHEMA])


def _remember(
    batch: Batch,
    accepted: Accepted,
    lives: Lives,
    gauges: _Gauges,
    tally: Ints,
    names: _Names,
    frames: _Frames,
    state: StateTable,
) -> None:
    """Write back what each match and each partition is left with."""
    runs, life = lives.runs, lives.final
    last, last_row = runs.last[life], batch.matches.end - 1
    phase = np.maximum(lives.begin["phase"], LIVE)
    phase[runs.group[lives.closes]] = batch.kind[lives.closes] - END + ENDED
    frame = lives.begin["frame"] + np.bincount(runs.group[frames.row], minlength=len(lives.match))
    started = lives.begin["started"] | (names.opened < _NEVER)
    left = {
        "phase": phase[life],
        "attempt": lives.attempt[life],
        "frame": frame[life],
        "clock_ms": lives.top_clock_ms[last],
        "last_ms": accepted.last_ms,
        "floor_ms": lives.floor_ms[life],
        "partition": batch.partition[last_row],
        "elapsed_ms": batch.elapsed_ms[last_row],
        "started": started[life],
        "sequence_top": accepted.sequence_top,
        "sequence_seen": accepted.sequence_seen,
        **{name: texts[life] for name, texts in names.texts.items()},
        "form": names.form[life],
        "level": gauges.level[last],
        "stated_ms": gauges.stated_ms[last],
        "total": gauges.total[last],
        "tally": tally[last],
        "tally_at_frame": frames.tally_at_frame[life],
    }
    slots = state.slots(batch.ids)
    for name, values in left.items():
        state[name][slots] = values
    state.touch(batch.ids)
    for number, time in batch.left.items():
        here, key = batch.partition == number, partition_key(number)
        (slot,) = state.slots([key])
        for name, value in time._asdict().items():
            state[name][slot] = value
        state["late_total"][slot] += np.count_nonzero(lives.late[here] | gauges.late[here])
        state["repeated_total"][slot] += np.count_nonzero(lives.repeated[here])
        state.touch([key])


def fold_events(events: pl.DataFrame, form: Elo | None = None) -> pl.DataFrame:
    """Match frames of recorded events, the same as the pipeline makes: for training sets and evaluation.

    Args:
        events: an event frame in any order; it is folded by event time, rows of equal time in the order given. Without
            the runner's columns all rows count as one partition. Rows that `match.validate` rejects are left out, as
            in the pipeline, with one warning in the log.
        form: how teams are rated.
    """
    events = events.sort("event_time_ms", maintain_order=True)
    origin = {
        "_partition": pl.lit(0, pl.Int32),
        "_offset": pl.int_range(pl.len(), dtype=pl.Int64),
        "_ingest_time_ms": pl.col("event_time_ms").to_physical(),
        "_schema_id": pl.lit(0, pl.Int32),
    }
    events = validate(
        events.with_columns(**{name: made for name, made in origin.items() if name not in events.columns})
    )
    rejected = events.filter(pl.col("_reject").is_not_null())
    if not rejected.is_empty():
        first = "match {}: {}".format(*rejected.select("match_id", "_reject").row(0))
        _log.warning("left out %d of %d events; the first, of %s", len(rejected), len(events), first)
        events = events.filter(pl.col("_reject").is_null())
    fold = MatchFold(form)
    state = fold.new_state()
    return pl.concat([_NO_FRAMES, *(fold(chunk, state) for chunk in events.iter_slices(FOLD_CHUNK_ROWS))])
