"""The re-identification deployment: the crops of a batch in, their embeddings out.

Embeddings of one network mean nothing to another, so a run stays with the version that its alias meant when it began.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from models.store import SHIPPED
from serve.app import ReplicaApp
from serve.calls import Loading, first_line, loaded, raise_own, require_store
from streaming.pipeline import DependencyUnavailable
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
        self._loading, self._max_crops, self._timeout_s = loading, max_crops, timeout_s
        self._pool = ThreadPoolExecutor(max_workers=8, thread_name_prefix="embed")

    def __call__(self, crops: Crops) -> Embedding:
        """One embedding a crop.

        Raises:
            DependencyUnavailable: the model is still being loaded, no replica answered in time, or all are gone.
        """
        starts = range(0, max(len(crops), 1), self._max_crops)
        pieces = [crops[start : start + self._max_crops] for start in starts]
        replies = [self._call(pieces[0])] if len(pieces) == 1 else list(self._pool.map(self._call, pieces))
        return _embedding([reply["vectors"] for reply in replies], replies[0])

    def describe(self) -> list[dict[str, Any]]:
        """As `ReIDReplica.describe`, of any replica; nothing while the model is being loaded."""
        if not self._loading.done():
            return []
        told: list[dict[str, Any]] = loaded(self._loading).describe.remote().result(timeout_s=5)
        return told

    def _call(self, crops: Crops) -> Reply:
        handle = loaded(self._loading)
        try:
            return handle.embed.remote(crops).result(timeout_s=self._timeout_s)  # type: ignore[no-any-return]
        except Exception as away:
            raise_own(away, ValueError)
            raise DependencyUnavailable(f"the model of people: {first_line(away)}") from away


_Made = tuple[str, str, str, bool]


class LocalEmbed:
    """`Embed` in the process that asks. Loads its network at first use, so that it travels light.

    Args: as of `ReIDReplica`.
    """

    def __init__(self, store: str, exact: str, device: str = "cpu", *, store_must_exist: bool = False) -> None:
        self.__setstate__((store, exact, device, store_must_exist))

    def __getstate__(self) -> _Made:
        return self._made

    def __setstate__(self, made: _Made) -> None:
        self._made: _Made = made
        self._replica: ReIDReplica | None = None
        self._loading = threading.Lock()

    def __call__(self, crops: Crops) -> Embedding:
        """One embedding a crop."""
        reply = self._loaded().embed(crops)
        return _embedding([reply["vectors"]], reply)

    def describe(self) -> list[dict[str, Any]]:
        """As `ReIDReplica.describe`.

        Raises:
            ModelNotFoundError, BrokenModelError: the network cannot be loaded.
        """
        return self._loaded().describe()

    def _loaded(self) -> ReIDReplica:
        with self._loading:
            if self._replica is None:
                store, exact, device, must_exist = self._made
                self._replica = ReIDReplica(store, exact, device, store_must_exist=must_exist)
            return self._replica


def _embedding(vectors: list[npt.NDArray[np.float32]], reply: Mapping[str, Any]) -> Embedding:
    name, version, weight_hash = reply["model"]
    return Embedding(np.concatenate(vectors), name, version, weight_hash)
