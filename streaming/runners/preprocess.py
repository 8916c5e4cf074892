"""The stateless half of a pipeline, the same for every runner: what was fetched becomes a batch of good rows."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import numpy.typing as npt
import polars as pl

from streaming.codec import Decoded, Decoder, RegistryUnavailable, SchemaRegistry
from streaming.pipeline import NewestFirst, Pipeline, Transform
from streaming.records import OffsetRange, Records
from streaming.runners.batch import Batch, Rejected
from streaming.transport import Fetched, LogCorrupt

_BACK_OFF_S = 0.5
_AT_ONCE_S = 0.001
_ANSWER_S = 0.005  # in which a broker that has records answers


def source_decoder(pipeline: Pipeline, registry: SchemaRegistry) -> Decoder:
    """For the records of the pipeline's source.

    Raises:
        ValueError: the topic has no schema.
    """
    if pipeline.source.schema is None:
        raise ValueError(f"pipeline {pipeline.name}: source topic {pipeline.source.name} has no schema")
    return Decoder(pipeline.source.schema, registry)


def collect(poll: Callable[[float, int], Fetched | None], timeout_s: float, max_records: int) -> list[Fetched]:
    """All that has come, one range per partition; nothing when no record came in time.

    What is there at once was fetched while the last records were answered, and only now is more asked for: that is
    waited for, a moment, or what has come since would wait for a whole turn.

    Raises:
        LogCorrupt: and nothing came before it; what did is handed out first.
    """
    began = time.monotonic()
    first = poll(timeout_s, max_records)
    if first is None:
        return []
    may_wait_s = _ANSWER_S if time.monotonic() - began < _AT_ONCE_S else 0.0
    parts: dict[int, list[Fetched]] = {first.range.partition: [first]}
    count = len(first.records)
    while count < max_records:
        try:
            more = poll(0.0, max_records - count)
            if more is None and may_wait_s:
                more, may_wait_s = poll(may_wait_s, max_records - count), 0.0
        except LogCorrupt:
            break  # what came before it is good; the next poll says it again
        if more is None:
            break
        parts.setdefault(more.range.partition, []).append(more)
        count += len(more.records)
    return [_joined(parts[partition]) for partition in sorted(parts)]


def _joined(parts: list[Fetched]) -> Fetched:
    """Consecutive fetches of one partition as one."""
    wanted = OffsetRange(parts[0].range.partition, parts[0].range.start, parts[-1].range.end)
    return Fetched(wanted, Records.joined([part.records for part in parts]))


def shed(
    fetched: Sequence[tuple[OffsetRange, Records]], policy: NewestFirst | None, now_ms: int
) -> tuple[list[tuple[OffsetRange, Records]], int]:
    """What of the fetched records is to be answered, of the same ranges; and how many are passed over."""
    if policy is None:
        return list(fetched), 0
    oldest_ms = now_ms - policy.max_age_s * 1e3
    kept = [(wanted, part.take(np.flatnonzero(part.timestamps_ms >= oldest_ms))) for wanted, part in fetched]
    return kept, sum(len(part) for _, part in fetched) - sum(len(part) for _, part in kept)


def preprocess(
    fetched: Sequence[tuple[OffsetRange, Records]],
    decoder: Decoder,
    transforms: Sequence[Transform],
    report: Callable[[str], None] = lambda trouble: None,
    passed_over: int = 0,
) -> Batch:
    """Raw ranges to a batch: decoded, transformed, rejects apart. Says so and waits while the schema registry is away:
    a broken dependency is not a bad record. `passed_over` of the ranges' records were shed before."""
    # All ranges at once, and few calls: what is a query to polars waits for its threads, which on a busy machine takes
    # a millisecond, however few the rows.
    records = Records.joined([part for _, part in fetched])
    partitions = np.repeat([wanted.partition for wanted, _ in fetched], [len(part) for _, part in fetched])
    decoded = _decode(decoder, records, report)
    frame = decoded.frame.hstack(
        [
            pl.Series("_partition", partitions[decoded.rows], pl.Int32),
            pl.Series("_offset", records.offsets[decoded.rows], pl.Int64),
            pl.Series("_ingest_time_ms", records.timestamps_ms[decoded.rows], pl.Int64),
            pl.Series("_schema_id", decoded.schema_ids, pl.Int32),
            pl.Series("_row", decoded.rows, pl.Int64),
            pl.Series("_reject", [None], pl.String).new_from_index(0, len(decoded.rows)),
        ]
    )
    for transform in transforms:
        frame = transform(frame)
    bad = [(b.row, b.error, b.message, b.schema_id) for b in decoded.bad]
    if frame["_reject"].null_count() < frame.height:
        is_good = frame["_reject"].is_null()
        for row, reason, schema_id in frame.filter(~is_good).select("_row", "_reject", "_schema_id").iter_rows():
            error, _, message = reason.partition(": ")
            bad.append((row, error, message, schema_id))
        frame = frame.filter(is_good)
    return Batch(
        ranges=tuple(wanted for wanted, _ in fetched),
        rows=frame[[name for name in frame.columns if name not in ("_row", "_reject")]],
        rejected=tuple(_rejected(sorted(bad, key=lambda entry: entry[0]), records, partitions)),
        shed=passed_over,
    )


def _rejected(
    bad: Sequence[tuple[int, str, str, int | None]], records: Records, partitions: npt.NDArray[np.int64]
) -> Iterator[Rejected]:
    """Bad rows (position, error, message, schema id) as parts of one partition each."""
    for partition in sorted({int(partitions[row]) for row, *_ in bad}):
        mine = [entry for entry in bad if partitions[entry[0]] == partition]
        yield Rejected(
            partition=partition,
            records=records.take(np.asarray([row for row, *_ in mine], np.int64)),
            errors=[error for _, error, _, _ in mine],
            messages=[message for _, _, message, _ in mine],
            schema_ids=[schema_id for *_, schema_id in mine],
        )


def _decode(decoder: Decoder, records: Records, report: Callable[[str], None]) -> Decoded:
    waited = False
    while True:
        try:
            decoded = decoder.decode(records)
        except RegistryUnavailable as away:
            waited = True
            report(str(away))
            time.sleep(_BACK_OFF_S)
            continue
        if waited:
            report("")
        return decoded
