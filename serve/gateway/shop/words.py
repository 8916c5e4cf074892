"""The reason of an offer as a shopper would say it: "Because you just looked at the red kettle."

Titles are data: whoever shows a sentence escapes it. In a sentence each title stands between marks that keep its
direction of writing to itself (Unicode isolates, UAX 9), whatever marks it brings along.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Literal, NamedTuple

Language = Literal["en", "zh"]

SECOND_SHARE = 0.25
"""A second item that was looked at is named if it did at least so much of all that events did."""

MAX_TITLE_CHARS = 60

SENTENCES: Mapping[Language, Mapping[str, str]] = MappingProxyType(
    {
        "en": MappingProxyType(
            {
                "again": "You looked at this before.",
                "put": "You put this in your basket.",
                "just": "Because you just looked at {first}.",
                "view": "Because you looked at {first}.",
                "views": "Because you looked at {first} and {second}.",
                "cart": "Because you put {first} in your basket.",
                "purchase": "Because you bought {first}.",
                "popular": "Many others look at this now.",
                "new": "Something new, to find out whether you like it.",
            }
        ),
        "zh": MappingProxyType(
            {
                "again": "您之前看过这件商品。",
                "put": "您曾把这件商品加入购物篮。",
                "just": "因为您刚刚看了{first}。",
                "view": "因为您看过{first}。",
                "views": "因为您看过{first}和{second}。",
                "cart": "因为您把{first}加入了购物篮。",
                "purchase": "因为您买过{first}。",
                "popular": "现在很多人都在看。",
                "new": "新的尝试，看看您是否喜欢。",
            }
        ),
    }
)
"""By language: the offered item itself was looked at, or put in the basket; the latest look; an earlier one; two; the
other kinds of session-recommendations.avsc."""

_DIRECTIONS = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_FIRST_STRONG_ISOLATE, _POP_ISOLATE = "\u2068", "\u2069"


class Cause(NamedTuple):
    """A past event that moved an offer."""

    title: str  # of the item that it was about
    kind: str = "view"  # what was done, or popular, new: no event is the reason
    is_latest: bool = False  # it is the look that was answered
    share: float = 1.0  # of all that events did
    same_item: bool = False  # it was about the very item that is offered


def reason_words(causes: Sequence[Cause], language: Language = "en") -> str:
    """One sentence of the causes, the strongest first; none for "many others"."""
    told = SENTENCES[language]
    if not causes:
        return told["popular"]
    first = causes[0]
    if first.kind == "cart" and first.same_item:
        return told["put"]
    if first.kind != "view":
        return _filled(told.get(first.kind, told["view"]), first=first.title)
    if first.same_item:
        return told["again"]
    others = [cause for cause in causes[1:] if cause.kind == "view" and not cause.same_item]
    if others and others[0].share >= SECOND_SHARE:
        return _filled(told["views"], first=first.title, second=others[0].title)
    return _filled(told["just" if first.is_latest else "view"], first=first.title)


def _filled(sentence: str, **titles: str) -> str:
    """Titles in their places, braces in a title included as they are."""
    return sentence.format(**{place: _isolated(title) for place, title in titles.items()})


def _isolated(title: str) -> str:
    plain = _DIRECTIONS.sub("", title)
    shown = plain if len(plain) <= MAX_TITLE_CHARS else plain[: MAX_TITLE_CHARS - 1].rstrip() + "…"
    return f"{_FIRST_STRONG_ISOLATE}{shown}{_POP_ISOLATE}"
