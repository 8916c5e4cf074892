"""The words of each language, from one file, `wording.toml` or a crew's own, checked before they are used.

A crew may write that file, so whatever is wrong in it is reported with the file, the key and the remedy, at start and
not on air. A line is filled by names alone: `{team.x}`, `{team!r}` and `{team:>9}` are refused, and what is filled in,
such as a team's name, is never looked at for braces.
"""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from string import Formatter
from typing import Any, NamedTuple

from streaming.features.catalogue import COUNTS, GROUPS, title_spec, titles

PACKAGED = Path(__file__).parent / "wording.toml"

LANGUAGES = ("en", "zh")

SITUATIONS = ("flip", "narrow", "comeback", "ahead", "extend", "recover", "even")
"""What a line in mid-match is about; each has lines for an event as the cause, for one beside it, and for none."""

NOTICES = ("degraded", "restored")
"""What a line says of the model itself."""

ENDINGS = ("final", "final_comeback", "final_upset", "final_unknown", "void")

_SIDE_WORDS = frozenset(
    {"team", "other", "owner", "percent", "rise", "points", "was", "clock", "since", "low", "low_clock"}
)
_EVENT_WORDS = frozenset({"event", "an_event", "An_event", "that_event", "That_event"})
_FINAL_WORDS = _SIDE_WORDS - {"rise", "points", "was", "since"}
_NOTICE_WORDS = frozenset({"team", "other", "percent", "clock"})
_NOBODY_WORDS = frozenset({"clock"})
_REASON_WORDS = frozenset({"team", "other", "group", "Group", "gives"})
_PART_WORDS = _REASON_WORDS | {"fraction", "Fraction"}
_TURN_WORDS = frozenset({"team", "other", "turn_clock", "turn_points"})

_LINES: dict[str, frozenset[str]] = {
    **{f"{situation}.{kind}": _SIDE_WORDS | _EVENT_WORDS for situation in SITUATIONS for kind in ("event", "after")},
    **{f"{situation}.plain": _SIDE_WORDS for situation in SITUATIONS},
    **{f"{notice}.plain": _NOTICE_WORDS for notice in NOTICES},
    **{f"{ending}.plain": _FINAL_WORDS for ending in ENDINGS},
    "final_unknown.plain": _NOBODY_WORDS,
    "void.plain": _NOBODY_WORDS,
    "reason.swing": _PART_WORDS,
    "reason.pair": _REASON_WORDS | {"second"},
    "reason.broad": frozenset(),
    "reason.despite": _REASON_WORDS | {"against"},
    "reason.torn": _REASON_WORDS | {"against"},
    "reason.thin": frozenset({"known"}),
    "reason.final": _PART_WORDS,
    "reason.turn": _TURN_WORDS | _EVENT_WORDS,
    "reason.turn_plain": _TURN_WORDS,
}
_NTH_WORDS = frozenset({"ordinal", "counter", "subject"})
_GRAMMAR: dict[str, frozenset[str]] = {
    "percent": frozenset({"n"}),
    "over": frozenset({"n"}),
    "under": frozenset({"n"}),
    "rise": frozenset({"points"}),
    "rise_since": frozenset({"points", "since"}),
    "possessive": frozenset({"name"}),
    "possessive_s": frozenset({"name"}),
    "nth": _NTH_WORDS,
    "a_nth": _NTH_WORDS,
    "that": frozenset({"counter", "subject"}),
    "that_many": frozenset({"subject"}),
    "and": frozenset(),
    "between_sentences": frozenset(),
}
_LISTS = ("numbers", "ordinals")
_OPTIONAL = ("sides", "subjects")
_SECTIONS = frozenset({"grammar", "groups", "fractions", *_OPTIONAL, *(name.partition(".")[0] for name in _LINES)})
_FORMS = ("one", "an", "many", "a_many", "counter")


class TemplateError(ValueError):
    """A wording file cannot be used; the message names file, key and remedy."""


class Subject(NamedTuple):
    """What can be gained."""

    one: str  # after an owner: tower
    an: str  # standing alone: a tower
    many: str  # several at once: string of towers
    a_many: str
    counter: str = ""  # measure word


class Phrases(NamedTuple):
    """What was gained, in three places of a sentence."""

    owned: str  # second tower
    alone: str  # the second tower
    pointed_at: str  # that second tower


