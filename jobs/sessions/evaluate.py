"""Judge a live recipe beside baselines on the last day: the library of `sightline evaluate sessions`.

    report = evaluate_sessions("yoochoose_clicks_train.txt")
    report["figures"]["all"]["with"]["live"]["recall"]["value"]

All rows answer the same clicks of the same sessions, once by the rule that every next click counts and once by that of
the papers (`jobs.sessions.split`), with repeats of the last item and without. What is learned is learned from the days
before, with three seeds; a figure is the mean over them, its interval comes from resamples of sessions, the same for
all rows. No number of a recipe or a baseline was chosen by the last day: they were by the day before, held back from
the days before that. How items unseen in training are answered by their content is judged in a made-up shop
(`jobs.sessions.cold_start`). All gates are listed (`jobs.sessions.aims`), those on figures that other commands measure
too. A report is plain JSON values.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from jobs.intervals import RESAMPLES
from jobs.recipes.session_gru4rec import GRU4REC
from jobs.recipes.session_sasrec import SASREC
from jobs.recipes.session_two_tower import TWO_TOWER
from jobs.recipes.sessions import SessionRecipe
from jobs.runs.environment import machine_words
from jobs.sessions.aims import gates_of
from jobs.sessions.cold_start import ColdTrial, cold_start_figures
from jobs.sessions.deletion import deletion_figures
from jobs.sessions.fit import SessionEpoch
from jobs.sessions.judge import (
    PLACES,
    REPEATS,
    WITH,
    Judged,
    Scores,
    difference,
    interval,
    judged,
    seed_means,
    session_samples,
)
from jobs.sessions.split import DaySplit, Protocol, Queries, queries, split_last_day
from jobs.sessions.task import recipe_clicks
from jobs.sessions.trainings import Trainings
from models.baselines.item_knn import ItemKNN
from models.baselines.session_knn import STAN, VSKNN, VSTAN, SessionKNN
from models.baselines.session_memory import SessionMemory
from models.metrics.ranking import coverage, popularity_bias
from models.session_model import SessionModel

LIVE, CONTENT = "live", "two_tower"
BASELINES = {
    "popularity": "popularity",
    "item_knn": "item-kNN",
    "vsknn": "V-SKNN",
    "stan": "STAN",
    "vstan": "V-STAN",
}
LEARNED = {
    LIVE: "live: GRU4Rec beside V-STAN",
    "gru4rec": "GRU4Rec, the live model's encoder alone",
    "sasrec": "SASRec",
    CONTENT: "two towers",
}
PROTOCOLS: dict[Protocol, str] = {
    "all": "every next click counts, on items unseen in training too",
    "filtered": "the papers' protocol: clicks on items unseen in training are taken out",
}
GATED = ("recall", "mrr")
SEEDS = 3

Found = dict[str, dict[str, Judged]]  # by row and repeats; one seed


def evaluate_sessions(
    data: str,
    *,
    live: SessionRecipe = GRU4REC,
    others: Mapping[str, SessionRecipe] | None = None,
    trial: ColdTrial | None = None,
    benchmarks: Mapping[str, Any] | None = None,
    demos: Sequence[Mapping[str, Any]] = (),
    work: Path | None = None,
    seeds: int = SEEDS,
    resamples: int = RESAMPLES,
    on_step: Callable[[str], None] = lambda words: None,
    on_epoch: Callable[[SessionEpoch], None] = lambda report: None,
) -> dict[str, Any]:
    """The report of a file of clicks, as JSON values.

    Args:
        data: file, as `jobs.sessions.clicks` reads it.
        live: the recipe that has to be at or above every baseline.
        others: recipes that are judged beside it, by row of `LEARNED`, two towers among them; by default those and
            SASRec.
        trial: the made-up shop in which items unseen in training are judged.
        benchmarks: figures of `jobs.sessions.aims.read_benchmarks`, for the gates on them.
        demos: figures of `jobs.sessions.aims.read_demo`, likewise.
        work: folder for trainings that are done or begun, until all is judged; need not exist. None: none is kept.
        seeds: trainings of each recipe.
        resamples: of the sessions.
        on_step: told what begins, in words.
        on_epoch: told after every epoch.

    Raises:
        UsageProblem: the recipe or the data cannot be used.
        CheckpointError: there is no room for a checkpoint, or the one that is there cannot be used.
    """
    started = time.monotonic()
    recipes = {LIVE: live, **({"sasrec": SASREC, CONTENT: TWO_TOWER} if others is None else others)}
    recipes = {row: replace(recipe, data=data, validation=0.0) for row, recipe in recipes.items()}
    for recipe in recipes.values():
        recipe.check()
    on_step(f"reading {data}")
    clicks = recipe_clicks(recipes[LIVE])
    split = split_last_day(clicks)
    asked = {protocol: queries(split, protocol) for protocol in PROTOCOLS}
    on_step(f"{split.train.sessions:,} sessions to learn from, {asked['all'].sessions:,} to judge")
    found: dict[Protocol, dict[str, list[dict[str, Judged]]]] = {protocol: {} for protocol in PROTOCOLS}
    costs: dict[str, dict[str, float]] = {}
    rates: dict[str, list[float]] = {}
    trainings = Trainings(work)

    def judge(row: str, scores: Scores, trained_s: float) -> None:
        at = time.process_time()
        for protocol, part in asked.items():
            found[protocol].setdefault(row, []).append(judged(part, scores))
        spent = time.process_time() - at
        answers = sum(map(len, asked.values()))
        costs[row] = {"train_s": round(trained_s, 1), "answers_per_s": round(answers / max(spent, 1e-9))}

    for row, scores in _baselines(split).items():
        on_step(f"judging {BASELINES[row]}")
        judge(row, scores, 0.0)
    deletion: dict[str, Any] = {}
    for row, recipe in recipes.items():
        for seed in range(seeds):
            on_step(f"{LEARNED[row]}: training {seed + 1} of {seeds}")
            fitted = trainings.fit(split, replace(recipe, seed=seed), on_epoch=on_epoch)
            model, seconds = fitted.model(), fitted.best.elapsed_s
            judge(row, model.probabilities, seconds)
            rates.setdefault(row, []).append(fitted.best.clicks_per_s)
            if row == LIVE and recipe.memory:
                judge("gru4rec", _alone(model), seconds)
            if row == LIVE and seed == 0:
                on_step("reasons: the deletion test")
                deletion = deletion_figures(model, asked["all"])
    for row, each in rates.items():
        costs[row]["clicks_per_s"] = round(median(each))
    rows = {row: words for row, words in {**LEARNED, **BASELINES}.items() if row in found["all"]}
    figures = {
        protocol: {
            repeats: {row: _figures(found[protocol][row], repeats, split, resamples) for row in rows}
            for repeats in REPEATS
        }
        for protocol in PROTOCOLS
    }
    on_step("items unseen in training")
    cold = cold_start_figures(
        recipes[LIVE],
        recipes[CONTENT],
        seeds=seeds,
        resamples=resamples,
        trainings=trainings,
        trial=trial,
        on_step=on_step,
        on_epoch=on_epoch,
    )
    report = {
        "data": {
            "source": clicks.source,
            "fingerprint": clicks.fingerprint,
            "sessions": clicks.sessions,
            "clicks": len(clicks),
            "items": len(clicks.items),
            "left_out": list(clicks.left_out),
        },
        "split": {
            "train_sessions": split.train.sessions,
            "train_clicks": len(split.train),
            "train_items": split.seen,
            "content": sum(item in clicks.content for item in split.train.items),
            "judged": {
                protocol: {
                    "sessions": part.sessions,
                    "clicks": len(part),
                    "unseen": _unseen(part, split),
                    "repeats": int((part.context[:, -1] == part.target).sum()),
                }
                for protocol, part in asked.items()
            },
        },
        "recipes": {row: asdict(recipe) for row, recipe in recipes.items()},
        "seeds": seeds,
        "resamples": resamples,
        "rows": rows,
        "figures": figures,
        "unseen": {row: _unseen_recall(each, asked["all"], split) for row, each in found["all"].items()},
        "costs": costs,
        "reasons": deletion,
        "differences": [
            _apart(found[protocol], figures[protocol][repeats], protocol, repeats, measure, resamples)
            for protocol in PROTOCOLS
            for repeats in REPEATS
            for measure in GATED
        ],
        "cold_start": cold,
        "measured": {"benchmarks": dict(benchmarks or {}), "demos": list(demos)},
        "machine": machine_words(),
        "seconds": round(time.monotonic() - started, 1),
        "went_on": trainings.went_on,
    }
    gates = gates_of(report)
    trainings.forget()
    return {**report, "gates": gates, "passed": all(gate["passed"] is not False for gate in gates)}


def _alone(model: SessionModel) -> Scores:
    """Of the model's encoder, without what it remembers."""
    return lambda context, _: model.encoder_probabilities(context)


