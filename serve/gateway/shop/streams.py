"""What flows to a client that follows the shop, and what reads it from the topics."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from serve.gateway.hub import Hub, rang
from serve.gateway.match import Message
from serve.gateway.position import ShopPosition
from serve.gateway.reader import Feed, Follower, ShopFeeds
from serve.gateway.rows import Offsets
from serve.gateway.schemas import Resync
from serve.gateway.shop.board import ShopBoard, bell_of
from serve.gateway.shop.rows import answer_rows, event_rows
from serve.gateway.shop.schemas import ItemChanges, ShopTrust
from serve.gateway.shop.service import ShopService
from serve.gateway.streams import Quiet, Stream, now_ms
from streaming.records import OffsetRange, Records

_MOST_CHANGES = 500
_PAUSE_S = 0.1  # changes of the catalogue within it are told together
_CHECK_S = 1.0
_TICK_S = 60.0
_ALL_S = 1e10
"""So far back a catalogue is read: all of it."""


async def shop_stream(shop: ShopService, hub: Hub, session_id: str, position: ShopPosition) -> Stream:
    """Items that changed after a position, the newest offer of a session, then all that comes."""
    board, told, announced, quiet = shop.board, None, None, Quiet(shop.settings.heartbeat_s)
    try:
        while not hub.closing:
            bell = hub.bell(bell_of(session_id))
            board.look(session_id, now_ms())
            messages: list[Message] = []
            if position.offset > board.catalogue.index.position:
                reason = f"position {position} is not on this log"
                position = ShopPosition(board.catalogue.index.position)
                messages.append(Message("resync", Resync(reason=f"{reason}; load the shop again")))
            items, after = board.changes(position.offset, _MOST_CHANGES)
            if after > position.offset:
                position = ShopPosition(after)
                if items is None:
                    reason = f"more than {_MOST_CHANGES} items have changed; load the shop again"
                    messages.append(Message("resync", Resync(reason=reason)))
                else:
                    messages.append(Message("items", ItemChanges(items=items), position))
            answer = board.newest(session_id)
            if answer is not None and answer is not told:
                told = answer
                messages.append(Message("offer", board.offer(answer)))
            trust = shop.trust(now_ms())
            if (shown := _shown(trust)) != announced:
                announced = shown
                messages.append(Message("state", trust))
            for message in messages:
                yield message
            if messages:
                quiet.ends()
                await rang(hub.closed, _PAUSE_S)
                continue
            # Time alone changes how far behind answers are: looked at each second, told when it shows.
            silent = not await rang(bell, min(_CHECK_S, board.settings.heartbeat_s))
            if silent and _shown(shop.trust(now_ms())) == announced and quiet.is_long():
                yield None
    finally:
        hub.ring_one(bell_of(session_id))  # whoever comes names a session of their own: no bell may be left behind


def _shown(trust: ShopTrust) -> tuple[Any, ...]:
    whole_s = int(trust.delay_s) if trust.state == "delayed" else 0
    return trust.state, whole_s, trust.causes, trust.broker, trust.model


class _TakenIn(NamedTuple):
    """Records that are in the catalogue by now: nothing is left to convert."""

    frame: pl.DataFrame
    rows: Offsets
    bad: Sequence[Any] = ()


def catalogue_feed(feeds: ShopFeeds, board: ShopBoard) -> Feed:
    """The topic of the catalogue, taken in while it is read: it is safe for threads, and has its own words for what
    cannot be believed."""

    def take_in(records: Records) -> _TakenIn:
        # One partition, as `streaming.topics` says: its offsets are the catalogue's own.
        board.catalogue.apply(OffsetRange(0, int(records.offsets[0]), int(records.offsets[-1]) + 1), records)
        return _TakenIn(pl.DataFrame(), np.empty(0, np.int64))

    return Feed(feeds.catalogue, take_in)


def shop_followers(feeds: ShopFeeds, shop: ShopService, hub: Hub) -> list[Follower]:
    """One for each topic of the shop, over one board."""
    board = shop.board

    def ring(bells: set[str]) -> None:
        for bell in bells:
            hub.ring_one(bell)

    def catalogue(rows: Sequence[Any], newest_ms: int) -> set[str]:
        return board.apply_catalogue()

    def answers(rows: Sequence[Any], newest_ms: int) -> set[str]:
        return board.apply_answers(rows, now_ms())

    def events(rows: Sequence[Any], newest_ms: int) -> set[str]:
        return board.apply_events(rows, now_ms())

    history_s = shop.settings.shop_history_s
    # What was offered and looked at is noted by the catalogue's numbers of items: of one it does not have, nowhere.
    first = Follower(catalogue_feed(feeds, board), board, ring, lambda *_: (), catalogue, _ALL_S)
    return [
        first,
        Follower(feeds.answers, board, ring, lambda frame, *_: answer_rows(frame), answers, history_s, first),
        Follower(feeds.events, board, ring, lambda frame, *_: event_rows(frame, now_ms()), events, history_s, first),
    ]


async def shop_ticks(shop: ShopService) -> None:
    """Time passes for the shop, until cancelled."""
    while True:
        shop.board.tick(now_ms())
        await asyncio.sleep(_TICK_S)
