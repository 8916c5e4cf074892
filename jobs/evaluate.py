"""Measure a win model on matches: python -m jobs.evaluate win --model tsstn-lol@live --data PATH [--since 2016]

Figures over frames, overall and per five minutes of game clock, beside baselines on the same frames. Baselines learn
from the matches of the same data before `--since`, where that is given and there are some; else from the other four
fifths of the matches, in five folds. `python -m jobs.evaluate gate-lol --data GOLD_TABLE` trains on the years to 2015,
judges on 2016, and fails if the figures fall short.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobs.errors import Exit, meaning
from jobs.train import user_store

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from jobs.datasets import MatchSet
    from models.store import StoredModel

    Floats = npt.NDArray[np.float64]

MEASURES = ("log_loss", "accuracy", "brier", "auc", "ece")
BUCKET_MIN = 5
LAST_BUCKET_MIN = 60
FOLDS = 5
GATE = {"log_loss": 0.500, "accuracy": 0.745}
"""What `gate-lol` asks for: at most this log-loss, at least this accuracy."""
GATE_UNTIL = 2015
"""The last year to learn from; the judge is the year after."""


def evaluate_win(
    model_ref: str,
    data: str,
    *,
    store: Path | None = None,
    title: str | None = None,
    since: int | None = None,
    until: int | None = None,
) -> dict[str, Any]:
    """The report of one model on one set of matches, as JSON values.

    Args:
        model_ref: "NAME@ALIAS" or "NAME@VERSION"; a name without a model of its own, such as "tsstn", stands for
            "tsstn-TITLE".
        data: any source that `jobs.datasets.load_matches` takes.
        store: root folder of the user's models, None: that of the settings; those that ship with the project are found
            as well.
        title: which title, where the data holds several.
        since: first year to judge on.
        until: last year to judge on.

    Raises:
        UsageProblem, ImportProblem: the data cannot be used.
        ModelNotFoundError, BrokenModelError: the model cannot be used.
    """
    from jobs.datasets import load_matches
    from jobs.errors import UsageProblem
    from jobs.fit_tsstn import frame_probs

    started = time.monotonic()
    everything = load_matches(data, title)
    stored = _load(model_ref, everything.title, store or user_store())
    if stored.manifest.title != everything.title:
        raise UsageProblem(f"{model_ref} is for {stored.manifest.title}, but {data} holds {everything.title}")
    judged = everything.of_years(since=since, until=until)
    probs = {"tsstn": frame_probs(stored.build(), judged).numpy()}
    baselines, learned_from = _baseline_probs(everything, judged, since)
    probs |= baselines
    report = {
        "model": {
            "name": stored.name,
            "version": stored.version,
            "weight_hash": stored.weight_hash,
            "trained_on": stored.manifest.trained_on,
        },
        "data": {
            "source": everything.source,
            "title": everything.title,
            "since": since,
            "until": until,
            "matches": len(judged),
            "frames": judged.frames,
            "fingerprint": judged.fingerprint,
        },
        "baselines_learned_from": learned_from,
        **_figures(judged, probs),
    }
    return report | {"seconds": round(time.monotonic() - started, 1)}


def _figures(judged: MatchSet, probs: dict[str, Floats]) -> dict[str, Any]:
    """Overall figures, and those of each bucket of game clock."""
    from jobs.baselines import frame_clocks, frame_outcomes

    won, minute = frame_outcomes(judged), frame_clocks(judged) / 60
    buckets = []
    for start in range(0, LAST_BUCKET_MIN + 1, BUCKET_MIN):
        open_ended = start == LAST_BUCKET_MIN
        rows = (minute >= start) & (open_ended | (minute < start + BUCKET_MIN))
        if rows.any():
            figures = {name: _measure(p[rows], won[rows]) for name, p in probs.items()}
            end = None if open_ended else start + BUCKET_MIN
            buckets.append({"from_min": start, "to_min": end, "frames": int(rows.sum()), "predictors": figures})
    return {"overall": {name: _measure(p, won) for name, p in probs.items()}, "buckets": buckets}


def _measure(probs: Floats, won: Floats) -> dict[str, float | None]:
    """Every figure of merit; None where only one outcome occurs and AUC means nothing."""
    import math

    from models import metrics

    figures = {name: getattr(metrics, name)(probs, won) for name in MEASURES}
    return {name: None if math.isnan(value) else round(value, 5) for name, value in figures.items()}


def _baseline_probs(everything: MatchSet, judged: MatchSet, since: int | None) -> tuple[dict[str, Floats], str]:
    """Each baseline's answer for every judged frame, and what they learned from, in words."""
    import numpy as np
    import torch

    from jobs.baselines import baselines_for

    if since is not None and bool((everything.year < since).any()):
        earlier = everything.of_years(until=since - 1)
        fitted = {baseline.name: baseline.fit(earlier).probs(judged) for baseline in baselines_for(earlier)}
        return fitted, f"{len(earlier):,} matches until {since - 1}"
    if len(judged) < FOLDS:
        return {}, f"nothing: {len(judged)} match(es) are too few for {FOLDS} folds"
    fold = torch.randperm(len(judged), generator=torch.Generator().manual_seed(0)) % FOLDS
    frame_fold = fold[:, None].expand_as(judged.mask)[judged.mask].numpy()
    probs: dict[str, Floats] = {}
    for number in range(FOLDS):
        train, held_out = judged.take(fold != number), judged.take(fold == number)
        for baseline in baselines_for(judged):
            answers = probs.setdefault(baseline.name, np.empty(judged.frames))
            answers[frame_fold == number] = baseline.fit(train).probs(held_out)
    return probs, f"the other folds of {FOLDS}, by match"


