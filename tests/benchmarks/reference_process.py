"""The process that runs the reference workload, with the settings and in the order of `sightline run`: workers of the
continuous runner begin to load while everything else does.

    python -m reference_process --bootstrap HOST:PORT --workers N [--ray-address HOST:PORT]

Only what Ray needs is imported here: the rest is, when Ray is up.
"""

from __future__ import annotations

import argparse
import sys
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from jobs.ray_session import ray_session
from jobs.settings import RaySection
from jobs.signals import signals_set

if TYPE_CHECKING:
    from jobs.run import Runner

BEGINS = "the runner begins at"


def run_until_sigterm(make_runner: Callable[[list[Any]], Runner], workers: int, address: str | None = None) -> None:
    """Run what `make_runner` makes, which is handed processes for so many workers; `address` is that of a Ray cluster,
    None starts one. Says when the runner begins, in s since 1970."""
    ray_settings, stopping = RaySection(), threading.Event()
    with (
        ray_session(address, logical_cpus=ray_settings.num_cpus, object_store_mb=ray_settings.object_store_mb),
        signals_set(stopping),
    ):
        from streaming.runners.continuous import standby

        runner = make_runner(standby(workers, _load_imports))

        def stop() -> None:
            stopping.wait()
            runner.stop()

        threading.Thread(target=stop, name="stop", daemon=True).start()
        sys.stdout.write(f"{BEGINS} {time.time():.3f}\n")
        sys.stdout.flush()
        runner.run()


def _load_imports() -> None:
    """For their time, not for their names."""
    import reference_model  # noqa: F401
    import reference_workload  # noqa: F401


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bootstrap", required=True)
    parser.add_argument("--workers", type=int, required=True)
    parser.add_argument("--ray-address", help="default: a cluster of its own")
    options = parser.parse_args()

    def make(processes: list[Any]) -> Runner:
        from reference_workload import continuous

        from streaming.kafka.settings import KafkaSettings

        return continuous(KafkaSettings(bootstrap_servers=options.bootstrap), options.workers, standby=processes)

    run_until_sigterm(make, options.workers, options.ray_address)


if __name__ == "__main__":
    main()
