"""Where a part of a topic begins or ends, as a person writes it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import UTC, datetime

from jobs.errors import UsageProblem

Bound = int | dict[int, int]
"""A time in ms, or an offset for each partition."""


def require_partitions(offsets: Mapping[int, int], known: Collection[int], option: str, topic: str) -> None:
    """Raise UsageProblem if one of these partitions is not among the topic's."""
    if unknown := set(offsets) - set(known):
        raise UsageProblem(f"{option}: {topic} has no partition {min(unknown)}")


def parse_bound(text: str | None, option: str) -> Bound | None:
    """`2026-11-22T18:00` (UTC unless it says otherwise), or `0:1200,1:980`.

    Raises:
        UsageProblem: anything else; the message names the option.
    """
    if text is None:
        return None
    if "-" not in text:
        try:
            return {int(partition): int(offset) for partition, offset in (pair.split(":") for pair in text.split(","))}
        except ValueError:
            raise UsageProblem(f"{option} {text}: write a time or PARTITION:OFFSET,…") from None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise UsageProblem(f"{option} {text}: write a time as 2026-11-22T18:00, or PARTITION:OFFSET,…") from None
    return round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)
