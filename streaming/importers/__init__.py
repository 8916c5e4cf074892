"""Real matches from files, as the same event frames that a live feed gives.

    imported = import_matches(Path("timelines"))
    imported.events     an event frame (columns of match-events.avsc), match by match in the order of play

Formats are told apart by content, not by name: Riot MATCH-V5 timelines (a JSON file or a folder of them), OpenDota
tables (a folder, or any one file of it), per-minute gold tables; tables as Parquet or CSV.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from streaming.importers.gold_table import REQUIRED as GOLD_COLUMNS
from streaming.importers.gold_table import import_gold_table
from streaming.importers.opendota import import_opendota, table_kind, tables_to_use
from streaming.importers.problem import ImportProblem
from streaming.importers.riot import RiotMatch, read_riot, riot_events
from streaming.importers.tables import Table, listed, read_table

__all__ = ["ImportProblem", "Imported", "import_matches"]

RIOT, OPENDOTA, GOLD_TABLE = "Riot timeline", "OpenDota tables", "per-minute gold table"
_FORMATS = "a Riot MATCH-V5 timeline, OpenDota tables, or a per-minute gold table"
_TABLE_SUFFIXES = (".parquet", ".csv", ".tsv")  # of files in folders; a file that is named may be called anything


@dataclass(frozen=True)
class Imported:
    """Matches of one format.

    `events` is sorted by match in the order of play (start times), then by sequence, which counts from 0 per match.
    `skipped` are the files of a folder that were left out, and why.
    """

    events: pl.DataFrame
    title: str
    format: str
    matches: int
    skipped: list[ImportProblem] = field(default_factory=list)


def import_matches(path: Path, *, any_map: bool = False) -> Imported:
    """Import a file or a folder.

    Args:
        path: a file of any of the formats, or a folder with files of one of them; subfolders are not read.
        any_map: take Riot timelines of other maps than Summoner's Rift too.

    Raises:
        ImportProblem: nothing can be imported; one line that names the file, the place and the remedy.
    """
    if path.is_dir():
        return _import_folder(path, any_map)
    content = _content(path)
    if _is_json(content):
        return _riot(path, {path: content}, any_map)
    table = read_table(path, content)
    if table.has(*GOLD_COLUMNS):
        return _gold(table)
    if kind := table_kind(table):
        return _opendota_file(kind, table)
    raise ImportProblem(
        path,
        "header",
        f"columns {listed(table.frame.columns)} are those of no known table",
        f"give {_FORMATS}",
    )


def _content(path: Path) -> bytes:
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise ImportProblem(path, "", "no such file or folder", f"give {_FORMATS}") from error
    except OSError as error:
        raise ImportProblem(path, "", f"cannot be read: {error.strerror}", "check its permissions") from error
    if not content.strip():
        raise ImportProblem(path, "byte 0", "the file is empty", "copy or download it again")
    return content


def _is_json(content: bytes) -> bool:
    return content.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] in (b"{", b"[")


def _gold(table: Table) -> Imported:
    events, matches = import_gold_table(table)
    return Imported(events, "lol", GOLD_TABLE, matches)


def _opendota(path: Path, tables: dict[str, Table], skipped: list[ImportProblem]) -> Imported:
    events, matches = import_opendota(tables, path)
    return Imported(events, "dota2", OPENDOTA, matches, skipped)


def _riot(path: Path, contents: dict[Path, bytes], any_map: bool) -> Imported:
    matches: dict[str, RiotMatch] = {}
    skipped: list[ImportProblem] = []
    for file, content in contents.items():
        try:
            for match in read_riot(file, content, any_map=any_map):
                if match.match_id in matches:
                    twin = matches[match.match_id].path.name
                    raise ImportProblem(file, "metadata.matchId", f"the same match as {twin}", "remove one of them")
                matches[match.match_id] = match
        except ImportProblem as problem:
            skipped.append(problem)
    if not matches:
        if len(skipped) == 1:
            raise skipped[0]
        first = f"the first: {skipped[0]}"
        raise ImportProblem(path, "", f"none of its {len(skipped)} timelines can be imported", first)
    return Imported(riot_events(list(matches.values())), "lol", RIOT, len(matches), skipped)


def _opendota_file(kind: str, table: Table) -> Imported:
    """The table that was named and those beside it that belong to it."""
    tables = {kind: table}
    skipped: list[ImportProblem] = []
    for path in sorted(table.path.parent.iterdir()):
        if path == table.path or not path.is_file() or path.suffix.lower() not in _TABLE_SUFFIXES:
            continue
        try:
            sibling = read_table(path, _content(path))
        except ImportProblem as problem:
            skipped.append(problem)
            continue
        sibling_kind = table_kind(sibling)
        if sibling_kind and not sibling.has(*GOLD_COLUMNS):
            tables.setdefault(sibling_kind, sibling)
    return _opendota(table.path, tables_to_use(tables, kind), skipped)


def _import_folder(folder: Path, any_map: bool) -> Imported:
    timelines: dict[Path, bytes] = {}
    tables: dict[str, Table] = {}
    gold: list[Table] = []
    skipped: list[ImportProblem] = []
    for path in sorted(folder.iterdir()):
        if not path.is_file() or path.suffix.lower() not in (".json", *_TABLE_SUFFIXES):
            continue
        try:
            content = _content(path)
            if path.suffix.lower() == ".json":
                timelines[path] = content
                continue
            table = read_table(path, content)
        except ImportProblem as problem:
            skipped.append(problem)
            continue
        kind = table_kind(table)
        if table.has(*GOLD_COLUMNS):
            gold.append(table)
        elif kind and kind not in tables:
            tables[kind] = table
        else:
            fault = f"a second {kind} table" if kind else "a table of another kind"
            skipped.append(ImportProblem(path, "header", fault, "leave it out"))
    found = {
        RIOT: [path.name for path in timelines],
        OPENDOTA: [table.path.name for table in tables.values()],
        GOLD_TABLE: [table.path.name for table in gold],
    }
    present = {name: files for name, files in found.items() if files}
    if len(present) > 1 or len(gold) > 1:
        said = "; ".join(f"{name}: {listed(files, 2)}" for name, files in present.items())
        choice = folder / next(iter(present.values()))[0]
        raise ImportProblem(folder, "", f"more than one thing to import ({said})", f"name one file, such as {choice}")
    if timelines:
        imported = _riot(folder, timelines, any_map)
        return Imported(imported.events, imported.title, RIOT, imported.matches, skipped + imported.skipped)
    if tables:
        return _opendota(folder, tables_to_use(tables), skipped)
    if gold:
        imported = _gold(gold[0])
        return Imported(imported.events, imported.title, GOLD_TABLE, imported.matches, skipped)
    if skipped:
        raise skipped[0]
    raise ImportProblem(folder, "", "no match files in this folder", f"give a folder with {_FORMATS}")
