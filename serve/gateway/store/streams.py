"""What flows to a client that follows the store, and what reads it from the topics."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from serve.gateway.hub import Hub, rang
from serve.gateway.match import Message
from serve.gateway.position import StorePosition
from serve.gateway.reader import Follower, StoreFeeds
from serve.gateway.schemas import Resync
from serve.gateway.store.board import CHANGED
from serve.gateway.store.rows import alert_rows, metric_rows, sighting_rows
from serve.gateway.store.schemas import People, Trust
from serve.gateway.store.service import StoreService
from serve.gateway.streams import Quiet, Stream, now_ms

_AT_ONCE = 256
_SIGHTINGS_BACK_S = 5.0  # who was where before is of no use
_TICK_S = 1.0


async def store_stream(store: StoreService, hub: Hub, position: StorePosition) -> Stream:
    """Counts and alerts after a position, who is where now, then all that comes."""
    board = store.board
    told_revision, announced, quiet = 0, None, Quiet(board.settings.heartbeat_s)
    while not hub.closing:
        bell = hub.bell(CHANGED)
        if (reason := board.missed(position)) is not None:
            position = board.position
            yield Message("resync", Resync(reason=f"{reason}; load the store again"))
        messages = board.after(position, _AT_ONCE)
        for message in messages:
            yield message
            if isinstance(message.position, StorePosition):
                position = message.position
        changed = [board.views[name] for name, at in board.views_revision.items() if at > told_revision]
        told_revision = board.revision
        if changed:
            yield Message("people", People(time_ms=now_ms(), cameras=changed))
        trust = store.trust(now_ms())
        if (shown := _shown(trust)) != announced:
            announced = shown
            yield Message("state", trust)
        elif not messages and not changed:
            # Time alone changes how far behind the counts are: looked at each second, told when it shows.
            if await rang(bell, min(_TICK_S, board.settings.heartbeat_s)):
                continue
            if _shown(store.trust(now_ms())) == announced and quiet.is_long():
                yield None
            continue
        quiet.ends()
        await rang(hub.closed, board.settings.people_interval_s)


def _shown(trust: Trust) -> tuple[Any, ...]:
    whole_s = int(trust.delay_s) if trust.state == "delayed" else 0
    return trust.state, whole_s, trust.causes, trust.broker, trust.embedding, trust.plan_etag, trust.stale


def store_followers(feeds: StoreFeeds, store: StoreService, hub: Hub) -> list[Follower]:
    """One for each topic of the store, over one board."""
    board = store.board

    def ring(bells: set[str]) -> None:
        for bell in bells:
            hub.ring_one(bell)

    def metrics(rows: Sequence[Any], newest_ms: int) -> set[str]:
        return board.apply_metrics(rows)

    def alerts(rows: Sequence[Any], newest_ms: int) -> set[str]:
        return board.apply_alerts(rows)

    def sightings(rows: Sequence[Any], newest_ms: int) -> set[str]:
        return board.apply_sightings(rows, now_ms())

    history_s = store.settings.store_history_s
    return [
        Follower(feeds.metrics, board, ring, metric_rows, metrics, history_s),
        Follower(feeds.alerts, board, ring, alert_rows, alerts, history_s),
        Follower(feeds.sightings, board, ring, lambda frame, *_: sighting_rows(frame), sightings, _SIGHTINGS_BACK_S),
    ]


async def store_ticks(store: StoreService) -> None:
    """Time passes for the store, until cancelled."""
    try:
        while True:
            store.board.tick(now_ms())
            await asyncio.sleep(_TICK_S)
    finally:
        if store.frames is not None:
            store.frames.stop()
