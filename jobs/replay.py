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
from jobs.pipelines import RECOMMENDATIONS, WIN_PREDICTION
from jobs.ray_session import ray_session

if TYPE_CHECKING:
    from jobs.settings import Settings
    from streaming.codec import SchemaRegistry
    from streaming.kafka.settings import KafkaSettings
    from streaming.kafka.source import KafkaSource
    from streaming.pipeline import Pipeline
    from streaming.runners.flow import Commit
    from streaming.runners.replay import Replayed, ReplayOutput
    from streaming.topics import Topic

REPLAYED = (WIN_PREDICTION, RECOMMENDATIONS)
"""Pipelines that can be."""

_SLICE_MS = 60_000  # so partitions are never further apart than results take to settle
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
    """Answer the range again, by the models that the settings name.

    Raises:
        UsageProblem: a bound that is none, an empty range, a topic that has records already.
        OffsetsExpired, LogCorrupt, TransportUnavailable, DependencyUnavailable, ModelNotFoundError: as they say.
    """
    from streaming.kafka.source import KafkaSource
    from streaming.runners.replay import ReplayRunner, plan

    if name not in REPLAYED:
        raise UsageProblem(f"replay: {name} cannot be replayed yet; there are: {', '.join(REPLAYED)}")
    kafka, registry = settings.kafka.connection(), settings.registry.open()
    first, last = parse_bound(begin, "--from"), parse_bound(end, "--to")
    with _pipeline(name, settings) as pipeline, closing(KafkaSource(kafka, pipeline.source.name, "")) as source:
        slices = plan(_cuts(source, first, last), settings.pipeline.max_batch_records)
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
                runner = ReplayRunner(pipeline, source, registry, slices, output, tasks=settings.pipeline.read_tasks)
                return runner.run(progress)


@contextmanager
def _pipeline(name: str, settings: Settings) -> Iterator[Pipeline]:
    """With its models loaded: one that is missing is said before anything is begun."""
    if name == RECOMMENDATIONS:
        from jobs.shop import replayed_recommendations

        with replayed_recommendations(settings) as pipeline:
            yield pipeline
        return
    from serve.win import LocalPredict
    from streaming.insights.narrator import Narrator
    from streaming.pipelines.win_prediction import win_prediction

    store = settings.models.store
    predict = LocalPredict(store, settings.models.titles, store_must_exist=Path(store).is_dir())
    predict.describe()
    yield win_prediction(predict, Narrator(settings.insights.wording))


def _cuts(source: KafkaSource, first: Bound | None, last: Bound | None) -> list[Mapping[int, int]]:
    """Offsets at rising moments of record time, from the first bound to the last."""
    begins, ends = source.beginning_offsets(), source.end_offsets()
    starts = _offsets(source, first, begins, "--from")
    stops = {p: max(starts[p], min(offset, ends[p])) for p, offset in _offsets(source, last, ends, "--to").items()}
    cuts: list[Mapping[int, int]] = [starts]
    at_ms = first if isinstance(first, int) else 0
    while cuts[-1] != stops and (next_ms := source.earliest_ms(at_ms)) is not None:  # over a gap, however long, at once
        at_ms = next_ms + _SLICE_MS
        found = source.offsets_at(at_ms)
        cuts.append({p: max(cuts[-1][p], min(stops[p], found[p])) for p in starts})
    return [*cuts, stops]


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

    def write(self, commit: Commit) -> None:
        from streaming.transport import Output

        answers = [Output(self._name, output.records) for output in commit.answers]
        if answers:
            self._sink.commit(answers=answers, dead_letters=[], state=[], offsets={})

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

    def write(self, commit: Commit) -> None:
        import pyarrow.parquet as pq

        for output in commit.answers:
            table = self._decoder.decode(output.records).frame.to_arrow()
            if self._writer is None:
                self._writer = pq.ParquetWriter(self._draft, table.schema, compression="zstd")
            self._writer.write_table(table)

    def finish(self) -> None:
        if self._writer is None:
            raise UsageProblem("the range has no record that makes an answer: nothing was written")
        self._writer.close()
