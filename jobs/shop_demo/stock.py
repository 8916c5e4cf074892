"""What a shop demo shows: goods, what was clicked in the past, and who clicks now.

Past and present are of one time line, that is moved so that the present begins now: models weigh how long ago a session
was. Of a file, the past is what ended before its last day, and the sessions of that day are the present.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl

from streaming.importers.problem import ImportProblem
from streaming.importers.sessions import ImportedSessions, import_sessions
from streaming.simulators import shop

PAST_DAYS = 5
_DAY_MS = 24 * 3600 * 1000
_SHARE_OF_PRESENT = 0.2  # of the time, where a file is no longer than two days

Reactions = Callable[[pl.DataFrame], pl.DataFrame]
"""Answers to the impressions and clicks that come of them, as events."""


@dataclass(frozen=True)
class Lap:
    """Sessions to be streamed."""

    events: pl.DataFrame  # in the order of their times
    reactions: Reactions | None = None  # None: nobody knows what would have been clicked
    changes: pl.DataFrame | None = None  # of the catalogue, in the order of their times


@dataclass(frozen=True)
class Stock:
    """One shop.

    Attributes:
        origin: in words.
        simulated: whether all of it is made up.
        items: the catalogue (`ITEM_SCHEMA`), with times of the shop.
        past: views (session_id, event_time_ms, item_id), the latest before the present.
        present_ms: event time at which the present begins.
        laps: the present, which a made-up shop has again and again.
    """

    origin: str
    simulated: bool
    items: pl.DataFrame
    past: pl.DataFrame
    present_ms: int
    laps: Callable[[], Iterator[Lap]]

    @property
    def has_content(self) -> bool:
        """Whether anything but their ids is known of items."""
        return bool((self.items["category"] != "").any())


@dataclass(frozen=True)
class Size:
    """Of a made-up shop."""

    items: int = 600
    categories: int = 24
    shoppers: int = 400
    past_sessions: int = 5_000
    sessions_per_hour: int = 14_400
    changes_per_hour: float = 1_200.0


def made_up(seed: int, size: Size | None = None) -> Stock:
    """A shop of the simulator: shoppers, bots, and a catalogue that changes."""
    of = size or Size()
    goods = shop.make_goods(of.items, categories=of.categories, seed=seed)
    shoppers = shop.make_shoppers(goods, of.shoppers, seed=seed)
    before = shop.VisitSettings(hours=24.0 * PAST_DAYS, bots=0.0)
    past = shop.visits(goods, shoppers, sessions=of.past_sessions, settings=before, seed=seed).events
    # A bot has eighty times the views of a person: more of them would be most of what there is to see.
    now = shop.VisitSettings(first_day=PAST_DAYS, hours=1.0, bots=0.003)

    def laps() -> Iterator[Lap]:
        lap = seed
        while True:
            lap += 1
            yield _lap(goods, shoppers, of, now, lap)

    return Stock(
        origin="a made-up shop",
        simulated=True,
        items=shop.item_records(goods),
        past=_views(past).filter(pl.col("event_time_ms").to_physical() < now.begin_ms),
        present_ms=now.begin_ms,
        laps=laps,
    )


def _lap(goods: shop.Goods, shoppers: shop.Shoppers, of: Size, how: shop.VisitSettings, lap: int) -> Lap:
    """An hour, whose sessions are no other hour's."""
    made = shop.visits(goods, shoppers, sessions=of.sessions_per_hour, settings=how, seed=lap)
    own = pl.format("{}-{}", pl.lit(lap), "session_id").alias("session_id")
    truth, rounds = made.truth.with_columns(own), iter(range(1 << 62))

    def reactions(answers: pl.DataFrame) -> pl.DataFrame:
        return shop.reactions(goods, shoppers, answers, truth, seed=next(rounds))

    changes = shop.changes(goods, hours=how.hours, per_hour=of.changes_per_hour, seed=lap).drop("change")
    return Lap(made.events.with_columns(own), reactions, changes)


def from_file(path: Path) -> Stock:
    """Real clicks.

    Raises:
        ImportProblem: nothing can be imported, or there is no past before the present to learn from.
    """
    imported = import_sessions(path)
    past, present = _apart(imported.events)
    if past.is_empty() or present.is_empty():
        raise ImportProblem(path, "", "all sessions end together", "give a file of several hours or days")
    return _of(path, imported, past, present)


def _of(path: Path, imported: ImportedSessions, past: pl.DataFrame, present: pl.DataFrame) -> Stock:
    lap = Lap(present)
    return Stock(
        origin=f"{path.name} ({imported.format})",
        simulated=False,
        items=imported.items,
        past=_views(past),
        present_ms=int(present["event_time_ms"].to_physical()[0]),
        laps=lambda: iter([lap]),
    )


def _apart(events: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Whole sessions: those that end before the last day, or the last part of the time, and the others."""
    at_ms = events["event_time_ms"].to_physical()
    first, last = int(at_ms[0]), int(at_ms[-1])
    present_ms = min(_DAY_MS, (last - first) * _SHARE_OF_PRESENT) if last - first <= 2 * _DAY_MS else _DAY_MS
    ended = pl.col("event_time_ms").to_physical().max().over("session_id") < last - present_ms
    return events.filter(ended), events.filter(~ended)


def _views(events: pl.DataFrame) -> pl.DataFrame:
    return events.filter(kind="view").select("session_id", "event_time_ms", "item_id")


def moved(stock: Stock, now_ms: int) -> Stock:
    """The same with the past up to now; a real present moves when it is fed."""
    by = pl.duration(milliseconds=now_ms - stock.present_ms)
    past = stock.past.with_columns(pl.col("event_time_ms") + by)
    stamp = pl.lit(now_ms).cast(stock.items.schema["changed_ms"])
    return replace(stock, past=past, items=stock.items.with_columns(changed_ms=stamp))
