"""Two stored versions and a window of matches in, a verdict out.

    judgement = judge_versions(store, "tsstn-lol@candidate", "week-47")
    judgement.verdict.passed, judgement.verdict.reasons

The window is a set of whole matches that were held back from training: a set of `sightline dataset build` over the days
since, or any other data, cut by year.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from jobs.datasets import frame_matches, frame_outcomes, load_matches, split_by_time
from jobs.errors import UsageProblem
from jobs.gate.contender import Contender, ServedWin, answers, single_frames
from jobs.gate.criteria import CANDIDATE, LIVE, Bounds, admission, conclude, log_loss_words, pace, quality
from jobs.gate.promises import not_finite, promises
from jobs.gate.timing import interleaved
from jobs.intervals import Frames
from jobs.overlap import overlap
from models.verdict import Reason, Verdict

if TYPE_CHECKING:
    from jobs.datasets import MatchSet
    from models.store import ModelStore, StoredModel

Floats = npt.NDArray[np.float64]

_BATCH = 512
_ROUNDS = {1: 301, _BATCH: 51}
"""Rounds of timing, by rows of a request."""


@dataclass(frozen=True)
class Weighed:
    """What was found of two contenders."""

    reasons: list[Reason]
    probs: dict[str, Floats] = field(default_factory=dict)
    """P(A wins) of `CANDIDATE` and of `LIVE`, which is the base rate where nothing is live; (N,)."""
    median_s: dict[str, dict[str, float]] = field(default_factory=dict)
    """By what was answered: median seconds of each contender."""


@dataclass(frozen=True)
class Judgement:
    """A verdict and what it was made from."""

    candidate: StoredModel
    live: StoredModel | None
    window: MatchSet
    verdict: Verdict
    weighed: Weighed


def judge_versions(
    store: ModelStore,
    candidate_ref: str,
    data: str,
    *,
    against: str | None = None,
    since: int | None = None,
    until: int | None = None,
    patch: str = "",
    latest: float | None = None,
    bounds: Bounds | None = None,
    on_step: Callable[[str], None] = lambda words: None,
) -> Judgement:
    """Judge a candidate; nothing is written.

    Args:
        store: where both are.
        candidate_ref: "NAME@VERSION" or "NAME@ALIAS".
        data: any source that `jobs.datasets.load_matches` takes.
        against: the same of the model to be beaten; None: what NAME@live means, if anything.
        since: first year of the window.
        until: last year of the window.
        patch: of the game, as of `MatchSet.of_patch`.
        latest: share of the matches that is judged on, the latest ones; None for all.
        bounds: None: the default ones.
        on_step: told what begins, in words, and what the data held that could not be used.

    Raises:
        ImportProblem, BrokenSet, UsageProblem: the window cannot be used: it is empty, of another title, or all of its
            matches were won by one camp; or the candidate is what it would have to beat, or is compared with a model
            of another title, or with one that gives no answer.
        ModelNotFoundError, BrokenModelError: a model cannot be used.
    """
    candidate = store.load(candidate_ref)
    mine, title = candidate.manifest.reference, candidate.manifest.title
    live = _live(store, candidate.name, against)
    if live is not None and live.manifest.reference == mine:
        raise UsageProblem(f"{mine} is what it would be compared with; name another candidate, or another --against")
    if live is not None and live.manifest.title != title:
        raise UsageProblem(f"{mine} is for {title}, but {live.manifest.reference} for {live.manifest.title}")
    contenders = ServedWin(candidate), None if live is None else ServedWin(live)
    on_step(f"reading {data}")
    window = load_matches(data, title).of_years(since=since, until=until).of_patch(patch)
    if latest is not None:
        window = split_by_time(window, share=latest).held_out
    for problem in window.skipped:
        on_step(problem)
    refuse_one_class(window)
    theirs = "the base rate: nothing is live" if live is None else live.manifest.reference
    on_step(f"judging {mine} against {theirs} on {len(window):,} matches")
    weighed = weigh(window, *contenders, learned_from=learned_from(window, candidate), bounds=bounds or Bounds())
    verdict = conclude(
        weighed.reasons,
        against="" if live is None else live.manifest.reference,
        window=window_words(window, live),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    return Judgement(candidate, live, window, verdict, weighed)


def weigh(
    window: MatchSet, candidate: Contender, live: Contender | None, *, learned_from: int | None, bounds: Bounds
) -> Weighed:
    """Every criterion of a candidate on a window of both outcomes; no more than admission where that fails.

    Raises:
        UsageProblem: the live model gives no answer for some frames.
    """
    admitted = admission(len(window), learned_from, bounds)
    if not all(reason.passed for reason in admitted):
        return Weighed(admitted)
    kept = promises(lambda matches: answers(candidate, matches), window, has_home=candidate.has_home)
    found = answers(candidate, window)
    if silent := not_finite(found):
        lost = Reason("frames of the window without a finite answer, at most", float(silent), 0.0, False)
        return Weighed([*admitted, lost, *kept])
    frames = window_frames(window)
    probs = {CANDIDATE: _probs(found.logits)}
    if live is not None:
        theirs = answers(live, window)
        if silent := not_finite(theirs):
            raise UsageProblem(
                f"{window.source}: the live model gives no finite answer for {silent:,} frames, so that nothing can be "
                "compared with it; roll it back, or promote the candidate with --force"
            )
        probs[LIVE] = _probs(theirs.logits)
    judged = quality(frames, probs[CANDIDATE], probs.get(LIVE), bounds)
    timed, median_s = _timed(window, candidate, live, bounds)
    shown = {LIVE: np.full_like(probs[CANDIDATE], frames.won.mean()), **probs}
    return Weighed([*admitted, *judged, *timed, *kept], shown, median_s)


def window_frames(window: MatchSet) -> Frames:
    """What is judged, for `jobs.intervals`."""
    return Frames(frame_outcomes(window), frame_matches(window), len(window))


def refuse_one_class(window: MatchSet) -> None:
    """Raise UsageProblem where one camp has won every match: then nothing can be said of a probability."""
    won = int(window.won.sum())
    if won in (0, len(window)):
        raise UsageProblem(
            f"{window.source}: camp {'A' if won else 'B'} has won all of these {len(window):,} matches, so that no "
            "probability can be judged on them; take a longer window"
        )


def learned_from(window: MatchSet, model: StoredModel) -> int | None:
    """How many of these matches a model has learned from; None where its version does not say."""
    return len(overlap(window, model.training_matches)) if len(model.training_matches) else None


def window_words(window: MatchSet, live: StoredModel | None) -> str:
    """What was judged on, for the verdict. That the live model knows some of it makes a candidate's life harder."""
    years = sorted(set(window.year.tolist()))
    between = str(years[0]) if len(years) == 1 else f"{years[0]}–{years[-1]}"
    words = f"{len(window):,} matches, {window.frames:,} frames of {window.source} ({between}, {window.fingerprint})"
    known = learned_from(window, live) if live is not None else None
    return f"{words}; the live model has learned from {known:,} of them" if known else words


