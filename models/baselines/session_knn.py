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

from models.baselines.session_memory import SessionMemory, runs

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
DAY_S = 86_400.0
QUERIES_AT_ONCE = 256


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


class Shared(NamedTuple):
    """M entries of past sessions on items that were clicked in a query, by query, session and place."""

    query: Ints  # (M,)
    entry: Ints  # (M,) of `SessionMemory`
    column: Ints  # (M,) of the click


class Voters(NamedTuple):
    """V pairs of a query and one of its neighbours, by query and session."""

    query: Ints  # (V,)
    session: Ints  # (V,)
    similarity: Floats  # (V,) with r
    shared: Floats  # (V,) Σ w_i over the shared items
    star: Ints  # (V,) entry of i*
    at: Ints  # (V,) where that is in `Shared`


class Votes(NamedTuple):
    """Votes of the neighbours, before they are added up, by voter."""

    voter: Ints  # position in `Voters`
    item: Ints
    score: Floats


class SessionKNN:
    """Scores of all items by the sessions that are most like each query."""

    def __init__(self, memory: SessionMemory, rule: NeighbourRule) -> None:
        self.memory, self.rule = memory, rule
        with np.errstate(divide="ignore"):
            idf = np.log(memory.sessions / memory.support)
        self.gain = 1 + rule.idf * np.where(memory.support > 0, idf, 0.0)  # (I,)
        apart = np.arange(int(memory.place_of.max(initial=0)) + 1)
        self.decay = np.exp(-apart / rule.inh) if rule.inh else np.ones(len(apart))  # by |p_n(i) - p_n(i*)|
        self._root = np.sqrt(memory.lengths)

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
        """The same, `QUERIES_AT_ONCE` by so many and vote by vote; queries are numbered from the start of their
        piece."""
        for start in range(0, len(context), QUERIES_AT_ONCE):
            rows = slice(start, min(start + QUERIES_AT_ONCE, len(context)))
            weight, back = self.event_weights(context[rows]), steps_back(context[rows])
            voters = self.voters(self.shared(context[rows], weight), weight, back, now_s[rows])
            yield rows, voters, self._votes(voters)

    def event_weights(self, context: Ints) -> Floats:
        """Weights w of the clicks, (Q, L): 0 where there is no known item, or the item is clicked again later."""
        last = (context >= 0) & (context < self.memory.items)
        for column in range(context.shape[1] - 1):
            last[:, column] &= ~(context[:, column + 1 :] == context[:, column, None]).any(axis=1)
        return np.where(last, self.weights(steps_back(context), (context >= 0).sum(axis=1)), 0.0)

    def weights(self, back: Ints, clicks: Ints) -> Floats:
        """Weights (Q, L) of clicks so many steps back, in sessions of so many clicks (Q,)."""
        if self.rule.spw:
            decaying: Floats = np.exp(-back / self.rule.spw)
            return decaying
        whole = np.maximum(clicks, 1)[:, None]
        rising: Floats = (whole - back) / whole
        return rising

    def shared(self, context: Ints, weight: Floats) -> Shared:
        """What past sessions share with each query, of any item the `sample` latest: so the latest of all are there.

        Args:
            context: (Q, L).
            weight: (Q, L) of `event_weights`.
        """
        memory, bits = self.memory, (context.shape[1] - 1).bit_length()
        query, column = np.nonzero(weight > 0)
        item = context[query, column]
        found = np.minimum(memory.support[item], self.rule.sample)
        query_of = np.repeat(query, found)
        entry = memory.posted_entry[runs(memory.posted[item], found)]
        # Everything in one number: sorting numbers takes a fraction of the time of sorting rows by several.
        key = query_of * len(memory.item_of) + entry << bits | np.repeat(column, found)
        key.sort()
        return Shared(query_of, (key >> bits) - query_of * len(memory.item_of), key & (1 << bits) - 1)

    def voters(self, shared: Shared, weight: Floats, back: Ints, now_s: Floats) -> Voters:
        """The neighbours of each query.

        Args:
            shared: with the past sessions.
            weight: (Q, L) of the clicks.
            back: (Q, L) steps back of each.
            now_s: (Q,) Unix time.
        """
        memory, rule = self.memory, self.rule
        session = memory.of_session[shared.entry]
        begins = np.flatnonzero(np.diff(shared.query * memory.sessions + session, prepend=-1))
        if not len(begins):
            none = np.empty(0, np.int64)
            return Voters(none, none, np.empty(0), np.empty(0), none, none)
        of, past = shared.query[begins], session[begins]
        sums = np.add.reduceat(weight[shared.query, shared.column], begins)
        similarity = sums.copy()
        if rule.cosine:
            similarity /= np.sqrt(np.square(weight).sum(axis=1))[of] * self._root[past]
        if rule.snh_days:
            age_s = np.maximum(now_s[of] - memory.ended_s[past], 0)
            similarity *= np.exp(age_s * (-1 / (rule.snh_days * DAY_S)))
        voting = self._nearest(of, similarity)
        at = np.append(begins[1:], len(session))[voting] - 1
        similarity = similarity[voting]
        if rule.div or rule.ipw:
            steps = np.minimum.reduceat(back[shared.query, shared.column], begins)[voting]
            similarity = similarity / (1 + steps) if rule.div else similarity * np.exp(-steps / rule.ipw)
        return Voters(of[voting], past[voting], similarity, sums[voting], shared.entry[at], at)

    def _nearest(self, of: Ints, similarity: Floats) -> Ints:
        """Which of the candidates (C,), by query and session, vote: the most similar of the latest; of equals the
        latest."""
        counts = np.bincount(of)
        ends = np.cumsum(counts)
        voting = ends[of] - np.arange(len(of)) <= self.rule.sample
        for query in np.flatnonzero(counts > self.rule.neighbours).tolist():
            rows = slice(ends[query] - min(counts[query], self.rule.sample), ends[query])
            spare = rows.stop - rows.start - self.rule.neighbours
            if spare > 0:
                values = similarity[rows]
                bar = np.partition(values, spare)[spare]
                nearest = values > bar
                level = np.flatnonzero(values == bar)
                nearest[level[len(level) - (self.rule.neighbours - np.count_nonzero(nearest)) :]] = True
                voting[rows] = nearest
        return np.flatnonzero(voting)

    def _votes(self, voters: Voters) -> Votes:
        memory = self.memory
        entry, voter = memory.entries(voters.session)
        item = memory.item_of[entry]
        apart = np.abs(memory.place_of[entry] - memory.place_of[voters.star][voter])
        return Votes(voter, item, voters.similarity[voter] * self.gain[item] * self.decay[apart])


def steps_back(context: Ints) -> Ints:
    """How many clicks come after each, (Q, L), gaps between them counted."""
    length = context.shape[1]
    return np.broadcast_to(np.arange(length - 1, -1, -1), context.shape)
