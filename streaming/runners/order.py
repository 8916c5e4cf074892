"""Batches back in partition order: tasks of two epochs, or of one that Ray ran again, may overtake each other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from streaming.runners.batch import Batch


class ReleaseOrder:
    """Holds a batch until every range in it starts where its partition was last released. Drops what was released
    before: Ray may hand a batch on twice when it runs a lost task again."""

    def __init__(self, start: Mapping[int, int]) -> None:
        self._next = dict(start)
        self._held: list[Batch] = []

    @property
    def positions(self) -> Mapping[int, int]:
        """Where each partition was last released up to."""
        return self._next

    def push(self, batch: Batch) -> Iterator[Batch]:
        """Take a batch in, and give out all that are now in order.

        Raises:
            ValueError: a range that overlaps released offsets in part, which a planner never hands out.
        """
        self._held.append(batch)
        progress = True
        while progress:
            progress = False
            for candidate in list(self._held):
                verdict = self._verdict(candidate)
                if verdict == "wait":
                    continue
                self._held.remove(candidate)
                progress = True
                if verdict == "release":
                    for wanted in candidate.ranges:
                        self._next[wanted.partition] = wanted.end
                    yield candidate

    def _verdict(self, batch: Batch) -> str:
        at = [self._next.get(wanted.partition, 0) for wanted in batch.ranges]
        if all(wanted.start == position for wanted, position in zip(batch.ranges, at, strict=True)):
            return "release"
        if all(wanted.end <= position for wanted, position in zip(batch.ranges, at, strict=True)):
            return "drop"
        for wanted, position in zip(batch.ranges, at, strict=True):
            if wanted.start < position:
                raise ValueError(
                    f"partition {wanted.partition}: range [{wanted.start}, {wanted.end}) overlaps offsets "
                    f"released up to {position}"
                )
        return "wait"
