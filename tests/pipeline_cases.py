"""Every pipeline of the project with input on which each of its stages has something to say: what the contract suites
of pipelines go through. A file in `streaming/pipelines` that has no case here fails `test_pipelines_contract.py`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import polars as pl

from models.store import SHIPPED
from serve.win import LocalPredict
from streaming.codec import Decoder, Encoder, PackagedRegistry, load_schema
from streaming.pipeline import Pipeline
from streaming.pipelines.person_sightings import person_sightings
from streaming.pipelines.recommendations import recommendations
from streaming.pipelines.store_alerts import store_alerts
from streaming.pipelines.store_metrics import store_metrics
from streaming.pipelines.win_prediction import win_prediction
from streaming.records import Records
from streaming.sessions.covisits import Covisits
from streaming.sessions.settings import Offer
from streaming.simulators import shop
from streaming.simulators.feed import MatchFeed
from streaming.simulators.match import simulate
from streaming.store.rules import parse_rules
from tests.person_frames import as_frames, by_colour, seen_by_colour, settled, visit
from tests.shop_feed import apply, catalogue_of, item_values
from tests.store_walks import ALERT_RULES, START_MS, as_told, plan, watched_rows

NOW_MS = START_MS
MATCHES = 5
PLACE = ("source_partition", "source_offset", "ingest_time_ms")
"""Columns that say which record an answer went out with."""


@dataclass(frozen=True)
class PipelineCase:
    """One pipeline and what it is fed."""

    pipeline: Callable[[], Pipeline]
    rows: Callable[[], pl.DataFrame]  # of the source's schema, in the order in which they are written
    least: int  # answers that there are at least
    gathers: bool = False  # an answer may be of rows of several partitions, and so goes out with either of them
    settle: Callable[[pl.DataFrame], pl.DataFrame] = lambda told: told  # what holds in the end, of those that gather

    def records(self) -> Records:
        """The rows as a log has them that got each when it happened."""
        source, rows = self.pipeline().source, self.rows()
        assert source.schema is not None and source.event_time is not None
        encoder = Encoder(load_schema(source.schema), PackagedRegistry().id_of(source.schema))
        keys = [key.encode() for key in rows[source.key]]
        log_ms = rows[source.event_time].to_physical().to_list()
        return Records.of(keys, encoder.encode(rows).to_pylist(), timestamps_ms=log_ms)

    def waves(self, size: int = 25) -> Iterator[Records]:
        """The records, so many at a time: as they come when they are read as they come."""
        records = self.records()
        for start in range(0, len(records), size):
            yield records.take(np.arange(start, min(start + size, len(records))))

    def answers(self, parts: Sequence[Records]) -> pl.DataFrame:
        """Decoded, with the bytes as `value` where nothing of an answer hangs on the order of partitions; those of one
        key in their order."""
        sink = self.pipeline().sink
        assert sink.schema is not None
        records = Records.joined(list(parts))
        frame = Decoder(sink.schema, PackagedRegistry()).decode(records).frame
        if self.gathers:
            frame = self.settle(frame).drop(PLACE)
        else:
            frame = frame.with_columns(value=pl.Series(records.values.to_pylist(), dtype=pl.Binary))
        return frame.sort(sink.key, maintain_order=True)


@cache
def match_events() -> pl.DataFrame:
    """Matches on air side by side, so that no result is a question of which partition is read first."""
    played = simulate("lol", MATCHES, seed=3).events
    return MatchFeed([played], concurrent=MATCHES, speed=1.0, epoch_ms=NOW_MS - 7_200_000).take(7_200.0)


def sightings() -> pl.DataFrame:
    """A minute of two cameras, one of which falls silent for a while and the other is covered."""
    return as_told(watched_rows())


def _person_sightings() -> Pipeline:
    # The frames are of another day: none is too old.
    return person_sightings(by_colour, 4, detect=seen_by_colour, max_age_s=1e9)


def _win_prediction() -> Pipeline:
    return win_prediction(LocalPredict(str(SHIPPED), {"lol": "tsstn-lol@live"}, store_must_exist=True))


@cache
def session_events() -> pl.DataFrame:
    """An hour of a shop; each user has one session, since another's purchases are known in its own partition only."""
    goods = shop.make_goods(120, categories=6, seed=4)
    how = shop.VisitSettings(hours=1.0, mean_views=4.0, carts=0.6, bots=0.02, bot_events=150)
    made = shop.visits(goods, shop.make_shoppers(goods, 60, seed=4), sessions=100, seed=4, settings=how).events
    return made.with_columns(
        user_id=pl.when(pl.col("user_id").is_not_null()).then(pl.format("of {}", "session_id")),
        event_time_ms=pl.col("event_time_ms") - pl.duration(milliseconds=shop.goods.START_MS - NOW_MS),
    )


def _recommendations() -> Pipeline:
    goods, catalogue = shop.make_goods(120, categories=6, seed=4), catalogue_of()
    apply(catalogue, item_values(shop.item_records(goods, changed_ms=NOW_MS)))
    recommend = Covisits(session_events().filter(kind="view"))
    return recommendations({"live": recommend}, catalogue, Offer(places=8, candidates=20, explore=0.2))


CASES = {
    "win_prediction": PipelineCase(_win_prediction, match_events, least=20 * MATCHES),
    "recommendations": PipelineCase(_recommendations, session_events, least=300),
    "person_sightings": PipelineCase(
        _person_sightings, lambda: as_frames(visit()), least=150, gathers=True, settle=settled
    ),
    "store_metrics": PipelineCase(lambda: store_metrics(plan()), sightings, least=20, gathers=True),
    "store_alerts": PipelineCase(
        lambda: store_alerts(plan(), parse_rules(ALERT_RULES, plan())), sightings, least=8, gathers=True
    ),
}
"""By the name of the file in `streaming/pipelines`."""
