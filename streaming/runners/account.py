"""What is said of a commit: a line in the log, a line for each dead letter but in a storm, and the counters of the
run."""

from __future__ import annotations

import logging

from streaming.pipeline import Pipeline
from streaming.runners.flow import Commit
from streaming.runners.progress import Progress

log = logging.getLogger(__name__)

_NAMED = 20  # dead letters of a commit, each in a line of its own: in a storm there are thousands


def account(pipeline: Pipeline, progress: Progress, commit: Commit, commit_ms: float, now_ms: int) -> None:
    """Note that a commit is visible. Offsets are the id from event to answer."""
    topic = pipeline.source.name
    log.info(
        "committed",
        extra={
            "pipeline": pipeline.name,
            "ranges": [f"{topic}/{r.partition}[{r.start},{r.end})" for r in commit.ranges],
            "events": commit.records,
            "answers": commit.answered,
            "dead_letters": len(commit.rejected),
            "shed": commit.counts["shed"],
            "took_ms": {**commit.took_ms, "commit": round(commit_ms, 1)},
        },
    )
    for record, reason in commit.rejected[:_NAMED]:
        log.warning("dead letter", extra={"pipeline": pipeline.name, "record": record, "reason": reason})
    if (unnamed := len(commit.rejected) - _NAMED) > 0:
        log.warning(
            "more dead letters: see `sightline dlq`", extra={"pipeline": pipeline.name, "dead_letters": unnamed}
        )
    progress.committed(
        now_ms,
        events=commit.records,
        answers=commit.answered,
        dead_letters=len(commit.rejected),
        counts=commit.counts,
        alerts=commit.alerts,
        offsets=commit.offsets,
        ingest_time_ms=commit.ingest_time_ms,
    )
