"""An operator's orders about who is who, and what became of them: files beside the keys.

    KEYS/orders/1f6a09c2.json
    {"order_id": "1f6a09c2", "kind": "merge", "persons": ["P5", "P17"], "asked_ms": …, "who": "anna",
     "done_ms": …, "event": "E12", …}

    KEYS/orders/events.json                   whom the pipeline has made one or two, as of its last tick

`sightline people merge`, `split` and `undo` write an order, and the identity stage carries it out, once in each state
(`streaming.identities.obeying`), and notes here what came of it. An order stands for `STANDS_MS`: longer than any track
that it could be about is remembered. What names somebody who is erased goes with them.
"""

from __future__ import annotations

import logging
import re
import secrets
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from streaming.cameras.definition import CameraId
from streaming.locking import folder_locked
from streaming.privacy.erasures import PERSON
from streaming.privacy.folder import make_folder, put
from streaming.topics import DAY_MS

log = logging.getLogger(__name__)

FOLDER, EVENTS = "orders", "events.json"
STANDS_MS = 2 * DAY_MS
MAX_SEEN = 64
"""Sightings that one split may name."""
MAX_REASON_CHARS = 1_000

_MAX_BYTES, _MAX_EVENTS_BYTES = 16 << 10, 8 << 20
_ORDER_ID = re.compile(r"[0-9a-f]{8}")
_EVENT_ID = re.compile(r"E([1-9][0-9]{0,17})")
_FORM = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

OrderId = Annotated[str, Field(pattern=rf"^{_ORDER_ID.pattern}$")]
EventId = Annotated[str, Field(pattern=rf"^{_EVENT_ID.pattern}$")]
PersonId = Annotated[str, Field(pattern=rf"^{PERSON.pattern}$")]
Ms = Annotated[int, Field(ge=0, le=1 << 52)]


class Order(BaseModel):
    """What somebody wants to be so, and what came of it."""

    model_config = _FORM

    order_id: OrderId
    kind: Literal["merge", "split", "undo"]
    persons: tuple[PersonId, ...] = Field(min_length=1, max_length=2)
    """Of a merge, and of the event that is undone: who keeps the name, and the other; of a split: of whom."""
    seen: tuple[tuple[CameraId, Ms], ...] = Field(default=(), max_length=MAX_SEEN)
    """Of a split: which camera saw somebody else, and when."""
    undoes: EventId | OrderId | None = None
    asked_ms: Ms
    who: str = Field(max_length=500)
    done_ms: Ms | None = None  # when it was carried out or refused; None: not yet
    event: EventId | None = None  # that it made, or undid
    made: PersonId | None = None  # of a split: who was split off
    refused: str | None = Field(default=None, max_length=MAX_REASON_CHARS)  # why it cannot be carried out

    @model_validator(mode="after")
    def _is_whole(self) -> Order:
        if (self.kind == "merge" and len(set(self.persons)) != 2) or (self.kind == "split" and len(self.persons) != 1):
            raise ValueError(f"a {self.kind} of {', '.join(self.persons)}")
        if bool(self.seen) != (self.kind == "split") or bool(self.undoes) != (self.kind == "undo"):
            raise ValueError(f"a {self.kind} with what is said of another kind")
        return self

    @property
    def names(self) -> set[str]:
        """Whom it names."""
        return {*self.persons} | ({self.made} if self.made else set())


class ListedEvent(BaseModel):
    """A merge or a split, as an operator is told of it."""

    model_config = _FORM

    event: EventId
    at_ms: Ms  # when it was asked for, or by event time was seen
    keeps: PersonId  # who keeps the name
    other: PersonId  # of a merge: who is `keeps` too; of a split: who was split off
    tracks: tuple[tuple[str, int], ...]  # camera and track of those that were split off; none: it is a merge
    score: float | None  # how probable it was; None: by hand
    order_id: OrderId | None  # by which it was made; None: by a rule
    is_undone: bool
    undone_by: OrderId | None


_EVENTS = TypeAdapter(list[ListedEvent])


def event_number(event_id: str) -> int | None:
    """12 of "E12"; None: it names no event."""
    found = _EVENT_ID.fullmatch(event_id)
    return int(found[1]) if found else None