def _baselines(split: DaySplit) -> dict[str, Scores]:
    train = split.train
    memory = SessionMemory(train.session, train.item, train.time_s[train.starts[1:] - 1], split.seen)
    popular, nearest_items = split.clicks.astype(np.float64), ItemKNN(memory)
    return {
        "popularity": lambda context, _: np.tile(popular, (len(context), 1)),
        "item_knn": lambda context, _: nearest_items.scores(context),
        "vsknn": SessionKNN(memory, VSKNN).scores,
        "stan": SessionKNN(memory, STAN).scores,
        "vstan": SessionKNN(memory, VSTAN).scores,
    }


def _figures(
    seeds: list[dict[str, Judged]], repeats: str, split: DaySplit, resamples: int
) -> dict[str, dict[str, Any] | float | list[float]]:
    own_seeds = [one[repeats] for one in seeds]
    values, session = seed_means(own_seeds), own_seeds[0].session
    found: dict[str, Any] = {}
    for measure, each in values.items():
        own = [float(one.values()[measure].mean()) for one in own_seeds]
        found[measure] = {
            **interval(float(each.mean()), session_samples(session, each, resamples)),
            "seeds": [round(value, 4) for value in own],
        }
    lists = [one.lists for one in own_seeds]
    found["coverage"] = _rounded(np.mean([coverage(each, split.seen, PLACES) for each in lists]))
    # An item that is unseen has no clicks.
    clicks = np.append(split.clicks, np.zeros(len(split.train.items) - split.seen, np.int64))
    found["popularity"] = _rounded(np.mean([popularity_bias(each, clicks, PLACES) for each in lists]))
    places = np.stack([one.place for one in own_seeds])
    found["curve"] = [_rounded((places <= k).mean()) for k in range(1, PLACES + 1)]
    return found


