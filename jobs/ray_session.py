"""Connect to Ray: the cluster at RAY_ADDRESS, or one of our own on this machine for as long as the process lives."""

from __future__ import annotations

import ctypes
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = ("streaming", "models", "serve", "jobs")

# Read by Ray's own processes when they start, so set before the first import of ray.
ENVIRONMENT = {
    "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",  # a handle call takes 1.2 ms instead of 4.2 ms
    "RAY_SERVE_RUN_ROUTER_IN_SEPARATE_LOOP": "1",  # which the line above turns off, but a driver without asyncio needs
    "RAY_SERVE_CONTROL_LOOP_INTERVAL_S": "0.5",  # by default ten a second, 3 % of a core; steps wait longer now
    "RAY_SERVE_ENABLE_DIRECT_INGRESS": "0",  # the same: an HTTP proxy, and a server in each replica
    "RAY_enable_metrics_collection": "0",  # else Ray's metric processes grow by about 1 MB per dataset execution
    "RAY_task_events_report_interval_ms": "0",  # else the GCS keeps an event of every actor call, 6 MB a minute
    "RAY_USAGE_STATS_ENABLED": "0",
    # Ray Data's scheduling loop sleeps up to 100 ms after handing a block's metadata to its prefetch thread; fetched
    # in the loop itself a batch takes 11 ms from yield to driver instead of 59-118 ms (1 task, 20-4 batches/s).
    "RAY_DATA_METADATA_PREFETCH_ON_THREAD": "0",
    "RAY_worker_niceness": "0",  # by default workers yield to everything else, and answers would wait
    "POLARS_MAX_THREADS": "1",  # batches are small: threads would cost more than they bring
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    "RAY_ENABLE_AUTO_CONNECT": "0",  # a thread that still asks something at the end must not start a second Ray
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_TRAIN_V2_ENABLED": "1",
    "MALLOC_ARENA_MAX": "2",  # see `_share_memory_among_threads`
}

_M_ARENA_MAX = -8  # malloc.h


@contextmanager
def ray_session(
    address: str | None, *, logical_cpus: int, object_store_mb: int, dashboard: bool = False
) -> Iterator[bool]:
    """Ray for the body of the `with`, which is told whether it is a cluster that outlives it.

    Args:
        address: of a running cluster; None starts one on this machine, with `logical_cpus` (many small actors and read
            tasks wait more than they work) and an object store of `object_store_mb`.
        logical_cpus: of an own cluster.
        object_store_mb: of an own cluster.
        dashboard: start Ray's dashboard too, which the Jobs API needs.
    """
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    _share_memory_among_threads()
    import ray

    address = address or os.environ.get("RAY_ADDRESS")
    if address:
        ray.init(address=address, logging_level=logging.ERROR, runtime_env=_ship_code(), namespace="sightline")
    else:
        ray.init(
            address="local",  # else a cluster that anybody runs on this machine is taken for ours
            num_cpus=logical_cpus,
            object_store_memory=object_store_mb << 20,
            include_dashboard=dashboard,
            log_to_driver=False,
            logging_level=logging.ERROR,
            configure_logging=False,
            namespace="sightline",
        )
    logging.getLogger("ray.data").setLevel(logging.WARNING)
    try:
        yield bool(address)
    finally:
        ray.shutdown()


def _share_memory_among_threads() -> None:
    """Every epoch has threads of its own, and glibc gives each new thread an arena, up to eight a core, of some
    megabytes each: ten minutes grew by 14 MB, and by 9 with two arenas. This process is told directly, as it reads the
    variable when it starts."""
    with suppress(AttributeError, OSError):  # another C library has no such thing
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, int(ENVIRONMENT["MALLOC_ARENA_MAX"]))


def _ship_code() -> dict[str, object]:
    """What a cluster elsewhere needs to import our modules; inside a submitted job the working folder is there."""
    if "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ:
        return {}
    return {
        "py_modules": [str(ROOT / package) for package in PACKAGES],
        "excludes": ["**/node_modules/**", "**/__pycache__/**"],
        "env_vars": ENVIRONMENT,
    }
