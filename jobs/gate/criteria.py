"""Figures against bounds: pure judgement on arrays. A bound that is met is a pass, but "below" means below."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from jobs.intervals import Frames, ece_of_noise, judge
from models.metrics import ece
from models.verdict import Reason, Verdict

Floats = npt.NDArray[np.float64]

CANDIDATE, LIVE = "candidate", "live"
_SURE = 0.95


@dataclass(frozen=True)
class Bounds:
    """What a candidate has to keep.

    Attributes:
        matches: the fewest that say anything; intervals over fewer are too narrow to be trusted.
        ece: the most that the expected calibration error may be, as of `models.metrics.ece`, on a window so long that
            luck does not exceed it; on a shorter one, the most is what luck stays below in 95 of 100 windows, as of
            `jobs.intervals.ece_of_noise`: 0.11 on 200 matches, where the truth itself shows 0.08.
        slowdown: the most time that an answer may take, in times of the live model's.
    """

    matches: int = 200
    ece: float = 0.05
    slowdown: float = 1.2


def admission(matches: int, learned_from: int | None, bounds: Bounds) -> list[Reason]:
    """May the window be judged on at all? If not, no other figure means anything.

    Args:
        matches: in the window.
        learned_from: how many of them the candidate has learned from; None where it does not say.
        bounds: see there.
    """
    missing = bounds.matches - matches
    short = f" ({missing:,} more are needed, nothing else was judged)" if missing > 0 else ""
    return [
        Reason(f"matches to judge on, at least{short}", float(matches), float(bounds.matches), missing <= 0),
        Reason(
            "matches of the window that the candidate has learned from, at most"
            + (" (the version does not say which it learned from)" if learned_from is None else ""),
            None if learned_from is None else float(learned_from),
            0.0,
            learned_from == 0,
        ),
    ]


def quality(frames: Frames, candidate: Floats, live: Floats | None, bounds: Bounds) -> list[Reason]:
    """Better beyond noise, and calibrated; intervals are of pairs, over resampled matches.

    Args:
        frames: N frames of B matches.
        candidate: (N,) P(A wins).
        live: (N,) the same of the live model; None where nothing is live: then the candidate has to beat the base
            rate, the one probability that would have been best for all frames of this window.
        bounds: see there.
    """
    rival = np.full_like(candidate, frames.won.mean()) if live is None else live
    whose = "the base rate" if live is None else "the live model"
    judged = judge(frames, {CANDIDATE: candidate, LIVE: rival}, measures=("log_loss", "ece"))
    nats, gap = (judged[LIVE].difference(judged[CANDIDATE], measure) for measure in ("log_loss", "ece"))
    _, _, nats_high = nats or (math.nan,) * 3
    _, gap_low, _ = gap or (math.nan,) * 3
    found = [
        Reason(f"log-loss minus that of {whose}, upper end of the 95 % interval, below", nats_high, 0.0, nats_high < 0),
        calibration(frames, candidate, bounds),
    ]
    if live is not None:
        found.append(
            at_most("calibration error minus that of the live model, lower end of the 95 % interval, at most", gap_low)
        )
    return found


def calibration(frames: Frames, candidate: Floats, bounds: Bounds) -> Reason:
    """Calibrated, as far as these matches can tell?

    Args:
        frames: N frames of B matches.
        candidate: (N,) P(A wins).
        bounds: see there.
    """
    by_luck = float(np.quantile(ece_of_noise(frames, candidate), _SURE))
    criterion = "expected calibration error, at most"
    if by_luck > bounds.ece:
        criterion += f" (asked {bounds.ece:g}; luck makes more of it on {frames.matches:,} matches)"
    return at_most(criterion, ece(candidate, frames.won), max(bounds.ece, by_luck))


def pace(what: str, candidate_s: Sequence[float], live_s: Sequence[float] | None, bounds: Bounds) -> Reason:
    """As fast? The median over rounds of the ratio within a round: what slows the machine down for a while slows both,
    and what interrupts one of them is one round of many.

    Args:
        what: is answered, in words.
        candidate_s: seconds of each round, (R,).
        live_s: the same of the live model; None where nothing is live, and nothing to be compared with.
        bounds: see there.
    """
    if live_s is None:
        alone_s = float(np.median(candidate_s))
        return Reason(f"seconds for {what}, median (nothing is live to be compared with)", alone_s, None, True)
    ratio = float(np.median(np.asarray(candidate_s) / np.asarray(live_s)))
    return at_most(
        f"time for {what}, in times of the live model's, median of {len(candidate_s)} rounds, at most",
        ratio,
        bounds.slowdown,
    )


def at_most(criterion: str, figure: float, bound: float = 0.0) -> Reason:
    """A criterion that NaN does not pass."""
    return Reason(criterion, figure, bound, figure <= bound)


def conclude(reasons: Sequence[Reason], *, against: str, window: str, created: str) -> Verdict:
    """The verdict that these reasons make; see `Verdict`."""
    return Verdict(all(reason.passed for reason in reasons), against, tuple(reasons), window, created)


def log_loss_words(figures: Mapping[str, Floats], frames: Frames) -> str:
    """Both models' log-loss and the difference with its interval, in a sentence."""
    judged = judge(frames, figures, measures=("log_loss",))
    value, low, high = judged[LIVE].difference(judged[CANDIDATE], "log_loss") or (math.nan,) * 3
    mine, rival = (judged[name].values["log_loss"] for name in (CANDIDATE, LIVE))
    return f"log-loss {mine:.4f} against {rival:.4f}: {value:+.4f} ({low:+.4f} to {high:+.4f})"
