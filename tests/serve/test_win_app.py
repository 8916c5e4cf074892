"""The app on a cluster: deployed, waited for, deployed again, given up, deleted; on a cluster of this test's making."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.store import BrokenModelError, ModelNotFoundError, StoreUnavailableError
from serve.app import AppKeeper, AppState, DeploymentFailed, app_name, reason_of
from serve.win import ServePredict, WinReplica, cut_by_match
from streaming.pipeline import DependencyUnavailable
from streaming.transport import Fenced
from tests.waiting import PATIENCE_S, wait_until


class Cluster:
    """What is deployed, and under whose name."""

    def __init__(self) -> None:
        self.deployment: str | None = None
        self.running, self.failed, self.message = True, False, ""
        self.away = False
        self.refuses = 0  # so many deployments


class FakeApp:
    """One run's app on it."""

    def __init__(self, cluster: Cluster, deployment: str) -> None:
        self.cluster, self.deployment, self.deployed, self.deleted = cluster, deployment, 0, 0

    def deploy(self) -> None:
        if self.cluster.refuses:
            self.cluster.refuses -= 1
            raise OSError("the controller died of it")
        self.cluster.deployment = self.deployment
        self.deployed += 1

    def state(self) -> AppState:
        if self.cluster.away:
            raise OSError("the head node is gone")
        deployed, told = self.cluster.deployment, self.cluster
        if deployed is None:
            return AppState()
        return AppState(
            (deployed,), told.running and deployed == self.deployment, int(told.running), told.failed, told.message
        )

    def handle(self) -> Any:
        return f"handle of {self.deployment}"

    def delete(self) -> None:
        self.cluster.deployment = None
        self.deleted += 1


def keeper_of(app: FakeApp, on_failure: Callable[[], None] = lambda: None) -> AppKeeper:
    return AppKeeper(app, on_failure, look_s=0.01)


def test_it_is_deployed_awaited_and_deleted_at_the_end() -> None:
    app = FakeApp(Cluster(), "win-1")
    keeper = keeper_of(app)
    keeper.start()
    assert keeper.loading.result(PATIENCE_S) == "handle of win-1"  # type: ignore[comparison-overlap]
    keeper.stop(delete=True)
    assert (app.deployed, app.deleted, app.cluster.deployment) == (1, 1, None)


def test_a_cluster_without_room_is_waited_for_and_the_wait_can_be_ended_at_once() -> None:
    app = FakeApp(Cluster(), "win-1")
    app.cluster.running, app.cluster.message = False, "1 replica waits for GPU: 1"
    keeper = keeper_of(app)
    keeper.start()
    wait_until(lambda: "waits for GPU" in keeper.waits_for)
    predict = ServePredict(keeper.loading)
    with pytest.raises(DependencyUnavailable, match="being loaded"):
        predict("lol", request_of(1))
    keeper.stop(delete=True)
    assert app.cluster.deployment is None and not keeper.loading.done()


def test_an_app_that_someone_deleted_is_deployed_again() -> None:
    app = FakeApp(Cluster(), "win-1")
    keeper = keeper_of(app)
    keeper.start()
    keeper.loading.result(PATIENCE_S)
    app.cluster.deployment = None
    wait_until(lambda: app.deployed == 2)
    keeper.stop(delete=False)
    assert app.cluster.deployment == "win-1"


def test_an_app_that_cannot_be_deployed_again_at_once_is_when_the_cluster_answers() -> None:
    app = FakeApp(Cluster(), "win-1")
    keeper = keeper_of(app)
    keeper.start()
    keeper.loading.result(PATIENCE_S)
    app.cluster.refuses = 3
    app.cluster.deployment = None
    wait_until(lambda: app.deployed == 2)
    keeper.stop(delete=False)
    assert keeper.failure is None and app.cluster.deployment == "win-1"


def test_of_two_runs_of_one_pipeline_the_newer_keeps_the_app_and_the_older_stops() -> None:
    cluster, failed = Cluster(), threading.Event()
    older, newer = FakeApp(cluster, "win-1"), FakeApp(cluster, "win-2")
    first, second = keeper_of(older, failed.set), keeper_of(newer)
    first.start()
    first.loading.result(PATIENCE_S)
    second.start()
    assert failed.wait(PATIENCE_S)
    assert isinstance(first.failure, Fenced)
    first.stop(delete=True)
    assert (older.deleted, cluster.deployment) == (0, "win-2")
    second.stop(delete=True)
    assert cluster.deployment is None


def test_a_restart_right_after_is_not_swept_away_by_the_run_before() -> None:
    cluster = Cluster()
    older, newer = FakeApp(cluster, "win-1"), FakeApp(cluster, "win-2")
    keeper = AppKeeper(older, look_s=60.0)  # it does not look any more before it stops
    keeper.start()
    keeper.loading.result(PATIENCE_S)
    newer.deploy()
    keeper.stop(delete=True)
    assert cluster.deployment == "win-2"


