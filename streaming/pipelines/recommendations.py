"""Events of sessions in, what to offer next out, with reasons.

user.sessions ─► validate ─► sessions* (cut by event time, floods out) ─► recommend* (model, rules, MMR, exploration)
─► session.recommendations
"""

from __future__ import annotations

from collections.abc import Mapping

from streaming import topics
from streaming.pipeline import Pipeline
from streaming.sessions.answers import EXPLORED, FEW, UNKNOWN_ITEM
from streaming.sessions.catalogue import Items
from streaming.sessions.events import validate_events
from streaming.sessions.folding import SessionFold
from streaming.sessions.limits import Limits
from streaming.sessions.model import Recommend, ReleasedRecommend
from streaming.sessions.recommending import RecommendStage
from streaming.sessions.settings import Offer


def recommendations(
    recommenders: Mapping[str, Recommend | ReleasedRecommend],
    items: Items,
    offer: Offer | None = None,
    limits: Limits | None = None,
) -> Pipeline:
    """Events of sessions in, a recommendation for every view out.

    Args:
        recommenders: by name, `live` among them.
        items: the catalogue, as it is when an answer is made.
        offer: what is offered, and tried.
        limits: what a session is.
    """
    return Pipeline(
        name="recommendations",
        source=topics.USER_SESSIONS,
        transforms=(validate_events,),
        stages=(SessionFold(limits), RecommendStage(recommenders, items, offer)),
        sink=topics.SESSION_RECOMMENDATIONS,
        counted_flags=(EXPLORED, FEW, UNKNOWN_ITEM),
        looks_up=(topics.ITEM_CATALOGUE,),
    )
