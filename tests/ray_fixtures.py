"""Ray on this machine, for the tests of a module that ask for it by `pytest.mark.usefixtures("own_ray")`, and the time
that Ray gives its own processes, also where a test starts it by a command."""

from __future__ import annotations

import gc
import os
import warnings
from collections.abc import Iterator

import pytest

from jobs.ray_session import ray_session
from tests.waiting import PATIENCE_S

# Half a minute each, or a minute, by default: what starts in time on a slow machine that is busy is a matter of luck.
# Read by each of Ray's processes when it starts, so set before any test imports ray.
os.environ |= {
    "RAY_raylet_start_wait_time_s": f"{PATIENCE_S:.0f}",  # a node until the head knows it
    "RAY_gcs_server_port_wait_time_s": f"{PATIENCE_S:.0f}",  # the head until it has a port
    "RAY_agent_register_timeout_ms": f"{1000 * PATIENCE_S:.0f}",  # a node's agents, without which it ends
    "RAY_worker_register_timeout_seconds": f"{PATIENCE_S:.0f}",
    "RAY_DASHBOARD_STARTUP_TIMEOUT_S": f"{PATIENCE_S:.0f}",
}


@pytest.fixture(scope="module")
def own_ray() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # Ray does not wait for the processes that it ends
        with ray_session(None, logical_cpus=4, object_store_mb=100):
            yield
        gc.collect()
