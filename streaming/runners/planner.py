"""Who reads which offsets: answered once per (epoch, task, index), and remembered.

Ray runs a lost read task again from its start and drops *by index* what the task had handed on before, so a generator
whose j-th yield differs on the second run loses data silently. A read task therefore proposes what it fetched, and the
planner's answer for that index is final: a task that runs again gets the old answers first and reads those ranges anew.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from streaming.records import OffsetRange

Ranges = tuple[OffsetRange, ...]


@dataclass
class Plan:
    """The planner's memory and its rules, without clock or actor.

    An epoch reads from where the one before was closed. At most `max_unanswered` records are handed out and not yet
    committed: that bounds the memory of the whole runner, and lets a slow sink hold the readers back.
    """

    start: Mapping[int, int]  # first offset of every partition
    max_unanswered: int
    _next: dict[int, int] = field(init=False)
    _answers: dict[tuple[int, int], list[Ranges]] = field(init=False, default_factory=dict)
    _closed: set[int] = field(init=False, default_factory=set)
    _handed_out: int = field(init=False, default=0)
    _committed: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self._next = dict(self.start)

    @property
    def unanswered(self) -> int:
        """Records handed out and not committed yet, as far as the planner has heard: the runner tells it in tenths of
        `max_unanswered`."""
        return self._handed_out - self._committed

    @property
    def full(self) -> bool:
        """Whether readers must wait for commits."""
        return self.unanswered >= self.max_unanswered

    def positions(self, partitions: Sequence[int]) -> dict[int, int]:
        """Where the next epoch begins; final once the epoch before is closed."""
        return {partition: self._next[partition] for partition in partitions}

    def answers(self, epoch: int, task: int) -> list[Ranges]:
        """All that this task was told so far, by index."""
        return list(self._answers.get((epoch, task), ()))

    def is_open(self, epoch: int) -> bool:
        """Whether tasks of this epoch may ask for more."""
        return epoch not in self._closed

    def begun(self, epoch: int) -> bool:
        """Whether this epoch may start to read: all before it are closed."""
        return all(earlier in self._closed for earlier in range(epoch))

    def propose(self, epoch: int, task: int, index: int, ranges: Ranges, records: int) -> Ranges | None:
        """The final answer for this index: what was proposed, what was answered before, or None to stop.

        Raises:
            ValueError: an index out of turn, or ranges that do not continue their partitions.
        """
        answers = self._answers.setdefault((epoch, task), [])
        if index < len(answers):
            return answers[index]
        if index > len(answers):
            raise ValueError(f"epoch {epoch}, task {task}: index {index} before {len(answers)}")
        if epoch in self._closed:
            return None
        for wanted in ranges:
            if wanted.start != self._next[wanted.partition]:
                raise ValueError(
                    f"partition {wanted.partition}: proposed to read from {wanted.start}, "
                    f"planned is {self._next[wanted.partition]}"
                )
        for wanted in ranges:
            self._next[wanted.partition] = wanted.end
        answers.append(ranges)
        self._handed_out += records
        return ranges

    def close(self, epoch: int) -> None:
        """No new ranges for this epoch from now on; its answers so far are all it will ever have."""
        self._closed.add(epoch)

    def forget(self, epoch: int) -> None:
        """Drop the answers of an epoch that has been read to its end."""
        for key in [key for key in self._answers if key[0] == epoch]:
            del self._answers[key]

    def commit(self, records: int) -> None:
        """This many records have been committed."""
        self._committed += records


class Planner:
    """The plan behind an async Ray actor: waiting calls wait without blocking others."""

    def __init__(self, start: Mapping[int, int], max_unanswered: int) -> None:
        self._plan = Plan(start, max_unanswered)
        self._changed = asyncio.Condition()
        self._troubles: dict[int, str] = {}
        self._come: dict[int, set[int]] = {}  # epoch → tasks that have asked to begin

    async def begin(self, epoch: int, task: int, partitions: Sequence[int]) -> tuple[list[Ranges], dict[int, int]]:
        """For a read task at its start: its old answers, and where its partitions stand. Waits for its epoch."""
        self._come.setdefault(epoch, set()).add(task)
        async with self._changed:
            await self._changed.wait_for(lambda: self._plan.begun(epoch))
            return self._plan.answers(epoch, task), self._plan.positions(partitions)

    async def propose(self, epoch: int, task: int, index: int, ranges: Ranges, records: int) -> Ranges | None:
        """`Plan.propose`, after waiting while too much is unanswered."""
        async with self._changed:
            await self._changed.wait_for(lambda: not self._plan.full or not self._plan.is_open(epoch))
            return self._plan.propose(epoch, task, index, ranges, records)

    async def is_open(self, epoch: int) -> bool:
        """Whether an idle task should keep waiting for records."""
        return self._plan.is_open(epoch)

    async def close(self, epoch: int) -> None:
        """`Plan.close`; the next epoch may begin."""
        async with self._changed:
            self._plan.close(epoch)
            self._changed.notify_all()

    async def come(self, epoch: int) -> int:
        """How many tasks of an epoch have asked to begin: they run, wherever that is."""
        return len(self._come.get(epoch, ()))

    async def forget(self, epoch: int) -> None:
        """`Plan.forget`."""
        self._plan.forget(epoch)
        self._come.pop(epoch, None)

    async def commit(self, records: int) -> None:
        """`Plan.commit`; readers that were held back go on."""
        async with self._changed:
            self._plan.commit(records)
            self._changed.notify_all()

    async def report(self, task: int, trouble: str) -> None:
        """A read task says what it waits for; an empty text that it reads again."""
        if trouble:
            self._troubles[task] = trouble
        else:
            self._troubles.pop(task, None)

    async def troubles(self) -> list[str]:
        """What read tasks wait for now."""
        return sorted(set(self._troubles.values()))
