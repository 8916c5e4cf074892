"""`sightline evaluate`: a model beside baselines, all tables about the win model, people, a store, next clicks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from jobs.commands.console import Data, Since, Title, Until, loaded, made_folder, say, writable_file
from jobs.errors import Exit, UsageProblem

evaluate = typer.Typer(
    no_args_is_help=True,
    help="Measure a win model, a person embedding, a store or what foretells the next click, or make every table anew.",
)

Workers = Annotated[
    int | None, typer.Option(min=0, help="Processes to train in; 0 for this very one. Default: the cores, at most 4.")
]
ChartsFolder = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Write a page with charts and all figures as JSON here.")
]
JsonFile = Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write all figures here; - for stdout.")]


@evaluate.command()
def win(
    data: Data,
    model: Annotated[
        str, typer.Option(help="NAME@ALIAS or NAME@VERSION; tsstn stands for tsstn-TITLE.")
    ] = "tsstn@live",
    title: Title = None,
    since: Since = None,
    until: Until = None,
    folds: Annotated[
        int | None,
        typer.Option(
            min=2, help="Let baselines learn from the other folds of the judged matches; default: the years before."
        ),
    ] = None,
    baselines: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES", help="Comma-separated; none for no baseline; default: all. An unknown one lists them."
        ),
    ] = None,
    workers: Workers = None,
    report: ChartsFolder = None,
    card: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the model card here, as Markdown.")] = None,
    json_file: JsonFile = None,
) -> None:
    """Measure a model on matches that it has not learned from, beside baselines on the same frames.

    Example: sightline evaluate win --data gold.parquet --since 2016 --report report
    """
    from jobs.evaluate import evaluate_win
    from jobs.files import write_text
    from jobs.report.card import model_card
    from jobs.report.page import evaluation_page
    from jobs.report.tables import print_report
    from jobs.trials import cores

    folder = made_folder(report, "--report")
    writable_file(json_file, "--json")
    writable_file(card, "--card")
    names = None if baselines is None else [name for name in baselines.split(",") if name not in ("", "none")]
    figures = evaluate_win(
        model,
        data,
        store=loaded().settings.models.store,
        title=title,
        since=since,
        until=until,
        folds=folds,
        baselines=names,
        workers=cores() if workers is None else workers,
        on_step=say,
    )
    _put_page(folder, figures, evaluation_page)
    if card is not None:
        write_text(card, model_card(figures))
    _tell(json_file, figures, print_report)


@evaluate.command()
def reid(
    data: Annotated[str, typer.Option(help="A parquet file of crops with the columns pid, camid and image.")],
    recipe: Annotated[str, typer.Option(help="reid-osnet or reid-resnet50.")] = "reid-osnet",
    folds: Annotated[int, typer.Option(min=2, help="Of people: a network learns from all folds but one.")] = 5,
    changes: Annotated[
        list[str] | None, typer.Option("--set", metavar="FIELD=VALUE", help="Change the recipe. Repeatable.")
    ] = None,
    report: ChartsFolder = None,
    json_file: JsonFile = None,
) -> None:
    """Measure how well people are found again who were never seen, beside colour alone and an untrained network.

    Trains once per fold: half an hour on a core for a thousand crops. What is done is kept: the same command goes on.

    Example: sightline evaluate reid --data pku_reid_train62.parquet --report report
    """
    from rich.console import Console

    from jobs.commands.train import chosen_recipe, epochs_shown
    from jobs.recipes.overrides import with_overrides
    from jobs.recipes.reid import ReID
    from jobs.reid.evaluate import evaluate_reid
    from jobs.report.reid import print_reid, reid_page

    folder = made_folder(report, "--report")
    writable_file(json_file, "--json")
    chosen = with_overrides(chosen_recipe(recipe, data), changes or ())
    if type(chosen) is not ReID:  # AIFL would need an AS-GAN of every fold
        raise UsageProblem(f"--recipe {recipe}: is not one for people; there are reid-osnet and reid-resnet50")
    with epochs_shown(Console(stderr=True)) as on_epoch:
        figures = evaluate_reid(
            chosen, folds=folds, work=loaded().settings.home / "reid", on_step=say, on_epoch=on_epoch
        )
    _put_page(folder, figures, reid_page)
    _tell(json_file, figures, print_reid)


@evaluate.command()
def aifl(
    seeds: Annotated[int, typer.Option(min=1, help="Each with its own dolls and networks.")] = 3,
    rows: Annotated[
        str,
        typer.Option(
            metavar="NAMES",
            help="Comma-separated rows besides baseline, colour jitter and AIFL, or all: without each term, the AS-GAN "
            "as augmentation, the oracle. An unknown one lists them.",
        ),
    ] = "",
    real: Annotated[
        str, typer.Option(metavar="DATA", help="Crops of real people besides, as of `train`: three folds by person.")
    ] = "",
    changes: Annotated[
        list[str] | None, typer.Option("--set", metavar="FIELD=VALUE", help="Change the study. Repeatable.")
    ] = None,
    report: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write a page with pictures and all figures as JSON here.")
    ] = None,
    json_file: JsonFile = None,
) -> None:
    """Measure on paper dolls how well people are found again in other clothes, and check the gates.

    Trains an AS-GAN, a baseline, AIFL and colour jitter for every seed: 45 minutes of a core each. What is done is
    kept: the same command goes on. Exit code 1 where a gate is missed.

    Example: sightline evaluate aifl --seeds 1 --report report
    """
    from rich.console import Console

    from jobs.commands.train import epochs_shown
    from jobs.recipes.aifl_study import AIFLStudy
    from jobs.recipes.overrides import with_overrides
    from jobs.reid.aifl_evaluate import evaluate_aifl
    from jobs.reid.pictures import pictures_of
    from jobs.report.aifl import aifl_page, print_aifl

    folder = made_folder(report, "--report")
    writable_file(json_file, "--json")
    pictures: dict[str, bytes] = {}
    with epochs_shown(Console(stderr=True)) as on_epoch:
        figures = evaluate_aifl(
            with_overrides(AIFLStudy(), changes or ()),
            work=loaded().settings.home / "aifl",
            seeds=seeds,
            rows=[name for name in rows.split(",") if name],
            real=real,
            on_step=say,
            on_epoch=on_epoch,
            on_seed=lambda seed, gan, people: None if pictures else pictures.update(pictures_of(gan, people)),
        )
    if folder is not None:
        for name, content in pictures.items():
            (folder / name).write_bytes(content)
    _put_page(folder, figures, lambda report: aifl_page(report, pictures))
    _tell(json_file, figures, print_aifl)
    raise typer.Exit(Exit.FAILED if any(gate["passed"] is False for gate in figures["gates"]) else Exit.OK)


@evaluate.command()
def sessions(
    data: Annotated[str, typer.Option(help="A file of clicks, as of yoochoose or Diginetica.")],
    seeds: Annotated[int, typer.Option(min=1, help="Trainings of each model.")] = 3,
    changes: Annotated[
        list[str] | None, typer.Option("--set", metavar="FIELD=VALUE", help="Change the live recipe. Repeatable.")
    ] = None,
    benchmarks: Annotated[
        Path | None, typer.Option(metavar="FILE", help='Judge these too: make bench ARGS="shop --json FILE".')
    ] = None,
    demos: Annotated[
        list[Path] | None,
        typer.Option("--demo", metavar="FILE", help="And this: sightline demo --shop --report FILE. Repeatable."),
    ] = None,
    report: ChartsFolder = None,
    json_file: JsonFile = None,
) -> None:
    """Measure how well the next click is foretold on the last day, beside five baselines, SASRec and two towers; what
    content says of items unseen in training, in a made-up shop; and list every gate.

    Ten minutes on a core for 50,000 clicks to learn from; what is cut short goes on. Exit code 1 where a gate is
    missed; one that was not measured says what it lacks.

    Example: sightline evaluate sessions --data yoochoose_clicks_train.txt --report report
    """
    from rich.console import Console

    from jobs.commands.train import epochs_shown
    from jobs.recipes.overrides import with_overrides
    from jobs.recipes.session_gru4rec import GRU4REC
    from jobs.report.sessions import print_sessions, sessions_page
    from jobs.sessions.aims import read_benchmarks, read_demo
    from jobs.sessions.evaluate import evaluate_sessions

    folder = made_folder(report, "--report")
    writable_file(json_file, "--json")
    measured = None if benchmarks is None else read_benchmarks(benchmarks)
    shown = [read_demo(path) for path in demos or ()]
    live = with_overrides(GRU4REC, changes or ())
    with epochs_shown(Console(stderr=True)) as on_epoch:
        figures = evaluate_sessions(
            data,
            live=live,
            seeds=seeds,
            benchmarks=measured,
            demos=shown,
            work=loaded().settings.home / "sessions",
            on_step=say,
            on_epoch=on_epoch,
        )
    _put_page(folder, figures, sessions_page)
    _tell(json_file, figures, print_sessions)
    raise typer.Exit(Exit.OK if figures["passed"] else Exit.FAILED)


@evaluate.command()
def store(
    embedding: Annotated[
        str | None, typer.Option(help="NAME@ALIAS or NAME@VERSION; default: that of the settings, store.embedding.")
    ] = None,
    seeds: Annotated[
        int, typer.Option(min=1, help="So many stores; seeds count from 104: rules were chosen on those before.")
    ] = 5,
    length: Annotated[str, typer.Option("--for", metavar="DURATION", help="Of each store's opening.")] = "5m",
    cameras: Annotated[int, typer.Option(help="2, 8 or 16.")] = 8,
    people: Annotated[int, typer.Option(min=2, help="Who come.")] = 60,
    clips: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Judge names in real clips too, as `sightline evaluate clips`.")
    ] = None,
    report: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write a page and all figures as JSON here.")
    ] = None,
    json_file: JsonFile = None,
) -> None:
    """Measure how well people keep their names across a made-up store, and how well they are counted.

    Pictures of all cameras are drawn and go through the pipeline; the truth is exact. Some minutes of a core a seed at
    8 cameras; exit code 1 where a gate is missed.

    Example: sightline evaluate store --seeds 3 --clips clips --report store
    """
    from jobs.commands.console import seconds
    from jobs.evaluate_clips import evaluate_clips
    from jobs.evaluate_store import StoreTrial, evaluate_store
    from jobs.report.store import print_store, store_page

    if cameras not in (2, 8, 16):
        raise UsageProblem(f"--cameras {cameras}: there are stores of 2, 8 and 16")
    folder = made_folder(report, "--report")
    writable_file(json_file, "--json")
    settings = loaded().settings
    model = (embedding or settings.store.embedding, settings.models.store_roots)
    judged_clips = None if clips is None else evaluate_clips(clips, *model, gap_s=20.0, on_step=say)
    figures = evaluate_store(
        *model,
        StoreTrial(cameras=cameras, people=people, duration_s=seconds(length)),
        range(104, 104 + seeds),
        on_step=say,
        clips=judged_clips,
    )
    _put_page(folder, figures, store_page)
    _tell(json_file, figures, print_store)
    raise typer.Exit(Exit.OK if figures["passed"] else Exit.FAILED)


@evaluate.command()
def clips(
    data: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder of camera0.mp4, camera1.mp4, … and gt_boxes.csv, who is where.")
    ],
    embedding: Annotated[
        str | None, typer.Option(help="NAME@ALIAS or NAME@VERSION; default: that of the settings, store.embedding.")
    ] = None,
    gap: Annotated[str, typer.Option(metavar="DURATION", help="Between two clips in turn.")] = "20s",
    report: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write a page and all figures as JSON here.")
    ] = None,
    json_file: JsonFile = None,
) -> None:
    """Say of everybody in labelled clips of several cameras who they were taken for, with the score, and whether it is
    right: names by look and time, without a floor.

    Example: sightline evaluate clips --data clonedperson_scene99 --report clips
    """
    from jobs.commands.console import seconds
    from jobs.evaluate_clips import BadClips, evaluate_clips
    from jobs.report.clips import clips_page, print_clips

    folder = made_folder(report, "--report")
    writable_file(json_file, "--json")
    settings = loaded().settings
    reference, roots = embedding or settings.store.embedding, settings.models.store_roots
    try:
        figures = evaluate_clips(data, reference, roots, seconds(gap), on_step=say)
    except BadClips as bad:
        raise UsageProblem(f"--data: {bad}") from None
    _put_page(folder, figures, clips_page)
    _tell(json_file, figures, print_clips)


@evaluate.command()
def reproduce(
    data_root: Annotated[Path, typer.Option(metavar="DIR", help="Folder with the public tables, or with moba/ in it.")],
    report: Annotated[Path, typer.Option(metavar="DIR", help="Write the page with all tables, and JSON, here.")],
    readme: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Renew the tables between its markers, if it has them."),
    ] = None,
    workers: Workers = None,
) -> None:
    """Make every table about the win model anew from the public matches, and check the gates.

    Trains and judges on League of Legends and Dota 2, tries each choice of the design, tests the reasons. Twenty
    minutes on two cores; exit code 1 where a gate is missed.

    Example: sightline evaluate reproduce --data-root shared/data --report report
    """
    from jobs.report.reproduced import gate_lines, has_markers, reproduced_page, rewrite_readme
    from jobs.reproduce import reproduce as reproduce_all
    from jobs.trials import cores

    folder = made_folder(report, "--report")
    figures = reproduce_all(data_root, workers=cores() if workers is None else workers, on_step=say)
    _put_page(folder, figures, reproduced_page)
    if readme is not None and has_markers(readme):
        rewrite_readme(readme, figures)
        say(f"renewed the table in {readme}")
    for line in gate_lines(figures["gates"]):
        typer.echo(line)
    raise typer.Exit(Exit.OK if figures["passed"] else Exit.FAILED)


def _put_page(folder: Path | None, figures: dict[str, Any], page: Callable[[dict[str, Any]], str]) -> None:
    """All figures as JSON, and the page beside it: whatever becomes of the page, the figures are kept."""
    from jobs.files import write_json, write_text

    if folder is not None:
        write_json(folder / "report.json", figures)
        write_text(folder / "index.html", page(figures))
        say(f"wrote {folder / 'index.html'}")


def _tell(json_file: Path | None, figures: dict[str, Any], printed: Callable[[dict[str, Any]], None]) -> None:
    """As JSON to stdout alone; else to the file that is asked for, and to the terminal."""
    from jobs.files import json_text, write_json

    if str(json_file) == "-":
        typer.echo(json_text(figures), nl=False)
        return
    if json_file is not None:
        write_json(json_file, figures)
    printed(figures)
