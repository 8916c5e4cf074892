"""What each click did for each recommended item, exactly, at a fraction of the cost of asking the model again.

The answer is that of `session_reasons.leave_one_out`: p(i | s) - p(i | s without the item of the click). Asking again
scores every item of the catalogue anew. Of the model's two parts only the encoder's sum over all items needs that, and
many sessions without a click are the same session, or one that is answered in the same batch: each is asked for once,
together with those that are answered. Of the neighbours, those who share anything
with the whole session are sought once; without a click some of them are left, and only the votes on recommended items
are counted. The sum of all votes follows from `SessionMemory` alone: what a neighbour gives to all its items together
depends on nothing but its similarity and on i*.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from models.attribution.session_reasons import distinct_clicks, without
from models.baselines.session_knn import SessionKNN, Shared, Voters
from models.baselines.session_memory import runs
from models.session_encoder import NO_ITEM
from models.session_model import Scored, SessionModel

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
_NOWHERE = -1
_SESSIONS_AT_ONCE = 16
_RESTS_AT_ONCE = 256
_ENTRIES_AT_ONCE = 1 << 16


class Rests(NamedTuple):
    """V sessions without one item each, by query."""

    query: Ints  # (V,)
    column: Ints  # (V,) of the click that is named for the item
    item: Ints  # (V,)


class Asked(NamedTuple):
    """Sessions whose answers are to have reasons, and what has to be scored for that."""

    clicks: Ints  # (Q, L)
    columns: Ints  # (Q, most) as of `Falls`
    rests: Rests  # V
    others: Ints  # (U, L) what is left of the sessions, each once, and none that is a session itself
    at: Ints  # (V,) row of each rest in the sessions and others together
    scored: Scored  # sessions and others, for `SessionModel.pieces` of the sessions


class Falls(NamedTuple):
    """What items lose without clicks."""

    column: Ints  # (Q, most) of the click, the latest last; `NO_ITEM` before them where there are fewer
    fall: Floats  # (Q, k, most) 0 there, and for no item


class SessionFalls:
    """Made once for a model that is in memory.

    Args:
        model: with what it remembers.
        most: latest items of a session that are tried.
    """

    def __init__(self, model: SessionModel, *, most: int = 10) -> None:
        self._model, self._most = model, most
        self._neighbours = model.neighbours()
        self._given = np.empty(0) if self._neighbours is None else _given(self._neighbours)

    def ask(self, clicks: Ints) -> Asked:
        """What is to be scored for sessions (Q, L) of `SessionModel.trimmed`: them, and `others`; encoded."""
        columns = distinct_clicks(clicks, self._most)[:, ::-1]
        query, slot = np.nonzero(columns != NO_ITEM)
        column = columns[query, slot]
        left = without(clicks[query], column)
        place_of = {row.tobytes(): number for number, row in enumerate(clicks)}
        fresh: list[int] = []
        at = np.empty(len(left), np.int64)
        for number, row in enumerate(left):
            key = row.tobytes()
            if key not in place_of:
                place_of[key] = len(clicks) + len(fresh)
                fresh.append(number)
            at[number] = place_of[key]
        others = left[fresh]
        scored = self._model.to_score(np.concatenate([clicks, others]))
        return Asked(clicks, columns, Rests(query, column, clicks[query, column]), others, at, scored)

    def of(self, asked: Asked, now_s: Floats, items: Ints, scores: npt.NDArray[np.float32]) -> Falls:
        """The fall of each item.

        Args:
            asked: by `ask`; all pieces of its `scored` have been handed out.
            now_s: (Q,).
            items: (Q, k) that are recommended, none twice; `NO_ITEM` for none.
            scores: (Q, k) their probabilities.
        """
        clicks, columns, rests, _, at, scored = asked
        query = rests.query
        rest = self._encoder(scored, at, items[query])
        if self._neighbours is not None:
            places = np.full((min(len(clicks), _SESSIONS_AT_ONCE), self._model.items), _NOWHERE, np.int16)
            for start in range(0, len(clicks), _SESSIONS_AT_ONCE):
                rows = slice(start, start + _SESSIONS_AT_ONCE)
                own = slice(*np.searchsorted(query, (start, start + _SESSIONS_AT_ONCE)))
                part = Rests(*(each[own] for each in rests))._replace(query=query[own] - start)
                row, place = np.nonzero(items[rows] != NO_ITEM)
                places[row, items[rows][row, place]] = place
                votes, total = self._votes(self._neighbours, clicks[rows], now_s[rows], part, places, items.shape[1])
                places[row, items[rows][row, place]] = _NOWHERE
                heard = self._model.config.memory * (total > 0)
                rest[own] *= (1 - heard)[:, None]
                rest[own] += votes * (heard / np.where(total > 0, total, 1))[:, None]
        found = np.zeros((*columns.shape, items.shape[1]))
        found[columns != NO_ITEM] = np.where(items[query] == NO_ITEM, 0.0, scores[query] - rest)
        return Falls(columns, found.swapaxes(1, 2))

    def _encoder(self, scored: Scored, at: Ints, items: Ints) -> Floats:
        """The encoder's probabilities (V, k) of items (V, k) after the sessions in these rows (V,)."""
        found, scorer = np.zeros(items.shape), self._model.scorer()
        for start in range(0, len(at), _RESTS_AT_ONCE):
            rows = slice(start, start + _RESTS_AT_ONCE)
            scores = scorer.of(scored.states[torch.from_numpy(at[rows])], np.maximum(items[rows], 0))
            found[rows] = np.exp(scores - scored.log_totals[at[rows]][:, None])
        return found

    def _votes(
        self,
        neighbours: SessionKNN,
        context: Ints,
        now_s: Floats,
        rests: Rests,
        places: npt.NDArray[np.int16],
        count: int,
    ) -> tuple[Floats, Floats]:
        """The votes on each recommended item (V, k), and on all items (V,), after what is left of each session.

        Args:
            neighbours: who vote.
            context: (Q, L).
            now_s: (Q,).
            rests: of these queries.
            places: (Q, I) of each query's recommended items, `_NOWHERE` for others.
            count: k.
        """
        memory = neighbours.memory
        weight = neighbours.event_weights(context)
        shared = neighbours.shared(context, weight)
        voters, at = _voters_of_rests(neighbours, context, now_s, rests, weight, shared)
        total: Floats = np.zeros(len(rests.query))
        np.add.at(total, voters.query, voters.similarity * self._given[voters.star])
        # Entries of recommended items, once for every session that votes for any rest of a query.
        pair = shared.query * memory.sessions + memory.of_session[shared.entry]
        begins = np.diff(pair, prepend=-1) != 0
        group = (begins.cumsum() - 1)[at]
        chosen = np.flatnonzero(np.bincount(group, minlength=1))
        pairs = pair[begins][chosen]
        entry, of = memory.entries(pairs % memory.sessions)
        place = places[(pairs // memory.sessions)[of], memory.item_of[entry]]
        hit = np.flatnonzero(place != _NOWHERE)
        hits = np.bincount(chosen[of[hit]], minlength=int(begins.sum()))
        voted = hit[runs((hits.cumsum() - hits)[group], hits[group])]
        voter = np.repeat(np.arange(len(group)), hits[group])
        apart = np.abs(memory.place_of[entry[voted]] - memory.place_of[voters.star][voter])
        score = voters.similarity[voter] * neighbours.gain[memory.item_of[entry[voted]]] * neighbours.decay[apart]
        votes: Floats = np.zeros((len(rests.query), count))
        np.add.at(votes.reshape(-1), voters.query[voter] * count + place[voted], score)
        return votes, total


def _voters_of_rests(
    neighbours: SessionKNN, context: Ints, now_s: Floats, rests: Rests, weight: Floats, shared: Shared
) -> tuple[Voters, Ints]:
    """The neighbours of what is left of each session, by rest, and where in `shared` the i* of each is."""
    first = np.searchsorted(shared.query, np.arange(len(context) + 1))
    lengths = np.diff(first)[rests.query]
    at, rest = runs(first[rests.query], lengths), np.repeat(np.arange(len(lengths)), lengths)
    others = shared.column[at] != rests.column[rest]
    at, rest = at[others], rest[others]
    clicked = context[rests.query]
    kept = (clicked != NO_ITEM) & (clicked != rests.item[:, None])
    back = kept[:, ::-1].cumsum(axis=1)[:, ::-1] - kept  # clicks that are left after each
    left = np.where(kept & (weight[rests.query] > 0), neighbours.weights(back, kept.sum(axis=1)), 0.0)
    of_rests = Shared(rest, shared.entry[at], shared.column[at])
    voters = neighbours.voters(of_rests, left, back, now_s[rests.query])
    return voters, at[voters.at]


def _given(neighbours: SessionKNN) -> Floats:
    """What a neighbour of similarity 1 gives to all its items together if i* is this entry, (E,)."""
    memory = neighbours.memory
    found = np.empty(len(memory.item_of))
    for start in range(0, len(found), _ENTRIES_AT_ONCE):
        stop = min(start + _ENTRIES_AT_ONCE, len(found))
        entry, star = memory.entries(memory.of_session[start:stop])
        apart = np.abs(memory.place_of[entry] - memory.place_of[start:stop][star])
        found[start:stop] = np.bincount(
            star, neighbours.gain[memory.item_of[entry]] * neighbours.decay[apart], stop - start
        )
    return found
