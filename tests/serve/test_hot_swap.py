"""Hot swap: what an alias means is prepared beside what answers, and offered once it can answer itself."""

from __future__ import annotations

import logging
import pickle
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from models._registry import config_to_json
from models.store import BrokenModelError, ModelNotFoundError, ModelStore, StoreUnavailableError, promote, rollback
from models.tsstn import TSSTNConfig
from serve.releases import Following, ReleaseWatch, alias_of, releases_of
from serve.win import LocalPredict, ServePredict, WinReplica
from streaming.features.catalogue import title_spec
from streaming.pipeline import DependencyUnavailable
from streaming.pipelines.win_prediction import STATE_FLOATS, Arrays, Prediction
from streaming.releases import Release, ReleasedPredict, ReleaseLost
from tests.waiting import PATIENCE_S, wait_until

NAME, LIVE = "tsstn-lol", "tsstn-lol@live"
CONFIG = TSSTNConfig(groups=tuple(title_spec("lol").groups.items()), hidden=2, state=3, slots=4)


def save(store: ModelStore, *, title: str = "lol", name: str = NAME, seed: int = 0) -> None:
    torch.manual_seed(seed)
    config = CONFIG if title == "lol" else TSSTNConfig(tuple(title_spec(title).groups.items()), hidden=2, state=3)
    words: dict[str, Any] = dict.fromkeys(("trained_on", "data_fingerprint", "code_version"), "")
    store.save(name, config.build(), config_to_json(config), metrics={}, title=title, **words)


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    """Versions 1 to 3 of tsstn-lol; live means 1."""
    store = ModelStore(tmp_path)
    for seed in range(3):
        save(store, seed=seed)
    store.set_alias(NAME, "live", 1)
    return store


def go(store: ModelStore, version: int) -> None:
    promote(store, f"{NAME}@{version}", force=True, reason="a test")


def tamper(store: ModelStore, version: int) -> None:
    weights = Path(str(store.own)) / NAME / str(version) / "weights.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(bytes(data))


