"""`sightline topics acls`: who needs to be allowed what on a Kafka with ACLs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated

import typer

from jobs.commands.console import (
    AsJson,
    Assignments,
    Brokers,
    emit_json,
    emit_table,
    kafka_settings,
    known_pipeline,
    say,
)
from jobs.errors import UsageProblem

_NO_ADDRESS = "HOST:PORT"


def acls(
    pipeline: Annotated[str, typer.Argument(help="As of `sightline run`.")],
    role: Annotated[
        list[str] | None,
        typer.Option(help="Only run, gateway, feed, operator or webhook. Repeatable; default: all."),
    ] = None,
    principal: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[ROLE=]User:NAME",
            help="Who plays a role, or all of them. Repeatable; default: User:sightline-ROLE. With certificates it is "
            "the subject, such as run=User:CN=sightline-run.",
        ),
    ] = None,
    shadow: Annotated[bool, typer.Option("--shadow", help="Of its shadow: `sightline run --shadow`.")] = False,
    shell: Annotated[bool, typer.Option("--shell", help="Print kafka-acls.sh lines.")] = False,
    apply: Annotated[bool, typer.Option("--apply", help="Grant them; you must be an administrator there.")] = False,
    brokers: Brokers = None,
    as_json: AsJson = False,
    assignments: Assignments = None,
) -> None:
    """List the least rights that each role needs on Kafka, or grant them.

    run is `sightline run` (with topics that exist), gateway is `sightline gateway`, feed is whoever sends events or
    frames, operator uses `sightline topics`, `sightline dlq`, `sightline models` and `sightline shop`, webhook is
    `sightline alerts forward` (of store-alerts).

    Example: sightline topics acls win-prediction --role run --principal User:analytics --shell
    """
    from jobs.pipelines import outline, require_shadow
    from streaming.kafka.acls import ROLES, commands, rights
    from streaming.kafka.granting import grant
    from streaming.topics import shadow_of

    known_pipeline(pipeline)
    if shadow:
        require_shadow(pipeline)
    if shell and as_json:
        raise UsageProblem("--shell and --json: give one of them")
    if unknown := set(role or ()) - set(ROLES):
        raise UsageProblem(f"--role {min(unknown)}: unknown; there are: {', '.join(ROLES)}")
    principals = _principals(principal or (), ROLES)
    settings = kafka_settings(assignments, brokers)
    defined = outline(shadow_of(pipeline) if shadow else pipeline)
    needed = rights(defined, show_frames=settings.gateway.show_frames)
    if idle := set(role or ()) - set(needed):
        raise UsageProblem(f"--role {min(idle)}: has nothing to do with {pipeline}; there are: {', '.join(needed)}")
    chosen = {name: its for name, its in needed.items() if not role or name in role}
    if apply:
        for name, its in chosen.items():
            grant(settings.kafka.connection(), principals[name], its)
            say(f"{principals[name]} may do what the role {name} needs: {len(its)} rights")
    if as_json:
        emit_json(
            [{"role": n, "principal": principals[n], **asdict(right)} for n, its in chosen.items() for right in its]
        )
    elif shell:
        for line in commands(settings.kafka.bootstrap_servers or _NO_ADDRESS, principals, chosen):
            typer.echo(line)
    elif not apply:
        rows = [(principals[n], x.operation, x.resource, x.name, x.why) for n, its in chosen.items() for x in its]
        emit_table(("principal", "operation", "on", "name", "for"), rows)


def _principals(given: Sequence[str], roles: Sequence[str]) -> dict[str, str]:
    found = {role: f"User:sightline-{role}" for role in roles}
    for text in given:
        role, equals, name = text.partition("=")
        if not (equals and role in roles):  # a subject has equals signs of its own
            role, name = "", text
        kind, _, rest = name.partition(":")
        if kind != "User" or not rest:
            raise UsageProblem(f"--principal {text}: write User:NAME, or ROLE=User:NAME with one of {', '.join(roles)}")
        found |= {role: name} if role else dict.fromkeys(roles, name)
    return found
