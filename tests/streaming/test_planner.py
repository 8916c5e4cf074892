"""The plan answers by index and remembers; batches come out in partition order. Pure, no Ray."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streaming.records import OffsetRange
from streaming.runners.batch import Batch
from streaming.runners.order import ReleaseOrder
from streaming.runners.planner import Plan


def span(partition: int, start: int, end: int) -> tuple[OffsetRange, ...]:
    return (OffsetRange(partition, start, end),)


def batch(*ranges: OffsetRange) -> Batch:
    return Batch(ranges, pl.DataFrame())


def test_the_same_index_gets_the_same_answer_whatever_is_proposed_later() -> None:
    plan = Plan({0: 10}, max_unanswered=100)
    assert plan.propose(0, 0, 0, span(0, 10, 15), 5) == span(0, 10, 15)
    assert plan.propose(0, 0, 0, span(0, 10, 99), 89) == span(0, 10, 15)
    assert plan.answers(0, 0) == [span(0, 10, 15)]
    assert plan.unanswered == 5  # the second proposal handed nothing out


def test_a_range_must_continue_its_partition() -> None:
    plan = Plan({0: 10}, max_unanswered=100)
    with pytest.raises(ValueError, match="partition 0: proposed to read from 11, planned is 10"):
        plan.propose(0, 0, 0, span(0, 11, 15), 4)


def test_an_index_may_not_be_skipped() -> None:
    plan = Plan({0: 0}, max_unanswered=100)
    with pytest.raises(ValueError, match="index 1 before 0"):
        plan.propose(0, 0, 1, span(0, 0, 5), 5)


def test_the_next_epoch_begins_where_the_closed_one_ended_and_not_before() -> None:
    plan = Plan({0: 0, 1: 7}, max_unanswered=100)
    plan.propose(0, 0, 0, span(0, 0, 5), 5)
    assert plan.begun(0)
    assert not plan.begun(1)
    plan.close(0)
    assert plan.begun(1)
    assert plan.propose(0, 0, 1, span(0, 5, 9), 4) is None
    assert plan.propose(0, 0, 0, span(0, 0, 5), 5) == span(0, 0, 5)  # a task run again still gets its old answers
    assert plan.positions([0, 1]) == {0: 5, 1: 7}


def test_full_until_committed() -> None:
    plan = Plan({0: 0}, max_unanswered=5)
    plan.propose(0, 0, 0, span(0, 0, 5), 5)
    assert plan.full
    plan.commit(3)
    assert not plan.full


def test_a_batch_waits_for_the_one_before_it_in_every_partition() -> None:
    order = ReleaseOrder({0: 0, 1: 0})
    late = batch(OffsetRange(0, 5, 9), OffsetRange(1, 0, 2))
    assert list(order.push(late)) == []
    first = batch(OffsetRange(0, 0, 5))
    assert list(order.push(first)) == [first, late]
    following = batch(OffsetRange(0, 9, 10), OffsetRange(1, 2, 3))
    assert list(order.push(following)) == [following]


def test_a_batch_handed_on_twice_is_released_once() -> None:
    order = ReleaseOrder({0: 0})
    first = batch(OffsetRange(0, 0, 5))
    assert list(order.push(first)) == [first]
    assert list(order.push(batch(OffsetRange(0, 0, 5)))) == []
    second = batch(OffsetRange(0, 5, 6))
    assert list(order.push(second)) == [second]


def test_a_range_that_overlaps_released_offsets_is_refused() -> None:
    order = ReleaseOrder({0: 4})
    with pytest.raises(ValueError, match=r"partition 0: range \[2, 9\) overlaps offsets released up to 4"):
        list(order.push(batch(OffsetRange(0, 2, 9))))


@given(st.data())
def test_any_arrival_order_comes_out_contiguous(data: st.DataObject) -> None:
    sizes = {p: data.draw(st.lists(st.integers(1, 5), max_size=6), label=f"partition {p}") for p in range(3)}
    made, at = [], dict.fromkeys(sizes, 0)
    for partition, steps in sizes.items():
        for size in steps:
            made.append(batch(OffsetRange(partition, at[partition], at[partition] + size)))
            at[partition] += size
    order = ReleaseOrder(dict.fromkeys(sizes, 0))
    released = [out for arrived in data.draw(st.permutations(made)) for out in order.push(arrived)]
    assert len(released) == len(made)
    position = dict.fromkeys(sizes, 0)
    for out in released:
        (wanted,) = out.ranges
        assert wanted.start == position[wanted.partition]
        position[wanted.partition] = wanted.end
    assert position == at
