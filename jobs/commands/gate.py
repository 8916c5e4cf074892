"""`sightline models gate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobs.commands.console import (
    AsJson,
    Assignments,
    Data,
    Since,
    Until,
    emit_json,
    emit_table,
    kafka_settings,
    loaded,
    made_folder,
    say,
)
from jobs.errors import Exit, UsageProblem

if TYPE_CHECKING:
    from jobs.gate.judge import Judgement
    from jobs.sessions.gate import SessionJudgement
    from models.store import AliasMove, ModelStore


def gate(
    candidate: Annotated[str, typer.Argument(help="NAME@VERSION or NAME@ALIAS")],
    data: Data,
    against: Annotated[
        str | None, typer.Option(metavar="MODEL", help="NAME@ALIAS or NAME@VERSION to be beaten; default: NAME@live.")
    ] = None,
    since: Since = None,
    until: Until = None,
    patch: Annotated[
        str, typer.Option(metavar="NAME", help="Only matches of this patch; latest: of that of the newest match.")
    ] = "",
    latest: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            metavar="SHARE",
            help="Only the latest matches: what hold_back=SHARE left in training.",
        ),
    ] = None,
    min_matches: Annotated[
        int, typer.Option(min=2, metavar="N", help="Refuse to judge on fewer; intervals over few are too narrow.")
    ] = 200,
    max_ece: Annotated[
        float, typer.Option(min=0, max=1, metavar="SHARE", help="The most that the calibration error may be.")
    ] = 0.05,
    max_slowdown: Annotated[
        float, typer.Option(min=0, metavar="TIMES", help="The most time an answer may take, in times of the live one.")
    ] = 1.2,
    report: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write a page with charts and all figures as JSON here.")
    ] = None,
    promote: Annotated[bool, typer.Option("--promote", help="Where it passes, let the alias mean it.")] = False,
    as_json: AsJson = False,
    assignments: Assignments = None,
) -> None:
    """Judge a candidate against the model that serves, on matches held back from its training: better beyond noise,
    calibrated, as fast, and true to what every answer promises. The verdict is kept beside the version, where
    `sightline models promote` asks for it. Exit code 4 where it does not pass. A model of shoppers' sessions is judged
    on the last day of a file of clicks, beside V-STAN.

    Example: sightline models gate tsstn-lol@candidate --data week-47 --promote
    """
    from jobs.control import announce_move
    from jobs.files import write_json, write_text
    from jobs.gate.criteria import Bounds
    from jobs.gate.judge import judge_versions
    from jobs.report.gated import gate_page
    from jobs.sessions.gate import judge_sessions
    from jobs.sessions.task import TITLE
    from models.store import ModelStore
    from models.store.names import LIVE
    from models.store.promotion import objection

    folder = made_folder(report, "--report")
    store = ModelStore(*loaded(assignments).settings.models.store_roots)
    name = candidate.partition("@")[0]
    alias = _alias_to_move(name, against) if promote else None
    judgement: Judgement | SessionJudgement
    bounds = Bounds(min_matches, max_ece, max_slowdown)
    if store.manifest(*store.resolve(candidate)).title == TITLE:
        if since is not None or until is not None or folder is not None or patch or latest is not None:
            raise UsageProblem(
                f"{candidate}: is judged on the last day of --data: leave out --since, --until, --patch, --latest, "
                "--report"
            )
        judgement = judge_sessions(store, candidate, data, against=against, bounds=bounds, on_step=say)
    else:
        judgement = judge_versions(
            store,
            candidate,
            data,
            against=against,
            since=since,
            until=until,
            patch=patch,
            latest=latest,
            bounds=bounds,
            on_step=say,
        )
    version = judgement.candidate.manifest.version
    store.record_verdict(name, version, judgement.verdict)
    figures = _report(judgement) if folder is not None or as_json else {}
    if folder is not None:
        write_text(folder / "index.html", gate_page(figures))
        write_json(folder / "report.json", figures)
        say(f"wrote {folder / 'index.html'}")
    if not as_json:
        _tell(judgement)
    move = None if alias is None or not judgement.verdict.passed else _promoted(store, judgement, alias)
    if alias is not None and move is not None:
        announce_move(kafka_settings(assignments, None), store, name, alias)
    if as_json:
        from dataclasses import asdict

        emit_json({**figures, "moved": None if move is None else {"alias": alias, **asdict(move)}})
    elif move is not None:
        say(f"{name}@{alias} now means version {version}")
    if not judgement.verdict.passed:  # last, as the history of a schedule keeps the last line
        say(f"{judgement.candidate.manifest.reference}: {objection(judgement.verdict, name, LIVE, None)}")
    raise typer.Exit(Exit.OK if judgement.verdict.passed else Exit.REFUSED)


def _alias_to_move(name: str, against: str | None) -> str:
    """The alias that a promotion moves: that of the model to be beaten.

    Raises:
        UsageProblem: this is not an alias of the candidate's name.
    """
    from models.store.names import LIVE, is_version

    theirs, _, alias = (against or f"{name}@{LIVE}").partition("@")
    alias = alias or LIVE
    if theirs != name or is_version(alias):
        raise UsageProblem(
            f"--promote moves the alias that the candidate is compared with, and --against {against} is no alias of "
            f"{name}; leave one of them out"
        )
    return alias


def _report(judgement: Judgement | SessionJudgement) -> dict[str, Any]:
    from jobs.gate.judge import judgement_report
    from jobs.sessions.gate import SessionJudgement, session_report

    return session_report(judgement) if isinstance(judgement, SessionJudgement) else judgement_report(judgement)


def _promoted(store: ModelStore, judgement: Judgement | SessionJudgement, alias: str) -> AliasMove | None:
    from models.store import promote

    live = judgement.live
    expect = None if live is None else live.manifest.version
    return promote(store, judgement.candidate.manifest.reference, alias=alias, expect=expect, reason="gate passed")


def _tell(judgement: Judgement | SessionJudgement) -> None:
    from jobs.gate.judge import summary
    from jobs.sessions.gate import SessionJudgement, session_summary

    verdict = judgement.verdict
    rows: list[tuple[Any, ...]] = [
        (reason.criterion, _cell(reason.figure), _cell(reason.bound), "passed" if reason.passed else "FAILED")
        for reason in verdict.reasons
    ]
    emit_table(("criterion", "figure", "bound", ""), rows)
    for line in session_summary(judgement) if isinstance(judgement, SessionJudgement) else summary(judgement):
        typer.echo(line)


def _cell(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"
