"""The guard's memory of finished matches: which results count as of a time, and what they decided.

Results of one title and patch are judged in the order (time, match id, attempt), each together with those before it;
`streaming.features.settling` says as of when one counts. Those that the fastest partition is not yet far past wait one
by one, each with what was decided by it, as soon as a frame had to know; one that comes before others in the order
makes what they decided void, to be decided again. The rest is the base: the latest `guard_rules.WINDOW` results, and
what was decided last. A frame so far behind that the base has gone past it is answered by the base.

State rows: `@unsettled/TITLE/PATCH/TIME/ATTEMPT/MATCH` for a result that waits, `@result/TITLE/PATCH/NUMBER` for one in
the base, `@patch/TITLE/PATCH` and `@title/TITLE`.
"""

from __future__ import annotations

import logging
from bisect import bisect_right, insort
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from streaming.features.baseline import NEUTRAL, SLOTS, Baseline, recalibrated
from streaming.features.guard_rules import WINDOW, Results, Verdict, judge
from streaming.features.runs import Bools, Ints
from streaming.features.settling import HOLD_MS, MOST_UNSETTLED
from streaming.state import Column, StateTable

PATCH_MEMORY = 2_000
"""A patch is forgotten when so many matches of its title have joined the base since its own last one. Of all that is
decided, the row at which that happens alone may depend on the interleaving."""

SAMPLES = ("logit", "by_gold", "by_form", "form_known", "lead", "lead_by_model")
_FIGURES = ("brier", "ece", "drift", "evidence")
_VERDICT = ("degraded", "kept", "calibration", *_FIGURES)

RESULTS_LAYOUT = {
    # of a match, by its id, and of a result:
    **{name: Column(np.float32, (SLOTS,), default=np.nan) for name in SAMPLES},
    "won": Column(np.bool_, default=False),
    # of a result that waits:
    "time_ms": Column(np.int64, default=-1),
    # of a title and of a patch:
    "finished": Column(np.int64),  # matches in the base so far
    # of a title:
    "results_late_total": Column(np.int64),  # results that joined the base before their time
    # of a patch:
    "finished_title": Column(np.int64),  # those of its title when its last one joined the base
    # of a patch, and of a result that waits; what was decided by it:
    "kept": Column(np.int32),  # so many of the latest results count; 0 if nothing is decided yet
    "degraded": Column(np.bool_, default=False),
    "calibration": Column(np.float64, (len(NEUTRAL),), default=1.0),
    **{name: Column(np.float64, default=np.nan) for name in _FIGURES},
}
"""State columns that `Verdicts` needs."""

_log = logging.getLogger(__name__)


class Finished(NamedTuple):
    """A match that has just ended, and where it sat in the state."""

    title: str
    patch: str
    time_ms: int
    match_id: str
    attempt: int
    slot: int
    a_won: bool


class _Waiting(NamedTuple):
    """A result that waits; they sort by time, then match id, then attempt."""

    time_ms: int
    match_id: str
    attempt: int
    key: str
    slot: int


@dataclass(slots=True)
class _Patch:
    """The results of one patch that wait, in order; by the first `decided` of them is known what they decide."""

    title: str
    patch_key: str
    waiting: list[_Waiting] = field(default_factory=list)
    decided: int = 0


