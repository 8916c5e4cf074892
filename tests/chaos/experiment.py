"""Scenarios played, and what came of them."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.table import Table

from tests.chaos.lab import Lab, LabBroker
from tests.chaos.scenarios import Scenario
from tests.delivery import Verdict


@dataclass(frozen=True)
class Result:
    """One scenario with one runner."""

    scenario: str
    runner: str
    seed: int
    injected: str
    verdict: Verdict | None
    failure: str  # why the scenario did not come to its end
    seconds: float

    @property
    def holds(self) -> bool:
        """Whether it came to its end, and nothing is wrong."""
        return not self.failure and self.verdict is not None and self.verdict.holds

    @property
    def words(self) -> str:
        """The verdict, in words."""
        wrong = {} if self.verdict is None else self.verdict.wrong
        said = [f"{count} {name.replace('_', ' ')}" for name, count in wrong.items()]
        return "holds" if self.holds else "BROKEN: " + "; ".join([*said, *filter(None, [self.failure])])


def perform(scenario: Scenario, runner: str, broker: LabBroker, seed: int, folder: Path, *, long: bool) -> Result:
    """Play it and judge. Whatever goes wrong is part of the result."""
    began, verdict, failure = time.monotonic(), None, ""
    lab = Lab(broker, runner, seed, folder, long=long)
    try:
        scenario.play(lab)
    except Exception as broken:
        failure = f"{type(broken).__name__}: {str(broken)[:2_000]}"
    try:
        broker.start(timeout_s=180.0)  # in case that it was left dead
        verdict = lab.verdict()
    except Exception as broken:
        failure = failure or f"no verdict: {type(broken).__name__}: {broken}"
    finally:
        lab.close()
    injected = ", ".join(f"{n} × {what}" if n > 1 else what for what, n in Counter(lab.injected).items())
    return Result(scenario.name, runner, seed, injected, verdict, failure, time.monotonic() - began)


def table(results: Sequence[Result]) -> Table:
    """For a terminal."""
    made = Table("scenario", "runner", "injected", title="Failure lab")
    for column in ("records", "lost", "doubled", "out of order", "s"):
        made.add_column(column, justify="right")
    made.add_column("verdict")
    for result in results:
        verdict = result.verdict or Verdict(0)
        counts = (verdict.records, verdict.lost + verdict.letters_lost, verdict.doubled + verdict.letters_wrong)
        cells = [f"{count:,}" for count in (*counts, verdict.disordered)]
        colour = "green" if result.holds else "red"
        word = "holds" if result.holds else "BROKEN"
        made.add_row(
            result.scenario, result.runner, result.injected, *cells, f"{result.seconds:.0f}", f"[{colour}]{word}[/]"
        )
    return made


def lines(results: Iterable[Result]) -> list[dict[str, object]]:
    """For a file."""
    return [
        {
            "scenario": result.scenario,
            "runner": result.runner,
            "seed": result.seed,
            "injected": result.injected,
            "holds": result.holds,
            "verdict": result.words,
            "seconds": round(result.seconds, 1),
            **({} if result.verdict is None else vars_of(result.verdict)),
        }
        for result in results
    ]


def vars_of(verdict: Verdict) -> dict[str, int]:
    return {"records": verdict.records, "lost": verdict.lost, "doubled": verdict.doubled, **verdict.wrong}
