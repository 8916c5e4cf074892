"""`sightline schedule`: jobs that run by themselves."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobs.commands.console import (
    AsJson,
    Assignments,
    Brokers,
    emit_json,
    emit_table,
    kafka_settings,
    loaded,
    say,
)
from jobs.errors import UsageProblem

if TYPE_CHECKING:
    from jobs.schedule.book import Book
    from jobs.schedule.definition import Schedule
    from jobs.schedule.runs import Run
    from jobs.schedule.submitter import Submitter
    from jobs.settings import Settings

schedule = typer.Typer(
    no_args_is_help=True,
    help="Jobs that run by themselves: at times, when enough is new, when the model drifts. They are defined in the "
    r"settings file, as \[schedule.NAME].",
)

_NONE = "no schedules: define one as [schedule.NAME] in the settings file, as in deploy/schedules.example.toml"

Name = Annotated[str, typer.Argument(help=r"As in \[schedule.NAME] of the settings file.")]


@schedule.command(name="ls")
def ls(as_json: AsJson = False, assignments: Assignments = None) -> None:
    """List the schedules, when each starts next, and how its last run went.

    Example: sightline schedule ls
    """
    settings = loaded(assignments).settings
    now = datetime.now(UTC)
    latest: dict[str, Run] = {}
    with _book(settings) as book:
        for run in reversed(book.history() if book is not None else []):
            latest[run.schedule] = run
    following: dict[str, datetime | None] = {}
    for name, each in settings.schedule.items():
        times = each.times
        following[name] = next(times.after(now), None) if times is not None and not each.suspended else None
    if as_json:
        emit_json(
            [
                {
                    "name": name,
                    "starts": _starts(each),
                    "next": _iso(following[name]),
                    "suspended": each.suspended,
                    "overlap": each.overlap,
                    "command": each.command,
                    "last_run": _told(latest[name]) if name in latest else None,
                }
                for name, each in settings.schedule.items()
            ]
        )
        return
    if not settings.schedule:
        say(_NONE)
    rows = []
    for name, each in settings.schedule.items():
        moment = following[name]
        coming = _local(each, moment) if moment is not None else ("suspended" if each.suspended else "-")
        last = f"{latest[name].state}, {_utc(latest[name].ended_ms or latest[name].due_ms)}" if name in latest else "-"
        rows.append((name, _starts(each), coming, last, each.command))
    emit_table(("name", "starts", "next", "last run (UTC)", "command"), rows)


@schedule.command(name="next")
def upcoming(
    name: Name,
    count: Annotated[int, typer.Option(min=1, max=1000)] = 5,
    as_json: AsJson = False,
    assignments: Assignments = None,
) -> None:
    """Show when a schedule starts next, in its zone and in UTC.

    Example: sightline schedule next nightly --count 3
    """
    each = _named(name, loaded(assignments).settings)
    times = each.times
    if times is None:
        raise UsageProblem(f"{name} has no cron times: it starts by {_starts(each)}")
    found = list(islice(times.after(datetime.now(UTC)), count))
    if as_json:
        emit_json(
            [{"utc": _iso(moment), "local": times.local(moment).isoformat(), "zone": each.zone} for moment in found]
        )
        return
    rows = [(_local(each, moment), f"{moment:%Y-%m-%d %H:%M}") for moment in found]
    emit_table((f"{each.zone}", "UTC"), rows)
    if each.suspended:
        say(f"{name} is suspended: it starts by hand only")


@schedule.command()
def run(
    jobs: Annotated[
        str | None,
        typer.Option(
            metavar="URL|local",
            help="Ray's Jobs API, such as http://head:8265, or local for processes of this machine. Default: the Ray "
            "that RAY_API_SERVER_ADDRESS or ray.address name, else local.",
        ),
    ] = None,
    brokers: Brokers = None,
    assignments: Assignments = None,
) -> None:
    """Start runs when they are due, until SIGTERM or Ctrl-C. Of several schedulers with one home folder one acts; when
    it is gone, another takes over within 15 seconds.

    Example: sightline schedule run --jobs http://head:8265
    """
    import threading

    from jobs.logs import log_as_json
    from jobs.schedule.scheduler import Scheduler
    from jobs.schedule.sensors import KafkaSensors, wanted, watching
    from jobs.signals import signals_set

    settings = loaded(assignments).settings
    _check_commands(settings.schedule)
    topics, alarms = wanted(settings.schedule)
    sensors = None
    if topics or alarms:
        settings = kafka_settings(assignments, brokers)
        sensors = KafkaSensors(settings.kafka.connection(), settings.registry.open, topics, alarms)
    if not settings.schedule:
        raise UsageProblem(_NONE)
    log_as_json(secrets=settings.secrets())
    submitter = _submitter(jobs, settings)
    stop = threading.Event()
    with _book(settings, make=True) as book, signals_set(stop), watching(sensors) as sight:
        assert book is not None
        Scheduler(book, settings.schedule, submitter, sight, _now_ms).run(stop)


@schedule.command()
def trigger(name: Name, as_json: AsJson = False, assignments: Assignments = None) -> None:
    """Ask for a run now; the scheduler that acts starts it, as the overlap policy has it.

    Example: sightline schedule trigger nightly
    """
    settings = loaded(assignments).settings
    _check_commands({name: _named(name, settings)})
    with _book(settings, make=True) as book:
        assert book is not None
        try:
            request = book.ask(name, _now_ms())
        except ValueError as full:
            raise UsageProblem(str(full)) from None
        lease = book.lease()
    acting = lease.owner if lease is not None and lease.until_ms > _now_ms() else None
    if as_json:
        emit_json({**asdict(request), "scheduler": acting})
    elif acting is not None:
        say(f"asked {acting} for a run of {name}; `sightline schedule history {name}` shows it")
    else:
        say(f"asked for a run of {name}, but no scheduler acts: it waits for `sightline schedule run`")


@schedule.command()
def history(
    name: Annotated[str | None, typer.Argument(help="Of one schedule only.")] = None,
    count: Annotated[int, typer.Option(min=1, max=100_000, help="The latest so many.")] = 20,
    as_json: AsJson = False,
    assignments: Assignments = None,
) -> None:
    """Show past and present runs, newest first. The latest 1,000 of each schedule are kept.

    Example: sightline schedule history nightly --json | jq .[0].state
    """
    settings = loaded(assignments).settings
    with _book(settings) as book:
        runs = book.history(name, count) if book is not None else []
    if name is not None and not runs:
        _named(name, settings)  # one that has left the file may still have a history
    if as_json:
        emit_json([_told(run) for run in runs])
        return
    rows = [
        (
            run.run_id,
            run.cause,
            _utc(run.due_ms),
            run.state,
            run.attempt or "-",
            _lasted(run),
            run.reason,
        )
        for run in runs
    ]
    emit_table(("run", "cause", "due (UTC)", "state", "attempt", "took", "reason"), rows)


@schedule.command()
def manifests(
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where the files go; those there are written over.")],
    image: Annotated[
        str | None, typer.Option(help="With Sightline and its packages; default: sightline:VERSION.")
    ] = None,
    workers: Annotated[int, typer.Option(min=0, max=1000, help="Pods beside the head.")] = 1,
    cpus: Annotated[int, typer.Option(min=1, max=1000, help="Of each pod.")] = 2,
    memory: Annotated[str, typer.Option(help="Of each pod, as Kubernetes has it.")] = "4Gi",
    as_json: AsJson = False,
    assignments: Assignments = None,
) -> None:
    """Write the schedules as KubeRay manifests: a RayJob each, and a RayCronJob for cron times.

    Example: sightline schedule manifests --out deploy/kuberay --image registry.example.com/sightline:1
    """
    from importlib.metadata import version

    from jobs.commit import code_version
    from jobs.files import write_text
    from jobs.schedule.manifests import Image
    from jobs.schedule.manifests import manifests as written

    settings = loaded(assignments).settings
    _check_commands(settings.schedule)
    what = Image(image or f"sightline:{code_version()}", version("ray"), workers, cpus, memory)
    files = {file: text for name, each in settings.schedule.items() for file, text in written(name, each, what)}
    if not files:
        raise UsageProblem(_NONE)
    out.mkdir(parents=True, exist_ok=True)
    for file, text in files.items():
        write_text(out / file, text)
    if as_json:
        emit_json([str(out / file) for file in files])
    else:
        for file in files:
            typer.echo(str(out / file))


def _check_commands(schedules: Mapping[str, Schedule]) -> None:
    """Every command as it would be read when its time comes: what is wrong with it is better known now.

    Raises:
        UsageProblem: no such command, option or recipe.
    """
    for name, each in schedules.items():
        try:
            _check_words(each.words)
        except (UsageProblem, typer.TyperException) as wrong:
            words = wrong.format_message() if isinstance(wrong, typer.TyperException) else str(wrong)
            raise UsageProblem(f"schedule.{name}.command: {words}") from None


def _check_words(words: tuple[str, ...]) -> None:
    from difflib import get_close_matches

    from jobs.cli import app

    command: Any = typer.main.get_command(app)
    rest, path = list(words), ""
    while commands := getattr(command, "commands", None):
        word = rest.pop(0) if rest else ""
        if word not in commands or word == "schedule":
            near = get_close_matches(word, commands, n=1)
            hint = f"did you mean {near[0]}?" if near and near[0] != word else f"there are: {', '.join(commands)}"
            raise UsageProblem(f"no command {word!r} to run by itself; {hint}")
        command, path = commands[word], f"{path} {word}"
    if "--help" in rest or "-h" in rest:
        raise UsageProblem("--help does nothing by itself; leave it out")
    context = command.make_context(path.strip(), rest)
    if words[0] == "train":
        from jobs.commands.train import chosen_recipe

        chosen_recipe(context.params["recipe"], context.params["data"])


def _submitter(jobs: str | None, settings: Settings) -> Submitter:
    address = jobs or os.environ.get("RAY_API_SERVER_ADDRESS") or settings.ray.address
    if address is None or address == "local":
        from jobs.schedule.local_jobs import LocalJobs

        return LocalJobs(_folder(settings) / "jobs")
    from jobs.schedule.ray_jobs import RayJobs

    here = Path.cwd()
    if not (here / "jobs" / "cli.py").is_file():
        raise UsageProblem(f"{here} is not the folder of Sightline, which each job is sent: start the scheduler there")
    secrets = settings.secrets()
    own = {name: value for name, value in os.environ.items() if name.startswith("SIGHTLINE_") and value not in secrets}
    return RayJobs(address, here, own)  # secrets stay out: Ray shows the environment of a job to all who ask


def _named(name: str, settings: Settings) -> Schedule:
    from difflib import get_close_matches

    if name not in settings.schedule:
        near = get_close_matches(name, settings.schedule, n=1)
        there = f"there are: {', '.join(settings.schedule)}" if settings.schedule else _NONE
        raise UsageProblem(f"no schedule {name!r}; {f'did you mean {near[0]}?' if near else there}")
    return settings.schedule[name]


def _folder(settings: Settings) -> Path:
    return settings.home.absolute() / "schedule"


@contextmanager
def _book(settings: Settings, make: bool = False) -> Iterator[Book | None]:
    """The book of the home folder; None where there is none and none is made."""
    from jobs.schedule.book import FILE, Book

    folder = _folder(settings)
    if not make and not (folder / FILE).exists():
        yield None
        return
    book = Book(folder)
    try:
        yield book
    finally:
        book.close()


def _starts(each: Schedule) -> str:
    ways = []
    if each.cron is not None:
        ways.append(f"{each.cron} ({each.zone})")
    if each.events is not None:
        ways.append(f"{each.events:,} events on {each.topic}")
    if each.drift is not None:
        ways.append(f"drift of {each.drift}")
    return ", ".join(ways)


def _told(run: Run) -> dict[str, Any]:
    line = asdict(run)
    for name in ("due_ms", "not_before_ms", "submitted_ms", "ended_ms"):
        value = line.pop(name)
        line[name.removesuffix("_ms")] = _iso(datetime.fromtimestamp(value / 1000, UTC)) if value else None
    return line


def _local(each: Schedule, moment: datetime) -> str:
    return f"{each.times.local(moment):%a %Y-%m-%d %H:%M %z}" if each.times is not None else ""


def _iso(moment: datetime | None) -> str | None:
    return moment.isoformat().replace("+00:00", "Z") if moment is not None else None


def _utc(ms: int) -> str:
    return f"{datetime.fromtimestamp(ms / 1000, UTC):%Y-%m-%d %H:%M:%S}"


def _lasted(run: Run) -> str:
    if run.submitted_ms is None:
        return "-"
    return f"{((run.ended_ms or _now_ms()) - run.submitted_ms) / 1000:,.0f} s"


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
