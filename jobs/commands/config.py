"""`sightline config` and `sightline version`."""

from __future__ import annotations

import typer

from jobs.commands.console import AsJson, Assignments, emit_json, emit_table, loaded


def config(as_json: AsJson = False, assignments: Assignments = None) -> None:
    """Print the settings that hold, and where each comes from.

    A TOML file (sightline.toml here, or --config) < environment SIGHTLINE_SECTION__NAME < option. Secrets are masked.

    Example: sightline config --json | jq .settings.kafka
    """
    found = loaded(assignments)
    rows = list(found.rows())
    if as_json:
        origins = {name: origin for name, _, origin in rows}
        emit_json({"file": found.file, "settings": found.settings.model_dump(mode="json"), "origins": origins})
        return
    emit_table(("setting", "value", "from"), [(name, _shown(value), origin) for name, value, origin in rows])


def version(as_json: AsJson = False) -> None:
    """Print the version of Sightline, and of what it stands on.

    Example: sightline version --json
    """
    import platform
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as of

    versions = {"python": platform.python_version()}
    for name in ("sightline", "ray", "kafka-python", "polars", "torch"):
        try:
            versions[name] = of(name)
        except PackageNotFoundError:
            versions[name] = "not installed"
    ours = versions.pop("sightline")
    if as_json:
        emit_json({"sightline": ours, **versions})
        return
    typer.echo(f"sightline {ours} ({', '.join(f'{name} {number}' for name, number in versions.items())})")


def _shown(value: object) -> str:
    if value is None:
        return "-"
    return str(value).lower() if isinstance(value, bool) else str(value)
