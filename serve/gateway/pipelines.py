"""What the pipelines say about themselves, and whether that is good enough. Pure.

Healthy means progress: answers flow, or there is nothing to answer. Being up is not enough, and being down is no harm
while nobody asks.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from serve.gateway.rows import Weights
from serve.gateway.schemas import HistoryPoint, PipelineOps, PipelineReport
from streaming.topics import is_shadow

HISTORY_POINTS = 900  # 15 minutes at a report a second
_PIPELINES_KEPT = 64


@dataclass(slots=True)
class _Reported:
    newest: PipelineReport
    history: deque[HistoryPoint] = field(default_factory=lambda: deque(maxlen=HISTORY_POINTS))


class Pipelines:
    """The newest report of every pipeline and a quarter of an hour of its figures."""

    def __init__(self, *, silent_s: float, stuck_s: float) -> None:
        self._silent_s = silent_s
        self._stuck_s = stuck_s
        self._reported: dict[str, _Reported] = {}

    @property
    def reports(self) -> list[PipelineReport]:
        """The newest of each."""
        return [reported.newest for reported in self._reported.values()]

    @property
    def answering(self) -> list[PipelineReport]:
        """The newest of those that somebody waits for: how a shadow is says nothing of what is shown."""
        return [report for report in self.reports if not is_shadow(report.pipeline)]

    def apply(self, reports: Iterable[PipelineReport]) -> None:
        """Take in reports, oldest first; one older than the newest known is passed over."""
        for report in reports:
            reported = self._reported.get(report.pipeline)
            if reported is None:
                reported = self._reported[report.pipeline] = _Reported(report)
                self._drop_surplus()
            elif report.time_ms <= reported.newest.time_ms:
                continue
            reported.newest = report
            reported.history.append(
                HistoryPoint(
                    time_ms=report.time_ms,
                    lag_s=report.lag_s,
                    events_per_s=report.events_per_s,
                    answers_per_s=report.answers_per_s,
                    latency_p99_ms=report.latency_p99_ms,
                )
            )

    def trained_on(self, title: str, weights: Weights) -> str:
        """What these weights were trained on; empty where no pipeline has said."""
        for report in self.reports:
            for model in report.models:
                if model.title == title and model.name == weights.name and model.version == weights.version:
                    return model.trained_on
        return ""

    def trouble(self, report: PipelineReport, newest_source_ms: int, now_ms: int) -> str | None:
        """Why this pipeline makes no progress though there is something to answer, in one line; None when it does.

        Args:
            report: its newest.
            newest_source_ms: record time of the newest record seen on its source topic; 0 where none was seen.
            now_ms: wall clock, UTC.
        """
        age_s = (now_ms - report.time_ms) / 1000
        told = f"pipeline {report.pipeline}: {report.state}" + (f" ({report.reason})" if report.reason else "")
        if age_s > self._silent_s:
            if report.lag_s <= 0 and newest_source_ms <= report.time_ms:
                return None  # it answered all there was, and nothing has come since
            return f"{told}, last word {age_s:.0f} s ago, and events wait on {report.source_topic}"
        moves = report.events_per_s > 0 or report.answers_per_s > 0
        if report.lag_s > self._stuck_s and not moves:
            return f"{told}, no answers flow and the oldest event waits for {report.lag_s:.0f} s"
        return None

    def ops(self, newest_source_ms: Mapping[str, int], now_ms: int, *, with_history: bool) -> list[PipelineOps]:
        """Rows of the ops page, by name."""
        rows = []
        for name in sorted(self._reported):
            report = self._reported[name].newest
            age_s = max(0.0, (now_ms - report.time_ms) / 1000)
            silent = age_s > self._silent_s and report.state != "stopped"
            told = dict(report) | ({"state": "silent"} if silent else {})
            rows.append(
                PipelineOps(
                    **told,
                    healthy=self.trouble(report, newest_source_ms.get(report.source_topic, 0), now_ms) is None,
                    age_s=round(age_s, 1),
                    history=list(self._reported[name].history) if with_history else [],
                )
            )
        return rows

    def _drop_surplus(self) -> None:
        while len(self._reported) > _PIPELINES_KEPT:
            oldest = min(self._reported, key=lambda name: self._reported[name].newest.time_ms)
            del self._reported[oldest]
