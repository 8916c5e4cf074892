"""What every answer must keep whatever the weights are, tried on matches of the window and on changed copies of them.

camps     with the camps swapped the log-odds turn their sign; what home advantage adds to both, and would say of
          a level match, is left out of account
sums      contributions sum to the log-odds
time      no answer depends on later frames, neither on what happens in them nor on whether there are any
unknown   every answer is finite, whatever is not known: any group, all of them, heroes nobody has heard of
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch

from jobs.datasets import MatchSet
from jobs.gate.criteria import at_most
from models.verdict import Reason

TOLERANCE = 1e-5
"""Of log-odds up to ±10 in float32."""
MOST_MATCHES = 64
"""So many of the window, evenly spread, are tried: what holds by construction needs no more."""


@dataclass(frozen=True)
class Answers:
    """Of N frames, in the order of `MatchSet.mask.nonzero()`."""

    logits: npt.NDArray[np.float64]  # (N,) log-odds that A wins
    contributions: npt.NDArray[np.float64]  # (N, G)


Answering = Callable[[MatchSet], Answers]


def promises(answer: Answering, window: MatchSet, *, has_home: bool) -> list[Reason]:
    """One reason for each promise: how far it is missed at worst.

    Args:
        answer: the candidate.
        window: at least one match.
        has_home: the model has a home advantage, so that a level match need not be even.
    """
    with np.errstate(invalid="ignore"):  # infinite log-odds are no answer, and are counted as none
        return _tried(answer, window.take(_spread(len(window))), has_home)


def _spread(matches: int) -> torch.Tensor:
    return torch.linspace(0, matches - 1, min(matches, MOST_MATCHES)).long()


def _tried(answer: Answering, matches: MatchSet, has_home: bool) -> list[Reason]:
    plain, turned = answer(matches), answer(swapped(matches))
    home = answer(level(matches)).logits if has_home else np.zeros_like(plain.logits)
    partly = [answer(part) for part in less_known(matches)]
    everything = [plain, turned, *partly]
    return [
        at_most(
            "camps swapped: log-odds of both that do not cancel, at most",
            _furthest(plain.logits + turned.logits, 2 * home),
            TOLERANCE,
        ),
        at_most(
            "contributions that miss their log-odds, by at most",
            max((_furthest(each.contributions.sum(axis=1), each.logits) for each in everything), key=_nan_last),
            TOLERANCE,
        ),
        at_most(
            "later frames changed or left out: earlier log-odds move by at most", _foresight(answer, matches), TOLERANCE
        ),
        at_most(
            "frames without a finite answer, whatever is not known, at most", float(sum(map(not_finite, everything)))
        ),
    ]


def not_finite(answers: Answers) -> int:
    """How many frames have log-odds or contributions that are not finite."""
    fine = np.isfinite(answers.logits) & np.isfinite(answers.contributions).all(axis=1)
    return int(np.count_nonzero(~fine))


def swapped(matches: MatchSet) -> MatchSet:
    """The same matches with camp B named first."""
    return replace(
        matches,
        features=-matches.features,
        won=1 - matches.won,
        teams=tuple((b, a) for a, b in matches.teams),
        heroes=tuple((b, a) for a, b in matches.heroes),
    )


def level(matches: MatchSet) -> MatchSet:
    """The same matches with parity wherever a value is known, and no line-ups."""
    features = matches.features
    return replace(matches, features=torch.where(features.isnan(), features, 0.0), heroes=())


def less_known(matches: MatchSet) -> list[MatchSet]:
    """The same matches without each of the title's groups, without all, and with heroes that nobody knows."""
    groups = matches.spec.groups.values()
    hidden_names = [*groups, matches.spec.features]
    columns = [torch.tensor([name in names for name in matches.spec.features]) for names in hidden_names]
    hidden = [replace(matches, features=matches.features.masked_fill(each, torch.nan), heroes=()) for each in columns]
    strangers = (("nobody",) * 5, ("no one",) * 5)
    return [*hidden, replace(matches, heroes=(strangers,) * len(matches))]


def _foresight(answer: Answering, matches: MatchSet) -> float:
    """How far answers to the first half of each match move when its second half is another, or is missing."""
    half = (matches.mask.sum(dim=1, keepdim=True) + 1) // 2
    early = torch.arange(matches.mask.shape[1]) < half  # (B, T)
    kept = early[matches.mask].numpy()
    other = torch.where(early[..., None], matches.features, -2.0 * matches.features)
    whole = answer(matches).logits[kept]
    changed = answer(replace(matches, features=other)).logits[kept]
    cut = answer(replace(matches, mask=matches.mask & early)).logits
    return max(_furthest(changed, whole), _furthest(cut, whole), key=_nan_last)


def _furthest(values: npt.NDArray[np.float64], wanted: npt.NDArray[np.float64]) -> float:
    return float(np.abs(values - wanted).max(initial=0.0))


def _nan_last(value: float) -> float:
    """`max` would pass over NaN."""
    return float("inf") if np.isnan(value) else value
