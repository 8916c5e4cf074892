"""The seam to the models: sessions of item ids with their times in, the best items with scores and reasons out.

One call per batch and recommender, columns only. What may be offered (stock, withdrawn, bought, in the basket, blocked,
the item that is looked at) is decided afterwards (`streaming.sessions.rules`), so a model gives more items than will be
shown.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from streaming.releases import Release

ACTS = ("view", "cart", "purchase")
"""Kinds of events that a model is told of, in the order of `Sessions.kind`."""


@dataclass(frozen=True)
class Sessions:
    """N sessions, each as its newest T_i events of `ACTS`, oldest first; at least one, the last is the one to answer.

    The flat columns hold the sessions one after another: session i is `[offsets[i], offsets[i + 1])`. A session that
    has several answers in a batch is there several times, each time as long as it was then.
    """

    item: npt.NDArray[np.object_]  # (T,) item ids, str
    kind: npt.NDArray[np.int8]  # (T,) index into ACTS
    time_ms: npt.NDArray[np.int64]  # (T,) never falling within a session
    offsets: npt.NDArray[np.int64]  # (N + 1,)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def columns(self) -> dict[str, npt.NDArray[Any]]:
        """As a request of one columnar batch."""
        return {"item": self.item, "kind": self.kind, "time_ms": self.time_ms, "offsets": self.offsets}

    def take(self, which: npt.NDArray[np.int64]) -> Sessions:
        """These sessions (M,) alone."""
        counts = np.diff(self.offsets)[which]
        offsets = np.concatenate([[0], np.cumsum(counts)])
        flat = np.arange(offsets[-1]) + np.repeat(self.offsets[which] - offsets[:-1], counts)
        return Sessions(self.item[flat], self.kind[flat], self.time_ms[flat], offsets)

    @classmethod
    def of(cls, columns: Mapping[str, npt.NDArray[Any]]) -> Sessions:
        """The inverse of `columns`."""
        return cls(columns["item"], columns["kind"], columns["time_ms"], columns["offsets"])


@dataclass(frozen=True)
class Recommended:
    """The best K items of N sessions, by falling score, and which events moved each. What is missing at the end of a
    row is "" with -inf; of reasons, -1 with 0."""

    items: npt.NDArray[np.object_]  # (N, K) item ids, str; none twice in a row
    scores: npt.NDArray[np.float32]  # (N, K)
    reason_event: npt.NDArray[np.int32]  # (N, K, R) which event of the session, from 0 for the oldest given; -1: none
    reason_share: npt.NDArray[np.float32]  # (N, K, R) share of the score, by falling size
    model_name: str
    model_version: str
    weight_hash: str
    another: npt.NDArray[np.object_] | None = (
        None  # (N, 3) name, version, weight hash, where these are not all sessions'
    )

    @property
    def models(self) -> npt.NDArray[np.object_]:
        """(N, 3) name, version and weight hash of the model that answered each session."""
        if self.another is not None:
            return self.another
        named = np.array([self.model_name, self.model_version, self.weight_hash], dtype=object)
        return np.broadcast_to(named, (len(self.items), 3))


class Recommend(Protocol):
    """A model as the pipeline calls it. The answer for a session must not depend on which others are asked for with it,
    nor on what was asked before."""

    def __call__(self, sessions: Sessions, top_k: int) -> Recommended:
        """The best `top_k` items of each session, whether they may be offered or not.

        A session of items that the model does not know has an answer too. A score that is not finite counts as none.

        Raises:
            DependencyUnavailable: the model cannot be reached now.
        """


@runtime_checkable
class ReleasedRecommend(Protocol):
    """A `Recommend` that holds more than one version of its model."""

    def offered(self) -> Release:
        """The newest that can answer at once.

        Raises:
            DependencyUnavailable: none can yet.
        """

    def alerts(self) -> tuple[str, ...]:
        """Versions that were meant to take over and cannot, a sentence each."""

    def __call__(self, sessions: Sessions, top_k: int, release: Release) -> Recommended:
        """As `Recommend`, by this release, loaded first where it is not.

        Raises:
            ReleaseLost: it can be loaded no more.
            DependencyUnavailable: as `Recommend`.
        """
