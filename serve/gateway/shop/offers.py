"""An answer as a shopper is shown it: items that may still be offered, with titles, prices and a reason each. Pure."""

from __future__ import annotations

from serve.gateway.shop.goods import code_of, item_of, title_of
from serve.gateway.shop.rows import Answer
from serve.gateway.shop.schemas import Offer, OfferedItem, Reason
from serve.gateway.shop.words import Cause, reason_words
from streaming.sessions.answers import EXPLORED, NEW, POPULAR
from streaming.sessions.catalogue import UNKNOWN, Index


def offer_of(answer: Answer, index: Index) -> Offer:
    """The offer that an answer makes now."""
    items = []
    for place, item_id in enumerate(answer.items):
        code = code_of(index, item_id)
        if code == UNKNOWN or not index.may_be_offered[code]:
            continue
        reasons = [
            Reason(kind=kind, item_id=about, title=title_of(index, about) if about else "", share=round(share, 4))
            for of, kind, about, share in answer.reasons
            if of == place
        ]
        causes = [_cause(reason, answer, item_id) for reason in reasons]
        items.append(
            OfferedItem(
                item=item_of(index, code),
                reasons=reasons,
                why_en=reason_words(causes, "en"),
                why_zh=reason_words(causes, "zh"),
            )
        )
    return Offer(
        session_id=answer.session_id,
        answer_id=answer.answer_id,
        item_id=answer.item_id,
        event_time_ms=answer.event_time_ms,
        emit_time_ms=answer.emit_time_ms,
        explored=EXPLORED in answer.flags,
        experiment=answer.experiment,
        arm=answer.arm,
        model_name=answer.model_name,
        model_version=answer.model_version,
        items=items,
    )


def _cause(reason: Reason, answer: Answer, offered: str) -> Cause:
    of_event = reason.kind not in (POPULAR, NEW)
    return Cause(
        title=reason.title,
        kind=reason.kind,
        is_latest=of_event and reason.item_id == answer.item_id,
        share=reason.share,
        same_item=of_event and reason.item_id == offered,
    )
