"""A real broker: views stream through a worker while the catalogue changes under it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import count

import polars as pl
import pytest

from streaming import topics
from streaming.codec import Decoder, PackagedRegistry
from streaming.kafka.admin import ensure_topics, read_all, read_changelog
from streaming.kafka.publisher import Publisher
from streaming.kafka.settings import KafkaSettings
from streaming.kafka.sink import KafkaSink
from streaming.kafka.source import KafkaSource
from streaming.pipelines.recommendations import recommendations
from streaming.records import Records
from streaming.runners.worker import Worker, WorkerConfig
from streaming.sessions.following import CatalogueFollower
from streaming.sessions.settings import Offer
from streaming.topics import state_topic
from tests.shop_feed import Fixed, event, event_records, feed, item, item_records
from tests.waiting import PATIENCE_S, wait_until

pytestmark = [pytest.mark.kafka]

NAMES = ("a", "b", "c", "d")


class Shop:
    """Topics of its own, a worker, and views that never end."""

    def __init__(self, kafka: str, prefix: str) -> None:
        self.settings, self.prefix = KafkaSettings(kafka), prefix
        self.catalogue = replace(topics.ITEM_CATALOGUE, name=f"{prefix}.catalogue")
        source = replace(topics.USER_SESSIONS, name=f"{prefix}.sessions")
        sink = replace(topics.SESSION_RECOMMENDATIONS, name=f"{prefix}.recommendations")
        ensure_topics(self.settings, [self.catalogue, source, source.dead_letters, sink, state_topic(prefix)])
        self.follower = CatalogueFollower(KafkaSource(self.settings, self.catalogue.name, ""), PackagedRegistry())
        made = recommendations({"live": Fixed(*NAMES, "new")}, self.follower, Offer(places=3, explore=0.2))
        self.pipeline = replace(made, name=prefix, source=source, sink=sink)
        self.worker = Worker(
            self.pipeline,
            KafkaSource(self.settings, source.name, prefix),
            KafkaSink(self.settings, prefix, prefix, source.name),
            PackagedRegistry(),
            changelog=lambda owners: read_changelog(self.settings, prefix, owners),
            config=WorkerConfig(idle_poll_s=0.05),
        )
        self._publisher, self._numbers = Publisher(self.settings, max_block_s=PATIENCE_S), count()

    def change(self, *rows: dict[str, object]) -> int:
        """Write items; where the topic ends then."""
        self._send(self.catalogue.name, item_records(rows))
        with source_of(self.settings, self.catalogue.name) as reader:
            return int(reader.end_offsets()[0])

    def views(self, many: int = 50) -> None:
        rows = [event(f"s{n % 17}", n / 10, item="looked at") for n in (next(self._numbers) for _ in range(many))]
        self._send(self.pipeline.source.name, event_records(feed(rows)))

    def answers(self) -> pl.DataFrame:
        decoder = Decoder("session-recommendations", PackagedRegistry())
        parts = [decoder.decode(records).frame for records in read_all(self.settings, self.pipeline.sink.name).values()]
        return pl.concat(parts)

    def until_known(self, position: int) -> pl.DataFrame:
        """Views go on until an answer knows the catalogue up to here; all answers so far."""
        found: list[pl.DataFrame] = []

        def is_known() -> bool:
            self.views()
            found[:] = [self.answers()]
            return bool((found[0]["catalogue_offset"] >= position).any())

        wait_until(is_known, PATIENCE_S)
        return found[0]

    def close(self) -> None:
        self._publisher.close()
        self.follower.close()

    def _send(self, topic: str, records: Records) -> None:
        self._publisher.send(topic, records.keys.to_pylist(), records.values.to_pylist())
        assert self._publisher.flush(PATIENCE_S) and not self._publisher.failed


@contextmanager
def source_of(settings: KafkaSettings, topic: str) -> Iterator[KafkaSource]:
    source = KafkaSource(settings, topic, "")
    try:
        yield source
    finally:
        source.close()


@contextmanager
def running(worker: Worker) -> Iterator[None]:
    thread = threading.Thread(target=worker.run)
    thread.start()
    try:
        yield
    finally:
        worker.stop()
        thread.join(PATIENCE_S)
    assert not thread.is_alive()


@pytest.fixture
def shop(kafka: str, topic_prefix: str) -> Iterator[Shop]:
    made = Shop(kafka, topic_prefix)
    yield made
    made.close()


def offering(answers: pl.DataFrame, name: str) -> pl.DataFrame:
    return answers.filter(pl.col("items").list.contains(name))


def test_items_come_and_go_under_load_as_the_catalogue_says(shop: Shop) -> None:
    opened = shop.change(*(item(name) for name in NAMES))
    with running(shop.worker):
        before = shop.until_known(opened)
        assert offering(before, "a").height and not offering(before, "new").height
        changed = shop.change(item("a", withdrawn=True), item("b", in_stock=False), item("new"))
        shop.until_known(changed)
        shop.views(200)
        back = shop.change(item("b"))
        answers = shop.until_known(back)
    knew = pl.col("catalogue_offset")
    assert offering(answers.filter(knew >= changed), "a").is_empty()
    assert offering(answers.filter(knew.is_between(changed, back, closed="left")), "b").is_empty()
    assert offering(answers.filter(knew >= back), "b").height
    assert offering(answers.filter(knew >= changed), "new").height
    # Within a partition no answer knows less than one before it.
    of_partition = answers.sort("source_partition", "source_offset").group_by("source_partition")
    assert all(part["catalogue_offset"].is_sorted() for _, part in of_partition)
