"""Does the model weigh feature groups as the simulator does? Only there is the truth known."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from models.tsstn import TSSTN

Floats = npt.NDArray[np.float64]
_FEWEST_FRAMES = 50


class Agreement(NamedTuple):
    """Rank correlations between a model and the simulator over all cells of (minute, group)."""

    weights: float  # of the learned weights w_g with the true importance
    contributions: float  # of each group's share of the contributions' root mean square with the true importance
    minutes: int
    matches: int


def importance_agreement(model: TSSTN, title: str, *, matches: int, seed: int) -> Agreement:
    """Spearman's ρ on freshly simulated matches that the model has not seen.

    Args:
        model: of this title.
        title: a simulated one.
        matches: how many to play.
        seed: of the simulator; another one than the model learned from.
    """
    from jobs.datasets import frames_to_matches
    from jobs.fit_tsstn import estimates
    from streaming.features.match_fold import fold_events
    from streaming.simulators.match import simulate

    simulated = simulate(title, matches, seed)
    judged = frames_to_matches(fold_events(simulated.events), title, f"simulator {title}")
    groups = model.config.group_names
    parts: list[tuple[Floats, Floats, Floats]] = []
    for positions, estimate in estimates(model, judged):
        real = judged.mask[positions, : estimate.logits.shape[1]]
        clock_s = judged.clock_s[positions, : real.shape[1]][real]
        parts.append((_array(clock_s), _array(estimate.weights[real]), _array(estimate.contributions[real])))
    clocks, weights, contributions = (np.concatenate(column) for column in zip(*parts, strict=True))
    truth = simulated.truth
    true_minute = (truth["clock_s"].to_numpy() // 60).astype(np.int64)
    importance = truth.select(f"importance_{group}" for group in groups).to_numpy()
    minute = (clocks // 60).astype(np.int64)
    learned, shares, true = [], [], []
    for at in range(1, int(minute.max()) + 1):  # at minute 0 nothing has happened
        here, there = minute == at, true_minute == at
        if here.sum() < _FEWEST_FRAMES or there.sum() < _FEWEST_FRAMES:
            continue
        size = np.sqrt(np.square(contributions[here]).mean(axis=0))
        learned.append(weights[here].mean(axis=0))
        shares.append(size / size.sum())
        true.append(importance[there].mean(axis=0))
    return Agreement(
        spearman(np.concatenate(learned), np.concatenate(true)),
        spearman(np.concatenate(shares), np.concatenate(true)),
        len(true),
        len(judged),
    )


def spearman(a: Floats, b: Floats) -> float:
    """Rank correlation of two vectors; ties share their mean rank."""
    import polars as pl

    return float(np.corrcoef(pl.Series(a).rank(), pl.Series(b).rank())[0, 1])


def _array(values: object) -> Floats:
    return np.asarray(values, np.float64)
