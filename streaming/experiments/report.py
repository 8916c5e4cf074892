"""What each arm has been worth so far, as figures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from streaming.experiments.feedback import by_unit
from streaming.experiments.policy_value import PolicyValue, policy_value
from streaming.experiments.sequential import Comparison, Tally, compare

_RANKED = 0.5
"""What the ranking puts in a place is there with a larger propensity, anything else with a smaller one: no more than
half of all answers are by chance (`streaming.sessions.settings`)."""


@dataclass(frozen=True)
class ArmFigures:
    """One arm; "" for all, where there is no experiment."""

    experiment: str
    arm: str
    sessions: int
    answers: int  # shown
    clicks: int
    shown: PolicyValue | None  # of everything as it was; None: fewer than two answers
    ranking: PolicyValue | None  # of the ranking alone, if no answer were by chance
    against_first: Comparison | None  # clicks an answer, session by session; None for the first arm


def figures(shown: pl.DataFrame, *, alpha: float = 0.05, scale: float = 0.02) -> list[ArmFigures]:
    """The arms of all experiments, by name; in each the first is what others are compared with.

    Args:
        shown: of `outcomes`.
        alpha: of the comparisons, which hold however often this is asked.
        scale: a difference in clicks an answer that is worth finding.
    """
    made: list[ArmFigures] = []
    first: dict[str, Tally] = {}
    for (experiment, arm), rows in shown.sort("experiment", "arm", maintain_order=True).group_by(
        "experiment", "arm", maintain_order=True
    ):
        clicked, propensity = _by_place(rows, "clicked"), _by_place(rows, "propensity")
        enough = len(clicked) > 1
        units = by_unit(rows)
        tally = Tally.of((units["clicks"] / units["answers"]).to_numpy().astype(np.float64))
        made.append(
            ArmFigures(
                experiment=str(experiment),
                arm=str(arm),
                sessions=units.height,
                answers=len(clicked),
                clicks=int(clicked.sum()),
                shown=policy_value(clicked, propensity, propensity) if enough else None,
                ranking=policy_value(clicked, propensity, (propensity > _RANKED).astype(np.float64))
                if enough
                else None,
                against_first=compare(first[str(experiment)], tally, alpha=alpha, scale=scale)
                if str(experiment) in first
                else None,
            )
        )
        first.setdefault(str(experiment), tally)
    return made


def _by_place(rows: pl.DataFrame, column: str) -> npt.NDArray[np.float64]:
    """(N, S) of N answers; 0 where nothing was shown."""
    answer = rows["answer_id"].rank("dense").to_numpy().astype(np.int64) - 1
    place = rows["place"].to_numpy()
    values = np.zeros((int(answer.max(initial=-1)) + 1, int(place.max(initial=-1)) + 1))
    values[answer, place] = rows[column].cast(pl.Float64).to_numpy()
    return values
