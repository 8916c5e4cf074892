"""What commands share: words to stderr, answers to stdout, settings, durations."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobs.errors import UsageProblem

if TYPE_CHECKING:
    from jobs.settings import Loaded, Settings

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for other programs.")]
Assignments = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="A setting for this run, such as kafka.port=9092. Repeatable."),
]
Brokers = Annotated[str | None, typer.Option(metavar="HOST:PORT,…", help="Kafka's bootstrap servers.")]
Data = Annotated[
    str,
    typer.Option(
        help="A Riot timeline, OpenDota tables, a gold table (file or folder), a set of `sightline dataset build`, or "
        "simulator:lol?matches=4000."
    ),
]
Title = Annotated[str | None, typer.Option(help="Which title, where the data holds several.")]
Since = Annotated[int | None, typer.Option(metavar="YEAR", help="Leave out matches before this year.")]
Until = Annotated[int | None, typer.Option(metavar="YEAR", help="Leave out matches after this year.")]

_UNITS_S = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}


def say(words: str) -> None:
    """Progress, for the person: to stderr, so that stdout stays clean for pipes."""
    typer.echo(words, err=True)


def emit_json(value: Any) -> None:
    """An answer for another program: to stdout."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False, default=str))


def emit_table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """An answer for the person: a table as wide as its content where it is piped, as the terminal otherwise."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text("" if cell is None else str(cell)) for cell in row))
    console = Console()
    console.print(table) if console.is_terminal else Console(width=400).print(table, crop=False)


def utc(at_ms: int | None) -> str:
    """A moment for the person, in UTC; None has not come."""
    return "-" if at_ms is None else f"{datetime.fromtimestamp(at_ms / 1000, UTC):%Y-%m-%d %H:%M:%S}"


def seconds(text: str) -> float:
    """`90`, `60s`, `5m`, `1.5h` or `1h30m` as seconds.

    Raises:
        UsageProblem: anything else, or zero.
    """
    parts = re.findall(r"([0-9]+(?:\.[0-9]+)?)([smh]?)", text)
    total = sum(float(number) * _UNITS_S[unit] for number, unit in parts)
    whole = "".join(number + unit for number, unit in parts) == text
    if not whole or not total > 0.0 or (len(parts) > 1 and not all(unit for _, unit in parts)):
        raise UsageProblem(f"{text!r} is not a duration; write 60s, 5m or 1h30m")
    return total


def loaded(assignments: Sequence[str] | None = None, given: Mapping[str, tuple[Any, str]] | None = None) -> Loaded:
    """The settings that hold for this command: file, environment, `--set`, then its own options."""
    from jobs.settings import load_settings

    options: dict[str, tuple[Any, str]] = {}
    for assignment in assignments or ():
        name, equals, value = assignment.partition("=")
        if not equals or not name:
            raise UsageProblem(f"--set {assignment}: write NAME=VALUE, such as kafka.port=9092")
        options[name.strip()] = (value, f"--set {name.strip()}")
    options |= {name: (value, option) for name, (value, option) in (given or {}).items() if value is not None}
    return load_settings(options)


def kafka_settings(
    assignments: Sequence[str] | None, brokers: str | None, given: Mapping[str, tuple[Any, str]] | None = None
) -> Settings:
    """The settings that hold for a command that needs Kafka; where no broker is set, with the address of the embedded
    one if it runs."""
    from streaming.kafka.broker import EmbeddedBroker

    settings = loaded(assignments, {"kafka.bootstrap_servers": (brokers, "--brokers"), **(given or {})}).settings
    if settings.kafka.bootstrap_servers is not None:
        return settings
    status = EmbeddedBroker(settings.home / "kafka").status()
    if not status.answers:
        return settings
    kafka = settings.kafka.model_copy(update={"bootstrap_servers": status.bootstrap_servers})
    return settings.model_copy(update={"kafka": kafka})


def pipeline_settings(
    assignments: Sequence[str] | None, brokers: str | None, given: Mapping[str, tuple[Any, str]] | None = None
) -> Settings:
    """As `kafka_settings`, for a command that runs pipelines: with the file of the cameras, where none is set the one
    beside the settings file."""
    from jobs.store import camera_file

    settings = kafka_settings(assignments, brokers, given)
    store = settings.store.model_copy(update={"cameras": camera_file(settings, loaded(assignments).file)})
    return settings.model_copy(update={"store": store})


def known_pipeline(name: str) -> str:
    """The name, if there is a pipeline of it.

    Raises:
        UsageProblem: there is none; the message says which there are.
    """
    from difflib import get_close_matches

    from jobs.pipelines import PIPELINES

    if name not in PIPELINES:
        near = get_close_matches(name, PIPELINES, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(PIPELINES)}"
        raise UsageProblem(f"no pipeline {name!r}; {hint}")
    return name


def writable_file(path: Path | None, option: str) -> None:
    """Refuse a result file that could not be written, before the work and not after it.

    Raises:
        UsageProblem: its folder is missing or not writable, or it is a folder; `-` means stdout and always fits.
    """
    if path is None or str(path) == "-":
        return
    folder = path.parent
    if path.is_dir():
        raise UsageProblem(f"{option} {path} is a folder; name a file in it")
    if not folder.is_dir():
        raise UsageProblem(f"{option} {path}: there is no folder {folder}; make it first")
    if not os.access(path if path.exists() else folder, os.W_OK):
        raise UsageProblem(f"{option} {path}: not writable; choose another place")


def made_folder(folder: Path | None, option: str) -> Path | None:
    """The folder of a page, made if need be, before the work and not after it.

    Raises:
        UsageProblem: it cannot be made, or its page not be written.
    """
    if folder is None:
        return None
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageProblem(f"{option} {folder}: cannot be made a folder: {error.strerror}") from error
    writable_file(folder / "index.html", option)
    return folder