class IdentityOrders:
    """The orders in a folder of keys. One thread owns it; a copy that was pickled reads anew.

    Args:
        keys: the folder of keys.
    """

    def __init__(self, keys: Path) -> None:
        self._keys, self._folder = keys, keys / FOLDER
        self._told: bytes | None = None
        self._said: set[str] = set()  # each once

    def __reduce__(self) -> tuple[type[IdentityOrders], tuple[Path]]:
        return type(self), (self._keys,)

    def give(
        self,
        kind: Literal["merge", "split", "undo"],
        persons: Sequence[str],
        who: str,
        at_ms: int,
        *,
        seen: Sequence[tuple[str, int]] = (),
        undoes: str | None = None,
    ) -> Order:
        """Ask for it.

        Raises:
            ValueError: names that no person or camera has, or that are too many or too few.
            BadKeyFolder: others may look into the folder.
            OSError: it could not be written.
        """
        order = Order(
            order_id=secrets.token_hex(4),
            kind=kind,
            persons=tuple(persons),
            seen=tuple(seen),
            undoes=undoes,
            asked_ms=at_ms,
            who=who[:500],
        )
        self._write(order)
        return order

    def read(self, order_id: str) -> Order | None:
        """One of them; None where there is none."""
        if not _ORDER_ID.fullmatch(order_id):
            return None
        file = self._file(order_id)
        try:
            order = Order.model_validate_json(_read(file, _MAX_BYTES))
            if order.order_id != order_id:
                raise ValueError("it is another one's")
            return order
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as wrong:
            self._complain(f"{file} is no order about persons, give it again: {_in_a_line(wrong)}")
            return None

    def all(self) -> list[Order]:
        """The oldest first."""
        found = [self.read(file.stem) for file in self._folder.glob("*.json")]
        return sorted((one for one in found if one is not None), key=lambda one: (one.asked_ms, one.order_id))

    def answered(self, order: Order) -> None:
        """Note what came of it. Raises OSError: it could not be written."""
        self._write(order)

    def withdraw(self, order: Order) -> None:
        """It stands no more."""
        try:
            self._file(order.order_id).unlink(missing_ok=True)
        except OSError as error:
            self._complain(f"order {order.order_id} could not be taken back: {error}")

    def lapse(self, before_ms: int) -> int:
        """Take back orders given before this time, and what was told before it, by a pipeline that runs no more; how
        many orders."""
        old = [one for one in self.all() if one.asked_ms < before_ms]
        for one in old:
            self.withdraw(one)
        told = self._folder / EVENTS
        if told.is_file() and 1000 * told.stat().st_mtime < before_ms:
            told.unlink(missing_ok=True)
        return len(old)

    def forget(self, names: Collection[str]) -> None:
        """Delete every order that names one of these persons. Raises OSError: it could not be deleted."""
        if not self._folder.is_dir():
            return
        with folder_locked(self._folder):
            for draft in self._folder.glob(".*"):
                draft.unlink(missing_ok=True)  # nobody's any more: whoever writes one holds the lock
        for one in self.all():
            if not one.names.isdisjoint(names):
                self._file(one.order_id).unlink(missing_ok=True)

    def tell(self, events: Sequence[ListedEvent]) -> None:
        """Say what there is; what cannot be written is logged, and said the next time."""
        text = _EVENTS.dump_json(list(events))
        if text == self._told:
            return
        try:
            self._put(self._folder / EVENTS, text)
            self._told = text
        except OSError as error:
            self._complain(f"who was made one or two could not be told: {error}")

    def events(self) -> list[ListedEvent] | None:
        """What was told last; None: nothing yet.

        Raises:
            ValueError: it is no such list; the message names the file.
        """
        file = self._folder / EVENTS
        try:
            return _EVENTS.validate_json(_read(file, _MAX_EVENTS_BYTES))
        except FileNotFoundError:
            return None
        except ValueError as wrong:
            why = _in_a_line(wrong)
            raise ValueError(f"{file} is no list of events; the running pipeline writes it anew: {why}") from None

    def _complain(self, words: str) -> None:
        if words not in self._said:
            self._said.add(words)
            log.error("%s", words)

    def _file(self, order_id: str) -> Path:
        return self._folder / f"{order_id}.json"

    def _write(self, order: Order) -> None:
        self._put(self._file(order.order_id), order.model_dump_json().encode() + b"\n")

    def _put(self, file: Path, text: bytes) -> None:
        make_folder(self._keys)
        make_folder(self._folder)
        with folder_locked(self._folder):
            put(file, text)


def _read(file: Path, most_bytes: int) -> bytes:
    """Raises ValueError: it is too large."""
    with file.open("rb") as stream:
        text = stream.read(most_bytes + 1)
    if len(text) > most_bytes:
        raise ValueError(f"it has more than {most_bytes} bytes")
    return text


def _in_a_line(wrong: Exception) -> str:
    """The first thing that is wrong."""
    if not isinstance(wrong, ValidationError):
        return str(wrong)
    first = wrong.errors(include_url=False, include_input=False)[0]
    where = ".".join(map(str, first["loc"]))
    return f"{where}: {first['msg']}" if where else first["msg"]
