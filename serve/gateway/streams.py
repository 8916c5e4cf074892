"""What flows to a client that stays: messages of one match, of the wall, of the ops page. Transport comes elsewhere.

Each stream is a generator over the board; `None` stands for a heartbeat. Between two messages nothing is held but a
position, so a stream that resumes and one that never broke run the same code.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from typing import NamedTuple

from serve.gateway.board import Board
from serve.gateway.hub import WALL, Hub, rang
from serve.gateway.match import Match, Message
from serve.gateway.position import Mark, Position
from serve.gateway.schemas import MatchGone, MatchList, Resync, StateMessage

Stream = AsyncIterator[Message | None]
_AT_ONCE = 64  # messages read from the board in one go, so that a long history does not hold up the others


def now_ms() -> int:
    """Wall clock, UTC."""
    return time.time_ns() // 1_000_000


class Quiet:
    """Since when a stream has had nothing to say.

    Args:
        heartbeat_s: so long, and a client would take it for broken.
    """

    def __init__(self, heartbeat_s: float) -> None:
        self._heartbeat_s, self._since_s = heartbeat_s, time.monotonic()

    def ends(self) -> None:
        """Something was said."""
        self._since_s = time.monotonic()

    def is_long(self) -> bool:
        """Whether a heartbeat is due; it is taken for said."""
        if time.monotonic() - self._since_s < self._heartbeat_s:
            return False
        self.ends()
        return True


async def match_stream(board: Board, hub: Hub, match_id: str, position: Position) -> Stream:
    """Everything about one match after a position, then all that comes; ends when the match is no longer kept."""
    announced: tuple[object, ...] = ()
    while not hub.closing:
        bell = hub.bell(match_id)
        match = board.get(match_id)
        if match is None:
            return
        if (reason := match.missed(position)) is not None:
            position = Position()
            yield Message("resync", Resync(reason=f"{reason}; all that is kept follows"))
        messages = match.after(position, _AT_ONCE)
        for message in messages:
            yield message
            if isinstance(message.position, Position):
                position = message.position
        broker = board.broker.state()
        model = match.model(board.pipelines.trained_on)
        state = (match.shown, broker, model)
        if state != announced:
            announced = state
            fresh = match.fresh
            told = StateMessage(
                match_id=match_id,
                state=fresh.state,
                delay_s=fresh.delay_s,
                causes=list(fresh.causes),
                model=model,
                broker=broker,
            )
            yield Message("state", told)
        elif not messages and not await rang(bell, board.settings.heartbeat_s):
            yield None


class _Card(NamedTuple):
    """What a wall was told last about one match."""

    seen: Mark | None
    edition: tuple[object, ...]


async def wall_stream(board: Board, hub: Hub, sees: Callable[[str], bool]) -> Stream:
    """All matches that the client sees at once, then what changes; changes within a short time are told together."""
    revision, broker = board.revision, board.broker.state()
    cards = {match.id: _card(match) for match in board.changed_since(0) if sees(match.id)}
    matches = [match for match in board.summaries() if sees(match.id)]
    yield Message("snapshot", MatchList(time_ms=now_ms(), broker=broker, matches=matches))
    told_s = time.monotonic()
    while not hub.closing:
        bell = hub.bell(WALL)
        changed = [match for match in board.changed_since(revision) if sees(match.id)]
        revision = board.revision
        news = [_told(board, match, cards.get(match.id)) for match in reversed(changed)]
        cards.update((match.id, _card(match)) for match in changed)
        for match_id in [match_id for match_id in cards if match_id not in board]:
            del cards[match_id]
            news.append(Message("gone", MatchGone(id=match_id)))
        if broker != (broker := board.broker.state()):
            news.append(Message("state", broker))
        for message in news:
            yield message
        if news:
            told_s = time.monotonic()
            await rang(hub.closed, board.settings.wall_interval_s)
        elif time.monotonic() - told_s >= board.settings.heartbeat_s:
            told_s = time.monotonic()
            yield None
        await rang(bell, board.settings.heartbeat_s)


async def ops_stream(board: Board, hub: Hub) -> Stream:
    """The ops page with its history, then its figures each second."""
    yield Message("snapshot", board.ops(hub.counts, now_ms()))
    while not hub.closing:
        await rang(hub.closed, board.settings.ops_interval_s)
        yield Message("tick", board.ops(hub.counts, now_ms(), with_history=False))


async def while_open(stream: Stream, is_open: Callable[[], bool]) -> Stream:
    """The same stream, which ends once the client may no longer see it: at its next message, be it a heartbeat."""
    async for message in stream:
        if not is_open():
            return
        yield message


def _card(match: Match) -> _Card:
    return _Card(match.answer_seen, match.edition)


def _told(board: Board, match: Match, card: _Card | None) -> Message:
    if card is None or card.edition != match.edition:
        return Message("match", match.summary(board.pipelines.trained_on))
    return Message("delta", match.delta(card.seen))