def _apart(
    found: Mapping[str, list[dict[str, Judged]]],
    figures: Mapping[str, Any],
    protocol: Protocol,
    repeats: str,
    measure: str,
    resamples: int,
) -> dict[str, Any]:
    """The live model minus the best baseline of the run, with the interval of the difference of pairs."""
    best = max(BASELINES, key=lambda row: figures[row][measure]["value"])
    mine, theirs = ([one[repeats] for one in found[row]] for row in (LIVE, best))
    value, low, high = difference(mine, theirs, measure, resamples=resamples)
    return {
        "protocol": protocol,
        "repeats": repeats,
        "measure": measure,
        "best": best,
        "difference": {"value": _rounded(value), "low": _rounded(low), "high": _rounded(high)},
    }


def _unseen(part: Queries, split: DaySplit) -> int:
    return int((part.target >= split.seen).sum())


def _unseen_recall(seeds: list[dict[str, Judged]], part: Queries, split: DaySplit) -> float | None:
    """Recall@20 of next clicks on items unseen in training; None where there are none."""
    unseen = part.target >= split.seen
    if not unseen.any():
        return None
    return _rounded(seed_means([one[WITH] for one in seeds])["recall"][unseen].mean())


def _rounded(value: float | np.floating) -> float:
    return round(float(value), 4)
