"""`sightline models`: what the model store holds, and which version an alias means."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobs.commands.console import AsJson, Assignments, emit_json, emit_table, kafka_settings, loaded, say
from jobs.errors import UsageProblem

if TYPE_CHECKING:
    from models.store import AliasMove, ModelStore
    from models.verdict import Verdict

models = typer.Typer(no_args_is_help=True, help="The model store: your models, and those that ship with Sightline.")

Alias = Annotated[str, typer.Option(help="Which alias of the model.")]
Expected = Annotated[
    int | None, typer.Option(metavar="VERSION", help="Refuse where the alias means another version by now.")
]
Reason = Annotated[str, typer.Option(metavar="TEXT", help="Why; kept in the alias's history.")]
_REFERENCE = "NAME, NAME@ALIAS or NAME@VERSION"


@models.command(name="ls")
def ls(as_json: AsJson = False, assignments: Assignments = None) -> None:
    """List all models: version, aliases, title, what they were trained on, and when.

    Example: sightline models ls
    """
    from dataclasses import asdict

    lines = _store(assignments).list()
    if as_json:
        emit_json([asdict(line) for line in lines])
        return
    rows = [(f"{m.name}@{m.version}", ", ".join(m.aliases), m.title, m.trained_on, m.created) for m in lines]
    emit_table(("model", "aliases", "title", "trained on", "created"), rows)


@models.command()
def show(
    model: Annotated[str, typer.Argument(help=_REFERENCE)],
    as_json: AsJson = False,
    assignments: Assignments = None,
) -> None:
    """Show one model: origin, checksums, sizes, figures, the gate's verdict and its aliases' histories, after checking
    its files.

    Example: sightline models show tsstn-lol@live
    """
    from dataclasses import asdict

    from models.store.diff import flat

    store = _store(assignments)
    stored = store.load(model)
    name, version = stored.name, stored.manifest.version
    verdict = store.verdict(name, version)
    aliases = [alias for alias, state in store.aliases(name).items() if state.version == version]
    shown = {
        **asdict(stored.manifest),
        "path": stored.path,
        "aliases": aliases,
        "verdict": None if verdict is None else verdict.to_json(),
        "history": {alias: [asdict(move) for move in store.history(name, alias)] for alias in aliases},
        "config": stored.config,
        "metrics": stored.metrics,
    }
    if as_json:
        emit_json(shown)
        return
    told = {
        **shown,
        "aliases": ", ".join(aliases),
        "verdict": "none" if verdict is None else _verdict_lines(verdict),
        "history": {alias: "\n".join(map(_words, store.history(name, alias))) for alias in aliases},
    }
    emit_table(("", ""), flat(told).items())


@models.command()
def diff(
    a: Annotated[str, typer.Argument(metavar="A", help=_REFERENCE)],
    b: Annotated[str, typer.Argument(metavar="B", help=_REFERENCE)],
    as_json: AsJson = False,
    assignments: Assignments = None,
) -> None:
    """Compare two models: origin and config where they differ, all figures side by side, and for each tensor how far
    its values lie apart: 0 the same, 1.4 unrelated, 2 opposite.

    Example: sightline models diff tsstn-lol@live tsstn-lol@candidate
    """
    from dataclasses import asdict

    from models.store import diff_models

    store = _store(assignments)
    found = diff_models(store.load(a), store.load(b))
    if as_json:
        emit_json(asdict(found))
        return
    for words, rows in (("manifest", found.manifest), ("config", found.config), ("metrics", found.metrics)):
        emit_table((words, found.a, found.b), rows or [("(the same)", "", "")])
        typer.echo()
    tensors = [(t.name, t.shape_a, t.shape_b, "" if t.distance is None else f"{t.distance:.4g}") for t in found.weights]
    emit_table(("weights", found.a, found.b, "distance"), tensors)


@models.command()
def promote(
    model: Annotated[str, typer.Argument(help="NAME@VERSION")],
    alias: Alias = "live",
    expect_current: Expected = None,
    verdict: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A gate's verdict, JSON, to keep beside the version first.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Promote what no gate has passed; needs --reason.")] = False,
    reason: Reason = "",
    as_json: AsJson = False,
    assignments: Assignments = None,
) -> None:
    """Let an alias mean a version that a gate has passed against what the alias means now. Of two promotions at once
    one wins, and the other is told.

    Example: sightline models promote tsstn-lol@5 --expect-current 4
    """
    from models.store import promote as promote_version

    if force and not reason.strip():
        raise UsageProblem("--force: say why with --reason TEXT; both are kept in the alias's history")
    found = None if verdict is None else _read_verdict(verdict)
    move = promote_version(
        _store(assignments), model, alias=alias, expect=expect_current, verdict=found, force=force, reason=reason
    )
    _tell_move(model.partition("@")[0], alias, move, as_json, assignments)


@models.command()
def rollback(
    name: Annotated[str, typer.Argument(help="Of the model")],
    alias: Alias = "live",
    expect_current: Expected = None,
    reason: Reason = "",
    as_json: AsJson = False,
    assignments: Assignments = None,
) -> None:
    """Let an alias mean again what it meant before its last promotion; a second time, one further back.

    Example: sightline models rollback tsstn-lol --reason "more complaints since noon"
    """
    from models.store import rollback as roll_back

    move = roll_back(_store(assignments), name, alias=alias, expect=expect_current, reason=reason)
    _tell_move(name, alias, move, as_json, assignments)


@models.command()
def gc(
    name: Annotated[str, typer.Argument(help="Of the model")],
    keep: Annotated[int, typer.Option(min=1, metavar="N", help="How many of the newest versions stay.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    as_json: AsJson = False,
    assignments: Assignments = None,
) -> None:
    """Delete old versions of a model, and what was cut off more than a day ago while it was written. What an alias
    means or meant before, what the settings name, and models that ship stay.

    Example: sightline models gc tsstn-lol --keep 5 --dry-run
    """
    from dataclasses import asdict

    from models.store import ModelNotFoundError, collect_garbage

    store = _store(assignments)
    if not store.versions(name):
        raise ModelNotFoundError(f"no model {name}; there are: {', '.join(store.names()) or 'none'}")
    pinned = loaded(assignments).settings.models.titles.values()
    done = collect_garbage(store, name, keep=keep, pinned=set(pinned), dry_run=dry_run)
    if as_json:
        emit_json({**asdict(done), "dry_run": dry_run})
        return
    goes = "would go" if dry_run else "deleted"
    rows = [(ref, goes, "") for ref in done.deleted] + [(place, goes, "half written") for place in done.drafts]
    rows += [(ref, "stays", why) for ref, why in done.kept.items()]
    if not rows:
        say(f"nothing to delete: {name} has no more than {keep} versions, and nothing half written")
        return
    emit_table(("what", "", "why"), rows)


def _store(assignments: list[str] | None) -> ModelStore:
    from models.store import ModelStore

    return ModelStore(*loaded(assignments).settings.models.store_roots)


def _tell_move(name: str, alias: str, move: AliasMove | None, as_json: bool, assignments: list[str] | None) -> None:
    """To pipelines that run, and to the person."""
    from dataclasses import asdict

    from jobs.control import announce_move

    if move is not None:
        announce_move(kafka_settings(assignments, None), _store(assignments), name, alias)
    if as_json:
        emit_json({"name": name, "alias": alias, "moved": move is not None, **({} if move is None else asdict(move))})
    elif move is None:
        say(f"{name}@{alias} means this version already")
    else:
        was = "nothing" if move.before is None else f"version {move.before}"
        say(f"{name}@{alias} now means version {move.version}; before, {was}")


def _words(move: AliasMove) -> str:
    before = "nothing" if move.before is None else move.before
    forced = ", forced" if move.forced else ""
    why = f": {move.why}" if move.why else ""
    return f"{move.when} {move.kind}{forced}, {before} → {move.version}, by {move.who}{why}"


def _verdict_lines(verdict: Verdict) -> dict[str, Any]:
    reasons = {
        reason.criterion: f"{'passed' if reason.passed else 'FAILED'}: {reason.figure}, bound {reason.bound}"
        for reason in verdict.reasons
    }
    facts = {"against": verdict.against, "window": verdict.window, "created": verdict.created}
    return {"passed": "yes" if verdict.passed else "no", **facts, **reasons}


def _read_verdict(file: Path) -> Verdict:
    import json

    from models.verdict import BadVerdict, Verdict

    try:
        raw = json.loads(file.read_bytes())
        if not isinstance(raw, dict):
            raise BadVerdict("must hold a JSON object")
        return Verdict.from_json(raw)
    except (ValueError, RecursionError) as error:  # BadVerdict is one
        raise UsageProblem(f"--verdict {file}: no verdict of a gate: {error}") from error
