"""A training set of a log in memory: the steps of `sightline dataset build` in this process, without Kafka and Ray."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from jobs.stream_set.days import finish_day, settle
from jobs.stream_set.partition import fold_partition, read_ledger, read_tally
from streaming import topics
from streaming.codec import Decoder, PackagedRegistry
from streaming.features.labels import LabelRule
from streaming.pipelines.win_prediction import TRANSFORMS
from streaming.records import OffsetRange
from streaming.testing import MemoryLog, MemorySource
from tests.counting import encoded

TOPIC = topics.MATCH_EVENTS
ANY = LabelRule()


def log_of(events: pl.DataFrame, partitions: int = 3) -> MemoryLog:
    """A topic with these events, in their order."""
    log = MemoryLog()
    log.create(TOPIC.name, partitions)
    log.append(TOPIC.name, encoded(events))
    return log


def set_of(
    log: MemoryLog, folder: Path, rule: LabelRule = ANY, *, chunk_records: int = 500, flush_rows: int = 300
) -> pl.DataFrame:
    """All rows of the set, day by day."""
    source = MemorySource(log, TOPIC.name, "")
    assert TOPIC.schema is not None
    for partition, end in source.end_offsets().items():
        wanted = OffsetRange(partition, 0, end)
        decoder = Decoder(TOPIC.schema, PackagedRegistry())
        steps = fold_partition(
            wanted,
            source,
            decoder,
            TRANSFORMS,
            rule,
            folder / str(partition),
            chunk_records=chunk_records,
            flush_rows=flush_rows,
        )
        list(steps)
    found: dict[tuple[str, str], list[Path]] = {}
    for partition in source.partitions():
        tally = read_tally(folder / str(partition))
        assert tally is not None
        for name, day in tally.days.items():
            found.setdefault(day, []).append(folder / str(partition) / name)
    forms = settle({partition: read_ledger(folder / str(partition)) for partition in source.partitions()})
    made = [finish_day(day, sources, forms, folder / "set") for day, sources in sorted(found.items())]
    paths = [folder / "set" / file.path for day in made for file in day.files]
    return pl.concat([pl.read_parquet(path, hive_partitioning=False) for path in paths])
