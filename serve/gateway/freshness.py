"""How far behind the truth a match may be, and the one word for it. Pure.

A pipeline that reported at time t that its oldest unanswered event was L seconds old had answered all that was known at
t − L. So what is shown was right at the newest of that moment and the newest answer's emit time; the delay is the age
of that moment. It grows whenever the pipeline falls behind, goes silent or cannot be heard, whatever the cause.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from serve.gateway.schemas import Cause, PipelineReport, State
from streaming.features.guard import BASELINE_SUFFIX, DEGRADED

_ANSWERS_BADLY = frozenset({"starting", "waiting", "failed", "stopped"})
_STARTING_SAID_WITHIN_MS = 15_000  # it reports every second; one that was killed meanwhile starts no more


class Freshness(NamedTuple):
    """The word, the seconds and the causes of every payload."""

    state: State
    delay_s: float
    causes: tuple[Cause, ...] = ()


UNJUDGED = Freshness("live", 0.0)


class PipelineView(NamedTuple):
    """What the pipelines over one topic together say about its answers."""

    known_ms: int | None  # all events before this moment were answered; None when none has ever reported
    trouble: Cause | None  # what keeps it from answering, by the newest report


NOTHING_REPORTED = PipelineView(known_ms=None, trouble=None)


def pipeline_view(reports: Iterable[PipelineReport], topic: str, now_ms: int) -> PipelineView:
    """The view over the newest reports (one a pipeline) of those that read this topic."""
    readers = [report for report in reports if report.source_topic == topic]
    if not readers:
        return NOTHING_REPORTED
    known_ms = max(report.time_ms - round(report.lag_s * 1000) for report in readers)
    newest = max(readers, key=lambda report: report.time_ms)
    if newest.state == "starting" and now_ms - newest.time_ms < _STARTING_SAID_WITHIN_MS:
        return PipelineView(known_ms, "starting")
    return PipelineView(known_ms, "pipeline" if newest.state in _ANSWERS_BADLY or newest.replicas == 0 else None)


def answer_causes(flags: str, model_version: str) -> tuple[Cause, ...]:
    """What is wrong with an answer as such, whatever its age: from its warnings and the version that made it."""
    warnings = flags.split()
    causes: list[Cause] = []
    if DEGRADED in warnings or model_version.endswith(BASELINE_SUFFIX):
        causes.append("baseline")
    if "contributions-broken" in warnings:
        causes.append("sums")
    return tuple(causes)


def freshness(
    *,
    status: str,
    origin: str,
    flags: str,
    last_word_ms: int,
    view: PipelineView,
    now_ms: int,
    delayed_s: float,
    model_version: str = "",
) -> Freshness:
    """`last_word_ms` is when the newest answer of the match was emitted, or, before it, when the match was first
    heard of.
    """
    causes = answer_causes(flags, model_version)
    if status != "live":
        return Freshness("ended", 0.0, causes)
    if view.trouble is not None:
        causes = (*causes, view.trouble)
    known_ms = last_word_ms if view.known_ms is None else max(last_word_ms, view.known_ms)
    delay_s = round(max(0, now_ms - known_ms) / 1000, 1)
    if delay_s >= delayed_s:
        return Freshness("delayed", delay_s, causes)
    if causes:
        return Freshness("degraded", delay_s, causes)
    if origin == "replay":
        return Freshness("replay", delay_s)
    if origin == "simulated":
        return Freshness("simulated", delay_s)
    return Freshness("live", delay_s)
