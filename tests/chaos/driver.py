"""A runner's driver in a process of its own: `driver.py SPEC`, as `tests.chaos.lab.Driver` starts it, until SIGTERM."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).parents[2]
sys.path[0] = str(ROOT)
tests = sys.modules["tests"] = ModuleType("tests")
tests.__path__ = [str(ROOT / "tests")]  # ours: another package of this name may be installed


def main(spec: dict[str, object]) -> None:
    import ray

    from tests.chaos.faults import TerminatingLog
    from tests.chaos.lab import Plan
    from tests.counting import OnKafka

    plan = Plan(**spec["plan"])  # type: ignore[arg-type]
    ray.init(address=str(spec["ray"]), namespace="sightline", log_to_driver=False, configure_logging=False)
    stream = plan.stream()
    log = stream.log
    assert isinstance(log, OnKafka)
    if "terminate" in spec:
        log = TerminatingLog(log, os.getpid(), *spec["terminate"])  # type: ignore[misc]
    runner = plan.make(stream, log)
    signal.signal(signal.SIGTERM, lambda *_: runner.stop())
    runner.run()
    ray.shutdown()


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
