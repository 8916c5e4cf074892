"""A counterfactual as a sentence: "Without Blue's second dragon, Blue would be at 54 % instead of 68 %."

Names come from the caller, in the language of the sentence; sentences may be replaced by others with the same fields.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

from models.attribution.change import Counterfactual

Language = Literal["en", "zh"]

SENTENCES: Mapping[Language, Mapping[str, str]] = MappingProxyType(
    {
        "en": MappingProxyType(
            {
                "worth": "Without {owner} {event}, {camp} would be at {without} % instead of {with_} %.",
                "nothing": "Without {owner} {event}, {camp} would still be at {with_} %.",
            }
        ),
        "zh": MappingProxyType(
            {
                "worth": "如果没有{owner}{event}，{camp}的胜率会是{without}%，而不是{with_}%。",
                "nothing": "即使没有{owner}{event}，{camp}的胜率仍是{with_}%。",
            }
        ),
    }
)
"""By language: the event moved the chance by a point or more; it did not. `{owner}` is the possessive of the camp."""


def counterfactual_words(
    counterfactual: Counterfactual,
    *,
    event: str,
    camp: str,
    owner: str,
    language: Language = "en",
    frame: int = -1,
    sentences: Mapping[Language, Mapping[str, str]] = SENTENCES,
) -> str:
    """What an event was worth to its camp, at a frame.

    Args:
        counterfactual: from `without_event`.
        event: what it was, such as "second dragon" or "第二条小龙".
        camp: name of the camp whose event it was, such as "Blue".
        owner: its possessive, such as "Blue's" or "蓝色方的".
        language: of names and sentence.
        frame: position in the match; the last one by default.
        sentences: as `SENTENCES`.
    """
    percent = [float(probs[frame]) for probs in (counterfactual.probs, counterfactual.probs_without)]
    if counterfactual.event.camp == "B":
        percent = [1 - p for p in percent]
    with_, without = (round(100 * p) for p in percent)
    template = sentences[language]["nothing" if with_ == without else "worth"]
    return template.format(owner=owner, event=event, camp=camp, without=without, with_=with_)
