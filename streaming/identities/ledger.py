"""Who is who, derived from a log of events: links, merges and splits.

A *link* says of a track who it was taken for when it was decided. A *merge* says that all tracks of one person so far
are another's, by hand or because their looks say so (a union); a *split* that some tracks of a person are somebody
else's. In the order of their numbers they say whose each track is. Undoing a merge or a split derives everything anew
without it: what was linked meanwhile stays linked. Whose merge was undone, and who was split, has been told apart by
somebody who knew: no rule makes one of them again.

Every change comes back as `Correction`s, one for each track that changed hands, so that whoever counted by person can
count again: all sightings of this track from then on that were told as `old` are `new`'s.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from streaming.identities.memory import DECIDED, ERASED, EVENT, TRACK, Floats, Ints, Memory, track_key
from streaming.state import Slots

NOBODY = 0


class Correction(NamedTuple):
    """The sightings of one track since `from_ms` are somebody else's. `NOBODY` stands for no person."""

    camera_id: str
    track_id: int
    from_ms: int
    old: int
    new: int
    score: float  # as of `Ledger.scores`


class Event(NamedTuple):
    """A merge or a split."""

    number: int
    at_ms: int
    keeps: int  # who keeps the name
    other: int  # of a merge: who has it too since then; of a split: who somebody else's tracks are
    tracks: tuple[str, ...]  # keys of those that were split off; none: it is a merge
    score: float  # how probable it was; 0 where it was made by hand
    is_undone: bool

    @property
    def renames(self) -> tuple[int, int]:
        """Of whom to whom tracks go."""
        return (self.keeps, self.other) if self.tracks else (self.other, self.keeps)


_COLUMNS = "number", "first_ms", "person", "linked", "text", "score", "status"
"""Where the state has an event, in the order of its fields."""


class Unknown(LookupError):
    """There is no such person, track or event, or no longer."""


