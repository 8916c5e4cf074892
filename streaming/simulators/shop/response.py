"""What a shopper would click among what is shown: the truth that experiments are judged by.

A place is looked at with a probability that falls from the first to the last; what is looked at is clicked with one
that hangs on how much it is liked. Both are known here, so the value of any ranking can be computed exactly.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from streaming.features.runs import Bools, Ints
from streaming.sessions.events import EVENT_SCHEMA
from streaming.simulators.shop.goods import Floats, Goods
from streaming.simulators.shop.shoppers import Shoppers

_FALLS_BY = 0.85
_LEAST, _MOST = 0.01, 0.35


def click_probability(goods: Goods, shoppers: Shoppers, shopper: Ints, items: Ints) -> Floats:
    """Of each item in its place, (N, S).

    Args:
        goods: of the shop.
        shoppers: all of them.
        shopper: (N,).
        items: (N, S) in the order of places; -1 is an empty one, which nobody clicks.
    """
    liking = shoppers.likes(shopper[:, None], goods, np.maximum(items, 0))
    looked_at = _FALLS_BY ** np.arange(items.shape[1])
    chance: Floats = np.where(items >= 0, looked_at * (_LEAST + (_MOST - _LEAST) * liking), 0.0)
    return chance


def respond(goods: Goods, shoppers: Shoppers, shopper: Ints, items: Ints, *, seed: int = 0) -> Bools:
    """Which of the items shown are clicked, (N, S)."""
    random = np.random.default_rng([seed, 4])
    clicked: Bools = random.random(items.shape) < click_probability(goods, shoppers, shopper, items)
    return clicked


def reactions(
    goods: Goods, shoppers: Shoppers, answers: pl.DataFrame, truth: pl.DataFrame, *, seed: int = 0
) -> pl.DataFrame:
    """Impressions of these answers and the clicks on them, as events of sessions in the order of their times: what
    flows back when answers are shown to who they were made for, a second after the view, and clicked two seconds later.

    Args:
        goods: of the shop.
        shoppers: all of them.
        answers: rows of session-recommendations.avsc.
        truth: `Visits.truth`; answers to bots are shown to nobody.
        seed: of the clicks.
    """
    shown = answers.join(truth.filter(~pl.col("is_bot")), on="session_id", maintain_order="left")
    shown = shown.filter(pl.col("items").list.len() > 0)
    places = int(shown["items"].list.len().max() or 0)  # type: ignore[arg-type]  # of a column of numbers
    columns = [shown["items"].list.get(place, null_on_oob=True) for place in range(places)]
    number = [column.str.slice(1).cast(pl.Int64, strict=False).fill_null(-1).to_numpy() for column in columns]
    items = np.column_stack(number) if columns else np.empty((0, 0), np.int64)
    items = np.where(items < len(goods), items, -1)  # an item that came later is nobody's taste
    row, place = np.nonzero(respond(goods, shoppers, shown["shopper"].to_numpy(), items, seed=seed))
    named = shown.select("session_id", "answer_id", "event_time_ms", "items")
    seen = named.with_columns(kind=pl.lit("impression"), after_ms=1_000, item_id=pl.lit(None, pl.String))
    ids = pl.Series(goods.ids[items[row, place]].tolist(), dtype=pl.String)
    clicked = named[row].with_columns(
        kind=pl.lit("view"), after_ms=pl.Series(3_000 + 10 * place), item_id=ids, items=pl.lit([], pl.List(pl.String))
    )
    both = pl.concat([seen, clicked.select(seen.columns)], how="vertical_relaxed")
    return (
        both.with_columns(
            event_time_ms=pl.col("event_time_ms") + pl.duration(milliseconds="after_ms"),
            **{name: pl.lit(None, EVENT_SCHEMA[name]) for name in ("user_id", "text", "dwell_s")},
        )
        .select(EVENT_SCHEMA.names())
        .cast(EVENT_SCHEMA)
        .sort("event_time_ms", "answer_id", maintain_order=True)
    )
