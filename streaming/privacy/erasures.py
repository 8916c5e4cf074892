"""Standing orders to forget a person: KEYS/erasures/P17.json.

    {"person_id": "P17", "asked_ms": …, "who": "anna", "erased_ms": …, "tracks": 3}

`sightline people erase` writes one, and the identity stage carries it out: it strikes the person's tracks out of the
keys and forgets what it knows of them. The order stands for as long as anything could still be there, so that whoever
comes back with old state, after a crash or from a copy, forgets the person again. It is about tracks that began before
it was given: a name that is used anew, by a pipeline that began anew, is somebody else's. Whoever had
several names is to be forgotten by each: in old state they were persons of their own.
"""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Protocol

from streaming.locking import folder_locked
from streaming.privacy.folder import make_folder, put

log = logging.getLogger(__name__)

FOLDER = "erasures"
MAX_BYTES = 4096

PERSON = re.compile(r"P([1-9][0-9]{0,17})")
_LOOK_S = 1.0


@dataclass(frozen=True)
class Erasure:
    """One order."""

    person_id: str
    asked_ms: int
    who: str
    erased_ms: int | None = None  # when it was carried out; None: not yet
    tracks: int = 0  # that were forgotten

    @property
    def person(self) -> int:
        """The number in its name."""
        return number_of(self.person_id)


class Orders(Protocol):
    """What the identity stage is told."""

    def standing(self) -> tuple[Erasure, ...]:
        """All that hold."""

    def reach(self, order: Erasure, names: Collection[str]) -> None:
        """The person had these names, too. Raises OSError: it could not be noted, and they may not be forgotten yet."""

    def carried_out(self, order: Erasure, tracks: int) -> None:
        """So many more tracks of the person were forgotten, 0 when there is none: the order is fulfilled."""


def number_of(person_id: str) -> int:
    """17 of "P17". Raises ValueError: it is no name that the identity stage gives."""
    if not (found := PERSON.fullmatch(person_id)):
        raise ValueError(f"{person_id!r} is no person: names are P1, P2, …, as sightings and alerts have them")
    return int(found[1])


class Erasures:
    """The orders in a folder of keys. One thread owns it; a copy that was pickled reads anew.

    Args:
        keys: the folder of keys.
    """

    def __init__(self, keys: Path) -> None:
        self._keys, self._folder = keys, keys / FOLDER
        self._looked_s = float("-inf")
        self._standing: tuple[Erasure, ...] = ()

    def __reduce__(self) -> tuple[type[Erasures], tuple[Path]]:
        return type(self), (self._keys,)

    def order(self, person_id: str, who: str, at_ms: int) -> Erasure:
        """Ask for it. A person who was asked for before is asked for again.

        Raises:
            ValueError: not a name of a person.
            BadKeyFolder: others may look into the folder.
            OSError: it could not be written.
        """
        number_of(person_id)
        make_folder(self._keys)
        make_folder(self._folder)
        wanted = Erasure(person_id, at_ms, who)
        with folder_locked(self._folder):
            self._write(wanted)
        return wanted

    def standing(self) -> tuple[Erasure, ...]:
        """All orders, the oldest first; looked at once a second at most."""
        if time.monotonic() - self._looked_s >= _LOOK_S:
            self._looked_s = time.monotonic()
            self._standing = tuple(sorted(self._read(), key=lambda one: (one.asked_ms, one.person_id)))
        return self._standing

    def reach(self, order: Erasure, names: Collection[str]) -> None:
        """Let an order stand for each: state from before they were one knows them apart. Raises OSError."""
        if not (others := set(names) - {order.person_id}):
            return  # standing orders are obeyed at every batch
        with folder_locked(self._folder):
            for name in sorted(others):
                if not self._file(name).exists():
                    self._write(Erasure(name, order.asked_ms, order.who))

    def carried_out(self, order: Erasure, tracks: int) -> None:
        """Note it. What cannot be noted is logged: the person is forgotten all the same."""
        if not tracks and order.erased_ms is not None:
            return
        done_ms = None if tracks else time.time_ns() // 1_000_000
        told = replace(order, tracks=order.tracks + tracks, erased_ms=done_ms)
        self._standing = tuple(told if one.person_id == order.person_id else one for one in self._standing)
        try:
            with folder_locked(self._folder):  # or an order that is given meanwhile would be lost
                if (held := self._read_one(self._file(order.person_id))) and held.asked_ms == order.asked_ms:
                    self._write(told)
        except OSError as error:
            log.error("%s: the erasure could not be noted: %s", order.person_id, error)

    def lapse(self, before_ms: int) -> int:
        """Take back orders given before this time, when nothing can be left of what they are about; how many."""
        old = [one for one in self._read() if one.asked_ms < before_ms]
        for one in old:
            self._file(one.person_id).unlink(missing_ok=True)
        return len(old)

    def _file(self, person_id: str) -> Path:
        return self._folder / f"{person_id}.json"

    def _read(self) -> Iterator[Erasure]:
        for file in self._folder.glob("P*.json"):
            if (found := self._read_one(file)) is not None:
                yield found

    def _read_one(self, file: Path) -> Erasure | None:
        try:
            with file.open("rb") as stream:
                said = Erasure(**json.loads(stream.read(MAX_BYTES)))
            if said.person_id != file.stem or type(said.asked_ms) is not int or type(said.tracks) is not int:
                raise ValueError("it is about somebody else, or lacks a time")
            number_of(said.person_id)
            return said
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, RecursionError) as wrong:
            log.error("%s is no order to erase somebody, ask again: %s", file, wrong)
            return None

    def _write(self, order: Erasure) -> None:
        put(self._file(order.person_id), json.dumps(asdict(order)).encode() + b"\n")
