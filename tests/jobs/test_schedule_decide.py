"""What is due, from time, runs and what was seen: single cases worked out by hand, and simulated months."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import takewhile

from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.schedule.cron import Cron
from jobs.schedule.decide import Past, Plan, Seen, decide, latest
from jobs.schedule.definition import Overlap, Schedule
from jobs.schedule.runs import Anchor, Job, Request, Run, State, TopicOffsets

HOUR_MS = 3_600_000
NOON_MS = round(datetime(2026, 11, 22, 12, tzinfo=UTC).timestamp() * 1000)
HOURLY = Schedule(command="train", cron="0 * * * *")
ANCHOR = {"a": Anchor("0 * * * *", "UTC", NOON_MS)}


def only(plan: Plan) -> Run:
    (run,) = [*plan.begun, *plan.changed]
    return run


def open_run(state: State, attempt: int = 1, submitted_ms: int | None = NOON_MS, **more: object) -> Run:
    return replace(Run("a-1", "a", "cron", NOON_MS, state, attempt, 0, submitted_ms), **more)  # type: ignore[arg-type]


def after(schedule: Schedule, run: Run, job: Job | None, now_ms: int = NOON_MS + 60_000) -> Run:
    seen = Seen(jobs={run.attempt_id: job} if job else {})
    plan = decide(now_ms, {"a": schedule}, Past(open=[run], anchors=ANCHOR), seen)
    return only(plan) if plan else run


def test_a_schedule_seen_for_the_first_time_waits_for_its_next_time() -> None:
    first = decide(NOON_MS + 1, {"a": HOURLY}, Past(), Seen())
    assert not first.begun and first.anchors == {"a": Anchor("0 * * * *", "UTC", NOON_MS + 1)}
    early = decide(NOON_MS + HOUR_MS - 1, {"a": HOURLY}, Past(anchors=first.anchors), Seen())
    assert not early
    run = only(decide(NOON_MS + HOUR_MS, {"a": HOURLY}, Past(anchors=first.anchors), Seen()))
    assert (run.run_id, run.state, run.attempt) == ("a-20261122t130000z", State.SUBMITTING, 1)


def test_another_expression_or_zone_does_not_make_up_for_times_it_never_had() -> None:
    now_ms = NOON_MS + HOUR_MS + 1
    for changed in (Schedule(command="x", cron="30 * * * *"), HOURLY.model_copy(update={"zone": "Europe/Berlin"})):
        assert not decide(now_ms, {"a": changed}, Past(anchors=ANCHOR), Seen()).begun


def test_missed_times_are_made_up_for_once_and_within_the_grace() -> None:
    soon = decide(NOON_MS + 5 * HOUR_MS + 60_000, {"a": HOURLY}, Past(anchors=ANCHOR), Seen())
    assert (only(soon).state, only(soon).due_ms) == (State.SUBMITTING, NOON_MS + 5 * HOUR_MS)
    daily = Schedule(command="train", cron="0 13 * * *", grace_s=3600)
    anchors = {"a": Anchor("0 13 * * *", "UTC", NOON_MS)}
    in_time = decide(NOON_MS + 2 * HOUR_MS, {"a": daily}, Past(anchors=anchors), Seen())
    late = decide(NOON_MS + 2 * HOUR_MS + 1, {"a": daily}, Past(anchors=anchors), Seen())
    assert (only(in_time).state, only(late).state) == (State.SUBMITTING, State.MISSED)
    assert late.anchors["a"].at_ms == NOON_MS + HOUR_MS


def test_a_clock_set_back_starts_nothing_again() -> None:
    assert not decide(NOON_MS - 3 * HOUR_MS, {"a": HOURLY}, Past(anchors=ANCHOR), Seen())


def test_a_suspended_schedule_starts_only_by_hand_and_makes_up_for_nothing() -> None:
    off = HOURLY.model_copy(update={"suspended": True, "drift": "p"})
    plan = decide(NOON_MS + HOUR_MS, {"a": off}, Past(anchors=ANCHOR), Seen(alerts={"p": ["adrift"]}))
    assert not plan.begun and plan.anchors["a"].at_ms == NOON_MS + HOUR_MS
    asked = decide(NOON_MS, {"a": off}, Past(anchors=ANCHOR, asked=[Request(7, "a", NOON_MS)]), Seen())
    assert (only(asked).run_id, only(asked).state, asked.taken) == (
        "a-asked-7",
        State.SUBMITTING,
        [Request(7, "a", NOON_MS)],
    )


def test_an_attempt_is_submitted_runs_and_succeeds() -> None:
    run = open_run(State.SUBMITTING)
    assert after(HOURLY, run, Job("unknown")) == after(HOURLY, run, None) == run  # to be submitted, again if need be
    running = after(HOURLY, run, Job("running"))
    assert running.state is State.RUNNING
    done = after(HOURLY, running, Job("succeeded"))
    assert (done.state, done.ended_ms) == (State.SUCCEEDED, NOON_MS + 60_000)


def test_retries_back_off_and_end() -> None:
    schedule = HOURLY.model_copy(update={"retries": 2, "back_off_s": 30.0})
    run = after(schedule, open_run(State.RUNNING), Job("failed", "no memory"))
    assert (run.state, run.not_before_ms, run.reason) == (State.WAITING, NOON_MS + 60_000 + 30_000, "no memory")
    assert after(schedule, run, None, NOON_MS + 89_999) == run
    run = after(schedule, run, None, NOON_MS + 90_000)
    assert (run.state, run.attempt, run.submitted_ms) == (State.SUBMITTING, 2, NOON_MS + 90_000)
    run = after(schedule, run, Job("failed"), NOON_MS + 100_000)
    assert run.not_before_ms == NOON_MS + 100_000 + 60_000  # twice as long
    last = after(schedule, replace(run, state=State.RUNNING, attempt=3), Job("failed", "again"))
    assert (last.state, last.reason, last.ended_ms) == (State.FAILED, "again", NOON_MS + 60_000)


def test_a_verdict_against_is_no_failure_and_not_asked_for_again() -> None:
    schedule = HOURLY.model_copy(update={"retries": 2})
    for state in (State.SUBMITTING, State.RUNNING, State.STOPPING):
        run = after(schedule, open_run(state), Job("refused", "m@2: the gate refused it"))
        assert (run.state, run.reason, run.ended_ms) == (State.REFUSED, "m@2: the gate refused it", NOON_MS + 60_000)
    assert not run.state.is_open


def test_a_job_that_the_cluster_has_forgotten_has_failed() -> None:
    run = after(HOURLY, open_run(State.RUNNING), Job("unknown"))
    assert (run.state, run.reason) == (State.FAILED, "its job is not known any more")


def test_the_time_limit_stops_an_attempt_which_then_counts_as_failed() -> None:
    schedule = HOURLY.model_copy(update={"time_limit_s": 60.0})
    run = open_run(State.RUNNING)
    assert after(schedule, run, Job("running"), NOON_MS + 59_999) == run
    stopping = after(schedule, run, Job("running"))
    assert (stopping.state, stopping.reason) == (State.STOPPING, "over its time limit of 60 s")
    assert after(schedule, stopping, Job("running")) == stopping
    assert after(schedule, stopping, None) == stopping  # the cluster is away
    ended = after(schedule, stopping, Job("failed", "killed"))
    assert (ended.state, ended.reason) == (State.FAILED, "over its time limit of 60 s")
    assert after(schedule, stopping, Job("succeeded")).state is State.SUCCEEDED  # it was quicker than the stop
    assert after(schedule, open_run(State.SUBMITTING), None).state is State.STOPPING  # the limit holds there, too


def overlapping(overlap: Overlap, *queue: Run) -> dict[str, Run]:
    schedule = HOURLY.model_copy(update={"overlap": overlap})
    seen = Seen(jobs={run.attempt_id: Job("running") for run in queue})
    plan = decide(NOON_MS + HOUR_MS, {"a": schedule}, Past(open=queue, anchors=ANCHOR), seen)
    return {run.run_id: run for run in (*queue, *plan.begun, *plan.changed)}


def test_a_time_while_a_run_is_on_is_skipped_queued_or_replaces_it() -> None:
    new, running = "a-20261122t130000z", open_run(State.RUNNING)
    skipped = overlapping("skip", running)
    assert (skipped["a-1"], skipped[new].state, skipped[new].reason) == (running, State.SKIPPED, "a-1 is running")
    queued = overlapping("queue", running)
    assert (queued["a-1"], queued[new].state, queued[new].attempt) == (running, State.QUEUED, 0)
    replaced = overlapping("replace", running)
    assert (replaced["a-1"].state, replaced[new].state) == (State.REPLACING, State.QUEUED)


def test_the_queue_has_one_place() -> None:
    waiting = Run("a-2", "a", "cron", NOON_MS, State.QUEUED)
    queued = overlapping("queue", open_run(State.RUNNING), waiting)["a-20261122t130000z"]
    assert (queued.state, queued.reason) == (State.SKIPPED, "a-2 is queued already")
    replaced = overlapping("replace", open_run(State.REPLACING), waiting)
    assert (replaced["a-2"].state, replaced["a-20261122t130000z"].state) == (State.REPLACED, State.QUEUED)


def test_what_waits_for_a_retry_is_replaced_at_once() -> None:
    runs = overlapping("replace", open_run(State.WAITING, not_before_ms=NOON_MS + 9 * HOUR_MS))
    assert (runs["a-1"].state, runs["a-20261122t130000z"].state) == (State.REPLACED, State.SUBMITTING)


def test_the_queued_run_starts_when_the_one_before_it_has_ended() -> None:
    queue = [open_run(State.RUNNING), Run("a-2", "a", "cron", NOON_MS, State.QUEUED)]
    plan = decide(NOON_MS, {"a": HOURLY}, Past(open=queue, anchors=ANCHOR), Seen(jobs={"a-1-1": Job("succeeded")}))
    assert [(run.run_id, run.state) for run in plan.changed] == [("a-1", State.SUCCEEDED), ("a-2", State.SUBMITTING)]


def test_a_run_whose_schedule_is_gone_is_watched_to_its_end_and_nothing_more() -> None:
    def gone(run: Run, job: Job | None) -> Run:
        plan = decide(NOON_MS, {}, Past(open=[run]), Seen(jobs={run.attempt_id: job} if job else {}))
        return only(plan) if plan else run

    running = open_run(State.RUNNING)
    assert gone(running, Job("running")) == gone(running, None) == running
    assert gone(running, Job("succeeded")).state is State.SUCCEEDED
    assert gone(running, Job("failed", "why")).reason == "why"
    assert gone(running, Job("refused", "no")).state is State.REFUSED
    for state in (State.QUEUED, State.WAITING):
        assert gone(open_run(state), None).state is State.FAILED
    assert gone(open_run(State.SUBMITTING), Job("unknown")).state is State.FAILED
    assert decide(NOON_MS, {}, Past(asked=[Request(1, "b", 0)]), Seen()).taken == [Request(1, "b", 0)]


COUNTING = Schedule(command="train", events=100, cool_down_s=600)


def counted(ends: dict[int, int], base: dict[int, int] | None, **past: object) -> Plan:
    bases = {("a", "match.events"): base} if base is not None else {}
    seen = Seen(topics={"match.events": TopicOffsets(dict.fromkeys(ends, 10), ends)})
    return decide(NOON_MS, {"a": COUNTING}, Past(bases=bases, **past), seen)  # type: ignore[arg-type]


def test_enough_new_events_since_the_last_success_start_a_run_which_remembers_where_it_began() -> None:
    assert not counted({0: 60, 1: 59}, None)  # 50 and 49 since the beginning
    run = only(counted({0: 60, 1: 60}, None))
    assert (run.cause, run.reason, run.topic, run.ends) == ("events", "100 more", "match.events", {0: 60, 1: 60})
    assert not counted({0: 100, 1: 119}, {0: 60, 1: 60})
    assert counted({0: 100, 1: 120}, {0: 60, 1: 60})
    assert counted({0: 60, 1: 60, 2: 110}, {0: 60, 1: 60})  # a partition more, with 100
    assert not counted({0: 60, 1: 60}, {0: 1000, 1: 60})  # made anew: 50 since its beginning
    assert counted({0: 110, 1: 60}, {0: 1000, 1: 60})  # made anew: 100
    assert not decide(NOON_MS, {"a": COUNTING}, Past(), Seen())  # Kafka is away
    assert not counted({0: 500}, {0: 0}, ended_ms={"a": NOON_MS - 599_999})
    assert counted({0: 500}, {0: 0}, ended_ms={"a": NOON_MS - 600_000})
    assert not counted({0: 500}, {0: 0}, open=[open_run(State.RUNNING)])


def test_an_alarm_that_stands_starts_a_run_and_another_only_after_the_cool_down() -> None:
    schedules = {"a": Schedule(command="train", drift="win-prediction", cool_down_s=600)}
    alarm, other = Seen(alerts={"win-prediction": ["lol: set aside"]}), Seen(alerts={"other": ["x"]})
    run = only(decide(NOON_MS, schedules, Past(), alarm))
    assert (run.cause, run.reason, run.state) == ("drift", "lol: set aside", State.SUBMITTING)
    assert not decide(NOON_MS, schedules, Past(), other) and not decide(NOON_MS, schedules, Past(), Seen())
    assert not decide(NOON_MS, schedules, Past(ended_ms={"a": NOON_MS - 599_999}), alarm)
    ending = decide(NOON_MS, schedules, Past(open=[run]), replace(alarm, jobs={run.attempt_id: Job("succeeded")}))
    assert not ending.begun


@given(
    st.sampled_from(["* * * * *", "*/7 3 * * *", "0 0 1 * *", "0 0 29 2 *", "30 2 * * *"]),
    st.integers(0, 500 * 24 * HOUR_MS),
    st.integers(0, 3 * 24 * HOUR_MS),
)
def test_the_latest_time_is_the_last_of_all_between(expression: str, after_ms: int, span_ms: int) -> None:
    cron = Cron(expression, "Europe/Berlin")
    until = datetime.fromtimestamp((NOON_MS + after_ms + span_ms) / 1000, UTC)
    begin = datetime.fromtimestamp((NOON_MS + after_ms) / 1000, UTC)
    between = list(takewhile(lambda time: time <= until, cron.after(begin)))
    assert latest(cron, NOON_MS + after_ms, NOON_MS + after_ms + span_ms) == (between[-1] if between else None)


def test_the_latest_of_many_years_of_minutes_is_found_at_once() -> None:
    assert latest(Cron("* * * * *"), 0, NOON_MS) == datetime.fromtimestamp(NOON_MS / 1000, UTC)


@dataclass
class World:
    """A book in memory and a cluster that does what it is told; jobs end as the draws say."""

    schedules: dict[str, Schedule]
    ends: list[tuple[str, int]]  # how each attempt ends, and after how long
    runs: dict[str, Run] = field(default_factory=dict)
    anchors: dict[str, Anchor] = field(default_factory=dict)
    jobs: dict[str, tuple[str, int]] = field(default_factory=dict)  # attempt → state, end in ms
    submitted: list[str] = field(default_factory=list)

    def tick(self, now_ms: int, dies: bool) -> None:
        """One round; a scheduler that dies has written and not acted."""
        for attempt, (state, ends_ms) in self.jobs.items():
            if state == "running" and now_ms >= ends_ms:
                self.jobs[attempt] = (self.ends[len(attempt) % len(self.ends)][0], ends_ms)
        past = Past(open=[run for run in self.runs.values() if run.state.is_open], anchors=self.anchors)
        jobs = {r.attempt_id: Job(self.jobs.get(r.attempt_id, ("unknown", 0))[0]) for r in past.open}  # type: ignore[arg-type]
        plan = decide(now_ms, self.schedules, past, Seen(jobs=jobs))
        for run in plan.begun:
            self.runs.setdefault(run.run_id, run)
        self.runs |= {run.run_id: run for run in plan.changed}
        self.anchors |= plan.anchors
        if dies:
            return
        for run in [run for run in self.runs.values() if run.state.is_open]:
            if run.state is State.SUBMITTING and run.attempt_id not in self.jobs:
                self.submitted.append(run.attempt_id)
                lasts_ms = self.ends[len(self.submitted) % len(self.ends)][1]
                self.jobs[run.attempt_id] = ("running", now_ms + lasts_ms)
            elif run.state in (State.STOPPING, State.REPLACING) and run.attempt_id in self.jobs:
                self.jobs[run.attempt_id] = ("failed", now_ms)


@settings(max_examples=60)
@given(
    overlap=st.sampled_from(["skip", "queue", "replace"]),
    retries=st.integers(0, 2),
    limit_s=st.one_of(st.none(), st.integers(60, 6000)),
    ends=st.lists(
        st.tuples(st.sampled_from(["succeeded", "failed"]), st.integers(1, 3 * HOUR_MS)), min_size=1, max_size=5
    ),
    steps=st.lists(st.tuples(st.integers(1, HOUR_MS // 2), st.booleans()), min_size=5, max_size=120),
)
def test_whatever_jobs_do_and_schedulers_die_times_are_accounted_for_and_nothing_runs_beside_itself(
    overlap: Overlap, retries: int, limit_s: int | None, ends: list[tuple[str, int]], steps: list[tuple[int, bool]]
) -> None:
    schedule = Schedule(
        command="train", cron="*/20 * * * *", overlap=overlap, retries=retries, time_limit_s=limit_s, grace_s=7200
    )
    world, now_ms = World({"a": schedule}, ends), NOON_MS
    world.tick(now_ms, False)
    for step_ms, dies in steps:
        now_ms += step_ms
        world.tick(now_ms, dies)
        on = [run for run in world.runs.values() if run.state.is_submitted or run.state is State.WAITING]
        assert len(on) <= 1
        assert sum(state == "running" for state, _ in world.jobs.values()) <= 1
        assert sum(run.state is State.QUEUED for run in world.runs.values()) <= 1
    for _ in range(100):  # a quiet end: no more times, everything comes to an end
        now_ms += HOUR_MS
        world.schedules = {"a": schedule.model_copy(update={"suspended": True})}
        world.tick(now_ms, False)
    assert all(not run.state.is_open for run in world.runs.values())
    assert len(set(world.submitted)) == len(world.submitted)
    for run in world.runs.values():
        assert run.attempt <= retries + 1 and run.due_ms % (20 * 60_000) == 0
        assert run.ended_ms is not None and (run.attempt > 0) == (run.submitted_ms is not None)
        if overlap != "replace" and run.state is State.FAILED:
            assert run.attempt == retries + 1
    if all(step_ms < 20 * 60_000 for step_ms, _ in steps):  # seen often enough, every time has its line
        passed = (NOON_MS + sum(step_ms for step_ms, _ in steps)) // 1_200_000 - NOON_MS // 1_200_000
        assert len(world.runs) == passed