class Prepared:
    """Notes what is to be prepared, and refuses what it is told to."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.refuses: dict[str, Exception] = {}

    def __call__(self, title: str, exact: str) -> None:
        self.asked.append(exact)
        if exact in self.refuses:
            raise self.refuses[exact]


def watch_of(store: ModelStore, prepared: Callable[[str, str], None], reference: str = LIVE) -> ReleaseWatch:
    return ReleaseWatch([str(store.own)], {"lol": reference}, prepared)


def test_a_promotion_is_prepared_and_then_offered_and_so_is_its_rollback(store: ModelStore) -> None:
    prepared = Prepared()
    watch = watch_of(store, prepared)
    assert watch.offered == {}
    watch.look()
    assert watch.offered == {"lol": Release(LIVE, 1, 1)}
    watch.look()
    go(store, 2)
    watch.look()
    assert watch.offered == {"lol": Release(LIVE, 2, 2)}
    rollback(store, NAME)
    watch.look()
    assert watch.offered == {"lol": Release(LIVE, 3, 1)}
    assert prepared.asked == [f"{NAME}@1", f"{NAME}@2", f"{NAME}@1"]
    assert watch.alerts() == ()


def test_what_cannot_serve_raises_an_alert_and_is_tried_again_only_when_the_alias_moves_again(
    store: ModelStore, caplog: pytest.LogCaptureFixture
) -> None:
    prepared = Prepared()
    prepared.refuses[f"{NAME}@2"] = RuntimeError("out of memory,\nsays the device")
    watch = watch_of(store, prepared)
    watch.look()
    go(store, 2)
    for _ in range(3):
        watch.look()
    assert watch.offered == {"lol": Release(LIVE, 1, 1)}
    words = f"{NAME}@2 ({LIVE}) cannot take over, {NAME}@1 answers on: out of memory, says the device"
    assert watch.alerts() == (words,) and caplog.messages.count(words) == 1
    assert prepared.asked == [f"{NAME}@1", f"{NAME}@2"]
    go(store, 3)
    watch.look()
    assert (watch.offered["lol"].version, watch.alerts()) == (3, ())
    prepared.refuses.clear()
    go(store, 2)
    watch.look()
    assert (watch.offered["lol"].version, watch.alerts()) == (2, ())


@pytest.mark.parametrize("passing", [DependencyUnavailable("no replica runs"), StoreUnavailableError("no route")])
def test_what_is_away_for_now_is_tried_again_without_an_alert(
    store: ModelStore, passing: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    prepared = Prepared()
    watch = watch_of(store, prepared)
    prepared.refuses[f"{NAME}@1"] = DependencyUnavailable("still starting")
    watch.look()
    assert (watch.offered, caplog.messages) == ({}, [])
    prepared.refuses.clear()
    watch.look()
    go(store, 2)
    prepared.refuses[f"{NAME}@2"] = passing
    for _ in range(2):
        watch.look()
    assert (watch.offered["lol"].version, watch.alerts()) == (1, ())
    warnings = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert warnings == [f"{LIVE} is not followed for now: {passing}"]
    prepared.refuses.clear()
    watch.look()
    assert watch.offered["lol"].version == 2


def test_a_start_while_the_alias_means_what_is_broken_offers_what_it_meant_before(store: ModelStore) -> None:
    for version in (2, 3, 2):
        go(store, version)
    prepared = Prepared()
    prepared.refuses[f"{NAME}@2"] = BrokenModelError("altered")
    watch = watch_of(store, prepared)
    watch.look()
    assert watch.offered == {"lol": Release(LIVE, 3, 3)}
    assert [alert.startswith(f"{NAME}@2 ({LIVE}) cannot take over") for alert in watch.alerts()] == [True]
    assert prepared.asked == [f"{NAME}@2", f"{NAME}@3"]


def test_an_alias_whose_history_is_damaged_leaves_things_as_they_are_until_it_is_whole(store: ModelStore) -> None:
    watch = watch_of(store, Prepared())
    watch.look()
    damaged = Path(str(store.own)) / NAME / "history" / "live" / "000002.json"
    damaged.write_text("{")
    watch.look()
    assert watch.offered["lol"].version == 1
    assert [alert.startswith(f"what {LIVE} means cannot be read: {damaged}") for alert in watch.alerts()] == [True]
    damaged.unlink()
    watch.look()
    assert watch.alerts() == ()


def test_a_pinned_reference_never_moves(store: ModelStore) -> None:
    prepared = Prepared()
    watch = watch_of(store, prepared, f"{NAME}@2")
    watch.look()
    go(store, 3)
    watch.look()
    assert watch.offered == {"lol": Release(f"{NAME}@2", 0, 2)}
    assert prepared.asked == [f"{NAME}@2"]
    assert (alias_of(NAME), alias_of(f"{NAME}@2"), alias_of("m@candidate")) == (
        (NAME, "live"), (NAME, None), ("m", "candidate"),
    )  # fmt: skip


def test_of_an_alias_that_is_not_there_one_hears(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError, match="no model m@live"):
        list(releases_of(ModelStore(tmp_path), "m@live"))


def test_a_nudge_is_looked_into_at_once(store: ModelStore) -> None:
    watch = ReleaseWatch([str(store.own)], {"lol": LIVE}, Prepared(), period_s=3_600.0)
    watch.start()
    try:
        wait_until(lambda: "lol" in watch.offered)
        go(store, 2)
        watch.nudge()
        wait_until(lambda: watch.offered["lol"].version == 2)
    finally:
        watch.stop()


def request(matches: int = 2) -> dict[str, Any]:
    features = np.random.default_rng(0).normal(size=(matches, len(title_spec("lol").features))).astype(np.float32)
    return {
        "features": features,
        "clock_s": np.full(matches, 600.0, np.float32),
        "match": np.arange(matches),
        "hidden": np.zeros((matches, STATE_FLOATS), np.float32),
    }


def replica_of(store: ModelStore) -> WinReplica:
    return WinReplica(str(store.own), {"lol": LIVE}, "cpu", fall_back=True)


def test_a_replica_answers_by_the_version_it_is_asked_for_and_loads_it_if_need_be(store: ModelStore) -> None:
    replica = replica_of(store)
    first = replica.predict("lol", request())
    replica.prepare("lol", f"{NAME}@2")
    assert [model["version"] for model in replica.describe()] == ["2"]
    by = {version: replica.predict("lol", request(), f"{NAME}@{version}") for version in (3, 1, 2)}
    assert [by[version]["model"][:2] for version in (1, 2, 3)] == [(NAME, "1"), (NAME, "2"), (NAME, "3")]
    assert np.array_equal(by[1]["logit"], first["logit"]) and not np.array_equal(by[2]["logit"], first["logit"])
    assert [model["version"] for model in replica.describe()] == ["2"]
    replica.check_health()


def test_a_replica_holds_a_few_versions_and_lets_go_of_the_one_asked_for_longest_ago(store: ModelStore) -> None:
    save(store, seed=3)
    replica = replica_of(store)
    for version in (2, 3):
        replica.prepare("lol", f"{NAME}@{version}")
    replica.predict("lol", request(), f"{NAME}@1")
    replica.prepare("lol", f"{NAME}@4")
    for version in (1, 2, 3, 4):
        tamper(store, version)
    for version in (1, 3, 4):
        assert replica.predict("lol", request(), f"{NAME}@{version}")["model"][1] == str(version)
    with pytest.raises(BrokenModelError, match="weights"):
        replica.predict("lol", request(), f"{NAME}@2")


@pytest.mark.parametrize("beside", ["tampered", "another title", "not even", "gone"])
def test_what_does_not_do_is_refused_and_the_replica_answers_on(
    store: ModelStore, beside: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    replica, exact = replica_of(store), f"{NAME}@2"
    before = replica.predict("lol", request())
    if beside == "tampered":
        tamper(store, 2)
    elif beside == "another title":
        save(store, title="dota2")
        exact = f"{NAME}@4"
    elif beside == "gone":
        exact = f"{NAME}@9"
    else:
        from serve.predictors.win import WinPredictor

        whole = WinPredictor.predict
        monkeypatch.setattr(
            WinPredictor, "predict",
            lambda self, asked: {**(said := whole(self, asked)), "logit": said["logit"] * np.nan}
            if self.info.version == "2" else whole(self, asked),
        )  # fmt: skip
    with pytest.raises((BrokenModelError, ModelNotFoundError)):
        replica.prepare("lol", exact)
    after = replica.predict("lol", request())
    assert after["model"] == before["model"] and np.array_equal(after["logit"], before["logit"])


def test_a_replica_that_starts_while_the_alias_means_what_is_broken_is_there_all_the_same(store: ModelStore) -> None:
    go(store, 2)
    tamper(store, 2)
    replica = replica_of(store)
    assert [model["version"] for model in replica.describe()] == ["1"]
    with pytest.raises(BrokenModelError, match="2/weights"):  # as for a replay, which is to be by what is named
        WinReplica(str(store.own), {"lol": LIVE}, "cpu")
    tamper(store, 1)
    with pytest.raises(BrokenModelError, match="2/weights"):  # what is meant, not what was tried last
        replica_of(store)


@pytest.fixture
def following(store: ModelStore) -> Iterator[Following[Arrays, Prediction]]:
    place = str(store.own)
    local = LocalPredict(place, {"lol": LIVE}, store_must_exist=True, fall_back=True)
    following = Following(local, [place], {"lol": LIVE}, period_s=0.02)
    yield following
    following.close()


def test_a_worker_follows_its_alias_and_answers_by_the_release_it_is_told(
    following: Following[Arrays, Prediction], store: ModelStore
) -> None:
    assert isinstance(following, ReleasedPredict)
    with pytest.raises(KeyError, match="no model for title 'chess'; there are: lol"):
        following.offered("chess")
    wait_until(lambda: is_offered(following, 1))
    old = following.offered("lol")
    go(store, 2)
    wait_until(lambda: is_offered(following, 2))
    new = following.offered("lol")
    assert [following("lol", request(), release).model_version for release in (old, new)] == ["1", "2"]
    rollback(store, NAME)
    wait_until(lambda: is_offered(following, 1))
    assert following.offered("lol").moves == 3


def test_a_hint_is_looked_into_at_once_wherever_the_models_are(store: ModelStore) -> None:
    place = str(store.own)
    local = LocalPredict(place, {"lol": LIVE}, store_must_exist=True, fall_back=True)
    following = Following(local, [place], {"lol": LIVE}, hints=Hinting(), period_s=3_600.0)
    there = pickle.loads(pickle.dumps(following))  # noqa: S301 - our own bytes
    try:
        wait_until(lambda: is_offered(there, 1))
        go(store, 2)
        Hinting.said.set()
        wait_until(lambda: is_offered(there, 2))
        assert not Hinting.ended.is_set()
    finally:
        there.close()
    assert Hinting.ended.wait(PATIENCE_S)


class Hinting:
    """Nudges once when it is told to, and stays to the end."""

    said, ended = threading.Event(), threading.Event()

    def __call__(self, nudge: Callable[[], None], over: threading.Event) -> None:
        self.said.wait(PATIENCE_S)
        nudge()
        over.wait(PATIENCE_S)
        self.ended.set()


def is_offered(following: Following[Arrays, Prediction], version: int) -> bool:
    try:
        return following.offered("lol").version == version
    except DependencyUnavailable:
        return False


def test_a_tampered_version_leaves_a_worker_at_the_old_one_with_an_alert(
    following: Following[Arrays, Prediction], store: ModelStore
) -> None:
    wait_until(lambda: is_offered(following, 1))
    go(store, 2)
    wait_until(lambda: is_offered(following, 2))
    tamper(store, 3)
    store.set_alias(NAME, "live", 3)
    wait_until(lambda: following.alerts() != ())
    (alert,) = following.alerts()
    assert f"{NAME}@3 ({LIVE}) cannot take over, {NAME}@2 answers on" in alert and "weights.safetensors" in alert
    assert is_offered(following, 2)
    with pytest.raises(ReleaseLost, match=f"{NAME}@3"):
        following("lol", request(), Release(LIVE, 3, 3))


def test_it_travels_without_its_models_and_its_thread(following: Following[Arrays, Prediction]) -> None:
    wait_until(lambda: is_offered(following, 1))
    here = following.offered("lol")
    packed = pickle.dumps(following)
    assert len(packed) < 2_000
    there = pickle.loads(packed)  # noqa: S301 - our own bytes
    try:
        wait_until(lambda: is_offered(there, 1))
        assert np.array_equal(there("lol", request(), here).logit, following("lol", request(), here).logit)
    finally:
        there.close()


class Replicas:
    """A Serve handle over replicas in this process, each of which is asked in turn."""

    def __init__(self, *replicas: WinReplica) -> None:
        self.replicas = list(replicas)
        self.turn = 0

    def broadcast(self, method: str, *args: str) -> Result:
        assert method == "prepare_beside"
        return Result([partial(replica.prepare, *args) for replica in self.replicas])

    @property
    def predict(self) -> Replicas:
        return self

    def remote(self, title: str, asked: Arrays, *by: str) -> Result:
        self.turn += 1
        replica = self.replicas[self.turn % len(self.replicas)]
        return Result([lambda: replica.predict(title, dict(asked), *by)])


class Result:
    def __init__(self, calls: list[Callable[[], Any]]) -> None:
        self._calls = calls

    def results(self, timeout_s: float) -> list[Any]:
        return [call() for call in self._calls]

    def result(self, timeout_s: float) -> Any:
        return self._calls[0]()


def served_by(handle: Replicas) -> ServePredict:
    from concurrent.futures import Future

    loading: Future[Any] = Future()
    loading.set_result(handle)
    return ServePredict(loading)


def test_all_replicas_have_a_version_before_any_answers_by_it_and_a_later_one_loads_what_it_is_asked_for(
    store: ModelStore,
) -> None:
    handle = Replicas(replica_of(store), replica_of(store))
    served = served_by(handle)
    watch = watch_of(store, served.prepare)
    watch.look()
    go(store, 2)
    watch.look()
    assert [replica.describe()[0]["version"] for replica in handle.replicas] == ["2", "2"]
    go(store, 3)
    handle.replicas.append(replica_of(store))  # has 3 only, while 2 is what answers
    versions = [served("lol", request(), watch.offered["lol"].exact).model_version for _ in range(6)]
    assert versions == ["2"] * 6


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Ray Serve's own, when it is imported
def test_a_version_that_one_replica_cannot_load_is_not_offered(store: ModelStore, tmp_path: Path) -> None:
    elsewhere = ModelStore(tmp_path / "other node")
    for seed in range(2):
        save(elsewhere, seed=seed)
    elsewhere.set_alias(NAME, "live", 1)
    tamper(elsewhere, 2)
    served = served_by(Replicas(replica_of(store), replica_of(elsewhere)))
    watch = watch_of(store, served.prepare)
    watch.look()
    go(store, 2)
    watch.look()
    assert watch.offered["lol"].version == 1
    assert "other node" in watch.alerts()[0]


def test_without_any_replica_nothing_is_offered(store: ModelStore) -> None:
    served = served_by(Replicas())
    with pytest.raises(DependencyUnavailable, match="no replica runs"):
        served.prepare("lol", f"{NAME}@1")
    watch = watch_of(store, served.prepare)
    watch.look()
    assert (watch.offered, watch.alerts()) == ({}, ())
