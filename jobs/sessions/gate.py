"""May a new version answer live? A candidate and the live version on the last day of a file of clicks, in a verdict.

    judgement = judge_sessions(store, "session-gru4rec@candidate", "clicks.txt")
    judgement.verdict.passed, judgement.verdict.reasons

The candidate has learned nothing of that day: its version has marks of all sessions that it learned from. It has to be
at or above the live version, and at or above V-STAN fitted to the days before, in Recall@20 and MRR@20, with repeats of
the last item and without; to answer about as fast; and to give a session the same answer whatever is asked beside it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from jobs.errors import UsageProblem
from jobs.gate.criteria import CANDIDATE, LIVE, Bounds, at_most, conclude, pace
from jobs.gate.timing import interleaved
from jobs.intervals import RESAMPLES
from jobs.sessions.clicks import load_clicks
from jobs.sessions.judge import MEASURES, REPEATS, Judged, difference, judged
from jobs.sessions.split import DaySplit, Queries, queries, split_last_day
from models.baselines.session_knn import VSTAN, SessionKNN
from models.baselines.session_memory import SessionMemory
from models.session_encoder import NO_ITEM
from models.session_model import SessionModel
from models.verdict import Reason, Verdict

if TYPE_CHECKING:
    from models.store import ModelStore, StoredModel

Ints = npt.NDArray[np.int64]
BASELINE = "vstan"
GATED = ("recall", "mrr")
_ROUNDS = {1: 101, 256: 15}
"""Rounds of timing, by sessions of a request."""
_TRIED = 64


@dataclass(frozen=True)
class SessionJudgement:
    """A verdict and what it was made from."""

    candidate: StoredModel
    live: StoredModel | None
    verdict: Verdict
    figures: dict[str, dict[str, dict[str, float]]]
    """By contender, repeats and measure; empty where the window was not admitted."""


def judge_sessions(
    store: ModelStore,
    candidate_ref: str,
    data: str,
    *,
    against: str | None = None,
    bounds: Bounds | None = None,
    on_step: Callable[[str], None] = lambda words: None,
) -> SessionJudgement:
    """Judge a candidate; nothing is written.

    Args:
        store: where both versions are.
        candidate_ref: "NAME@VERSION" or "NAME@ALIAS".
        data: file of clicks, whose last 24 hours are the window.
        against: the same of the version to be beaten; None: what NAME@live means, if anything.
        bounds: the fewest sessions of the window (`matches`) and the slowest answer; None: the default ones.
        on_step: told what begins, in words.

    Raises:
        UsageProblem: the clicks cannot be used, or the candidate is what it would have to beat.
        ModelNotFoundError, BrokenModelError: a version cannot be used.
    """
    candidate, bounds = store.load(candidate_ref), bounds or Bounds()
    live = _live(store, candidate.name, against)
    mine = candidate.manifest.reference
    if live is not None and live.manifest.reference == mine:
        raise UsageProblem(f"{mine} is what it would be compared with; name another candidate, or another --against")
    on_step(f"reading {data}")
    split = split_last_day(load_clicks(data))
    asked = queries(split)
    theirs = "nothing: it would be the first" if live is None else live.manifest.reference
    on_step(f"judging {mine} against {theirs} on {asked.sessions:,} sessions")
    reasons = _admission(candidate, split, bounds)
    figures: dict[str, dict[str, dict[str, float]]] = {}
    if all(reason.passed for reason in reasons):
        contenders = {CANDIDATE: candidate.build_as(SessionModel)}
        if live is not None:
            contenders[LIVE] = live.build_as(SessionModel)
        found = {name: _judged(model, split, asked) for name, model in contenders.items()}
        train = split.train
        memory = SessionMemory(train.session, train.item, train.time_s[train.starts[1:] - 1], split.seen)
        found[BASELINE] = judged(asked, SessionKNN(memory, VSTAN).scores)
        reasons += _quality(found)
        reasons += _timed(contenders, split, asked, bounds)
        reasons.append(_alone(contenders[CANDIDATE], split, asked))
        figures = {
            name: {repeats: {m: round(float(v.mean()), 4) for m, v in each.values().items()}
                   for repeats, each in own.items()}
            for name, own in found.items()
        }  # fmt: skip
    verdict = conclude(
        reasons,
        against="" if live is None else live.manifest.reference,
        window=f"the last day of {split.train.source}: {asked.sessions:,} sessions, {len(asked):,} next clicks",
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    return SessionJudgement(candidate, live, verdict, figures)


def session_summary(judgement: SessionJudgement) -> list[str]:
    """What was found, in sentences."""
    mine, verdict = judgement.candidate.manifest.reference, judgement.verdict
    lines = [
        f"{mine} {'passes' if verdict.passed else 'does not pass'} against {verdict.against or 'V-STAN'}",
        f"window: {verdict.window}",
    ]
    for name, found in judgement.figures.items():
        told = (f"{MEASURES[m]} {found[repeats][m]:.4f} {repeats} repeats" for repeats in REPEATS for m in GATED)
        lines.append(f"{name}: {', '.join(told)}")
    return lines


def session_report(judgement: SessionJudgement) -> dict[str, Any]:
    """All of it as plain JSON values."""
    return {
        "model": judgement.candidate.manifest.reference,
        "verdict": judgement.verdict.to_json(),
        "figures": judgement.figures,
    }


def _live(store: ModelStore, name: str, against: str | None) -> StoredModel | None:
    if against is not None:
        return store.load(against)
    state = store.alias_state(name)
    return None if state is None else store.load(f"{name}@{state.version}")


def _admission(candidate: StoredModel, split: DaySplit, bounds: Bounds) -> list[Reason]:
    sessions, marks = split.held_out.sessions, candidate.training_matches
    known = int(np.isin(split.held_out.marks, marks).sum()) if len(marks) else None
    silent = " (the version does not say which it learned from)" if known is None else ""
    enough = sessions >= bounds.matches
    criterion = "sessions of the last day that the candidate has learned from, at most" + silent
    return [
        Reason("sessions to judge on, at least", float(sessions), float(bounds.matches), enough),
        Reason(criterion, None if known is None else float(known), 0.0, known == 0),
    ]


def _clicks_of(model: SessionModel, split: DaySplit, clicks: Ints) -> Ints:
    """The same clicks in the model's own numbering of items."""
    own = {each: number for number, each in enumerate(model.ids())}
    place = np.array([*(own.get(each, NO_ITEM) for each in split.train.items), NO_ITEM])
    renumbered: Ints = place[clicks]  # NO_ITEM is the last place
    return renumbered


