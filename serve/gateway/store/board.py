"""What the gateway knows of the store: the bounded, in-memory core. No clock, no Kafka, no HTTP.

One owner: every call comes from the event loop of the gateway. Metrics and alerts keep their order by partition, so
that a stream goes on from a position; the newest frame of each camera is all that is kept of who is where.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from serve.gateway.broker import BrokerHealth
from serve.gateway.match import Message
from serve.gateway.position import Mark, StorePosition
from serve.gateway.settings import GatewaySettings
from serve.gateway.store.covering import boxes_at
from serve.gateway.store.rows import Box, Correction, MetricRow, Seen
from serve.gateway.store.schemas import AlertEntry, CameraView, Metric
from streaming.store.plan import MAX_THINGS
from streaming.topics import PERSON_SIGHTINGS, STORE_ALERTS, STORE_METRICS

TOPICS = (STORE_METRICS.name, STORE_ALERTS.name, PERSON_SIGHTINGS.name)
CHANGED = "\x00store"
"""The bell of the store; no match has this id."""
_FRAMES_KNOWN = 128  # of a camera, whose people are known: four seconds at 30 a second


class StoreBoard:
    """Times are passed in, UTC milliseconds."""

    def __init__(self, settings: GatewaySettings, started_ms: int) -> None:
        self.settings = settings
        self.broker = BrokerHealth(frozenset(TOPICS), started_ms)
        self.bad_records = 0
        self.last_word_ms = started_ms  # emit time of the newest metric
        self.views: dict[str, CameraView] = {}
        self.views_revision: dict[str, int] = {}  # camera → count of changes when its view last changed
        self.revision = 0
        self.embedding = ""
        self._known: dict[str, deque[Seen]] = {}
        self._metrics: dict[str, dict[int, MetricRow]] = {}  # zone → window → the row that holds
        self._log: dict[int, dict[int, MetricRow]] = {}  # partition → offset → the rows that hold, as they came
        self._alerts: deque[tuple[Mark, AlertEntry]] = deque()
        self._seen = StorePosition()
        self._dropped = StorePosition()  # the newest rows that are no longer kept, of each partition
        self._count = 0

    @property
    def position(self) -> StorePosition:
        """Of a client that has seen all of this."""
        return self._seen

    def apply_metrics(self, rows: Sequence[MetricRow]) -> set[str]:
        """Take in rows of one partition, in offset order."""
        for row in rows:
            if row.mark.offset <= (seen := self._seen.metric_of(row.mark.partition)):
                continue
            if seen < 0 < row.mark.offset:  # reading began here: what is before was never kept
                self._dropped = self._dropped.after_metric(Mark(row.mark.partition, row.mark.offset - 1))
            self._seen = self._seen.after_metric(row.mark)
            windows = self._metrics.setdefault(row.zone_id, {})
            held = windows.get(row.start_ms)
            if held is not None and held.revision > row.revision:
                continue
            if held is not None:
                self._forget(held)
            windows[row.start_ms] = row
            self._log.setdefault(row.mark.partition, {})[row.mark.offset] = row
            self._count += 1
            self.last_word_ms = max(self.last_word_ms, row.emit_ms)
        while self._count > self.settings.max_store_rows:
            self._drop(min((next(iter(log.values())) for log in self._log.values() if log), key=_emitted))
        return {CHANGED} if rows else set()

    def apply_alerts(self, rows: Sequence[tuple[Mark, AlertEntry]]) -> set[str]:
        """Take in alerts of one partition, in offset order."""
        for mark, alert in rows:
            if mark.offset <= (seen := self._seen.alert_of(mark.partition)):
                continue
            if seen < 0 < mark.offset:
                self._dropped = self._dropped.after_alert(Mark(mark.partition, mark.offset - 1))
            self._seen = self._seen.after_alert(mark)
            self._alerts.append((mark, alert))
            if len(self._alerts) > self.settings.max_store_alerts:
                self._dropped = self._dropped.after_alert(self._alerts.popleft()[0])
        return {CHANGED} if rows else set()

    def apply_sightings(self, rows: Sequence[Seen | Correction], now_ms: int) -> set[str]:
        """Take in who is where; an older frame of a camera than the one known changes nothing."""
        for row in rows:
            if isinstance(row, Correction):
                self._correct(row)
                continue
            if row.camera_id not in self.views and len(self.views) >= MAX_THINGS:
                continue
            self._known.setdefault(row.camera_id, deque(maxlen=_FRAMES_KNOWN)).append(row)
            view = self.views.get(row.camera_id)
            if view is not None and row.captured_ms < view.captured_ms and now_ms - view.heard_ms < 10_000:
                continue  # but a clock that was set back is believed in the end
            same = view is not None and (view.captured_ms, view.frame) == (row.captured_ms, row.frame)
            self.embedding = row.embedding
            people = {person.track_id: person for person in (*(view.people if same and view else ()), *row.people)}
            self._view(
                CameraView(
                    camera_id=row.camera_id,
                    captured_ms=row.captured_ms,
                    frame=row.frame,
                    heard_ms=now_ms,
                    covered=row.covered,
                    people=list(people.values()),
                )
            )
        return {CHANGED} if rows else set()

    def tick(self, now_ms: int) -> None:
        """Let time pass: forget what is too old."""
        horizon_ms = now_ms - round(self.settings.store_history_s * 1000)
        for log in self._log.values():
            for row in list(islice((row for row in log.values()), 512)):
                if row.emit_ms >= horizon_ms:
                    break
                self._drop(row)

    def boxes_around(self, camera_id: str, captured_ms: int, frame: int, span_ms: int) -> list[Box] | None:
        """Where heads may be in a frame, by what was told of so long before and after it; None while not all of that
        has been told."""
        known = self._known.get(camera_id, ())
        told = False
        for seen in known:  # as they were told: a clock that was set back shows no frame early
            told = told or (seen.captured_ms, seen.frame) == (captured_ms, frame)
            if told and seen.captured_ms >= captured_ms + span_ms:
                return boxes_at(known, captured_ms, span_ms)
        return None

    def newest(self, zone_ids: Iterable[str]) -> list[Metric]:
        """The newest window of each of these places that has one."""
        found = [self._metrics.get(zone_id) for zone_id in zone_ids]
        return [metric_of(windows[max(windows)]) for windows in found if windows]

    def rows(self, zone_id: str, since_ms: int, until_ms: int | None = None) -> Iterator[MetricRow]:
        """The rows that hold of one place, of windows that begin in [since, until)."""
        for row in self._metrics.get(zone_id, {}).values():
            if row.start_ms >= since_ms and (until_ms is None or row.start_ms < until_ms):
                yield row

    def newest_end_ms(self, zone_id: str) -> int | None:
        """Where the newest window of a place ends."""
        windows = self._metrics.get(zone_id)
        return windows[max(windows)].end_ms if windows else None

    def alerts(self, limit: int) -> list[AlertEntry]:
        """Newest first."""
        return [alert for _, alert in islice(reversed(self._alerts), limit)]

    def missed(self, position: StorePosition) -> str | None:
        """Why a client at this position cannot be served without a gap, in words; None when it can."""
        if position.beyond(self._seen):
            return f"position {position} is not on this log"
        if position != StorePosition() and self._dropped.beyond(position):
            return f"position {position} is older than what is kept"
        return None

    def after(self, position: StorePosition, limit: int) -> list[Message]:
        """The next messages for a client at this position, about `limit` of them, each with the position after it."""
        messages: list[Message] = []
        for partition, log in sorted(self._log.items()):
            seen = position.metric_of(partition)
            # What is new stands at the end: from there back to what was seen.
            news: list[MetricRow] = []
            for row in reversed(log.values()):
                if row.mark.offset <= seen:
                    break
                news.append(row)
            for row in reversed(news[-limit:]):
                position = position.after_metric(row.mark)
                messages.append(Message("metric", metric_of(row), position))
        for mark, alert in self._alerts:
            if mark.offset > position.alert_of(mark.partition):
                position = position.after_alert(mark)
                messages.append(Message("alert", alert, position))
        return messages

    def _view(self, view: CameraView) -> None:
        self.revision += 1
        self.views[view.camera_id] = view
        self.views_revision[view.camera_id] = self.revision

    def _correct(self, row: Correction) -> None:
        for view in list(self.views.values()):
            if row.camera_id is not None and view.camera_id != row.camera_id:
                continue
            people = [
                person.model_copy(update={"person_id": row.new})
                if person.person_id == row.old and row.track_id in (None, person.track_id)
                else person
                for person in view.people
            ]
            if people != view.people:
                self._view(view.model_copy(update={"people": people}))

    def _forget(self, row: MetricRow) -> None:
        del self._log[row.mark.partition][row.mark.offset]
        self._count -= 1

    def _drop(self, row: MetricRow) -> None:
        self._forget(row)
        del self._metrics[row.zone_id][row.start_ms]
        if not self._metrics[row.zone_id]:
            del self._metrics[row.zone_id]
        self._dropped = self._dropped.after_metric(row.mark)


def metric_of(row: MetricRow) -> Metric:
    """A row as it is told; cells of the heat map are told apart."""
    return Metric(
        id=str(row.mark),
        zone_id=row.zone_id,
        kind=row.kind,
        window_start_ms=row.start_ms,
        window_end_ms=row.end_ms,
        revision=row.revision,
        labels=list(row.labels),
        counts=list(row.counts),
        **row.told(),
    )


def _emitted(row: MetricRow) -> int:
    return row.emit_ms
