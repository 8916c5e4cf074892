"""Live match events in, explained win probability out.

match.events ─► validate ─► fold* (frames on the game clock, form) ─► model* ─► guard* ─► narrate* ─► match.insights
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from streaming import topics
from streaming.features import match
from streaming.features.baseline import packaged_baselines
from streaming.features.catalogue import GROUPS, title_spec
from streaming.features.guard import DEGRADED, ModelGuard
from streaming.features.match import HEROES
from streaming.features.match_fold import MatchFold
from streaming.features.runs import Bools, Ints
from streaming.features.threads import THREAD_LAYOUT, Threads
from streaming.insights.narrator import Narrator
from streaming.pipeline import DependencyUnavailable, Facts, Pipeline
from streaming.releases import RELEASE_TEXTS, InService, Release, ReleasedPredict, ReleaseLost
from streaming.state import Column, StateTable

BROKEN = "contributions-broken"
"""Flag of an answer whose contributions do not sum to its logit."""

TRANSFORMS = (match.validate,)
"""What becomes of the rows before `MatchFold`; training sets are made by the same."""

STATE_FLOATS = 64
"""Room for a model's recurrent state per match; a smaller model leaves the rest at zero."""

Arrays = Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class Prediction:
    """One answer of the model for N frames of one title, and which weights gave it."""

    logit: npt.NDArray[np.float32]  # (N,), log-odds that camp A wins
    scores: npt.NDArray[np.float32]  # (N, G) in GROUPS order, 0 for a group that the title lacks
    weights: npt.NDArray[np.float32]  # (N, G)
    contributions: npt.NDArray[np.float32]  # (N, G), sum to the logit
    hidden: npt.NDArray[np.float32]  # (M, STATE_FLOATS), after these frames
    model_name: str
    model_version: str
    weight_hash: str
    usual_gold: npt.NDArray[np.float32] | None = None
    """(N,), root mean square of the lead in gold at each clock over what the model learned from; NaN where it knows
    none, None where it does not say."""


Predict = Callable[[str, Arrays], Prediction]
"""(title, request) to prediction. Request: features (N, F) float32 in the title's column order, NaN where unknown;
clock_s (N,) float32; match (N,) int64, row of hidden, rows of one match in time order; hidden (M, STATE_FLOATS)
float32; heroes (M, 2) of str, the names of camp A's and of camp B's heroes joined by line breaks, "" where unknown.
A frame's answer must not depend on which other matches are asked for with it.
Raises `streaming.pipeline.DependencyUnavailable` while the model cannot be reached.

One that is a `streaming.releases.ReleasedPredict` is told which version of the model to answer by."""

_TOLERANCE = 1e-4
_UNSCORABLE = "Unscorable: the model gave no finite answer"

log = logging.getLogger(__name__)


class WinModel:
    """The model as a stage: one call per title and batch, the recurrent state kept here per match.

    A frame without a finite answer leaves with a `_reject`, and is as if it had never been: the match's next frame goes
    on from the state before it.

    Where the model has releases, a batch is answered by one for each title and partition, named with every call; the
    state says which, so that neither a restart nor another worker goes back to an earlier one. Recurrent state means
    nothing to other weights than those that made it: a match that is on while they change begins it anew, from zeros,
    and that, too, is said by the state alone (`release` of the match).
    """

    name = "model"

    def __init__(self, predict: Predict | ReleasedPredict) -> None:
        self._predict = predict

    def new_state(self) -> StateTable:
        """Recurrent state per match; a new thread (`streaming.features.threads`) starts from zeros. And the release of
        each title and partition."""
        layout = {
            **THREAD_LAYOUT,
            "hidden": Column(np.float32, (STATE_FLOATS,)),
            **{name: Column(str) for name in RELEASE_TEXTS},
            "moves": Column(np.int64),
        }
        return StateTable(self.name, layout, partitioned=True)

    def facts(self, state: StateTable) -> Facts:
        """An alert for every version that was meant to take over and cannot."""
        return Facts(alerts=self._predict.alerts() if isinstance(self._predict, ReleasedPredict) else ())

    def __call__(self, rows: pl.DataFrame, state: StateTable) -> pl.DataFrame:
        """Match frames to the same frames with logit, p, scores, weights, contributions, `usual_gold` and the model's
        name."""
        if rows.is_empty():
            return _Answers(0).beside(rows)
        threads = Threads.of(rows, state)
        batch, turns = self._answered(rows, threads, state)
        # Only now, when no call can fail any more:
        slots = state.slots(threads.ids)
        state["hidden"][slots] = batch.hidden
        if turns is not None:
            state["release"][slots] = turns.exact(threads)
            turns.note(state)
        threads.remember(state)
        return batch.answers.beside(rows)

    def _answered(self, rows: pl.DataFrame, threads: Threads, state: StateTable) -> tuple[_Batch, _Turns | None]:
        """All frames, each title's of a partition by one release."""
        lost: set[Release] = set()
        while True:
            batch = _Batch.of(rows, threads, state["hidden"][state.slots(threads.ids)])
            turns = None
            if isinstance(self._predict, ReleasedPredict):
                turns = _Turns.of(threads, state, self._predict, lost)
                batch.begins[threads.order[threads.heads]] |= turns.of_other_weights(threads, state)
            try:
                for now in threads.waves(threads.begins | batch.another_line_up):
                    for title in batch.titles:
                        chosen = now[batch.title[now] == title]
                        for release, its in turns.apart(chosen) if turns is not None else ((None, chosen),):
                            self._ask(title, its, batch, release)
            except ReleaseLost as gone:
                if gone.release in lost:  # nor can the one that is offered in its place
                    raise DependencyUnavailable(str(gone)) from gone
                log.warning("a release that answered can be had no more; the one offered now takes over: %s", gone)
                lost.add(gone.release)
                continue
            return batch, turns

    def _ask(self, title: str, now: Ints, batch: _Batch, release: Release | None) -> None:
        """Have these frames of one title answered, a stretch of one thread per match."""
        if not len(now):
            return
        matches, first, index = np.unique(batch.match[now], return_index=True, return_inverse=True)
        batch.hidden[matches[batch.begins[now[first]]]] = 0.0
        request: Arrays = {
            "features": batch.features(title)[now],
            "clock_s": batch.clock_s[now],
            "match": index,
            "hidden": batch.hidden[matches],
            "heroes": batch.heroes[now[first]],
        }
        prediction: Prediction
        if isinstance(self._predict, ReleasedPredict):
            assert release is not None
            prediction = self._predict(title, request, release)
        else:
            prediction = self._predict(title, request)
        good = _is_finite(prediction)
        unspoilt: Bools = np.asarray(np.isfinite(prediction.hidden).all(axis=1))
        unspoilt[index[~good]] = False
        spoilt = ~unspoilt[index]
        single = np.bincount(index)[index] == 1
        settled = ~spoilt | single
        batch.answers.take(now[settled], prediction, settled, good[settled])
        batch.hidden[matches[unspoilt]] = prediction.hidden[unspoilt]
        # One frame that cannot be answered must not take those after it along, nor may it matter how batches are cut.
        for frame in _one_by_one(now[~settled], batch.match):
            self._ask(title, frame, batch, release)


