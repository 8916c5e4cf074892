"""`sightline people merge`, `split`, `undo`: who is who, as somebody knows who was there."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from datetime import time as time_of_day
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from jobs.commands.console import AsJson, Assignments, emit_json, emit_table, loaded, say, seconds, utc
from jobs.errors import Exit, UsageProblem

if TYPE_CHECKING:
    from jobs.settings import Settings
    from streaming.identities.orders import IdentityOrders, ListedEvent, Order

_Person = Annotated[str, typer.Argument(metavar="PERSON", help="As sightings and alerts name them, such as P5.")]
_Wait = Annotated[str, typer.Option(metavar="DURATION", help="For the pipeline to carry it out.")]

_LOOK_S = 0.2


def merge(
    keeps: _Person,
    other: Annotated[str, typer.Argument(metavar="OTHER", help="Who is the same, and gets the first one's name.")],
    wait: _Wait = "10s",
    as_json: AsJson = False,
    assignments: Assignments = None,
) -> None:
    """Two persons are one: what was seen of the second is of the first, and is counted again.

    The pipeline of sightings does it, at once or when it runs next, but not of two who were side by side in one camera.

    Example: sightline people merge P5 P17
    """
    for name in (keeps, other):
        _is_person(name)
    if keeps == other:
        raise UsageProblem(f"{keeps} is one with itself; name two persons")
    _give("merge", [keeps, other], f"make {other} and {keeps} one", wait, as_json, assignments)


def split(
    person: _Person,
    sightings: Annotated[
        list[str],
        typer.Argument(
            metavar="CAMERA@TIME",
            help="Where and when it was somebody else, such as till@14:03:20, the last such time, or with the day, "
            "2026-11-23T14:03:20. UTC, or with +01:00.",
        ),
    ],
    wait: _Wait = "10s",
    as_json: AsJson = False,
    assignments: Assignments = None,
) -> None:
    """What a camera saw of a person at a time is of somebody else, who gets a new name; with it all that the camera
    saw of them before and after without losing sight.

    Example: sightline people split P5 till@14:03:20
    """
    from streaming.identities.orders import MAX_SEEN
    from streaming.privacy.folder import now_ms

    _is_person(person)
    if len(sightings) > MAX_SEEN:
        raise UsageProblem(f"{len(sightings)} sightings; {MAX_SEEN} at most, split more with a second order")
    seen = [_sighting(text, now_ms()) for text in sightings]
    words = f"split {', '.join(sightings)} from {person}"
    _give("split", [person], words, wait, as_json, assignments, seen=seen)


def undo(
    what: Annotated[str, typer.Argument(metavar="WHAT", help="An event, such as E12, or an order, such as 1f6a09c2.")],
    wait: _Wait = "10s",
    as_json: AsJson = False,
    assignments: Assignments = None,
) -> None:
    """Take back that two were made one, or one two. Those whom a rule made one it does not make one again.

    `sightline people events` lists what there is.

    Example: sightline people undo E12
    """
    from streaming.identities.orders import event_number

    orders = _orders(loaded(assignments).settings)
    persons: Sequence[str]
    if event_number(what) is not None:
        found = next((event for event in _events(orders) if event.event == what), None)
        if found is None:
            raise UsageProblem(f"no event {what}; `sightline people events` lists them")
        persons = found.keeps, found.other
    elif (order := orders.read(what)) is None:
        raise UsageProblem(f"{what!r} is no event, such as E12, and no order that stands, such as 1f6a09c2")
    elif order.kind == "undo":
        raise UsageProblem(f"order {what} undid something; order anew what it undid")
    else:
        persons = order.persons
    _give("undo", persons, f"undo {what} of {' and '.join(persons)}", wait, as_json, assignments, undoes=what)


def events(as_json: AsJson = False, assignments: Assignments = None) -> None:
    """List whom a rule or somebody made one or two, the newest thousand, as of the pipeline's last tick.

    An event goes with the last of the tracks that it is about, a day after they were last seen.

    Example: sightline people events
    """
    orders = _orders(loaded(assignments).settings)
    found = _events(orders)
    if as_json:
        emit_json([event.model_dump() for event in found])
        return
    by = {order.order_id: order.who for order in orders.all()}

    def who(order_id: str | None) -> str:
        return "by hand" if order_id is None else by.get(order_id, f"order {order_id}")

    rows = []
    for event in found:
        what = f"{event.other} is no more {event.keeps}" if event.tracks else f"{event.other} is {event.keeps}"
        score = "-" if event.score is None else f"{event.score:.2f}"
        made_by = "rule" if event.order_id is None and event.score is not None else who(event.order_id)
        undone_by = who(event.undone_by) if event.is_undone else "-"
        rows.append((event.event, what, utc(event.at_ms), made_by, score, undone_by))
    emit_table(("event", "what", "when (UTC)", "by", "score", "undone by"), rows)


def list_orders(as_json: AsJson = False, assignments: Assignments = None) -> None:
    """List the orders about who is who that stand, what came of each, and why one was refused.

    An order stands for two days; then nothing of what it was about is left.

    Example: sightline people orders
    """
    found = _orders(loaded(assignments).settings).all()
    if as_json:
        emit_json([order.model_dump() for order in found])
        return
    rows = [
        (order.order_id, _what(order), utc(order.asked_ms), order.who, utc(order.done_ms), _result(order))
        for order in found
    ]
    emit_table(("order", "what", "asked (UTC)", "by", "done (UTC)", "came of it"), rows)


def _give(
    kind: Literal["merge", "split", "undo"],
    persons: Sequence[str],
    words: str,
    wait: str,
    as_json: bool,
    assignments: Assignments,
    **more: Any,
) -> None:
    """Write an order, wait for its answer, and say it."""
    from models.store.store import this_user
    from serve.gateway.audit import AuditLog
    from streaming.privacy.folder import now_ms

    wait_s = seconds(wait)
    settings, who = loaded(assignments).settings, this_user()
    folder = _orders(settings)
    AuditLog(settings.gateway.audit_file).looked(who, f"asked to {words}", now_ms())
    given = order = folder.give(kind, persons, who, now_ms(), **more)
    deadline = time.monotonic() + wait_s
    while order.done_ms is None and time.monotonic() < deadline:
        time.sleep(_LOOK_S)
        found = folder.read(given.order_id)
        if found is None:
            raise UsageProblem(f"order {given.order_id} is gone: somebody whom it names was erased meanwhile")
        order = found
    if as_json:
        emit_json(order.model_dump())
    elif order.done_ms is None:
        say(
            f"order {order.order_id} will be carried out as soon as the pipeline runs; `sightline people orders` tells "
            "what came of it"
        )
    else:
        say(f"{_what(order)}: {_result(order)}")
    if order.refused is not None:
        raise typer.Exit(Exit.FAILED)


def _orders(settings: Settings) -> IdentityOrders:
    from streaming.identities.orders import IdentityOrders

    if not settings.keys_folder.is_dir():
        raise UsageProblem(
            f"{settings.keys_folder}: no pipeline keeps its keys there; set privacy.keys to where one does"
        )
    return IdentityOrders(settings.keys_folder)


def _events(orders: IdentityOrders) -> list[ListedEvent]:
    try:
        return orders.events() or []
    except ValueError as wrong:
        raise UsageProblem(str(wrong)) from None


def _is_person(name: str) -> None:
    from streaming.privacy.erasures import number_of

    try:
        number_of(name)
    except ValueError as wrong:
        raise UsageProblem(str(wrong)) from None


def _sighting(text: str, now_ms: int) -> tuple[str, int]:
    """Camera and time of `till@14:03:20`. Raises UsageProblem: it is no such thing."""
    from streaming.cameras.definition import CAMERA_ID

    camera, _, moment = text.partition("@")
    try:
        if not CAMERA_ID.fullmatch(camera):
            raise ValueError
        at_ms = _moment(moment, now_ms)
    except (ValueError, OverflowError):
        raise UsageProblem(
            f"{text!r} is no camera and time; write till@14:03:20 or till@2026-11-23T14:03:20+01:00"
        ) from None
    if not 0 <= at_ms <= now_ms:
        raise UsageProblem(f"{text} has not been yet" if at_ms > 0 else f"{text} was before 1970")
    return camera, at_ms


def _moment(text: str, now_ms: int) -> int:
    """UTC in ms of a time in ISO 8601; of one without a day, the last. Raises ValueError, OverflowError."""
    now = datetime.fromtimestamp(now_ms / 1000, UTC)
    try:
        clock = time_of_day.fromisoformat(text)
    except ValueError:
        at = datetime.fromisoformat(text)
        return round(1000 * (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp())
    at = datetime.combine(now.date() + timedelta(days=1), clock, clock.tzinfo or UTC)
    while at > now:
        at -= timedelta(days=1)
    return round(1000 * at.timestamp())


def _what(order: Order) -> str:
    if order.kind == "merge":
        return f"{order.persons[1]} is {order.persons[0]}"
    if order.kind == "undo":
        return f"undo {order.undoes} of {' and '.join(order.persons)}"
    return f"{', '.join(f'{camera}@{utc(at_ms)}' for camera, at_ms in order.seen)} is not {order.persons[0]}"


def _result(order: Order) -> str:
    if order.refused is not None:
        return f"refused: {order.refused}"
    if order.event is None:
        return "-"
    return f"event {order.event}{f', it is {order.made}' if order.made else ''}"
