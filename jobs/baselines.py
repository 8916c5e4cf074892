"""What a win model is measured against, from the sign of the gold lead to a causal Transformer.

All learn from matches and answer for matches: `fit(train)`, then `probs(matches)`. None sees who will win, how long a
match will be, or anything of the matches it is judged on; scales and stopping come from the training set alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt
import torch

from jobs.datasets import MatchSet, frame_clocks, frame_outcomes

if TYPE_CHECKING:
    from torch import nn

    from jobs.recipes.win_tsstn import WinTSSTN
    from models.tsstn import TSSTN

Floats = npt.NDArray[np.float64]
_FEWEST_FRAMES = 100


class Predictor(Protocol):
    """Something that learns who wins; `name` is its key in reports, `words` what a reader sees."""

    name: str
    words: str

    def fit(self, train: MatchSet) -> Predictor:
        """Learn from these matches; returns itself."""
        ...

    def probs(self, matches: MatchSet) -> Floats:
        """P(A wins) for every real frame, in the order of `matches.mask.nonzero()`."""
        ...


class GoldSign:
    """The camp with more gold wins, as likely as the leader won in training; level gold is one half."""

    name, words = "gold_sign", "who has more gold"

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


class PooledRegression:
    """One logistic regression for all frames; a missing value counts as 0, parity."""

    name, words = "logistic", "logistic regression, all minutes in one"

    def __init__(self, features: Sequence[str]) -> None:
        self.features = list(features)

    def fit(self, train: MatchSet) -> PooledRegression:
        """Fit; with one outcome only in training, every answer is one half."""
        self._model = _regression(_columns(train, self.features), frame_outcomes(train))
        return self

    def probs(self, matches: MatchSet) -> Floats:
        """P(A wins) for every real frame."""
        return _answers(self._model, _columns(matches, self.features))


class MinuteRegression:
    """One logistic regression per minute of game clock on some features; the last minutes are pooled.

    A minute with fewer than 100 training frames joins the one before it. A missing value counts as 0, parity.
    """

    def __init__(self, features: Sequence[str], name: str = "logistic_per_minute", words: str = "") -> None:
        self.features = list(features)
        self.name, self.words = name, words or "logistic regression per minute"

    def fit(self, train: MatchSet) -> MinuteRegression:
        """Fit every minute."""
        x, won, minute = _columns(train, self.features), frame_outcomes(train), _minutes(train)
        counts = np.bincount(minute)
        self._slot = np.maximum(np.cumsum(counts >= _FEWEST_FRAMES) - 1, 0)
        slots = self._slot[minute]
        self._models = {int(slot): _regression(x[slots == slot], won[slots == slot]) for slot in np.unique(slots)}
        return self

    def probs(self, matches: MatchSet) -> Floats:
        """P(A wins) for every real frame; one half at a minute that training could not learn."""
        x = _columns(matches, self.features)
        slots = self._slot[np.minimum(_minutes(matches), len(self._slot) - 1)]
        probs = np.full(len(x), 0.5)
        for slot in np.unique(slots):
            probs[slots == slot] = _answers(self._models.get(int(slot)), x[slots == slot])
        return probs


class BoostedTrees:
    """Gradient-boosted trees on all features and the clock; how many trees, matches held out of training decide."""

    name, words = "boosted_trees", "gradient-boosted trees with clock"
    _SETTINGS: dict[str, Any] = {  # noqa: RUF012 - read only
        "learning_rate": 0.05,
        "max_leaf_nodes": 15,
        "min_samples_leaf": 200,
        "l2_regularization": 1.0,
        "early_stopping": False,  # it would split by row
        "random_state": 0,
    }
    _MOST_TREES = 200

    def __init__(self, features: Sequence[str]) -> None:
        self.features = list(features)

    def fit(self, train: MatchSet) -> BoostedTrees:
        """Find the number of trees on 15 % of the matches, then fit that many on all."""
        from sklearn.ensemble import HistGradientBoostingClassifier

        from jobs.datasets import split_by_match
        from models.metrics import log_loss

        self._model = None
        if len(train) < 2 or len(np.unique(frame_outcomes(train))) < 2:
            return self
        split = split_by_match(train, share=0.15, seed=0)
        trees = self._MOST_TREES
        won = frame_outcomes(split.train)
        if len(np.unique(won)) == 2:
            trial = HistGradientBoostingClassifier(max_iter=trees, **self._SETTINGS).fit(self._inputs(split.train), won)
            stages = trial.staged_predict_proba(self._inputs(split.held_out))
            nats = [log_loss(stage[:, 1], frame_outcomes(split.held_out)) for stage in stages]
            trees = int(np.argmin(nats)) + 1
        self._model = HistGradientBoostingClassifier(max_iter=trees, **self._SETTINGS)
        self._model.fit(self._inputs(train), frame_outcomes(train))
        return self

    def probs(self, matches: MatchSet) -> Floats:
        """P(A wins) for every real frame."""
        return _answers(self._model, self._inputs(matches))

    def _inputs(self, matches: MatchSet) -> Floats:
        return np.column_stack([frame_clocks(matches), _columns(matches, self.features, missing=np.nan)])


class NetworkBaseline:
    """A network of `models.baselines`, trained by `jobs.fit_network`."""

    def __init__(self, name: str, seed: int = 0) -> None:
        self.name, self.words = name, NETWORKS[name]
        self._seed = seed
        self._network: nn.Module | None = None

    def fit(self, train: MatchSet) -> NetworkBaseline:
        """Train, with early stopping on 15 % of these matches."""
        from jobs.fit_network import NetworkRecipe, fit_network

        width = len(train.spec.features)
        self._network = fit_network(lambda: _network(self.name, width), train, NetworkRecipe(seed=self._seed))
        return self

    def probs(self, matches: MatchSet) -> Floats:
        """P(A wins) for every real frame."""
        from jobs.fit_network import network_probs

        if self._network is None:
            raise RuntimeError(f"{self.name}: fit comes before probs")
        return network_probs(self._network, matches)


class TrainedTSSTN:
    """TSSTN itself, trained by a recipe: the contender, or a part of it to show what the rest is worth.

    Args:
        name: its key in reports.
        words: what a reader sees.
        recipe: how to train; its `data`, `title` and years are not read.
        without: names of features that are hidden from it.
    """

    def __init__(self, name: str, words: str, recipe: WinTSSTN, *, without: Sequence[str] = ()) -> None:
        self.name, self.words, self.recipe, self._without = name, words, recipe, tuple(without)
        self.model: TSSTN | None = None

    def fit(self, train: MatchSet) -> TrainedTSSTN:
        """Train by the recipe, which holds out a share of these matches."""
        from jobs.datasets import split_by_match
        from jobs.fit_tsstn import fit

        train = hidden(train, self._without)
        split = split_by_match(train, share=self.recipe.validation, seed=self.recipe.seed)
        self.model = fit(split.train, split.held_out, self.recipe).model()
        return self

    def probs(self, matches: MatchSet) -> Floats:
        """P(A wins) for every real frame."""
        from jobs.fit_tsstn import frame_probs

        if self.model is None:
            raise RuntimeError(f"{self.name}: fit comes before probs")
        answers: Floats = frame_probs(self.model, hidden(matches, self._without)).numpy()
        return answers


@dataclass(frozen=True)
class StoredWin:
    """A model of the store; it has learned already."""

    model: TSSTN
    name: str = "tsstn"
    words: str = "TSSTN"

    def fit(self, train: MatchSet) -> StoredWin:
        """Nothing to learn."""
        return self

    def probs(self, matches: MatchSet) -> Floats:
        """P(A wins) for every real frame."""
        from jobs.fit_tsstn import frame_probs

        answers: Floats = frame_probs(self.model, matches).numpy()
        return answers


NETWORKS = {"mlp": "MLP with clock", "gru": "GRU", "lstm": "LSTM", "transformer": "causal Transformer"}
CLASSICAL = ("gold_sign", "logistic", "logistic_per_minute", "logistic_per_minute_form", "boosted_trees")
PARTIAL = ("tsstn_no_temporal", "tsstn_no_spatial", "tsstn_no_form")
BASELINES = (*CLASSICAL, *NETWORKS, *PARTIAL)
"""Names of all baselines, in the order of reports."""


def baselines_for(
    matches: MatchSet, names: Sequence[str] = BASELINES, recipe: WinTSSTN | None = None
) -> list[Predictor]:
    """Those of the named baselines that these matches have the features for.

    Args:
        matches: that they will learn from.
        names: some of `BASELINES`.
        recipe: of the partial TSSTNs; None: the default one.
    """
    from jobs.recipes.win_tsstn import WinTSSTN

    recipe = recipe or WinTSSTN(data="")
    known = known_features(matches)
    without_form = [name for name in known if name != "form"]
    has_form = len(without_form) < len(known)
    makers: dict[str, Callable[[], Predictor] | None] = {
        "gold_sign": GoldSign if "gold" in known else None,
        "logistic": lambda: PooledRegression(known),
        "logistic_per_minute": (lambda: MinuteRegression(without_form)) if without_form else None,
        "logistic_per_minute_form": (
            (lambda: MinuteRegression(known, "logistic_per_minute_form", "logistic regression per minute, with form"))
            if has_form and without_form
            else None
        ),
        "boosted_trees": lambda: BoostedTrees(known),
        **{name: (lambda name=name: NetworkBaseline(name)) for name in NETWORKS},  # type: ignore[misc]
        "tsstn_no_temporal": lambda: TrainedTSSTN(
            "tsstn_no_temporal",
            "TSSTN without temporal stage",
            replace(recipe, sizes=replace(recipe.sizes, temporal="none")),
        ),
        "tsstn_no_spatial": lambda: TrainedTSSTN(
            "tsstn_no_spatial",
            "TSSTN without spatial stage",
            replace(recipe, sizes=replace(recipe.sizes, spatial="linear")),
        ),
        "tsstn_no_form": (
            (lambda: TrainedTSSTN("tsstn_no_form", "TSSTN without form", recipe, without=["form"]))
            if has_form
            else None
        ),
    }
    return [make() for name in names if (make := makers[name]) is not None]


def known_features(matches: MatchSet) -> list[str]:
    """Features that at least one frame knows, in the title's order."""
    seen = matches.features[matches.mask].isnan().logical_not().any(dim=0).tolist()
    return [name for name, is_known in zip(matches.spec.features, seen, strict=True) if is_known]


