"""The guard: a stage after the model that sets it aside while finished matches say that it is not to be believed.

    frames with the model's answer ─► ModelGuard ─► the same frames, the baseline's answer where the model is set aside

Kept per match: what the model and the baseline said at a few clocks. When a match ends, that and the winner join the
latest `guard_rules.WINDOW` results of its title and patch, and the rules decide anew; frames a settling time after that
one, of any match of the title and patch, are answered as decided. A new patch begins with no results, and with the
model.

While the model is set aside an answer is the baseline's (`streaming.features.baseline`), calibrated on the results that
count, with the contributions of gold and form, which sum to its log-odds; it is flagged `degraded`, and
`model_version` ends in "+baseline". The model is asked and judged all the while: it returns when it is right again.

Matches of several partitions make up the results of one patch. They are judged in the order in which they ended, and
take effect by event time (`streaming.features.settling`, `guard_results`): what is decided does not depend on how
frames are cut into batches, nor on how partitions are interleaved, and the state is committed with the answers that it
led to. A title without a baseline is not guarded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from streaming.features.baseline import NEUTRAL, SLOTS, Baseline
from streaming.features.catalogue import GROUPS
from streaming.features.guard_results import RESULTS_LAYOUT, SAMPLES, Finished, Verdicts
from streaming.features.runs import Bools, Ints
from streaming.features.settling import RESULTS_LATE, SETTLE_S, settle_ms
from streaming.features.threads import THREAD_LAYOUT, Threads
from streaming.layouts import Columns
from streaming.pipeline import Facts
from streaming.state import Column, StateTable

DEGRADED = "degraded"
"""Flag of an answer that is the baseline's."""

BASELINE_SUFFIX = "+baseline"

_LAYOUT = {
    **THREAD_LAYOUT,
    "slot": Column(np.int32),  # of a match: the last one sampled; slots count from 1
    **RESULTS_LAYOUT,
}


class ModelGuard:
    """The stage.

    Args:
        baselines: by title.
        settle_s: event time from a result to its effect.
    """

    name = "guard"

    def __init__(self, baselines: Mapping[str, Baseline], settle_s: float = SETTLE_S) -> None:
        self._baselines = dict(baselines)
        self._settle_ms = settle_ms(settle_s)

    def new_state(self) -> StateTable:
        """Matches that are on, results, patches and titles."""
        return StateTable(self.name, _LAYOUT, migrate=_migrated)

    def facts(self, state: StateTable) -> Facts:
        """An alert for every title and patch whose model is set aside, and the results that had no time to settle."""
        alerts = self._verdicts(state).alerts()
        # Only titles have other than 0 there, and titles are never forgotten.
        return Facts({RESULTS_LATE: int(state["results_late_total"].sum())}, tuple(alerts))

    def __call__(self, rows: pl.DataFrame, state: StateTable) -> pl.DataFrame:
        """Frames with the model's answer in, with the answer that holds out; in the same order."""
        if rows.is_empty():
            return rows
        threads = Threads.of(rows, state)
        frames = _Frames.of(rows, self._baselines)
        slots = state.slots(threads.ids)
        before = threads.before(frames.slot, state["slot"][slots])
        samples = frames.guarded & frames.is_live & (frames.slot > np.where(threads.begins, 0, before))
        verdicts = self._verdicts(state)
        holds = _Holding(frames, verdicts)
        finishes = frames.guarded & frames.has_winner
        for row in np.flatnonzero(threads.begins | samples | finishes).tolist():
            slot = slots[threads.match[row]]
            if threads.begins[row]:
                _clear(state, slot)
            if samples[row]:
                state["slot"][slot] = frames.slot[row]
                for name in SAMPLES:
                    state[name][slot, frames.slot[row] - 1] = frames.sample[name][row]
            if finishes[row] and state["slot"][slot]:  # else nothing was said of it that could be judged
                holds.answer(frames.of_patch(row), row + 1)
                verdicts.add(frames.finished(row, int(slot)), int(frames.horizon_ms[row]))
        horizon_ms = int(frames.horizon_ms[-1])
        if finishes.any() or not verdicts.all_trusted(max(int(frames.time_ms.max()), horizon_ms)):
            holds.answer_all()
            verdicts.decide(horizon_ms)
        threads.remember(state)
        return frames.with_answers(holds) if holds.degraded.any() else rows

    def _verdicts(self, state: StateTable) -> Verdicts:
        return Verdicts(state, self._baselines, self._settle_ms)


