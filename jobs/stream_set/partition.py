"""One partition of a training set: read, decoded, transformed, folded and labelled, by the code that answers live.

It leaves in its folder of the staging area: Arrow files of labelled frames, of one day each, whose `form` is the number
of a question (`streaming.features.deferred_form`), the questions, the results, and, last of all, `days.json`. A
partition without it is done again from its start.
"""

from __future__ import annotations

import json
import shutil
import time
from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl

from jobs.files import write_json
from streaming.codec import Decoder
from streaming.features.deferred_form import FormLedger, Question
from streaming.features.labels import Labeller, LabelRule
from streaming.features.match_fold import MatchFold
from streaming.features.standings import Result
from streaming.pipeline import Transform
from streaming.records import OffsetRange, Records
from streaming.runners.preprocess import preprocess
from streaming.transport import Reader, Source

CHUNK_RECORDS = 20_000  # decoding and folding have a fixed cost of some milliseconds a call
FLUSH_ROWS = 200_000
DONE = "days.json"

_UNREADABLE = ("UnknownSchema", "UnusableSchema", "IncompatibleSchema")
_PATIENCE_S = 30.0
_QUESTION = {"team_a": pl.String, "team_b": pl.String, "time_ms": pl.Int64}
_RESULT = {
    "time_ms": pl.Int64, "match_id": pl.String, "attempt": pl.Int64, "team_a": pl.String, "team_b": pl.String,
    "a_won": pl.Boolean, "gold_lead": pl.Float64,
}  # fmt: skip

Day = tuple[str, str]
"""Title, and the date of a match's first frame."""


class SchemaChanged(ValueError):
    """Records in the range are written by a schema that cannot be read; the message names the first."""


@dataclass
class Tally:
    """What a partition came to."""

    partition: int
    records: int = 0  # good and bad
    rows: int = 0  # labelled frames
    rejected: Counter[str] = field(default_factory=Counter)  # by error
    schema_ids: Counter[str] = field(default_factory=Counter)  # records, by writer
    left_out: Counter[str] = field(default_factory=Counter)  # matches, by reason
    days: dict[str, Day] = field(default_factory=dict)  # by file, what is in it
    is_done: bool = False


def fold_partition(
    wanted: OffsetRange,
    source: Source,
    decoder: Decoder,
    transforms: Sequence[Transform],
    rule: LabelRule,
    folder: Path,
    *,
    chunk_records: int = CHUNK_RECORDS,
    flush_rows: int = FLUSH_ROWS,
) -> Iterator[Tally]:
    """Do all of it, and say after every chunk how far it has come.

    Raises:
        SchemaChanged: some records' schema cannot be read; half a range would be a set with a bias.
        OffsetsExpired, LogCorrupt, TransportUnavailable: the range cannot be read.
        OSError: the folder cannot be written.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    ledger, labeller = FormLedger(), Labeller(rule)
    fold = MatchFold(ratings=ledger)
    state = fold.new_state()
    tally, frames, waiting = Tally(wanted.partition), list[pl.DataFrame](), 0
    reader = source.open({wanted.partition: wanted.start})
    parts = one_ahead(read_range(reader, source.topic, wanted, chunk_records))
    try:
        for records in parts:
            batch = preprocess([(wanted, records)], decoder, transforms)
            for part in batch.rejected:
                for error, offset, message in zip(part.errors, part.records.offsets, part.messages, strict=True):
                    if error in _UNREADABLE:
                        raise SchemaChanged(
                            f"{source.topic}/{wanted.partition}, offset {offset}: {error}: {message}; register the "
                            "schema, or choose a range without such records"
                        )
                tally.rejected.update(part.errors)
            tally.records += batch.records
            ids = batch.rows["_schema_id"].value_counts()
            tally.schema_ids.update({str(schema_id): count for schema_id, count in ids.iter_rows()})
            labelled = labeller.add(fold(batch.rows, state))
            frames.append(labelled)
            waiting += labelled.height
            tally.rows += labelled.height
            if waiting >= flush_rows:
                _flush(frames, folder, tally)
                frames, waiting = [], 0
            yield tally
    finally:
        parts.close()  # which waits for the fetch under way
        reader.close()
    labeller.finish()
    tally.left_out = labeller.left_out
    if waiting:
        _flush(frames, folder, tally)
    pl.DataFrame(ledger.questions, schema=_QUESTION, orient="row").write_ipc(folder / "questions.arrow")
    pl.DataFrame(ledger.results, schema=_RESULT, orient="row").write_ipc(folder / "results.arrow")
    tally.is_done = True
    write_json(folder / DONE, vars(tally))
    yield tally


def read_range(reader: Reader, topic: str, wanted: OffsetRange, chunk_records: int) -> Iterator[Records]:
    """All records of a range in offset order, about so many at a time.

    Raises:
        LookupError: the log ends before the range does.
    """
    position, heard = wanted.start, time.monotonic()
    while position < wanted.end:
        parts: list[Records] = []
        count = 0
        while position < wanted.end and count < chunk_records:
            fetched = reader.poll(0.5, chunk_records - count)
            if fetched is not None:
                position, heard = fetched.range.end, time.monotonic()
                parts.append(fetched.records)
                count += len(fetched.records)
            elif time.monotonic() - heard > _PATIENCE_S:
                raise LookupError(f"{topic}/{wanted.partition} ends at {position}, before {wanted.end}")
        records = Records.joined(parts)
        if position > wanted.end:
            records = records.take(np.flatnonzero(records.offsets < wanted.end))
        yield records


def one_ahead(parts: Iterator[Records]) -> Generator[Records, None, None]:
    """The same; while one is worked on, the next is fetched. What the fetch raises comes after what came before it."""
    with ThreadPoolExecutor(1, "fetch-ahead") as thread:
        coming = thread.submit(next, parts, None)
        while (part := coming.result()) is not None:
            coming = thread.submit(next, parts, None)
            yield part


def read_tally(folder: Path) -> Tally | None:
    """What a partition came to, if it is done."""
    file = folder / DONE
    if not file.is_file():
        return None
    said = json.loads(file.read_text("utf-8"))
    days = {name: (title, day) for name, (title, day) in said["days"].items()}
    counts = {name: Counter(said[name]) for name in ("rejected", "schema_ids", "left_out")}
    return Tally(**(said | counts | {"days": days}))


def read_ledger(folder: Path) -> tuple[list[Question], list[Result]]:
    """The questions about form of a partition that is done, and its results."""
    questions = [Question(*row) for row in pl.read_ipc(folder / "questions.arrow").iter_rows()]
    results = [Result(*row) for row in pl.read_ipc(folder / "results.arrow").iter_rows()]
    return questions, results


def _flush(frames: list[pl.DataFrame], folder: Path, tally: Tally) -> None:
    rows = pl.concat(frames).with_columns(_day=pl.col("began_ms").dt.date())
    for (title, day), part in rows.partition_by("title", "_day", maintain_order=True, as_dict=True).items():
        name = f"{len(tally.days):04d}.arrow"
        part.drop("_day").write_ipc(folder / name)
        tally.days[name] = title, day.isoformat()
