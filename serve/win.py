"""The win-prediction deployment: one columnar batch in, probabilities with their reasons out.

A replica holds the weights of every title it serves (each a few hundred kilobytes), so that three titles do not cost
three processes. Scale is replicas; batching is the caller's, who has whole polls.
"""

from __future__ import annotations

import platform
import threading
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from streaming.features.catalogue import FORM
from streaming.pipeline import DependencyUnavailable
from streaming.pipelines.win_prediction import STATE_FLOATS, Arrays, Prediction

if TYPE_CHECKING:
    from ray.serve.handle import DeploymentHandle

    from serve.predictors.win import WinPredictor

Reply = dict[str, Any]
Loading: TypeAlias = "Future[DeploymentHandle[Any]]"
"""The handle, once the models are loaded."""

_LOADING_S = 0.5


class WinReplica:
    """One replica. Weights load inside it, never in the caller."""

    def __init__(self, store: str, models: Mapping[str, str], device: str, *, store_must_exist: bool = False) -> None:
        """Load every title's model: from the store, else from those that ship with Sightline, wherever those lie here.

        Args:
            store: folder of the user's own models on this node, or URL.
            models: title to reference, such as {"lol": "tsstn-lol@live"}.
            device: "cpu" or "cuda".
            store_must_exist: it is there where the pipeline was started, so without it here other weights would answer.

        Raises:
            ModelNotFoundError, BrokenModelError: a model cannot be loaded; the message says which and what to do.
        """
        from models.store import SHIPPED, ModelNotFoundError
        from serve.predictors.win import load_win_predictor  # torch loads here, inside the replica

        if store_must_exist and not Path(store).is_dir():
            raise ModelNotFoundError(
                f"the model store {store} is not there on {platform.node()}: put it where every node finds it under "
                "the same path (setting models.store)"
            )
        roots = (store, str(SHIPPED))
        self._predictors: dict[str, WinPredictor] = {
            title: load_win_predictor(roots, reference, device) for title, reference in models.items()
        }
        self._lock = threading.Lock()

    def predict(self, title: str, request: dict[str, npt.NDArray[Any]]) -> Reply:
        """The answer for N frames of one title; arrays as in `streaming.pipelines.win_prediction.Predict`."""
        predictor = self._predictors.get(title)
        if predictor is None:
            raise KeyError(f"no model for title {title!r}; this replica serves {', '.join(sorted(self._predictors))}")
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
        return [
            {
                "title": title,
                "name": predictor.info.name,
                "version": predictor.info.version,
                "weight_hash": predictor.info.weight_hash,
                "trained_on": predictor.info.trained_on,
                "broken": predictor.broken,
            }
            for title, predictor in sorted(self._predictors.items())
        ]

    def check_health(self) -> None:
        """Healthy means: can predict now. A level match must come out near 50 %, else Serve replaces this replica.

        Raises:
            RuntimeError: a title's model cannot answer, or does not call a level match even.
        """
        for title, predictor in self._predictors.items():
            features = np.zeros((1, len(predictor.features)), np.float32)
            # Without form, so that nothing is known of a home advantage.
            features[0, [name == FORM for name in predictor.features]] = np.nan
            reply = self.predict(
                title,
                {
                    "features": features,
                    "clock_s": np.zeros(1, np.float32),
                    "match": np.zeros(1, np.int64),
                    "hidden": np.zeros((1, STATE_FLOATS), np.float32),
                },
            )
            if not abs(float(reply["logit"][0])) < 1e-3:
                raise RuntimeError(f"title {title}: a level match has logit {float(reply['logit'][0]):.4f}, not 0")


class ServePredict:
    """`Predict` through a Serve handle: a large batch is cut by match, fanned out over replicas and joined in order."""

    def __init__(self, loading: Loading, *, max_batch: int = 4_096, timeout_s: float = 30.0) -> None:
        self._loading = loading
        self._max_batch = max_batch
        self._timeout_s = timeout_s
        self._pool = ThreadPoolExecutor(max_workers=8, thread_name_prefix="predict")

    def __call__(self, title: str, request: Arrays) -> Prediction:
        """One prediction for all rows.

        Raises:
            DependencyUnavailable: the models are still being loaded, no replica answered in time, or all are gone.
        """
        pieces = cut_by_match(request, self._max_batch)
        if len(pieces) == 1:
            return _prediction([self._call(title, request)], pieces, request)
        replies = list(self._pool.map(lambda rows: self._call(title, _piece(request, *rows)), pieces))
        return _prediction(replies, pieces, request)

    def _call(self, title: str, request: Arrays) -> Reply:
        try:
            handle = self._loading.result(_LOADING_S)
        except TimeoutError:
            raise DependencyUnavailable("the models are being loaded into Ray Serve") from None
        try:
            return handle.predict.remote(title, dict(request)).result(timeout_s=self._timeout_s)  # type: ignore[no-any-return]
        except Exception as away:
            if not _is_away(away):
                raise
            cause = getattr(away, "cause", None)
            if isinstance(cause, KeyError | ValueError):
                raise cause from away
            raise DependencyUnavailable(f"model for {title}: {first_line(away)}") from away


class LocalPredict:
    """`Predict` in the process that asks, for workers that answer within milliseconds. Loads its models at first use,
    so that it travels light.

    Args: as of `WinReplica`.
    """

    def __init__(self, store: str, models: Mapping[str, str], device: str = "cpu", *, store_must_exist: bool) -> None:
        self._made = (store, dict(models), device, store_must_exist)
        self._replica: WinReplica | None = None

    def __getstate__(self) -> tuple[str, dict[str, str], str, bool]:
        return self._made

    def __setstate__(self, made: tuple[str, dict[str, str], str, bool]) -> None:
        self._made, self._replica = made, None

    def __call__(self, title: str, request: Arrays) -> Prediction:
        """One prediction for all rows."""
        reply = self._loaded().predict(title, dict(request))
        return _prediction([reply], [], request)

    def describe(self) -> list[dict[str, Any]]:
        """As `WinReplica.describe`.

        Raises:
            ModelNotFoundError, BrokenModelError: a model cannot be loaded.
        """
        return self._loaded().describe()

    def _loaded(self) -> WinReplica:
        if self._replica is None:
            store, models, device, must_exist = self._made
            self._replica = WinReplica(store, models, device, store_must_exist=must_exist)
        return self._replica


def first_line(error: BaseException) -> str:
    """Class and first line of an error; Ray's go on with tracebacks of other processes."""
    return f"{type(error).__name__}: {error}".splitlines()[0]


def _is_away(failure: Exception) -> bool:
    from ray.exceptions import RayError
    from ray.serve.exceptions import RayServeException  # all of Serve: only where it is in use

    return isinstance(failure, RayError | RayServeException | TimeoutError)


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
        columns = {key: replies[0][key] for key in ("logit", "scores", "weights", "contributions", "hidden")}
    else:
        columns = {}
        for key in ("logit", "scores", "weights", "contributions", "hidden"):
            length = len(request["hidden"]) if key == "hidden" else len(request["match"])
            joined = np.empty((length, *replies[0][key].shape[1:]), np.float32)
            for reply, (rows, matches) in zip(replies, pieces, strict=True):
                joined[matches if key == "hidden" else rows] = reply[key]
            columns[key] = joined
    return Prediction(**columns, model_name=name, model_version=version, weight_hash=weight_hash)
