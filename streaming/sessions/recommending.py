"""Sessions in, what to offer in each out: the model's candidates, the rules, the ranking, and what is tried.

    rows of SessionFold ─► Recommend (one call a recommender and batch) ─► rules ─► MMR ─► exploration ─► answers

The model is asked first and the catalogue after it, so that what an answer knows of the catalogue is as new as can be.
How far the catalogue was known is written down with each partition: no answer knows less than one before it, after a
restart either.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import polars as pl

from streaming.features.runs import Bools, Ints
from streaming.pipeline import Facts
from streaming.releases import RELEASE_TEXTS
from streaming.sessions import rules
from streaming.sessions.answers import Answered, answers
from streaming.sessions.catalogue import UNKNOWN, Codes, Index, Items
from streaming.sessions.chance import split
from streaming.sessions.diversity import rerank
from streaming.sessions.exploration import Shown, explore
from streaming.sessions.model import Recommend, ReleasedRecommend, Sessions
from streaming.sessions.released import Turns
from streaming.sessions.rules import Candidates, Pairs, Rule, allowed
from streaming.sessions.settings import Offer
from streaming.state import Column, StateTable

_TOTALS = ("unknown_items", "few", "explored")


class RecommendStage:
    """The stage.

    Args:
        recommenders: by name; one is `live`, the others are those that arms name.
        items: the catalogue.
        offer: what is offered, and tried.

    Raises:
        ValueError: an arm names a recommender that is not there.
    """

    name = "recommend"

    def __init__(
        self, recommenders: Mapping[str, Recommend | ReleasedRecommend], items: Items, offer: Offer | None = None
    ) -> None:
        self._recommenders, self._items, self._offer = dict(recommenders), items, offer or Offer()
        self._rules: tuple[Rule, ...] = (
            rules.is_scored,
            rules.can_be_had,
            rules.is_not_looked_at,
            rules.is_not_bought,
            rules.is_not_in_basket,
            rules.is_not_blocked(self._offer.blocked_items, self._offer.blocked_categories),
        )
        if missing := [arm.recommender for arm in self._offer.arms if arm.recommender not in self._recommenders]:
            raise ValueError(f"no recommender {missing[0]!r}; there are: {', '.join(self._recommenders)}")

    def new_state(self) -> StateTable:
        """How far the catalogue was known to each partition, what was counted, and which release of each recommender
        answered last (`streaming.releases.InService`)."""
        layout = {
            "catalogue_offset": Column(np.int64),
            **{f"{name}_total": Column(np.int64) for name in _TOTALS},
            **{name: Column(str) for name in RELEASE_TEXTS},
            "moves": Column(np.int64),
        }
        return StateTable(self.name, layout, partitioned=True)

    def facts(self, state: StateTable) -> Facts:
        """Views of items that the catalogue does not have, answers that are short, those by chance; and what is wrong
        with the catalogue, or with versions that were meant to take over."""
        totals = {name: int(state[f"{name}_total"].sum()) for name in _TOTALS}
        released = [each for each in self._recommenders.values() if isinstance(each, ReleasedRecommend)]
        alerts = [*self._items.alerts(), *(alert for each in released for alert in each.alerts())]
        return Facts(totals, alerts=tuple(dict.fromkeys(alerts)))

    def __call__(self, rows: pl.DataFrame, state: StateTable) -> pl.DataFrame:
        """Rows of `folding.ASKED_SCHEMA` in, rows of session-recommendations.avsc out, one for one."""
        partitions = rows["_partition"].unique().sort().to_list()
        slots = state.slots([_key(partition) for partition in partitions], partitions)
        known = int(state["catalogue_offset"][slots].max(initial=0))
        sessions = _sessions(rows)
        arm = self._arms(rows)
        turns = Turns(state)
        made = self._recommended(sessions, arm, rows["_partition"].to_numpy(), turns)
        catalogue = self._items.as_of(known)
        shown, unknown = self._shown(rows, sessions, made, arm, catalogue)
        out = answers(rows, sessions, made, shown, catalogue, self._names(arm), unknown)
        turns.note()  # only now, when nothing can fail any more
        state["catalogue_offset"][slots] = catalogue.position
        few = (shown.code[:, -1] == UNKNOWN) if shown.code.shape[1] else np.zeros(rows.height, bool)
        counts = {"unknown_items": unknown, "few": few, "explored": shown.explored}
        of = rows["_partition"].to_numpy()
        for name, values in counts.items():
            for partition, slot in zip(partitions, slots.tolist(), strict=True):
                state[f"{name}_total"][slot] += int(values[of == partition].sum())
        state.touch([_key(partition) for partition in partitions])
        return out

    def _arms(self, rows: pl.DataFrame) -> Ints:
        """Which arm each row's unit is in, (N,)."""
        experiment = self._offer.experiment
        if experiment is None:
            return np.zeros(rows.height, np.int64)
        return split(rows["unit"].to_list(), experiment.name, [arm.share for arm in experiment.arm])

    def _names(self, arm: Ints) -> pl.DataFrame:
        experiment = self._offer.experiment
        names = [a.name if experiment is not None else "" for a in self._offer.arms]
        return pl.DataFrame(
            {
                "experiment": pl.Series([experiment.name if experiment is not None else ""]).new_from_index(
                    0, len(arm)
                ),
                "arm": pl.Series(names, dtype=pl.String).gather(arm),
            }
        )

    def _recommended(self, sessions: Sessions, arm: Ints, partition: Ints, turns: Turns) -> Answered:
        """Every session's candidates, by the recommender of its arm: one call for each, and for each release of it."""
        names = np.array([a.recommender for a in self._offer.arms], dtype=object)[arm]
        made = Answered.empty(len(sessions), self._offer.candidates)
        for name in dict.fromkeys(names.tolist()):
            its = np.flatnonzero(names == name)
            asked = sessions if len(its) == len(sessions) else sessions.take(its)
            for mine, answer in turns.ask(
                name, self._recommenders[name], asked, partition[its], self._offer.candidates
            ):
                made.take(its[mine], answer, name)
        return made

    def _shown(
        self, rows: pl.DataFrame, sessions: Sessions, made: Answered, arm: Ints, catalogue: Index
    ) -> tuple[Shown, Bools]:
        offer, arms = self._offer, self._offer.arms
        looked_at = catalogue.codes(np.array(rows["item_id"].to_list(), dtype=object))
        bought, basket = (Pairs.of(rows[name], catalogue) for name in ("bought", "basket"))
        code = catalogue.codes(made.items)
        code[made.items == ""] = UNKNOWN
        candidates = Candidates(code, made.scores, looked_at, bought, basket)
        may = allowed(self._rules, candidates, catalogue)
        diversity = np.array([_or(a.diversity, offer.diversity) for a in arms])[arm]
        category = np.append(catalogue.category, 0)[code] if len(catalogue) else np.zeros(code.shape, np.int64)
        levels = catalogue.category_levels[category] if len(catalogue) else np.zeros((*code.shape, 1), np.int32)
        picked = rerank(made.scores, levels, may, diversity, offer.places)
        rate = np.array([_or(a.explore, offer.explore) for a in arms])[arm]
        new = catalogue.newest(offer.new_items) if rate.any() else np.empty(0, np.int32)
        shown = explore(
            code, picked, may, new, self._new_allowed(new, candidates, catalogue), rate,
            rows["number"].to_numpy(),
        )  # fmt: skip
        return shown, looked_at == UNKNOWN

    def _new_allowed(self, new: Codes, candidates: Candidates, catalogue: Index) -> Bools:
        every = np.broadcast_to(new, (len(candidates.code), len(new)))
        scores = np.zeros(every.shape, np.float32)
        return allowed(self._rules, replace(candidates, code=every, score=scores), catalogue)


def _sessions(rows: pl.DataFrame) -> Sessions:
    counts = rows["items"].list.len().to_numpy().astype(np.int64)
    flat = rows.select(pl.col("items", "kinds", "times_ms").explode())
    return Sessions(
        item=np.array(flat["items"].to_list(), dtype=object),
        kind=flat["kinds"].to_numpy(),
        time_ms=flat["times_ms"].to_numpy(),
        offsets=np.concatenate([[0], np.cumsum(counts)]),
    )


def _or(value: float | None, default: float) -> float:
    return default if value is None else value


def _key(partition: int) -> str:
    return f"@partition/{partition}"
