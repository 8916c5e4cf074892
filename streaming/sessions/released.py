"""Recommenders whose versions come and go: which one answers each partition of a batch, and from when on.

What `streaming.releases` says of any model holds here: along a partition versions change once for each move of the
alias, whoever asks and after whatever crash, because the state says which one answered last.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from streaming.features.runs import Ints
from streaming.pipeline import DependencyUnavailable
from streaming.releases import InService, Release, ReleaseLost
from streaming.sessions.model import Recommend, Recommended, ReleasedRecommend, Sessions
from streaming.state import StateTable

log = logging.getLogger(__name__)


@dataclass
class Turns:
    """Who answers, by name of a recommender and partition. Nothing is written down before `note`.

    Args:
        state: of a stage with `streaming.releases.RELEASE_TEXTS` and `moves`.
    """

    state: StateTable
    _taken: dict[tuple[str, int], Release] = field(default_factory=dict)

    def ask(
        self, name: str, recommend: Recommend | ReleasedRecommend, sessions: Sessions, partition: Ints, top_k: int
    ) -> Iterator[tuple[Ints, Recommended]]:
        """Which of these sessions (M,) were answered, and how: one call for each release that has some of them.

        Args:
            name: of the recommender.
            recommend: it.
            sessions: N of them.
            partition: (N,) of each.
            top_k: items to each.

        Raises:
            DependencyUnavailable: it does not answer now.
        """
        if not isinstance(recommend, ReleasedRecommend):
            yield np.arange(len(sessions)), recommend(sessions, top_k)
            return
        offered, service = recommend.offered(), InService(self.state)
        chosen = {p: service.next(name, p, offered) for p in np.unique(partition).tolist()}
        for release in dict.fromkeys(chosen.values()):
            of = [p for p, its in chosen.items() if its == release]
            mine = np.flatnonzero(np.isin(partition, of))
            asked = sessions if len(mine) == len(sessions) else sessions.take(mine)
            by, made = _answered(recommend, asked, top_k, release, offered)
            self._taken |= {(name, p): by for p in of}
            yield mine, made

    def note(self) -> None:
        """They have answered, and nothing can fail any more."""
        service = InService(self.state)
        for (name, partition), release in self._taken.items():
            service.note(name, partition, release)


def _answered(
    recommend: ReleasedRecommend, sessions: Sessions, top_k: int, release: Release, offered: Release
) -> tuple[Release, Recommended]:
    """By the release, or, where it can be had no more, by the one that is offered."""
    try:
        return release, recommend(sessions, top_k, release)
    except ReleaseLost as gone:
        if release == offered:
            raise DependencyUnavailable(str(gone)) from gone
        log.warning("a release that answered can be had no more; the one offered now takes over: %s", gone)
        return _answered(recommend, sessions, top_k, offered, offered)
