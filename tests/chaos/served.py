"""The model is in Ray Serve, as `sightline run` has it there: replicas die, the controller dies, the app is deleted.

Only the micro-batch runner asks a model that runs elsewhere; workers of the other hold their own.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import polars as pl
import psutil
import ray

from models.store import SHIPPED
from serve.app import AppKeeper, app_name
from serve.win import LocalPredict, ServePredict
from serve.win_app import WinApp
from streaming.features.catalogue import title_spec
from streaming.pipelines.win_prediction import STATE_FLOATS, Predict
from tests.chaos.lab import MICRO_BATCH, Lab
from tests.chaos.scenario import scenario

_TITLE, _MODEL = "lol", "tsstn-lol@live"
_MAX_BATCH = 20  # so that most batches are cut, and asked of all replicas at once


class Asking:
    """What a stage does before it answers: it has the model say something of every row, and compares that with what the
    same weights say in this process."""

    def __init__(self, predict: Predict) -> None:
        self._predict = predict
        self._expected = LocalPredict(str(SHIPPED), {_TITLE: _MODEL}, store_must_exist=True)
        self._expected.describe()

    def __call__(self, rows: pl.DataFrame) -> None:
        request = _request(rows)
        said, expected = self._predict(_TITLE, request).logit, self._expected(_TITLE, request).logit
        assert said.shape == expected.shape == (rows.height,)
        assert np.abs(said - expected).max() < 1e-4, "the model has answered something else"


def _request(rows: pl.DataFrame) -> dict[str, Any]:
    sequence = rows["sequence"].to_numpy()
    matches, match = np.unique(rows["match_id"].to_numpy(), return_inverse=True)
    features = np.outer(sequence % 13 - 6.0, np.ones(len(title_spec(_TITLE).features)))
    return {
        "features": features.astype(np.float32),
        "clock_s": (60.0 * (sequence % 40)).astype(np.float32),
        "match": match.astype(np.int64),
        "hidden": np.zeros((len(matches), STATE_FLOATS), np.float32),
    }


class Served:
    """The processes behind the model."""

    def __init__(self, app: str, deployment: str) -> None:
        self.app, self._deployment = app, deployment

    def replicas(self) -> list[psutil.Process]:
        """Those that can predict, as far as Serve knows, and live."""
        from ray.serve.context import _get_global_client

        client = _get_global_client()
        assert client is not None
        deployments = client.get_serve_details()["applications"].get(self.app, {"deployments": {}})["deployments"]
        every = deployments.get(self._deployment, {"replicas": []})["replicas"]
        numbers = sorted(replica["pid"] for replica in every if replica["state"] == "RUNNING")
        return [psutil.Process(pid) for pid in numbers if psutil.pid_exists(pid)]

    def controller(self) -> psutil.Process:
        controller = ray.get_actor("SERVE_CONTROLLER_ACTOR", namespace="serve")
        return psutil.Process(ray.get(controller.get_pid.remote()))


@contextmanager
def served(lab: Lab, replicas: int) -> Iterator[Served]:
    """The lab's stage asks the shipped model from now on, which is kept in Serve for the body of the `with`."""
    from ray import serve

    name = app_name(lab.stream.prefix, lab.broker.settings.bootstrap_servers)
    app = WinApp(name, {_TITLE: _MODEL}, str(SHIPPED), replicas=replicas)
    keeper = AppKeeper(app)
    lab.ask(Asking(ServePredict(keeper.loading, max_batch=_MAX_BATCH)))
    logging.getLogger("ray.serve").setLevel(logging.ERROR)
    keeper.start()
    try:
        lab.wait_for(keeper.loading.done)
        keeper.loading.result()
        yield Served(name, app.deployment)
        assert keeper.failure is None, repr(keeper.failure)
    finally:
        keeper.stop(delete=False)
        serve.shutdown()


@scenario(MICRO_BATCH)
def replica_killed(lab: Lab) -> None:
    """kill -9 of a replica of the model in Ray Serve under load, by turns one of two and both at once."""
    with served(lab, replicas=2) as model, lab.running() as run:
        for number in range(lab.pick(2, 8)):
            run.wait_for(lambda: len(model.replicas()) == 2, pause_s=0.5)
            with lab.load(lab.pick(400, 1_000)):
                run.wait_for(lab.some_more(50))
                victims = model.replicas()
                for victim in victims if number % 2 else [lab.random.choice(victims)]:
                    lab.kill(victim, "replica")
            run.wait_for(lab.caught_up, pause_s=0.1)


@scenario(MICRO_BATCH)
def serve_controller_killed(lab: Lab) -> None:
    """kill -9 of Ray Serve's controller under load, and then of the only replica: the next controller replaces it."""
    with served(lab, replicas=1) as model, lab.running() as run:
        for _ in range(lab.pick(1, 6)):
            run.wait_for(lambda: len(model.replicas()) == 1, pause_s=0.5)
            (replica,) = model.replicas()
            with lab.load(lab.pick(400, 1_000)):
                run.wait_for(lab.some_more(50))
                lab.kill(model.controller(), "Serve controller")
                run.wait_for(lab.some_more(50))  # replicas answer without it
                lab.kill(replica, "replica")
            run.wait_for(lab.caught_up, pause_s=0.1)


@scenario(MICRO_BATCH)
def model_deleted(lab: Lab) -> None:
    """Somebody deletes the app from Ray Serve under load: it is deployed again, and the pipeline waits for it."""
    from ray import serve

    with served(lab, replicas=1) as model, lab.running() as run:
        for _ in range(lab.pick(1, 5)):
            run.wait_for(lambda: len(model.replicas()) == 1, pause_s=0.5)
            (replica,) = model.replicas()
            with lab.load(lab.pick(400, 1_000)):
                run.wait_for(lab.some_more(50))
                lab.inject("app deleted")
                serve.delete(model.app, _blocking=False)
                run.wait_for(lambda pid=replica.pid: not psutil.pid_exists(pid), pause_s=0.2)  # type: ignore[misc]
            lab.stream.feed(50)
            run.wait_for(lab.caught_up, pause_s=0.1)
