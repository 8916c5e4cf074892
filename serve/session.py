"""The deployment of session models: the sessions of a batch in, the best items of each with their reasons out.

A replica holds the model of every arm, and beside them, where one is named, two towers that answer by content: sessions
in which the arm's own model knows nothing are theirs. What items are is the catalogue's to say: a replica follows it.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from models.store import SHIPPED, ModelStore
from serve.app import ReplicaApp
from serve.calls import Loading, Replicas, require_store
from serve.held import Held
from serve.lazily import Lazily
from serve.releases import Following
from streaming.releases import Release
from streaming.sessions.following import CatalogueFollower
from streaming.sessions.model import Recommended, Sessions

if TYPE_CHECKING:
    from serve.predictors.session import SessionPredictor

Asked = tuple[Sessions, int]
"""Sessions, and how many items each is to get."""
ByContentOf = tuple[str, CatalogueFollower]
"""NAME@ALIAS or NAME@VERSION of two towers, and the catalogue that they are to know."""


class SessionReplica:
    """One replica, on the CPU. Weights load inside it, never in the caller."""

    def __init__(
        self,
        store: str,
        models: Mapping[str, str],
        *,
        by_content: ByContentOf | None = None,
        store_must_exist: bool = False,
        fall_back: bool = False,
    ) -> None:
        """Load the model of every recommender: from the store, else from those that ship with Sightline.

        Args:
            store: folder of the user's own models on this node, or URL.
            models: name of a recommender to reference, such as {"live": "session-gru4rec@live"}.
            by_content: reference of two towers for sessions of items that a model does not know, which stay with what
                it means now, and the catalogue that says what items are.
            store_must_exist: it is there where the pipeline was started.
            fall_back: as of `serve.held.Held.load_first`.

        Raises:
            ModelNotFoundError, BrokenModelError: a model cannot be loaded; the message says which and what to do.
        """
        from serve.predictors.content import ByContent  # torch loads here, inside the replica

        if store_must_exist:
            require_store(store)
        roots = (store, str(SHIPPED))
        opened = ModelStore(*roots)
        content = None if by_content is None else ByContent(opened.load(by_content[0]), by_content[1])
        self._lock = threading.Lock()
        self._held: Held[SessionPredictor] = Held(partial(_loaded, roots, content), _check_offers)
        self._held.load_first(opened, models, fall_back=fall_back)

    def prepare(self, name: str, exact: str) -> None:
        """Load NAME@VERSION beside what answers, and see that it can. What was asked for longest ago goes.

        Raises:
            ModelNotFoundError, BrokenModelError: it cannot be loaded, or does not answer.
        """
        self._held.prepare(name, exact)

    async def prepare_beside(self, name: str, exact: str) -> None:
        """As `prepare`, while other calls are answered."""
        await asyncio.to_thread(self.prepare, name, exact)

    def recommend(self, name: str, sessions: Sessions, top_k: int, exact: str = "") -> Recommended:
        """The best items of each session by the model of one recommender.

        Args:
            name: of the recommender.
            sessions: N of them.
            top_k: items to each.
            exact: NAME@VERSION to answer by, loaded first if it is not; "" for the newest here.

        Raises:
            KeyError: there is no recommender of that name.
            ModelNotFoundError, BrokenModelError: as `prepare`.
        """
        predictor = self._held.asked(name, exact)
        with self._lock:
            return predictor(sessions, top_k)

    def describe(self) -> list[dict[str, Any]]:
        """One entry a recommender, as `serve.win.WinReplica.describe` has one a title."""
        return self._held.describe()

    def check_health(self) -> None:
        """Healthy means: can recommend now.

        Raises:
            RuntimeError: a model has nothing to offer.
        """
        self._held.check_newest(self._lock)


def _loaded(roots: Sequence[str], content: Any, name: str, exact: str) -> SessionPredictor:
    from serve.predictors.session import SessionPredictor

    return SessionPredictor(ModelStore(*roots).load(exact), by_content=content)


def _check_offers(name: str, predictor: SessionPredictor) -> None:
    """Raises RuntimeError if it has nothing for a session of which it knows nothing."""
    stranger = Sessions(np.array([""], dtype=object), np.zeros(1, np.int8), np.zeros(1, np.int64), np.array([0, 1]))
    found = predictor(stranger, 1)
    if not found.items[0, 0] or not np.isfinite(found.scores[0, 0]):
        raise RuntimeError(f"{predictor.info.exact} offers nothing in a session of unknown items")


class SessionApp(ReplicaApp):
    """Replicas of `SessionReplica`.

    Args:
        name: `serve.app.app_name`.
        models: as of `SessionReplica`.
        store: folder of the user's own models, the same on every node, or URL.
        by_content: as of `SessionReplica`.
        replicas: how many, until `scale` says otherwise.
    """

    def __init__(
        self,
        name: str,
        models: Mapping[str, str],
        store: str,
        *,
        by_content: ByContentOf | None = None,
        replicas: int = 1,
    ) -> None:
        options = {"by_content": by_content, "store_must_exist": Path(store).is_dir(), "fall_back": True}
        super().__init__(name, "session", SessionReplica, (store, dict(models)), options, replicas=replicas)


class ServeRecommend:
    """Recommendations through a Serve handle: a large batch is cut, fanned out over replicas and joined in order.

    Args:
        loading: of the app.
        max_batch: sessions in a call.
        timeout_s: of a call.
    """

    def __init__(self, loading: Loading, *, max_batch: int = 4_096, timeout_s: float = 30.0) -> None:
        self._replicas, self._max_batch = Replicas(loading, timeout_s=timeout_s), max_batch

    def __call__(self, name: str, asked: Asked, exact: str = "") -> Recommended:
        """The best items of each session, by NAME@VERSION or by the newest.

        Raises:
            DependencyUnavailable: the models are still being loaded, no replica answered in time, or all are gone.
            ModelNotFoundError, BrokenModelError: that version cannot be loaded.
        """
        sessions, top_k = asked
        pieces = _pieces(sessions, self._max_batch)
        calls = [(name, piece, top_k, exact) for piece in pieces]
        return _joined(self._replicas.ask(f"recommender {name}", "recommend", calls))

    def prepare(self, name: str, exact: str) -> None:
        """As `SessionReplica.prepare`, of every replica: `Replicas.prepare`."""
        self._replicas.prepare(f"recommender {name}", name, exact)

    def describe(self) -> list[dict[str, Any]]:
        """As `SessionReplica.describe`, of any replica; nothing while the models are being loaded."""
        return self._replicas.describe()


class LocalRecommend:
    """Recommendations in the process that asks. Loads its models at first use, so that it travels light.

    Args: as of `SessionReplica`.
    """

    def __init__(self, store: str, models: Mapping[str, str], **options: Any) -> None:
        self._replica = Lazily(SessionReplica, store, dict(models), **options)

    def __call__(self, name: str, asked: Asked, exact: str = "") -> Recommended:
        """The best items of each session, by NAME@VERSION or by the newest."""
        return self._replica().recommend(name, *asked, exact)

    def prepare(self, name: str, exact: str) -> None:
        """As `SessionReplica.prepare`."""
        self._replica().prepare(name, exact)

    def describe(self) -> list[dict[str, Any]]:
        """As `SessionReplica.describe`.

        Raises:
            ModelNotFoundError, BrokenModelError: a model cannot be loaded.
        """
        return self._replica().describe()


class FollowedRecommend:
    """One recommender of those that are followed, as the stage calls it: `streaming.sessions.model.ReleasedRecommend`.

    Args:
        following: all of them, as their aliases move.
        name: of this one.
    """

    def __init__(self, following: Following[Asked, Recommended], name: str) -> None:
        self._following, self._name = following, name

    def offered(self) -> Release:
        """The release that is loaded and warm. Raises DependencyUnavailable where there is none yet."""
        return self._following.offered(self._name)

    def alerts(self) -> tuple[str, ...]:
        """Versions that were meant to take over and cannot, of all recommenders."""
        return self._following.alerts()

    def __call__(self, sessions: Sessions, top_k: int, release: Release) -> Recommended:
        """The best items of each session, by a release; raises as `Following`."""
        return self._following(self._name, (sessions, top_k), release)


def _pieces(sessions: Sessions, most: int) -> list[Sessions]:
    if len(sessions) <= most:
        return [sessions]
    every = np.arange(len(sessions))
    return [sessions.take(every[start : start + most]) for start in range(0, len(sessions), most)]


def _joined(parts: Sequence[Recommended]) -> Recommended:
    if len(parts) == 1:
        return parts[0]
    columns = ("items", "scores", "reason_event", "reason_share")
    whole: dict[str, Any] = {column: np.concatenate([getattr(part, column) for part in parts]) for column in columns}
    named = any(part.another is not None for part in parts)
    return replace(parts[0], **whole, another=np.concatenate([part.models for part in parts]) if named else None)
