"""`sightline train`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobs.commands.console import AsJson, Data, Since, Title, Until, emit_json, loaded
from jobs.errors import UsageProblem

if TYPE_CHECKING:
    from jobs.fit_tsstn import EpochReport
    from jobs.train import OnEpoch


def train(
    recipe: Annotated[
        str, typer.Argument(help="win-tsstn, or win-tsstn-simulated for thousands of matches that know every group.")
    ],
    data: Data,
    title: Title = None,
    since: Since = None,
    until: Until = None,
    name: Annotated[str | None, typer.Option(help="In the model store; default: tsstn-TITLE.")] = None,
    alias: Annotated[str | None, typer.Option(help="Let this alias, such as live, mean the new version.")] = None,
    store: Annotated[
        str | None, typer.Option(metavar="DIR", help="Another model store, folder or URL, than that of the settings.")
    ] = None,
    workers: Annotated[int, typer.Option(min=0, help="Of Ray Train; 0 trains in this process.")] = 1,
    changes: Annotated[
        list[str] | None, typer.Option("--set", metavar="FIELD=VALUE", help="Change the recipe. Repeatable.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the recipe and stop.")] = False,
    as_json: AsJson = False,
) -> None:
    """Train a model and store it as a new version.

    Example: sightline train win-tsstn --data gold.parquet --until 2015 --alias live
    """
    from dataclasses import asdict

    from rich.console import Console
    from rich.pretty import Pretty

    from jobs.intervals import MEASURES
    from jobs.recipes.overrides import with_overrides
    from jobs.train import RECIPES
    from jobs.train import train as train_recipe

    if recipe not in RECIPES:
        raise UsageProblem(f"no recipe {recipe!r}; there are: {', '.join(sorted(RECIPES))}")
    chosen = replace(RECIPES[recipe], data=data, title=title or "", since=since or 0, until=until or 0)
    chosen = with_overrides(replace(chosen, scaling=replace(chosen.scaling, workers=workers)), changes or ())
    if dry_run:
        emit_json(asdict(chosen)) if as_json else Console().print(Pretty(chosen, expand_all=True))
        return
    store = store or loaded().settings.models.store
    console = Console(stderr=True)
    with _progress(console) as on_epoch:
        result = train_recipe(chosen, store=store, name=name, alias=alias, on_epoch=on_epoch, on_step=console.log)
    manifest, best = result.manifest, result.best
    figures = ", ".join(f"{figure} {best.validation[figure]:.4f}" for figure in MEASURES)
    console.print(
        f"kept epoch {best.epoch} of {len(result.reports)} in {result.reports[-1].elapsed_s:.0f} s: {figures}"
    )
    moved = f", {manifest.name}@{alias} now means it" if alias else ""
    console.print(f"stored {manifest.name}@{manifest.version} in {store}{moved}", soft_wrap=True)
    if as_json:
        emit_json({**asdict(manifest), "store": store, "matches": result.matches, "metrics": result.metrics})


@contextmanager
def _progress(console: Any) -> Iterator[OnEpoch]:
    """A progress bar over the epochs, with the loss and the time left; one line an epoch where no terminal watches."""
    if not console.is_terminal:
        yield lambda report: console.print(
            f"epoch {report.epoch}/{report.epochs}: {_epoch_words(report)}", soft_wrap=True
        )
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("epoch"), MofNCompleteColumn(), BarColumn(), TextColumn("{task.description}"))
    with Progress(*columns, TimeRemainingColumn(), console=console) as progress:
        bar = progress.add_task("…", total=None, visible=False)

        def show(report: EpochReport) -> None:
            words = _epoch_words(report)
            progress.update(bar, completed=report.epoch, total=report.epochs, description=words, visible=True)

        yield show


def _epoch_words(report: EpochReport) -> str:
    return f"loss {report.train_loss:.4f}, validation log-loss {report.validation['log_loss']:.4f}"
