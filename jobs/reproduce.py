"""Every table about the win model, from the public data, in one go: `sightline evaluate reproduce`.

1. League of Legends: learn from the years to 2015, judge on 2016; TSSTN, its parts, and all baselines.
2. Dota 2: five folds by match, the same.
3. What each choice in TSSTN's design is worth, on validation matches of both (`jobs.choices`).
4. Are the reasons true: fidelity of explanations on Dota 2, which knows the most groups.
5. Simulator: do the learned weights rank groups as the truth does?

Every figure comes with a 95 % interval over matches where there is one. Gates say what was wanted and what was got.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobs.errors import UsageProblem
from jobs.gate_row import gate_row

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from jobs.baselines import Predictor
    from jobs.datasets import MatchSet
    from jobs.recipes.win_tsstn import WinTSSTN
    from jobs.splits import Fold, Plan

    Floats = npt.NDArray[np.float64]

LOL_TABLE, DOTA2_TABLE = "lol_pro_2014_2016_gold.parquet", "dota2_pro_2018_objectives.parquet"
LOL_SINCE = 2016
SIMULATED_TITLES = ("lol", "dota2", "hok")
SIMULATED_MATCHES, SIMULATED_SEED = 4000, 7
FIDELITY_FRAMES = 400
LOL_GATE = {"log_loss": 0.488, "accuracy": 0.755, "ece": 0.018}
DOTA2_LOG_LOSS = 0.512
LEAST_AGREEMENT = 0.8
MOST_FALL = 0.01
_CLOCK_PARTS_MIN = (0, 5, 10, 15, 20, 1000)

Say = Callable[[str], None]


def reproduce(data_root: Path, *, workers: int, on_step: Say, recipe: WinTSSTN | None = None) -> dict[str, Any]:
    """All tables and gates, as JSON values.

    Args:
        data_root: folder with the public tables, or with a folder `moba` that has them.
        workers: processes; 0: this one.
        on_step: told what is done, in words.
        recipe: of TSSTN; None: the default one.

    Raises:
        UsageProblem: a table is missing.
        ImportProblem: a table cannot be read.
    """
    from jobs.baselines import TrainedTSSTN, baselines_for
    from jobs.choices import choice_trials, choices_report, design_choices, validation_runs
    from jobs.datasets import load_matches
    from jobs.recipes.win_tsstn import WinTSSTN
    from jobs.splits import fold_trials, plan_split
    from jobs.trials import Trial, run_trials

    started = time.monotonic()
    recipe = recipe or WinTSSTN(data="")
    paths = {"lol": table_path(data_root, LOL_TABLE), "dota2": table_path(data_root, DOTA2_TABLE)}
    sets: dict[str, MatchSet] = {}
    for name, path in paths.items():
        on_step(f"reading {path.name}")
        sets[name] = load_matches(str(path))
    plans = {
        "lol": plan_split(sets["lol"], since=LOL_SINCE, until=None, folds=None),
        "dota2": plan_split(sets["dota2"], since=None, until=None, folds=None),
    }
    contender = TrainedTSSTN("tsstn", "TSSTN", recipe)
    main = {name: [contender, *baselines_for(matches, recipe=recipe)] for name, matches in sets.items()}
    choices = {name: design_choices(recipe, heroes=any(a or b for a, b in sets[name].heroes)) for name in sets}
    runs = {name: validation_runs(plan) for name, plan in plans.items()}
    trials = [
        *(
            Trial(
                ("simulator", title), f"simulator {title}: learned weights against the truth", agreement_rows, (title,)
            )
            for title in SIMULATED_TITLES
        ),
        Trial(("fidelity",), "fidelity of explanations", fidelity_rows, ("dota2", contender, plans["dota2"].folds[0])),
    ]
    for name in sets:
        trials += choice_trials(name, choices[name], runs[name])
        trials += fold_trials(name, main[name], plans[name])
    results = run_trials(
        trials,
        sets,
        workers=workers,
        on_done=lambda trial, done, of: on_step(f"{done}/{of} {_minutes(started)} {trial.key[0]}: {trial.words}"),
    )
    report: dict[str, Any] = {
        "lol": _title_report(sets["lol"], plans["lol"], main["lol"], results, "lol"),
        "dota2": _title_report(sets["dota2"], plans["dota2"], main["dota2"], results, "dota2"),
        "choices": {name: choices_report(sets[name], name, choices[name], runs[name], results) for name in sets},
        "fidelity": results["fidelity",],
        "simulator": {title: results["simulator", title] for title in SIMULATED_TITLES},
    }
    report["gates"] = gates(report)
    report["passed"] = all(gate["passed"] for gate in report["gates"])
    report["recipe"] = asdict(recipe)
    report["seconds"] = round(time.monotonic() - started, 1)
    return report


def table_path(data_root: Path, name: str) -> Path:
    """The table's file in the folder or in its subfolder `moba`.

    Raises:
        UsageProblem: it is in neither.
    """
    for path in (data_root / name, data_root / "moba" / name):
        if path.is_file():
            return path
    raise UsageProblem(f"--data-root {data_root}: no {name} there or in its folder moba")


def agreement_rows(sets: Mapping[str, MatchSet], title: str) -> dict[str, Any]:
    """Train on simulated matches as for the weights that ship, compare on others: a trial (`jobs.trials`)."""
    from jobs.agreement import importance_agreement
    from jobs.baselines import TrainedTSSTN
    from jobs.datasets import load_matches
    from jobs.recipes.win_tsstn import SIMULATED

    source = f"simulator:{title}?matches={SIMULATED_MATCHES}&seed={SIMULATED_SEED}"
    model = TrainedTSSTN("tsstn", "TSSTN", SIMULATED).fit(load_matches(source)).model
    if model is None:
        raise RuntimeError("training gave no model")
    found = importance_agreement(model, title, matches=400, seed=SIMULATED_SEED + 1)
    return {"learned_from": source, **found._asdict()}


def fidelity_rows(sets: Mapping[str, MatchSet], name: str, predictor: Predictor, fold: Fold) -> dict[str, Any]:
    """Train on the fold, explain frames of its judged matches by every method: a trial (`jobs.trials`)."""
    import torch

    from jobs.baselines import TrainedTSSTN
    from models.attribution import fidelity

    train, judged = (sets[name].take(torch.tensor(positions)) for positions in (fold.train, fold.judged))
    fitted = predictor.fit(train)
    if not isinstance(fitted, TrainedTSSTN) or fitted.model is None:
        raise TypeError(f"{predictor.name}: only a trained TSSTN can be explained")
    rows = fidelity.table(fitted.model, judged, sample_frames=FIDELITY_FRAMES, train=train)
    return {"rows": [asdict(row) for row in rows], "gate": asdict(fidelity.gate(rows)), "own": fidelity.OWN}


def gates(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What was wanted, what was got, and whether that is enough; figures as the reader sees them."""
    lol, dota2 = report["lol"], report["dota2"]
    got = lol["overall"]["tsstn"]
    found = [
        gate_row(
            "LoL log-loss",
            f"≤ {LOL_GATE['log_loss']}",
            f"{got['log_loss']:.4f}",
            got["log_loss"] <= LOL_GATE["log_loss"],
        ),
        gate_row(
            "LoL accuracy",
            f"≥ {LOL_GATE['accuracy']}",
            f"{got['accuracy']:.4f}",
            got["accuracy"] >= LOL_GATE["accuracy"],
        ),
        gate_row("LoL ECE", f"≤ {LOL_GATE['ece']}", f"{got['ece']:.4f}", got["ece"] <= LOL_GATE["ece"]),
        _beaten("LoL", lol),
        gate_row(
            "Dota 2 log-loss",
            f"≤ {DOTA2_LOG_LOSS}",
            f"{dota2['overall']['tsstn']['log_loss']:.4f}",
            dota2["overall"]["tsstn"]["log_loss"] <= DOTA2_LOG_LOSS,
        ),
        _beaten("Dota 2", dota2),
    ]
    for name, title in (("LoL", lol), ("Dota 2", dota2)):
        parts = [part["accuracy"] for part in title["clock_parts"]]
        falls = [before - after for before, after in pairwise(parts)]
        found.append(
            gate_row(
                f"{name} accuracy over 0–5, 5–10, 10–15, 15–20, > 20 min",
                "falls by ≤ 1 point",
                " ".join(f"{part:.3f}" for part in parts),
                max(falls, default=0.0) <= MOST_FALL,
            )
        )
    told = report["fidelity"]["gate"]
    found.append(
        gate_row(
            f"fidelity at k = {told['k']} of TSSTN's own contributions",
            "≤ 1 point behind the best, ≤ 2 forward passes",
            f"{100 * told['behind_best']:.1f} points behind, {told['cost']:.2f} passes",
            told["passed"],
        )
    )
    rhos = {title: agreement["weights"] for title, agreement in report["simulator"].items()}
    found.append(
        gate_row(
            "simulator: Spearman of weights and truth",
            f"≥ {LEAST_AGREEMENT}",
            ", ".join(f"{title} {rho:.3f}" for title, rho in rhos.items()),
            min(rhos.values()) >= LEAST_AGREEMENT,
        )
    )
    return found


