"""Form where partitions are folded apart: asked for while folding, answered when the results of all are known.

    each partition:   frames = MatchFold(ratings=ledger)(rows, state)     `form` is the number of a question
    all together:     form = settled_form(questions, results)             the answers, by the same numbers

A team's matches lie in any partition, so its rating needs the results of all of them; nothing else that the fold makes
does. What a start may know is said by event time alone (`streaming.features.settling`): the results up to a settling
time before it. The answers are therefore those of a fold over all partitions read side by side, bit for bit, however
far apart they were read.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from streaming.features.form import Elo
from streaming.features.settling import SETTLE_S, settle_ms
from streaming.features.standings import STANDINGS_LAYOUT, Result, Standings
from streaming.state import Column, StateTable

MOST_QUESTIONS = 1 << 24
"""A frame holds `form` as a float32, which counts so far and no further."""

_LAYOUT = {"team_a": Column(str), "team_b": Column(str), **STANDINGS_LAYOUT}


class Question(NamedTuple):
    """What is the form of A over B as of a time? The arguments of `Standings.form`."""

    team_a: str
    team_b: str
    time_ms: int


class FormLedger:
    """Notes what a fold asks about form, and the results that it sees; answers with the number of the question."""

    def __init__(self) -> None:
        self.questions: list[Question] = []
        self.results: list[Result] = []

    def form(self, team_a: str, team_b: str, time_ms: int) -> float:
        """The number of this question, from 0.

        Raises:
            OverflowError: there are more than a frame can number.
        """
        if len(self.questions) == MOST_QUESTIONS:
            raise OverflowError(f"more than {MOST_QUESTIONS:,} matches begin in one partition: take a shorter range")
        self.questions.append(Question(team_a, team_b, time_ms))
        return float(len(self.questions) - 1)

    def record(self, result: Result, horizon_ms: int) -> int:
        """Note a result; none is ever too late."""
        self.results.append(result)
        return 0


def settled_form(
    questions: Sequence[Question], results: Iterable[Result], elo: Elo | None = None, settle_s: float = SETTLE_S
) -> npt.NDArray[np.float64]:
    """The answers, (N,), each from the results up to `settle_s` before it and no other."""
    settling = settle_ms(settle_s)
    standings = Standings(StateTable("form", _LAYOUT), elo or Elo(), settling)
    waiting = deque(sorted(results))
    answers = np.empty(len(questions))
    for number in sorted(range(len(questions)), key=lambda n: questions[n].time_ms):
        question = questions[number]
        while waiting and waiting[0].time_ms <= question.time_ms - settling:
            result = waiting.popleft()
            standings.record(result, result.time_ms)
        answers[number] = standings.form(*question)
    return answers
