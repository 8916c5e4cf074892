"""Orders about who is who, carried out on the state.

They are carried out in ticks: then all that the log held has been read, so whoever comes back with old state obeys once
it has caught up with what the order is about. The state has a row of each (`order/ID`), so that it is carried out once
in each state: again by whoever comes back with one from before, and not by whoever comes back with a later one. An
order that cannot be carried out is refused, once, with the reason; nothing of it is done.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np

from streaming.identities.ledger import Correction, Event, Ledger, Unknown, person_id
from streaming.identities.memory import EVENT, ORDER, Memory
from streaming.identities.orders import MAX_REASON_CHARS, STANDS_MS, IdentityOrders, ListedEvent, Order, event_number
from streaming.privacy.erasures import number_of
from streaming.topics import DAY_MS

log = logging.getLogger(__name__)

LISTED = 1_000
"""Events that are told of, the newest."""

_MADE, _UNDID, _REFUSED = range(3)
"""What became of an order: the status of its row."""
_SECOND_MS = 1_000  # as exactly as an operator says when


def obey(memory: Memory, orders: IdentityOrders, now_ms: int) -> list[Correction]:
    """Carry out the orders that this state does not know yet, the oldest first, and tell what there is then.

    Args:
        memory: all that is known.
        orders: in their folder.
        now_ms: by the wall clock, as the times at which they were given.
    """
    made: list[Correction] = []
    for order in orders.all():
        if order.asked_ms < now_ms - STANDS_MS:
            orders.withdraw(order)
        elif order.asked_ms > now_ms:
            continue
        elif f"order/{order.order_id}" not in memory.state:
            made += _carry_out(memory, orders, order, now_ms)
        elif order.done_ms is None:
            _note(orders, _answer(memory, order), now_ms)
    state = memory.state
    # A day later than the file, or an order might be taken for a new one.
    memory.forget(state.keys_where((state["kind"] == ORDER) & (state["first_ms"] < now_ms - STANDS_MS - DAY_MS)))
    orders.tell(listed(memory))
    return made


def listed(memory: Memory) -> list[ListedEvent]:
    """Whom the stage or an operator made one or two, the oldest first: the newest `LISTED`."""
    state = memory.state
    numbers = np.sort(state["number"][memory.of_kind(EVENT)])[-LISTED:]
    by: dict[int, dict[int, str]] = {_MADE: {}, _UNDID: {}, _REFUSED: {}}
    for key in state.keys_where(state["kind"] == ORDER):
        (slot,) = state.slots([key])
        by[int(state["status"][slot])][int(state["number"][slot])] = key.partition("/")[2]
    cameras = memory.cameras()
    return [
        ListedEvent(
            event=f"E{event.number}",
            at_ms=event.at_ms,
            keeps=f"P{event.keeps}",
            other=f"P{event.other}",
            tracks=tuple(_track_named(key, cameras) for key in event.tracks),
            score=round(event.score, 4) if event.score else None,
            order_id=by[_MADE].get(event.number),
            is_undone=event.is_undone,
            undone_by=by[_UNDID].get(event.number),
        )
        for event in Ledger(memory).events(since=int(numbers[0]) if len(numbers) else 0)
    ]


def _carry_out(memory: Memory, orders: IdentityOrders, order: Order, now_ms: int) -> list[Correction]:
    ledger, made, status, event = Ledger(memory), list[Correction](), _MADE, 0
    try:
        if order.kind == "merge":
            keeps, other = (_person(memory, name, order.asked_ms) for name in order.persons)
            event, made = ledger.merge(keeps, other, order.asked_ms)
        elif order.kind == "split":
            person = _person(memory, order.persons[0], order.asked_ms)
            event, made = ledger.split(person, _seen(memory, person, order.seen), order.asked_ms)
        else:
            status, event = _UNDID, _event_of(memory, order)
            made = ledger.undo(event)
    except (Unknown, ValueError) as why:
        if not _note(
            orders,
            order.model_copy(update={"event": None, "made": None, "refused": str(why)[:MAX_REASON_CHARS]}),
            now_ms,
        ):
            return []  # the next time, or nobody would hear of it
        status, event = _REFUSED, 0
    slot = memory.slot(f"order/{order.order_id}", ORDER)
    state = memory.state
    state["status"][slot], state["number"][slot], state["first_ms"][slot] = status, event, order.asked_ms
    if status != _REFUSED:
        _note(orders, _answer(memory, order), now_ms)
    return made


def _answer(memory: Memory, order: Order) -> Order:
    """The order with what came of it in this state."""
    (slot,) = memory.state.slots([f"order/{order.order_id}"])
    number, status = int(memory.state["number"][slot]), int(memory.state["status"][slot])
    if status == _REFUSED:
        return order.model_copy(update={"refused": "it was refused before, and why is not known any more"})
    found = [one for one in Ledger(memory).events(since=number) if one.number == number]
    made = person_id(found[0].other) if found and order.kind == "split" else None
    return order.model_copy(update={"event": f"E{number}", "made": made, "refused": None})


def _note(orders: IdentityOrders, answer: Order, now_ms: int) -> bool:
    """Whether it could be noted."""
    try:
        orders.answered(answer.model_copy(update={"done_ms": now_ms}))
        return True
    except OSError as error:
        log.error("order %s: what came of it could not be noted: %s", answer.order_id, error)
        return False


def _person(memory: Memory, name: str, asked_ms: int) -> int:
    """Who was meant. Raises Unknown: nobody is called so, or nobody was when it was asked."""
    number = number_of(name)
    tracks = memory.tracks_of(number)
    if len(tracks) and memory.state["first_ms"][tracks].min() <= asked_ms:
        return number
    if len(tracks):
        raise Unknown(f"who is called {name} now came after this was asked")
    now = [f"P{other}" for other in memory.persons_called(number)]
    raise Unknown(f"{name} is {' and '.join(now)} now" if now else f"there is no person {name}, or no longer")


def _seen(memory: Memory, person: int, seen: Sequence[tuple[str, int]]) -> list[tuple[str, int]]:
    """Tracks of a person that these cameras saw at these times. Raises Unknown: they did not."""
    slots = memory.tracks_of(person)
    first_ms, last_ms = memory.state["first_ms"][slots] - _SECOND_MS, memory.state["last_ms"][slots] + _SECOND_MS
    names, found = memory.names(slots), list[tuple[str, int]]()
    for camera, at_ms in seen:
        then = (first_ms <= at_ms) & (at_ms <= last_ms)
        tracks = [name for name, was in zip(names, then.tolist(), strict=True) if was and name[0] == camera]
        if not tracks:
            moment = datetime.fromtimestamp(at_ms / 1000, UTC)
            raise Unknown(f"{camera} saw nobody who is called P{person} at {moment:%Y-%m-%d %H:%M:%S} UTC")
        found += tracks
    return found


def _event_of(memory: Memory, order: Order) -> int:
    """The event that is to be undone. Raises Unknown: there is none in this state."""
    undoes = order.undoes or ""
    number = event_number(undoes)
    if number is None:
        key = f"order/{undoes}"
        if key not in memory.state:
            raise Unknown(f"order {undoes} was not carried out")
        (slot,) = memory.state.slots([key])
        if memory.state["status"][slot] != _MADE:
            raise Unknown(f"order {undoes} made nobody one or two")
        return int(memory.state["number"][slot])
    pair = tuple(number_of(name) for name in order.persons)
    found = [event for event in Ledger(memory).events() if (event.keeps, event.other) == pair]
    if not found:
        raise Unknown(f"there is no event {undoes} of {' and '.join(order.persons)}, or no longer")
    # By another number, if the state was made anew since: numbers count up with every link.
    return _numbered(found, number).number


def _numbered(events: Sequence[Event], number: int) -> Event:
    return next((event for event in events if event.number == number), events[-1])


def _track_named(key: str, cameras: dict[int, str]) -> tuple[str, int]:
    _, camera, track_id = key.split("/")
    return cameras[int(camera)], int(track_id)
