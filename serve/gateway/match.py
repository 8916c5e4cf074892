"""One match as the gateway keeps it: the curve, the event log, and what follows from them."""

from __future__ import annotations

import heapq
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from pydantic import BaseModel

from serve.gateway.freshness import UNJUDGED, Freshness
from serve.gateway.position import Mark, Position, ShopPosition, StorePosition
from serve.gateway.rows import Answer, AnswerRow, Event, Heading, Weights
from serve.gateway.schemas import (
    BrokerState,
    CurvePoint,
    EventEntry,
    Groups,
    InsightMessage,
    MatchDetail,
    MatchSummary,
    ModelName,
    Result,
    Side,
    SparkPoint,
    Status,
    Swing,
    WallDelta,
)
from serve.gateway.words import score_text, side_names, subject_name, swing_text, title_groups, title_name

SPARK_POINTS = 60
_SWINGS = 3

TrainedOn = Callable[[str, Weights], str]
"""(title, weights) → what they were trained on; empty where nobody has said."""


class Message(NamedTuple):
    """One message of a stream; without a position it does not move the client's."""

    event: str
    data: BaseModel
    position: Position | StorePosition | ShopPosition | None = None


@dataclass(slots=True)
class Match:
    """Everything kept about one match. Bounded; the oldest answers and events go first."""

    id: str
    max_points: int
    max_events: int
    first_ms: int  # record time when it was first heard of
    last_ms: int  # record time of the newest row
    heading: Heading
    weights: Weights | None = None
    answers: list[Answer] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    fresh: Freshness = UNJUDGED
    started_ms: int = -1  # event time of the newest start
    shown: tuple[object, ...] = ()  # the state, its causes and the delay in whole seconds, that the streams announce
    rewound: int = 0  # how often answers were taken back
    revision: int = 0  # the board's count of changes when this match last changed
    # Offsets of the newest rows seen and of the newest ones dropped for want of room: what a client that stands at or
    # before the latter has missed cannot be sent any more.
    answer_seen: Mark | None = None
    event_seen: Mark | None = None
    answer_dropped: int = -1
    event_dropped: int = -1
    sequences: set[int] = field(default_factory=set)

    @property
    def newest(self) -> Answer | None:
        """The last answer of this attempt."""
        return self.answers[-1] if self.answers else None

    @property
    def status(self) -> Status:
        """As the newest answer says; `live` before it."""
        return self.answers[-1].status if self.answers else "live"

    @property
    def over(self) -> bool:
        """Whether it ended or was remade."""
        return self.status != "live"

    @property
    def flags(self) -> str:
        """Space-separated warnings of the newest answer."""
        return self.answers[-1].flags if self.answers else ""

    @property
    def last_word_ms(self) -> int:
        """Emit time of the newest answer, or, before it, when the match was first heard of."""
        return self.answers[-1].emit_time_ms if self.answers else self.first_ms

    @property
    def position(self) -> Position | None:
        """Where a client stands that has seen all of this; None while there is nothing to see."""
        answer = self.answers[-1].mark if self.answers else None
        event = self.events[-1].mark if self.events else None
        if answer is None and event is None:
            return None
        return Position(answer, event, result_seen=answer is not None and self.over)

    def add_answer(self, row: AnswerRow, time_ms: int) -> bool:
        """Keep this answer; False when it was known (a record read again)."""
        answer = row.answer
        if self.answer_seen is not None and answer.mark.offset <= self.answer_seen.offset:
            return False
        kept = len(self.answers)
        if self.answers and answer.attempt != self.answers[-1].attempt:
            self.answers.clear()  # a restarted match begins anew
        # A pipeline that starts over answers old frames again: the newer answer stands, as do those before it.
        while self.answers and self.answers[-1].frame >= answer.frame:
            self.answers.pop()
        self.rewound += len(self.answers) < kept
        self.answers.append(answer)
        if len(self.answers) > self.max_points:
            self.answer_dropped = self.answers.pop(0).mark.offset
        self.answer_seen = answer.mark
        self.heading = _merged(self.heading, row.heading)
        self.weights = row.weights
        self.last_ms = max(self.last_ms, time_ms)
        return True

    def add_event(self, event: Event, time_ms: int) -> bool:
        """Keep this event; False when the log does not tell it: known already, or a hero's role."""
        if self.event_seen is not None and event.mark.offset <= self.event_seen.offset:
            return False
        self.event_seen = event.mark
        self.last_ms = max(self.last_ms, time_ms)
        self.heading = _merged(self.heading, event.heading)
        if event.sequence in self.sequences:
            return False
        if event.kind == "score" and (event.subject is None or subject_name(self.heading.title, event.subject) is None):
            return False
        if event.kind == "start":
            if event.event_time_ms > self.started_ms >= 0:
                self.events.clear()  # a restarted match begins anew
                self.sequences.clear()
            self.started_ms = max(self.started_ms, event.event_time_ms)
        self.events.append(event)
        self.sequences.add(event.sequence)
        if len(self.events) > self.max_events:
            dropped = self.events.pop(0)
            self.event_dropped = dropped.mark.offset
            self.sequences.discard(dropped.sequence)
        return True

    @property
    def edition(self) -> tuple[Heading, Weights | None, int]:
        """While this stays the same, a card needs only deltas."""
        return self.heading, self.weights, self.rewound

    def model(self, trained_on: TrainedOn) -> ModelName | None:
        """The weights behind the newest answer; None before it."""
        if self.weights is None:
            return None
        return ModelName(**self.weights._asdict(), trained_on=trained_on(self.heading.title, self.weights))

    def delta(self, seen: Mark | None) -> WallDelta:
        """What changed for a card that has seen the answers up to this one, or none."""
        newest = self.newest
        sentence = next((answer for answer in reversed(self.answers) if answer.commentary_en is not None), None)
        return WallDelta(
            id=self.id,
            status=self.status,
            state=self.fresh.state,
            delay_s=self.fresh.delay_s,
            attempt=newest.attempt if newest else 0,
            clock_s=newest.clock_s if newest else None,
            p=newest.p if newest else None,
            delta_p=newest.delta_p if newest else None,
            top_reason=newest.top_reason if newest else "",
            key_moment=newest is not None and newest.key_moment,
            commentary_en=sentence.commentary_en if sentence else None,
            commentary_zh=sentence.commentary_zh if sentence else None,
            commentary_clock_s=sentence.clock_s if sentence else None,
            spark=_thinned(self.answers[_index_after(self.answers, seen) :]),
            winner=newest.winner if newest else None,
            last_id=None if self.position is None else str(self.position),
            flags=self.flags.split(),
            causes=list(self.fresh.causes),
        )

    def summary(self, trained_on: TrainedOn) -> MatchSummary:
        """The match at a glance."""
        return MatchSummary(
            **dict(self.delta(seen=None)),
            title=self.heading.title,
            title_name=title_name(self.heading.title),
            sides=side_names(self.heading.title),
            teams=(self.heading.team_a, self.heading.team_b),
            league=self.heading.league,
            patch=self.heading.patch,
            origin=self.heading.origin,
            model=self.model(trained_on),
        )

    def detail(self, trained_on: TrainedOn, broker: BrokerState, now_ms: int) -> MatchDetail:
        """Everything that is kept."""
        return MatchDetail(
            **dict(self.summary(trained_on)),
            time_ms=now_ms,
            broker=broker,
            groups=list(title_groups(self.heading.title)),
            curve=[_curve_point(answer) for answer in self.answers],
            events=[self._entry(event) for event in sorted(self.events, key=lambda event: event.event_time_ms)],
            result=self.result(),
        )

    def result(self) -> Result | None:
        """How the match ended; None while it runs."""
        newest = self.newest
        if newest is None or not self.over:
            return None
        swings = heapq.nlargest(_SWINGS, self.answers, key=lambda answer: abs(answer.delta_p))
        return Result(
            winner=newest.winner,
            team=None if newest.winner is None else self._who(newest.winner),
            swings=[
                Swing(
                    clock_s=answer.clock_s,
                    p=answer.p,
                    delta_p=answer.delta_p,
                    moment=answer.moment,
                    top_reason=answer.top_reason,
                    text=self._swing_text(answer),
                )
                for answer in swings
                if answer.delta_p != 0
            ],
        )

    def missed(self, position: Position) -> str | None:
        """Why a client at this position cannot be served without a gap, in words; None when it can."""
        for seen, known, dropped in (
            (position.answer, self.answer_seen, self.answer_dropped),
            (position.event, self.event_seen, self.event_dropped),
        ):
            if seen is None:
                continue
            if known is None or seen.partition != known.partition or seen.offset > known.offset:
                return f"position {position} is not on this log"
            if seen.offset < dropped:
                return f"position {position} is older than what is kept"
        return None

    def after(self, position: Position, limit: int) -> list[Message]:
        """The next messages for a client at this position, about `limit` of them, each with the position after it."""
        messages: list[Message] = []
        if self._owes_result(position):
            position = self._add_result(messages, position)
        answers: Sequence[Answer | Event] = self.answers[_index_after(self.answers, position.answer) :]
        events: Sequence[Answer | Event] = self.events[_index_after(self.events, position.event) :]
        # Each list keeps its own order, whatever the times say: positions only ever rise.
        rows: Iterable[Answer | Event] = heapq.merge(answers, events, key=_by_time)
        for row in rows:
            if isinstance(row, Answer):
                position = position.after_answer(row.mark)
                messages.append(Message("insight", self._insight(row), position))
                if self._owes_result(position):
                    position = self._add_result(messages, position)
            else:
                position = position.after_event(row.mark)
                messages.append(Message("event", self._entry(row), position))
            if len(messages) >= limit:
                break
        return messages

    def _owes_result(self, position: Position) -> bool:
        newest = self.newest
        return newest is not None and self.over and position.answer == newest.mark and not position.result_seen

    def _add_result(self, messages: list[Message], position: Position) -> Position:
        result = self.result()
        position = position.after_result()
        if result is not None:
            messages.append(Message("result", result, position))
        return position

    def _insight(self, answer: Answer) -> InsightMessage:
        return InsightMessage(
            **dict(_curve_point(answer)),
            match_id=self.id,
            status=answer.status,
            winner=answer.winner,
            state=self.fresh.state,
            delay_s=self.fresh.delay_s,
            causes=list(self.fresh.causes),
        )

    def _entry(self, event: Event) -> EventEntry:
        return EventEntry(
            id=str(event.mark),
            event_time_ms=event.event_time_ms,
            clock_s=event.clock_s,
            kind=event.kind,
            side=event.side,
            subject=event.subject,
            count=event.count,
            text=self._line(event),
        )

    def _line(self, event: Event) -> str:
        if event.kind == "score" and event.side is not None and event.subject is not None:
            return score_text(self._who(event.side), self.heading.title, event.subject, event.count)
        if event.kind == "start":
            return f"{self._who('A')} – {self._who('B')}: the match starts"
        if event.kind == "end" and event.side is not None:
            return f"{self._who(event.side)} wins"
        return "The match ends" if event.kind == "end" else "The match is remade and does not count"

    def _swing_text(self, answer: Answer) -> str:
        towards: Side = "A" if answer.delta_p > 0 else "B"
        side, _, subject = answer.moment.partition(":")
        reason = subject_name(self.heading.title, subject) if side == towards else None
        return swing_text(self._who(towards), answer.p, answer.delta_p, reason or answer.top_reason)

    def _who(self, side: Side) -> str:
        index = 0 if side == "A" else 1
        return (self.heading.team_a, self.heading.team_b)[index] or side_names(self.heading.title)[index]


