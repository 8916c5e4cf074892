"""Calls to replicas on Ray Serve: whose fault it is where one fails, and what is said of it."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from models.store import ModelNotFoundError
from streaming.pipeline import DependencyUnavailable

if TYPE_CHECKING:
    from ray.serve.handle import DeploymentHandle

Loading: TypeAlias = "Future[DeploymentHandle[Any]]"
"""The handle, once the models are loaded."""

_LOADING_S = 0.5
_PREPARED_S = 60.0
_DESCRIBED_S = 5.0


class Replicas:
    """The replicas of one app, as who asks them sees them.

    Args:
        loading: of the app.
        timeout_s: of a call.
    """

    def __init__(self, loading: Loading, *, timeout_s: float = 30.0) -> None:
        self._loading, self._timeout_s = loading, timeout_s
        self._pool = ThreadPoolExecutor(max_workers=8, thread_name_prefix="calls")

    def ask(self, what: str, method: str, pieces: Sequence[Sequence[Any]]) -> list[Any]:
        """One call a piece, its arguments, fanned out over the replicas; replies in the order of the pieces.

        Args:
            what: is asked, in words.
            method: of a replica.
            pieces: one at least.

        Raises:
            DependencyUnavailable: the models are still being loaded, no replica answered in time, or all are gone.
            LookupError, ValueError: as the replica has raised it.
        """

        def call(arguments: Sequence[Any]) -> Any:
            handle = loaded(self._loading)
            try:
                return getattr(handle, method).remote(*arguments).result(timeout_s=self._timeout_s)
            except Exception as away:
                raise_own(away, LookupError, ValueError)
                raise DependencyUnavailable(f"{what}: {first_line(away)}") from away

        return [call(pieces[0])] if len(pieces) == 1 else list(self._pool.map(call, pieces))

    def prepare(self, what: str, title: str, exact: str) -> None:
        """Have every replica that runs load NAME@VERSION beside what it answers by (`prepare_beside`); returns when all
        have. A replica that starts later loads it when it is asked for it.

        Raises:
            DependencyUnavailable: as a call; or not all replicas answered in time.
            others: as one of them has raised it.
        """
        handle = loaded(self._loading)
        try:
            done = handle.broadcast("prepare_beside", title, exact).results(timeout_s=_PREPARED_S)
        except Exception as away:
            raise_own(away)
            raise DependencyUnavailable(f"{what}: {first_line(away)}") from away
        if not done:
            raise DependencyUnavailable(f"{what}: no replica runs")

    def describe(self) -> list[dict[str, Any]]:
        """The models of any replica, by its own `describe`; nothing while they are being loaded."""
        if not self._loading.done():
            return []
        described: list[dict[str, Any]] = loaded(self._loading).describe.remote().result(timeout_s=_DESCRIBED_S)
        return described


def loaded(loading: Loading) -> DeploymentHandle[Any]:
    """The handle. Raises DependencyUnavailable while the models are being loaded."""
    try:
        return loading.result(_LOADING_S)
    except TimeoutError:
        raise DependencyUnavailable("the models are being loaded into Ray Serve") from None


def require_store(store: str) -> None:
    """The store is there where the pipeline was started, so without it here other weights would answer.

    Raises:
        ModelNotFoundError: it is not.
    """
    if not Path(store).is_dir():
        raise ModelNotFoundError(
            f"the model store {store} is not there on {platform.node()}: put it where every node finds it under "
            "the same path (setting models.store)"
        )


def first_line(error: BaseException) -> str:
    """Class and first line of an error; Ray's go on with tracebacks of other processes."""
    return f"{type(error).__name__}: {error}".splitlines()[0]


def raise_own(failure: Exception, *kinds: type[Exception]) -> None:
    """Raise what a replica itself has raised, if it is of these kinds, or of any where none is given; and what does not
    come from Ray at all. Else it is that something is away."""
    from ray.exceptions import RayError, RayTaskError
    from ray.serve.exceptions import RayServeException  # all of Serve: only where it is in use

    if not isinstance(failure, RayError | RayServeException | TimeoutError):
        raise failure
    cause = failure.cause if isinstance(failure, RayTaskError) else None
    if isinstance(cause, kinds or Exception) and not isinstance(cause, RayServeException):
        raise cause from failure
