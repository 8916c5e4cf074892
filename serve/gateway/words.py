"""The few words that the gateway adds itself: lines of the event log and of the result."""

from __future__ import annotations

from functools import cache

from streaming.features.catalogue import GROUPS, title_spec, titles

_VERBS = {"kills": "gets", "teamfights": "wins"}


@cache
def title_name(title: str) -> str:
    """A title as people write it; one that has no file keeps its own name."""
    return title_spec(title).name if title in titles() else title


@cache
def side_names(title: str) -> tuple[str, str]:
    """The camps' names, A first."""
    return title_spec(title).sides if title in titles() else ("A", "B")


@cache
def title_groups(title: str) -> tuple[str, ...]:
    """The feature groups a title has, in display order."""
    if title not in titles():
        return GROUPS
    return tuple(group for group in GROUPS if group in title_spec(title).groups)


def subject_name(title: str, subject: str) -> str | None:
    """What a caster calls it; None for what is not worth a line, such as a hero's role."""
    return title_spec(title).subjects.get(subject) if title in titles() else subject


def score_text(who: str, title: str, subject: str, count: float) -> str:
    """One line: `Northwind takes a dragon`, `Sundogs gets 3 kills`."""
    name = subject_name(title, subject) or subject
    return f"{who} {_VERBS.get(subject, 'takes')} {_counted(name, count)}"


def _counted(name: str, count: float) -> str:
    proper = name[:1].isupper()
    if count != 1:
        number = f"{count:g}"
        return f"{name} ({number})" if proper else f"{number} {name}" + ("" if name.endswith("s") else "s")
    if proper or name.endswith("s"):
        return name
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def swing_text(who: str, p: float, delta_p: float, reason: str) -> str:
    """One line: `Northwind up 9 points: tower`, counted between the whole per cents that are shown."""
    points = abs(round(100 * p) - round(100 * (p - delta_p)))
    return f"{who} up {points} points: {reason or 'no single reason'}"
