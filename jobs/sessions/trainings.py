"""The trainings of one evaluation: what was cut short goes on, and what was done is not done again."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from jobs.checkpoints import Checkpoints
from jobs.recipes.sessions import SessionRecipe
from jobs.sessions.fit import FittedSession, SessionEpoch, fit
from jobs.sessions.split import DaySplit
from jobs.sessions.task import subject


class Trainings:
    """Trainings whose checkpoints are kept until `forget`.

    Args:
        work: folder of the checkpoints, one below it for each training; need not exist. None: none is kept.
    """

    def __init__(self, work: Path | None) -> None:
        self._work = work
        self._begun: list[Path] = []
        self.went_on = False
        """Whether any of them had been begun before."""

    def fit(self, split: DaySplit, recipe: SessionRecipe, *, on_epoch: Callable[[SessionEpoch], None]) -> FittedSession:
        """As `jobs.sessions.fit.fit`, from where the same recipe stood on the same clicks.

        Raises:
            UsageProblem, CheckpointError: as that.
        """
        if self._work is None:
            return fit(split, recipe, on_epoch=on_epoch)
        digest = subject(recipe, split.train)
        folder = self._work / digest[:16]
        folder.mkdir(parents=True, exist_ok=True)
        self._begun.append(folder)
        checkpoints = Checkpoints(folder, digest)
        self.went_on = self.went_on or checkpoints.path.exists()
        return fit(split, recipe, on_epoch=on_epoch, checkpoints=checkpoints)

    def forget(self) -> None:
        """All of it is judged: the next evaluation measures anew."""
        for folder in self._begun:
            Checkpoints(folder, "").forget()
            with suppress(OSError):  # whose folder it is, and what else lies there, is not ours to judge
                folder.rmdir()