def test_a_cluster_that_does_not_answer_for_a_while_ends_nothing() -> None:
    app = FakeApp(Cluster(), "win-1")
    app.cluster.away = True
    keeper = keeper_of(app)
    keeper.start()
    wait_until(lambda: keeper.state.replicas == -1)
    app.cluster.away = False
    keeper.loading.result(PATIENCE_S)
    app.cluster.away = True
    keeper.stop(delete=True)  # nor does it keep the run from ending
    assert keeper.failure is None


def test_a_deployment_that_failed_tells_why() -> None:
    app, failed = FakeApp(Cluster(), "win-1"), threading.Event()
    app.cluster.running, app.cluster.failed = False, True
    app.cluster.message = TRACE.format("models.store.ModelNotFoundError: no model tsstn-lol@live: train one")
    keeper = keeper_of(app, failed.set)
    keeper.start()
    assert failed.wait(PATIENCE_S)
    with pytest.raises(ModelNotFoundError, match=r"^no model tsstn-lol@live: train one$"):
        ServePredict(keeper.loading)("lol", request_of(1))
    assert isinstance(keeper.failure, ModelNotFoundError)
    keeper.stop(delete=True)


TRACE = """The deployment failed to start 3 times in a row. Error:
ray::ServeReplica:win.initialize_and_get_metadata() (pid=1, ip=10.0.0.1)
  File "serve/win.py", line 61, in __init__
{}

During handling of the above exception, another exception occurred:
RuntimeError: Traceback (most recent call last):
"""


@pytest.mark.parametrize(
    ("message", "kind", "said"),
    [
        (TRACE.format("models.store.BrokenModelError: /m/1: cut"), BrokenModelError, "/m/1: cut"),
        (TRACE.format("models.store.errors.StoreUnavailableError: s3://b: no"), StoreUnavailableError, "s3://b: no"),
        ("Error:\nValueError: odd device\n", DeploymentFailed, "the models cannot be served: ValueError: odd device"),
        ("no\nroom", DeploymentFailed, "the models cannot be served: no room"),
        ("", DeploymentFailed, "the models cannot be served: Ray Serve does not say why"),
    ],
)
def test_the_reason_of_a_failed_deployment_is_one_line(message: str, kind: type[Exception], said: str) -> None:
    reason = reason_of(message)
    assert (type(reason), str(reason)) == (kind, said)


def test_an_app_is_named_for_its_pipeline_and_its_kafka() -> None:
    name = app_name("win-prediction", "a:1,b:2")
    assert name == app_name("win-prediction", "b:2, a:1") != app_name("win-prediction", "c:1")
    assert name.startswith("win-prediction-")


def test_models_that_ship_are_found_where_the_replica_runs(tmp_path: Path) -> None:
    replica = WinReplica(str(tmp_path / "not there"), {"lol": "tsstn-lol@live"}, "cpu")
    assert [model["title"] for model in replica.describe()] == ["lol"]
    replica.check_health()


def test_a_store_that_this_node_lacks_is_said_not_passed_over(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError, match=r"store .*mine is not there on .*models\.store"):
        WinReplica(str(tmp_path / "mine"), {"lol": "tsstn-lol@live"}, "cpu", store_must_exist=True)


def request_of(matches: int) -> dict[str, Any]:
    return {
        "features": np.zeros((2 * matches, 3), np.float32),
        "clock_s": np.zeros(2 * matches, np.float32),
        "match": np.repeat(np.arange(matches), 2),
        "hidden": np.arange(matches, dtype=np.float32)[:, None].repeat(4, axis=1),
        "heroes": np.array([[f"a{m}", f"b{m}"] for m in range(matches)], dtype=object),
    }


class Calls:
    """A handle that answers with the names of the heroes it was asked about, as numbers."""

    def __init__(self) -> None:
        self.heroes: list[list[str]] = []

    @property
    def predict(self) -> Calls:
        return self

    def remote(self, title: str, request: dict[str, Any]) -> Calls:
        self.heroes.append([camp for match in request["heroes"] for camp in match])
        self.request = request
        return self

    def result(self, timeout_s: float) -> dict[str, Any]:
        rows = len(self.request["clock_s"])
        answer = {key: np.zeros((rows, 7), np.float32) for key in ("scores", "weights", "contributions")}
        answer |= {"logit": np.zeros(rows, np.float32), "usual_gold": self.request["clock_s"]}
        return {**answer, "hidden": self.request["hidden"], "model": ("n", "1", "h")}


def test_a_large_batch_is_cut_with_the_heroes_of_its_matches(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = Calls()
    keeper = keeper_of(FakeApp(Cluster(), "win-1"))
    keeper.loading.set_result(calls)  # type: ignore[arg-type]
    predict = ServePredict(keeper.loading, max_batch=2)
    monkeypatch.setattr(predict._replicas, "_pool", Serial())  # noqa: SLF001 - so that calls come in order
    answer = predict("lol", request_of(3))
    assert calls.heroes == [["a0", "b0"], ["a1", "b1"], ["a2", "b2"]]
    assert answer.hidden[:, 0].tolist() == [0.0, 1.0, 2.0]
    assert answer.usual_gold is not None and answer.usual_gold.tolist() == request_of(3)["clock_s"].tolist()
    assert len(cut_by_match(request_of(3), 2)) == 3


class Serial:
    map = staticmethod(map)
