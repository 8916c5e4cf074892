"""Ray on this machine, for the tests of a module that ask for it by `pytest.mark.usefixtures("own_ray")`."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Iterator

import pytest

from jobs.ray_session import ray_session


@pytest.fixture(scope="module")
def own_ray() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # Ray does not wait for the processes that it ends
        with ray_session(None, logical_cpus=4, object_store_mb=100):
            yield
        gc.collect()