def _load(ref: str, title: str, store: Path) -> StoredModel:
    from models.store import SHIPPED, ModelStore

    models = ModelStore(store, SHIPPED)
    name, at, rest = ref.partition("@")
    per_title = f"{name}-{title}"
    if not models.versions(name) and models.versions(per_title):
        return models.load(per_title + at + rest)
    return models.load(ref)


def gate_lol(data: str, *, workers: int, assignments: Sequence[str], say: Callable[[str], None]) -> dict[str, Any]:
    """Train on the gold table's years to 2015 with the recipe's own settings, and judge on 2016.

    Returns the report of `evaluate_win` with two more entries: gate, what was asked for, and passed.
    """
    from dataclasses import replace

    from jobs.recipes.overrides import with_overrides
    from jobs.recipes.win_tsstn import Scaling, WinTSSTN
    from jobs.train import train

    recipe = with_overrides(WinTSSTN(data=data, until=GATE_UNTIL, scaling=Scaling(workers=workers)), assignments)
    with tempfile.TemporaryDirectory(prefix="sightline-gate-") as scratch:
        result = train(replace(recipe, data=data), store=Path(scratch), name="gate-lol", alias="live", on_step=say)
        say(f"trained in {result.reports[-1].elapsed_s:.0f} s, best epoch {result.best.epoch}")
        report = evaluate_win("gate-lol@live", data, store=Path(scratch), since=GATE_UNTIL + 1)
    tsstn = report["overall"]["tsstn"]
    passed = tsstn["log_loss"] <= GATE["log_loss"] and tsstn["accuracy"] >= GATE["accuracy"]
    return report | {"gate": GATE, "passed": passed}


def print_report(report: dict[str, Any]) -> None:
    """The report as tables on stdout: overall, then log-loss and accuracy of each bucket."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    model, data = report["model"], report["data"]
    console.print(
        f"{model['name']}@{model['version']} ({model['weight_hash']}), trained on {model['trained_on']}\n"
        f"{data['matches']:,} matches, {data['frames']:,} frames of {data['source']}; "
        f"baselines learned from {report['baselines_learned_from']}",
        markup=False,
        highlight=False,
    )
    overall = Table("", *(name.replace("_", "-") for name in MEASURES), title="all frames")
    for name, figures in report["overall"].items():
        overall.add_row(name, *(_cell(figures[measure]) for measure in MEASURES))
    console.print(overall)
    predictors = list(report["overall"])
    by_clock = Table("minutes", "frames", *predictors, title="log-loss / accuracy by game clock")
    for bucket in report["buckets"]:
        end = "…" if bucket["to_min"] is None else bucket["to_min"]
        cells = [
            f"{_cell(figures['log_loss'])} / {_cell(figures['accuracy'], digits=3)}"
            for figures in (bucket["predictors"][name] for name in predictors)
        ]
        by_clock.add_row(f"{bucket['from_min']}–{end}", f"{bucket['frames']:,}", *cells)
    console.print(by_clock)
    if "passed" in report:
        verdict = "passed" if report["passed"] else "MISSED"
        console.print(f"gate {verdict}: log-loss ≤ {GATE['log_loss']}, accuracy ≥ {GATE['accuracy']}")


def _cell(value: float | None, digits: int = 4) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="sightline evaluate", description="Measure a model on matches.")
    tasks = parser.add_subparsers(dest="task", required=True)
    win = tasks.add_parser("win", help="a stored win model")
    win.add_argument("--model", default="tsstn@live", help="NAME@ALIAS or NAME@VERSION; tsstn stands for tsstn-TITLE")
    win.add_argument("--store", type=Path, help="root folder of your own models; by default that of the settings")
    win.add_argument("--title", help="which title, where the data holds several")
    win.add_argument("--since", type=int, metavar="YEAR", help="judge on matches from this year on")
    win.add_argument("--until", type=int, metavar="YEAR", help="judge on matches up to this year")
    gate = tasks.add_parser("gate-lol", help="train on the LoL gold table to 2015, judge on 2016")
    gate.add_argument("--workers", type=int, default=0, help="Ray Train workers; 0 trains in this process")
    gate.add_argument("--set", action="append", default=[], metavar="A.B=C", help="change a field of the recipe")
    for task in (win, gate):
        task.add_argument("--data", required=True, help="file, folder, or simulator:lol?matches=400&seed=11")
        task.add_argument("--json", metavar="FILE", help="write all figures here; - prints them instead of the tables")
    return parser


def evaluate_main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit code (`jobs.errors.Exit`): FAILED where the gate is missed."""
    from rich.console import Console

    args = _parser().parse_args(argv)
    console = Console(stderr=True)
    try:
        if args.task == "gate-lol":
            report = gate_lol(args.data, workers=args.workers, assignments=args.set, say=console.log)
        else:
            report = evaluate_win(
                args.model, args.data, store=args.store, title=args.title, since=args.since, until=args.until
            )
        text = json.dumps(report, indent=2, allow_nan=False) + "\n"
        if args.json == "-":
            sys.stdout.write(text)
            return int(Exit.OK if report.get("passed", True) else Exit.FAILED)
        if args.json:
            Path(args.json).write_text(text, encoding="utf-8")
    except Exception as error:
        line, code = meaning(error)
        console.print(f"error: {line}", style="red", markup=False, highlight=False, soft_wrap=True)
        return int(code)
    print_report(report)
    return int(Exit.OK if report.get("passed", True) else Exit.FAILED)


if __name__ == "__main__":
    sys.exit(evaluate_main())
