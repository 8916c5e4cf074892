"""The calibrated per-minute baseline: log-odds from gold and form alone, which anyone can check by hand.

    log-odds = a · gold_weight(minute) · gold  +  [form known] · (b · form_weight(minute) · form + c)

The weights come from a file per title (`titles/TITLE.baseline.json`, made by `python -m jobs.fit_baseline`);
(a, b, c) is the calibration, (1, 1, 0) to begin with, refitted to the latest results by `recalibrated`. A frame at
parity whose form is unknown is even, whatever the calibration.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

Floats = npt.NDArray[np.float64]

SLOTS = 12
"""Clocks at which a match is sampled: every `sample_s`, so many at most."""

NEUTRAL = np.array([1.0, 1.0, 0.0])
"""The calibration (a, b, c) that changes nothing."""

DRIFT_CUTS = (0.025, 0.1, 0.25, 0.5, 0.75, 0.9, 0.975)
"""Quantiles that part the bins of the drift measure: finer in the tails, which a patch moves first."""

_FEWEST_MATCHES = 200  # with a frame in a minute, else the weights end there
_REACH_MIN = 1.0  # a minute is fitted to the frames so far on both sides of it
_PRIOR_SD = np.array([0.25, 0.2, 0.2])  # of a calibration around what is expected: ten matches say little
_TITLES = Path(__file__).parent / "titles"


@dataclass(frozen=True)
class Baseline:
    """Weights of one title, and what its leads look like where they were fitted."""

    title: str
    trained_on: str  # in words
    sample_s: float
    minutes: tuple[float, ...]  # knots, joined by straight lines and level beyond both ends
    gold_weight: tuple[float, ...]  # log-odds per gold
    form_weight: tuple[float, ...]  # log-odds per unit of form
    gold_spread: tuple[float, ...]  # root mean square of the lead in gold
    drift_edges: tuple[float, ...]  # of the lead in units of its spread, at `DRIFT_CUTS`
    drift_shares: tuple[float, ...]  # what lies between them

    def parts(self, clock_s: Floats, gold: Floats, form: Floats) -> tuple[Floats, Floats]:
        """What gold and form say, (N,) log-odds each, before calibration; 0 where unknown (NaN)."""
        minute = clock_s / 60.0
        by_gold = np.nan_to_num(np.interp(minute, self.minutes, self.gold_weight) * gold)
        by_form = np.nan_to_num(np.interp(minute, self.minutes, self.form_weight) * form)
        return by_gold, by_form

    def lead(self, clock_s: Floats, gold: Floats) -> Floats:
        """The lead in gold in units of what is usual at its clock, (N,); NaN where unknown."""
        lead: Floats = gold / np.interp(clock_s / 60.0, self.minutes, self.gold_spread)
        return lead

    @classmethod
    def load(cls, path: Path) -> Baseline:
        """From a file of `save`.

        Raises:
            ValueError: the file is no baseline; the message names it and what is wrong.
        """
        try:
            fields = json.loads(path.read_text(encoding="utf-8"))
            lists = {name: tuple(map(float, value)) for name, value in fields.items() if isinstance(value, list)}
            baseline = cls(**{**fields, **lists})
        except (TypeError, ValueError) as error:
            raise ValueError(f"{path}: not a baseline: {error}; make it with python -m jobs.fit_baseline") from error
        curves = (baseline.gold_weight, baseline.form_weight, baseline.gold_spread)
        if len(baseline.drift_shares) != len(baseline.drift_edges) + 1 or any(
            len(curve) != len(baseline.minutes) for curve in curves
        ):
            raise ValueError(
                f"{path}: not a baseline: lists of unequal length; make it with python -m jobs.fit_baseline"
            )
        return baseline

    def save(self, path: Path) -> None:
        """As JSON."""
        path.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")


def packaged_baselines() -> Mapping[str, Baseline]:
    """Those that ship with this package, by title."""
    made = [Baseline.load(path) for path in sorted(_TITLES.glob("*.baseline.json"))]
    return {baseline.title: baseline for baseline in made}


def fit_baseline(frames: pl.DataFrame, *, title: str, trained_on: str, sample_s: float) -> Baseline:
    """Fit the weights minute by minute, by logistic regression without intercept.

    Args:
        frames: match frames of whole matches of one title (`match_fold.fold_events`).
        title: which.
        trained_on: what the frames are, in words.
        sample_s: distance of the clocks at which the guard will sample matches.

    Raises:
        ValueError: fewer than 200 of the matches have gold and a winner.
    """
    ended = frames.filter(pl.col("winner").is_not_null())
    results = ended.select("match_id", "attempt", won=(pl.col("winner") == "A").cast(pl.Float64))
    told = frames.filter((pl.col("status") == "live") & pl.col("gold").is_not_nan())
    told = told.join(results, on=("match_id", "attempt"))
    clock_s, gold, form, won = (told[name].to_numpy().astype(np.float64) for name in ("clock_s", "gold", "form", "won"))
    match, form = told["match_id"].rank("dense").to_numpy(), np.nan_to_num(form)
    curves: list[tuple[float, float, float, float]] = []
    for minute in np.arange(0.0, 24 * 60.0):
        near = np.abs(clock_s / 60.0 - minute) <= _REACH_MIN
        if len(np.unique(match[near])) < _FEWEST_MATCHES:
            break
        spread = float(np.sqrt(np.mean(gold[near] ** 2)))
        x = np.column_stack([gold[near] / max(spread, 1.0), form[near]])
        weight = newton(x, won[near], np.ones(len(x)), np.zeros(2), np.ones(2))
        curves.append((float(minute), float(weight[0]) / max(spread, 1.0), float(weight[1]), max(spread, 1.0)))
    if not curves:
        raise ValueError(f"fewer than {_FEWEST_MATCHES} matches of {title} with gold and a winner: too few to fit")
    minutes, gold_weight, form_weight, gold_spread = zip(*curves, strict=True)
    # As the guard samples them: the first frame in each slot, each match counting once.
    slot = (clock_s // sample_s).astype(np.int64)
    _, sampled = np.unique(match.astype(np.int64) * (slot.max() + 1) + slot, return_index=True)
    sampled = sampled[(slot[sampled] >= 1) & (slot[sampled] <= SLOTS)]
    lead = (gold / np.interp(clock_s / 60.0, minutes, gold_spread))[sampled]
    _, of, samples = np.unique(match[sampled], return_inverse=True, return_counts=True)
    edges = np.quantile(lead, DRIFT_CUTS)
    shares = np.bincount(np.searchsorted(edges, lead), weights=1.0 / samples[of], minlength=len(edges) + 1)
    return Baseline(
        title,
        trained_on,
        sample_s,
        minutes,
        gold_weight,
        form_weight,
        gold_spread,
        _plain(edges),
        _plain(shares / shares.sum()),
    )


def _plain(values: Iterable[float]) -> tuple[float, ...]:
    return tuple(float(value) for value in values)


def recalibrated(by_gold: Floats, by_form: Floats, form_known: Floats, won: Floats, lead: Floats) -> Floats:
    """The calibration (a, b, c) that finished matches ask for.

    Each match counts once, however many samples it has. Before results have a say, gold is expected to be worth as much
    less as leads have become larger: a patch that doubles them does not double how sure anyone can be.

    Args:
        by_gold: (R, SLOTS) of `Baseline.parts`; NaN where the match was not sampled.
        by_form: likewise.
        form_known: (R, SLOTS), 1 or 0.
        won: (R,), 1 if camp A won.
        lead: (R, SLOTS) of `Baseline.lead`.
    """
    sampled = ~np.isnan(by_gold)
    weight = (sampled / np.maximum(sampled.sum(axis=1, keepdims=True), 1))[sampled]
    x = np.column_stack([by_gold[sampled], by_form[sampled], form_known[sampled]])
    y = np.broadcast_to(won[:, None], by_gold.shape)[sampled]
    leads = lead[~np.isnan(lead)]
    grown = float(np.sqrt(np.mean(leads**2))) if len(leads) else 1.0
    expected = np.array([1.0 / np.clip(grown, 0.25, 4.0), 1.0, 0.0])
    return newton(x, y, weight, expected, 1.0 / _PRIOR_SD**2)


def newton(x: Floats, y: Floats, weight: Floats, expected: Floats, precision: Floats) -> Floats:
    """Logistic regression with a normal prior, by Newton's method.

    Args:
        x: (N, P).
        y: (N,), 0 or 1.
        weight: (N,) how often each row counts.
        expected: (P,) centre of the prior.
        precision: (P,) one over its variance.

    Returns:
        (P,) the most probable coefficients.
    """
    coefficients = expected.astype(np.float64)
    for _ in range(25):
        p = 1.0 / (1.0 + np.exp(-np.clip(x @ coefficients, -30, 30)))
        gradient = x.T @ (weight * (y - p)) - precision * (coefficients - expected)
        hessian = (x * (weight * p * (1 - p))[:, None]).T @ x + np.diag(precision)
        step = np.linalg.solve(hessian, gradient)
        coefficients = coefficients + np.clip(step, -1.0, 1.0)
        if np.abs(step).max() < 1e-6:
            break
    return coefficients
