"""What the loop came to: steps, calibration at each stage, and whether an answer is missing or doubled."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from jobs.loop.story import (
    Calibration,
    Cast,
    Story,
    calibration_of,
    judged,
    missing_and_doubled,
    of_baseline,
    of_model,
    turns,
)

if TYPE_CHECKING:
    from models.store import ModelStore


def report_of(
    story: Story, why: str, frames: pl.DataFrame, answers: pl.DataFrame, store: ModelStore, began_s: float
) -> dict[str, Any]:
    """The figures, as plain JSON values.

    Args:
        story: as far as it has come.
        why: it did not come to its end; "" if it did.
        frames: of all events that were sent: what is to be answered.
        answers: columns of `ANSWER_SCHEMA`.
        store: has the versions.
        began_s: of the clock of the steps.
    """
    cast = story.cast
    missing, doubled = missing_and_doubled(frames, answers)
    by_partition = turns(answers)
    versions = [version for version in dict.fromkeys(v for its in by_partition.values() for v in its)]
    once = all(len(set(its)) == len(its) for its in by_partition.values())
    return {
        "passed": not why and not story.waits_for and not missing and not doubled and once and len(versions) == 2,
        "why": why or ("" if not story.waits_for else f"did not come: {story.waits_for}"),
        "steps": [{"step": s.name, "at_s": round(s.at_s - began_s, 1), "words": s.words} for s in story.steps],
        "calibration": _calibrations(cast, frames, answers, versions, store),
        "frames": frames.height,
        "answers": answers.height,
        "missing": missing,
        "doubled": doubled,
        "versions_by_partition": {str(number): list(its) for number, its in by_partition.items()},
    }


def table(report: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The same for a person, in rows of two."""
    for step in report["steps"]:
        yield f"{step['step']} after {step['at_s']:.1f} s", step["words"]
    for stage, found in report["calibration"].items():
        words = "too few matches have ended" if found is None else str(Calibration(**found))
        yield f"calibration, {stage}", words
    answers = (
        f"{report['answers']:,} of {report['frames']:,}, {report['missing']:,} missing, {report['doubled']:,} doubled"
    )
    yield "answers", answers
    for number, versions in report["versions_by_partition"].items():
        yield f"versions of partition {number}", " → ".join(versions)
    yield "the loop", "closed" if report["passed"] else f"did not close: {report['why'] or 'see above'}"


def _calibrations(
    cast: Cast, frames: pl.DataFrame, answers: pl.DataFrame, versions: list[str], store: ModelStore
) -> dict[str, dict[str, Any] | None]:
    first, second = cast.patches
    newest = versions[-1] if versions else cast.version
    found = {
        f"patch {first!r}, answers of version {cast.version}": calibration_of(of_model(answers, first, cast.version)),
        f"patch {second!r}, version {cast.version}, asked afterwards": _asked_afterwards(cast, frames, store),
        f"patch {second!r}, answers of the baseline in its place": calibration_of(of_baseline(answers, second)),
    }
    if newest != cast.version:
        found[f"patch {second!r}, answers of version {newest}"] = calibration_of(of_model(answers, second, newest))
    return {stage: None if each is None else vars(each) for stage, each in found.items()}


def _asked_afterwards(cast: Cast, frames: pl.DataFrame, store: ModelStore) -> Calibration | None:
    """What viewers would have been told of the second patch without guard and training."""
    from jobs.datasets import frames_to_matches
    from jobs.errors import UsageProblem
    from jobs.gate.contender import ServedWin
    from jobs.gate.contender import answers as answers_of
    from jobs.gate.judge import window_frames

    try:
        matches = frames_to_matches(frames.filter(pl.col("patch") == cast.patches[1]), cast.title, "the second patch")
    except UsageProblem:
        return None
    logits = answers_of(ServedWin(store.load(f"tsstn-{cast.title}@{cast.version}")), matches).logits
    return judged(window_frames(matches), 1 / (1 + np.exp(-logits)))