def summary(judgement: Judgement) -> list[str]:
    """What was found, in sentences."""
    mine, verdict = judgement.candidate.manifest.reference, judgement.verdict
    lines = [
        f"{mine} {'passes' if verdict.passed else 'does not pass'} against {verdict.against or 'the base rate'}",
        f"window: {verdict.window}",
    ]
    if judgement.weighed.probs:
        lines.append(log_loss_words(judgement.weighed.probs, window_frames(judgement.window)))
    return lines


def judgement_report(judgement: Judgement) -> dict[str, Any]:
    """All figures as plain JSON values; `jobs.report.gated` makes a page of it. Without `overall` and what follows it
    where the window was not admitted."""
    from jobs.evaluate import data_facts, figures, model_facts

    live, weighed = judgement.live, judgement.weighed
    report: dict[str, Any] = {
        "model": model_facts(judgement.candidate),
        "against": None if live is None else model_facts(live),
        "data": data_facts(judgement.window),
        "baselines_learned_from": None,
        "verdict": judgement.verdict.to_json(),
        "median_s": weighed.median_s,
    }
    if weighed.probs:
        report["predictors"] = {
            CANDIDATE: f"candidate, {judgement.candidate.manifest.reference}",
            LIVE: "base rate" if live is None else f"live, {live.manifest.reference}",
        }
        report |= figures(judgement.window, weighed.probs, reference=LIVE)
    return report


def _live(store: ModelStore, name: str, against: str | None) -> StoredModel | None:
    if against is not None:
        return store.load(against)
    state = store.alias_state(name)
    return None if state is None else store.load(f"{name}@{state.version}")


def _probs(logits: Floats) -> Floats:
    out: Floats = 1 / (1 + np.exp(-logits.clip(-700, 700)))
    return out


def _timed(
    window: MatchSet, candidate: Contender, live: Contender | None, bounds: Bounds
) -> tuple[list[Reason], dict[str, dict[str, float]]]:
    reasons: list[Reason] = []
    medians: dict[str, dict[str, float]] = {}
    for rows, rounds in _ROUNDS.items():
        what = "one frame alone" if rows == 1 else f"a batch of {rows} frames"
        matches = single_frames(window, rows)
        mine_s, theirs_s = interleaved(
            _asking(candidate, matches), None if live is None else _asking(live, matches), rounds=rounds
        )
        reasons.append(pace(what, mine_s, theirs_s, bounds))
        times_s = {CANDIDATE: mine_s} if theirs_s is None else {CANDIDATE: mine_s, LIVE: theirs_s}
        medians[what] = {who: round(float(np.median(each_s)), 7) for who, each_s in times_s.items()}
    return reasons, medians


def _asking(contender: Contender, matches: MatchSet) -> Callable[[], object]:
    request = contender.request(matches)
    return lambda: contender.predict(request)
