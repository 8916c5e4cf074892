"""What the log says of a commit."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from streaming.pipeline import Pipeline
from streaming.records import OffsetRange
from streaming.runners.account import account
from streaming.runners.flow import Commit
from streaming.runners.progress import Progress
from streaming.topics import MATCH_EVENTS, MATCH_INSIGHTS


def commit(rejected: int) -> Commit:
    return Commit(
        answers=[],
        dead_letters=[],
        state=[],
        ranges=[OffsetRange(0, 0, rejected)],
        records=rejected,
        answered=0,
        rejected=[(f"match.events/0/{offset}", "BadFraming: no magic byte") for offset in range(rejected)],
        counts={"shed": 0},
        alerts=(),
        ingest_time_ms=np.empty(0, np.int64),
        took_ms={},
    )


@pytest.mark.parametrize(
    ("rejected", "named", "counted"), [(0, 0, []), (20, 20, []), (21, 20, [1]), (5_000, 20, [4_980])]
)
def test_dead_letters_are_named_in_the_log_but_in_a_storm_mostly_counted(
    rejected: int, named: int, counted: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    pipeline = Pipeline("win", source=MATCH_EVENTS, transforms=(), stages=(), sink=MATCH_INSIGHTS)
    progress = Progress(0)
    with caplog.at_level(logging.WARNING):
        account(pipeline, progress, commit(rejected), commit_ms=1.0, now_ms=1)
    lines = [vars(record) for record in caplog.records]
    assert [line["record"] for line in lines if line["message"] == "dead letter"] == [
        f"match.events/0/{offset}" for offset in range(named)
    ]
    assert [line["dead_letters"] for line in lines if line["message"] != "dead letter"] == counted
    assert progress.report(1)["dead_letters_total"] == rejected
