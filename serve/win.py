"""The win-prediction deployment: one columnar batch in, probabilities with their reasons out.

A replica holds the weights of every title it serves (each a few hundred kilobytes), so that three titles do not cost
three processes. Scale is replicas; batching is the caller's, who has whole polls.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from ray import serve as ray_serve
from ray.exceptions import RayError
from ray.serve.exceptions import RayServeException

from streaming.pipeline import DependencyUnavailable
from streaming.pipelines.win_prediction import STATE_FLOATS, Arrays, Prediction

if TYPE_CHECKING:
    from ray.serve.handle import DeploymentHandle

    from serve.predictors.win import WinPredictor

APP = "win-prediction"

Reply = dict[str, Any]


class WinReplica:
    """One replica. Weights load inside it, never in the caller."""

    def __init__(self, store: Sequence[str], models: Mapping[str, str], device: str) -> None:
        """Load every title's model.

        Args:
            store: folders to look for models in, first hit wins.
            models: title to reference, such as {"lol": "tsstn-lol@live"}.
            device: "cpu" or "cuda".
        """
        from serve.predictors.win import load_win_predictor  # torch loads here, inside the replica

        self._predictors: dict[str, WinPredictor] = {
            title: load_win_predictor(store, reference, device) for title, reference in models.items()
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


def deploy(
    store: Sequence[str], models: Mapping[str, str], *, replicas: int = 1, gpus_per_replica: float = 0.0
) -> DeploymentHandle[Any]:
    """Start (or update) the app on the connected Ray cluster, without any HTTP proxy; returns when it can predict.

    Raises:
        ModelNotFoundError, BrokenModelError: a model cannot be loaded; the message says which and what to do.
        RuntimeError: the deployment did not become healthy for another reason.
    """
    deployment = ray_serve.deployment(
        name="win",
        num_replicas=replicas,
        max_ongoing_requests=16,
        health_check_period_s=5,
        ray_actor_options={"num_cpus": 0.5, "num_gpus": gpus_per_replica},
    )(WinReplica)
    ray_serve.start(proxy_location="Disabled")
    app = deployment.bind(list(store), dict(models), "cuda" if gpus_per_replica else "cpu")
    try:
        return ray_serve.run(app, name=APP, route_prefix=None)
    except RuntimeError:
        _check_models(store, models)  # Serve keeps the reason in a log file of its own: find it again
        raise


def _check_models(store: Sequence[str], models: Mapping[str, str]) -> None:
    from serve.predictors.win import load_win_predictor

    for reference in models.values():
        load_win_predictor(store, reference)


class ServePredict:
    """`Predict` through a Serve handle: a large batch is cut by match, fanned out over replicas and joined in order."""

    def __init__(self, handle: DeploymentHandle[Any], *, max_batch: int = 4_096, timeout_s: float = 30.0) -> None:
        self._handle = handle
        self._max_batch = max_batch
        self._timeout_s = timeout_s
        self._pool = ThreadPoolExecutor(max_workers=8, thread_name_prefix="predict")

    def __call__(self, title: str, request: Arrays) -> Prediction:
        """One prediction for all rows.

        Raises:
            DependencyUnavailable: no replica answered in time, or all are gone.
        """
        pieces = cut_by_match(request, self._max_batch)
        if len(pieces) == 1:
            return _prediction([self._call(title, request)], pieces, request)
        replies = list(self._pool.map(lambda rows: self._call(title, _piece(request, *rows)), pieces))
        return _prediction(replies, pieces, request)

    def _call(self, title: str, request: Arrays) -> Reply:
        try:
            return self._handle.predict.remote(title, dict(request)).result(timeout_s=self._timeout_s)  # type: ignore[no-any-return]
        except (RayError, RayServeException, TimeoutError) as away:
            cause = getattr(away, "cause", None)
            if isinstance(cause, KeyError | ValueError):
                raise cause from away
            raise DependencyUnavailable(f"model for {title}: {type(away).__name__}: {away}".splitlines()[0]) from away


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
    return {
        "features": request["features"][rows],
        "clock_s": request["clock_s"][rows],
        "match": renumbered[request["match"][rows]],
        "hidden": request["hidden"][matches],
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