@dataclass(frozen=True)
class Wording:
    """All that one language needs to make a sentence."""

    lines: Mapping[str, tuple[str, ...]]  # "flip.event" → templates
    grammar: Mapping[str, str]
    numbers: tuple[str, ...]  # from zero; a number beyond is written in digits
    ordinals: tuple[str, ...]  # from first; beyond them the event is named without one
    groups: Mapping[str, Mapping[str, tuple[str, str]]]  # title or "any" → group → (name, "NAME gives")
    fractions: tuple[tuple[float, str], ...]  # ascending
    sides: Mapping[str, str]  # side name of a title → this language's
    subjects: Mapping[str, Mapping[str, Subject]]  # title or "any" → feature → words

    def side(self, title: str, side: int) -> str:
        """The name of camp A (0) or B (1) where the feed gives no team name."""
        name = title_spec(title).sides[side]
        return self.sides.get(name, name)

    def event(self, title: str, feature: str, number: int, nth: int) -> Phrases:
        """`tower`; `second tower` where it is known to be the `nth`, which is 0 else; other words for several."""
        subject = self._subject(title, feature)
        if number > 1:
            return Phrases(subject.many, subject.a_many, self._filled("that_many", subject=subject.many))
        that = self._filled("that", counter=subject.counter, subject=subject.one)
        if not 0 < nth <= len(self.ordinals):
            return Phrases(subject.one, subject.an, that)
        words = {"ordinal": self.ordinals[nth - 1], "counter": subject.counter, "subject": subject.one}
        owned, alone = self._filled("nth", **words), self._filled("a_nth", **words)
        return Phrases(owned, alone, self._filled("that", counter="", subject=owned) if nth > 1 else that)

    def _subject(self, title: str, feature: str) -> Subject:
        for scope in (title, "any"):
            if feature in self.subjects.get(scope, {}):
                return self.subjects[scope][feature]
        return Subject(*[title_spec(title).subjects.get(feature, feature.replace("_", " "))] * 4)

    def _filled(self, key: str, **words: str) -> str:
        return self.grammar[key].format_map(words)

    def group(self, title: str, group: str) -> tuple[str, str]:
        """`towers` and `Towers give`."""
        return self.groups.get(title, {}).get(group) or self.groups["any"][group]

    def owner(self, name: str) -> str:
        """`Blue's`."""
        return self._filled("possessive_s" if name.endswith("s") else "possessive", name=name)

    def number(self, n: int) -> str:
        """`nine`; digits where the file has no word."""
        return self.numbers[n] if n < len(self.numbers) else str(n)

    def percent(self, n: int) -> str:
        """`61 %`; nothing is certain: 100 is `over 99 %` and 0 is `under 1 %`."""
        if 0 < n < 100:
            return self._filled("percent", n=str(n))
        return self._filled("over", n="99") if n else self._filled("under", n="1")

    def rise(self, points: int, since: str, *, is_long_ago: bool) -> str:
        """`up nine`; `up nine since 12:30` where nobody would guess since when."""
        return self._filled("rise_since" if is_long_ago else "rise", points=self.number(points), since=since)

    def fraction(self, part: float) -> str:
        """`two thirds` for .64: the nearest that the file knows."""
        return min(self.fractions, key=lambda known: abs(known[0] - part))[1]


