"""`sightline train`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from jobs.commands.console import AsJson, Since, Title, Until, emit_json, kafka_settings, loaded
from jobs.errors import UsageProblem
from jobs.task import WATCHED

if TYPE_CHECKING:
    from rich.console import Console

    from jobs.task import OnEpoch, Report
    from jobs.train import Recipe, TrainResult


def train(
    recipe: Annotated[
        str | None,
        typer.Argument(
            help="win-tsstn, or win-tsstn-simulated for thousands of matches that know every group; reid-osnet, "
            "reid-resnet50 or, for small crops, reid-small for people, as-gan and then reid-aifl for people in "
            "any clothes; session-gru4rec, session-sasrec or session-two-tower for shoppers."
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            help="A Riot timeline, OpenDota tables, a gold table (file or folder), a set of `sightline dataset build`, "
            "or simulator:lol?matches=4000. For people a parquet file with pid, camid and image, a public set such as "
            "prcc:FOLDER, simulator:store?stores=6 or simulator:dolls?people=200; for shoppers a file of clicks as "
            "of yoochoose or Diginetica."
        ),
    ] = None,
    title: Title = None,
    since: Since = None,
    until: Until = None,
    name: Annotated[str | None, typer.Option(help="In the model store; default: tsstn-TITLE, or the recipe's.")] = None,
    alias: Annotated[
        str | None,
        typer.Option(help="That is to mean the new version; default: candidate. Any other needs --force."),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Move an alias such as live without a gate's verdict; needs --reason.")
    ] = False,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why; kept in the alias's history.")] = "",
    store: Annotated[
        str | None, typer.Option(metavar="DIR", help="Another model store, folder or URL, than that of the settings.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=0, help="Of Ray Train; 0 trains in this process. Default: 1.")
    ] = None,
    changes: Annotated[
        list[str] | None, typer.Option("--set", metavar="FIELD=VALUE", help="Change the recipe. Repeatable.")
    ] = None,
    resume: Annotated[
        str | None,
        typer.Option(
            metavar="RUN",
            help="Go on with this run, which was cut short, as it was asked for; see `sightline runs ls`.",
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the recipe and stop.")] = False,
    as_json: AsJson = False,
) -> None:
    """Train a model and store it as a new version, a candidate for `sightline models gate`. The run is kept: see
    `sightline runs`.

    Example: sightline train win-tsstn --data gold.parquet --until 2015
    """
    from dataclasses import asdict

    from rich.console import Console
    from rich.pretty import Pretty

    from jobs.recipes.overrides import with_overrides
    from jobs.recipes.win_tsstn import WinTSSTN
    from jobs.train import resume as resume_run
    from jobs.train import train as train_recipe
    from models.store import CANDIDATE

    console = Console(stderr=True)
    if resume is not None:
        given = (recipe, data, title, since, until, name, alias, store, workers, changes)
        if any(each is not None for each in given) or dry_run or force or reason:
            raise UsageProblem(
                "--resume goes on with what was asked for then: give no recipe, and no option but --json"
            )
        with epochs_shown(console) as on_epoch:
            result = resume_run(resume, runs=loaded().settings.home / "runs", on_epoch=on_epoch, on_step=console.log)
        _tell(console, result, as_json)
        return
    if force != bool(reason.strip()):
        raise UsageProblem("--force: say why with --reason TEXT; both are kept in the alias's history")
    chosen = chosen_recipe(recipe, data)
    if isinstance(chosen, WinTSSTN):
        chosen = replace(chosen, title=title or "", since=since or 0, until=until or 0)
        scaling = chosen.scaling if workers is None else replace(chosen.scaling, workers=workers)
        chosen = replace(chosen, scaling=scaling)
    elif any(each is not None for each in (title, since, until)) or workers:
        raise UsageProblem(
            f"{recipe}: trains in this process, on all of the data: leave out --title, --since, --until, --workers"
        )
    chosen = with_overrides(chosen, changes or ())
    chosen.check()
    if dry_run:
        emit_json(asdict(chosen)) if as_json else Console().print(Pretty(chosen, expand_all=True))
        return
    settings = loaded().settings
    store = store or settings.models.store
    with epochs_shown(console) as on_epoch:
        result = train_recipe(
            chosen,
            store=store,
            runs=settings.home / "runs",
            name=name,
            alias=alias or CANDIDATE,
            force=reason,
            on_epoch=on_epoch,
            on_step=console.log,
        )
    _tell(console, result, as_json)


def chosen_recipe(recipe: str | None, data: str | None) -> Recipe:
    """The recipe of this name, on this data.

    Raises:
        UsageProblem: there is none of this name, or either is missing.
    """
    from jobs.train import RECIPES

    there = ", ".join(sorted(RECIPES))
    if recipe is None:
        raise UsageProblem(f"name a recipe, one of {there}, or a run to go on with: --resume RUN")
    if recipe not in RECIPES:
        raise UsageProblem(f"no recipe {recipe!r}; there are: {there}")
    if data is None:
        raise UsageProblem("say what to learn from: --data PATH, or --data 'simulator:lol?matches=4000'")
    return replace(RECIPES[recipe], data=data)


def _tell(console: Console, result: TrainResult, as_json: bool) -> None:
    from dataclasses import asdict

    from jobs.control import announce_move
    from jobs.recipes.reid import ReID
    from jobs.train import RECIPES
    from models.store import CANDIDATE, ModelStore

    manifest, best = result.manifest, result.best
    if result.alias is not None:
        announce_move(kafka_settings(None, None), ModelStore(result.store), manifest.name, result.alias)
    figures = ", ".join(f"{figure} {value:.4f}" for figure, value in best.validation.items()) or "nothing held out"
    console.print(
        f"kept epoch {best.epoch} of {len(result.reports)} in {result.reports[-1].elapsed_s:.0f} s: {figures}"
    )
    moved = f", {manifest.name}@{result.alias} now means it" if result.alias else ""
    console.print(f"stored {manifest.name}@{manifest.version} in {result.store}{moved}", soft_wrap=True)
    if result.alias == CANDIDATE and not isinstance(RECIPES[manifest.recipe["name"]], ReID):  # no gate judges these
        ref = f"{manifest.name}@{CANDIDATE}"
        console.print(f"to let it serve: sightline models gate {ref} --data PATH --promote", soft_wrap=True)
    if as_json:
        told = {"run": result.run, "store": result.store, **result.counts, "metrics": result.metrics}
        emit_json({**asdict(manifest), **told})


@contextmanager
def epochs_shown(console: Console) -> Iterator[OnEpoch]:
    """A bar over the epochs, with the loss, the rate and the time left; one line an epoch where no terminal watches."""
    if not console.is_terminal:
        yield lambda report: console.print(
            f"epoch {report.epoch}/{report.epochs}: {_epoch_words(report)}", soft_wrap=True
        )
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (TextColumn("epoch"), MofNCompleteColumn(), BarColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task("…", total=None, visible=False)

        def show(report: Report) -> None:
            words = _epoch_words(report)
            progress.update(bar, completed=report.epoch, total=report.epochs, description=words, visible=True)

        yield show


def _epoch_words(report: Report) -> str:
    figures = [f"validation {words} {report.validation[name]:.4f}" for name, words in WATCHED.items()
               if name in report.validation]  # fmt: skip
    return ", ".join([f"loss {report.train_loss:.4f}", *figures, report.rate, f"{_left(report.left_s)} left"])


def _left(left_s: float) -> str:
    """Seconds as a person says them: 45 s, 3 min 05 s, 2 h 10 min."""
    whole = round(left_s)
    if whole < 60:
        return f"{whole} s"
    minutes, rest_s = divmod(whole, 60)
    return f"{minutes} min {rest_s:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"
