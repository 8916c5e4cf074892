"""One day of one title: what the partitions left of it, with form, in its final place and order."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from jobs.stream_set.content import content_digest
from jobs.stream_set.manifest import SetFile
from jobs.stream_set.partition import Day
from streaming.features.deferred_form import Question, settled_form
from streaming.features.standings import Result

FILE_ROWS = 1_000_000
_LIFE = ("began_ms", "match_id", "attempt")
_ORDER = ("offset", "partition", "frame")
"""Rows are sorted by life, then by these, the last first."""

Forms = Mapping[int, npt.NDArray[np.float32]]
"""By partition, the answer to each of its questions."""


@dataclass(frozen=True)
class DayDone:
    """What a day came to."""

    title: str
    files: tuple[SetFile, ...]
    matches: int
    won_by_a: int


def settle(ledgers: Mapping[int, tuple[Sequence[Question], Sequence[Result]]]) -> Forms:
    """Form, from the results of all partitions."""
    asked = [(partition, question) for partition, (questions, _) in ledgers.items() for question in questions]
    results = [result for _, found in ledgers.values() for result in found]
    answers = settled_form([question for _, question in asked], results).astype(np.float32)
    owners = np.array([partition for partition, _ in asked], np.int64)
    return {partition: answers[owners == partition] for partition in ledgers}


def finish_day(day: Day, sources: Sequence[Path], forms: Forms, folder: Path, file_rows: int = FILE_ROWS) -> DayDone:
    """Gather a day's frames from these staged files, which hold no other, and write them.

    Raises:
        OSError: the folder cannot be written.
    """
    title, date = day
    rows = pl.concat([pl.read_ipc(source) for source in sources])
    rows = rows[_order(rows)]
    rows = rows.with_columns(form=_answered(rows, forms))
    relative = Path(f"title={title}") / f"day={date}"
    shutil.rmtree(folder / relative, ignore_errors=True)  # of a run that was cut short
    (folder / relative).mkdir(parents=True)
    files = tuple(
        _write(part, folder, relative / f"part-{number:03d}.parquet")
        for number, part in enumerate(rows.iter_slices(file_rows))
    )
    matches = rows.unique(("match_id", "began_ms"))
    return DayDone(title, files, matches.height, int((matches["winner"] == "A").sum()))


def _order(rows: pl.DataFrame) -> npt.NDArray[np.int64]:
    """(N,) positions in order. Lives are ranked first: they are few, and numbers sort faster than names."""
    lives = rows.select(_LIFE).unique().sort(_LIFE).with_row_index("life")
    life = rows.select(_LIFE).join(lives, on=_LIFE, maintain_order="left")["life"]
    return np.lexsort([*(rows[name].to_numpy() for name in _ORDER), life.to_numpy()])


def _answered(rows: pl.DataFrame, forms: Forms) -> pl.Series:
    numbers, partitions = rows["form"].to_numpy(), rows["partition"].to_numpy()
    form = np.full(rows.height, np.nan, np.float32)
    for partition in np.unique(partitions).tolist():
        asked = np.flatnonzero((partitions == partition) & ~np.isnan(numbers))
        form[asked] = forms[partition][numbers[asked].astype(np.int64)]
    return pl.Series("form", form)


def _write(rows: pl.DataFrame, folder: Path, path: Path) -> SetFile:
    rows.write_parquet(folder / path, compression="zstd", statistics=True)
    return SetFile(path.as_posix(), rows.height, content_digest(rows))
