"""Settings out of a file, the environment and the command line; what is wrong is told in one line, by its name."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_settings import EnvSettingsSource
from pydantic_settings import SettingsError as EnvironmentValueError

from jobs.errors import SettingsError
from jobs.schedule.definition import Schedule
from jobs.settings.definition import PREFIX, TABLES, Settings
from jobs.settings.names import field_names, leaves, merged, nested

FILE = "sightline.toml"
NOT_SETTINGS = ("SIGHTLINE_CONFIG", "SIGHTLINE_DATA")
"""Names with our prefix that are no settings: the file to read, and the public data of the tests."""


@dataclass(frozen=True)
class Loaded:
    """Settings that hold, and where each comes from."""

    settings: Settings
    origins: Mapping[str, str]  # "kafka.bootstrap_servers" → "sightline.toml"; what is missing is a default
    file: Path | None

    def rows(self) -> Iterator[tuple[str, Any, str]]:
        """(name, value, origin) of every setting; secrets masked, paths and times as text."""
        for name, value in leaves(self.settings.model_dump(mode="json")):
            yield name, value, self.origins.get(name, "default")


def load_settings(options: Mapping[str, tuple[Any, str]] | None = None, config: Path | None = None) -> Loaded:
    """Merge file, environment and options.

    Args:
        options: dotted name → (value, the option's name); None values are left out.
        config: the file; None looks at SIGHTLINE_CONFIG, then for `sightline.toml` in the working folder.

    Raises:
        SettingsError: an unknown name or a wrong value.
    """
    file = _chosen_file(config)
    sources: list[tuple[dict[str, Any], dict[str, str]]] = []
    if file is not None:
        from_file = _read_toml(file)
        sources.append((from_file, {name: str(file) for name, _ in leaves(from_file)}))
    if address := os.environ.get("RAY_ADDRESS"):
        sources.append(({"ray": {"address": address}}, {"ray.address": "RAY_ADDRESS"}))
    _refuse_unknown_environment()
    from_environment = _read_environment()
    names = {name: f"{PREFIX}{name.replace('.', '__').upper()}" for name, _ in leaves(from_environment)}
    sources.append((from_environment, names))
    given = {name: (value, option) for name, (value, option) in (options or {}).items() if value is not None}
    sources.append(
        (nested({n: value for n, (value, _) in given.items()}), {n: option for n, (_, option) in given.items()})
    )

    together: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for values, where in sources:
        together = merged(together, values)
        origins |= where
    try:
        settings = Settings(**together)
    except ValidationError as error:
        raise SettingsError(_explain(error, origins)) from None
    return Loaded(settings, origins, file)


def setting_names() -> tuple[str, ...]:
    """Dotted names of all settings."""
    return tuple(field_names(Settings, ""))


def _chosen_file(config: Path | None) -> Path | None:
    named = config or (Path(value) if (value := os.environ.get("SIGHTLINE_CONFIG")) else None)
    if named is not None:
        if not named.is_file():
            raise SettingsError(
                f"{named}: no such settings file; give an existing one with --config or SIGHTLINE_CONFIG"
            )
        return named
    return Path(FILE) if Path(FILE).is_file() else None


def _read_toml(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"{file}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise SettingsError(f"{file}: not UTF-8 at byte {error.start}; save the file as UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{file}: not TOML: {error}") from None


def _read_environment() -> dict[str, Any]:
    try:
        return EnvSettingsSource(Settings)()
    except EnvironmentValueError as error:
        section = "".join(re.findall(r'field "(\w+)"', str(error))[:1])
        variable = f"{PREFIX}{section.upper()}"
        raise SettingsError(f"{variable}: not JSON; set one value as {variable}__NAME instead") from None


def _refuse_unknown_environment() -> None:
    known = {f"{PREFIX}{name.replace('.', '__').upper()}": name for name in setting_names()}
    sections = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields}
    tables = tuple(f"{PREFIX}{name.replace('.', '__').upper()}__" for name in TABLES)
    for variable in os.environ:
        name = variable.upper()
        if not name.startswith(PREFIX) or name in NOT_SETTINGS or name in known or name in sections:
            continue
        if not name.startswith(tables):
            names = [known_name.removeprefix(PREFIX) for known_name in (*known, *NOT_SETTINGS)]
            near = get_close_matches(name.removeprefix(PREFIX), names, n=1, cutoff=0.5)
            hint = f"did you mean {PREFIX}{near[0]}?" if near else "`sightline config` lists them all"
            raise SettingsError(f"{variable}: no such setting; {hint}")


def _explain(error: ValidationError, origins: Mapping[str, str]) -> str:
    """The first thing wrong, in one line: where, what, and what to do. Never the value of a secret."""
    problems = error.errors(include_url=False, include_input=False)
    first = problems[0]
    name = ".".join(str(part) for part in first["loc"])
    table, _, key = name.rpartition(".")
    near_by = f"{table}." if first["type"] == "missing" else f"{name}."  # what is missing stands nowhere itself
    place = next((origins[n] for n in origins if n == name or n.startswith(near_by)), "")
    says_it = name in place or place == f"{PREFIX}{name.replace('.', '__').upper()}"
    if first["type"] == "extra_forbidden" and table.startswith("schedule."):
        known = list(Schedule.model_fields)
        near = get_close_matches(key, known, n=1, cutoff=0.5)
        what = f"no such setting; {f'did you mean {table}.{near[0]}?' if near else 'there are ' + ', '.join(known)}"
    elif first["type"] == "extra_forbidden":
        near = get_close_matches(name, setting_names(), n=1, cutoff=0.5)
        what = f"no such setting; {f'did you mean {near[0]}?' if near else '`sightline config` lists them all'}"
    elif first["type"] == "model_type" and table == "schedule":
        what = "is no schedule; begin one with [schedule.NAME], and say its command and when it starts"
    elif first["type"] == "model_type":
        what = f"is a section; set one of its names, such as {next(n for n in setting_names() if n.startswith(name))}"
    else:
        what = first["msg"].removeprefix("Value error, ").replace("Input should be", "must be", 1)
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return ": ".join([*([place] if place else []), *([] if says_it else [name]), f"{what}{more}"])
