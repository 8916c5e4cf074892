"""Session-based nearest neighbours: what sessions like this one went on to click.

One procedure with three published settings, as the authors' own code has them (rn5l/session-rec):

    V-SKNN   Ludewig & Jannach, "Evaluation of Session-based Recommendation Algorithms" (arXiv:1803.09587), §3.2
    STAN     Garg et al., "Sequence and Time Aware Neighborhood for Session-based Recommendations" (SIGIR 2019)
    V-STAN   Ludewig et al., "Empirical Analysis of Session-Based Recommendation Algorithms" (arXiv:1910.12781), §3.1

The current session s has an event weight w for each of its distinct items, at its last click there. A past session n
that shares an item has similarity

    sim(s, n) = Σ_{i ∈ s ∩ n} w_i / √(Σ_i w_i² · |n|) · exp(-(now - t_n) / λ_snh)

(V-SKNN: without root and time). Of the `sample` latest such sessions the `neighbours` most similar vote:

    score(i) = Σ_n 1_n(i) · sim(s, n) · exp(-|p_n(i) - p_n(i*)| / λ_inh) · r(s, n) · (1 + λ_idf · idf(i))

where p_n is the place of an item in n, i* the last item of n that s has too, and r falls with the steps back to the
latest click of s that n shares. Everything is vectorised over queries; a query's answer does not depend on the others.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
DAY_S = 86_400.0
_CELLS_AT_ONCE = 1 << 22  # of queries × items
_QUERIES_AT_ONCE = 256


@dataclass(frozen=True)
class NeighbourRule:
    """The numbers of the procedure; a λ of 0 leaves its factor out.

    Attributes:
        neighbours: that vote.
        sample: latest sessions among which they are sought.
        spw: λ of event weights exp(-steps back / λ); 0: (place in the session) / (its length), as V-SKNN has it.
        cosine: divide by the lengths of both.
        snh_days: λ_snh, days.
        inh: λ_inh, places.
        ipw: λ of r = exp(-steps back / λ); 0: r = 1.
        div: r = 1 / (1 + steps back) in place of it, as V-SKNN has it.
        idf: λ_idf.
    """

    neighbours: int = 100
    sample: int = 1000
    spw: float = 0.0
    cosine: bool = False
    snh_days: float = 0.0
    inh: float = 0.0
    ipw: float = 0.0
    div: bool = False
    idf: float = 0.0

    def __post_init__(self) -> None:
        if self.neighbours < 1 or self.sample < 1:
            raise ValueError(f"neighbours={self.neighbours} and sample={self.sample} must be at least 1")
        for name in ("spw", "snh_days", "inh", "ipw", "idf"):
            if not 0 <= (value := getattr(self, name)) < math.inf:
                raise ValueError(f"{name}={value}: must be a finite number, not below 0")


VSKNN = NeighbourRule(neighbours=100, sample=1000, div=True)
STAN = NeighbourRule(neighbours=500, sample=2500, spw=1.02, cosine=True, snh_days=5.0, inh=2.05)
VSTAN = NeighbourRule(neighbours=500, sample=2500, spw=1.02, cosine=True, snh_days=5.0, inh=2.05, ipw=1.0, idf=1.0)


class SessionMemory:
    """S past sessions, looked up by item and by session.

    Args:
        session: (N,) 0 … S - 1, rising; sessions by their last click.
        item: (N,) 0 … items - 1, in the order of the clicks.
        ended_s: (S,) Unix time of the last click of each.
        items: I.
    """

    def __init__(self, session: Ints, item: Ints, ended_s: Floats, items: int) -> None:
        self.items, self.sessions, self.ended_s = items, len(ended_s), ended_s
        first = np.flatnonzero(np.diff(session, prepend=-1))
        place = np.arange(len(session)) - np.repeat(first, np.diff(np.append(first, len(session)))) + 1
        # Each item of a session once, at its last place there.
        key = session * items + item
        by_key = np.argsort(key, kind="stable")
        last = by_key[np.append(np.diff(key[by_key]) != 0, True)] if len(key) else by_key
        self.of_session, self.item_of, self.place_of = session[last], item[last], place[last]
        self.lengths = np.bincount(self.of_session, minlength=self.sessions)
        self.starts = np.append(0, np.cumsum(self.lengths))
        # The same by item, the latest session first.
        by_item = np.lexsort((-self.of_session, self.item_of))
        self.posted_session, self.posted_place = self.of_session[by_item], self.place_of[by_item]
        self.support = np.bincount(self.item_of, minlength=items)  # sessions of each item
        self.posted = np.append(0, np.cumsum(self.support))
        self._keys = self.of_session * items + self.item_of

    def has(self, session: Ints, item: Ints) -> npt.NDArray[np.bool_]:
        """Whether each of these sessions has the item beside it; False for no item that is known."""
        key = session * self.items + item
        at = np.minimum(np.searchsorted(self._keys, key), max(len(self._keys) - 1, 0))
        found: npt.NDArray[np.bool_] = (self._keys[at] == key) & (item >= 0) & (item < self.items)
        return found


class Voters(NamedTuple):
    """V pairs of a query and one of its neighbours, by query."""

    query: Ints  # (V,)
    session: Ints  # (V,)
    similarity: Floats  # (V,) with r
    shared: Floats  # (V,) Σ w_i over the shared items
    star: Ints  # (V,) p_n(i*)


class Votes(NamedTuple):
    """Votes of the neighbours, before they are added up."""

    voter: Ints  # position in `Voters`
    item: Ints
    score: Floats


class SessionKNN:
    """Scores of all items by the sessions that are most like each query."""

    def __init__(self, memory: SessionMemory, rule: NeighbourRule) -> None:
        self.memory, self.rule = memory, rule
        with np.errstate(divide="ignore"):
            idf = np.log(memory.sessions / memory.support)
        self._gain = 1 + rule.idf * np.where(memory.support > 0, idf, 0.0)

    def scores(self, context: Ints, now_s: Floats) -> Floats:
        """Scores (Q, I), 0 for an item that no neighbour has.

        Args:
            context: (Q, L) clicks, the latest in the last column; below 0 and from I on: no item that is known.
            now_s: (Q,) Unix time.
        """
        out = np.zeros((len(context), self.memory.items))
        for rows, voters, votes in self.votes(context, now_s):
            cell = voters.query[votes.voter] * self.memory.items + votes.item
            size = (rows.stop - rows.start) * self.memory.items
            out[rows] = np.bincount(cell, votes.score, size).reshape(-1, self.memory.items)
        return out

    def votes(self, context: Ints, now_s: Floats) -> Iterator[tuple[slice, Voters, Votes]]:
        """The same, piece by piece and vote by vote; queries are numbered from the start of their piece."""
        step = min(_QUERIES_AT_ONCE, max(1, _CELLS_AT_ONCE // self.memory.items))
        for start in range(0, len(context), step):
            rows = slice(start, min(start + step, len(context)))
            voters = self._voters(context[rows], now_s[rows])
            yield rows, voters, self._votes(voters)

    def event_weights(self, context: Ints) -> Floats:
        """Weights w of the clicks, (Q, L): 0 where there is no known item, or the item is clicked again later."""
        length = context.shape[1]
        back = np.arange(length - 1, -1, -1)
        known = (context >= 0) & (context < self.memory.items)
        if self.rule.spw:
            weight = np.broadcast_to(np.exp(-back / self.rule.spw), context.shape)
        else:
            clicks = np.maximum((context >= 0).sum(axis=1, keepdims=True), 1)
            weight = (clicks - back) / clicks
        query, column = np.nonzero(known)
        key = query * self.memory.items + context[query, column]
        last = np.zeros(context.shape, bool)
        # np.unique gives the first of each key: from behind, the last click on each item.
        final = len(key) - 1 - np.unique(key[::-1], return_index=True)[1]
        last[query[final], column[final]] = True
        return np.where(last, weight, 0.0)

    def _voters(self, context: Ints, now_s: Floats) -> Voters:
        memory, rule = self.memory, self.rule
        weight = self.event_weights(context)
        query, column = np.nonzero(weight > 0)
        item, back = context[query, column], context.shape[1] - 1 - column
        weights = weight[query, column]
        found = np.minimum(memory.support[item], rule.sample)  # of any item the latest: so the latest of all are there
        event = np.repeat(np.arange(len(item)), found)
        posting = _runs(memory.posted[item], found)
        past, place = memory.posted_session[posting], memory.posted_place[posting]
        key = query[event] * memory.sessions + past
        order = np.argsort(key, kind="stable")
        event, place, key = event[order], place[order], key[order]
        begins = np.flatnonzero(np.diff(key, prepend=-1))
        if not len(begins):
            none = np.empty(0, np.int64)
            return Voters(none, none, np.empty(0), np.empty(0), none)
        key = key[begins]
        of, past = key // memory.sessions, key % memory.sessions
        shared = np.add.reduceat(weights[event], begins)
        star = np.maximum.reduceat(place, begins)
        steps = np.minimum.reduceat(back[event], begins)
        similarity = shared.copy()
        if rule.cosine:
            norm = np.sqrt(np.square(weight).sum(axis=1))
            similarity /= norm[of] * np.sqrt(memory.lengths[past])
        if rule.snh_days:
            age_s = np.maximum(now_s[of] - memory.ended_s[past], 0)
            similarity *= np.exp(-age_s / (rule.snh_days * DAY_S))
        latest = _first_of_each(of, np.lexsort((-past, of)), rule.sample)
        best = _first_of_each(of, np.lexsort((-past, np.where(latest, -similarity, np.inf), of)), rule.neighbours)
        voting = latest & best
        if rule.div:
            similarity /= 1 + steps
        elif rule.ipw:
            similarity *= np.exp(-steps / rule.ipw)
        return Voters(of[voting], past[voting], similarity[voting], shared[voting], star[voting])

    def _votes(self, voters: Voters) -> Votes:
        memory, rule = self.memory, self.rule
        lengths = memory.lengths[voters.session]
        voter = np.repeat(np.arange(len(lengths)), lengths)
        click = _runs(memory.starts[voters.session], lengths)
        item = memory.item_of[click]
        score = voters.similarity[voter] * self._gain[item]
        if rule.inh:
            score *= np.exp(-np.abs(memory.place_of[click] - voters.star[voter]) / rule.inh)
        return Votes(voter, item, score)


def _runs(start: Ints, length: Ints) -> Ints:
    """start[0], start[0] + 1, …, so many of each, one after another."""
    ends = np.cumsum(length)
    found: Ints = np.arange(length.sum()) + np.repeat(start - (ends - length), length)
    return found


def _first_of_each(group: Ints, order: Ints, count: int) -> npt.NDArray[np.bool_]:
    """Which rows are among the first `count` of their group in this order, which keeps groups together."""
    sorted_group = group[order]
    begins = np.flatnonzero(np.diff(sorted_group, prepend=-1))
    sizes = np.diff(np.append(begins, len(group)))
    rank = np.arange(len(group)) - np.repeat(begins, sizes)
    kept = np.zeros(len(group), bool)
    kept[order] = rank < count
    return kept
