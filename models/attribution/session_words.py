"""The reason of a recommendation as a shopper would say it: "Because you just looked at the red kettle."

Titles come from the catalogue as they are; whoever shows them on a page escapes them there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Literal, NamedTuple

Language = Literal["en", "zh"]

SECOND_SHARE = 0.25
"""A second click is named if it did at least so much of all that clicks did."""

SENTENCES: Mapping[Language, Mapping[str, str]] = MappingProxyType(
    {
        "en": MappingProxyType(
            {
                "itself": "You looked at this before.",
                "just": "Because you just looked at {first}.",
                "one": "Because you looked at {first}.",
                "two": "Because you looked at {first} and {second}.",
                "none": "Many others look at this now.",
            }
        ),
        "zh": MappingProxyType(
            {
                "itself": "您之前看过这件商品。",
                "just": "因为您刚刚看了{first}。",
                "one": "因为您看过{first}。",
                "two": "因为您看过{first}和{second}。",
                "none": "现在很多人都在看。",
            }
        ),
    }
)
"""By language: the item itself was clicked; the latest click; an earlier one; two; no click of the session."""


class Cause(NamedTuple):
    """A click that moved a recommendation."""

    title: str  # of the item that was clicked
    steps_back: int  # 0: the latest click
    share: float  # of all that clicks did
    same_item: bool = False  # it was a click on the very item that is recommended


def reason_words(
    causes: Sequence[Cause],
    *,
    language: Language = "en",
    sentences: Mapping[Language, Mapping[str, str]] = SENTENCES,
) -> str:
    """One sentence of the causes, the strongest first; none for "many others".

    Args:
        causes: as `models.attribution.session_reasons.strongest` has them.
        language: of titles and sentence.
        sentences: as `SENTENCES`.
    """
    told = sentences[language]
    if not causes:
        return told["none"]
    first = causes[0]
    if first.same_item:
        return told["itself"]
    others = [cause for cause in causes[1:] if cause.share >= SECOND_SHARE and not cause.same_item]
    if others:
        return _filled(told["two"], first=first.title, second=others[0].title)
    return _filled(told["just" if first.steps_back == 0 else "one"], first=first.title)


def _filled(sentence: str, **titles: str) -> str:
    """Titles in their places, braces in a title included as they are."""
    return sentence.format(**titles)
