"""Calls to replicas on Ray Serve: whose fault it is where one fails, and what is said of it."""

from __future__ import annotations

import platform
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from models.store import ModelNotFoundError
from streaming.pipeline import DependencyUnavailable

if TYPE_CHECKING:
    from ray.serve.handle import DeploymentHandle

Loading: TypeAlias = "Future[DeploymentHandle[Any]]"
"""The handle, once the models are loaded."""

_LOADING_S = 0.5


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
