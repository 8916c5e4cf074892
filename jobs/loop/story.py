"""The story of a model that falls behind its game, as it is told by what can be seen from outside: pure.

    calm ─► patch ─► alarm ─► retraining ─► promotion ─► swap ─► trust ─► calibration

Each step is looked for once those before it have come, in answers, in what the pipeline says of itself, in the
scheduler's book and in the model store: what anybody may look at who runs the same.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from jobs.gate.criteria import Bounds, calibration
from jobs.intervals import Floats, Frames
from jobs.schedule.runs import Run, State
from models.verdict import Verdict
from streaming.features.guard import BASELINE_SUFFIX

ANSWER_SCHEMA = pl.Schema(
    {
        "match_id": pl.String(),
        "attempt": pl.Int32(),
        "frame": pl.Int32(),
        "status": pl.String(),
        "patch": pl.String(),
        "p": pl.Float64(),
        "winner": pl.String(),
        "model_version": pl.String(),
        "source_partition": pl.Int32(),
        "source_offset": pl.Int64(),
    }
)
"""Columns of answers that the story is told by."""

KEY = ("match_id", "attempt", "frame")


@dataclass(frozen=True)
class Cast:
    """Whom the story is about.

    Attributes:
        title: of the matches.
        patches: names of the first and of the second.
        version: of the model that serves at the beginning.
        matches: so many finished ones are judged on, at least.
    """

    title: str
    patches: tuple[str, str]
    version: str
    matches: int


@dataclass(frozen=True)
class Seen:
    """What is there to be seen at a moment."""

    answers: pl.DataFrame  # columns of ANSWER_SCHEMA, all so far
    alerts: Sequence[str]  # of the pipeline
    runs: Sequence[Run]  # of the schedule, oldest first
    version: str  # that the alias means
    verdict: Verdict | None = None  # of the gate on it


@dataclass(frozen=True)
class Step:
    """Something that has come about."""

    name: str
    at_s: float
    words: str


@dataclass(frozen=True)
class Calibration:
    """How far stated probabilities lie from what came of them.

    Attributes:
        matches: that have ended, and were answered.
        frames: of these.
        ece: expected calibration error.
        bound: what it may be: 0.05, or what luck makes of it on so few matches.
    """

    matches: int
    frames: int
    ece: float
    bound: float

    @property
    def holds(self) -> bool:
        """Whether it is within bounds."""
        return self.ece <= self.bound

    def __str__(self) -> str:
        sign = "≤" if self.holds else ">"
        return f"calibration error {self.ece:.3f} {sign} {self.bound:.3f} over {self.matches:,} matches"


@dataclass
class Story:
    """Which steps have come, and which one is waited for."""

    cast: Cast
    steps: list[Step] = field(default_factory=list)

    @property
    def waits_for(self) -> str:
        """The next step; "" once all have come."""
        return STEPS[len(self.steps)] if len(self.steps) < len(STEPS) else ""

    def look(self, seen: Seen, at_s: float) -> list[Step]:
        """What has come about since the last look, in order."""
        found = len(self.steps)
        while (name := self.waits_for) and (words := _TELL[name](self.cast, seen)):
            self.steps.append(Step(name, at_s, words))
        return self.steps[found:]


def of_model(answers: pl.DataFrame, patch: str, version: str) -> pl.DataFrame:
    """Answers in a patch by the model of this version itself."""
    return answers.filter((pl.col("patch") == patch) & (pl.col("model_version") == version))


def of_baseline(answers: pl.DataFrame, patch: str) -> pl.DataFrame:
    """Answers in a patch while the model was set aside."""
    return answers.filter((pl.col("patch") == patch) & pl.col("model_version").str.ends_with(BASELINE_SUFFIX))


def calibration_of(answers: pl.DataFrame) -> Calibration | None:
    """Of those answers whose matches have ended; None where these are too few to say anything, or all alike."""
    won = answers.filter(pl.col("winner").is_not_null()).group_by("match_id").agg(a_won=pl.col("winner").last() == "A")
    told = answers.filter(pl.col("status") == "live").join(won, on="match_id", maintain_order="left")
    if told["a_won"].n_unique() < 2:
        return None
    match = told["match_id"].rank("dense").to_numpy().astype(np.int64) - 1
    frames = Frames(told["a_won"].to_numpy().astype(np.float64), match, int(match.max()) + 1)
    return judged(frames, told["p"].to_numpy())


def judged(frames: Frames, p: Floats) -> Calibration:
    """Of P(A wins), (N,), as the gate has it."""
    reason = calibration(frames, p, Bounds())
    assert reason.figure is not None and reason.bound is not None
    return Calibration(frames.matches, len(p), reason.figure, reason.bound)


def missing_and_doubled(expected: pl.DataFrame, answers: pl.DataFrame) -> tuple[int, int]:
    """How many of the expected frames have no answer, and how many answers are one too many or of no such frame."""
    answered = answers.select(KEY).unique()
    known = answered.join(expected.select(KEY), on=KEY, how="semi")
    return expected.height - known.height, answers.height - known.height


def turns(answers: pl.DataFrame) -> Mapping[int, tuple[str, ...]]:
    """The versions that answered each partition, one after another."""
    ordered = answers.sort("source_partition", "source_offset", "frame", maintain_order=True)
    plain = ordered.with_columns(pl.col("model_version").str.strip_suffix(BASELINE_SUFFIX))
    return {
        int(part["source_partition"][0]): tuple(version for version, _ in itertools.groupby(part["model_version"]))
        for part in plain.partition_by("source_partition", maintain_order=True)
    }


def _calm(cast: Cast, seen: Seen) -> str:
    found = calibration_of(of_model(seen.answers, cast.patches[0], cast.version))
    return _good(cast, found)


def _patch(cast: Cast, seen: Seen) -> str:
    begun = seen.answers.filter(pl.col("patch") == cast.patches[1])
    if begun.is_empty():
        return ""
    where = begun.row(0, named=True)
    return (
        f"{where['match_id']} is the first of patch {cast.patches[1]!r}, "
        f"partition {where['source_partition']}, offset {where['source_offset']:,}"
    )


def _alarm(cast: Cast, seen: Seen) -> str:
    return next(iter(_alerts(cast, seen)), "")


def _retraining(cast: Cast, seen: Seen) -> str:
    return next((f"run {run.run_id}, cause {run.cause}" for run in seen.runs if run.state.is_submitted), "")


def _promotion(cast: Cast, seen: Seen) -> str:
    if seen.version == cast.version:
        return ""
    refused = sum(run.state is State.REFUSED for run in seen.runs)
    after = f", after {refused} refusal(s) on fewer matches" if refused else ""
    judged = "" if seen.verdict is None else f"; {_judged(seen.verdict)}"
    return f"version {seen.version} takes the place of {cast.version}{after}{judged}"


def _swap(cast: Cast, seen: Seen) -> str:
    mine = seen.answers.filter(pl.col("model_version").str.strip_suffix(BASELINE_SUFFIX) == seen.version)
    first = mine.group_by("source_partition").agg(pl.col("source_offset").min()).sort("source_partition")
    if first.height < seen.answers["source_partition"].n_unique():
        return ""
    return "from offset " + ", ".join(f"{offset:,} of partition {number}" for number, offset in first.iter_rows())


def _trust(cast: Cast, seen: Seen) -> str:
    trusted = of_model(seen.answers, cast.patches[1], seen.version)
    if _alerts(cast, seen) or trusted.is_empty():
        return ""
    return f"the alarm is over, answers are those of version {seen.version} itself"


def _calibrated(cast: Cast, seen: Seen) -> str:
    found = calibration_of(of_model(seen.answers, cast.patches[1], seen.version))
    return _good(cast, found)


def _good(cast: Cast, found: Calibration | None) -> str:
    return str(found) if found is not None and found.matches >= cast.matches and found.holds else ""


def _alerts(cast: Cast, seen: Seen) -> list[str]:
    return [alert for alert in seen.alerts if alert.startswith(f"{cast.title}, patch {cast.patches[1]}: ")]


def _judged(verdict: Verdict) -> str:
    passed = sum(reason.passed for reason in verdict.reasons)
    return f"the gate: {passed} of {len(verdict.reasons)} criteria, on {verdict.window}"


_TELL: Mapping[str, Callable[[Cast, Seen], str]] = {
    "calm": _calm,
    "patch": _patch,
    "alarm": _alarm,
    "retraining": _retraining,
    "promotion": _promotion,
    "swap": _swap,
    "trust": _trust,
    "calibration": _calibrated,
}
STEPS = tuple(_TELL)