@dataclass(frozen=True, slots=True)
class _Turns:
    """The release that answers each frame of a batch, N frames of M matches."""

    in_service: dict[tuple[str, int], Release]  # by title and partition
    releases: list[Release]
    of_frame: Ints  # (N,) index into them

    @classmethod
    def of(cls, threads: Threads, state: StateTable, predict: ReleasedPredict, lost: set[Release]) -> _Turns:
        """As the state and what is offered now decide; a lost one gives way to what is offered."""
        pairs = list(zip(threads.marks["title"].tolist(), threads.marks["partition"].tolist(), strict=True))
        offered = {title: predict.offered(title) for title in dict.fromkeys(title for title, _ in pairs)}
        service, chosen = InService(state), {}
        for title, partition in dict.fromkeys(pairs):
            release = service.next(title, partition, offered[title])
            chosen[title, partition] = offered[title] if release in lost else release
        releases = list(dict.fromkeys(chosen.values()))
        number = {pair: releases.index(release) for pair, release in chosen.items()}
        return cls(chosen, releases, np.array([number[pair] for pair in pairs], dtype=np.int64))

    def apart(self, rows: Ints) -> Iterator[tuple[Release, Ints]]:
        """These rows by release."""
        for number in np.unique(self.of_frame[rows]).tolist():
            yield self.releases[number], rows[self.of_frame[rows] == number]

    def exact(self, threads: Threads) -> npt.NDArray[np.object_]:
        """(M,) the weights that answered each match's last frame."""
        return np.array([self.releases[number].exact for number in self.of_frame[threads.last].tolist()], dtype=object)

    def of_other_weights(self, threads: Threads, state: StateTable) -> Bools:
        """(M,) matches whose state is known to be of other weights than those that answer their next frame."""
        made_by = state["release"][state.slots(threads.ids)]
        now = [self.releases[number].exact for number in self.of_frame[threads.order[threads.heads]].tolist()]
        differs: Bools = (made_by != "") & (made_by != np.array(now, dtype=object))
        return differs

    def note(self, state: StateTable) -> None:
        """They have answered."""
        service = InService(state)
        for (title, partition), release in self.in_service.items():
            service.note(title, partition, release)


