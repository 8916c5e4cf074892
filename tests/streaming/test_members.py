"""The contract of `streaming.transport.Member`: one suite for every member, in memory and on a real broker."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest

from streaming.transport import Member, NoLongerOwned, Output
from tests.transport_labs import Lab, Row, numbered, read_rest, rows
from tests.waiting import PATIENCE_S, wait_until


class Membership:
    """A member in a thread: begins whatever it is given, and keeps what it reads."""

    def __init__(self, member: Member) -> None:
        self.member = member
        self.begun: dict[int, int] = {}
        self.seen: dict[int, list[Row]] = {}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def leave(self) -> None:
        self._over.set()
        self._thread.join(PATIENCE_S)
        self.member.close()

    def _run(self) -> None:
        while not self._over.is_set():
            self._poll()

    def _poll(self) -> None:
        fetched = self.member.poll(0.05, 100)
        moved = self.member.moved()
        for partition in moved.given:
            del self.begun[partition]
        for partition in moved.taken:
            self.begun[partition] = self.member.begin(partition)
        if fetched is not None and fetched.range.partition in self.begun:
            self.seen.setdefault(fetched.range.partition, []).extend(rows(fetched.records))


@pytest.fixture
def join(lab: Lab) -> Iterator[Callable[[], Membership]]:
    """Joins the group of the topic "in"; whoever is still a member at the end leaves."""
    members: list[Membership] = []

    def joined() -> Membership:
        members.append(Membership(lab.source("in").join()))
        return members[-1]

    yield joined
    for member in members:
        member.leave()


Join = Callable[[], Membership]


def test_partitions_move_one_by_one_to_a_second_member_and_back_when_it_leaves(lab: Lab, join: Join) -> None:
    lab.create("in", 4)
    for partition in range(4):
        lab.append("in", numbered(0, 5), partition)
    first = join()
    wait_until(lambda: sum(len(seen) for seen in first.seen.values()) == 20)
    assert first.seen == dict.fromkeys(range(4), rows(numbered(0, 5)))
    second = join()
    wait_until(lambda: (len(first.begun), len(second.begun)) == (2, 2))
    assert sorted([*first.begun, *second.begun]) == [0, 1, 2, 3]
    for partition in range(4):
        lab.append("in", numbered(5, 6), partition)
    kept = set(first.begun)
    wait_until(lambda: all(len(first.seen[partition]) == 6 for partition in kept))
    second.leave()
    wait_until(lambda: len(first.begun) == 4)


def test_a_member_begins_where_the_group_has_committed(lab: Lab, join: Join) -> None:
    lab.create("in", 1)
    lab.append("in", numbered(0, 9), 0)
    sink, member = lab.sink("in"), join()
    sink.open()
    wait_until(lambda: bool(member.seen))
    assert member.begun == {0: 0}
    sink.commit(answers=[], dead_letters=[], state=[], offsets={0: 7}, member=member.member.identity())
    member.leave()
    successor = join()
    wait_until(lambda: bool(successor.seen))
    assert successor.begun == {0: 7}
    assert successor.seen[0] == rows(numbered(7, 9))


def test_a_commit_for_a_partition_that_has_moved_on_is_refused_and_leaves_nothing(lab: Lab, join: Join) -> None:
    lab.create("in", 2)
    lab.create("out", 1)
    sink, first = lab.sink("in"), join()
    sink.open()
    wait_until(lambda: len(first.begun) == 2)
    before = first.member.identity()
    second = join()
    wait_until(lambda: (len(first.begun), len(second.begun)) == (1, 1))
    (moved,), (kept,) = second.begun, first.begun
    answers = [Output("out", numbered(0, 1))]
    with pytest.raises(NoLongerOwned):
        sink.commit(answers=answers, dead_letters=[], state=[], offsets={moved: 1}, member=before)
    answers = [Output("out", numbered(1, 2))]
    sink.commit(answers=answers, dead_letters=[], state=[], offsets={kept: 1}, member=first.member.identity())
    assert rows(read_rest(lab, "out", 0)) == rows(numbered(1, 2))
    assert lab.source("in").committed() == {kept: 1, moved: 0}
