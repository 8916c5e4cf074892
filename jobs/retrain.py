"""From the stream to a better model on air, as one command: what a schedule starts when the model drifts.

    dataset build ─► train ─► models gate [--promote]

Three commands in a row, as a person would give them; the first that does not end well ends it all, with its exit code.
The set is of the whole topic, or from a time or offsets on; the latest of its matches are left for the gate, so that
the candidate is judged on what it has not seen.
"""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

Command = tuple[str, ...]
"""What follows `sightline`."""


@dataclass(frozen=True)
class Retraining:
    """What to learn from the stream.

    Attributes:
        title: of the matches; the model is tsstn-TITLE.
        begin: as `--from` of `dataset build`; None: the earliest record.
        patch: as of `MatchSet.of_patch`.
        hold_back: share of the matches, the latest ones, that the gate judges on.
        min_matches: the fewest that the gate judges on.
        promote: let NAME@live mean the candidate where the gate passes it.
        workers: of Ray Train; None: as the recipe has it.
        changes: of the recipe, FIELD=VALUE.
    """

    title: str
    begin: str | None = None
    patch: str = ""
    hold_back: float = 0.3
    min_matches: int = 200
    promote: bool = False
    workers: int | None = None
    changes: tuple[str, ...] = ()


def commands(what: Retraining, out: Path) -> tuple[Command, ...]:
    """What is done, in this order.

    Args:
        what: to learn.
        out: folder of the training set, not there yet.
    """
    begin = () if what.begin is None else (f"--from={what.begin}",)
    workers = () if what.workers is None else (f"--workers={what.workers}",)
    changes = (f"hold_back={what.hold_back:g}", f"patch={what.patch}", *what.changes)
    data = f"--data={out}"
    window = (f"--patch={what.patch}", f"--latest={what.hold_back:g}", f"--min-matches={what.min_matches}")
    return (
        ("dataset", "build", f"--out={out}", *begin),
        ("train", "win-tsstn", data, f"--title={what.title}", *workers, *(f"--set={change}" for change in changes)),
        ("models", "gate", f"tsstn-{what.title}@candidate", data, *window, *(["--promote"] if what.promote else [])),
    )


def retrain(
    what: Retraining, out: Path, *, run: Callable[[Sequence[str]], int], say: Callable[[str], None], keep: bool
) -> int:
    """Run the commands; the exit code of the last one that ran.

    Args:
        what: to learn.
        out: folder of the training set.
        run: runs one command.
        say: is told what runs.
        keep: leave the training set where it is.
    """
    code = 0
    try:
        for command in commands(what, out):
            say(f"$ sightline {shlex.join(command)}")
            if code := run(command):
                break
    finally:
        if not keep:
            shutil.rmtree(out, ignore_errors=True)
    return code
