"""`sightline audit`: who looked at people."""

from __future__ import annotations

from collections import deque
from datetime import UTC, datetime
from typing import Annotated

import typer

from jobs.commands.console import AsJson, Assignments, emit_json, emit_table, loaded, say
from jobs.errors import UsageProblem


def audit(
    last: Annotated[int, typer.Option(min=1, help="Show so many entries, the newest.")] = 20,
    known: Annotated[
        str | None,
        typer.Option(metavar="NUMBER:CHAIN", help="Told by an earlier call; tells if entries were cut off since."),
    ] = None,
    as_json: AsJson = False,
    assignments: Assignments = None,
) -> None:
    """Tell who looked at what, after checking that the log (the setting gateway.audit) is whole.

    Keep the last line somewhere else, and hand it in the next time.

    Example: sightline audit --last 100 --known 17:5c1f…
    """
    from serve.gateway.audit import entries, verified

    path = loaded(assignments).settings.gateway.audit_file
    end = verified(path, _entry(known))
    shown = deque(entries(path), maxlen=last)
    if as_json:
        emit_json([entry._asdict() for entry in shown])
        return
    times = [datetime.fromtimestamp(entry.at_ms / 1000, UTC) for entry in shown]
    rows = [(f"{at:%Y-%m-%d %H:%M:%S}", entry.who, entry.what) for at, entry in zip(times, shown, strict=True)]
    emit_table(("UTC", "who", "what"), rows)
    say(f"{path}: whole; the last entry is {end.number}:{end.chain}" if end else f"{path}: nobody has looked yet")


def _entry(known: str | None) -> tuple[int, str] | None:
    if known is None:
        return None
    number, _, chain = known.partition(":")
    if not number.isdecimal() or not number.isascii() or not chain:
        raise UsageProblem(f"--known {known}: write NUMBER:CHAIN, as the last line of `sightline audit` has it")
    return int(number), chain
