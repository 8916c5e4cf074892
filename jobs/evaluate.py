"""Measure a win model on matches, beside baselines on the same frames: the library of `sightline evaluate`.

    report = evaluate_win("tsstn@live", "matches.parquet", since=2016)
    report["overall"]["tsstn"]["log_loss"], report["intervals"]["tsstn"]["log_loss"]

Figures are over frames, overall and per five minutes of game clock, with 95 % intervals from resampled matches.
Baselines learn from the matches of the same data before `since`, where that is given and there are some; else from the
other four fifths of the matches, in five folds. A report is plain JSON values; `jobs.report` makes pages of it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobs.intervals import ECE_BINS, MEASURES, RESAMPLES, Frames, Judged, judge, resample_counts

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from jobs.datasets import MatchSet
    from models.store import StoredModel

    Floats = npt.NDArray[np.float64]

BUCKET_MIN = 5
LAST_BUCKET_MIN = 60
_BUCKET_MEASURES = ("log_loss", "accuracy", "brier", "ece")


def evaluate_win(
    model_ref: str,
    data: str,
    *,
    store: Path | str | None = None,
    title: str | None = None,
    since: int | None = None,
    until: int | None = None,
    folds: int | None = None,
    baselines: Sequence[str] | None = None,
    workers: int = 0,
    on_step: Callable[[str], None] = lambda words: None,
) -> dict[str, Any]:
    """The report of one model on one set of matches, as JSON values.

    Args:
        model_ref: "NAME@ALIAS" or "NAME@VERSION"; a name without a model of its own, such as "tsstn", stands for
            "tsstn-TITLE".
        data: any source that `jobs.datasets.load_matches` takes.
        store: root folder or URL of the user's models, None: that of the settings; those that ship with the project
            are found as well.
        title: which title, where the data holds several.
        since: first year to judge on.
        until: last year to judge on.
        folds: let baselines learn from the other folds of the judged matches, this many, even where there is a past.
        baselines: some of `jobs.baselines.BASELINES`, None: all.
        workers: processes to train baselines in; 0: this one.
        on_step: told what begins and what is done, in words, and what the data held that could not be used.

    Raises:
        UsageProblem, ImportProblem: the data cannot be used, or the model has learned from some of it.
        ModelNotFoundError, BrokenModelError: the model cannot be used.
    """
    from jobs.baselines import BASELINES, StoredWin, baselines_for
    from jobs.datasets import load_matches
    from jobs.errors import UsageProblem
    from jobs.overlap import refuse_overlap
    from jobs.splits import fold_trials, joined, plan_split
    from jobs.train import user_store
    from jobs.trials import run_trials
    from models.tsstn import TSSTN

    started = time.monotonic()
    if unknown := [name for name in baselines or () if name not in BASELINES]:
        raise UsageProblem(f"no baseline named {unknown[0]!r}; there are: {', '.join(BASELINES)}")
    store = store or user_store()
    check_reference(model_ref, store)
    on_step(f"reading {data}")
    everything = load_matches(data, title)
    for problem in everything.skipped:
        on_step(problem)
    stored = load_model(model_ref, everything.title, store)
    if stored.manifest.title != everything.title:
        raise UsageProblem(f"{model_ref} is for {stored.manifest.title}, but {data} holds {everything.title}")
    plan = plan_split(everything, since=since, until=until, folds=folds)
    judged = _taken(everything, plan.judged)
    refuse_overlap(judged, stored.training_matches, f"{stored.name}@{stored.version}")
    contender = StoredWin(stored.build_as(TSSTN))
    probs = {contender.name: contender.probs(judged)}
    wanted = baselines_for(everything, BASELINES if baselines is None else baselines) if plan.folds else []
    beside = f", beside {len(wanted)} baseline{'s' * (len(wanted) > 1)}" if wanted else ""
    on_step(f"judging {stored.name}@{stored.version} on {len(judged):,} matches{beside}")
    results = run_trials(
        fold_trials("data", wanted, plan),
        {"data": everything},
        workers=workers,
        on_done=lambda trial, done, of: on_step(f"{done}/{of} {trial.words}"),
    )
    probs |= {baseline.name: joined(everything, plan, results, "data", baseline.name) for baseline in wanted}
    return {
        "model": model_facts(stored),
        "data": data_facts(judged) | {"since": since, "until": until},
        "baselines_learned_from": None if baselines == [] else plan.words,
        "predictors": {contender.name: contender.words} | {baseline.name: baseline.words for baseline in wanted},
        **figures(judged, probs, reference=contender.name),
        "seconds": round(time.monotonic() - started, 1),
    }


def figures(
    judged: MatchSet, probs: Mapping[str, Floats], *, reference: str, resamples: int = RESAMPLES
) -> dict[str, Any]:
    """Overall figures, intervals, differences to the reference, figures by game clock, and reliability.

    Args:
        judged: B matches with N frames.
        probs: by predictor, (N,).
        reference: the predictor whose figures all others are compared with.
        resamples: of the matches, for the intervals.
    """
    from jobs.datasets import frame_clocks, frame_matches, frame_outcomes

    frames = Frames(frame_outcomes(judged), frame_matches(judged), len(judged))
    overall = judge(frames, probs, resamples=resamples)
    minute = frame_clocks(judged) / 60
    buckets = []
    for start in range(0, LAST_BUCKET_MIN + 1, BUCKET_MIN):
        open_ended = start == LAST_BUCKET_MIN
        rows = (minute >= start) & (open_ended | (minute < start + BUCKET_MIN))
        if rows.any():
            end = None if open_ended else start + BUCKET_MIN
            buckets.append({"from_min": start, "to_min": end, **_bucket(frames, probs, rows, resamples)})
    return {
        "reference": reference,
        "resamples": resamples,
        "overall": _values(overall),
        "intervals": _intervals(overall),
        "differences": {
            name: {measure: _rounded(overall[reference].difference(other, measure)) for measure in MEASURES}
            for name, other in overall.items()
            if name != reference
        },
        "buckets": buckets,
        "reliability": {name: reliability(frames, p, resamples=resamples) for name, p in probs.items()},
    }


def _bucket(frames: Frames, probs: Mapping[str, Floats], rows: npt.NDArray[np.bool_], resamples: int) -> dict[str, Any]:
    import numpy as np

    # Matches are numbered anew: those without a frame here cannot be drawn.
    present, match = np.unique(frames.match[rows], return_inverse=True)
    here = Frames(frames.won[rows], match, len(present))
    judged = judge(here, {name: p[rows] for name, p in probs.items()}, measures=_BUCKET_MEASURES, resamples=resamples)
    return {
        "matches": len(present),
        "frames": int(rows.sum()),
        "predictors": _values(judged),
        "intervals": _intervals(judged),
    }


def reliability(frames: Frames, probs: Floats, *, resamples: int = RESAMPLES) -> list[dict[str, float | int | None]]:
    """Of each of 15 equal slices of [0, 1] that holds frames: how many, the mean of what was said, how many of them A
    won, and the 95 % interval of that over matches."""
    import numpy as np

    slot = np.minimum((probs * ECE_BINS).astype(np.int64), ECE_BINS - 1)
    cell = frames.match * ECE_BINS + slot
    shape = (frames.matches, ECE_BINS)

    def table(weights: Floats) -> Floats:
        sums: Floats = np.bincount(cell, weights=weights, minlength=shape[0] * shape[1]).reshape(shape)  # type: ignore[assignment]
        return sums

    counts = resample_counts(frames.matches, resamples, seed=0)
    n, said, won = table(np.ones_like(probs)), table(probs), table(frames.won)
    total = n.sum(axis=0)
    with np.errstate(invalid="ignore"):
        sampled = (counts @ won) / (counts @ n)
    rows: list[dict[str, float | int | None]] = []
    for bin_ in np.nonzero(total)[0].tolist():
        low, high = np.nanpercentile(sampled[:, bin_], [2.5, 97.5])
        rows.append(
            {
                "from": round(bin_ / ECE_BINS, 5),
                "to": round((bin_ + 1) / ECE_BINS, 5),
                "frames": int(total[bin_]),
                "said": round(float(said[:, bin_].sum() / total[bin_]), 5),
                "won": round(float(won[:, bin_].sum() / total[bin_]), 5),
                "won_low": round(float(low), 5),
                "won_high": round(float(high), 5),
            }
        )
    return rows


def check_reference(ref: str, store: Path | str) -> None:
    """Find out before the data is read whether such a model can be there, for some title.

    Raises:
        BadReference: what is no name, alias or version at all.
        ModelNotFoundError: no model has this name, with or without a title after it.
    """
    from models.store import SHIPPED, ModelStore

    models = ModelStore(store, SHIPPED)
    name = ref.partition("@")[0]
    if not any(known == name or known.startswith(f"{name}-") for known in models.names()):
        models.load(ref)


def load_model(ref: str, title: str, store: Path | str) -> StoredModel:
    """A stored model; "tsstn" stands for "tsstn-TITLE" where no model has that very name.

    Raises:
        ModelNotFoundError, BrokenModelError: as `ModelStore.load`.
    """
    from models.store import SHIPPED, ModelStore

    models = ModelStore(store, SHIPPED)
    name, at, rest = ref.partition("@")
    per_title = f"{name}-{title}"
    if not models.versions(name) and models.versions(per_title):
        return models.load(per_title + at + rest)
    return models.load(ref)


def model_facts(stored: StoredModel) -> dict[str, Any]:
    """What a report says of a stored model."""
    manifest = stored.manifest
    return {
        "name": stored.name,
        "version": stored.version,
        "weight_hash": stored.weight_hash,
        "title": manifest.title,
        "trained_on": manifest.trained_on,
        "data_fingerprint": manifest.data_fingerprint,
        "code_version": manifest.code_version,
        "created": manifest.created,
        "parameters": sum(weight.numel() for weight in stored.weights.values()),
        "training_matches_known": bool(len(stored.training_matches)),
        "training": stored.metrics,
    }


def data_facts(judged: MatchSet) -> dict[str, Any]:
    """What a report says of the matches that were judged."""
    years = sorted(set(judged.year.tolist()))
    return {
        "source": judged.source,
        "title": judged.title,
        "matches": len(judged),
        "frames": judged.frames,
        "years": [years[0], years[-1]],
        "won_by_a": round(float(judged.won.mean()), 4),
        "fingerprint": judged.fingerprint,
        "skipped": list(judged.skipped),
    }


def _taken(matches: MatchSet, positions: Sequence[int]) -> MatchSet:
    import torch

    return matches.take(torch.tensor(positions, dtype=torch.int64))


def _values(judged: Mapping[str, Judged]) -> dict[str, dict[str, float | None]]:
    """Figures; None where only one outcome occurs and AUC means nothing."""
    return {
        name: {measure: None if math.isnan(value) else round(value, 5) for measure, value in of.values.items()}
        for name, of in judged.items()
    }


def _intervals(judged: Mapping[str, Judged]) -> dict[str, dict[str, list[float] | None]]:
    return {name: {measure: _rounded(of.interval(measure)) for measure in of.values} for name, of in judged.items()}


def _rounded(values: Sequence[float] | None) -> list[float] | None:
    return None if values is None else [round(value, 5) for value in values]