class Verdicts:
    """What results say of each title's and patch's model, in a table of `RESULTS_LAYOUT`, for as long as nobody else
    changes that.

    Args:
        state: where results are.
        baselines: by title.
        settle_ms: from a result to its effect.
    """

    def __init__(self, state: StateTable, baselines: Mapping[str, Baseline], settle_ms: int) -> None:
        self._state, self._baselines, self._settle_ms = state, baselines, settle_ms
        self._loaded: dict[str, _Patch] | None = None

    def all_trusted(self, time_ms: int) -> bool:
        """Whether nothing was decided against any model, nor is to be decided, as of any time up to this one."""
        state = self._state
        if state["degraded"].any():
            return False
        times = state["time_ms"]
        due = (times >= 0) & (times <= time_ms - self._settle_ms) & (state["kept"] == 0)
        return not due.any()

    def as_of(self, title: str, patch: str, times_ms: Ints) -> tuple[Bools, npt.NDArray[np.float64]] | None:
        """Whether the model is set aside as of each time, (N,), and how the baseline is calibrated then, (N, 3). None
        if it is trusted at all of them."""
        mine, state = self._patch(title, patch), self._state
        until_ms = times_ms - self._settle_ms
        due = bisect_right(mine.waiting, int(until_ms.max()), key=_time)
        self._decide(mine, due)
        if mine.patch_key in state:
            (base,) = state.slots([mine.patch_key]).tolist()
            degraded, calibration = [state["degraded"][base]], [state["calibration"][base]]
        else:
            degraded, calibration = [False], [np.array(NEUTRAL)]
        slots = [result.slot for result in mine.waiting[:due]]
        steps = np.array([*degraded, *state["degraded"][slots]], dtype=bool)
        if not steps.any():
            return None
        step = np.searchsorted([result.time_ms for result in mine.waiting[:due]], until_ms, side="right")
        return steps[step], np.vstack([calibration, state["calibration"][slots]])[step]

    def add(self, finished: Finished, horizon_ms: int) -> None:
        """Take a result in; those that are old enough join the base.

        Args:
            finished: of a match of which something was said.
            horizon_ms: how far the fastest partition is.
        """
        state, mine = self._state, self._patch(finished.title, finished.patch)
        key = f"{_prefix(finished.title, finished.patch)}{finished.time_ms}/{finished.attempt}/{finished.match_id}"
        if key in state:
            return  # the same again
        (slot,) = state.slots([key]).tolist()
        for name in SAMPLES:
            state[name][slot] = state[name][finished.slot]
        state["won"][slot], state["time_ms"][slot] = finished.a_won, finished.time_ms
        result = _Waiting(finished.time_ms, finished.match_id, finished.attempt, key, slot)
        insort(mine.waiting, result)
        state.touch([key])
        place = mine.waiting.index(result)
        if place < mine.decided:
            void = mine.waiting[place + 1 : mine.decided + 1]
            for name in _VERDICT:
                state[name][[other.slot for other in void]] = RESULTS_LAYOUT[name].default
            state.touch([other.key for other in void])
            mine.decided = place
        self._join_base(finished.title, horizon_ms - HOLD_MS)

    def decide(self, time_ms: int) -> None:
        """Judge what counts as of this time, asked for or not: nobody may ever ask for a patch's last results."""
        for mine in self._patches.values():
            self._decide(mine, bisect_right(mine.waiting, time_ms - self._settle_ms, key=_time))

    def alerts(self) -> list[str]:
        """A sentence for every patch whose model is set aside by what was decided last."""
        if not self._state["degraded"].any():
            return []
        keys = self._state.keys()
        latest = {key: key for key in keys if key.startswith("@patch/")}
        for patch in self._patches.values():
            if patch.decided:
                latest[patch.patch_key] = patch.waiting[patch.decided - 1].key
        slots = self._state.slots(list(latest.values()))
        degraded = self._state["degraded"][slots].tolist()
        return sorted(
            describe(patch_key, int(slot), self._state)
            for patch_key, slot, is_so in zip(latest, slots, degraded, strict=True)
            if is_so
        )

    @property
    def _patches(self) -> dict[str, _Patch]:
        """Those with results that wait, by the prefix of these."""
        if self._loaded is None:
            self._loaded = {}
            state = self._state
            keys = state.keys_where(state["time_ms"] >= 0)
            for key, slot in zip(keys, state.slots(keys).tolist(), strict=True):
                _, title, patch, time_ms, attempt, match_id = key.split("/", 5)
                mine = self._patch(title, _unescaped(patch))
                mine.waiting.append(_Waiting(int(time_ms), match_id, int(attempt), key, slot))
            for mine in self._loaded.values():
                mine.waiting.sort()
                mine.decided = int(np.count_nonzero(state["kept"][[result.slot for result in mine.waiting]]))
        return self._loaded

    def _patch(self, title: str, patch: str) -> _Patch:
        return self._patches.setdefault(_prefix(title, patch), _Patch(title, patch_key(title, patch)))

    def _decide(self, mine: _Patch, count: int) -> None:
        """Judge the first `count` results that wait, as far as that was not done."""
        state = self._state
        while mine.decided < count:
            number = mine.decided
            finished, kept, was_degraded = 0, 0, False
            if mine.patch_key in state:
                (slot,) = state.slots([mine.patch_key]).tolist()
                finished, kept, was_degraded = (state[name][slot] for name in ("finished", "kept", "degraded"))
            if number:
                slot = mine.waiting[number - 1].slot
                kept, was_degraded = state["kept"][slot], state["degraded"][slot]
            window = min(int(kept) + 1, WINDOW)
            recent = [result.slot for result in mine.waiting[max(0, number + 1 - window) : number + 1]]
            old = range(int(finished) - window + len(recent), int(finished))
            keys = [_result_key(mine.patch_key, each) for each in old]
            self._judge(mine, [*state.slots(keys).tolist(), *recent], was_degraded=bool(was_degraded))
            mine.decided += 1

    def _judge(self, mine: _Patch, window: list[int], *, was_degraded: bool) -> None:
        """Decide by the results at these slots, and note it at the last."""
        state = self._state
        said = {name: state[name][window].astype(np.float64) for name in SAMPLES}
        won = state["won"][window].astype(np.float64)
        results = Results(said["logit"], said["lead_by_model"], won)
        verdict = judge(results, self._baselines[mine.title], was_degraded)
        _note(verdict, window[-1], state)
        if verdict.degraded:
            latest = slice(len(window) - verdict.keep, len(window))
            state["calibration"][window[-1]] = recalibrated(
                said["by_gold"][latest], said["by_form"][latest], said["form_known"][latest], won[latest],
                said["lead"][latest],
            )  # fmt: skip
        state.touch([mine.waiting[mine.decided].key])
        if verdict.degraded != was_degraded:
            change = "the baseline answers from here on" if verdict.degraded else "the model answers again"
            _log.warning("%s: %s", describe(mine.patch_key, window[-1], state), change)

    def _join_base(self, title: str, until_ms: int) -> None:
        """Let the title's results of times up to this one join the base, and the oldest if there are too many."""
        patches = [patch for patch in self._patches.values() if patch.title == title]
        waiting = sorted((result, patch.patch_key) for patch in patches for result in patch.waiting)
        old = bisect_right(waiting, until_ms, key=lambda entry: entry[0].time_ms)
        hurried = max(0, len(waiting) - MOST_UNSETTLED - old)
        if not old + hurried:
            return
        state, by_key = self._state, {patch.patch_key: patch for patch in patches}
        (slot,) = state.slots([title_key(title)])
        for _, patch_key in waiting[: old + hurried]:
            state["finished"][slot] += 1
            self._join(by_key[patch_key], int(state["finished"][slot]))
        state["results_late_total"][slot] += hurried
        state.touch([title_key(title)])
        self._forget_patches(title, int(state["finished"][slot]))

    def _join(self, mine: _Patch, finished_title: int) -> None:
        """Let the patch's oldest result join the base, with what was decided by it."""
        self._decide(mine, 1)
        state, result = self._state, mine.waiting.pop(0)
        mine.decided -= 1
        (patch,) = state.slots([mine.patch_key])
        key = _result_key(mine.patch_key, int(state["finished"][patch]))
        (slot,) = state.slots([key])
        for name in (*SAMPLES, "won"):
            state[name][slot] = state[name][result.slot]
        for name in _VERDICT:
            state[name][patch] = state[name][result.slot]
        state["finished"][patch] += 1
        state["finished_title"][patch] = finished_title
        state["degraded"][result.slot], state["time_ms"][result.slot] = False, -1  # a free slot counts for nothing
        state.delete([result.key])
        state.touch([mine.patch_key, key])

    def _forget_patches(self, title: str, finished: int) -> None:
        state = self._state
        old = (state["finished_title"] > 0) & (state["finished_title"] < finished - PATCH_MEMORY)
        still = {patch.patch_key for patch in self._patches.values() if patch.waiting}
        for key in state.keys_where(old):
            if key.startswith(patch_key(title, "")) and key not in still:
                state["degraded"][state.slots([key])] = False
                state.delete([key, *(_result_key(key, number) for number in range(WINDOW))])