@dataclass(frozen=True, slots=True)
class _Frames:
    """The batch as arrays, (N,) each."""

    rows: pl.DataFrame
    title: list[str]
    patch: list[str]
    time_ms: Ints
    horizon_ms: Ints
    guarded: Bools  # the title has a baseline
    is_live: Bools
    has_winner: Bools
    a_won: Bools
    slot: Ints  # sample clocks passed, at most `SLOTS`
    sample: dict[str, npt.NDArray[np.float64]]

    @classmethod
    def of(cls, rows: pl.DataFrame, baselines: Mapping[str, Baseline]) -> _Frames:
        title, clock_s = rows["title"].to_list(), rows["clock_s"].to_numpy()
        gold, form = (rows[name].to_numpy().astype(np.float64) for name in ("gold", "form"))
        sample = {name: np.zeros(len(title)) for name in SAMPLES}
        sample["logit"][:] = rows["logit"].to_numpy()
        sample["form_known"][:] = ~np.isnan(form)
        guarded, slot = np.zeros(len(title), bool), np.zeros(len(title), np.int64)
        names, winners = np.array(title, dtype=object), rows["winner"].to_list()
        for each in sorted(set(title) & baselines.keys()):
            mine, baseline = names == each, baselines[each]
            guarded |= mine
            slot[mine] = np.clip(clock_s[mine] // baseline.sample_s, 0, SLOTS)
            sample["by_gold"][mine], sample["by_form"][mine] = baseline.parts(clock_s[mine], gold[mine], form[mine])
            sample["lead"][mine] = baseline.lead(clock_s[mine], gold[mine])
        usual = rows["usual_gold"].to_numpy().astype(np.float64)
        sample["lead_by_model"][:] = np.where(usual > 0, gold / np.where(usual > 0, usual, 1.0), sample["lead"])
        return cls(
            rows=rows,
            title=title,
            patch=rows["patch"].to_list(),
            time_ms=rows["_time_ms"].to_numpy(),
            horizon_ms=rows["_horizon_ms"].to_numpy(),
            guarded=guarded,
            is_live=(rows["status"] == "live").to_numpy(),
            has_winner=np.array([winner is not None for winner in winners], dtype=bool),
            a_won=np.array([winner == "A" for winner in winners], dtype=bool),
            slot=slot,
            sample=sample,
        )

    def of_patch(self, row: int) -> tuple[str, str]:
        """Title and patch of a frame."""
        return self.title[row], self.patch[row]

    def finished(self, row: int, slot: int) -> Finished:
        """The match that ended with this frame and sits at this slot."""
        match_id, attempt = self.rows.item(row, "match_id"), int(self.rows.item(row, "attempt"))
        time_ms = int(self.time_ms[row])
        return Finished(*self.of_patch(row), time_ms, match_id, attempt, slot, bool(self.a_won[row]))

    def with_answers(self, holds: _Holding) -> pl.DataFrame:
        """The rows, with the baseline's answer where it holds."""
        now, rows = holds.degraded, self.rows
        a, b, c = holds.calibration.T
        known = self.sample["form_known"]
        said = {
            "gold": (a * self.sample["by_gold"]).astype(np.float32),
            "form": (b * self.sample["by_form"] + c * known).astype(np.float32),
        }
        weight = {"gold": 1.0 / (1.0 + known), "form": known / (1.0 + known)}  # known groups share alike, summing to 1
        logit = said["gold"].astype(np.float64) + said["form"]
        new: dict[str, npt.NDArray[Any]] = {"logit": logit, "p": 1.0 / (1.0 + np.exp(-np.clip(logit, -700, 700)))}
        nothing = np.zeros(len(logit))
        for group in GROUPS:
            contribution, share = said.get(group, nothing), weight.get(group, nothing)
            new[f"contribution_{group}"], new[f"weight_{group}"] = contribution, share
            new[f"score_{group}"] = np.divide(contribution, share, out=np.zeros(len(logit)), where=share > 0)
        columns = [
            pl.Series(name, np.where(now, values, rows[name].to_numpy()), rows.schema[name])
            for name, values in new.items()
        ]
        marked = zip(rows["flags"].to_list(), rows["model_version"].to_list(), now.tolist(), strict=True)
        texts = [(_degraded(flags), f"{version}{BASELINE_SUFFIX}") if is_so else (flags, version)
                 for flags, version, is_so in marked]  # fmt: skip
        flags, versions = zip(*texts, strict=True)
        columns += [pl.Series("flags", flags, pl.String), pl.Series("model_version", versions, pl.String)]
        return rows.with_columns(columns)


class _Holding:
    """Whose answer holds at each frame, and how the baseline is calibrated there; (N,) and (N, 3). Filled in patch by
    patch, each frame's by the results that came before it."""

    def __init__(self, frames: _Frames, verdicts: Verdicts) -> None:
        self._frames, self._verdicts = frames, verdicts
        self._open: dict[tuple[str, str], Ints] = {}  # frames that wait to be answered, by title and patch
        self.degraded: Bools = np.zeros(len(frames.title), bool)
        self.calibration = np.tile(np.array(NEUTRAL), (len(frames.title), 1))

    def answer(self, patch: tuple[str, str], end: int) -> None:
        """Fill in a patch's frames before `end`, by the results known so far."""
        waiting = self._waiting()[patch]
        now, self._open[patch] = waiting[waiting < end], waiting[waiting >= end]
        if len(now) and (said := self._verdicts.as_of(*patch, self._frames.time_ms[now])):
            self.degraded[now], self.calibration[now] = said

    def answer_all(self) -> None:
        """Fill in the frames that are left."""
        for patch in self._waiting():
            self.answer(patch, len(self.degraded))

    def _waiting(self) -> dict[tuple[str, str], Ints]:
        if not self._open:
            frames = self._frames
            rows: dict[tuple[str, str], list[int]] = {}
            for row in np.flatnonzero(frames.guarded).tolist():
                rows.setdefault(frames.of_patch(row), []).append(row)
            self._open = {patch: np.array(of_patch) for patch, of_patch in rows.items()}
        return self._open


def _clear(state: StateTable, slot: int) -> None:
    state["slot"][slot] = 0
    for name in SAMPLES:
        state[name][slot] = np.nan


def _migrated(columns: Columns) -> Columns:
    """Before models said what they take for usual, the baseline alone did."""
    return {"lead_by_model": columns["lead"], **columns}


def _degraded(flags: str) -> str:
    """The flags of an answer that is no longer the model's: whether its reasons added up does not matter any more."""
    return f"{flags} {DEGRADED}".strip()
