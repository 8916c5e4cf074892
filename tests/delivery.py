"""The invariant of delivery, as a pure function: every input answered once, in the order of its key, by a state that is
that of a clean run; dead letters are the poison and nothing else. Where delivery is at least once, the same holds of
what is left without repeats, and a repeat is the same answer, byte for byte."""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from dataclasses import dataclass, fields
from itertools import pairwise

import polars as pl

from streaming.counting import CountingStage
from streaming.state import StateTable
from streaming.testing import every_row

Row = tuple[object, ...]

_ID = ["match_id", "sequence"]


@dataclass(frozen=True)
class Verdict:
    """How many records there were, and of how many something is wrong."""

    records: int
    lost: int = 0  # inputs without an answer
    doubled: int = 0  # answers beyond one for each input; where repeats are allowed, answers to nothing
    repeated: int = 0  # answers that came again, where that is allowed
    altered: int = 0  # and were not the same
    disordered: int = 0  # answers that stand behind a later one of their match
    misnumbered: int = 0  # answers by a state that had not seen exactly what came before them
    state_wrong: int = 0  # keys whose state is not that of a clean run
    letters_lost: int = 0  # poison without a dead letter
    letters_wrong: int = 0  # dead letters that are no poison, or a second one

    @property
    def holds(self) -> bool:
        """Whether nothing is wrong."""
        return not self.wrong

    @property
    def wrong(self) -> dict[str, int]:
        """What is wrong, by name."""
        counts = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: count for name, count in counts.items() if count and name not in ("records", "repeated")}


def judge(
    inputs: pl.DataFrame,
    answers: pl.DataFrame,
    state: StateTable,
    *,
    poison: Counter[bytes | None] | None = None,
    letters: Counter[bytes | None] | None = None,
    whole: bool = True,
    repeats_allowed: bool = False,
) -> Verdict:
    """What became of the inputs of a `CountingStage`.

    Args:
        inputs: match_id, sequence of every good record on the source topic; those of a match in their order.
        answers: match_id, sequence, clock_s and maybe more of every answer; those of a match in the order in which they
            stand.
        state: restored from the changelog.
        poison: values of the records that nobody can accept.
        letters: values of the dead letters.
        whole: the inputs were answered to the end; else those of each match up to some point.
        repeats_allowed: delivery is at least once. No two inputs may have the same match and sequence then: these tell
            a repeat, whose columns must all be those of its twin.
    """
    poison, letters = poison or Counter(), letters or Counter()
    repeated = altered = 0
    if repeats_allowed:
        told, every = answers.unique().height, answers.height
        answers = answers.unique(_ID, keep="first", maintain_order=True)
        repeated, altered = every - answers.height, told - answers.height
        letters = Counter(set(letters))
    given, got = _by_match(inputs, "sequence"), _by_match(answers, "sequence", "clock_s")
    if not whole:
        given = {match: rows[: len(got.get(match, ()))] for match, rows in given.items() if match in got}
    wanted = Counter((match, sequence) for match, rows in given.items() for (sequence,) in rows)
    found = Counter((match, sequence) for match, rows in got.items() for sequence, _ in rows)
    return Verdict(
        records=wanted.total() + poison.total(),
        lost=(wanted - found).total(),
        doubled=(found - wanted).total(),
        repeated=repeated,
        altered=altered,
        disordered=sum(_descents(given.get(match, []), rows) for match, rows in got.items()),
        misnumbered=sum(n != number for rows in got.values() for n, (_, number) in enumerate(rows, 1)),
        state_wrong=len({row[0] for row in _rows(state) ^ _rows(clean_run(given))}),
        letters_lost=(poison - letters).total(),
        letters_wrong=(letters - poison).total(),
    )


def clean_run(given: dict[object, list[Row]]) -> StateTable:
    """The state after all of it in one batch: match to its (sequence,) in order."""
    stage = CountingStage()
    state = stage.new_state()
    pairs = [(match, sequence) for match, rows in given.items() for (sequence,) in rows]
    frame = pl.DataFrame(pairs, {"match_id": pl.String, "sequence": pl.Int64}, orient="row")
    stage(frame.with_columns(_partition=pl.lit(0, pl.Int32), _ingest_time_ms=pl.lit(0, pl.Int64)), state)
    return state


def _by_match(frame: pl.DataFrame, *columns: str) -> dict[object, list[Row]]:
    rows: dict[object, list[Row]] = defaultdict(list)
    for match, *row in frame.select("match_id", *columns).iter_rows():
        rows[match].append(tuple(row))
    return dict(rows)


def _descents(given: list[Row], got: list[Row]) -> int:
    """The n-th answer to a sequence is that to its n-th input; one too many has no place."""
    places: dict[object, deque[int]] = defaultdict(deque)
    for at, (sequence,) in enumerate(given):
        places[sequence].append(at)
    found = [places[sequence].popleft() for sequence, _ in got if places[sequence]]
    return sum(later < earlier for earlier, later in pairwise(found))


def _rows(state: StateTable) -> set[Row]:
    return set(every_row(state).iter_rows())
