"""Which of a session's clicks moved a recommendation.

Two answers, both exact in what they say:

    leave_one_out              p(i | s) - p(i | s without it): what the score loses if nothing of that item had been
                               clicked, of the whole model, by asking it again. The deletion test is its definition.
    neighbour_contributions    the votes of the remembered sessions, each split over the clicks that made the session a
                               neighbour, by their weights: they sum to the votes, and cost nothing beyond them.

A click is meant with all clicks on the same item, and named by the latest: to take one of two away leaves the reason.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from models.baselines.session_knn import SessionKNN
from models.session_encoder import NO_ITEM

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Probabilities = Callable[[Ints, Floats], npt.NDArray[np.floating]]


class Reasons(NamedTuple):
    """Of each recommended item the clicks that moved it, the strongest first."""

    column: Ints  # (Q, k, r) of the click in the session's row, NO_ITEM for none
    share: Floats  # (Q, k, r) of all that clicks did for the item, 0 … 1


def distinct_clicks(clicks: Ints, most: int) -> Ints:
    """Columns (Q, most) of the latest click on each item, the latest first; `NO_ITEM` where there are fewer."""
    found = np.full((len(clicks), most), NO_ITEM, np.int64)
    taken = np.zeros(len(clicks), np.int64)
    for column in range(clicks.shape[1] - 1, -1, -1):
        later = (clicks[:, column + 1 :] == clicks[:, column, None]).any(axis=1)
        fresh = (clicks[:, column] >= 0) & ~later & (taken < most)
        found[fresh, taken[fresh]] = column
        taken += fresh
    return found


def without(clicks: Ints, column: Ints) -> Ints:
    """Sessions (Q, L) as if the item at `column` (Q,) had never been clicked; what is left moves up to the right."""
    gone = clicks == clicks[np.arange(len(clicks)), column][:, None]
    kept = (clicks != NO_ITEM) & ~gone
    order = np.argsort(kept, axis=1, kind="stable")  # what goes and what is empty first
    left: Ints = np.take_along_axis(np.where(kept, clicks, NO_ITEM), order, axis=1)
    return left


def leave_one_out(probabilities: Probabilities, clicks: Ints, now_s: Floats, items: Ints, *, most: int = 10) -> Floats:
    """Fall of each item's score without each click, (Q, k, L); 0 at clicks that are not tried. Negative: it rises.

    All sessions without one click each are one batch.

    Args:
        probabilities: of the next click, (Q, I) of clicks and times, such as `SessionModel.probabilities`.
        clicks: (Q, L), the latest in the last column.
        now_s: (Q,).
        items: (Q, k) that are recommended; `NO_ITEM` for none.
        most: latest items of a session that are tried.
    """
    columns = distinct_clicks(clicks, most)
    query, slot = np.nonzero(columns != NO_ITEM)
    column = columns[query, slot]
    shown = np.maximum(items, 0)
    whole = np.take_along_axis(probabilities(clicks, now_s), shown, axis=1)
    rest = probabilities(without(clicks[query], column), now_s[query])
    fall = whole[query] - np.take_along_axis(rest, shown[query], axis=1)
    found = np.zeros((*items.shape, clicks.shape[1]))
    found[query, :, column] = fall
    return np.where(items[..., None] == NO_ITEM, 0.0, found)


def neighbour_contributions(neighbours: SessionKNN, clicks: Ints, now_s: Floats, items: Ints) -> Floats:
    """What each click adds to each item's votes, (Q, k, L); sums over clicks to `SessionKNN.scores` at these items."""
    weights = neighbours.event_weights(clicks)
    memory = neighbours.memory
    _, places, length = shape = (*items.shape, clicks.shape[1])
    found = np.zeros(shape)
    for rows, voters, votes in neighbours.votes(clicks, now_s):
        shown = items[rows]
        query = voters.query[votes.voter]
        asked, place = np.nonzero((shown[query] == votes.item[:, None]) & (shown[query] != NO_ITEM))
        voter = votes.voter[asked]
        cell = (query[asked] * places + place) * length
        per_weight = votes.score[asked] / voters.shared[voter]
        for column in range(length):
            clicked, weight = clicks[rows, column][query[asked]], weights[rows, column][query[asked]]
            has = (weight > 0) & memory.has(voters.session[voter], clicked)
            added = np.bincount(cell[has] + column, (per_weight * weight)[has], found[rows].size)
            found[rows] += added.reshape(found[rows].shape)
    return found


def strongest(falls: Floats, count: int) -> Reasons:
    """The clicks that did the most for each item, of those that did anything for it; of equals the later click.

    Args:
        falls: (Q, k, L).
        count: r, at least 1.
    """
    gains = np.maximum(falls, 0)
    flipped = gains[..., ::-1]  # so that of equals the later comes first
    order = np.argsort(-flipped, axis=2, kind="stable")[..., :count]
    value = np.take_along_axis(flipped, order, axis=2)
    total = gains.sum(axis=2, keepdims=True)
    column = np.where(value > 0, falls.shape[2] - 1 - order, NO_ITEM)
    return Reasons(column, np.where(value > 0, value / np.where(total > 0, total, 1), 0.0))


def deletion_test(
    probabilities: Probabilities, clicks: Ints, now_s: Floats, items: Ints, named: Ints
) -> npt.NDArray[np.bool_]:
    """Whether without the named click each item's score falls the most, of all clicks, (Q, k).

    A difference of a millionth is none. An item that is not there, or without a named click, is True only if no click
    makes its score fall.

    Args:
        probabilities: as of `leave_one_out`.
        clicks: (Q, L).
        now_s: (Q,).
        items: (Q, k).
        named: (Q, k) column of the click that is named first; `NO_ITEM` for none.
    """
    falls = leave_one_out(probabilities, clicks, now_s, items, most=clicks.shape[1])
    own = np.take_along_axis(falls, np.maximum(named, 0)[..., None], axis=2)[..., 0]
    passed: npt.NDArray[np.bool_] = np.where(named == NO_ITEM, 0.0, own) >= falls.max(axis=2) - 1e-6
    return passed
