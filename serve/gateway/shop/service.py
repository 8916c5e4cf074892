"""The shop as the routes and streams ask for it: board, pipelines and the way onto user.sessions together."""

from __future__ import annotations

import asyncio

from starlette.concurrency import run_in_threadpool

from serve.gateway.freshness import freshness, pipeline_view
from serve.gateway.pipelines import Pipelines
from serve.gateway.rate_limit import RateLimit
from serve.gateway.reader import ShopFeeds
from serve.gateway.settings import GatewaySettings
from serve.gateway.shop import goods
from serve.gateway.shop.board import ShopBoard
from serve.gateway.shop.figures import Material, shop_figures
from serve.gateway.shop.schemas import ItemList, ShopFigures, ShopState, ShopTrust
from serve.gateway.shop.writing import EventWriter
from streaming.topics import USER_SESSIONS

_MINUTE_MS = 60_000
_FIGURES_MS = 1_000


class ShopService:
    """One shop.

    Args:
        settings: of the gateway.
        feeds: its topics.
        pipelines: what the pipelines say of themselves.
        started_ms: when the gateway began.
    """

    def __init__(self, settings: GatewaySettings, feeds: ShopFeeds, pipelines: Pipelines, started_ms: int) -> None:
        self.settings = settings
        self.board = ShopBoard(settings, feeds.registry, started_ms)
        self.writer = EventWriter(feeds.write, feeds.registry)
        self.limit = RateLimit(settings.shop_events_per_s, settings.shop_events_burst)
        """Of events a client may send."""
        self._pipelines = pipelines
        self._figuring = asyncio.Lock()
        self._figures: dict[int, ShopFigures] = {}  # by minutes, those of the last second

    def trust(self, now_ms: int) -> ShopTrust:
        """How far to trust what is shown."""
        fresh = freshness(
            status="live",
            origin=self.settings.shop_origin,
            flags="",
            last_word_ms=self.board.last_word_ms,
            view=pipeline_view(self._pipelines.answering, USER_SESSIONS.name, now_ms),
            now_ms=now_ms,
            delayed_s=self.settings.delayed_s,
        )
        return ShopTrust(
            time_ms=now_ms,
            state=fresh.state,
            delay_s=fresh.delay_s,
            causes=list(fresh.causes),
            broker=self.board.broker.state(),
            model=self.board.model,
        )

    def state(self, now_ms: int) -> ShopState:
        """The shop now."""
        index = self.board.catalogue.index
        return ShopState(
            **dict(self.trust(now_ms)),
            last_id=str(index.position),
            origin=self.settings.shop_origin,
            items=len(goods.may_be_offered(index)),
            categories=goods.categories(index),
        )

    def items(self, category: str, search: str, start: int, limit: int) -> ItemList:
        """A page of what may be offered. Takes some milliseconds with a large catalogue: for a thread."""
        return goods.listed(self.board.catalogue.index, category, search, start, limit)

    async def figures(self, minutes: int, now_ms: int) -> ShopFigures:
        """What offers of the last minutes were worth, made a second ago at most: it takes a thread a tenth of a second
        where much was answered, however many ask."""
        async with self._figuring:
            self._figures = {
                asked: made for asked, made in self._figures.items() if now_ms - made.until_ms <= _FIGURES_MS
            }
            if minutes not in self._figures:
                self._figures[minutes] = await run_in_threadpool(shop_figures, self.material(minutes, now_ms))
            return self._figures[minutes]

    def material(self, minutes: int, now_ms: int) -> Material:
        """What the figures of the last minutes are made of, as it is now."""
        board = self.board
        kept_ms = max(board.known_since_ms, board.answers.dropped_ms + 1, board.named.dropped_ms + 1)
        viewed_ms, offered_ms = board.reach()
        return Material(
            answers=board.answers.rows(),
            named=board.named.rows(),
            viewed_ms=viewed_ms,
            offered_ms=offered_ms,
            index=board.catalogue.index,
            since_ms=max(now_ms - minutes * _MINUTE_MS, kept_ms),
            until_ms=now_ms,
        )
