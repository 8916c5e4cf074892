"""The guard: a stage after the model that sets it aside while finished matches say that it is not to be believed.

    frames with the model's answer ─► ModelGuard ─► the same frames, the baseline's answer where the model is set aside

Kept per match: what the model and the baseline said at a few clocks. When a match ends, that and the winner join the
latest `guard_rules.WINDOW` results of its title and patch, and the rules decide anew; frames after that one, of any
match of the title and patch, are answered as decided. A new patch begins with no results, and with the model.

While the model is set aside an answer is the baseline's (`streaming.features.baseline`), calibrated on the results that
count, with the contributions of gold and form, which sum to its log-odds; it is flagged `degraded`, and
`model_version` ends in "+baseline". The model is asked and judged all the while: it returns when it is right again.

Matches of several partitions make up the results of one patch, so what is decided depends on the order in which the
runner hands them over, as team ratings do; within that order it depends on nothing else, not on how frames are cut
into batches, and the state is committed with the answers that it led to. A title without a baseline is not guarded.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from streaming.features.baseline import NEUTRAL, SLOTS, Baseline, recalibrated
from streaming.features.catalogue import GROUPS
from streaming.features.guard_rules import WINDOW, Results, Verdict, judge
from streaming.features.runs import Bools, Ints
from streaming.features.threads import THREAD_LAYOUT, Threads
from streaming.pipeline import Facts
from streaming.state import Column, StateTable

DEGRADED = "degraded"
"""Flag of an answer that is the baseline's."""

BASELINE_SUFFIX = "+baseline"

PATCH_MEMORY = 2_000
"""A patch is forgotten when so many matches of its title have finished since its own last one."""

_SAMPLES = ("logit", "by_gold", "by_form", "form_known", "lead")
_FIGURES = ("brier", "ece", "drift", "evidence")
_LAYOUT = {
    **THREAD_LAYOUT,
    # of a match, by its id, and of a result, under @result/TITLE/PATCH/NUMBER:
    "slot": Column(np.int32),  # the last one sampled; slots count from 1
    **{name: Column(np.float32, (SLOTS,), default=np.nan) for name in _SAMPLES},
    "won": Column(np.bool_, default=False),
    # of a title, under @title/TITLE, and of a patch, under @patch/TITLE/PATCH:
    "finished": Column(np.int64),  # matches so far
    # of a patch:
    "finished_title": Column(np.int64),  # those of its title when its last one finished
    "kept": Column(np.int32),  # so many of the latest results count
    "degraded": Column(np.bool_, default=False),
    "calibration": Column(np.float64, (len(NEUTRAL),), default=1.0),
    **{name: Column(np.float64, default=np.nan) for name in _FIGURES},
}

_log = logging.getLogger(__name__)


class ModelGuard:
    """The stage.

    Args:
        baselines: by title.
    """

    name = "guard"

    def __init__(self, baselines: Mapping[str, Baseline]) -> None:
        self._baselines = dict(baselines)

    def new_state(self) -> StateTable:
        """Matches that are on, results, patches and titles."""
        return StateTable(self.name, _LAYOUT)

    def facts(self, state: StateTable) -> Facts:
        """An alert for every title and patch whose model is set aside."""
        keys = state.keys_where(state["degraded"])
        return Facts(alerts=tuple(_describe(key, state) for key in sorted(keys)))

    def __call__(self, rows: pl.DataFrame, state: StateTable) -> pl.DataFrame:
        """Frames with the model's answer in, with the answer that holds out; in the same order."""
        if rows.is_empty():
            return rows
        threads = Threads.of(rows, state)
        frames = _Frames.of(rows, self._baselines)
        slots = state.slots(threads.ids)
        before = threads.before(frames.slot, state["slot"][slots])
        samples = frames.guarded & frames.is_live & (frames.slot > np.where(threads.begins, 0, before))
        holds = _Holding(frames, state)
        for row in np.flatnonzero(threads.begins | samples | frames.has_winner).tolist():
            slot = slots[threads.match[row]]
            if threads.begins[row]:
                _clear(state, slot)
            if samples[row]:
                state["slot"][slot] = frames.slot[row]
                for name in _SAMPLES:
                    state[name][slot, frames.slot[row] - 1] = frames.sample[name][row]
            if frames.has_winner[row] and frames.guarded[row]:
                self._finish(row, slot, frames, state)
                holds.from_row(row, state)
        threads.remember(state)
        return frames.with_answers(holds) if holds.degraded.any() else rows

    def _finish(self, row: int, slot: int, frames: _Frames, state: StateTable) -> None:
        """Take a result in, and decide anew for its title and patch."""
        title, patch_key = frames.title[row], frames.patch_key[row]
        (title_slot,) = state.slots([_title_key(title)])
        state["finished"][title_slot] += 1
        state.touch([_title_key(title)])
        if state["slot"][slot] == 0:
            return  # over before the first sample: nothing was said
        (patch,) = state.slots([patch_key])
        (result,) = state.slots([_result_key(patch_key, int(state["finished"][patch]))])
        for name in _SAMPLES:
            state[name][result] = state[name][slot]
        state["won"][result] = frames.a_won[row]
        state["finished"][patch] += 1
        state["finished_title"][patch] = state["finished"][title_slot]
        number, kept = int(state["finished"][patch]), min(int(state["kept"][patch]) + 1, WINDOW)
        keys = [_result_key(patch_key, n) for n in range(number - kept, number)]
        window = state.slots(keys)
        said = {name: state[name][window].astype(np.float64) for name in _SAMPLES}
        won = state["won"][window].astype(np.float64)
        was_degraded = bool(state["degraded"][patch])
        verdict = judge(Results(said["logit"], said["lead"], won), self._baselines[title], was_degraded)
        _note(verdict, patch, state)
        if verdict.degraded:
            latest = slice(kept - verdict.keep, kept)
            state["calibration"][patch] = recalibrated(
                said["by_gold"][latest], said["by_form"][latest], said["form_known"][latest], won[latest],
                said["lead"][latest],
            )  # fmt: skip
        state.touch([patch_key, keys[-1]])
        if verdict.degraded != was_degraded:
            change = "the baseline answers from here on" if verdict.degraded else "the model answers again"
            _log.warning("%s: %s", _describe(patch_key, state), change)
        self._forget_patches(title, int(state["finished"][title_slot]), state)

    @staticmethod
    def _forget_patches(title: str, finished: int, state: StateTable) -> None:
        old = (state["finished_title"] > 0) & (state["finished_title"] < finished - PATCH_MEMORY)
        prefix = _patch_key(title, "")
        for key in state.keys_where(old):
            if key.startswith(prefix):
                state.delete([key, *(_result_key(key, number) for number in range(WINDOW))])


