"""The deletion test of reasons: without the click that is named first, does the item's score fall the most?

What is served (`SessionFalls`, which asks for as little as it can) is judged by the model asked again. Beside it stand,
on the same answers, that model's own word, the latest click, a click drawn at random, and the click with the largest
exact contribution to the votes of the remembered sessions.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import numpy.typing as npt

from jobs.intervals import RESAMPLES
from jobs.sessions.judge import PLACES, interval, session_samples
from jobs.sessions.split import NO_ITEM, Queries
from models.attribution.session_falls import SessionFalls
from models.attribution.session_reasons import (
    distinct_clicks,
    leave_one_out,
    neighbour_contributions,
    strongest,
)
from models.metrics.ranking import ranked
from models.session_model import SessionModel

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
WAYS = {
    "served": "what is served",
    "leave_one_out": "the live model asked again without each click",
    "votes": "the exact shares of the remembered sessions' votes",
    "latest": "the latest click",
    "random": "a click at random",
}
_SESSIONS = 300
_PLACES_TRIED = 5
_CLICKS_TRIED = 10


def deletion_figures(model: SessionModel, queries: Queries, *, seed: int = 0) -> dict[str, Any]:
    """Share of items, among the first 5 of a list, whose score falls the most without the click that is named first,
    with 95 % intervals over sessions.

    Of 300 moments, drawn at random, of sessions that have clicks on two items or more; fewer where there are fewer.

    Args:
        model: whose answers are explained.
        queries: of held-out sessions.
        seed: of what is drawn.
    """
    chance = np.random.default_rng(seed)
    context = np.where(queries.context < model.items, queries.context, NO_ITEM)[:, -model.config.length :]
    several = np.flatnonzero(distinct_clicks(context, 2)[:, 1] != NO_ITEM)
    drawn = chance.choice(several, min(_SESSIONS, len(several)), replace=False)
    clicks, now_s = context[drawn], queries.now_s[drawn]
    if not len(drawn):
        return {"answers": 0}
    at = time.process_time()
    scores = model.probabilities(clicks, now_s)
    plain_s = time.process_time() - at
    items = ranked(scores.astype(np.float64), PLACES)[:, :_PLACES_TRIED]
    at = time.process_time()
    named = {"leave_one_out": _first(leave_one_out(model.probabilities, clicks, now_s, items, most=_CLICKS_TRIED))}
    reasons_s = time.process_time() - at
    named["served"] = _served(model, clicks, now_s, items)
    if (neighbours := model.neighbours()) is not None:
        named["votes"] = _first(neighbour_contributions(neighbours, clicks, now_s, items))
    columns = distinct_clicks(clicks, _CLICKS_TRIED)
    known = (columns != NO_ITEM).sum(axis=1)
    named["latest"] = np.broadcast_to(columns[:, :1], items.shape)
    lot = (chance.random(items.shape) * known[:, None]).astype(np.int64)
    named["random"] = np.take_along_axis(columns, lot, axis=1)
    # All ways are judged by one fall of every click, those beyond the ones that are tried included.
    falls = leave_one_out(model.probabilities, clicks, now_s, items, most=clicks.shape[1])
    highest = falls.max(axis=2)
    moved = highest > 0  # an item that no click brought here has no reason, and none is named
    if not moved.any():
        return {"answers": 0}
    shares, intervals = {}, {}
    answer = np.nonzero(moved)[0]
    for way, column in named.items():
        own = np.take_along_axis(falls, np.maximum(column, 0)[..., None], axis=2)[..., 0]
        right = (np.where(column == NO_ITEM, 0.0, own) >= highest - 1e-6)[moved].astype(np.float64)
        shares[way] = round(float(right.mean()), 4)
        around = interval(shares[way], session_samples(queries.session[drawn][answer], right, RESAMPLES))
        intervals[way] = [around["low"], around["high"]]
    return {
        "answers": len(drawn),
        "items": int(moved.sum()),
        "unmoved": int((~moved).sum()),
        "passed": shares,
        "intervals": intervals,
        "clicks": round(float(known.mean()), 2),
        "answer_ms": round(plain_s / len(drawn) * 1e3, 3),
        "reasons_ms": round(reasons_s / len(drawn) * 1e3, 3),
    }


def _served(model: SessionModel, clicks: Ints, now_s: Floats, items: Ints) -> Ints:
    """The click that did the most (Q, k) as it is found where answers are served."""
    falls = SessionFalls(model, most=_CLICKS_TRIED)
    asked = falls.ask(model.trimmed(clicks))
    found = np.empty(items.shape, np.float32)
    for rows, piece in model.pieces(asked.clicks, now_s, asked.scored):
        found[rows] = np.take_along_axis(piece, items[rows], axis=1)
    columns, fall = falls.of(asked, now_s, items, found)
    named = _first(fall)
    clicked = np.take_along_axis(columns, np.maximum(named, 0), axis=1)
    return np.where(named == NO_ITEM, NO_ITEM, clicked)


def _first(falls: npt.NDArray[np.float64]) -> Ints:
    """Column of the click that did the most, (Q, k)."""
    return strongest(falls, 1).column[..., 0]