class Ledger:
    """Corrections by hand and by rule. All raise `Unknown` for what is not there."""

    def __init__(self, memory: Memory) -> None:
        self._memory, self._state = memory, memory.state

    def link(self, slot: int, person: int, score: float) -> Correction:
        """A track that was pending is this person's."""
        (key,) = self._memory.track_keys(np.array([slot]))
        for column, value in (
            ("status", DECIDED),
            ("linked", person),
            ("person", person),
            ("score", score),
            ("number", self._memory.next("number")),
            ("moved", 0),
        ):
            self._state[column][slot] = value
        self._state.touch([key])
        return self._corrections(np.array([slot]), np.array([NOBODY]))[0]

    def relink(self, slot: int, person: int, score: float) -> Correction:
        """A decided track is another person's after all."""
        old = self._state["person"][[slot]].copy()
        self.link(slot, person, score)
        return self._corrections(np.array([slot]), old)[0]

    def reopen(self, slot: int) -> Correction:
        """The link of a track is taken back: it is pending again."""
        (key,) = self._memory.track_keys(np.array([slot]))
        old = self._state["person"][[slot]]
        for column in ("status", "linked", "person", "score", "number", "moved"):
            self._state[column][slot] = 0  # PENDING, NOBODY
        self._state.touch([key])
        return self._corrections(np.array([slot]), old)[0]

    def merge(self, keeps: int, ends: int, at_ms: int) -> tuple[int, list[Correction]]:
        """Two persons are one; `keeps` is the name that stays. The number of the event, and what it changes.

        Raises:
            ValueError: they are one already, or were in two places at once in one camera.
        """
        if keeps == ends:
            raise ValueError(f"P{keeps} cannot be merged with itself")
        one, other = self._tracks_of(keeps), self._tracks_of(ends)
        camera, first, last = (self._state[name] for name in ("camera", "first_ms", "last_ms"))
        beside = (camera[one][:, None] == camera[other]) & (first[one][:, None] < last[other])
        if (beside & (first[other] < last[one][:, None])).any():
            raise ValueError(f"P{keeps} and P{ends} were beside one another in one camera: they are two")
        return self.unite(keeps, ends, at_ms, score=0.0)

    def unite(self, keeps: int, ends: int, at_ms: int, score: float) -> tuple[int, list[Correction]]:
        """As `merge`, for its probability, whatever contradicts it: those who ask have weighed that."""
        return self._event(Event(self._memory.next("number"), at_ms, keeps, ends, (), score, False))

    def split(self, person: int, tracks: Sequence[tuple[str, int]], at_ms: int) -> tuple[int, list[Correction]]:
        """These tracks (camera, id) of a person are somebody else's, who gets a name that nobody has had.

        Raises:
            ValueError: none is named, or nothing would be left.
        """
        numbers = {name: number for number, name in self._memory.cameras().items()}
        mine = set(self._memory.track_keys(self._tracks_of(person)))
        named = {track_key(numbers.get(camera, -1), track_id) for camera, track_id in tracks}
        if strange := named - mine:
            raise Unknown(f"P{person} has no {sorted(strange)[0]}")
        if not named or named == mine:
            raise ValueError(f"a split of P{person} needs some of its {len(mine)} tracks, not {len(named)}")
        other, number = self._memory.next("last_person"), self._memory.next("number")
        return self._event(Event(number, at_ms, person, other, tuple(sorted(named)), 0.0, False))

    def undo(self, event: int) -> list[Correction]:
        """A merge or a split is no more.

        Raises:
            ValueError: it is undone already.
        """
        key = _key(event)
        if key not in self._state:
            raise Unknown(f"there is no event E{event}; it may have expired with the tracks that it was about")
        slot = self._memory.slot(key, EVENT)
        if self._state["status"][slot]:
            raise ValueError(f"E{event} is undone already")
        self._state["status"][slot] = 1
        return self._derive()

    def erase(self, person: int, still_on_ms: int) -> list[Correction]:
        """Forget a person: tracks, looks, places, names, and the events about them. Tracks seen since `still_on_ms`
        leave a mark without a look, so that what follows of them is not taken for somebody new; it goes with them."""
        slots, names = self._tracks_of(person), self.names_of(person)
        corrections = self._corrections(slots, self._state["person"][slots], to=NOBODY)
        keys, on = self._memory.track_keys(slots), self._state["last_ms"][slots] >= still_on_ms
        marks = [
            (int(self._state["camera"][slot]), int(self._state["track_id"][slot]), int(self._state["last_ms"][slot]))
            for slot in slots[on].tolist()
        ]
        self.forget_tracks(keys)
        for name in names:
            self._forget_name(name)
        for camera, track_id, last_ms in marks:
            slot = self._memory.slot(track_key(camera, track_id), TRACK)
            self._state["camera"][slot], self._state["track_id"][slot] = camera, track_id
            self._state["status"][slot] = ERASED
            self._state["first_ms"][slot] = self._state["last_ms"][slot] = last_ms
        return corrections

    def forget_tracks(self, keys: Sequence[str]) -> None:
        """Delete tracks, and the events that are about nobody who is left."""
        self._memory.forget(keys)
        gone, useless = set(keys), []
        names = set(self._state["linked"][self._memory.of_kind(TRACK)].tolist())  # that somebody has, or had on the way
        for event in self.events():
            left = [key for key in event.tracks if key not in gone]
            if not left and (event.tracks or event.other not in names):
                useless.append(_key(event.number))
                continue
            names.add(event.renames[1])
            if len(left) < len(event.tracks):
                self._state["text"][self._memory.slot(_key(event.number), EVENT)] = "\n".join(left)
        self._memory.forget(useless)

    def events(self, since: int = 0) -> list[Event]:
        """Merges and splits from this number on, in their order, those undone among them. They go with the last of the
        tracks that they are about."""
        slots = self._memory.of_kind(EVENT)
        number = self._state["number"][slots]
        slots = slots[np.argsort(number)][np.count_nonzero(number < since) :]
        number, at_ms, keeps, other, text, score, status = (self._state[name][slots].tolist() for name in _COLUMNS)
        tracks = [tuple(keys.split("\n")) if keys else () for keys in text]
        return list(map(Event, number, at_ms, keeps, other, tracks, score, map(bool, status)))

    def told_apart(self, person: int) -> set[int]:
        """Who is not this person, by somebody who undid a merge of the two or split them; by the names of now."""
        slots, pairs = self._memory.of_kind(EVENT), list[set[int]]()
        tells = (self._state["status"][slots] != 0) != (self._state["text"][slots] != "")
        if not tells.any():
            return set()
        for event in self.events(since=int(self._state["number"][slots[tells]].min())):
            if event.is_undone != bool(event.tracks):
                pairs.append({event.keeps, event.other})
            elif not event.is_undone:
                pairs = [{event.keeps if name == event.other else name for name in pair} for pair in pairs]
        return {name for pair in pairs if person in pair for name in pair - {person}}

    def names_of(self, person: int) -> set[int]:
        """What a person is called, and was on the way, that nobody else is called now."""
        slots = self._tracks_of(person)
        names = {person, *self._state["linked"][slots].tolist()}
        names |= {event.renames[1] for event, its in self._moves(slots) if its.any()}
        return {name for name in names if name == person or not len(self._memory.tracks_of(name))}

    def scores(self, slots: Slots) -> Floats:
        """The probability that each track is its person's: of the event that moved it last, if that has one, or of its
        link."""
        scores: Floats = self._state["score"][slots].astype(np.float64)
        moved = self._state["moved"][slots]
        for at in np.flatnonzero(moved).tolist():
            (event,) = self._state.slots([_key(int(moved[at]))]).tolist()
            scores[at] = self._state["score"][event] or scores[at]
        return scores

    def latest(self, slots: Slots) -> int:
        """Which of these tracks came to its person last."""
        number, moved = self._state["number"][slots], self._state["moved"][slots]
        return int(slots[np.lexsort([number, np.maximum(number, moved)])[-1]])

    def _tracks_of(self, person: int) -> Slots:
        slots = self._memory.tracks_of(person)
        if person == NOBODY or not len(slots):
            raise Unknown(f"there is no person P{person}, or no longer")
        return slots

    def _forget_name(self, person: int) -> None:
        """Delete the events that name a person of whom nothing is left: whoever's tracks were split off has been
        somebody else from the start."""
        state, slots = self._state, self._memory.decided()
        for event, its in list(self._moves(slots)):
            if event.renames[0] == person:
                left = slots[its]
                state["linked"][left], state["number"][left] = event.renames[1], event.number
                state["score"][left] = event.score or state["score"][left]
                state["moved"][left[state["moved"][left] == event.number]] = 0
                state.touch(self._memory.track_keys(left))
        self._memory.forget([_key(event.number) for event in self.events() if person in (event.keeps, event.other)])

    def _event(self, event: Event) -> tuple[int, list[Correction]]:
        row, (old, new) = self._memory.slot(_key(event.number), EVENT), event.renames
        values = event.number, event.at_ms, event.keeps, event.other, "\n".join(event.tracks), event.score
        for column, value in zip(_COLUMNS, (*values, event.is_undone), strict=True):
            self._state[column][row] = value
        # No link and no event has a later number: to derive everything anew would change nothing else.
        slots = self._memory.tracks_of(old)
        if event.tracks:
            slots = slots[np.isin(self._memory.track_keys(slots), event.tracks)]
        self._state["person"][slots], self._state["moved"][slots] = new, event.number
        self._state.touch(self._memory.track_keys(slots))
        return event.number, self._corrections(slots, np.full(len(slots), old))

    def _derive(self) -> list[Correction]:
        """Say of every track whose it is, by the log; what changed."""
        state, slots = self._state, self._memory.decided()
        before, person = state["person"][slots], state["linked"][slots].copy()
        moved = np.zeros_like(person)
        for event, its in self._moves(slots):
            person[its], moved[its] = event.renames[1], event.number
        changed = (person != before) | (moved != state["moved"][slots])
        state["person"][slots], state["moved"][slots] = person, moved
        state.touch(self._memory.track_keys(slots[changed]))
        told = person != before
        return self._corrections(slots[told], before[told])

    def _moves(self, slots: Slots) -> Iterator[tuple[Event, npt.NDArray[np.bool_]]]:
        """Each event that holds, in turn, and which of these tracks it hands on."""
        number, person = self._state["number"][slots].copy(), self._state["linked"][slots].copy()
        keys = np.array(self._memory.track_keys(slots), dtype=object)
        for event in self.events():
            if event.is_undone:
                continue
            old, new = event.renames
            its = (number < event.number) & (person == old)
            if event.tracks:
                its &= np.isin(keys, event.tracks)
            person[its] = new
            yield event, its

    def _corrections(self, slots: Slots, old: Ints, to: int | None = None) -> list[Correction]:
        names, state, scores = self._memory.cameras(), self._state, self.scores(slots)
        return [
            Correction(
                names[int(state["camera"][slot])],
                int(state["track_id"][slot]),
                int(state["first_ms"][slot]),
                before,
                int(state["person"][slot]) if to is None else to,
                score,
            )
            for slot, before, score in zip(slots.tolist(), old.tolist(), scores.tolist(), strict=True)
        ]


def person_id(person: int) -> str | None:
    """How a person is called outside: P1, P2, ...; nobody is null."""
    return f"P{person}" if person else None


def _key(event: int) -> str:
    return f"event/{event}"
