"""`sightline alerts`: what a store wants to be told of, handed on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from jobs.commands.console import AsJson, Assignments, Brokers, emit_json, kafka_settings, say

alerts = typer.Typer(no_args_is_help=True, help="Alerts of a store: to a webhook, signed, with retries.")


@alerts.callback()
def _alerts() -> None:
    pass  # with one command alone typer would leave out its name


@alerts.command()
def forward(
    url: Annotated[str | None, typer.Option(help="Where each alert is POSTed. Default: alerts.url.")] = None,
    brokers: Brokers = None,
    as_json: AsJson = False,
    assignments: Assignments = None,
) -> None:
    """POST each alert of store.alerts to a webhook, at least once, until SIGTERM or Ctrl-C.

    Messages follow Standard Webhooks: webhook-id is the same however often one alert is sent, and webhook-signature is
    HMAC-SHA256 under alerts.secret (SIGHTLINE_ALERTS__SECRET). What is not taken after alerts.tries goes to
    store.alerts.dead-letters and is counted on the ops page.

    Example: sightline alerts forward --url https://pager.example/hooks/store
    """
    from jobs.alerts.run import forward_alerts
    from jobs.logs import log_as_json

    settings = kafka_settings(assignments, brokers, {"alerts.url": (url, "--url")})
    settings.kafka.connection()  # an address that is not set is said at once
    log_as_json(secrets=settings.secrets())

    def tell(totals: Mapping[str, Any]) -> None:
        if as_json:
            emit_json(totals)
        else:
            say(
                f"{totals['answers']:,} delivered, {totals['dead_letters']:,} given up, {totals['repeated']:,} repeated"
            )

    forward_alerts(settings, tell)
