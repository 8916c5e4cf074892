"""The embedding of people: what a predictor promises, how a batch is cut for Serve, and what is said where it fails."""

from __future__ import annotations

import pickle
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from models.store import SHIPPED, BrokenModelError, ModelNotFoundError, ModelStore
from serve.predictors.reid import ReIDPredictor, load_reid_predictor
from serve.reid import FollowedEmbed, LocalEmbed, ReIDReplica, ServeEmbed
from streaming.pipeline import DependencyUnavailable
from streaming.pipelines.person_sightings import CROP_PX, ReleasedEmbed
from tests.stored_models import save_small, save_turned
from tests.waiting import wait_until

Crops = npt.NDArray[np.uint8]


@pytest.fixture(scope="module")
def predictor() -> ReIDPredictor:
    return load_reid_predictor([str(SHIPPED)], "reid-small@live")


def crops(count: int, seed: int = 0, size: tuple[int, int] = CROP_PX) -> Crops:
    return np.random.default_rng(seed).integers(0, 255, (count, *size, 3)).astype(np.uint8)


def test_the_network_that_ships_embeds_crops_of_any_one_size(predictor: ReIDPredictor) -> None:
    for size in (CROP_PX, (64, 32), (20, 9)):
        vectors = predictor.predict(crops(5, size=size))
        assert vectors.shape == (5, predictor.info.dimensions)
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)
    assert predictor.predict(crops(0)).shape == (0, predictor.info.dimensions)
    assert predictor.info.trained_on.startswith("simulator store")


def test_an_embedding_does_not_depend_on_what_is_asked_beside_it(predictor: ReIDPredictor) -> None:
    many = crops(7)
    alone = np.concatenate([predictor.predict(many[row : row + 1]) for row in range(7)])
    assert np.array_equal(predictor.predict(many), alone)


@pytest.mark.parametrize("bad", [np.zeros((2, 8, 8), np.uint8), np.zeros((2, 8, 8, 3), np.float32)])
def test_what_are_no_crops_is_refused(predictor: ReIDPredictor, bad: Any) -> None:
    with pytest.raises(ValueError, match="crops must be"):
        predictor.predict(bad)


def test_a_model_that_is_missing_names_the_command_and_one_that_embeds_nobody_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError, match="sightline train reid-osnet --data CROPS --name reid-mine"):
        load_reid_predictor([str(tmp_path)], "reid-mine@live")
    save_small(ModelStore(tmp_path), "reid-small")
    with pytest.raises(BrokenModelError, match="needs a PersonEmbedder"):
        load_reid_predictor([str(tmp_path)], "reid-small@1")
    with pytest.raises(ModelNotFoundError, match=r"the model store .* is not there"):
        ReIDReplica(str(tmp_path / "gone"), "reid-small@1", "cpu", store_must_exist=True)


class Handle:
    """A replica's handle, whose replies are computed here; it notes how many crops each call had."""

    def __init__(self, replica: ReIDReplica, failure: Exception | None = None) -> None:
        self.replica, self.failure, self.asked = replica, failure, list[int]()
        self.embed = self

    def remote(self, pieces: Crops) -> Handle:
        self.asked.append(len(pieces))
        self.pieces = pieces
        return _Reply(self.replica, pieces, self.failure)  # type: ignore[return-value]


class _Reply:
    def __init__(self, replica: ReIDReplica, pieces: Crops, failure: Exception | None) -> None:
        self._call, self._failure = (replica, pieces), failure

    def result(self, timeout_s: float) -> dict[str, Any]:
        if self._failure is not None:
            raise self._failure
        replica, pieces = self._call
        return replica.embed(pieces)


@pytest.fixture(scope="module")
def replica(tmp_path_factory: pytest.TempPathFactory) -> ReIDReplica:
    return ReIDReplica(str(tmp_path_factory.mktemp("none")), "reid-small@1", "cpu")


def served(handle: Any, max_crops: int = 4) -> ServeEmbed:
    loading: Future[Any] = Future()
    loading.set_result(handle)
    return ServeEmbed(loading, max_crops=max_crops)


def test_a_batch_is_one_call_and_a_large_one_is_cut_and_joined_in_order(replica: ReIDReplica) -> None:
    handle, many = Handle(replica), crops(10)
    together = served(handle, max_crops=100)(many)
    assert handle.asked == [10]
    apart = served(handle)(many)
    assert sorted(handle.asked[1:]) == [2, 4, 4]
    assert np.array_equal(apart.vectors, together.vectors)
    assert (apart.model_name, apart.model_version) == ("reid-small", "1")
    assert served(handle)(crops(0)).vectors.shape[0] == 0


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Ray Serve declares fields the old way
def test_a_model_that_is_loading_or_away_is_waited_for(replica: ReIDReplica) -> None:
    with pytest.raises(DependencyUnavailable, match="being loaded"):
        ServeEmbed(Future())(crops(1))
    with pytest.raises(DependencyUnavailable, match="the model of people: TimeoutError"):
        served(Handle(replica, TimeoutError("no answer")))(crops(1))


def test_embedding_in_the_own_process_is_the_same_and_travels_light(tmp_path: Path, replica: ReIDReplica) -> None:
    local = LocalEmbed(str(tmp_path), "reid-small@1")
    found = local(crops(3))
    assert np.array_equal(found.vectors, replica.embed(crops(3))["vectors"])
    (described,) = local.describe()
    assert (described["title"], described["name"], described["version"]) == ("person", "reid-small", "1")
    packed = pickle.dumps(local)
    assert len(packed) < 1_000
    assert np.array_equal(pickle.loads(packed)(crops(3)).vectors, found.vectors)  # noqa: S301 - our own bytes


def test_a_promotion_is_loaded_beside_and_offered_and_each_call_says_by_which_it_is_answered(tmp_path: Path) -> None:
    store = ModelStore(tmp_path, str(SHIPPED))
    first, second = (save_turned(store, by, "reid-small") for by in (1.0, 1.3))
    store.set_alias("reid-small", "live", first)
    local = LocalEmbed(str(tmp_path), "reid-small@live", dimensions=128)
    followed = FollowedEmbed(local, [str(tmp_path), str(SHIPPED)], "reid-small@live")
    assert isinstance(followed, ReleasedEmbed)
    try:
        wait_until(lambda: followed.offered().version == first)
        old = followed.offered()
        store.set_alias("reid-small", "live", second)
        wait_until(lambda: followed.offered().version == second)
        new, some = followed.offered(), crops(3)
        both = [followed(some, release) for release in (old, new)]
        assert [found.model_version for found in both] == [str(first), str(second)]
        assert new.may_follow(old) and not old.may_follow(new)
        assert both[0].weight_hash != both[1].weight_hash
        assert np.abs(both[0].vectors - both[1].vectors).max() > 1e-3
        assert both[0].appearance is not None
    finally:
        followed.close()


def test_a_version_of_another_size_cannot_take_over_and_the_one_before_answers_on(tmp_path: Path) -> None:
    with pytest.raises(BrokenModelError, match="embeds to 128 numbers, and those that are remembered have 64"):
        ReIDReplica(str(tmp_path), "reid-small@1", "cpu", dimensions=64)
