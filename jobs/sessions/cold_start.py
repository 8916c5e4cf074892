"""How well items unseen in training are answered by their content: in a made-up shop, whose items have categories.

A share of the items is drawn that training never meets: their clicks are taken out of all days but the last, as if they
had come on that one. On it, with all items there, two kinds of moments are judged:

    of_unseen   all clicks so far are on unseen items, so that the live model knows none of them
    to_unseen   the next click is on an unseen item, whatever was clicked before it

What answers is what answers live: `models.cold_start.ColdStart`, of a live model and two towers that were trained
without these items and then told of them as the catalogue tells them, by category alone
(`serve.predictors.content.content_of`). Items of one category are the same to the towers, and of equals the first is
offered: the new ones are told in random order, because a catalogue's own order is, in this shop, that of their
popularity, which nobody can know of a new item.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import polars as pl

from jobs.recipes.sessions import SessionRecipe
from jobs.sessions.clicks import SessionRules, click_set
from jobs.sessions.fit import SessionEpoch
from jobs.sessions.judge import MEASURES, PLACES, Judged, difference, interval, session_samples
from jobs.sessions.split import DAY_S, NO_ITEM, DaySplit, Queries, queries, split_last_day
from jobs.sessions.trainings import Trainings
from models.cold_start import ColdStart, with_items
from models.metrics.ranking import NOTHING, places, ranked
from models.recommender import Recommendations, SessionRecommender
from streaming.simulators.shop import Goods, VisitSettings, make_goods, make_shoppers, visits

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

ROWS = {
    "cold_start": "live: two towers where the live model knows no click",
    "two_tower": "two towers everywhere",
    "live": "the live model alone",
    "category": "popularity in the category of the latest click",
    "popularity": "popularity",
    "random": "at random",
}
ASKED = {
    "of_unseen": "All clicks so far are on unseen items",
    "to_unseen": "The next click is on an unseen item",
}
AGAINST = ("popularity", "random", "category")
_SOURCE = "the made-up shop"
_AT_ONCE = 1024


@dataclass(frozen=True)
class ColdTrial:
    """The shop of one seed."""

    items: int = 2_000
    categories: int = 24
    shoppers: int = 1_000
    sessions: int = 12_000  # of all days
    days: int = 5  # the last is judged
    unseen: float = 0.2  # share of the items


class _Recommends(Protocol):
    def recommend(self, item: npt.NDArray[np.object_], time_ms: Ints, offsets: Ints, k: int) -> Recommendations: ...


class _Moments(NamedTuple):
    """What is asked in one shop. Items are numbered as in the catalogue."""

    queries: Queries
    target: Ints  # (Q,)
    kinds: dict[str, npt.NDArray[np.bool_]]  # (Q,) each, of `ASKED`


def cold_start_figures(
    live: SessionRecipe,
    by_content: SessionRecipe,
    *,
    seeds: int,
    resamples: int,
    trainings: Trainings,
    trial: ColdTrial | None = None,
    on_step: Callable[[str], None] = lambda words: None,
    on_epoch: Callable[[SessionEpoch], None] = lambda report: None,
) -> dict[str, Any]:
    """Recall@20 and MRR@20 of each row of `ROWS` at each kind of moment, as JSON values.

    Args:
        live: recipe of the live model.
        by_content: recipe of two towers.
        seeds: shops; each has its own goods, shoppers, unseen items and trainings.
        resamples: of the sessions of all shops.
        trainings: what trains.
        trial: the shop's size.
        on_step: told what begins, in words.
        on_epoch: told after every epoch.
    """
    trial = trial or ColdTrial()
    found: dict[str, dict[str, list[Judged]]] = {kind: {row: [] for row in ROWS} for kind in ASKED}
    counts = {"train_clicks": 0, "unseen_items": 0}
    for seed in range(seeds):
        on_step(f"items unseen in training: shop {seed + 1} of {seeds}")
        goods, split = _shop(trial, seed)
        chance = np.random.default_rng([seed, 6])
        train = replace(split.train, items=split.train.items[: split.seen])
        seen = DaySplit(train, split.held_out, split.seen)
        known = trainings.fit(seen, replace(live, seed=seed), on_epoch=on_epoch).model()
        towers = trainings.fit(seen, replace(by_content, seed=seed), on_epoch=on_epoch).model()
        told = chance.permutation(sorted(set(goods.ids) - set(train.items))).tolist()
        towers = with_items(towers, {item: _words(goods, item) for item in told})
        moments = _moments(split)
        offers = _offers(SessionRecommender(known, reasons=0), SessionRecommender(towers, reasons=0), split, moments)
        for row, lists in (*offers, *_rules(goods, split, moments, chance)):
            place = places(lists, moments.target)
            for kind, mine in moments.kinds.items():
                found[kind][row].append(Judged(place[mine], moments.queries.session[mine], lists[mine]))
        counts["train_clicks"] += len(train)
        counts["unseen_items"] += len(told)
    joined = {kind: {row: _joined(each) for row, each in rows.items()} for kind, rows in found.items()}
    return {
        "trial": asdict(trial),
        "seeds": seeds,
        **counts,
        "moments": {kind: len(rows["live"].place) for kind, rows in joined.items()},
        "rows": ROWS,
        "figures": {
            kind: {row: _figures(found[kind][row], whole, resamples) for row, whole in rows.items()}
            for kind, rows in joined.items()
        },
        "above": {other: _above(joined["of_unseen"], other, resamples) for other in AGAINST},
    }


def _shop(trial: ColdTrial, seed: int) -> tuple[Goods, DaySplit]:
    """Goods, and clicks whose unseen items are those that only the last day has."""
    goods = make_goods(trial.items, categories=trial.categories, seed=seed)
    shoppers = make_shoppers(goods, trial.shoppers, seed=seed)
    how = VisitSettings(hours=24.0 * trial.days, bots=0.0)
    views = visits(goods, shoppers, sessions=trial.sessions, settings=how, seed=seed).events.filter(kind="view")
    clicks = views.select(session="session_id", item="item_id", time_s=pl.col("event_time_ms").to_physical() / 1e3)
    drawn = np.random.default_rng([seed, 5]).random(trial.items) < trial.unseen
    # By the rule of `split_last_day`: sessions before the last day only get shorter, and stay there.
    is_late = pl.col("time_s").max().over("session") >= pl.col("time_s").max() - DAY_S
    kept = clicks.filter(is_late | ~pl.col("item").is_in(goods.ids[drawn].tolist()))
    content = {item: _words(goods, item) for item in goods.ids}
    return goods, split_last_day(click_set(_SOURCE, kept, content, SessionRules()))


def _words(goods: Goods, item: str) -> tuple[str, ...]:
    return (f"category:{goods.names[goods.category[_number(item)]]}",)


def _number(item: str) -> int:
    """In the catalogue."""
    return int(item[1:])


def _moments(split: DaySplit) -> _Moments:
    asked = queries(split)
    of_unseen = ((asked.context >= split.seen) | (asked.context == NO_ITEM)).all(axis=1)
    to_unseen = asked.target >= split.seen
    asked = asked.take(of_unseen | to_unseen)
    kinds = {"of_unseen": of_unseen, "to_unseen": to_unseen}
    judged = of_unseen | to_unseen
    return _Moments(asked, _numbers(split)[asked.target], {kind: mine[judged] for kind, mine in kinds.items()})


def _numbers(split: DaySplit) -> Ints:
    """In the catalogue, of every item of the clicks."""
    return np.array([_number(item) for item in split.train.items])


def _offers(
    known: SessionRecommender, towers: SessionRecommender, split: DaySplit, moments: _Moments
) -> Iterator[tuple[str, Ints]]:
    """What recommenders offer at each moment, (Q, 20)."""
    asked = moments.queries
    there = asked.context != NO_ITEM
    item = np.array(split.train.items, dtype=object)[asked.context[there]]  # row by row, the oldest click first
    clicks = there.sum(axis=1)
    time_ms = np.repeat(np.round(asked.now_s * 1000).astype(np.int64), clicks)
    offsets = np.append(0, np.cumsum(clicks))
    recommenders: dict[str, _Recommends] = {"cold_start": ColdStart(known, towers), "two_tower": towers, "live": known}
    for row, recommender in recommenders.items():
        found = recommender.recommend(item, time_ms, offsets, PLACES).items
        yield row, np.vectorize(lambda each: _number(each) if each else NOTHING, otypes=[np.int64])(found)


def _rules(goods: Goods, split: DaySplit, moments: _Moments, chance: np.random.Generator) -> Iterator[tuple[str, Ints]]:
    """What rules offer at each moment, (Q, 20). Of items with as many clicks, chance says which is first."""
    numbers = _numbers(split)
    clicks = np.bincount(numbers[split.train.item], minlength=len(goods)) + chance.random(len(goods)) / 2
    category = goods.category[numbers[moments.queries.context[:, -1]]]

    def lists(scores: Callable[[Ints], Floats]) -> Ints:
        """Of scores of the items at some moments, given their categories."""
        parts = [category[start : start + _AT_ONCE] for start in range(0, len(category), _AT_ONCE)]
        return np.concatenate([ranked(scores(part), PLACES) for part in parts])

    yield "category", lists(lambda part: clicks + clicks.max() * (goods.category == part[:, None]))
    yield "popularity", lists(lambda part: np.tile(clicks, (len(part), 1)))
    yield "random", lists(lambda part: chance.random((len(part), len(goods))))


def _joined(seeds: list[Judged]) -> Judged:
    """Moments of all shops; no session is in two of them."""
    first = np.cumsum([0, *(each.session.max(initial=-1) + 1 for each in seeds)])
    return Judged(
        np.concatenate([each.place for each in seeds]),
        np.concatenate([each.session + start for each, start in zip(seeds, first[:-1], strict=True)]),
        np.concatenate([each.lists for each in seeds]),
    )


def _figures(seeds: list[Judged], joined: Judged, resamples: int) -> dict[str, Any]:
    values = joined.values()
    return {
        measure: {
            **interval(float(values[measure].mean()), session_samples(joined.session, values[measure], resamples)),
            "seeds": [round(float(each.values()[measure].mean()), 4) for each in seeds],
        }
        for measure in MEASURES
    }


def _above(rows: dict[str, Judged], other: str, resamples: int) -> dict[str, float]:
    """Recall@20 of what answers live minus that of another row, on the same moments."""
    value, low, high = difference([rows["cold_start"]], [rows[other]], "recall", resamples=resamples)
    return {"value": round(value, 4), "low": round(low, 4), "high": round(high, 4)}
