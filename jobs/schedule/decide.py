"""What is to happen now: a pure function of the time, the schedules, the runs so far and what was seen outside.

    queued ─► submitting ─► running ─► succeeded
      ▲           ▲ │          │ ├───► refused          a gate said no: another attempt would hear the same
      │           │ │          │ └───► failed           no attempt is left
      │           │ └──────────┴─► waiting ─► submitting  after a back-off
    a cause       └ stopping (its time is up), replacing (the next one wants its place) ─► replaced

An attempt is written down as `submitting` before the submitter hears of it, under a name of its own; whoever finds it
so, after a crash, asks the submitter by that name and submits it if it is not known. So nothing runs twice.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import takewhile

from jobs.schedule.cron import Cron
from jobs.schedule.definition import Schedule
from jobs.schedule.runs import Anchor, Cause, Job, Offsets, Request, Run, State, TopicOffsets

_LONGEST_BACK_OFF_S = 86_400.0
_LOOK_BACK = tuple(timedelta(days=days) for days in (1 / 24, 1, 32, 366))


@dataclass(frozen=True, slots=True)
class Past:
    """What the book holds."""

    open: Sequence[Run] = ()  # oldest first
    anchors: Mapping[str, Anchor] = field(default_factory=dict)
    ended_ms: Mapping[str, int] = field(default_factory=dict)  # schedule → end of the last run that ran
    bases: Mapping[tuple[str, str], Offsets] = field(default_factory=dict)  # schedule, topic → ends at the last success
    asked: Sequence[Request] = ()


@dataclass(frozen=True, slots=True)
class Seen:
    """What was found outside. What could not be asked is missing, and nothing follows from it."""

    topics: Mapping[str, TopicOffsets] = field(default_factory=dict)
    alerts: Mapping[str, Sequence[str]] = field(default_factory=dict)  # by pipeline
    jobs: Mapping[str, Job] = field(default_factory=dict)  # by attempt


@dataclass(slots=True)
class Plan:
    """What to write into the book, as one."""

    begun: list[Run] = field(default_factory=list)
    changed: list[Run] = field(default_factory=list)
    anchors: dict[str, Anchor] = field(default_factory=dict)
    taken: list[Request] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.begun or self.changed or self.anchors or self.taken)


def decide(now_ms: int, schedules: Mapping[str, Schedule], past: Past, seen: Seen) -> Plan:
    """Everything that follows from these; nothing where nothing does."""
    plan = Plan()
    for run in past.open:
        if run.schedule not in schedules:
            _note(plan, run, _without_schedule(run, now_ms, seen))
    plan.taken += [request for request in past.asked if request.schedule not in schedules]
    for name, schedule in schedules.items():
        before = [run for run in past.open if run.schedule == name]
        queue = [_advanced(run, schedule, now_ms, seen) for run in before]
        for cause in _causes(name, schedule, now_ms, past, plan):
            queue = _joined(queue, cause, schedule, now_ms)
        if not schedule.suspended and not any(run.state.is_open for run in queue):
            queue += _by_level(name, schedule, now_ms, past, queue, seen)
        queue = _started(queue, schedule, now_ms, seen)
        for old, new in zip(before, queue, strict=False):
            _note(plan, old, new)
        plan.begun += queue[len(before) :]
    return plan


def _note(plan: Plan, old: Run, new: Run) -> None:
    if new != old:
        plan.changed.append(new)


def _advanced(run: Run, schedule: Schedule, now_ms: int, seen: Seen) -> Run:
    """An open run after what its job is seen to do."""
    if not run.state.is_submitted:
        return run
    job = seen.jobs.get(run.attempt_id)
    if job is not None:
        if job.state == "succeeded":
            begins = run.attempt == 1 and run.state in (State.SUBMITTING, State.RUNNING)
            return replace(run, state=State.SUCCEEDED, ended_ms=now_ms, reason=run.reason if begins else "")
        if job.state == "refused":
            return replace(run, state=State.REFUSED, ended_ms=now_ms, reason=job.reason)
        if run.state is State.REPLACING:
            return run if job.state == "running" else replace(run, state=State.REPLACED, ended_ms=now_ms)
        if job.state == "failed" or (job.state == "unknown" and run.state is not State.SUBMITTING):
            why = run.reason if run.state is State.STOPPING else job.reason or "its job is not known any more"
            return _failed(run, schedule, now_ms, why)
        if job.state == "running" and run.state is State.SUBMITTING:
            run = replace(run, state=State.RUNNING)
    limit_s, since_ms = schedule.time_limit_s, run.submitted_ms or now_ms
    if limit_s is not None and now_ms - since_ms >= limit_s * 1000 and run.state in (State.SUBMITTING, State.RUNNING):
        return replace(run, state=State.STOPPING, reason=f"over its time limit of {limit_s:g} s")
    return run


def _failed(run: Run, schedule: Schedule, now_ms: int, why: str) -> Run:
    if run.attempt > schedule.retries:
        return replace(run, state=State.FAILED, ended_ms=now_ms, reason=why)
    wait_s = min(schedule.back_off_s * 2.0 ** (run.attempt - 1), _LONGEST_BACK_OFF_S)
    return replace(run, state=State.WAITING, not_before_ms=now_ms + round(wait_s * 1000), reason=why)


def _without_schedule(run: Run, now_ms: int, seen: Seen) -> Run:
    """A run whose schedule has left the file is watched to its end; nothing more is begun for it."""
    gone = "the settings do not have this schedule any more"
    job = seen.jobs.get(run.attempt_id)
    if not run.state.is_submitted or (run.state is State.SUBMITTING and job is not None and job.state == "unknown"):
        return replace(run, state=State.FAILED, ended_ms=now_ms, reason=gone)
    if job is None or job.state == "running":
        return run
    if job.state == "succeeded":
        return replace(run, state=State.SUCCEEDED, ended_ms=now_ms, reason="")
    state = State.REFUSED if job.state == "refused" else State.FAILED
    return replace(run, state=state, ended_ms=now_ms, reason=job.reason or run.reason or gone)


def _causes(name: str, schedule: Schedule, now_ms: int, past: Past, plan: Plan) -> Iterator[Run]:
    """Runs that were asked for, and the one for the latest cron time that is not dealt with."""
    for request in past.asked:
        if request.schedule == name:
            plan.taken.append(request)
            yield _run(name, "asked", request.asked_ms, f"asked-{request.number}")
    times = schedule.times
    if times is None:
        return
    anchor = past.anchors.get(name)
    if anchor is None or (anchor.cron, anchor.zone) != (times.expression, times.zone):
        plan.anchors[name] = Anchor(times.expression, times.zone, now_ms)  # times of before it was known do not count
        return
    time = latest(times, anchor.at_ms, now_ms)
    if time is None:
        return
    due_ms = _ms(time)
    plan.anchors[name] = replace(anchor, at_ms=due_ms)
    if schedule.suspended:
        return
    run = _run(name, "cron", due_ms)
    if now_ms - due_ms > schedule.grace_s * 1000:
        run = replace(run, state=State.MISSED, ended_ms=now_ms, reason="no scheduler was there at its time")
    yield run


def latest(times: Cron, after_ms: int, until_ms: int) -> datetime | None:
    """The last of the times after one and until another; None if there is none."""
    after, until = _moment(after_ms), _moment(until_ms)
    for begin in (*(until - span for span in _LOOK_BACK if until - span > after), after):
        found = list(takewhile(lambda time: time <= until, times.after(begin)))
        if found:  # not all of a year of minutes, if the last hour has some
            return found[-1]
    return None


def _by_level(
    name: str, schedule: Schedule, now_ms: int, past: Past, queue: Sequence[Run], seen: Seen
) -> Sequence[Run]:
    """A run because enough is new, or because the model drifts; both last, so a run must have ended a while ago."""
    ended_ms = max((run.ended_ms for run in queue if run.ended_ms), default=past.ended_ms.get(name))
    if ended_ms is not None and now_ms - ended_ms < schedule.cool_down_s * 1000:
        return []
    alerts = seen.alerts.get(schedule.drift or "", ())
    if alerts:
        return [replace(_run(name, "drift", now_ms), reason=alerts[0])]
    topic = seen.topics.get(schedule.topic)
    if schedule.events is None or topic is None:
        return []
    more = topic.since(past.bases.get((name, schedule.topic)))
    return [replace(_run(name, "events", now_ms), reason=f"{more:,} more")] if more >= schedule.events else []


def _joined(queue: list[Run], run: Run, schedule: Schedule, now_ms: int) -> list[Run]:
    """The runs of a schedule with one more, as its overlap policy has it."""
    ahead = [other for other in queue if other.state.is_open]
    if not run.state.is_open or not ahead:
        return [*queue, run]
    if schedule.overlap == "replace":
        return [*(_replaced(other, run, now_ms) for other in queue), run]
    queued = [other for other in ahead if other.state is State.QUEUED]
    if schedule.overlap == "queue" and not queued:
        return [*queue, run]
    why = f"{queued[0].run_id} is queued already" if queued else f"{ahead[0].run_id} is {ahead[0].state}"
    return [*queue, replace(run, state=State.SKIPPED, ended_ms=now_ms, reason=why)]


def _replaced(run: Run, by: Run, now_ms: int) -> Run:
    why = f"replaced by {by.run_id}"
    if run.state.is_submitted:
        return replace(run, state=State.REPLACING, reason=why)
    return replace(run, state=State.REPLACED, ended_ms=now_ms, reason=why) if run.state.is_open else run


def _started(queue: list[Run], schedule: Schedule, now_ms: int, seen: Seen) -> list[Run]:
    """With the first of the runs submitted, where nothing stands before it."""
    for place, run in enumerate(queue):
        if run.state.is_open:
            if run.state is State.QUEUED or (run.state is State.WAITING and now_ms >= run.not_before_ms):
                topic = seen.topics.get(schedule.topic) if schedule.events is not None and run.ends is None else None
                if topic is not None and run.attempt == 0:
                    run = replace(run, topic=schedule.topic, ends=dict(topic.ends))
                run = replace(run, state=State.SUBMITTING, attempt=run.attempt + 1, submitted_ms=now_ms)
            return [*queue[:place], run, *queue[place + 1 :]]
    return queue


def _run(name: str, cause: Cause, due_ms: int, mark: str = "") -> Run:
    when = f"{_moment(due_ms):%Y%m%dt%H%M%Sz}"
    return Run(f"{name}-{mark or (when if cause == 'cron' else f'{cause}-{when}')}", name, cause, due_ms, State.QUEUED)


def _moment(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)


def _ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)
