"""Where a client is in the stream of one match.

A match lives in one partition of each topic, so the offsets of its answers rise, and so do those of its events: two
offsets say exactly what a client has seen, across restarts of the gateway too. Written `ANSWER[.EVENT][.r]`, each part
`PARTITION-OFFSET`, such as `2-1045.1-8310`; `.r` says that the result that follows from the answer was seen as well.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import NamedTuple

_WRITTEN = re.compile(r"(?:(\d{1,6})-(\d{1,19}))?(?:\.(\d{1,6})-(\d{1,19}))?(\.r)?", re.ASCII)

PATTERN = r"^([0-9]{1,6}-[0-9]{1,19}(\.[0-9]{1,6}-[0-9]{1,19})?(\.r)?|\.[0-9]{1,6}-[0-9]{1,19})?$"
"""The same for the interface's description; empty means from the start."""


class Mark(NamedTuple):
    """One record of a topic."""

    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.partition}-{self.offset}"


@dataclass(frozen=True, slots=True)
class Position:
    """The last answer and the last event seen; the default has seen nothing."""

    answer: Mark | None = None
    event: Mark | None = None
    result_seen: bool = False

    @classmethod
    def parse(cls, written: str) -> Position:
        """Read what `str` wrote.

        Raises:
            ValueError: the text is none, in one line fit to be shown.
        """
        found = _WRITTEN.fullmatch(written)
        if not written or found is None or (found[1] is None and found[5]):
            # Its beginning only: a token in the wrong header should not be said back.
            raise ValueError(f"last id {written[:20]!r} is not a position such as 2-1045.1-8310")
        answer = None if found[1] is None else Mark(int(found[1]), int(found[2]))
        event = None if found[3] is None else Mark(int(found[3]), int(found[4]))
        return cls(answer, event, result_seen=found[5] is not None)

    def __str__(self) -> str:
        answer = "" if self.answer is None else str(self.answer)
        event = "" if self.event is None else f".{self.event}"
        return f"{answer}{event}{'.r' if self.result_seen else ''}"

    def after_answer(self, mark: Mark) -> Position:
        """Having seen this answer as well."""
        return replace(self, answer=mark, result_seen=False)

    def after_event(self, mark: Mark) -> Position:
        """Having seen this event as well."""
        return replace(self, event=mark)

    def after_result(self) -> Position:
        """Having seen the result that follows from the last answer."""
        return replace(self, result_seen=True)
