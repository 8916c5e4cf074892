"""Aliases as logs: what an alias means is its last move, and every move is kept.

    ROOT/NAME/history/ALIAS/000001.json     the first move: from, to, who, when, why
    ROOT/NAME/history/ALIAS/000002.json     the second, and so on
    ROOT/NAME/aliases/ALIAS                 the text "3": what it means before its first move; older stores, and shipped

A move is one file, created under the number after the last that was seen. Of two movers who have seen the same state
one makes the file and the other is told that it exists, so nobody overwrites a decision that he does not know of.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from models.store.errors import AliasMovedError, BrokenModelError
from models.store.manifest import from_json, to_json
from models.store.names import checked_name, is_name, is_version
from models.store.roots import Root

PROMOTE, ROLLBACK = "promote", "rollback"

_MOVE = re.compile(r"([0-9]{6,9})\.json")
_LONGEST_MOVE_BYTES = 64 << 10
_LONGEST_OLD_ALIAS_BYTES = 80
_LONGEST_WORDS = 2_000


@dataclass(frozen=True)
class AliasState:
    """What an alias means, and a mark that changes with every move, even one that returns to an earlier version."""

    version: int
    moves: int
    root: str
    """The place where it is kept."""


@dataclass(frozen=True)
class AliasMove:
    """One line of an alias's history.

    Attributes:
        kind: "promote", or "rollback", which takes the last promotion back that still held.
        before: what it meant until then; None for nothing.
        forced: the version had no verdict that it may serve.
    """

    kind: str
    version: int
    before: int | None
    who: str
    when: str
    why: str
    forced: bool = False


class AliasLog:
    """One alias of one model in one root."""

    def __init__(self, root: Root, name: str, alias: str) -> None:
        self._root, self._name, self._alias = root, name, checked_name(alias)
        self._folder = f"{name}/history/{alias}"

    def state(self) -> AliasState | None:
        """What it means here; None where this root does not know it. A folder is listed and one small file read.

        Raises:
            BrokenModelError: the file that says so is unreadable.
        """
        numbers = self._numbers()
        if numbers:
            return AliasState(self._move(numbers[-1]).version, numbers[-1], str(self._root))
        path = f"{self._name}/aliases/{self._alias}"
        try:
            text = self._root.read(path, _LONGEST_OLD_ALIAS_BYTES).decode(errors="replace").strip()
        except FileNotFoundError:
            return None
        if not is_version(text):
            raise BrokenModelError(f"{self._root.at(path)}: holds {text!r} instead of a version number")
        return AliasState(int(text), 0, str(self._root))

    def history(self) -> tuple[AliasMove, ...]:
        """All moves, the first one first.

        Raises:
            BrokenModelError: one is unreadable.
        """
        return tuple(self._move(number) for number in self._numbers())

    def append(self, move: AliasMove, *, seen_moves: int) -> None:
        """Move it, if nobody has since `seen_moves` were there.

        Raises:
            AliasMovedError: somebody has; nothing was changed.
        """
        try:
            self._root.create(f"{self._folder}/{seen_moves + 1:06d}.json", to_json(asdict(move)))
        except FileExistsError:
            state = self.state()
            now = "was moved" if state is None else f"means version {state.version} now: it was moved"
            raise AliasMovedError(
                f"{self._name}@{self._alias} {now} by somebody else at the same time; look at "
                f"`sightline models show {self._name}@{self._alias}` and decide again"
            ) from None

    def _numbers(self) -> list[int]:
        return sorted(int(found[1]) for child in self._root.children(self._folder) if (found := _MOVE.fullmatch(child)))

    def _move(self, number: int) -> AliasMove:
        path = f"{self._folder}/{number:06d}.json"
        place = self._root.at(path)
        try:
            raw = from_json(place, self._root.read(path, _LONGEST_MOVE_BYTES))
        except FileNotFoundError as error:
            raise BrokenModelError(f"{place} is gone while it was read: try again") from error
        if problem := _problem(raw):
            raise BrokenModelError(f"{place}: {problem}: delete it to return to the move before")
        return AliasMove(**raw)


def aliases_of(root: Root, name: str) -> set[str]:
    """Names of the aliases that a root knows for a model."""
    return {child for folder in ("aliases", "history") for child in root.children(f"{name}/{folder}") if is_name(child)}


def meanings(history: Sequence[AliasMove]) -> tuple[int, ...]:
    """Versions that still stand behind an alias, the present one last: a rollback takes the last promotion away.

    So a second rollback goes one further back, and never forth again to what was taken back.
    """
    standing: list[int] = [] if not history or history[0].before is None else [history[0].before]
    for move in history:
        if move.kind == ROLLBACK:
            del standing[-1:]
        else:
            standing.append(move.version)
    return tuple(standing)


def shortened(words: str) -> str:
    """One line of a bearable length, as a move keeps it."""
    return " ".join(words.split())[:_LONGEST_WORDS]


def _problem(raw: dict[str, Any]) -> str:
    if set(raw) != {f.name for f in fields(AliasMove)}:
        return f"keys {sorted(raw)} are not those of a move"
    if raw["kind"] not in (PROMOTE, ROLLBACK):
        return f"kind {str(raw['kind'])[:40]!r} is neither {PROMOTE} nor {ROLLBACK}"
    for key in ("version", "before"):
        if not (type(raw[key]) is int and is_version(str(raw[key]))) and not (key == "before" and raw[key] is None):
            return f"{key} {str(raw[key])[:40]!r} is no version number"
    if any(type(raw[key]) is not str for key in ("who", "when", "why")) or type(raw["forced"]) is not bool:
        return "who, when and why must be text, and forced true or false"
    return ""
