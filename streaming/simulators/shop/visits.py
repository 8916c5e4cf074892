"""Visits: what shoppers, and bots, do in the shop, as events of sessions; and who was who.

A visit is a walk over items. At each step the shopper stays in the category or goes to another by taste and season;
then looks at an item that is often looked at after the last one (the next few of its category), or at one by popularity
and trend. All visits take their n-th step together, in numpy.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from streaming.features.runs import Ints
from streaming.sessions.events import EVENT_SCHEMA
from streaming.simulators.shop.goods import DAY_MS, START_MS, Floats, Goods
from streaming.simulators.shop.shoppers import Shoppers

_NEXT = 4  # one of so many items behind the last, where a visit goes along a shelf
_MOST_STEPS = 60


@dataclass(frozen=True)
class VisitSettings:
    """How visits go."""

    first_day: float = 0.0  # of the shop's time, when the first begin
    hours: float = 24.0  # over which they begin, by a day's season
    mean_views: float = 5.0
    stays: float = 0.75  # probability of the same category again
    along: float = 0.6  # and of an item next to the last one, where it stays
    carts: float = 0.25  # probability, times how much the item is liked, that it goes into the cart
    known: float = 0.5  # share of sessions that log in
    searches: float = 0.05  # probability that a view came by a search
    bots: float = 0.01  # share of sessions
    bot_events: int = 400

    @property
    def begin_ms(self) -> int:
        """Unix time of the first day's beginning."""
        return START_MS + round(self.first_day * DAY_MS)


@dataclass(frozen=True)
class Visits:
    """Events in the order of their times, and the truth of each session."""

    events: pl.DataFrame  # `streaming.sessions.events.EVENT_SCHEMA`
    truth: pl.DataFrame  # session_id, shopper (-1: a bot), is_bot, views


def visits(
    goods: Goods, shoppers: Shoppers, *, sessions: int, settings: VisitSettings | None = None, seed: int = 0
) -> Visits:
    """So many sessions."""
    how, random = settings or VisitSettings(), np.random.default_rng([seed, 3])
    bots = round(sessions * how.bots)
    people = sessions - bots
    who = random.integers(0, len(shoppers), people)
    start_ms = how.begin_ms + _starts(people, how.hours, random)
    steps = np.minimum(random.geometric(1.0 / how.mean_views, people), _MOST_STEPS)
    session, item, at_ms = _walks(goods, shoppers, who, start_ms, steps, how, random)
    parts = [_acts(goods, shoppers, who, session, item, at_ms, how, random)]
    if how.known:
        logs_in = np.flatnonzero(random.random(people) < how.known)
        parts.append(_frame(logs_in, start_ms[logs_in] + 1, "login", user=who[logs_in]))
    if bots:
        parts.append(_bots(goods, people, bots, how, random))
    events = pl.concat(parts).sort("event_time_ms", "session_id", maintain_order=True)
    truth = pl.DataFrame(
        {
            "session_id": _ids(np.arange(sessions)),
            "shopper": np.concatenate([who, np.full(bots, -1)]),
            "is_bot": np.arange(sessions) >= people,
            "views": np.concatenate([steps, np.full(bots, how.bot_events)]),
        }
    )
    return Visits(events, truth)


def _starts(count: int, hours: float, random: np.random.Generator) -> Ints:
    """Times after the start, in ms: twice as many at 18 h as on the average, next to none at 6 h."""
    grid_h = np.linspace(0.0, hours, max(2, int(hours * 60)))
    rate = 1.0 + 0.95 * np.sin((grid_h - 12.0) / 24.0 * 2 * np.pi)
    reached = np.concatenate([[0.0], np.cumsum((rate[1:] + rate[:-1]) / 2)])
    drawn = np.sort(random.random(count))
    return np.round(np.interp(drawn, reached / reached[-1], grid_h) * 3_600_000).astype(np.int64)


def _walks(
    goods: Goods, shoppers: Shoppers, who: Ints, start_ms: Ints, steps: Ints, how: VisitSettings,
    random: np.random.Generator,
) -> tuple[Ints, Ints, Ints]:  # fmt: skip
    """Session, item and time of every view, (E,) each."""
    by_taste = np.cumsum(shoppers.taste, axis=1)
    shelf = _Shelves(goods, start_ms)
    item, category = np.full(len(who), -1), np.zeros(len(who), np.int64)
    now_ms = start_ms.copy()
    found: list[tuple[Ints, Ints, Ints]] = []
    for step in range(int(steps.max(initial=0))):
        going = np.flatnonzero(steps > step)
        stays = (random.random(len(going)) < how.stays) & (step > 0)
        drawn = (by_taste[who[going]] < random.random(len(going))[:, None]).sum(axis=1)
        category[going] = np.where(stays, category[going], np.minimum(drawn, len(goods.names) - 1))
        along = stays & (random.random(len(going)) < how.along)
        ahead = item[going] + random.integers(1, _NEXT + 1, len(going))
        low, high = goods.first[category[going]], goods.first[category[going] + 1]
        ahead = np.where(along, low + (ahead - low) % (high - low), 0)
        item[going] = np.where(along, ahead, shelf.draw(category[going], now_ms[going], random))
        found.append((going, item[going].copy(), now_ms[going].copy()))
        now_ms[going] += np.round(1000 * np.exp(random.normal(3.0, 0.9, len(going)))).astype(np.int64) + 500
    session, items, at_ms = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return session, items, at_ms


