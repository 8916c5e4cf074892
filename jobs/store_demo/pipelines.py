"""Sightings, counts and alerts in one process, on one Ray: `python -m jobs.store_demo.pipelines`.

`sightline run` starts a process and a Ray for each of them, which a cluster has room for and a laptop has not.
Sightings run as is set; counts and alerts, which have no model, by the continuous runner: a worker each.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from jobs.pipelines import PERSON_SIGHTINGS, STORE_ALERTS, STORE_METRICS
from jobs.ray_session import ray_session
from jobs.run import run_on_ray
from jobs.signals import signals_set

if TYPE_CHECKING:
    from jobs.settings import Settings

PIPELINES = (PERSON_SIGHTINGS, STORE_METRICS, STORE_ALERTS)


def run_pipelines(names: Sequence[str], settings: Settings, stopping: threading.Event) -> None:
    """Run these until `stopping`, or until one fails, which stops the others. Ray is there.

    Raises:
        as `jobs.run.run_pipeline`: of the first that failed.
    """

    def run(name: str) -> None:
        try:
            run_on_ray(name, _of(name, settings), stopping, shared=False)
        finally:
            stopping.set()

    with ThreadPoolExecutor(len(names), thread_name_prefix="pipeline") as threads:
        running = [threads.submit(run, name) for name in names]
    for each in running:
        each.result()


def _of(name: str, settings: Settings) -> Settings:
    if name == PERSON_SIGHTINGS:
        return settings
    counting = settings.pipeline.model_copy(update={"runner": "continuous", "workers": 1, "min_workers": None})
    return settings.model_copy(update={"pipeline": counting})


def main() -> int:
    """By the settings file that SIGHTLINE_CONFIG names."""
    from jobs.errors import meaning
    from jobs.logs import log_as_json
    from jobs.settings import load_settings

    settings, stopping = load_settings().settings, threading.Event()
    log_as_json(secrets=settings.secrets())
    try:
        with (
            ray_session(None, logical_cpus=settings.ray.num_cpus, object_store_mb=settings.ray.object_store_mb),
            signals_set(stopping),
        ):
            run_pipelines(PIPELINES, settings, stopping)
    except Exception as failure:
        words, code = meaning(failure)
        sys.stderr.write(f"{words}\n")
        return int(code)
    return 0


if __name__ == "__main__":
    sys.exit(main())
