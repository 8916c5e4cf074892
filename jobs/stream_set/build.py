"""Build a training set: the shell around `partition` and `days`."""

from __future__ import annotations

import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from jobs.errors import UsageProblem
from jobs.stream_set.manifest import LABEL_RULE, MANIFEST, Manifest, code_digest
from jobs.stream_set.plan import Plan, Request, make_plan

if TYPE_CHECKING:
    from jobs.settings import Settings
    from jobs.stream_set.days import DayDone
    from jobs.stream_set.partition import Day, Tally
    from jobs.stream_set.staging import Staging
    from streaming.codec import Decoder
    from streaming.kafka.source import KafkaSource
    from streaming.topics import Topic

ONE_OUTCOME = "of a title that only one camp won"

_BYTES_A_RECORD = 250  # staged and written, most of it staged
_TASK_RECORDS_PER_S = 100_000  # what a core does, for estimates


@dataclass(frozen=True)
class Progress:
    """How far a build has come."""

    records: int  # read so far, good and bad
    of_records: int
    rows: int  # labelled frames
    finishing: bool  # all is read, days are being written


OnProgress = Callable[[Progress], None]
Say = Callable[[str], None]


def known_topic(name: str) -> Topic:
    """The topic, if there is a model that learns from it.

    Raises:
        UsageProblem: there is none.
    """
    from streaming import topics

    if name != topics.MATCH_EVENTS.name:
        raise UsageProblem(f"--topic {name}: no model learns from it; there is: {topics.MATCH_EVENTS.name}")
    return topics.MATCH_EVENTS


def planned(settings: Settings, topic: Topic, begin: str | None, end: str | None, label_delay_s: float | None) -> Plan:
    """What `build` would do.

    Raises:
        UsageProblem, OffsetsExpired, TransportUnavailable: as `make_plan`; the topic is not there.
    """
    with closing(_source(settings, topic)) as source:
        return make_plan(Request(topic.name, begin, end, label_delay_s, code_digest()), source)


def estimated_s(plan: Plan, tasks: int) -> float:
    """About how long a build takes."""
    at_once = min(tasks, len(plan.ranges))
    return plan.records / (_TASK_RECORDS_PER_S * at_once)


def build(
    plan: Plan,
    settings: Settings,
    topic: Topic,
    out: Path,
    *,
    tasks: int,
    say: Say = lambda words: None,
    on_progress: OnProgress = lambda progress: None,
) -> Manifest:
    """Make the set, or go on with the one that was cut short there.

    With a Ray cluster elsewhere, `out` lies in a folder that all nodes share.

    Raises:
        UsageProblem: the place is taken, or nothing in the range can be learned from; nothing is left behind.
        SchemaChanged, OffsetsExpired, LogCorrupt, TransportUnavailable, DiskFull: it cannot go on; what is done is kept
            beside the place for the next run, and nothing is at the place.
    """
    from jobs.stream_set.staging import staging
    from streaming.codec import Decoder

    assert topic.schema is not None
    began = time.monotonic()
    out = out.absolute()
    with staging(out) as area, closing(_source(settings, topic)) as source:
        plan = _resumed(area, plan, source, say)
        _refuse_small_disk(out, plan)
        with _ray(settings, tasks):
            tallies = _fold(area, plan, Decoder(topic.schema, settings.registry.open()), source, tasks, on_progress)
            days = _finish(area, plan, tallies, tasks)
            manifest = _manifest(plan, tallies, days, area, time.monotonic() - began)
            area.publish(out)
    return manifest


@contextmanager
def _ray(settings: Settings, tasks: int) -> Iterator[None]:
    """The Ray that is connected already, else a session for as long as the build lasts."""
    from jobs.ray_session import ray_session

    ray = sys.modules.get("ray")  # to be imported by the session, which says first how
    own = settings.ray
    session = ray_session(own.address, logical_cpus=max(own.num_cpus, tasks + 1), object_store_mb=own.object_store_mb)
    with nullcontext() if ray is not None and ray.is_initialized() else session:
        yield


def _source(settings: Settings, topic: Topic) -> KafkaSource:
    from streaming.kafka.source import KafkaSource

    return KafkaSource(settings.kafka.connection(), topic.name, "")


def _resumed(area: Staging, plan: Plan, source: KafkaSource, say: Say) -> Plan:
    """The plan of the build that was cut short, if it was for the same and can still be followed."""
    former = area.plan()
    if former is not None and former.request == plan.request:
        done, begins = area.done(former), source.beginning_offsets()
        left = [wanted for wanted in former.ranges if wanted.partition not in done and wanted.end > wanted.start]
        if all(begins.get(wanted.partition, 0) <= wanted.start for wanted in left):
            say(f"going on where a build was cut short: {len(done)} of {len(former.ranges)} partitions are done")
            return former
        say("a build was cut short here, but what it had still to read has been deleted: beginning anew")
    elif former is not None:
        say("a build of something else was cut short here: beginning anew")
    area.begin(plan)
    return plan


