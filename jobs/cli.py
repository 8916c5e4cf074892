"""The command `sightline`: what it offers, and what its errors mean. Each command's work is imported when it runs."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from jobs.commands import (
    acls,
    alerts,
    audit,
    camera,
    config,
    dataset,
    dlq,
    evaluate,
    gate,
    kafka,
    live,
    models,
    people,
    replay,
    retrain,
    runs,
    schedule,
    shadow,
    shop,
    soak,
    tokens,
    train,
)
from jobs.errors import Exit, meaning

_EPILOG = (
    "Exit codes: 0 done; 1 failed; 2 bad input, option or setting; 3 Kafka, Ray, the registry or a model is not there; "
    "130 interrupted."
)
_HELP = {"help_option_names": ["-h", "--help"]}

app = typer.Typer(
    name="sightline",
    help="Live win probability with reasons: Kafka in, explained answers out, on Ray.\n\nExample: sightline demo",
    epilog=_EPILOG,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    context_settings=_HELP,
)
app.command()(live.demo)
app.command()(live.run)
app.command()(live.gateway)
app.command()(replay.replay)
app.command()(soak.soak)
app.add_typer(camera.camera, name="camera")
app.add_typer(people.people, name="people")
app.command()(audit.audit)
app.add_typer(alerts.alerts, name="alerts")
app.add_typer(shop.shop, name="shop")
app.add_typer(tokens.tokens, name="tokens")
app.add_typer(kafka.kafka, name="kafka")
kafka.topics.command()(acls.acls)
app.add_typer(kafka.topics, name="topics")
app.add_typer(dlq.dlq, name="dlq")
app.add_typer(dataset.dataset, name="dataset")
app.command()(train.train)
app.command()(retrain.retrain)
app.add_typer(runs.runs, name="runs")
app.add_typer(evaluate.evaluate, name="evaluate")
models.models.command()(gate.gate)
models.models.command()(shadow.shadow)
app.add_typer(models.models, name="models")
app.add_typer(schedule.schedule, name="schedule")
app.command()(config.config)
app.command()(config.version)


def _version(asked: bool) -> None:
    if asked:
        config.version()
        raise typer.Exit


@app.callback()
def _options(
    settings_file: Annotated[
        Path | None,
        typer.Option("--config", metavar="FILE", help="Settings file; default: sightline.toml here, if any."),
    ] = None,
    debug: Annotated[bool, typer.Option("--debug", help="Show where an error comes from.")] = False,
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_version, help="Same as `sightline version`.")
    ] = False,
) -> None:
    if settings_file is not None:  # for this process, and for those that it starts
        os.environ["SIGHTLINE_CONFIG"] = str(settings_file.absolute())


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; errors are one line on stderr. Returns the exit code."""
    args = list(sys.argv[1:] if argv is None else argv)
    try:
        code = typer.main.get_command(app).main(args=args, prog_name="sightline", standalone_mode=False)
    except typer.TyperException as wrong:
        return _report(wrong.format_message(), Exit.BAD_INPUT)
    except typer.Abort:
        return _report("interrupted", Exit.INTERRUPTED)
    except BrokenPipeError:  # whoever read our answer has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.OK
    except (Exception, KeyboardInterrupt) as error:
        if "--debug" in args:
            raise
        return _report(*meaning(error))
    return code if isinstance(code, int) else Exit.OK


def _report(line: str, code: Exit) -> int:
    if line:
        typer.echo(f"sightline: {line}", err=True)
    return code


if __name__ == "__main__":
    sys.exit(main())
