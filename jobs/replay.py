"""Replay a range of a pipeline's source into a topic or a Parquet file: the shell around `streaming.runners.replay`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobs.bounds import Bound, parse_bound, require_partitions
from jobs.errors import UsageProblem
from jobs.files import draft_of
from jobs.pipelines import PERSON_SIGHTINGS, RECOMMENDATIONS, STORE_ALERTS, STORE_METRICS, holding, of_store
from jobs.ray_session import ray_session

if TYPE_CHECKING:
    from jobs.settings import Settings
    from streaming.codec import SchemaRegistry
    from streaming.kafka.settings import KafkaSettings
    from streaming.kafka.source import KafkaSource
    from streaming.pipeline import Pipeline
    from streaming.records import Records
    from streaming.runners.replay import Replayed, ReplayOutput
    from streaming.topics import Topic

_SLICE_MS = 60_000  # so partitions are never further apart than results take to settle
_LEAST_MS = 1_000
_SAY_S = 5.0


def replay_pipeline(
    name: str,
    settings: Settings,
    begin: str | None,
    end: str | None,
    *,
    to_topic: str | None,
    parquet: Path | None,
    say: Callable[[str], None],
) -> Replayed:
    """Answer the range again, by the models, zones and rules that the settings name.

    Raises:
        UsageProblem: a bound that is none, an empty range, a topic that has records already, a file that will not do.
        SettingsError: a file that the pipeline needs is not named.
        OffsetsExpired, LogCorrupt, TransportUnavailable, DependencyUnavailable, ModelNotFoundError: as they say.
    """
    from streaming.kafka.source import KafkaSource
    from streaming.runners.replay import ReplayRunner, plan

    kafka, registry = settings.kafka.connection(), settings.registry.open()
    first, last = parse_bound(begin, "--from"), parse_bound(end, "--to")
    with _pipeline(name, settings) as pipeline, closing(KafkaSource(kafka, pipeline.source.name, "")) as source:
        now_ms = time.time_ns() // 1_000_000  # before the log is asked where it ends
        most = holding(pipeline, settings).batch
        slices = plan(_cuts(source, first, last, most), most)
        if not slices:
            raise UsageProblem(f"there are no records of {pipeline.source.name} in this range")
        with _output(pipeline, kafka, registry, to_topic, parquet) as output:
            said = time.monotonic()

            def progress(done: Replayed) -> None:
                nonlocal said
                if time.monotonic() - said >= _SAY_S:
                    said = time.monotonic()
                    say(f"{done.slices:,} of {done.of_slices:,} slices, {done.answers:,} answers")

            ray = settings.ray
            with ray_session(ray.address, logical_cpus=ray.num_cpus, object_store_mb=ray.object_store_mb):
                runner = ReplayRunner(
                    pipeline,
                    source,
                    registry,
                    slices,
                    output,
                    until_ms=_until_ms(last, now_ms),
                    tasks=settings.pipeline.read_tasks,
                )
                return runner.run(progress)


@contextmanager
def _pipeline(name: str, settings: Settings) -> Iterator[Pipeline]:
    """With its models loaded: one that is missing is said before anything is begun."""
    if name == RECOMMENDATIONS:
        from jobs.shop import replayed_recommendations

        with replayed_recommendations(settings) as pipeline:
            yield pipeline
        return
    if name == PERSON_SIGHTINGS:
        from jobs.store import replayed_sightings

        yield replayed_sightings(settings)
        return
    if name in (STORE_METRICS, STORE_ALERTS):
        yield of_store(name, settings)
        return
    from serve.win import LocalPredict
    from streaming.insights.narrator import Narrator
    from streaming.pipelines.win_prediction import win_prediction

    store = settings.models.store
    predict = LocalPredict(store, settings.models.titles, store_must_exist=Path(store).is_dir())
    predict.describe()
    yield win_prediction(predict, Narrator(settings.insights.wording))


def _cuts(source: KafkaSource, first: Bound | None, last: Bound | None, max_records: int) -> list[Mapping[int, int]]:
    """Offsets at rising moments of record time, from the first bound to the last. Where more records lie between two
    moments, they are closer together, down to a second."""
    begins, ends = source.beginning_offsets(), source.end_offsets()
    starts = _offsets(source, first, begins, "--from")
    stops = {p: max(starts[p], min(offset, ends[p])) for p, offset in _offsets(source, last, ends, "--to").items()}
    cuts: list[Mapping[int, int]] = [starts]
    at_ms, span_ms = first if isinstance(first, int) else 0, _SLICE_MS
    while cuts[-1] != stops and (next_ms := source.earliest_ms(at_ms)) is not None:  # over a gap, however long, at once
        span_ms = min(2 * span_ms, _SLICE_MS)
        cut = _cut(source, cuts[-1], stops, next_ms + span_ms)
        while _between(cuts[-1], cut) > max_records and span_ms > _LEAST_MS:
            span_ms //= 2
            cut = _cut(source, cuts[-1], stops, next_ms + span_ms)
        at_ms = next_ms + span_ms
        cuts.append(cut)
    return [*cuts, stops]


def _cut(source: KafkaSource, least: Mapping[int, int], most: Mapping[int, int], at_ms: int) -> Mapping[int, int]:
    found = source.offsets_at(at_ms)
    return {p: max(least[p], min(most[p], found[p])) for p in least}


def _between(start: Mapping[int, int], end: Mapping[int, int]) -> int:
    return sum(end[p] - start[p] for p in start)


def _until_ms(last: Bound | None, now_ms: int) -> int | None:
    """Up to which record time the range holds everything, if that is known."""
    if last is None:
        return now_ms
    return min(last, now_ms) if isinstance(last, int) else None


def _offsets(source: KafkaSource, bound: Bound | None, default: Mapping[int, int], option: str) -> dict[int, int]:
    if bound is None:
        return dict(default)
    if isinstance(bound, int):
        return source.offsets_at(bound)
    require_partitions(bound, default, option, source.topic)
    return {**default, **bound}


@contextmanager
def _output(
    pipeline: Pipeline, kafka: KafkaSettings, registry: SchemaRegistry, to_topic: str | None, parquet: Path | None
) -> Iterator[ReplayOutput]:
    if to_topic is None:
        assert parquet is not None
        with draft_of(parquet) as draft:
            file = _ParquetFile(pipeline.sink, registry, draft)
            yield file
            file.finish()
    else:
        with closing(_NewTopic(pipeline, kafka, to_topic)) as topic:
            yield topic


class _NewTopic:
    """Answers in a topic of their own, a transaction each slice."""

    def __init__(self, pipeline: Pipeline, kafka: KafkaSettings, name: str) -> None:
        from dataclasses import replace

        from streaming.kafka.admin import ensure_topics
        from streaming.kafka.sink import KafkaSink
        from streaming.kafka.source import KafkaSource
        from streaming.topics import TOPICS, shadow_of, state_topic

        states = (state_topic(pipeline.name), state_topic(shadow_of(pipeline.name)))
        if name in {topic.name for topic in (*TOPICS, *states)}:
            raise UsageProblem(f"--to-topic {name}: it is a live one; name a new one")
        ensure_topics(kafka, [replace(pipeline.sink, name=name)])
        with closing(KafkaSource(kafka, name, "")) as written:
            if written.end_offsets() != written.beginning_offsets():
                raise UsageProblem(f"--to-topic {name}: has records already; name a new one, or delete it first")
        self._name = name
        self._sink = KafkaSink(kafka, f"sightline.replay.{name}", f"sightline.replay.{name}", pipeline.source.name)
        self._sink.open()

    def write(self, answers: Records) -> None:
        from streaming.transport import Output

        self._sink.commit(answers=[Output(self._name, answers)], dead_letters=[], state=[], offsets={})

    def close(self) -> None:
        self._sink.close()


class _ParquetFile:
    """Answers in one file, which is there when all are in it."""

    def __init__(self, sink: Topic, registry: SchemaRegistry, draft: Path) -> None:
        from streaming.codec import Decoder

        assert sink.schema is not None
        self._decoder = Decoder(sink.schema, registry)
        self._draft = draft
        self._writer: Any = None

    def write(self, answers: Records) -> None:
        import pyarrow.parquet as pq

        table = self._decoder.decode(answers).frame.to_arrow()
        if self._writer is None:
            self._writer = pq.ParquetWriter(self._draft, table.schema, compression="zstd")
        self._writer.write_table(table)

    def finish(self) -> None:
        if self._writer is None:
            raise UsageProblem("the range has no record that makes an answer: nothing was written")
        self._writer.close()
