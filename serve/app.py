"""A model's app on a Ray cluster: deployed, watched, deployed again should it vanish, deleted at the end.

An app has a name for each pipeline and Kafka, so two systems on one cluster never meet, and a restart finds what a
killed run has left. Its deployment is named for the run: whose app it is can be told while no replica runs yet.
"""

from __future__ import annotations

import hashlib
import logging
import re
import threading
import uuid
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from models.store import errors
from serve.calls import Loading, first_line
from streaming.transport import Fenced

if TYPE_CHECKING:
    from ray.serve.handle import DeploymentHandle

log = logging.getLogger(__name__)

_FIRST_LOOK_S = 0.1
_LOOK_S = 5.0
_END_S = 20.0
_DELETED_S = 30.0


class DeploymentFailed(RuntimeError):
    """Ray Serve has given up on the app; the message has what its replicas died of."""


def app_name(pipeline: str, bootstrap_servers: str) -> str:
    """Of the app that answers for this pipeline on this Kafka."""
    servers = ",".join(sorted(server.strip() for server in bootstrap_servers.split(",")))
    return f"{pipeline}-{hashlib.sha256(servers.encode()).hexdigest()[:6]}"


@dataclass(frozen=True)
class AppState:
    """What the cluster says about an app."""

    deployments: tuple[str, ...] = ()  # empty: there is no such app, or it is on its way out
    running: bool = False
    replicas: int = 0  # that can predict now
    failed: bool = False
    message: str = ""


class App(Protocol):
    """An app as `AppKeeper` sees it."""

    @property
    def deployment(self) -> str:
        """The name that marks it as this run's."""

    def deploy(self) -> None:
        """Ask the cluster for it; returns before it runs."""

    def state(self) -> AppState:
        """How it is now."""

    def handle(self) -> DeploymentHandle[Any]:
        """To call it, once it runs."""

    def delete(self) -> None:
        """Take it from the cluster; returns when it is gone, or after a while."""


class ReplicaApp:
    """The app of one run on the connected Ray cluster, without any HTTP proxy: replicas of one class.

    Args:
        name: `app_name`.
        prefix: of the deployment's name.
        replica: the class.
        bound: its positional arguments.
        options: its other arguments.
        replicas: how many, until `scale` says otherwise.
        gpus_per_replica: 0 for the CPU.
    """

    def __init__(
        self,
        name: str,
        prefix: str,
        replica: type,
        bound: Sequence[Any],
        options: Mapping[str, Any],
        *,
        replicas: int = 1,
        gpus_per_replica: float = 0.0,
    ) -> None:
        self._name, self._replica, self._bound, self._options = name, replica, tuple(bound), dict(options)
        self._replicas, self._gpus = replicas, gpus_per_replica
        self._deployment = f"{prefix}-{uuid.uuid4().hex[:8]}"

    @property
    def deployment(self) -> str:
        """The name that marks it as this run's."""
        return self._deployment

    def deploy(self) -> None:
        """Ask the cluster for the app, in place of any other run's of this name; returns before it runs."""
        from ray import serve as ray_serve

        # `serve.run` would wait without end for a cluster that has no room, and look only once a second.
        from ray.serve.api import RunTarget, _run_many

        deployment = ray_serve.deployment(
            name=self._deployment,
            num_replicas=self._replicas,
            max_ongoing_requests=16,
            health_check_period_s=5,
            graceful_shutdown_wait_loop_s=0.2,
            ray_actor_options={"num_cpus": 0.5, "num_gpus": self._gpus},
        )(self._replica)
        ray_serve.start(proxy_location="Disabled")
        app = deployment.bind(*self._bound, **self._options)
        _run_many(
            [RunTarget(app, name=self._name, route_prefix=None, external_scaler_enabled=True)],
            wait_for_ingress_deployment_creation=False,
            wait_for_applications_running=False,
        )

    def scale(self, replicas: int) -> None:
        """So many replicas from now on, also after the next `deploy`; those that run stay. Returns before they do.

        Not by a deployment with another number: every deployment is a new version to Serve, which replaces all.
        """
        import ray
        from ray.serve._private.common import DeploymentID
        from ray.serve.context import _get_global_client

        self._replicas = replicas
        client = _get_global_client(raise_if_no_controller_running=True)
        assert client is not None
        controller = client._controller  # noqa: SLF001 - Serve offers this over HTTP alone, and we run no proxy
        ray.get(controller.update_deployment_replicas.remote(DeploymentID(self._deployment, self._name), replicas))

    def state(self) -> AppState:
        """How it is now."""
        from ray import serve as ray_serve

        app = ray_serve.status().applications.get(self._name)
        if app is None or app.status == "DELETING":
            return AppState()
        states = [item for deployment in app.deployments.values() for item in deployment.replica_states.items()]
        told = [app.message, *(deployment.message for deployment in app.deployments.values())]
        return AppState(
            deployments=tuple(app.deployments) or (self._deployment,),  # just asked for: it has none yet
            running=app.status == "RUNNING" and self._deployment in app.deployments,
            replicas=sum(count for state, count in states if state == "RUNNING"),
            failed=app.status == "DEPLOY_FAILED",
            message=max(told, key=len),
        )

    def handle(self) -> DeploymentHandle[Any]:
        """To call it, once it runs."""
        from ray import serve as ray_serve

        return ray_serve.get_deployment_handle(self._deployment, self._name)

    def delete(self) -> None:
        """Take it from the cluster; returns when it is gone, or after a while."""
        from ray import serve as ray_serve

        ray_serve.delete(self._name, _blocking=False)
        gone, waited = threading.Event(), 0.0
        while self.state().deployments and waited < _DELETED_S:
            gone.wait(_FIRST_LOOK_S)
            waited += _FIRST_LOOK_S


