"""The re-identification deployment: the crops of a batch in, their embeddings out.

Embeddings of one network mean nothing to another, so a run stays with the version that its alias meant when it began.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from models.store import SHIPPED
from serve.app import ReplicaApp
from serve.calls import Loading, Replicas, require_store
from serve.lazily import Lazily
from streaming.pipelines.person_sightings import CROP_PX, Embedding

if TYPE_CHECKING:
    from serve.predictors.reid import ReIDPredictor

Crops = npt.NDArray[np.uint8]
Reply = dict[str, Any]

MAX_CROPS = 128
"""In a call: 3 MB."""


class ReIDReplica:
    """One replica. Weights load inside it, never in the caller."""

    def __init__(self, store: str, exact: str, device: str, *, store_must_exist: bool = False) -> None:
        """Load the network: from the store, else from those that ship with Sightline, wherever those lie here.

        Args:
            store: folder of the user's own models on this node, or URL.
            exact: NAME@VERSION.
            device: "cpu" or "cuda".
            store_must_exist: it is there where the pipeline was started.

        Raises:
            ModelNotFoundError, BrokenModelError: it cannot be loaded; the message says what to do.
        """
        from serve.predictors.reid import load_reid_predictor  # torch loads here, inside the replica

        if store_must_exist:
            require_store(store)
        self._predictor: ReIDPredictor = load_reid_predictor((store, str(SHIPPED)), exact, device)
        self._lock = threading.Lock()
        self.check_health()

    def embed(self, crops: Crops) -> Reply:
        """Embeddings (N, D) as `vectors`, of crops (N, H, W, 3), and the model that made them."""
        with self._lock:
            vectors = self._predictor.predict(crops)
        info = self._predictor.info
        return {"vectors": vectors, "model": (info.name, info.version, info.weight_hash)}

    def describe(self) -> list[dict[str, Any]]:
        """One entry, as `serve.win.WinReplica.describe` has one a title."""
        return [described(self._predictor)]

    def check_health(self) -> None:
        """Healthy means: can embed now.

        Raises:
            RuntimeError: an embedding is not of unit length.
        """
        grey = np.full((1, *CROP_PX, 3), 127, np.uint8)
        with self._lock:
            length = float(np.linalg.norm(self._predictor.predict(grey)[0]))
        if not abs(length - 1.0) < 1e-3:
            raise RuntimeError(f"an embedding has length {length:.4f}, not 1")


def described(predictor: ReIDPredictor) -> dict[str, Any]:
    """Title, name, version, weight_hash, trained_on."""
    info = predictor.info
    told = {name: getattr(info, name) for name in ("name", "version", "weight_hash", "trained_on")}
    return {"title": "person", **told}


class ReIDApp(ReplicaApp):
    """Replicas of `ReIDReplica`.

    Args:
        name: `serve.app.app_name`.
        exact: NAME@VERSION.
        store: folder of the user's own models, the same on every node, or URL.
        replicas: how many, until `scale` says otherwise.
        gpus_per_replica: 0 for the CPU.
    """

    def __init__(self, name: str, exact: str, store: str, *, replicas: int = 1, gpus_per_replica: float = 0.0) -> None:
        super().__init__(
            name,
            "reid",
            ReIDReplica,
            (store, exact, "cuda" if gpus_per_replica else "cpu"),
            {"store_must_exist": Path(store).is_dir()},
            replicas=replicas,
            gpus_per_replica=gpus_per_replica,
        )


class ServeEmbed:
    """`Embed` through a Serve handle: a large batch is cut, fanned out over replicas and joined in order.

    Args:
        loading: of the app.
        max_crops: in a call.
        timeout_s: of a call.
    """

    def __init__(self, loading: Loading, *, max_crops: int = MAX_CROPS, timeout_s: float = 30.0) -> None:
        self._replicas, self._max_crops = Replicas(loading, timeout_s=timeout_s), max_crops

    def __call__(self, crops: Crops) -> Embedding:
        """One embedding a crop.

        Raises:
            DependencyUnavailable: the model is still being loaded, no replica answered in time, or all are gone.
        """
        starts = range(0, max(len(crops), 1), self._max_crops)
        pieces = [(crops[start : start + self._max_crops],) for start in starts]
        replies = self._replicas.ask("the model of people", "embed", pieces)
        return _embedding([reply["vectors"] for reply in replies], replies[0])

    def describe(self) -> list[dict[str, Any]]:
        """As `ReIDReplica.describe`, of any replica; nothing while the model is being loaded."""
        return self._replicas.describe()


class LocalEmbed:
    """`Embed` in the process that asks. Loads its network at first use, so that it travels light.

    Args: as of `ReIDReplica`.
    """

    def __init__(self, store: str, exact: str, device: str = "cpu", *, store_must_exist: bool = False) -> None:
        self._replica = Lazily(ReIDReplica, store, exact, device, store_must_exist=store_must_exist)

    def __call__(self, crops: Crops) -> Embedding:
        """One embedding a crop."""
        reply = self._replica().embed(crops)
        return _embedding([reply["vectors"]], reply)

    def describe(self) -> list[dict[str, Any]]:
        """As `ReIDReplica.describe`.

        Raises:
            ModelNotFoundError, BrokenModelError: the network cannot be loaded.
        """
        return self._replica().describe()


def _embedding(vectors: list[npt.NDArray[np.float32]], reply: Mapping[str, Any]) -> Embedding:
    name, version, weight_hash = reply["model"]
    return Embedding(np.concatenate(vectors), name, version, weight_hash)