@dataclass(slots=True)
class _Batch:
    """What is asked, and answered so far; N frames of M matches."""

    rows: pl.DataFrame
    match: Ints  # (N,)
    begins: Bools  # (N,)
    title: npt.NDArray[np.object_]  # (N,)
    titles: list[str]
    clock_s: npt.NDArray[np.float32]
    heroes: npt.NDArray[np.object_]  # (N, 2)
    another_line_up: Bools  # (N,) than the match's frame before it in the batch
    hidden: npt.NDArray[np.float32]  # (M, STATE_FLOATS) as far as asked
    answers: _Answers
    by_title: dict[str, npt.NDArray[np.float32]]

    @classmethod
    def of(cls, rows: pl.DataFrame, threads: Threads, hidden: npt.NDArray[np.float32]) -> _Batch:
        lines = [["\n".join(names) for names in rows[name].to_list()] for name in HEROES]
        heroes = np.array(lines, dtype=object).T
        return cls(
            rows=rows,
            match=threads.match,
            begins=threads.begins.copy(),
            title=threads.marks["title"],
            titles=list(dict.fromkeys(threads.marks["title"])),
            clock_s=rows["clock_s"].to_numpy().astype(np.float32),
            heroes=heroes,
            another_line_up=(heroes != threads.before(heroes, heroes[threads.order[threads.heads]])).any(axis=1),
            hidden=hidden,
            answers=_Answers(rows.height),
            by_title={},
        )

    def features(self, title: str) -> npt.NDArray[np.float32]:
        """(N, F) in the title's column order."""
        if title not in self.by_title:
            self.by_title[title] = self.rows[list(title_spec(title).features)].to_numpy().astype(np.float32)
        return self.by_title[title]


class _Answers:
    """The columns that are added to N frames."""

    def __init__(self, frames: int) -> None:
        self.good = np.zeros(frames, bool)
        self.logit = np.full(frames, np.nan)
        self.groups = {name: np.zeros((frames, len(GROUPS)), np.float32) for name in _PER_GROUP}
        self.usual_gold = np.full(frames, np.nan, np.float32)
        self.model = np.full((frames, len(_MODEL)), "", dtype=object)

    def take(self, rows: Ints, prediction: Prediction, chosen: Bools, good: Bools) -> None:
        """Fill in these rows with the chosen ones of a prediction."""
        self.good[rows] = good
        self.logit[rows] = prediction.logit[chosen]
        for name, values in self.groups.items():
            values[rows] = getattr(prediction, name)[chosen]
        if prediction.usual_gold is not None:
            self.usual_gold[rows] = prediction.usual_gold[chosen]
        self.model[rows] = [getattr(prediction, name) for name in _MODEL]

    def beside(self, rows: pl.DataFrame) -> pl.DataFrame:
        """The rows with their answers, and a reason in `_reject` for those that have none."""
        flags = rows["flags"]
        gap = np.abs(self.groups["contributions"].sum(axis=1, dtype=np.float64) - self.logit)
        broken = self.good & ~(gap <= _TOLERANCE)
        if broken.any():
            both = zip(flags, broken.tolist(), strict=True)
            flags = pl.Series("flags", [f"{said} {BROKEN}".strip() if is_so else said for said, is_so in both])
        with np.errstate(over="ignore"):
            p = 1.0 / (1.0 + np.exp(-self.logit))
        parts = [pl.Series("logit", self.logit), pl.Series("p", p), flags, pl.Series("usual_gold", self.usual_gold)]
        parts += [pl.Series(name, self.model[:, i].tolist(), pl.String) for i, name in enumerate(_MODEL)]
        for name, values in self.groups.items():
            parts += [pl.Series(f"{name[:-1]}_{group}", values[:, i]) for i, group in enumerate(GROUPS)]
        reason = pl.Series("_reject", [None if is_so else _UNSCORABLE for is_so in self.good.tolist()], pl.String)
        return rows.with_columns(*parts, reason)


_PER_GROUP = ("scores", "weights", "contributions")
_MODEL = ("model_name", "model_version", "weight_hash")


def _is_finite(prediction: Prediction) -> Bools:
    """(N,) frames with an answer."""
    finite: Bools = np.isfinite(prediction.logit)
    for name in _PER_GROUP:
        finite = finite & np.isfinite(getattr(prediction, name)).all(axis=1)
    return finite


def _one_by_one(rows: Ints, match: Ints) -> Iterator[Ints]:
    """The first of these rows of every match, then the second, and so on."""
    while len(rows):
        _, first = np.unique(match[rows], return_index=True)
        yield rows[first]
        rows = np.delete(rows, first)


def win_prediction(predict: Predict | ReleasedPredict, narrator: Narrator | None = None) -> Pipeline:
    """Match events in, one explained win probability per match and frame out."""
    return Pipeline(
        name="win-prediction",
        source=topics.MATCH_EVENTS,
        transforms=TRANSFORMS,
        stages=(MatchFold(), WinModel(predict), ModelGuard(packaged_baselines()), narrator or Narrator()),
        sink=topics.MATCH_INSIGHTS,
        counted_flags=(BROKEN, DEGRADED),
    )


def win_prediction_shadow(predict: Predict | ReleasedPredict, narrator: Narrator | None = None) -> Pipeline:
    """The same events answered by a candidate beside the live pipeline, on a topic of its own.

    What it reads, keeps and writes is its own, so nothing that befalls it reaches the live one. Answers are the
    candidate's whatever comes of it, without a guard; what cannot be accepted the live pipeline writes down.
    """
    return Pipeline(
        name=topics.shadow_of("win-prediction"),
        source=topics.MATCH_EVENTS,
        transforms=TRANSFORMS,
        stages=(MatchFold(), WinModel(predict), narrator or Narrator()),
        sink=topics.MATCH_INSIGHTS_SHADOW,
        counted_flags=(BROKEN,),
        dead_letters=False,
    )