def _beaten(name: str, report: Mapping[str, Any]) -> dict[str, Any]:
    """Is any baseline better beyond the interval of the difference? Parts of TSSTN are no baselines."""
    from jobs.baselines import PARTIAL

    rivals = {n: d["log_loss"] for n, d in report["differences"].items() if n not in PARTIAL}
    better = {n: d for n, d in rivals.items() if d[2] < 0}  # even the high end says that the rival has less
    nearest = min(rivals, key=lambda n: rivals[n][0])
    value, low, high = rivals[nearest]
    got = f"best rival: {report['predictors'][nearest]}, {value:+.4f} ({low:+.4f} to {high:+.4f})"
    return gate_row(f"{name}: no baseline better beyond its interval", "none", got, not better)


def _title_report(
    matches: MatchSet,
    plan: Plan,
    predictors: Sequence[Predictor],
    results: Mapping[tuple[str, ...], Floats],
    name: str,
) -> dict[str, Any]:
    import torch

    from jobs.evaluate import data_facts, figures
    from jobs.splits import joined

    judged = matches.take(torch.tensor(plan.judged))
    probs = {predictor.name: joined(matches, plan, results, name, predictor.name) for predictor in predictors}
    return {
        "data": data_facts(judged),
        "baselines_learned_from": plan.words,
        "predictors": {predictor.name: predictor.words for predictor in predictors},
        **figures(judged, probs, reference="tsstn"),
        "clock_parts": _clock_parts(judged, probs["tsstn"]),
    }


def _clock_parts(judged: MatchSet, probs: Floats) -> list[dict[str, Any]]:
    """Accuracy over the dossier's five parts of the game clock."""
    from jobs.datasets import frame_clocks, frame_outcomes
    from models.metrics import accuracy

    minute, won = frame_clocks(judged) / 60, frame_outcomes(judged)
    parts = []
    for start, stop in pairwise(_CLOCK_PARTS_MIN):
        rows = (minute >= start) & (minute < stop)
        if rows.any():
            parts.append({"from_min": start, "frames": int(rows.sum()), "accuracy": accuracy(probs[rows], won[rows])})
    return parts


def _minutes(started: float) -> str:
    elapsed = int(time.monotonic() - started)
    return f"[{elapsed // 60}:{elapsed % 60:02d}]"
