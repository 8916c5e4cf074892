"""How long a user waits: `sightline --help`, and the demo from its start to the first insight. Prints JSON."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def help_s(runs: int = 5) -> float:
    """Median over whole processes, after one that warms the disk cache."""
    taken = []
    for _ in range(runs + 1):
        began = time.perf_counter()
        subprocess.run([sys.executable, "-m", "jobs.cli", "--help"], stdout=subprocess.DEVNULL, check=True)
        taken.append(time.perf_counter() - began)
    return statistics.median(taken[1:])


def demo() -> dict[str, object]:
    """The demo's own report, of a start with the jars in their cache."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        command = [sys.executable, "-m", "jobs.cli", "demo", "--for", "20s", "--report", str(report), "--port", "0"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        result: dict[str, object] = json.loads(report.read_text())
        return result


def main() -> None:
    demo()  # the first run may fetch the broker's jars
    report = demo()
    result = {"help_s": round(help_s(), 3), "first_insight_s": report["first_insight_s"], "demo": report}
    sys.stdout.write(json.dumps({"startup": result}, indent=2) + "\n")


if __name__ == "__main__":
    main()