def _judged(model: SessionModel, split: DaySplit, asked: Queries) -> dict[str, Judged]:
    """What a version answers, its scores laid out in the numbering of the window."""
    own = {each: number for number, each in enumerate(split.train.items)}
    columns = np.array([own.get(each, len(own)) for each in model.ids()])

    def scores(context: Ints, now_s: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        found = np.full((len(context), len(own) + 1), -np.inf)
        found[:, columns] = model.probabilities(_clicks_of(model, split, context), now_s)
        return found[:, :-1]

    return judged(asked, scores)


def _quality(found: dict[str, dict[str, Judged]]) -> list[Reason]:
    words = {LIVE: "the live model", BASELINE: "V-STAN"}
    reasons = []
    for rival in (each for each in words if each in found):
        for repeats, meaning in REPEATS.items():
            for measure in GATED:
                value, low, high = difference(
                    [found[CANDIDATE][repeats]], [found[rival][repeats]], measure, resamples=RESAMPLES
                )
                criterion = (
                    f"{MEASURES[measure]} minus that of {words[rival]}, {meaning}, at least "
                    f"(95 % interval {low:+.4f} to {high:+.4f})"
                )
                reasons.append(Reason(criterion, value, 0.0, value >= 0))
    return reasons


def _timed(contenders: dict[str, SessionModel], split: DaySplit, asked: Queries, bounds: Bounds) -> list[Reason]:
    reasons = []
    for sessions, rounds in _ROUNDS.items():
        rows = np.arange(sessions) % len(asked)
        work = [_asking(model, _clicks_of(model, split, asked.context[rows]), asked.now_s[rows])
                for model in contenders.values()]  # fmt: skip
        mine_s, theirs_s = interleaved(work[0], work[1] if len(work) > 1 else None, rounds=rounds)
        what = "one session alone" if sessions == 1 else f"a batch of {sessions} sessions"
        reasons.append(pace(what, mine_s, theirs_s, bounds))
    return reasons


def _asking(model: SessionModel, clicks: Ints, now_s: npt.NDArray[np.float64]) -> Callable[[], object]:
    return lambda: model.probabilities(clicks, now_s)


def _alone(model: SessionModel, split: DaySplit, asked: Queries) -> Reason:
    """No answer depends on what is asked beside it."""
    clicks, now_s = _clicks_of(model, split, asked.context[:_TRIED]), asked.now_s[:_TRIED]
    whole = model.probabilities(clicks, now_s)
    apart = max(
        float(np.abs(model.probabilities(clicks[row : row + 1], now_s[row : row + 1])[0] - whole[row]).max())
        for row in range(len(clicks))
    )
    return at_most("sessions asked alone: a probability moves by at most", apart)
