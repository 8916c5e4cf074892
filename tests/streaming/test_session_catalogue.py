"""The catalogue follows its topic: records by hand, any order of changes, and a follower over a log in memory."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streaming import topics
from streaming.codec import PackagedRegistry
from streaming.pipeline import DependencyUnavailable
from streaming.records import Records
from streaming.sessions.catalogue import Catalogue
from streaming.sessions.following import CatalogueFollower
from streaming.testing import MemoryLog, MemorySource
from tests.shop_feed import apply, catalogue_of, item, item_records
from tests.waiting import wait_until


def may(catalogue: Catalogue, *items: str) -> list[bool]:
    codes = catalogue.codes(np.array(items, dtype=object))
    return [bool(code >= 0 and catalogue.may_be_offered[code]) for code in codes]


def tombstone(item_id: str) -> Records:
    return Records.of([item_id.encode()], [None], timestamps_ms=[1_700_000_000_000])


def test_the_newest_record_of_an_item_holds() -> None:
    shop = catalogue_of(item("a"), item("b"), item("a", in_stock=False), item("c", withdrawn=True))
    assert may(shop, "a", "b", "c", "d") == [False, True, False, False]
    assert shop.position == 4
    apply(shop, item_records([item("a"), item("b", price=3.0, category="Toys > Blocks")]))
    assert may(shop, "a", "b") == [True, True]
    code = shop.codes(np.array(["b"], dtype=object))[0]
    assert shop.price[code] == 3.0 and shop.categories()[shop.category[code]] == "Toys > Blocks"
    apply(shop, tombstone("b"))
    assert may(shop, "a", "b") == [True, False]


def test_an_item_whose_newest_record_cannot_be_believed_is_not_offered_until_a_good_one_comes() -> None:
    shop = catalogue_of(item("a"), item("b"), item("c"))
    apply(shop, item_records([item("a", price=-1.0)]))
    apply(shop, Records.of([b"b"], [b"no avro at all"], timestamps_ms=[1_700_000_000_000]))
    assert may(shop, "a", "b", "c") == [False, False, True]
    assert shop.refused["InvalidItem"] == 1 and shop.refused.total() == 2
    (said,) = shop.alerts()
    assert said.startswith("2 items are not offered, their newest records on item.catalogue were refused: ")
    apply(shop, item_records([item("a", price=1.0)]))
    apply(shop, tombstone("b"))
    assert may(shop, "a", "b") == [True, False]
    assert shop.alerts() == ()


def test_levels_of_categories_are_told_apart_by_their_whole_path() -> None:
    paths = ("Toys > Small", "Books > Small", "Toys", "", "A > B > C > D > E", "A > B > C > D > F")
    shop = catalogue_of(*(item(str(n), category=name) for n, name in enumerate(paths)))
    levels = shop.category_levels[shop.category[: len(paths)]]
    common = [[int(((one == other) & (one > 0)).sum()) for other in levels] for one in levels]
    assert common[0] == [2, 0, 1, 0, 0, 0]
    assert common[3] == [0] * 6 and common[4][5] == 4


CHANGES = st.lists(
    st.tuples(st.sampled_from("abc"), st.sampled_from(["in", "out", "withdrawn", "bad", "gone"])), max_size=30
)


@given(CHANGES, st.lists(st.integers(1, 29), max_size=4))
@settings(deadline=None, max_examples=50)
def test_however_changes_come_only_what_was_last_said_to_be_there_may_be_offered(changes: Any, cuts: Any) -> None:
    made = {
        "in": lambda name: item_records([item(name)]),
        "out": lambda name: item_records([item(name, in_stock=False)]),
        "withdrawn": lambda name: item_records([item(name, withdrawn=True)]),
        "bad": lambda name: item_records([item(name, price=-1.0)]),
        "gone": tombstone,
    }
    shop, parts = catalogue_of(), [made[what](name) for name, what in changes]
    bounds = [0, *sorted({cut for cut in cuts if cut < len(parts)}), len(parts)]
    for a, b in pairwise(bounds):
        apply(shop, Records.joined([Records.of([], []), *parts[a:b]]))
    last = dict(changes)
    assert may(shop, *"abc") == [last.get(name) == "in" for name in "abc"]


# --- following -----------------------------------------------------------------------------------------------------


@pytest.fixture
def log() -> MemoryLog:
    made = MemoryLog()
    made.create(topics.ITEM_CATALOGUE.name, 1)
    return made


@pytest.fixture
def follower(log: MemoryLog) -> Iterator[CatalogueFollower]:
    made = follow(log)
    yield made
    made.close()


def follow(log: MemoryLog, **how: float) -> CatalogueFollower:
    return CatalogueFollower(MemorySource(log, topics.ITEM_CATALOGUE.name, ""), PackagedRegistry(), **how)


def write(log: MemoryLog, *rows: dict[str, Any]) -> None:
    log.append(topics.ITEM_CATALOGUE.name, item_records(rows))


def can_read(follower: CatalogueFollower, position: int) -> bool:
    try:
        with follower.reading(position):
            return True
    except DependencyUnavailable:
        return False


def test_changes_are_there_when_they_are_written(log: MemoryLog, follower: CatalogueFollower) -> None:
    write(log, item("a"), item("b"))
    wait_until(lambda: can_read(follower, 2))
    write(log, item("a", withdrawn=True), item("new"))
    wait_until(lambda: can_read(follower, 4))
    with follower.reading(4) as shop:
        assert may(shop, "a", "b", "new") == [False, True, True]


def test_who_asks_for_more_than_is_known_is_let_wait(log: MemoryLog, follower: CatalogueFollower) -> None:
    wait_until(lambda: can_read(follower, 0))
    with pytest.raises(DependencyUnavailable, match="was known up to 5, and is read up to 0"), follower.reading(5):
        pass


def test_a_catalogue_that_is_not_heard_of_is_not_read_from(log: MemoryLog) -> None:
    follower = follow(log, max_age_s=0.5)
    try:
        write(log, item("a"))
        wait_until(lambda: can_read(follower, 1))
        with log.unavailable():
            wait_until(lambda: not can_read(follower, 1))
            with pytest.raises(DependencyUnavailable, match="the log in memory is away"), follower.reading():
                pass
        wait_until(lambda: can_read(follower, 1))
    finally:
        follower.close()


def test_a_topic_of_several_partitions_is_refused() -> None:
    log = MemoryLog()
    log.create(topics.ITEM_CATALOGUE.name, 2)
    follower = follow(log)
    try:
        wait_until(lambda: "2 partitions, not one" in said(follower))
    finally:
        follower.close()


def said(follower: CatalogueFollower) -> str:
    try:
        with follower.reading():
            return ""
    except DependencyUnavailable as away:
        return str(away)
