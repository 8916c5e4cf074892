"""The words of one language, from `templates/LANGUAGE.toml`, checked before they are used.

A crew may edit these files, so whatever is wrong in one is reported with the file, the key and the remedy, at start
and not on air.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from string import Formatter
from typing import Any

from streaming.features.catalogue import GROUPS, title_spec

TEMPLATES = Path(__file__).parent / "templates"

SITUATIONS = ("flip", "comeback", "ahead", "extend", "recover", "even")
"""What a line in mid-match is about; each has lines with and without an event to name."""

ENDINGS = ("final", "final_comeback", "final_upset", "final_unknown", "void")

_SIDE_WORDS = frozenset({"team", "other", "owner", "percent", "points", "was", "clock", "since", "low", "low_clock"})
_EVENT_WORDS = _SIDE_WORDS | {"event", "Event"}
_REASON_WORDS = frozenset({"group", "Group", "gives", "fraction", "Fraction", "part"})
_FINAL_WORDS = _SIDE_WORDS - {"points", "was", "since"}
_NOBODY_WORDS = frozenset({"clock"})

_LINES: dict[str, frozenset[str]] = {
    **{f"{situation}.event": _EVENT_WORDS for situation in SITUATIONS},
    **{f"{situation}.plain": _SIDE_WORDS for situation in SITUATIONS},
    **{f"{ending}.plain": _FINAL_WORDS for ending in ENDINGS},
    "final_unknown.plain": _NOBODY_WORDS,
    "void.plain": _NOBODY_WORDS,
    "reason.swing": _REASON_WORDS,
    "reason.broad": frozenset(),
    "reason.final": _REASON_WORDS,
}
_GRAMMAR: dict[str, frozenset[str]] = {
    "percent": frozenset({"n"}),
    "possessive": frozenset({"name"}),
    "possessive_s": frozenset({"name"}),
    "nth": frozenset({"ordinal", "counter", "subject"}),
    "between_sentences": frozenset(),
}
_TABLES = ("sides", "subjects", "counters")
_SECTIONS = frozenset({"grammar", "groups", "fractions", *_TABLES, *(name.partition(".")[0] for name in _LINES)})


class TemplateError(ValueError):
    """A commentary file cannot be used; the message names file, key and remedy."""


@dataclass(frozen=True)
class Wording:
    """All that one language needs to make a sentence."""

    lines: Mapping[str, tuple[str, ...]]  # "flip.event" → templates
    grammar: Mapping[str, str]
    numbers: tuple[str, ...]  # from zero; a number beyond is written in digits
    ordinals: tuple[str, ...]  # from first; beyond them the event is named without one
    groups: Mapping[str, tuple[str, str]]  # group → (name, "NAME gives")
    fractions: tuple[tuple[float, str], ...]  # ascending
    sides: Mapping[str, str]  # side name of a title → this language's
    subjects: Mapping[str, Mapping[str, str]]  # title or "any" → feature → word
    counters: Mapping[str, str]  # feature → measure word

    def side(self, title: str, side: int) -> str:
        """The name of camp A (0) or B (1) where the feed gives no team name."""
        name = title_spec(title).sides[side]
        return self.sides.get(name, name)

    def subject(self, title: str, feature: str) -> str:
        """What a caster calls the thing that was gained."""
        for scope in (title, "any"):
            if feature in self.subjects.get(scope, {}):
                return self.subjects[scope][feature]
        return title_spec(title).subjects.get(feature, feature.replace("_", " "))

    def event(self, title: str, feature: str, nth: int) -> str:
        """`tower`, or `second tower` where it is known to be the `nth`; 0 where it is not."""
        subject = self.subject(title, feature)
        if not 0 < nth <= len(self.ordinals):
            return subject
        counter = self.counters.get(feature, "")
        return self.grammar["nth"].format(ordinal=self.ordinals[nth - 1], counter=counter, subject=subject)

    def owner(self, name: str) -> str:
        """`Blue's`."""
        return self.grammar["possessive_s" if name.endswith("s") else "possessive"].format(name=name)

    def number(self, n: int) -> str:
        """`nine`; digits where the file has no word."""
        return self.numbers[n] if n < len(self.numbers) else str(n)

    def percent(self, n: int) -> str:
        """`61 %`."""
        return self.grammar["percent"].format(n=n)

    def fraction(self, part: float) -> str | None:
        """`two thirds` for .64; None where the part is too small to be a reason."""
        if part < self.fractions[0][0]:
            return None
        return min(self.fractions, key=lambda known: abs(known[0] - part))[1]


def load_wording(path: Path) -> Wording:
    """Read and check one language file.

    Raises:
        TemplateError: the file is missing, is no TOML, or lacks or misspells something.
    """
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise TemplateError(f"{path}: no such file; copy {TEMPLATES / path.name} there and change it") from None
    except OSError as error:
        raise TemplateError(f"{path}: cannot be read ({error.strerror}); check its permissions") from None
    except UnicodeDecodeError as error:
        raise TemplateError(f"{path}: not UTF-8 at byte {error.start}; save the file as UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise TemplateError(f"{path}: not TOML: {error}; compare with {TEMPLATES / 'en.toml'}") from None
    return _Check(path, raw).wording()


class _Check:
    """Turns raw TOML into a `Wording`, or says what is wrong with it."""

    def __init__(self, path: Path, raw: dict[str, Any]) -> None:
        self.path = path
        self.raw = raw

    def wording(self) -> Wording:
        self._known("", self.raw, _SECTIONS)
        grammar = self._table("grammar")
        self._known("grammar.", grammar, {*_GRAMMAR, "numbers", "ordinals"})
        for section in {name.partition(".")[0] for name in _LINES}:
            kinds = {name.partition(".")[2] for name in _LINES if name.startswith(f"{section}.")}
            self._known(f"{section}.", self._table(section), kinds)
        subjects = self._table("subjects", optional=True)
        return Wording(
            lines={name: self._lines(name, words) for name, words in _LINES.items()},
            grammar={name: self._line(f"grammar.{name}", grammar.get(name), words) for name, words in _GRAMMAR.items()},
            numbers=self._words("grammar.numbers", grammar.get("numbers")),
            ordinals=self._words("grammar.ordinals", grammar.get("ordinals")),
            groups=self._groups(),
            fractions=self._fractions(),
            sides=self._names("sides", self._table("sides", optional=True)),
            subjects={title: self._names(f"subjects.{title}", table) for title, table in subjects.items()},
            counters=self._names("counters", self._table("counters", optional=True)),
        )

    def _broken(self, key: str, what: str) -> TemplateError:
        return TemplateError(f"{self.path}: {key}: {what}")

    def _known(self, prefix: str, table: Mapping[str, Any], names: set[str] | frozenset[str]) -> None:
        for key in table:
            if key not in names:
                near = get_close_matches(key, names, n=1)
                hint = f"did you mean {near[0]}?" if near else f"known here: {', '.join(sorted(names))}"
                raise self._broken(f"{prefix}{key}", f"unknown name; {hint}")

    def _table(self, key: str, optional: bool = False) -> dict[str, Any]:
        table = self.raw.get(key, {} if optional else None)
        if table is None:
            raise self._broken(key, f"missing; add a [{key}] section as in {TEMPLATES / 'en.toml'}")
        if not isinstance(table, dict):
            raise self._broken(key, f"must be a section: [{key}]")
        return table

    def _line(self, key: str, line: Any, words: frozenset[str]) -> str:
        if not isinstance(line, str):
            raise self._broken(key, "missing" if line is None else f'must be text in quotes, got {line!r}; write "…"')
        try:
            fields = [field for _, *rest in Formatter().parse(line) if (field := rest[0]) is not None or any(rest[1:])]
            plain = all(spec in ("", None) and turn is None for _, _, spec, turn in Formatter().parse(line))
        except ValueError as error:
            raise self._broken(key, f"{error}; write every brace as {{word}}, or {{{{ for a brace to be said") from None
        allowed = ", ".join(f"{{{word}}}" for word in sorted(words)) or "none"
        for field in fields:
            if field not in words:
                raise self._broken(key, f"unknown word {{{field}}}; allowed here: {allowed}")
        if not plain:
            raise self._broken(key, "a word in braces stands alone, without ':' or '!'")
        return line

    def _lines(self, name: str, words: frozenset[str]) -> tuple[str, ...]:
        section, _, kind = name.partition(".")
        lines = self._table(section).get(kind)
        if not isinstance(lines, list) or not lines:
            raise self._broken(name, 'needs at least one line: ["…"]')
        for position, line in enumerate(lines, start=1):
            if isinstance(line, str) and not line.strip():
                raise self._broken(f"{name}, line {position}", "is empty; write a sentence or take it out")
        return tuple(self._line(f"{name}, line {i}", line, words) for i, line in enumerate(lines, start=1))

    def _words(self, key: str, words: Any) -> tuple[str, ...]:
        if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
            raise self._broken(key, 'must be a list of words: ["…", "…"], or [] for none')
        return tuple(words)

    def _names(self, key: str, table: Any) -> dict[str, str]:
        if not isinstance(table, dict):
            raise self._broken(key, f"must be a section: [{key}]")
        for name, word in table.items():
            if not isinstance(word, str):
                raise self._broken(f"{key}.{name}", f'must be text in quotes, got {word!r}; write "…"')
        return dict(table)

    def _groups(self) -> dict[str, tuple[str, str]]:
        table = self._table("groups")
        self._known("groups.", table, frozenset(GROUPS))
        for group in GROUPS:
            words = table.get(group)
            if not isinstance(words, dict) or not all(isinstance(words.get(k), str) for k in ("name", "gives")):
                raise self._broken(f"groups.{group}", 'write it as { name = "…", gives = "…" }')
        return {group: (table[group]["name"], table[group]["gives"]) for group in GROUPS}

    def _fractions(self) -> tuple[tuple[float, str], ...]:
        table = self._names("fractions", self._table("fractions"))
        if not table:
            raise self._broken("fractions", 'needs at least one line, such as "0.5" = "half"')
        known = []
        for key, word in table.items():
            try:
                part = float(key)
            except ValueError:
                part = -1.0
            if not 0.0 < part <= 1.0:
                raise self._broken(f"fractions.{key}", "must be a number above 0 and up to 1, in quotes")
            known.append((part, word))
        return tuple(sorted(known))
