"""What the model is measured against: the sign of the gold lead, and logistic regression minute by minute."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from jobs.datasets import MatchSet

Floats = npt.NDArray[np.float64]
_FEWEST_FRAMES = 100


class GoldSign:
    """The camp with more gold wins, as likely as the leader won in training; level gold is one half."""

    name = "gold_sign"

    def fit(self, train: MatchSet) -> GoldSign:
        """Learn how often the leader wins."""
        lead, won = np.sign(_columns(train, ["gold"])[:, 0]), frame_outcomes(train)
        right = ((lead > 0) == (won > 0.5))[lead != 0]
        self._leader_wins = float(right.mean()) if len(right) else 0.5
        return self

    def probs(self, matches: MatchSet) -> Floats:
        """P(A wins) for every real frame."""
        lead = np.sign(_columns(matches, ["gold"])[:, 0])
        return 0.5 + lead * (self._leader_wins - 0.5)


class MinuteRegression:
    """One logistic regression per minute of game clock on some features; the last minutes are pooled.

    A minute with fewer than 100 training frames joins the one before it. A missing value counts as 0, parity.
    """

    def __init__(self, features: Sequence[str]) -> None:
        self.features = list(features)
        self.name = "_".join(("minute_regression", *features))

    def fit(self, train: MatchSet) -> MinuteRegression:
        """Fit every minute."""
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        x, won, minute = _columns(train, self.features), frame_outcomes(train), _minutes(train)
        counts = np.bincount(minute)
        self._slot = np.maximum(np.cumsum(counts >= _FEWEST_FRAMES) - 1, 0)
        slots = self._slot[minute]
        self._models = {}
        for slot in np.unique(slots):
            rows = slots == slot
            if won[rows].min() == won[rows].max():
                continue
            self._models[int(slot)] = make_pipeline(StandardScaler(), LogisticRegression()).fit(x[rows], won[rows])
        return self

    def probs(self, matches: MatchSet) -> Floats:
        """P(A wins) for every real frame; one half at a minute that training could not learn."""
        x = _columns(matches, self.features)
        slots = self._slot[np.minimum(_minutes(matches), len(self._slot) - 1)]
        probs = np.full(len(x), 0.5)
        for slot in np.unique(slots):
            if int(slot) in self._models:
                rows = slots == slot
                probs[rows] = self._models[int(slot)].predict_proba(x[rows])[:, 1]
        return probs


Baseline = GoldSign | MinuteRegression


def baselines_for(matches: MatchSet) -> list[Baseline]:
    """The baselines that these matches have the features for."""
    known = [
        name for column, name in enumerate(matches.spec.features) if not matches.features[..., column].isnan().all()
    ]
    found: list[Baseline] = []
    if "gold" in known:
        found += [GoldSign(), MinuteRegression(["gold"])]
    if "gold" in known and "form" in known:
        found.append(MinuteRegression(["gold", "form"]))
    return found


def frame_outcomes(matches: MatchSet) -> Floats:
    """Who won, 1 for A, for every real frame."""
    return matches.won[:, None].expand_as(matches.mask)[matches.mask].double().numpy()


def frame_clocks(matches: MatchSet) -> Floats:
    """Game clock in seconds of every real frame."""
    return matches.clock_s[matches.mask].double().numpy()


def _minutes(matches: MatchSet) -> npt.NDArray[np.int64]:
    return np.maximum(frame_clocks(matches) // 60, 0).astype(np.int64)


def _columns(matches: MatchSet, names: Sequence[str]) -> Floats:
    positions = [matches.spec.features.index(name) for name in names]
    return matches.features[matches.mask][:, positions].double().nan_to_num().numpy()
