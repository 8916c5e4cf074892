"""`sightline train`, `sightline evaluate` and `sightline models`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from jobs.commands.console import AsJson, Assignments, emit_json, emit_table, loaded, writable_file
from jobs.errors import UsageProblem

models = typer.Typer(no_args_is_help=True, help="The model store: your models, and those that ship with Sightline.")

EVALUATIONS = ("win", "gate-lol")

Data = Annotated[
    str,
    typer.Option(
        help="A Riot timeline, OpenDota tables, a gold table (file or folder), or simulator:lol?matches=4000."
    ),
]
Title = Annotated[str | None, typer.Option(help="Which title, where the data holds several.")]
Since = Annotated[int | None, typer.Option(metavar="YEAR", help="Leave out matches before this year.")]
Until = Annotated[int | None, typer.Option(metavar="YEAR", help="Leave out matches after this year.")]


def train(
    recipe: Annotated[str, typer.Argument(help="win-tsstn")],
    data: Data,
    title: Title = None,
    since: Since = None,
    until: Until = None,
    name: Annotated[str | None, typer.Option(help="In the model store; default: tsstn-TITLE.")] = None,
    alias: Annotated[str | None, typer.Option(help="Let this alias, such as live, mean the new version.")] = None,
    workers: Annotated[int | None, typer.Option(min=0, help="Of Ray Train; 0 trains in this process.")] = None,
    changes: Annotated[
        list[str] | None, typer.Option("--set", metavar="FIELD=VALUE", help="Change the recipe. Repeatable.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the recipe and stop.")] = False,
) -> None:
    """Train a model and store it as a new version.

    Example: sightline train win-tsstn --data gold.parquet --until 2015 --alias live
    """
    from jobs.train import RECIPES, train_main

    if recipe not in RECIPES:
        raise UsageProblem(f"no recipe {recipe!r}; there are: {', '.join(sorted(RECIPES))}")
    options = _options(title=title, since=since, until=until, name=name, alias=alias, workers=workers)
    options += [f"--set={change}" for change in changes or ()]
    options += ["--dry-run"] if dry_run else []
    store = loaded().settings.models.store
    raise typer.Exit(train_main([recipe, f"--data={data}", f"--store={store}", *options]))


def evaluate(
    task: Annotated[str, typer.Argument(help="win, or gate-lol: train on the gold table to 2015, judge on 2016")],
    data: Data,
    model: Annotated[
        str | None, typer.Option(help="NAME@ALIAS or NAME@VERSION; default: tsstn@live, the live one of the title.")
    ] = None,
    title: Title = None,
    since: Since = None,
    until: Until = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write all figures here; - for stdout.")
    ] = None,
) -> None:
    """Measure a model on matches: accuracy, log-loss, Brier, AUC and calibration, beside two baselines.

    Example: sightline evaluate win --model tsstn@live --data gold.parquet --since 2016 --json figures.json
    """
    from jobs.evaluate import evaluate_main

    if task not in EVALUATIONS:
        raise UsageProblem(f"nothing to evaluate named {task!r}; there are: {', '.join(EVALUATIONS)}")
    writable_file(json_file, "--json")
    options = _options(model=model, title=title, since=since, until=until)
    if task == "win":
        options.append(f"--store={loaded().settings.models.store}")
    elif options:
        raise UsageProblem(
            f"{task} trains its own model and chooses its own years: leave out {options[0].split('=')[0]}"
        )
    raise typer.Exit(evaluate_main([task, f"--data={data}", *options, *_options(json=json_file)]))


@models.command(name="ls")
def ls(as_json: AsJson = False, assignments: Assignments = None) -> None:
    """List all models: version, aliases, title, what they were trained on, and when.

    Example: sightline models ls
    """
    from dataclasses import asdict

    from models.store import ModelStore

    lines = ModelStore(*loaded(assignments).settings.models.store_roots).list()
    if as_json:
        emit_json([asdict(line) for line in lines])
        return
    rows = [(f"{m.name}@{m.version}", ", ".join(m.aliases), m.title, m.trained_on, m.created) for m in lines]
    emit_table(("model", "aliases", "title", "trained on", "created"), rows)


@models.command()
def show(
    model: Annotated[str, typer.Argument(help="NAME, NAME@ALIAS or NAME@VERSION")],
    as_json: AsJson = False,
    assignments: Assignments = None,
) -> None:
    """Show one model: origin, checksums, sizes and figures, after checking its files.

    Example: sightline models show tsstn-lol@live
    """
    from dataclasses import asdict

    from models.store import ModelStore

    stored = ModelStore(*loaded(assignments).settings.models.store_roots).load(model)
    shown = {**asdict(stored.manifest), "path": str(stored.path), "config": stored.config, "metrics": stored.metrics}
    if as_json:
        emit_json(shown)
    else:
        emit_table(("", ""), _flat(shown))


def _options(**given: object) -> list[str]:
    return [f"--{name}={value}" for name, value in given.items() if value is not None]


def _flat(values: dict[str, object], prefix: str = "") -> list[tuple[str, object]]:
    rows: list[tuple[str, object]] = []
    for name, value in values.items():
        if isinstance(value, dict):
            rows += _flat(value, f"{prefix}{name}.")
        else:
            rows.append((f"{prefix}{name}", value))
    return rows
