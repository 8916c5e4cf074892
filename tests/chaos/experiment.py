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
from tests.counting import AT_LEAST_ONCE, EXACTLY_ONCE
from tests.delivery import Verdict
from tests.waiting import PATIENCE_S


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
    delivery: str = EXACTLY_ONCE

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


def perform(
    scenario: Scenario,
    runner: str,
    broker: LabBroker,
    seed: int,
    folder: Path,
    *,
    long: bool,
    delivery: str = EXACTLY_ONCE,
) -> Result:
    """Play it and judge. Whatever goes wrong is part of the result."""
    began, verdict, failure = time.monotonic(), None, ""
    lab = Lab(broker, runner, seed, folder, long=long, delivery=delivery)
    try:
        scenario.play(lab)
    except Exception as broken:
        failure = f"{type(broken).__name__}: {str(broken)[:2_000]}"
    try:
        broker.start(timeout_s=PATIENCE_S)  # in case that it was left dead
        verdict = lab.verdict()
    except Exception as broken:
        failure = failure or f"no verdict: {type(broken).__name__}: {broken}"
    finally:
        lab.close()
    injected = ", ".join(f"{n} × {what}" if n > 1 else what for what, n in Counter(lab.injected).items())
    return Result(scenario.name, runner, seed, injected, verdict, failure, time.monotonic() - began, delivery)


_WORDS = ("scenario", "runner", "on trial", "injected")
_COUNTS = ("records", "lost", "doubled", "repeated", "out of order", "s")


def table(results: Sequence[Result]) -> Table:
    """For a terminal."""
    made = Table(*_WORDS, title="Failure lab")
    for column in _COUNTS:
        made.add_column(column, justify="right")
    made.add_column("verdict")
    for result in results:
        colour, word = ("green", "holds") if result.holds else ("red", "BROKEN")
        made.add_row(*cells(result), f"[{colour}]{word}[/]")
    return made


def markdown(results: Sequence[Result], seed: int, *, long: bool) -> str:
    """For a file that people read."""
    form, broken = "long" if long else "short", [result for result in results if not result.holds]
    lines = [
        "# Failure lab",
        "",
        f"Made by `make chaos`, seed {seed}, the {form} form: {len(results)} trials, {len(broken)} broken.",
        "Each breaks a running pipeline under load; then every input must have one answer, or one dead letter, in the",
        "order of its key, by a state that is that of a clean run. `repeated` is what came again where delivery is at",
        "least once, byte for byte the same.",
        "",
        "| " + " | ".join((*_WORDS, *_COUNTS, "verdict")) + " |",
        "|" + " --- |" * len(_WORDS) + " ---: |" * len(_COUNTS) + " --- |",
        *("| " + " | ".join((*cells(result), result.words)).replace("\n", " ") + " |" for result in results),
    ]
    return "\n".join(lines) + "\n"


def cells(result: Result) -> list[str]:
    """One line of a table, all but the verdict."""
    verdict = result.verdict or Verdict(0)
    lost, doubled = verdict.lost + verdict.letters_lost, verdict.doubled + verdict.altered + verdict.letters_wrong
    # What comes again is allowed where delivery is at least once, and counted as doubled where it is not.
    repeated = f"{verdict.repeated:,}" if result.delivery == AT_LEAST_ONCE else ""
    return [
        result.scenario,
        result.runner,
        result.delivery.replace("_", " "),
        result.injected,
        *(f"{verdict.records:,}", f"{lost:,}", f"{doubled:,}", repeated, f"{verdict.disordered:,}"),
        f"{result.seconds:.0f}",
    ]


def lines(results: Iterable[Result]) -> list[dict[str, object]]:
    """For a file."""
    return [
        {
            "scenario": result.scenario,
            "runner": result.runner,
            "delivery": result.delivery,
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
    told = ("records", "lost", "doubled", "repeated")
    return {name: getattr(verdict, name) for name in told} | verdict.wrong