class _Shelves:
    """Items of a category by popularity and the trend of the day."""

    def __init__(self, goods: Goods, start_ms: Ints) -> None:
        days = np.unique((start_ms - START_MS) // DAY_MS).tolist() or [0]
        self._first_day, self._goods = days[0], goods
        weights = [goods.popularity * goods.trend(day) for day in range(days[0], days[-1] + 2)]
        self._reached: list[Floats] = [np.concatenate([[0.0], np.cumsum(weight)]) for weight in weights]

    def draw(self, category: Ints, at_ms: Ints, random: np.random.Generator) -> Ints:
        """An item for each."""
        day = np.clip((at_ms - START_MS) // DAY_MS - self._first_day, 0, len(self._reached) - 1)
        drawn, item = random.random(len(category)), np.empty(len(category), np.int64)
        low, high = self._goods.first[category], self._goods.first[category + 1]
        for number in np.unique(day).tolist():
            mine, reached = day == number, self._reached[number]
            begin, end = reached[low[mine]], reached[high[mine]]
            at = np.searchsorted(reached, begin + drawn[mine] * (end - begin), side="right") - 1
            item[mine] = np.clip(at, low[mine], high[mine] - 1)
        return item


def _acts(
    goods: Goods, shoppers: Shoppers, who: Ints, session: Ints, item: Ints, at_ms: Ints, how: VisitSettings,
    random: np.random.Generator,
) -> pl.DataFrame:  # fmt: skip
    """Views, and what follows from them."""
    liking = shoppers.likes(who[session], goods, item)
    carted = np.flatnonzero(random.random(len(item)) < how.carts * (0.2 + liking))
    bought = carted[random.random(len(carted)) < shoppers.buys[who[session[carted]]]]
    dwelt = np.flatnonzero(random.random(len(item)) < 0.3)
    dwell_s = np.asarray(np.exp(random.normal(1.5 + 2.0 * liking[dwelt], 0.5)).round(1), np.float64)
    searched = np.flatnonzero(random.random(len(item)) < how.searches)
    words = np.array([name.rpartition(" > ")[2] for name in goods.names], dtype=object)
    return pl.concat(
        [
            _frame(session[searched], at_ms[searched] - 1, "search", text=words[goods.category[item[searched]]]),
            _frame(session, at_ms, "view", item=item),
            _frame(session[dwelt], at_ms[dwelt] + 200, "dwell", item=item[dwelt], dwell_s=dwell_s),
            _frame(session[carted], at_ms[carted] + 300, "cart", item=item[carted]),
            _frame(session[bought], at_ms[bought] + 400, "purchase", item=item[bought]),
        ]
    )


def _bots(goods: Goods, first: int, bots: int, how: VisitSettings, random: np.random.Generator) -> pl.DataFrame:
    """Four views a second, of whatever comes."""
    start_ms = how.begin_ms + np.round(random.random(bots) * how.hours * 3_600_000).astype(np.int64)
    at_ms = (start_ms[:, None] + np.arange(how.bot_events) * 250).ravel()
    session = np.repeat(np.arange(first, first + bots), how.bot_events)
    return _frame(session, at_ms, "view", item=random.integers(0, len(goods), len(session)))


def _frame(
    session: Ints, at_ms: Ints, kind: str, *, item: Ints | None = None, user: Ints | None = None,
    text: npt.NDArray[np.object_] | None = None, dwell_s: Floats | None = None,
) -> pl.DataFrame:  # fmt: skip
    count = len(session)
    nothing = pl.Series([[]], dtype=pl.List(pl.String)).new_from_index(0, count)
    said = {
        "user_id": None if user is None else _numbered("u", user),
        "item_id": None if item is None else _numbered("i", item),
        "text": None if text is None else pl.Series(text.tolist(), dtype=pl.String),
        "dwell_s": None if dwell_s is None else pl.Series(dwell_s),
    }
    return pl.DataFrame(
        {"session_id": _ids(session), "event_time_ms": at_ms, "items": nothing},
    ).with_columns(
        pl.col("event_time_ms").cast(EVENT_SCHEMA["event_time_ms"]),
        *((pl.lit(None) if value is None else value).cast(EVENT_SCHEMA[name]).alias(name)
          for name, value in said.items()),
        kind=pl.lit(kind),
        answer_id=pl.lit(None, pl.String),
    ).select(EVENT_SCHEMA.names())  # fmt: skip


def _numbered(letter: str, number: Ints) -> pl.Series:
    digits = pl.Series(number).cast(pl.String).str.zfill(6)
    return pl.Series([letter]).new_from_index(0, len(number)) + digits


def _ids(session: Ints) -> pl.Series:
    return _numbered("s", session)
