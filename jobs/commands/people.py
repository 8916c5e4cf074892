"""`sightline people`: who is who, and to forget them."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from jobs.commands import identities
from jobs.commands.console import AsJson, Assignments, emit_json, emit_table, loaded, say, seconds, utc
from jobs.errors import UsageProblem

people = typer.Typer(
    no_args_is_help=True, help="What is known of people in a store: who is who, and how it is forgotten."
)

people.command()(identities.merge)
people.command()(identities.split)
people.command()(identities.undo)
people.command()(identities.events)
people.command("orders")(identities.list_orders)

_LOOK_S = 0.2


@people.command()
def erase(
    person_id: Annotated[str, typer.Argument(metavar="PERSON", help="As sightings and alerts name them, such as P17.")],
    wait: Annotated[str, typer.Option(metavar="DURATION", help="For the pipeline to carry it out.")] = "10s",
    as_json: AsJson = False,
    assignments: Assignments = None,
) -> None:
    """Forget a person: the keys of the looks are destroyed, and the sightings are nobody's any more.

    The pipeline of sightings does it, at once or when it runs next; the order stands until nothing can be left.

    Example: sightline people erase P17
    """
    from dataclasses import asdict

    from models.store.store import this_user
    from serve.gateway.audit import AuditLog
    from streaming.privacy.erasures import Erasures, number_of
    from streaming.privacy.folder import now_ms

    wait_s = seconds(wait)
    try:
        number_of(person_id)
    except ValueError as wrong:
        raise UsageProblem(str(wrong)) from None
    settings, who = loaded(assignments).settings, this_user()
    if not settings.keys_folder.is_dir():
        raise UsageProblem(
            f"{settings.keys_folder}: no pipeline keeps its keys there; set privacy.keys to where one does"
        )
    AuditLog(settings.gateway.audit_file).looked(who, f"asked to forget person {person_id}", now_ms())
    orders = Erasures(settings.keys_folder)
    order, deadline = orders.order(person_id, who, now_ms()), time.monotonic() + wait_s
    while order.erased_ms is None and time.monotonic() < deadline:
        time.sleep(_LOOK_S)
        order = next((one for one in orders.standing() if one.person_id == person_id), order)
    if as_json:
        emit_json(asdict(order))
    elif order.erased_ms is None:
        say(
            f"{person_id} will be forgotten as soon as the pipeline runs; `sightline people erasures` tells when it was"
        )
    else:
        say(f"{person_id} is forgotten: {order.tracks} tracks, and every copy of their looks")


@people.command()
def erasures(as_json: AsJson = False, assignments: Assignments = None) -> None:
    """List the orders to forget somebody that stand.

    Example: sightline people erasures
    """
    from dataclasses import asdict

    from streaming.privacy.erasures import Erasures

    standing = Erasures(loaded(assignments).settings.keys_folder).standing()
    if as_json:
        emit_json([asdict(order) for order in standing])
        return
    rows = [
        (order.person_id, utc(order.asked_ms), order.who, utc(order.erased_ms), str(order.tracks)) for order in standing
    ]
    emit_table(("person", "asked (UTC)", "by", "forgotten (UTC)", "tracks"), rows)


@people.command()
def expire(as_json: AsJson = False, assignments: Assignments = None) -> None:
    """Destroy the keys whose cameras' retention is over. A pipeline that runs does so every day by itself; this is for
    when none does, as from cron.

    Example: sightline people expire
    """
    from jobs.camera_book import read_cameras
    from jobs.store import camera_file, retention_of
    from streaming.identities.orders import STANDS_MS, IdentityOrders
    from streaming.privacy.erasures import Erasures
    from streaming.privacy.folder import KeyFolder, now_ms
    from streaming.topics import DAY_MS

    found = loaded(assignments)
    book = camera_file(found.settings, found.file)
    cameras = read_cameras(book)
    if not cameras:
        raise UsageProblem(f"{book}: no cameras, so that nothing says how long anything may be kept")
    retention = retention_of(cameras)
    gone = KeyFolder(found.settings.keys_folder, retention).expire()
    lapsed = Erasures(found.settings.keys_folder).lapse(now_ms() - (retention.longest_days + 1) * DAY_MS)
    old = IdentityOrders(found.settings.keys_folder).lapse(now_ms() - STANDS_MS)
    if as_json:
        emit_json({"keys": gone, "erasures": lapsed, "orders": old})
        return
    lapsed_words = f"{lapsed} orders to forget somebody and {old} about who is who lapsed"
    say(f"{len(gone)} keys destroyed{': ' if gone else ''}{', '.join(gone)}; {lapsed_words}")
