"""The one place of a store's plan and rules: a TOML file, read whole and replaced whole.

    stored = read_plan(path)
    stored = write_plan(path, changed_table, expected=stored.etag)

The file is the plan as `streaming.store.plan` describes it, and `[[rule]]` tables as `streaming.store.rules` does: they
are checked together, since a rule names zones. Whoever writes says which version it changed, so that of two editors the
second is told. Comments do not outlive a change.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import tempfile
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from streaming.locking import folder_locked
from streaming.store.plan import PlanProblem, StorePlan, parse_plan
from streaming.store.rules import Rule, parse_rules

MAX_BYTES = 1 << 20
_RULE = "rule"

Table = Mapping[str, Any]
"""As TOML and JSON have it."""


class PlanChanged(RuntimeError):
    """Somebody else has written the file since it was read."""


@dataclass(frozen=True)
class StoredPlan:
    """What a file holds."""

    plan: StorePlan
    rules: tuple[Rule, ...]
    table: Table  # as written, rules among it
    etag: str  # of its bytes
    saved_ms: int  # UTC


def parse_store(table: Table) -> tuple[StorePlan, tuple[Rule, ...]]:
    """Plan and rules of one table.

    Raises:
        PlanProblem: either cannot be used; the message names the thing and the remedy.
    """
    if not isinstance(table, Mapping):
        raise PlanProblem(f"plan is {table!r:.40}, not a table")
    plan = parse_plan({name: value for name, value in table.items() if name != _RULE})
    return plan, parse_rules(table.get(_RULE, []), plan)


def read_plan(path: Path) -> StoredPlan:
    """What the file holds now.

    Raises:
        PlanProblem: it cannot be read, is no TOML, or no plan.
    """
    try:
        with path.open("rb") as file:
            text, saved_ms = file.read(MAX_BYTES + 1), os.fstat(file.fileno()).st_mtime_ns // 1_000_000
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise PlanProblem(f"{path}: {why}; write the plan of your store there") from None
    return _stored(path, text, saved_ms)


def write_plan(path: Path, table: Table, expected: str) -> StoredPlan:
    """Replace the file, if it is still the one of this etag. A reader sees the old file or the new one.

    Raises:
        PlanProblem: this is no plan, or the file cannot be written; nothing has changed.
        PlanChanged: the file is another one by now; nothing has changed.
    """
    parse_store(table)
    text = to_toml(table).encode()
    if len(text) > MAX_BYTES:
        raise PlanProblem(f"{path}: a plan of {len(text):,} bytes, more than {MAX_BYTES:,}")
    try:
        with folder_locked(path.parent):
            if (found := read_plan(path).etag) != expected:
                raise PlanChanged(f"the plan has changed: it is version {found} by now, not {expected}; load it again")
            _replace(path, text)
    except OSError as error:
        raise PlanProblem(f"{path}: cannot be written: {(error.strerror or str(error)).lower()}") from None
    return read_plan(path)


def to_toml(table: Table) -> str:
    """A table of values, of tables, and of lists of tables, each one level deep: all that a plan and rules need."""
    said = {name: value for name, value in table.items() if value is not None}
    plain = [name for name, value in said.items() if not isinstance(value, Mapping) and not _are_tables(value)]
    parts = ["\n".join(f"{name} = {_value(said[name])}" for name in plain)] if plain else []
    for name, value in said.items():
        if isinstance(value, Mapping):
            parts.append("\n".join([f"[{name}]", *_lines(value)]))
        elif _are_tables(value):
            parts += ["\n".join([f"[[{name}]]", *_lines(entry)]) for entry in value]
    return "\n\n".join(parts) + "\n"


def _stored(path: Path, text: bytes, saved_ms: int) -> StoredPlan:
    if len(text) > MAX_BYTES:
        raise PlanProblem(f"{path}: more than {MAX_BYTES:,} bytes, which no plan has")
    try:
        table = tomllib.loads(text.decode())
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise PlanProblem(f"{path}: not TOML: {error}") from None
    try:
        plan, rules = parse_store(table)
    except PlanProblem as problem:
        raise PlanProblem(f"{path}: {problem}") from None
    return StoredPlan(plan, rules, table, hashlib.sha256(text).hexdigest()[:16], saved_ms)


def _are_tables(value: Any) -> bool:
    return isinstance(value, Sequence) and bool(value) and all(isinstance(entry, Mapping) for entry in value)


def _lines(table: Table) -> Iterator[str]:
    for name, value in table.items():
        if value is not None:
            yield f"{name} = {_value(value)}"


def _value(value: Any) -> str:
    # JSON of text, numbers, booleans and lists is TOML, but for one character.
    return json.dumps(value, ensure_ascii=False, allow_nan=False).replace("\x7f", "\\u007f")


def _replace(path: Path, text: bytes) -> None:
    descriptor, draft = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(text)
            file.flush()
            os.fchmod(file.fileno(), stat.S_IMODE(path.stat().st_mode))
            os.fsync(file.fileno())
        Path(draft).replace(path)
    except BaseException:
        Path(draft).unlink(missing_ok=True)
        raise
