"""All matches the gateway knows, and what the pipelines say: the bounded, in-memory core. No clock, no Kafka, no HTTP.

One owner: every call comes from the event loop of the gateway, so nothing here locks. `revision` counts changes and
the matches are kept in the order of their last one, so that a stream asks for what is new and touches nothing else.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, NamedTuple

from serve.gateway.broker import BrokerHealth
from serve.gateway.freshness import PipelineView, freshness, pipeline_view
from serve.gateway.match import Match
from serve.gateway.pipelines import Pipelines
from serve.gateway.rows import AnswerRow, Event, Heading
from serve.gateway.schemas import GatewayOps, Health, MatchDetail, MatchSummary, Ops, Part, PipelineReport
from serve.gateway.settings import GatewaySettings
from streaming.topics import MATCH_EVENTS, MATCH_INSIGHTS, PIPELINE_STATUS, is_shadow

Order = Literal["closest", "swing"]
TOPICS = (MATCH_INSIGHTS.name, MATCH_EVENTS.name, PIPELINE_STATUS.name)


class StreamCounts(NamedTuple):
    """How the streams to clients fare."""

    open: int
    slow_clients: int  # let go since the start


class Board:
    """What the gateway holds. Times are passed in, UTC milliseconds."""

    def __init__(self, settings: GatewaySettings, started_ms: int) -> None:
        self.settings = settings
        self.started_ms = started_ms
        self.revision = 0
        self.broker = BrokerHealth(frozenset(TOPICS), started_ms)
        self.pipelines = Pipelines(silent_s=settings.silent_s, stuck_s=settings.stuck_s)
        self.bad_records = 0
        self._matches: OrderedDict[str, Match] = OrderedDict()  # the last changed comes last
        self._points = 0
        self._newest_source_ms: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._matches)

    def __contains__(self, match_id: str) -> bool:
        return match_id in self._matches

    def get(self, match_id: str) -> Match | None:
        """The match of this id, or None."""
        return self._matches.get(match_id)

    def apply_insights(self, rows: Sequence[AnswerRow], now_ms: int) -> set[str]:
        """Take in answers of one partition, in offset order; returns the matches that changed."""
        changed: set[str] = set()
        for row in rows:
            match = self._admit(row.answer.match_id, row.heading, row.answer.emit_time_ms)
            held = len(match.answers)
            if match.add_answer(row, row.answer.emit_time_ms):
                changed.add(match.id)
            self._points += len(match.answers) - held
        self._judge(changed, now_ms)
        self._evict()
        return changed

    def apply_events(self, rows: Sequence[Event], newest_ms: int, now_ms: int) -> set[str]:
        """Take in events of one partition, in offset order; returns the matches that changed.

        `newest_ms` is the newest record time of the batch, whether the event log tells that record or not.
        """
        self._newest_source_ms[MATCH_EVENTS.name] = max(self._newest_source_ms.get(MATCH_EVENTS.name, 0), newest_ms)
        changed: set[str] = set()
        for event in rows:
            # Event time would do no good here: that of a replayed match is years ago.
            match = self._admit(event.match_id, event.heading, newest_ms)
            if match.add_event(event, newest_ms):
                changed.add(match.id)
        self._judge(changed, now_ms)
        self._evict()
        return changed

    def apply_status(self, reports: Iterable[PipelineReport]) -> None:
        """Take in reports of pipelines."""
        self.pipelines.apply(reports)

    def tick(self, now_ms: int) -> set[str]:
        """Let time pass: forget what is too old, judge the running matches anew; returns those whose state changed."""
        horizon_ms = now_ms - round(self.settings.history_s * 1000)
        for match in [match for match in self._matches.values() if match.last_ms < horizon_ms]:
            self._drop(match)
        view = self._view(now_ms)
        changed = set()
        for match in self._matches.values():
            before = match.shown
            if self._judged(match, view, now_ms) != before:
                changed.add(match.id)
        self._touch(changed)
        return changed

    def changed_since(self, revision: int) -> Iterator[Match]:
        """The matches that changed after this revision, the last changed first."""
        for match in reversed(self._matches.values()):
            if match.revision <= revision:
                return
            yield match

    def summaries(
        self,
        *,
        title: str | None = None,
        league: str | None = None,
        status: str | None = None,
        order: Order = "closest",
    ) -> list[MatchSummary]:
        """Matches at a glance, running ones first, then in the order asked for; those without an answer come last."""
        wanted = [
            match
            for match in self._matches.values()
            if (title is None or match.heading.title == title)
            and (league is None or match.heading.league == league)
            and (status is None or match.status == status)
        ]
        wanted.sort(key=lambda match: (match.over, _rank(match, order), match.id))
        return [match.summary(self.pipelines.trained_on) for match in wanted]

    def detail(self, match: Match, now_ms: int) -> MatchDetail:
        """Everything about one match."""
        return match.detail(self.pipelines.trained_on, self.broker.state(), now_ms)

    def health(self, now_ms: int) -> Health:
        """Whether answers flow or there is nothing to answer, and why not."""
        reasons = []
        broker = self.broker.state()
        if not broker.reachable:
            reasons.append(f"waiting for Kafka: {broker.text}")
        elif not broker.ready:
            reasons.append("reading the topics back after a start")
        answering = self.pipelines.answering
        for report in answering:
            newest_ms = self._newest_source_ms.get(report.source_topic, 0)
            if (trouble := self.pipelines.trouble(report, newest_ms, now_ms)) is not None:
                reasons.append(trouble)
        if not answering and (waiting := self._unanswered(now_ms)):
            reasons.append(f"no pipeline has reported; events but no answer in {waiting} of the matches known")
        return Health(healthy=not reasons, reasons=reasons)

    def ops(self, streams: StreamCounts, now_ms: int, *, with_history: bool = True) -> Ops:
        """The ops page."""
        health = self.health(now_ms)
        pipelines = self.pipelines.ops(self._newest_source_ms, now_ms, with_history=with_history)
        broker = self.broker.state()
        # Only a pipeline that still speaks can vouch for Ray and the replicas.
        speaking = [row for row in pipelines if row.age_s <= self.settings.silent_s and not is_shadow(row.pipeline)]
        nodes = max((row.ray_nodes for row in speaking), default=0)
        replicas = sum(max(row.replicas, 0) for row in speaking)
        return Ops(
            time_ms=now_ms,
            healthy=health.healthy,
            reasons=health.reasons,
            broker=broker,
            parts=[
                Part(name="broker", ok=broker.reachable, text=broker.text),
                Part(name="ray", ok=nodes > 0 if speaking else None, text=_vouched(speaking, nodes, "node", "alive")),
                Part(
                    name="replicas",
                    ok=replicas > 0 if speaking else None,
                    text=_vouched(speaking, replicas, "replica", "can predict"),
                ),
                Part(name="gateway", ok=broker.ready, text="ready" if broker.ready else "reading the topics back"),
            ],
            pipelines=pipelines,
            gateway=GatewayOps(
                started_ms=self.started_ms,
                matches=len(self),
                live=sum(not match.over for match in self._matches.values()),
                streams=streams.open,
                slow_clients=streams.slow_clients,
                bad_records=self.bad_records,
            ),
        )

    def _admit(self, match_id: str, heading: Heading, time_ms: int) -> Match:
        match = self._matches.get(match_id)
        if match is None:
            settings = self.settings
            match = Match(match_id, settings.max_points, settings.max_events, time_ms, time_ms, heading)
            self._matches[match_id] = match
            self._touch([match_id])
        return match

    def _view(self, now_ms: int) -> PipelineView:
        return pipeline_view(self.pipelines.answering, MATCH_EVENTS.name, now_ms)

    def _judge(self, match_ids: Iterable[str], now_ms: int) -> None:
        view = self._view(now_ms)
        for match_id in match_ids:
            self._judged(self._matches[match_id], view, now_ms)
        self._touch(match_ids)

    def _judged(self, match: Match, view: PipelineView, now_ms: int) -> tuple[object, ...]:
        match.fresh = freshness(
            status=match.status,
            origin=match.heading.origin,
            flags=match.flags,
            model_version=match.weights.version if match.weights else "",
            last_word_ms=match.last_word_ms,
            view=view,
            now_ms=now_ms,
            delayed_s=self.settings.delayed_s,
        )
        state, delay_s, causes = match.fresh
        match.shown = (state, causes, int(delay_s) if state == "delayed" else 0)
        return match.shown

    def _touch(self, match_ids: Iterable[str]) -> None:
        for match_id in match_ids:
            self.revision += 1
            self._matches[match_id].revision = self.revision
            self._matches.move_to_end(match_id)

    def _evict(self) -> None:
        settings = self.settings
        while len(self._matches) > settings.max_matches or self._points > settings.max_points_total:
            # Changed longest ago first: finished ones before all others, and ones without an answer, which may be
            # no matches at all, before those that somebody watches.
            kept = self._matches.values()
            finished = next((match for match in kept if match.over), None)
            unanswered = next((match for match in kept if not match.answers), None)
            self._drop(finished or unanswered or next(iter(kept)))

    def _drop(self, match: Match) -> None:
        del self._matches[match.id]
        self._points -= len(match.answers)

    def _unanswered(self, now_ms: int) -> int:
        old_ms = now_ms - round(self.settings.stuck_s * 1000)
        return sum(not match.answers and match.first_ms < old_ms for match in self._matches.values())


def _rank(match: Match, order: Order) -> float:
    newest = match.newest
    if newest is None:
        return float("inf")
    if match.over:
        return -newest.emit_time_ms  # finished: the last one first
    return abs(newest.p - 0.5) if order == "closest" else -abs(newest.delta_p)


def _vouched(speaking: Sequence[object], count: int, thing: str, can: str) -> str:
    if not speaking:
        return "unknown: no pipeline reports"
    return f"{count} {thing}{'' if count == 1 else 's'} {can}"
