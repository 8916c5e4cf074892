"""Versions of a model that come and go while a pipeline runs: which one answers, and from which batch on.

An alias such as tsstn-lol@live is moved by promotions and rollbacks. Whoever holds the weights offers a release when
all that are to answer with it have it loaded and warm; the stage takes it over between two batches, partition by
partition, and writes down which one it is. What is written down decides: no batch is answered by a release from before
it, whoever asks, and after whatever crash. So along a partition versions change once for each move of the alias.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy.typing as npt

from streaming.state import StateTable

RELEASE_TEXTS = ("release", "reference")
"""State columns of a stage that follows releases, all text; beside them `moves`, a 64-bit integer."""


@dataclass(frozen=True)
class Release:
    """What an alias meant after some of its moves."""

    reference: str  # NAME@ALIAS as in the settings, or NAME@VERSION, which never moves
    moves: int  # how often the alias had been moved
    version: int

    @property
    def exact(self) -> str:
        """NAME@VERSION: these weights and no others."""
        return f"{self.reference.partition('@')[0]}@{self.version}"

    def may_follow(self, other: Release) -> bool:
        """Whether this is no step back: of one alias, moves only grow."""
        return self.reference != other.reference or self.moves >= other.moves


class ReleaseLost(LookupError):
    """The weights of a release that answered before can be had no more, by nobody."""

    def __init__(self, release: Release, why: str) -> None:
        super().__init__(f"{release.exact}: {why}")
        self.release = release


@runtime_checkable
class ReleasedPredict(Protocol):
    """A `Predict` that holds more than one version of a model."""

    def offered(self, title: str) -> Release:
        """The newest that can answer at once.

        Raises:
            DependencyUnavailable: none can yet.
        """

    def alerts(self) -> tuple[str, ...]:
        """Versions that were meant to take over and cannot, a sentence each."""

    def __call__(self, title: str, request: Mapping[str, npt.NDArray[Any]], release: Release) -> Any:
        """As `Predict`, by this release, loaded first where it is not.

        Raises:
            ReleaseLost: it can be loaded no more.
            DependencyUnavailable: as `Predict`.
        """


class InService:
    """Which release answers each title in each partition, in the state of a stage with `RELEASE_TEXTS` and `moves`."""

    def __init__(self, state: StateTable) -> None:
        self._state = state

    def next(self, title: str, partition: int, offered: Release) -> Release:
        """The one for the next batch: the offered one, or the one in service if that is later."""
        now = self.now(title, partition)
        return offered if now is None or offered.may_follow(now) else now

    def now(self, title: str, partition: int) -> Release | None:
        """The one of the last batch; None if there was none."""
        key = _key(title, partition)
        if key not in self._state:
            return None
        (slot,) = self._state.slots([key])
        version = int(self._state["release"][slot].rpartition("@")[2])
        return Release(self._state["reference"][slot], int(self._state["moves"][slot]), version)

    def note(self, title: str, partition: int, release: Release) -> None:
        """It has answered."""
        if self.now(title, partition) == release:
            return
        key = _key(title, partition)
        (slot,) = self._state.slots([key], [partition])
        self._state["release"][slot], self._state["reference"][slot] = release.exact, release.reference
        self._state["moves"][slot] = release.moves
        self._state.touch([key])


def _key(title: str, partition: int) -> str:
    return f"@release/{title}/{partition}"