class AppKeeper:
    """A thread that deploys an app and keeps it on its cluster while the pipeline runs.

    `loading` is done once the app can predict, or failed for good. After that the app is looked at now and then:
    deployed again if someone deleted it, given up if another run has taken it over.
    """

    def __init__(self, app: App, on_failure: Callable[[], None] = lambda: None, look_s: float = _LOOK_S) -> None:
        self._app, self._on_failure, self._look_s = app, on_failure, look_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="app", daemon=True)
        self.loading: Loading = Future()
        self.failure: BaseException | None = None
        self.state = AppState()

    @property
    def waits_for(self) -> str:
        """What keeps the app from its first answer, in words; "" once it can."""
        if self.loading.done():
            return ""
        why = " ".join(self.state.message.split())
        return f"loading the models into Ray Serve{f' ({why})' if why else ''}"

    def start(self) -> None:
        """Begin; nothing is waited for."""
        self._thread.start()

    def stop(self, *, delete: bool) -> None:
        """End the thread, whatever it waits for; with `delete` the app goes too, if it is still this run's."""
        self._stop.set()
        self._thread.join(_END_S)
        if not delete or self._thread.is_alive():
            return
        try:
            if self._app.deployment in self._app.state().deployments:
                self._app.delete()
        except (
            Exception
        ) as away:  # the cluster is gone, and the app with it, or cannot be asked: the run ends all the same
            log.warning("the app was not deleted: %s", first_line(away))

    def _keep(self) -> None:
        try:
            self._app.deploy()
            while not self._stop.wait(self._look_s if self.loading.done() else _FIRST_LOOK_S):
                self._look()
        except Exception as failure:
            self.failure = failure
            if not self.loading.done():
                self.loading.set_exception(failure)
            self._on_failure()

    def _look(self) -> None:
        try:
            self.state = state = self._app.state()
            if not state.deployments:
                log.warning("the app is gone from the cluster: deploying it again")
                self._app.deploy()
                return
        except Exception as away:  # whatever a cluster in trouble raises: it may come back
            log.warning("Ray Serve does not answer: %s", first_line(away))
            self.state = AppState(replicas=-1)
            return
        if self._app.deployment not in state.deployments:
            raise Fenced("another run of this pipeline has deployed its models in place of ours: this one must stop")
        elif state.running and not self.loading.done():
            self.loading.set_result(self._app.handle())
            log.info("the models are loaded", extra={"step": "models"})
        elif state.failed and not self.loading.done():
            raise reason_of(state.message)


def reason_of(message: str) -> Exception:
    """What a replica died of, from Serve's account of a failed deployment, which ends in a traceback of the replica.

    A model that is missing or broken, or a store out of reach, is told as such; the message is one line.
    """
    raised = re.findall(r"^([\w.]+(?:Error|Exception)): (.+)$", message, re.MULTILINE)
    for kind, words in reversed(raised):
        name = kind.rpartition(".")[2]
        if name in ("ModelNotFoundError", "BrokenModelError", "StoreUnavailableError"):
            known: type[Exception] = getattr(errors, name)
            return known(words)
    told = ": ".join(raised[-1]) if raised else " ".join(message.split())[:300]
    return DeploymentFailed(f"the models cannot be served: {told or 'Ray Serve does not say why'}")
