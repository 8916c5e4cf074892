"""The failure lab: a counting pipeline under load on the embedded broker and on Ray, with faults injected; after each
scenario every input must be answered once, in the order of its key, by a state that is that of a clean run. With
delivery at least once an answer may come again, but must be the same, and what is left without repeats must be as it is
with exactly once.

make chaos                                    all scenarios, with both live runners
make chaos ARGS="--only broker-killed --long" one of them, with more rounds and more records
make chaos ARGS="--seed 7"                    what is left to chance once more, as it was with seed 7

Exit code 1 if the invariant broke anywhere.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import tempfile
import warnings
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.chaos.scenario import Scenario

ROOT = Path(__file__).parents[2]
sys.path[0] = str(ROOT)
tests = sys.modules["tests"] = ModuleType("tests")
tests.__path__ = [str(ROOT / "tests")]  # ours: another package of this name may be installed


def main() -> int:
    from rich.console import Console

    from tests.chaos.lab import BOTH, DELIVERIES
    from tests.chaos.scenarios import SCENARIOS

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", metavar="NAME", choices=SCENARIOS, default=list(SCENARIOS))
    parser.add_argument("--runner", choices=BOTH, help="only this one")
    parser.add_argument("--delivery", choices=DELIVERIES, help="only this guarantee")
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000))
    parser.add_argument("--long", action="store_true", help="more rounds, more records")
    parser.add_argument("--list", action="store_true", help="say what there is")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results there as well")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the table there: docs/failure-lab.md")
    options = parser.parse_args()
    console = Console(width=None if sys.stdout.isatty() else 150)
    if options.list:
        for scenario in SCENARIOS.values():
            tried = ", ".join((*scenario.runners, *(name.replace("_", " ") for name in scenario.deliveries)))
            console.print(f"[bold]{scenario.name}[/] ({tried}): {scenario.what}", highlight=False)
        return 0
    return play(console, options)


def chosen(options: argparse.Namespace) -> list[tuple[Scenario, str, str]]:
    """Each scenario with each runner and each guarantee that it is for."""
    from tests.chaos.scenarios import SCENARIOS

    return [
        (scenario, runner, delivery)
        for scenario in (SCENARIOS[name] for name in options.only)
        for delivery in scenario.deliveries
        for runner in scenario.runners
        if options.runner in (None, runner) and options.delivery in (None, delivery)
    ]


def play(console: object, options: argparse.Namespace) -> int:
    from rich.console import Console

    from jobs.ray_session import ray_session
    from tests.chaos.experiment import Result, lines, markdown, perform, table
    from tests.chaos.lab import LabBroker

    assert isinstance(console, Console)
    os.environ["PYTHONPATH"] = str(ROOT)  # for Ray's workers
    warnings.simplefilter("ignore", ResourceWarning)
    console.print(f"seed {options.seed}", highlight=False)
    results: list[Result] = []
    with tempfile.TemporaryDirectory(prefix="sightline-chaos-") as home:
        broker = LabBroker(Path(home) / "kafka")
        broker.start()
        try:
            with ray_session(None, logical_cpus=8, object_store_mb=200):
                for scenario, runner, delivery in chosen(options):
                    result = perform(
                        scenario,
                        runner,
                        broker,
                        options.seed,
                        Path(home) / "lab",
                        long=options.long,
                        delivery=delivery,
                    )
                    results.append(result)
                    told = f"{result.scenario} / {result.runner} / {result.delivery.replace('_', ' ')}"
                    console.print(
                        f"{told}: {result.injected}: {result.words} ({result.seconds:.0f} s)",
                        highlight=False,
                        markup=False,
                    )
        finally:
            broker.stop()
            broker.proxy.close()
    console.print(table(results))
    if options.json is not None:
        report = {"seed": options.seed, "long": options.long, "results": lines(results)}
        options.json.write_text(json.dumps(report, indent=2) + "\n")
    if options.markdown is not None:
        options.markdown.write_text(markdown(results, options.seed, long=options.long))
    return 0 if all(result.holds for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