@dataclass(frozen=True, slots=True)
class _Frames:
    """The batch as arrays, (N,) each."""

    rows: pl.DataFrame
    title: list[str]
    patch_key: list[str]
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
        sample = {name: np.zeros(len(title)) for name in _SAMPLES}
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
        return cls(
            rows=rows,
            title=title,
            patch_key=[_patch_key(*pair) for pair in zip(title, rows["patch"].to_list(), strict=True)],
            guarded=guarded,
            is_live=(rows["status"] == "live").to_numpy(),
            has_winner=np.array([winner is not None for winner in winners], dtype=bool),
            a_won=np.array([winner == "A" for winner in winners], dtype=bool),
            slot=slot,
            sample=sample,
        )

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
    """Whose answer holds at each frame, and how the baseline is calibrated there; (N,) and (N, 3)."""

    def __init__(self, frames: _Frames, state: StateTable) -> None:
        number: dict[str, int] = {}
        self._patch = np.array([number.setdefault(key, len(number)) for key in frames.patch_key], dtype=np.int64)
        self._keys = frames.patch_key
        known = np.array([state.slots([key])[0] if key in state else -1 for key in number], dtype=np.int64)
        slots = known[self._patch]
        self.degraded: Bools = np.where(slots >= 0, state["degraded"][slots], False) & frames.guarded
        self.calibration = np.where((slots >= 0)[:, None], state["calibration"][slots], NEUTRAL)

    def from_row(self, row: int, state: StateTable) -> None:
        """From the next frame of this one's title and patch on, what the state says now holds."""
        if self._keys[row] not in state:
            return
        (slot,) = state.slots([self._keys[row]])
        if not (state["degraded"][slot] or self.degraded[row]):
            return  # the model answers as before
        later = np.flatnonzero(self._patch == self._patch[row])
        later = later[later > row]
        self.degraded[later] = state["degraded"][slot]
        self.calibration[later] = state["calibration"][slot]


def _clear(state: StateTable, slot: int) -> None:
    state["slot"][slot] = 0
    for name in _SAMPLES:
        state[name][slot] = np.nan


def _note(verdict: Verdict, patch: int, state: StateTable) -> None:
    state["degraded"][patch], state["kept"][patch] = verdict.degraded, verdict.keep
    for name in _FIGURES:
        state[name][patch] = getattr(verdict, name)


def _describe(patch_key: str, state: StateTable) -> str:
    (slot,) = state.slots([patch_key])
    _, title, patch = patch_key.split("/", 2)
    brier, ece, drift, evidence = (state[name][slot] for name in _FIGURES)
    return (
        f"{title}, patch {patch or 'unknown'}: the model is {'set aside' if state['degraded'][slot] else 'trusted'}: "
        f"Brier {brier:.3f}, ECE {ece:.3f}, drift {drift:.2f}, evidence {evidence:.1f} "
        f"over {state['kept'][slot]} matches"
    )


def _degraded(flags: str) -> str:
    """The flags of an answer that is no longer the model's: whether its reasons added up does not matter any more."""
    return f"{flags} {DEGRADED}".strip()


def _title_key(title: str) -> str:
    return f"@title/{title}"


def _patch_key(title: str, patch: str) -> str:
    return f"@patch/{title}/{patch}"


def _result_key(patch_key: str, number: int) -> str:
    return f"@result{patch_key.removeprefix('@patch')}/{number % WINDOW}"