def _refuse_small_disk(out: Path, plan: Plan) -> None:
    needed, free = plan.records * _BYTES_A_RECORD, shutil.disk_usage(out.parent).free
    if free < needed:
        raise UsageProblem(
            f"--out {out}: {plan.records:,} records need about {needed >> 20:,} MB, and {free >> 20:,} MB are free; "
            "choose another place or a shorter range"
        )


def _fold(
    area: Staging, plan: Plan, decoder: Decoder, source: KafkaSource, tasks: int, on_progress: OnProgress
) -> dict[int, Tally]:
    """Do the partitions that are not done."""
    from jobs.stream_set.tasks import PartitionTasks, run_tasks
    from streaming.pipelines.win_prediction import TRANSFORMS

    done = area.done(plan)
    left = [(wanted, area.partition(wanted.partition)) for wanted in plan.ranges if wanted.partition not in done]
    records = {partition: tally.records for partition, tally in done.items()}
    rows = {partition: tally.rows for partition, tally in done.items()}
    if left:
        folding = PartitionTasks(left, source, decoder, TRANSFORMS, plan.rule)
        for said in run_tasks(folding, len(left), tasks):
            records[said["partition"]], rows[said["partition"]] = said["records"], said["rows"]
            on_progress(Progress(sum(records.values()), plan.records, sum(rows.values()), finishing=False))
    on_progress(Progress(sum(records.values()), plan.records, sum(rows.values()), finishing=True))
    return area.done(plan)


def _finish(area: Staging, plan: Plan, tallies: dict[int, Tally], tasks: int) -> list[DayDone]:
    """Write the days of titles that both camps won."""
    from jobs.stream_set.days import DayDone, settle
    from jobs.stream_set.manifest import SetFile
    from jobs.stream_set.partition import read_ledger
    from jobs.stream_set.tasks import DayTasks, run_tasks

    shutil.rmtree(area.set, ignore_errors=True)
    area.set.mkdir()
    sources: dict[Day, list[Path]] = {}
    for partition, tally in sorted(tallies.items()):
        for name, day in sorted(tally.days.items()):
            sources.setdefault(day, []).append(area.partition(partition) / name)
    days: list[DayDone] = []
    if sources:
        forms = settle({partition: read_ledger(area.partition(partition)) for partition in tallies})
        finishing = DayTasks(sorted(sources.items()), forms, area.set, tasks)
        for said in run_tasks(finishing, min(tasks, len(sources)), tasks):
            files = tuple(SetFile(**file) for file in said["files"])
            days.append(DayDone(said["title"], files, said["matches"], said["won_by_a"]))
    if not days:
        area.remove()
        left_out = _summed(tally.left_out for tally in tallies.values())
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in left_out.items()) or "there was no match"
        raise UsageProblem(f"no match of {plan.request.topic} in this range has a result to learn from: {reasons}")
    return days


def _manifest(plan: Plan, tallies: dict[int, Tally], days: Sequence[DayDone], area: Staging, took_s: float) -> Manifest:
    from jobs.commit import code_version
    from jobs.files import write_json
    from jobs.stream_set.content import set_fingerprint
    from streaming.features.settling import SETTLE_S

    matches: dict[str, dict[str, int]] = {}
    for day in days:
        count = matches.setdefault(day.title, {"matches": 0, "won_by_a": 0})
        count["matches"] += day.matches
        count["won_by_a"] += day.won_by_a
    left_out = Counter(_summed(tally.left_out for tally in tallies.values()))
    for title in [name for name, won in matches.items() if won["won_by_a"] in (0, won["matches"])]:
        left_out[ONE_OUTCOME] += matches.pop(title)["matches"]
        shutil.rmtree(area.set / f"title={title}")
    if not matches:
        area.remove()
        raise UsageProblem(
            f"the same camp won all {left_out[ONE_OUTCOME]:,} match(es) of {plan.request.topic} in this range: that "
            "teaches nothing; choose a longer range"
        )
    kept = sorted((file for day in days if day.title in matches for file in day.files), key=lambda file: file.path)
    manifest = Manifest(
        topic=plan.request.topic,
        offsets={str(wanted.partition): (wanted.start, wanted.end) for wanted in plan.ranges},
        window=plan.window,
        label_delay_s=plan.label_delay_s,
        label_rule=LABEL_RULE.format(settle_s=SETTLE_S),
        records=sum(tally.records for tally in tallies.values()),
        rejected=_summed(tally.rejected for tally in tallies.values()),
        schema_ids=_summed(tally.schema_ids for tally in tallies.values()),
        rows=sum(file.rows for file in kept),
        matches=dict(sorted(matches.items())),
        left_out=dict(sorted(left_out.items())),
        code_version=code_version(),
        code=plan.request.code,
        content_fingerprint=set_fingerprint((file.path, file.content) for file in kept),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        took_s=round(took_s, 1),
        files=tuple(kept),
    )
    write_json(area.set / MANIFEST, manifest.to_json())
    return manifest


def _summed(counts: Iterable[Counter[str]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for count in counts:
        total.update(count)
    return dict(sorted(total.items()))
