"""The re-identification deployment: the crops of a batch in, their embeddings out.

Embeddings of one network mean nothing to another: every call is answered by one of them, which the stage that remembers
looks names (`streaming.pipelines.person_sightings`).
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from models.store import SHIPPED, BrokenModelError, ModelStore
from serve.app import ReplicaApp
from serve.calls import Loading, Replicas, require_store
from serve.held import Held
from serve.lazily import Lazily
from serve.releases import Following, Hints
from streaming.pipelines.person_sightings import CROP_PX, Embedding
from streaming.releases import Release

if TYPE_CHECKING:
    from serve.predictors.reid import ReIDPredictor

Crops = npt.NDArray[np.uint8]
Reply = dict[str, Any]

PERSON = "person"
"""Title of the only model of a replica."""
MAX_CROPS = 128
"""In a call: 3 MB."""


class ReIDReplica:
    """One replica. Weights load inside it, never in the caller."""

    def __init__(
        self, store: str, reference: str, device: str, *, dimensions: int | None = None, store_must_exist: bool = False
    ) -> None:
        """Load the network: from the store, else from those that ship with Sightline, wherever those lie here.

        Args:
            store: folder of the user's own models on this node, or URL.
            reference: NAME@ALIAS or NAME@VERSION; where what an alias means cannot serve, what it meant before.
            device: "cpu" or "cuda".
            dimensions: of the embeddings that are remembered; None: any.
            store_must_exist: it is there where the pipeline was started.

        Raises:
            ModelNotFoundError, BrokenModelError: it cannot be loaded; the message says what to do.
        """
        if store_must_exist:
            require_store(store)
        roots = (store, str(SHIPPED))
        self._lock = threading.Lock()
        self._held: Held[ReIDPredictor] = Held(partial(_loaded, roots, device, dimensions), _check_embeds)
        self._held.load_first(ModelStore(*roots), {PERSON: reference}, fall_back=True)

    def prepare(self, title: str, exact: str) -> None:
        """Load NAME@VERSION beside what answers, and see that it can. What was asked for longest ago goes.

        Raises:
            ModelNotFoundError, BrokenModelError: it cannot be loaded, embeds no people, or is of other dimensions.
        """
        self._held.prepare(title, exact)

    async def prepare_beside(self, title: str, exact: str) -> None:
        """As `prepare`, while other calls are answered."""
        await asyncio.to_thread(self.prepare, title, exact)

    def embed(self, crops: Crops, exact: str = "") -> Reply:
        """Embeddings (N, D) as `vectors`, of crops (N, H, W, 3), the model that made them, and what its looks say.

        Args:
            crops: of people.
            exact: NAME@VERSION to answer by, loaded first if it is not; "" for the newest here.

        Raises:
            ModelNotFoundError, BrokenModelError: as `prepare`.
        """
        from serve.predictors.reid import appearance_of

        predictor = self._held.asked(PERSON, exact)
        with self._lock:
            vectors = predictor.predict(crops)
        info = predictor.info
        model = (info.name, info.version, info.weight_hash)
        return {"vectors": vectors, "model": model, "appearance": appearance_of(predictor)}

    def describe(self) -> list[dict[str, Any]]:
        """One entry, as `serve.win.WinReplica.describe` has one a title."""
        return self._held.describe()

    def check_health(self) -> None:
        """Healthy means: can embed now.

        Raises:
            RuntimeError: an embedding is not of unit length.
        """
        self._held.check_newest(self._lock)


def _loaded(roots: Sequence[str], device: str, dimensions: int | None, title: str, exact: str) -> ReIDPredictor:
    from serve.predictors.reid import load_reid_predictor  # torch loads here, inside the replica

    predictor = load_reid_predictor(roots, exact, device)
    if dimensions is not None and predictor.info.dimensions != dimensions:
        raise BrokenModelError(
            f"{exact} embeds to {predictor.info.dimensions} numbers, and those that are remembered have {dimensions}: "
            "delete the pipeline's state topic and start it with this one"
        )
    return predictor


def _check_embeds(title: str, predictor: ReIDPredictor) -> None:
    """Raises RuntimeError if an embedding is not of unit length."""
    grey = np.full((1, *CROP_PX, 3), 127, np.uint8)
    length = float(np.linalg.norm(predictor.predict(grey)[0]))
    if not abs(length - 1.0) < 1e-3:
        raise RuntimeError(f"an embedding has length {length:.4f}, not 1")


class ReIDApp(ReplicaApp):
    """Replicas of `ReIDReplica`.

    Args:
        name: `serve.app.app_name`.
        reference, dimensions: as of `ReIDReplica`.
        store: folder of the user's own models, the same on every node, or URL.
        replicas: how many, until `scale` says otherwise.
        gpus_per_replica: 0 for the CPU.
    """

    def __init__(
        self,
        name: str,
        reference: str,
        store: str,
        *,
        dimensions: int | None = None,
        replicas: int = 1,
        gpus_per_replica: float = 0.0,
    ) -> None:
        super().__init__(
            name,
            "reid",
            ReIDReplica,
            (store, reference, "cuda" if gpus_per_replica else "cpu"),
            {"dimensions": dimensions, "store_must_exist": Path(store).is_dir()},
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

    def __call__(self, crops: Crops, exact: str = "") -> Embedding:
        """One embedding a crop, by NAME@VERSION or by the newest.

        Raises:
            DependencyUnavailable: the model is still being loaded, no replica answered in time, or all are gone.
            ModelNotFoundError, BrokenModelError: that version cannot be loaded.
        """
        starts, by = range(0, max(len(crops), 1), self._max_crops), (exact,) if exact else ()
        pieces = [(crops[start : start + self._max_crops], *by) for start in starts]
        replies = self._replicas.ask("the model of people", "embed", pieces)
        return _embedding([reply["vectors"] for reply in replies], replies[0])

    def prepare(self, title: str, exact: str) -> None:
        """As `ReIDReplica.prepare`, of every replica: `Replicas.prepare`."""
        self._replicas.prepare("the model of people", title, exact)

    def describe(self) -> list[dict[str, Any]]:
        """As `ReIDReplica.describe`, of any replica; nothing while the model is being loaded."""
        return self._replicas.describe()


class LocalEmbed:
    """`Embed` in the process that asks. Loads its network at first use, so that it travels light.

    Args: as of `ReIDReplica`.
    """

    def __init__(self, store: str, reference: str, device: str = "cpu", **options: Any) -> None:
        self._replica = Lazily(ReIDReplica, store, reference, device, **options)

    def __call__(self, crops: Crops, exact: str = "") -> Embedding:
        """One embedding a crop, by NAME@VERSION or by the newest."""
        reply = self._replica().embed(crops, exact)
        return _embedding([reply["vectors"]], reply)

    def prepare(self, title: str, exact: str) -> None:
        """As `ReIDReplica.prepare`."""
        self._replica().prepare(title, exact)

    def describe(self) -> list[dict[str, Any]]:
        """As `ReIDReplica.describe`.

        Raises:
            ModelNotFoundError, BrokenModelError: the network cannot be loaded.
        """
        return self._replica().describe()


class FollowedEmbed:
    """A network of people as its alias moves: `streaming.pipelines.person_sightings.ReleasedEmbed`.

    Args:
        embed: has the versions.
        roots: of the model store.
        reference: NAME@ALIAS or NAME@VERSION.
        hints: as of `Following`.
    """

    def __init__(
        self, embed: ServeEmbed | LocalEmbed, roots: Sequence[str], reference: str, *, hints: Hints | None = None
    ) -> None:
        self._following: Following[Crops, Embedding] = Following(
            _Holding(embed), roots, {PERSON: reference}, hints=hints
        )

    def offered(self) -> Release:
        """The release that is loaded and warm. Raises DependencyUnavailable where there is none yet."""
        return self._following.offered(PERSON)

    def alerts(self) -> tuple[str, ...]:
        """Versions that were meant to take over and cannot."""
        return self._following.alerts()

    def __call__(self, crops: Crops, release: Release) -> Embedding:
        """One embedding a crop, by a release; raises as `Following`."""
        return self._following(PERSON, crops, release)

    def describe(self) -> list[dict[str, Any]]:
        """As `ReIDReplica.describe`; watches from then on."""
        return self._following.describe()

    def close(self) -> None:
        """Watch no more."""
        self._following.close()


class _Holding:
    """Versions by title, of whom there is one."""

    def __init__(self, embed: ServeEmbed | LocalEmbed) -> None:
        self._embed = embed

    def prepare(self, title: str, exact: str) -> None:
        self._embed.prepare(title, exact)

    def __call__(self, title: str, crops: Crops, exact: str = "") -> Embedding:
        return self._embed(crops, exact)

    def describe(self) -> list[dict[str, Any]]:
        return self._embed.describe()


def _embedding(vectors: list[npt.NDArray[np.float32]], reply: Mapping[str, Any]) -> Embedding:
    name, version, weight_hash = reply["model"]
    return Embedding(np.concatenate(vectors), name, version, weight_hash, reply.get("appearance"))
