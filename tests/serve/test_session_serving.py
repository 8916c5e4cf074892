"""Recommendations through Serve and in the own process: versions, calls, what is answered by content."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.store import BrokenModelError, ModelNotFoundError, ModelStore, promote
from serve.releases import Following
from serve.session import Asked, FollowedRecommend, LocalRecommend, ServeRecommend, SessionReplica
from streaming import topics
from streaming.codec import PackagedRegistry
from streaming.pipeline import DependencyUnavailable
from streaming.sessions.following import CatalogueFollower
from streaming.sessions.model import Recommended, ReleasedRecommend, Sessions
from streaming.testing import MemoryLog, MemorySource
from tests.shop_feed import item, item_records
from tests.shop_models import aisle_of, shop_store
from tests.stored_models import save_small
from tests.waiting import wait_until

NAME = "session-gru4rec"
LIVE = {"live": f"{NAME}@live"}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> ModelStore:
    return shop_store(tmp_path_factory.mktemp("shop"))


@pytest.fixture
def store(trained: ModelStore) -> Iterator[ModelStore]:
    """Of which live means version 1, as a test begins."""
    yield trained
    trained.set_alias(NAME, "live", 1)


def place(store: ModelStore) -> str:
    return str(store.own)


def sessions(*items: list[str]) -> Sessions:
    flat = np.array([name for session in items for name in session], dtype=object)
    time_ms = 1_400_300_000_000 + np.concatenate([1000 * np.arange(len(session)) for session in items])
    return Sessions(flat, np.zeros(len(flat), np.int8), time_ms, np.cumsum([0, *map(len, items)]))


ASKED = sessions(["10000", "10001"], ["30003"], ["new", "newer"], ["20000", "new"], ["50001"])


def rows(found: Recommended) -> list[Any]:
    parts = (found.items, found.scores, found.reason_event, found.reason_share, found.models)
    return [part.tolist() for part in parts]


class Handle:
    """A Serve handle over a replica in this process; it notes how many sessions each call had."""

    def __init__(self, *replicas: SessionReplica, failure: Exception | None = None) -> None:
        self.replicas, self.failure, self.asked = replicas, failure, list[int]()
        self.recommend = self.describe = self

    def remote(self, name: str, asked: Sessions, top_k: int, exact: str) -> Result:
        self.asked.append(len(asked))
        if self.failure is not None:
            return Result(partial(_raise, self.failure))
        return Result(partial(self.replicas[0].recommend, name, asked, top_k, exact))

    def broadcast(self, method: str, *args: str) -> Result:
        assert method == "prepare_beside"
        return Result(*(partial(replica.prepare, *args) for replica in self.replicas))


class Result:
    def __init__(self, *calls: Callable[[], Any]) -> None:
        self._calls = calls

    def results(self, timeout_s: float) -> list[Any]:
        return [call() for call in self._calls]

    def result(self, timeout_s: float) -> Any:
        return self._calls[0]()


def _raise(failure: Exception) -> None:
    raise failure


def served(handle: Handle, max_batch: int = 4_096) -> ServeRecommend:
    loading: Future[Any] = Future()
    loading.set_result(handle)
    return ServeRecommend(loading, max_batch=max_batch)


def test_a_batch_is_one_call_and_a_large_one_is_cut_and_joined_in_order(store: ModelStore) -> None:
    handle = Handle(SessionReplica(place(store), LIVE))
    together = served(handle)("live", (ASKED, 7))
    assert handle.asked == [5] and together.items.shape == (5, 7)
    apart = served(handle, max_batch=2)("live", (ASKED, 7))
    assert sorted(handle.asked[1:]) == [1, 2, 2]
    assert rows(apart) == rows(together)
    assert (apart.model_name, apart.model_version) == (NAME, "1")


def test_in_the_own_process_it_is_the_same_and_travels_light(store: ModelStore) -> None:
    local = LocalRecommend(place(store), LIVE)
    found = local("live", (ASKED, 5))
    assert rows(found) == rows(served(Handle(SessionReplica(place(store), LIVE)))("live", (ASKED, 5)))
    packed = pickle.dumps(local)
    assert len(packed) < 1_000
    assert rows(pickle.loads(packed)("live", (ASKED, 5))) == rows(found)  # noqa: S301 - our own bytes
    (described,) = local.describe()
    assert (described["title"], described["name"], described["version"]) == ("live", NAME, "1")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Ray Serve declares fields the old way
def test_a_model_that_is_loading_or_away_is_waited_for_and_what_is_not_there_is_said(store: ModelStore) -> None:
    with pytest.raises(DependencyUnavailable, match="being loaded"):
        ServeRecommend(Future())("live", (ASKED, 3))
    with pytest.raises(DependencyUnavailable, match="recommender live: TimeoutError"):
        served(Handle(failure=TimeoutError("no answer")))("live", (ASKED, 3))
    with pytest.raises(KeyError, match="no model for title 'other'"):
        served(Handle(SessionReplica(place(store), LIVE)))("other", (ASKED, 3))
    with pytest.raises(DependencyUnavailable, match="no replica runs"):
        served(Handle()).prepare("live", f"{NAME}@1")


def test_models_that_are_missing_or_of_another_kind_are_refused_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError, match=f"sightline train {NAME} --data PATH --name {NAME}-mine"):
        SessionReplica(str(tmp_path), {"live": f"{NAME}-mine@live"})
    save_small(ModelStore(tmp_path), "small")
    with pytest.raises(BrokenModelError, match="needs a SessionModel"):
        SessionReplica(str(tmp_path), {"live": "small@1"})


@pytest.fixture
def following(store: ModelStore) -> Iterator[Following[Asked, Recommended]]:
    made = Following(LocalRecommend(place(store), LIVE), [place(store)], LIVE, period_s=0.02)
    yield made
    made.close()


def test_a_promotion_takes_over_and_the_old_version_can_be_asked_for(
    following: Following[Asked, Recommended], store: ModelStore
) -> None:
    live = FollowedRecommend(following, "live")
    assert isinstance(live, ReleasedRecommend)
    wait_until(lambda: is_offered(live, 1))
    old = live.offered()
    promote(store, f"{NAME}@2", force=True, reason="a test")
    wait_until(lambda: is_offered(live, 2))
    by = [live(ASKED, 5, release) for release in (live.offered(), old)]
    assert [found.model_version for found in by] == ["2", "1"]
    assert rows(by[0]) != rows(by[1]) and live.alerts() == ()


def is_offered(live: FollowedRecommend, version: int) -> bool:
    try:
        return live.offered().version == version
    except DependencyUnavailable:
        return False


def test_sessions_of_items_that_training_has_not_seen_are_answered_by_content(store: ModelStore) -> None:
    log = MemoryLog()
    log.create(topics.ITEM_CATALOGUE.name, 1)
    source = MemorySource(log, topics.ITEM_CATALOGUE.name, "")
    catalogue = CatalogueFollower(source, PackagedRegistry())
    fresh = [item("new", category=aisle_of("20000")), item("newer", category=aisle_of("20000"))]
    log.append(topics.ITEM_CATALOGUE.name, item_records(fresh))
    local = LocalRecommend(place(store), LIVE, by_content=("session-two-tower@live", catalogue))
    try:
        plain = LocalRecommend(place(store), LIVE)("live", (ASKED, 40))
        wait_until(lambda: "newer" in local("live", (ASKED, 40)).items[2])
        found = local("live", (ASKED, 40))
        assert found.models[:, 0].tolist() == [NAME, NAME, "session-two-tower", NAME, NAME]
        for row in (0, 1, 3, 4):
            assert found.items[row].tolist() == plain.items[row].tolist()
        best = [name for name in found.items[2] if name not in ("new", "newer")][:4]
        assert {aisle_of(name) for name in best} == {"aisle 2"}
        assert (found.reason_event[2, 0] >= 0).any(), "and says which of them moved it"
    finally:
        catalogue.close()


def test_content_is_what_two_towers_read(store: ModelStore) -> None:
    log = MemoryLog()
    log.create(topics.ITEM_CATALOGUE.name, 1)
    catalogue = CatalogueFollower(MemorySource(log, topics.ITEM_CATALOGUE.name, ""), PackagedRegistry())
    with pytest.raises(BrokenModelError, match="two towers are needed; name a model of `sightline train session-two"):
        SessionReplica(place(store), LIVE, by_content=(f"{NAME}@1", catalogue))
