"""`sightline models`: what the model store holds."""

from __future__ import annotations

from typing import Annotated

import typer

from jobs.commands.console import AsJson, Assignments, emit_json, emit_table, loaded

models = typer.Typer(no_args_is_help=True, help="The model store: your models, and those that ship with Sightline.")


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


def _flat(values: dict[str, object], prefix: str = "") -> list[tuple[str, object]]:
    rows: list[tuple[str, object]] = []
    for name, value in values.items():
        if isinstance(value, dict):
            rows += _flat(value, f"{prefix}{name}.")
        else:
            rows.append((f"{prefix}{name}", value))
    return rows