def _by_time(row: Answer | Event) -> tuple[int, bool]:
    return row.event_time_ms, isinstance(row, Answer)  # an answer comes after the events it was drawn from


def _index_after(rows: Sequence[Answer] | Sequence[Event], seen: Mark | None) -> int:
    return 0 if seen is None else bisect_right(rows, seen.offset, key=lambda row: row.mark.offset)


def _thinned(answers: Sequence[Answer]) -> list[SparkPoint]:
    step = -(-len(answers) // SPARK_POINTS) or 1
    return [(answer.clock_s, answer.p) for answer in answers[::-step]][::-1]  # the newest always stays


def _merged(old: Heading, new: Heading) -> Heading:
    return Heading(*(said or known for said, known in zip(new, old, strict=True)))


def _curve_point(answer: Answer) -> CurvePoint:
    return CurvePoint(
        id=str(answer.mark),
        attempt=answer.attempt,
        frame=answer.frame,
        clock_s=answer.clock_s,
        event_time_ms=answer.event_time_ms,
        p=answer.p,
        delta_p=answer.delta_p,
        contributions=Groups(**answer.family("contribution")),
        changes=Groups(**answer.family("change")),
        scores=Groups(**answer.family("score")),
        weights=Groups(**answer.family("weight")),
        top_reason=answer.top_reason,
        key_moment=answer.key_moment,
        moment=answer.moment,
        commentary_en=answer.commentary_en,
        commentary_zh=answer.commentary_zh,
        flags=answer.flags.split(),
    )
