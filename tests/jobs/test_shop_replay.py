"""What was offered, answered again: the pipeline of `sightline replay recommendations`, over a log in memory."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import polars as pl
import pytest

from jobs.replay import _ParquetFile
from jobs.settings import Settings
from jobs.shop import replayed_recommendations
from models.store import ModelNotFoundError, ModelStore
from serve.session import LocalRecommend
from streaming import topics
from streaming.codec import Decoder, PackagedRegistry
from streaming.pipeline import DependencyUnavailable, Pipeline
from streaming.pipelines.recommendations import recommendations
from streaming.sessions.following import CatalogueFollower
from streaming.sessions.model import Recommended, Sessions
from streaming.testing import MemoryLog, MemorySource
from tests.pipelines_on_log import OnLog
from tests.shop_feed import START_MS, event, event_records, feed, item, item_records
from tests.shop_models import aisle_of, shop_store
from tests.shop_sessions import walks
from tests.waiting import wait_until

NAME, CONTENT = "session-gru4rec", "session-two-tower"
ITEMS = sorted({line.split("\t")[1] for line in walks(120).splitlines()[1:]})
NEW = [f"new {number}" for number in range(3)]

Replay = Callable[..., pl.DataFrame]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ModelStore:
    return shop_store(tmp_path_factory.mktemp("shop"))


@pytest.fixture
def log() -> MemoryLog:
    """A shop that has items which training has not seen; sessions of known items, and one of new ones."""
    made = MemoryLog()
    made.create(topics.ITEM_CATALOGUE.name, 1)
    made.create(topics.USER_SESSIONS.name, 1)
    stock = [item(name, category=aisle_of(name)) for name in ITEMS]
    made.append(topics.ITEM_CATALOGUE.name, item_records([*stock, *(item(name, category="aisle 2") for name in NEW)]))
    looks = [event(f"s{n % 5}", n, item=ITEMS[n * 7 % len(ITEMS)]) for n in range(40)]
    fresh = [event("cold", 50 + n, item=name) for n, name in enumerate(NEW)]
    made.append(topics.USER_SESSIONS.name, event_records(feed([*looks, *fresh])))
    return made


def follower(log: MemoryLog, **how: float) -> CatalogueFollower:
    return CatalogueFollower(MemorySource(log, topics.ITEM_CATALOGUE.name, ""), PackagedRegistry(), **how)


@pytest.fixture
def replay(store: ModelStore, log: MemoryLog, monkeypatch: pytest.MonkeyPatch) -> Replay:
    """The answers of a replay with these settings of the shop."""
    monkeypatch.setattr("jobs.shop.catalogue_of", lambda settings, max_age_s: follower(log, max_age_s=max_age_s))

    def answers(**shop: object) -> pl.DataFrame:
        base = Settings()
        models = base.models.model_copy(update={"store": str(store.own)})
        settings = base.model_copy(update={"models": models, "shop": base.shop.model_copy(update=shop)})
        with replayed_recommendations(settings) as pipeline:
            return answered(pipeline, log)

    return answers


def answered(pipeline: Pipeline, log: MemoryLog) -> pl.DataFrame:
    decoder = Decoder("session-recommendations", PackagedRegistry())
    made = OnLog(pipeline, log, START_MS + 100_000).run()
    return pl.concat([decoder.decode(records).frame for records in made.answers()])


def version(number: int) -> dict[str, str]:
    return {"live": f"{NAME}@{number}"}


def is_read(catalogue: CatalogueFollower) -> bool:
    try:
        catalogue.as_of()
    except DependencyUnavailable:
        return False
    return True


def test_a_replay_answers_as_the_live_pipeline_does(replay: Replay, store: ModelStore, log: MemoryLog) -> None:
    found = replay(recommenders=version(1), by_content=f"{CONTENT}@live")
    with closing(follower(log)) as catalogue:
        wait_until(lambda: is_read(catalogue))
        local = LocalRecommend(str(store.own), version(1), by_content=(f"{CONTENT}@live", catalogue))

        def ask(sessions: Sessions, top_k: int) -> Recommended:
            return local("live", (sessions, top_k))

        live = answered(recommendations({"live": ask}, catalogue), log)
    assert found.height == 43 and found.equals(live)
    cold = found.filter(session_id="cold")
    assert cold["model_name"].unique().to_list() == [CONTENT]
    assert set(NEW) & set(cold["items"].explode()), "new items are known from the first answer on"


def test_another_model_answers_under_the_same_ids(replay: Replay) -> None:
    one, two = replay(recommenders=version(1)), replay(recommenders=version(2))
    assert one["answer_id"].equals(two["answer_id"]) and not one["items"].equals(two["items"])
    assert two["model_version"].unique().to_list() == ["2"]


def test_items_are_as_they_are_now(replay: Replay, log: MemoryLog) -> None:
    """The topic is compacted: what it said when the answers were given is nowhere any more."""
    before = replay(recommenders=version(1))
    taken = before["items"].explode().drop_nulls().mode().sort()[0]
    log.append(topics.ITEM_CATALOGUE.name, item_records([item(taken, withdrawn=True)]))
    after = replay(recommenders=version(1))
    assert after["answer_id"].equals(before["answer_id"])
    assert taken not in set(after["items"].explode())


def test_a_model_that_is_missing_and_a_catalogue_that_is_away_are_said_first(
    replay: Replay, log: MemoryLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ModelNotFoundError, match="session-gru4rec@9"):
        replay(recommenders=version(9))
    monkeypatch.setattr("jobs.shop._PATIENCE_S", 0.0)
    with log.unavailable(), pytest.raises(DependencyUnavailable, match=r"item\.catalogue is not followed"):
        replay(recommenders=version(1))


def test_answers_fit_into_a_file(replay: Replay, store: ModelStore, log: MemoryLog, tmp_path: Path) -> None:
    found = replay(recommenders=version(1))
    draft = tmp_path / "answers.parquet"
    file = _ParquetFile(topics.SESSION_RECOMMENDATIONS, PackagedRegistry(), draft)
    with closing(follower(log)) as catalogue:
        wait_until(lambda: is_read(catalogue))
        local = LocalRecommend(str(store.own), version(1))
        pipeline = recommendations({"live": lambda sessions, top_k: local("live", (sessions, top_k))}, catalogue)
        for answers in OnLog(pipeline, log, START_MS + 100_000).run((10, 10, 100)).answers():
            file.write(answers)
    file.finish()
    assert pl.read_parquet(draft).equals(found)
