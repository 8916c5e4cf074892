"""What a training set says of itself: `manifest.json` beside its Parquet files.

    format                1
    topic                 that was read
    offsets               partition to [first, end): the same offsets by the same code are the same set
    window                from, to: event time, null where offsets or nothing bounded the range
    label_delay_s         so long after the window's end a result still counted, and
    label_rule            what that means, in words
    records, rejected     that were read; that the pipeline does not accept, by error, as it sends them to dead letters
    schema_ids            writers' schema ids to how many records each has
    rows, matches         in the files: a row is a frame; by title, with how many of its matches camp A won
    left_out              matches that are in no file, by reason
    code_version, code    of this project; digest of the code and the schemas that made the features
    content_fingerprint   of all rows, whatever wrote the files; `sightline dataset show` checks it
    created, took_s       UTC; seconds, of the run that completed it
    files                 path, rows, content (digest of its rows), under title=TITLE/day=DAY/

The columns of the files: `streaming.features.labels.LABELLED_SCHEMA`. The day is that of the match's first frame, so a
match lies in one; rows are sorted by the beginning of their match.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import polars as pl

from jobs.errors import UsageProblem
from jobs.stream_set.content import content_digest, set_fingerprint

MANIFEST = "manifest.json"
FORMAT = 1

LABEL_RULE = (
    "A match is in the set if it was seen from its beginning, in the window, and its result happened before the "
    "window's end plus the label delay, by event time. Its frames are those before the window's end; what a frame says "
    "comes from events up to it, form from results that happened {settle_s:.0f} s before the match began, and not from "
    "before the first offset."
)


@dataclass(frozen=True)
class SetFile:
    """One Parquet file of a set."""

    path: str  # within the set
    rows: int
    content: str


@dataclass(frozen=True)
class Manifest:
    """The module's words say what is what."""

    topic: str
    offsets: dict[str, tuple[int, int]]
    window: dict[str, str | None]
    label_delay_s: float
    label_rule: str
    records: int
    rejected: dict[str, int]
    schema_ids: dict[str, int]
    rows: int
    matches: dict[str, dict[str, int]]
    left_out: dict[str, int]
    code_version: str
    code: str
    content_fingerprint: str
    created: str
    took_s: float
    files: tuple[SetFile, ...]
    format: int = FORMAT

    def to_json(self) -> dict[str, Any]:
        """As it stands in the file."""
        return asdict(self)


class BrokenSet(ValueError):
    """A training set that is not what its manifest says; the message names the file."""


def is_set(path: Path) -> bool:
    """Whether this is a folder with a manifest."""
    return (path / MANIFEST).is_file()


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a set.

    Raises:
        UsageProblem: there is none.
        BrokenSet: it cannot be understood.
    """
    file = folder / MANIFEST
    if not file.is_file():
        raise UsageProblem(f"{folder}: no training set, it has no {MANIFEST}; make one with sightline dataset build")
    try:
        said = json.loads(file.read_text("utf-8"))
        if said["format"] != FORMAT:
            raise BrokenSet(f"{file}: format {said['format']}, but only {FORMAT} is known; build the set again")
        offsets = {partition: (int(first), int(end)) for partition, (first, end) in said["offsets"].items()}
        files = tuple(SetFile(str(f["path"]), int(f["rows"]), str(f["content"])) for f in said["files"])
        return Manifest(**(said | {"offsets": offsets, "files": files}))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        if isinstance(error, BrokenSet):
            raise
        raise BrokenSet(f"{file}: no manifest of a training set ({error}); build the set again") from error


def read_files(folder: Path, manifest: Manifest, title: str | None = None) -> Iterator[pl.DataFrame]:
    """The rows of every file, or of every one of a title, each checked against the manifest.

    Raises:
        BrokenSet: a file is missing, cannot be read, or holds other rows than when it was written.
    """
    root = folder.resolve()
    for file in manifest.files:
        if title is not None and not file.path.startswith(f"title={title}/"):
            continue
        path = root / file.path
        if not path.resolve().is_relative_to(root):
            raise BrokenSet(f"{folder}: the manifest names {file.path}, which lies outside of the set")
        try:
            frame = pl.read_parquet(path, hive_partitioning=False, glob=False)
        except (OSError, pl.exceptions.PolarsError) as error:
            raise BrokenSet(f"{path}: cannot be read ({error}); build the set again") from error
        if frame.height != file.rows or content_digest(frame) != file.content:
            raise BrokenSet(f"{path}: its rows are not those that were written; build the set again")
        yield frame


def check(folder: Path, manifest: Manifest) -> None:
    """Read all of a set and compare it with its manifest.

    Raises:
        BrokenSet: it is not what it was; the message names the first file.
    """
    rows = sum(frame.height for frame in read_files(folder, manifest))
    named = {file.path for file in manifest.files}
    there = {str(path.relative_to(folder)) for path in folder.rglob("*.parquet")}
    if extra := sorted(there - named):
        raise BrokenSet(f"{folder / extra[0]}: the manifest does not know it; remove it or build the set again")
    fingerprint = set_fingerprint((file.path, file.content) for file in manifest.files)
    if (rows, fingerprint) != (manifest.rows, manifest.content_fingerprint):
        raise BrokenSet(f"{folder / MANIFEST}: its rows or fingerprint were changed; build the set again")


def code_digest() -> str:
    """First 16 hex digits of a digest over the code and the schemas that make features of records."""
    import streaming

    (root,) = (Path(folder) for folder in streaming.__path__)
    digest = hashlib.sha256()
    for path in sorted(path for path in root.rglob("*") if path.suffix in (".py", ".avsc", ".toml", ".json")):
        digest.update(f"{path.relative_to(root).as_posix()}\n".encode() + path.read_bytes())
    return digest.hexdigest()[:16]
