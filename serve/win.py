"""The win-prediction deployment: one columnar batch in, probabilities with their reasons out.

A replica holds the weights of every title it serves (each a few hundred kilobytes), so that three titles do not cost
three processes. Scale is replicas; batching is the caller's, who has whole polls.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from models.store import SHIPPED, BrokenModelError, ModelStore
from serve.calls import Loading, Replicas, require_store
from serve.held import Held
from serve.lazily import Lazily
from streaming.features.catalogue import FORM
from streaming.pipelines.win_prediction import STATE_FLOATS, Arrays, Prediction

if TYPE_CHECKING:
    from serve.predictors.win import WinPredictor

Reply = dict[str, Any]


class WinReplica:
    """One replica. Weights load inside it, never in the caller."""

    def __init__(
        self,
        store: str,
        models: Mapping[str, str],
        device: str,
        *,
        store_must_exist: bool = False,
        fall_back: bool = False,
    ) -> None:
        """Load every title's model: from the store, else from those that ship with Sightline, wherever those lie here.

        Args:
            store: folder of the user's own models on this node, or URL.
            models: title to reference, such as {"lol": "tsstn-lol@live"}.
            device: "cpu" or "cuda".
            store_must_exist: it is there where the pipeline was started, so without it here other weights would answer.
            fall_back: where what an alias means cannot serve, load what it meant before. For those whom calls tell by
                which version to answer: one that starts meanwhile must not be missing beside those that answer on.

        Raises:
            ModelNotFoundError, BrokenModelError: a model cannot be loaded; the message says which and what to do.
        """
        if store_must_exist:
            require_store(store)
        roots = (store, str(SHIPPED))
        self._lock = threading.Lock()
        self._held: Held[WinPredictor] = Held(partial(_loaded, roots, device), _check_even)
        self._held.load_first(ModelStore(*roots), models, fall_back=fall_back)

    def prepare(self, title: str, exact: str) -> None:
        """Load NAME@VERSION beside what answers, and see that it can. What was asked for longest ago goes.

        Raises:
            ModelNotFoundError, BrokenModelError: it cannot be loaded, is of another title, or does not call a level
                match even.
        """
        self._held.prepare(title, exact)

    async def prepare_beside(self, title: str, exact: str) -> None:
        """As `prepare`, while other calls are answered."""
        await asyncio.to_thread(self.prepare, title, exact)

    def predict(self, title: str, request: dict[str, npt.NDArray[Any]], exact: str = "") -> Reply:
        """The answer for N frames of one title; arrays as in `streaming.pipelines.win_prediction.Predict`.

        Args:
            title: of the matches.
            request: the frames.
            exact: NAME@VERSION to answer by, loaded first if it is not; "" for the newest here.

        Raises:
            KeyError: there is no model for the title.
            ModelNotFoundError, BrokenModelError: as `prepare`.
        """
        predictor = self._held.asked(title, exact)
        state = predictor.state_floats
        padded = request["hidden"]
        with self._lock:
            reply = dict(predictor.predict({**request, "hidden": padded[:, :state]}))
        hidden = np.zeros((len(padded), STATE_FLOATS), np.float32)
        hidden[:, :state] = reply["hidden"]
        info = predictor.info
        return {
            **reply,
            "hidden": hidden,
            "model": (info.name, info.version, info.weight_hash),
        }

    def describe(self) -> list[dict[str, Any]]:
        """One entry per title: title, name, version, weight_hash, trained_on, and how often reasons did not add up."""
        broken = {title: predictor.broken for title, predictor in self._held.newest().items()}
        return [{**told, "broken": broken[told["title"]]} for told in self._held.describe()]

    def check_health(self) -> None:
        """Healthy means: can predict now. A level match must come out near 50 %, else Serve replaces this replica.

        Raises:
            RuntimeError: a title's model cannot answer, or does not call a level match even.
        """
        self._held.check_newest(self._lock)


def _loaded(roots: Sequence[str], device: str, title: str, exact: str) -> WinPredictor:
    from serve.predictors.win import load_win_predictor  # torch loads here, inside the replica

    predictor = load_win_predictor(roots, exact, device)
    if predictor.info.title != title:
        raise BrokenModelError(f"{predictor.info.exact} is for {predictor.info.title}, not {title}: name another model")
    return predictor


def _check_even(title: str, predictor: WinPredictor) -> None:
    """Raises RuntimeError if it does not call a level match even."""
    features = np.zeros((1, len(predictor.features)), np.float32)
    # Without form, so that nothing is known of a home advantage.
    features[0, [name == FORM for name in predictor.features]] = np.nan
    request: Arrays = {
        "features": features,
        "clock_s": np.zeros(1, np.float32),
        "match": np.zeros(1, np.int64),
        "hidden": np.zeros((1, predictor.state_floats), np.float32),
    }
    logit = float(predictor.predict(request)["logit"][0])
    if not abs(logit) < 1e-3:
        raise RuntimeError(f"title {title}: a level match has logit {logit:.4f}, not 0")


class ServePredict:
    """`Predict` through a Serve handle: a large batch is cut by match, fanned out over replicas and joined in order."""

    def __init__(self, loading: Loading, *, max_batch: int = 4_096, timeout_s: float = 30.0) -> None:
        self._replicas = Replicas(loading, timeout_s=timeout_s)
        self._max_batch = max_batch

    def __call__(self, title: str, request: Arrays, exact: str = "") -> Prediction:
        """One prediction for all rows, by NAME@VERSION or by the newest.

        Raises:
            DependencyUnavailable: the models are still being loaded, no replica answered in time, or all are gone.
            ModelNotFoundError, BrokenModelError: that version cannot be loaded.
        """
        pieces = cut_by_match(request, self._max_batch)
        asked = [dict(request)] if len(pieces) == 1 else [dict(_piece(request, *rows)) for rows in pieces]
        by = (exact,) if exact else ()
        replies = self._replicas.ask(_what(title), "predict", [(title, piece, *by) for piece in asked])
        return _prediction(replies, pieces, request)

    def prepare(self, title: str, exact: str) -> None:
        """As `WinReplica.prepare`, of every replica: `Replicas.prepare`."""
        self._replicas.prepare(_what(title), title, exact)

    def describe(self) -> list[dict[str, Any]]:
        """As `WinReplica.describe`, of any replica; nothing while the models are being loaded."""
        return self._replicas.describe()


def _what(title: str) -> str:
    return f"model for {title}"


class LocalPredict:
    """`Predict` in the process that asks, for workers that answer within milliseconds. Loads its models at first use,
    so that it travels light.

    Args: as of `WinReplica`.
    """

    def __init__(
        self,
        store: str,
        models: Mapping[str, str],
        device: str = "cpu",
        *,
        store_must_exist: bool,
        fall_back: bool = False,
    ) -> None:
        options = {"store_must_exist": store_must_exist, "fall_back": fall_back}
        self._replica = Lazily(WinReplica, store, dict(models), device, **options)

    def __call__(self, title: str, request: Arrays, exact: str = "") -> Prediction:
        """One prediction for all rows, by NAME@VERSION or by the newest."""
        return _prediction([self._replica().predict(title, dict(request), exact)], [], request)

    def prepare(self, title: str, exact: str) -> None:
        """As `WinReplica.prepare`."""
        self._replica().prepare(title, exact)

    def describe(self) -> list[dict[str, Any]]:
        """As `WinReplica.describe`.

        Raises:
            ModelNotFoundError, BrokenModelError: a model cannot be loaded.
        """
        return self._replica().describe()


_ARRAYS = ("logit", "scores", "weights", "contributions", "usual_gold", "hidden")
Piece = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]  # rows of the request, rows of its hidden


def cut_by_match(request: Arrays, max_batch: int) -> list[Piece]:
    """Groups of whole matches of about `max_batch` rows each: a match's frames must meet one replica, in order."""
    match, matches = request["match"], len(request["hidden"])
    if len(match) <= max_batch or matches < 2:
        return [(np.arange(len(match)), np.arange(matches))]
    sizes = np.bincount(match, minlength=matches)
    group = (np.cumsum(sizes) - 1) // max_batch
    rows_group = group[match]
    return [(np.flatnonzero(rows_group == g), np.flatnonzero(group == g)) for g in np.unique(group)]


def _piece(request: Arrays, rows: npt.NDArray[np.int64], matches: npt.NDArray[np.int64]) -> Arrays:
    renumbered = np.empty(len(request["hidden"]), np.int64)
    renumbered[matches] = np.arange(len(matches))
    by_match = {key: request[key][matches] for key in ("hidden", "heroes") if key in request}
    return {
        "features": request["features"][rows],
        "clock_s": request["clock_s"][rows],
        "match": renumbered[request["match"][rows]],
        **by_match,
    }


def _prediction(replies: list[Reply], pieces: list[Piece], request: Arrays) -> Prediction:
    name, version, weight_hash = replies[0]["model"]
    if len(replies) == 1:
        columns = {key: replies[0][key] for key in _ARRAYS}
    else:
        columns = {}
        for key in _ARRAYS:
            length = len(request["hidden"]) if key == "hidden" else len(request["match"])
            joined = np.empty((length, *replies[0][key].shape[1:]), np.float32)
            for reply, (rows, matches) in zip(replies, pieces, strict=True):
                joined[matches if key == "hidden" else rows] = reply[key]
            columns[key] = joined
    return Prediction(**columns, model_name=name, model_version=version, weight_hash=weight_hash)