def describe(patch_key: str, slot: int, state: StateTable) -> str:
    """What was decided of a patch, as it is noted at this slot, in words."""
    _, title, patch = patch_key.split("/", 2)
    brier, ece, drift, evidence = (state[name][slot] for name in _FIGURES)
    return (
        f"{title}, patch {patch or 'unknown'}: the model is {'set aside' if state['degraded'][slot] else 'trusted'}: "
        f"Brier {brier:.3f}, ECE {ece:.3f}, drift {drift:.2f}, evidence {evidence:.1f} "
        f"over {state['kept'][slot]} matches"
    )


def title_key(title: str) -> str:
    """State key of a title."""
    return f"@title/{title}"


def patch_key(title: str, patch: str) -> str:
    """State key of a patch."""
    return f"@patch/{title}/{patch}"


def _result_key(patch_key: str, number: int) -> str:
    return f"@result{patch_key.removeprefix('@patch')}/{number % WINDOW}"


def _prefix(title: str, patch: str) -> str:
    """Of the keys of results that wait; a slash within the patch is not taken for the separator."""
    return f"@unsettled/{title}/{patch.replace('%', '%25').replace('/', '%2F')}/"


def _unescaped(patch: str) -> str:
    return patch.replace("%2F", "/").replace("%25", "%")


def _time(result: _Waiting) -> int:
    return result.time_ms


def _note(verdict: Verdict, slot: int, state: StateTable) -> None:
    noted: dict[str, Any] = {"degraded": verdict.degraded, "kept": verdict.keep}
    for name, value in (noted | {name: getattr(verdict, name) for name in _FIGURES}).items():
        state[name][slot] = value
