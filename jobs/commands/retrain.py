"""`sightline retrain`."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Annotated

import typer

from jobs.commands.console import loaded, say
from jobs.errors import UsageProblem


def retrain(
    title: Annotated[str, typer.Argument(help="Of the matches: lol, dota2 or hok.")],
    begin: Annotated[
        str | None, typer.Option("--from", metavar="WHEN", help="As of `dataset build`; default: the earliest.")
    ] = None,
    patch: Annotated[
        str, typer.Option(metavar="NAME", help="Only matches of this patch; latest: of that of the newest match.")
    ] = "",
    hold_back: Annotated[
        float, typer.Option(metavar="SHARE", help="Of the matches, the latest ones, which the gate judges on.")
    ] = 0.3,
    min_matches: Annotated[int, typer.Option(min=2, metavar="N", help="As of `models gate`.")] = 200,
    promote: Annotated[bool, typer.Option("--promote", help="Where the gate passes it, let it serve.")] = False,
    workers: Annotated[int | None, typer.Option(min=0, help="As of `train`.")] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Keep the training set here; else it is removed at the end.")
    ] = None,
    changes: Annotated[
        list[str] | None, typer.Option("--set", metavar="FIELD=VALUE", help="Change the recipe. Repeatable.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be run, and stop.")] = False,
) -> None:
    """Build a training set from the stream, train on it, and let the gate judge the candidate on its latest matches:
    `dataset build`, `train` and `models gate`, one after another. For schedules; exit code 4 where the gate says no.

    Example: sightline retrain lol --from 2026-11-15 --promote
    """
    import shlex

    from jobs.cli import main
    from jobs.retrain import Retraining, commands
    from jobs.retrain import retrain as run_all
    from streaming.features.catalogue import titles

    if title not in titles():
        raise UsageProblem(f"no title {title!r}; there are: {', '.join(titles())}")
    if not 0 < hold_back < 1:
        raise UsageProblem(f"--hold-back {hold_back:g}: must lie between 0 and 1")
    what = Retraining(title, begin, patch, hold_back, min_matches, promote, workers, tuple(changes or ()))
    folder = out or loaded().settings.home / "sets" / f"{title}-{uuid.uuid4().hex[:8]}"
    if dry_run:
        for command in commands(what, folder):
            typer.echo(f"sightline {shlex.join(command)}")
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    raise typer.Exit(run_all(what, folder, run=main, say=say, keep=out is not None))
