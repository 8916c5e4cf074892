"""What the gateway knows of the shop: the bounded, in-memory core. No clock, no Kafka, no HTTP.

One owner: every call comes from the event loop of the gateway, but for the catalogue, which is safe for threads. Of
answers only the newest of each session that is looked at is kept as it came; of all others what figures need.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from serve.gateway.broker import BrokerHealth
from serve.gateway.settings import GatewaySettings
from serve.gateway.shop.goods import changed_since, item_of
from serve.gateway.shop.offers import offer_of
from serve.gateway.shop.rows import Answer, AnswerRows, EventRows, Ids
from serve.gateway.shop.schemas import Item, Offer
from serve.gateway.shop.window import Window
from streaming.codec import SchemaRegistry
from streaming.features.runs import Ints
from streaming.sessions.catalogue import Catalogue
from streaming.topics import ITEM_CATALOGUE, SESSION_RECOMMENDATIONS, USER_SESSIONS

TOPICS = (ITEM_CATALOGUE.name, SESSION_RECOMMENDATIONS.name, USER_SESSIONS.name)
_NEVER_MS = -1


def bell_of(session_id: str) -> str:
    """The bell of a session, "" for whoever follows none; no match has this id."""
    return f"\x00shop\x00{session_id}"


@dataclass(slots=True)
class _Session:
    looked_ms: int
    answer: Answer | None = None


class ShopBoard:
    """Times are passed in, UTC milliseconds.

    Args:
        settings: of the gateway.
        registry: of schemas, for the records of the catalogue.
        started_ms: when the gateway began.
    """

    def __init__(self, settings: GatewaySettings, registry: SchemaRegistry, started_ms: int) -> None:
        self.settings = settings
        self.broker = BrokerHealth(frozenset(TOPICS), started_ms)
        self.bad_records = 0
        self.catalogue = Catalogue(registry)
        self.answers = Window(settings.max_shop_answers)
        self.named = Window(settings.max_shop_events)
        """Impressions and clicks."""
        self.known_since_ms = started_ms - round(settings.shop_history_s * 1000)
        self.last_word_ms = started_ms  # emit time of the newest answer
        self.model = ""
        self._sessions: OrderedDict[str, _Session] = OrderedDict()
        self._viewed_ms = self._offered_ms = np.empty(0, np.int64)  # by code: when it was last

    def look(self, session_id: str, now_ms: int) -> None:
        """Somebody wants to know of this session; what is answered in it from now on is kept."""
        if not session_id:
            return
        session = self._sessions.setdefault(session_id, _Session(now_ms))
        session.looked_ms = max(session.looked_ms, now_ms)
        self._sessions.move_to_end(session_id)
        if len(self._sessions) > self.settings.max_shop_sessions:
            self._sessions.popitem(last=False)

    def apply_catalogue(self) -> set[str]:
        """The catalogue has taken in records: everybody's bells."""
        return {bell_of(""), *map(bell_of, self._sessions)}

    def apply_answers(self, rows: Sequence[AnswerRows], now_ms: int) -> set[str]:
        """Take in answers of one partition, in offset order."""
        told = set()
        for some in rows:
            self.answers.add(some.frame)
            self._offered_ms = self._noted(self._offered_ms, some.offered, some.offered_ms, now_ms)
            for answer in some.answers:
                if answer.emit_time_ms >= self.last_word_ms:
                    self.last_word_ms = answer.emit_time_ms
                    self.model = f"{answer.model_name} {answer.model_version}".strip()
                if (session := self._sessions.get(answer.session_id)) is not None:
                    session.answer = answer
                    told.add(bell_of(answer.session_id))
        return told

    def apply_events(self, rows: Sequence[EventRows], now_ms: int) -> set[str]:
        """Take in what shoppers did."""
        for some in rows:
            self.named.add(some.named)
            self._viewed_ms = self._noted(self._viewed_ms, some.viewed, some.viewed_ms, now_ms)
        return set()

    def tick(self, now_ms: int) -> None:
        """Let time pass: forget what is too old, and sessions that nobody looks at."""
        horizon_ms = now_ms - round(self.settings.shop_history_s * 1000)
        self.known_since_ms = max(self.known_since_ms, horizon_ms)
        self.answers.forget(horizon_ms)
        self.named.forget(horizon_ms)
        idle_ms = now_ms - round(self.settings.shop_session_s * 1000)
        for session_id in [name for name, session in self._sessions.items() if session.looked_ms < idle_ms]:
            del self._sessions[session_id]

    def newest(self, session_id: str) -> Answer | None:
        """The newest answer of a session that is looked at."""
        session = self._sessions.get(session_id)
        return session.answer if session is not None else None

    def offer(self, answer: Answer) -> Offer:
        """An answer as it may be shown now."""
        return offer_of(answer, self.catalogue.index)

    def changes(self, position: int, most: int) -> tuple[list[Item] | None, int]:
        """Items that have changed since this position, and the position after them; None where they are more than
        `most`."""
        index = self.catalogue.index
        codes = changed_since(index, position)
        shown = None if len(codes) > most else [item_of(index, code) for code in codes.tolist()]
        return shown, index.position

    def reach(self) -> tuple[Ints, Ints]:
        """When each item, by code, was last looked at and last offered; -1: not yet. A code beyond the end: neither."""
        return self._viewed_ms.copy(), self._offered_ms.copy()

    def _noted(self, times_ms: Ints, items: Ids, at_ms: Ints, now_ms: int) -> Ints:
        index = self.catalogue.index
        codes, size = index.codes(items), len(index)
        if len(times_ms) < size:
            times_ms = np.concatenate([times_ms, np.full(size - len(times_ms), _NEVER_MS, np.int64)])
        known = codes >= 0
        np.maximum.at(times_ms, codes[known], np.minimum(at_ms[known], now_ms))
        return times_ms