def load_wording(path: Path = PACKAGED) -> dict[str, Wording]:
    """Read and check a wording file: language → its words.

    Raises:
        TemplateError: the file is missing, is no TOML, or lacks or misspells something.
    """
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise TemplateError(f"{path}: no such file; copy {PACKAGED} there and change it") from None
    except OSError as error:
        raise TemplateError(f"{path}: cannot be read ({error.strerror}); name a file that can be") from None
    except UnicodeDecodeError as error:
        raise TemplateError(f"{path}: not UTF-8 at byte {error.start}; save the file as UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise TemplateError(f"{path}: not TOML: {error}; compare with {PACKAGED}") from None
    check = _Check(path, "", raw)
    check.known("", raw, LANGUAGES)
    return {language: _Check(path, f"{language}.", check.table(language)).wording() for language in LANGUAGES}


class _Check:
    """Turns the raw TOML of one language into a `Wording`, or says what is wrong with it."""

    def __init__(self, path: Path, prefix: str, raw: dict[str, Any]) -> None:
        self.path = path
        self.prefix = prefix  # of keys in messages
        self.raw = raw

    def wording(self) -> Wording:
        self.known("", self.raw, _SECTIONS)
        grammar = self.table("grammar")
        self.known("grammar.", grammar, {*_GRAMMAR, *_LISTS})
        for section in {name.partition(".")[0] for name in _LINES}:
            kinds = {name.partition(".")[2] for name in _LINES if name.startswith(f"{section}.")}
            self.known(f"{section}.", self.table(section), kinds)
        sides = self._names("sides", self.table("sides", optional=True))
        self.known("sides.", sides, {side for title in titles() for side in title_spec(title).sides})
        return Wording(
            lines={name: self._lines(name, words) for name, words in _LINES.items()},
            grammar={name: self._line(f"grammar.{name}", grammar.get(name), words) for name, words in _GRAMMAR.items()},
            numbers=self._words("grammar.numbers", grammar.get("numbers")),
            ordinals=self._words("grammar.ordinals", grammar.get("ordinals")),
            groups=self._groups(),
            fractions=self._fractions(),
            sides=sides,
            subjects=self._subjects(),
        )

    def _broken(self, key: str, what: str) -> TemplateError:
        return TemplateError(f"{self.path}: {self.prefix}{key}: {what}")

    def known(self, prefix: str, table: Mapping[str, Any], names: Collection[str]) -> None:
        """Refuse what nobody would read."""
        for key in table:
            if key not in names:
                near = get_close_matches(key, names, n=1)
                hint = f"did you mean {near[0]}?" if near else f"known here: {', '.join(sorted(names))}"
                raise self._broken(f"{prefix}{key}", f"unknown name; {hint}")

    def table(self, key: str, optional: bool = False) -> dict[str, Any]:
        """A section of this language, or of the file."""
        table = self.raw.get(key, {} if optional else None)
        if table is None:
            raise self._broken(key, f"missing; copy [{self.prefix}{key}] and what is below it from {PACKAGED}")
        if not isinstance(table, dict):
            raise self._broken(key, f"must be a section: [{self.prefix}{key}]")
        return table

    def _line(self, key: str, line: Any, words: frozenset[str]) -> str:
        if not isinstance(line, str):
            wrong = f'must be text in quotes, got {line!r}; write "…"'
            raise self._broken(key, f"missing; copy it from {PACKAGED}" if line is None else wrong)
        if any(not c.isprintable() for c in line):
            raise self._broken(key, "has a line break or another control character; write it on one line")
        try:
            parsed = list(Formatter().parse(line))
        except ValueError as error:
            raise self._broken(key, f"{error}; write every brace as {{word}}, or {{{{ for a brace to be said") from None
        allowed = ", ".join(f"{{{word}}}" for word in sorted(words)) or "none"
        for _, field, spec, conversion in parsed:
            if field is not None and field not in words:
                raise self._broken(key, f"unknown word {{{field}}}; allowed here: {allowed}")
            if spec or conversion:
                raise self._broken(key, f"write {{{field}}} alone, without ':' or '!'")
        return line

    def _lines(self, name: str, words: frozenset[str]) -> tuple[str, ...]:
        section, _, kind = name.partition(".")
        lines = self.table(section).get(kind)
        if not isinstance(lines, list) or not lines:
            what = 'needs at least one line: ["…"]' if lines is not None else "missing; it needs a line"
            raise self._broken(name, f"{what}; copy it from {PACKAGED}")
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
            raise self._broken(key, f"must be a section: [{self.prefix}{key}]")
        for name, word in table.items():
            if not isinstance(word, str):
                raise self._broken(f"{key}.{name}", f'must be text in quotes, got {word!r}; write "…"')
        return dict(table)

    def _subjects(self) -> dict[str, dict[str, Subject]]:
        scopes = self.table("subjects", optional=True)
        self.known("subjects.", scopes, ("any", *titles()))
        found: dict[str, dict[str, Subject]] = {}
        for scope, table in scopes.items():
            if not isinstance(table, dict):
                raise self._broken(f"subjects.{scope}", f"must be a section: [{self.prefix}subjects.{scope}]")
            self.known(f"subjects.{scope}.", table, COUNTS)
            found[scope] = {feature: self._subject(f"subjects.{scope}.{feature}", f) for feature, f in table.items()}
        return found

    def _subject(self, key: str, forms: Any) -> Subject:
        if not isinstance(forms, dict) or "one" not in forms:
            raise self._broken(key, 'write it as { one = "tower", an = "a tower" }; `one` is needed')
        self.known(f"{key}.", forms, _FORMS)
        words = self._names(key, forms)
        one = words["one"]
        alone, many = words.get("an", one), words.get("many", one)
        a_many = words.get("a_many", many if "many" in words else alone)
        return Subject(one, alone, many, a_many, words.get("counter", ""))

    def _groups(self) -> dict[str, dict[str, tuple[str, str]]]:
        table = self.table("groups")
        self.known("groups.", table, (*GROUPS, *titles()))
        found = {"any": {group: self._group(f"groups.{group}", table.get(group)) for group in GROUPS}}
        for title in titles():
            own = table.get(title, {})
            if not isinstance(own, dict):
                raise self._broken(f"groups.{title}", f"must be a section: [{self.prefix}groups.{title}]")
            self.known(f"groups.{title}.", own, GROUPS)
            found[title] = {group: self._group(f"groups.{title}.{group}", words) for group, words in own.items()}
        return found

    def _group(self, key: str, words: Any) -> tuple[str, str]:
        if not isinstance(words, dict) or set(words) != {"name", "gives"}:
            raise self._broken(key, f'{"missing; " if words is None else ""}write it as {{ name = "…", gives = "…" }}')
        named = self._names(key, words)
        return named["name"], named["gives"]

    def _fractions(self) -> tuple[tuple[float, str], ...]:
        table = self._names("fractions", self.table("fractions"))
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