def hidden(matches: MatchSet, names: Sequence[str]) -> MatchSet:
    """The same matches with these features not known."""
    if not names:
        return matches
    columns = torch.tensor([name in names for name in matches.spec.features])
    return replace(matches, features=matches.features.masked_fill(columns, torch.nan))


def _network(name: str, features: int) -> nn.Module:
    from models.baselines import CausalTransformer, FrameMLP, RecurrentNet

    makers: dict[str, Callable[[], nn.Module]] = {
        "mlp": lambda: FrameMLP(features),
        "gru": lambda: RecurrentNet(features, cell="gru"),
        "lstm": lambda: RecurrentNet(features, cell="lstm"),
        "transformer": lambda: CausalTransformer(features),
    }
    return makers[name]()


def _regression(x: Floats, won: Floats) -> Any:
    """A fitted logistic regression on standardised columns; None where only one outcome occurs."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    if won.min() == won.max():
        return None
    return make_pipeline(StandardScaler(), LogisticRegression()).fit(x, won)


def _answers(model: Any, x: Floats) -> Floats:
    """Its probabilities (N,); one half of a model that could not be fitted."""
    return np.full(len(x), 0.5) if model is None else np.asarray(model.predict_proba(x)[:, 1], np.float64)


def _minutes(matches: MatchSet) -> npt.NDArray[np.int64]:
    return np.maximum(frame_clocks(matches) // 60, 0).astype(np.int64)


def _columns(matches: MatchSet, names: Sequence[str], missing: float = 0.0) -> Floats:
    positions = [matches.spec.features.index(name) for name in names]
    return matches.features[matches.mask][:, positions].double().nan_to_num(nan=missing).numpy()
