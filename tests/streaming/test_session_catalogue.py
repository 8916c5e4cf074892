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
from streaming.sessions.catalogue import UNKNOWN, Catalogue, Index
from streaming.sessions.following import CatalogueFollower
from streaming.testing import MemoryLog, MemorySource
from tests.shop_feed import apply, catalogue_of, item, item_records
from tests.waiting import wait_until


def may(catalogue: Catalogue, *items: str) -> list[bool]:
    return offers(catalogue.index, *items)


def offers(index: Index, *items: str) -> list[bool]:
    codes = index.codes(np.array(items, dtype=object))
    return [bool(code >= 0 and index.may_be_offered[code]) for code in codes]


def tombstone(item_id: str) -> Records:
    return Records.of([item_id.encode()], [None], timestamps_ms=[1_700_000_000_000])


def test_the_newest_record_of_an_item_holds() -> None:
    shop = catalogue_of(item("a"), item("b"), item("a", in_stock=False), item("c", withdrawn=True))
    assert may(shop, "a", "b", "c", "d") == [False, True, False, False]
    assert shop.index.position == 4
    apply(shop, item_records([item("a"), item("b", price=3.0, category="Toys > Blocks")]))
    assert may(shop, "a", "b") == [True, True]
    index = shop.index
    code = index.codes(np.array(["b"], dtype=object))[0]
    assert index.price[code] == 3.0 and index.categories[index.category[code]] == "Toys > Blocks"
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
    shop = catalogue_of(*(item(str(n), category=name) for n, name in enumerate(paths))).index
    levels = shop.category_levels[shop.category]
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


def test_an_index_that_is_read_stands_still_whatever_comes() -> None:
    shop = catalogue_of(item("a", price=1.0, category="Toys"), item("b"))
    before, held = shop.index, {name: np.copy(column) for name, column in columns_of(shop.index).items()}
    apply(shop, item_records([item("c", category="Books > Small"), item("a", price=2.0, withdrawn=True)]))
    apply(shop, tombstone("b"))
    apply(shop, item_records([item("b", price=-1.0)]))
    assert offers(before, "a", "b", "c") == [True, True, False] and before.position == 2
    assert before.codes(np.array([["c", "a"]], dtype=object)).tolist() == [[UNKNOWN, 0]]
    assert before.categories == (*dict.fromkeys(["Toys", item("b")["category"]]),)
    for name, column in columns_of(before).items():
        np.testing.assert_array_equal(column, held[name], err_msg=name)
        with pytest.raises(ValueError, match="read-only"):
            column[0] = column[1]
    assert offers(shop.index, "a", "b", "c") == [False, False, True] and len(shop.index) == 3


def columns_of(index: Index) -> dict[str, Any]:
    return {name: value for name, value in vars(index).items() if isinstance(value, np.ndarray)}


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
        follower.as_of(position)
    except DependencyUnavailable:
        return False
    return True


def test_changes_are_there_when_they_are_written(log: MemoryLog, follower: CatalogueFollower) -> None:
    write(log, item("a"), item("b"))
    wait_until(lambda: can_read(follower, 2))
    write(log, item("a", withdrawn=True), item("new"))
    wait_until(lambda: can_read(follower, 4))
    assert offers(follower.as_of(4), "a", "b", "new") == [False, True, True]


def test_who_asks_for_more_than_is_known_is_let_wait(log: MemoryLog, follower: CatalogueFollower) -> None:
    wait_until(lambda: can_read(follower, 0))
    with pytest.raises(DependencyUnavailable, match="was known up to 5, and is read up to 0"):
        follower.as_of(5)


def test_a_catalogue_that_is_not_heard_of_is_not_read_from(log: MemoryLog) -> None:
    follower = follow(log, max_age_s=0.5)
    try:
        write(log, item("a"))
        wait_until(lambda: can_read(follower, 1))
        with log.unavailable():
            wait_until(lambda: not can_read(follower, 1))
            with pytest.raises(DependencyUnavailable, match="the log in memory is away"):
                follower.as_of()
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
        follower.as_of()
    except DependencyUnavailable as away:
        return str(away)
    return ""
