"""Who is who, derived from a log of events: links, merges and splits, each of which can be undone.

A *link* says of a track who it was taken for when it was decided. A *merge* says that all tracks of one person so far
are another's; a *split* that some tracks of a person are somebody else's. In the order of their numbers they say whose
each track is. Undoing a merge or a split derives everything anew without it: what was linked meanwhile stays linked.

Every change comes back as `Correction`s, one for each track that changed hands, so that whoever counted by person can
count again: all sightings of this track from then on that were told as `old` are `new`'s.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from streaming.identities.memory import DECIDED, ERASED, EVENT, TRACK, Ints, Memory, track_key
from streaming.state import Slots

NOBODY = 0


class Correction(NamedTuple):
    """The sightings of one track since `from_ms` are somebody else's. `NOBODY` stands for no person."""

    camera_id: str
    track_id: int
    from_ms: int
    old: int
    new: int
    score: float  # of the track's link


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
        for column in ("status", "linked", "person", "score", "number"):
            self._state[column][slot] = 0  # PENDING, NOBODY
        self._state.touch([key])
        return self._corrections(np.array([slot]), old)[0]

    def merge(self, keeps: int, ends: int, at_ms: int) -> tuple[int, list[Correction]]:
        """Two persons are one; `keeps` is the name that stays. The number of the event, and what it changes.

        Raises:
            ValueError: they are one already, or were in two places at once in one camera.
        """
        if keeps == ends:
            raise ValueError(f"person {keeps} cannot be merged with itself")
        one, other = self._tracks_of(keeps), self._tracks_of(ends)
        camera, first, last = (self._state[name] for name in ("camera", "first_ms", "last_ms"))
        beside = (camera[one][:, None] == camera[other]) & (first[one][:, None] < last[other])
        if (beside & (first[other] < last[one][:, None])).any():
            raise ValueError(f"persons {keeps} and {ends} were beside one another in one camera: they are two")
        return self._event(keeps, ends, at_ms, "")

    def split(self, person: int, tracks: Sequence[tuple[str, int]], at_ms: int) -> tuple[int, list[Correction]]:
        """These tracks (camera, id) of a person are somebody else's, who gets a name that nobody has had.

        Raises:
            ValueError: none is named, or nothing would be left.
        """
        numbers = {name: number for number, name in self._memory.cameras().items()}
        mine = set(self._memory.track_keys(self._tracks_of(person)))
        named = {track_key(numbers.get(camera, -1), track_id) for camera, track_id in tracks}
        if strange := named - mine:
            raise Unknown(f"person {person} has no {sorted(strange)[0]}")
        if not named or named == mine:
            raise ValueError(f"a split of person {person} needs some of its {len(mine)} tracks, not {len(named)}")
        return self._event(person, self._memory.next("last_person"), at_ms, "\n".join(sorted(named)))

    def undo(self, event: int) -> list[Correction]:
        """A merge or a split is no more.

        Raises:
            ValueError: it is undone already.
        """
        key = f"event/{event}"
        if key not in self._state:
            raise Unknown(f"there is no event {event}; it may have expired with the tracks that it was about")
        slot = self._memory.slot(key, EVENT)
        if self._state["status"][slot]:
            raise ValueError(f"event {event} is undone already")
        self._state["status"][slot] = 1
        return self._derive()

    def erase(self, person: int, still_on_ms: int) -> list[Correction]:
        """Forget a person: tracks, looks, places and the events about them. Tracks seen since `still_on_ms` leave a
        mark without a look, so that what follows of them is not taken for somebody new; it goes with them."""
        slots = self._tracks_of(person)
        corrections = self._corrections(slots, self._state["person"][slots], to=NOBODY)
        keys, on = self._memory.track_keys(slots), self._state["last_ms"][slots] >= still_on_ms
        marks = [
            (int(self._state["camera"][slot]), int(self._state["track_id"][slot]), int(self._state["last_ms"][slot]))
            for slot in slots[on].tolist()
        ]
        self.forget_tracks(keys)
        for camera, track_id, last_ms in marks:
            slot = self._memory.slot(track_key(camera, track_id), TRACK)
            self._state["camera"][slot], self._state["track_id"][slot] = camera, track_id
            self._state["status"][slot] = ERASED
            self._state["first_ms"][slot] = self._state["last_ms"][slot] = last_ms
        return corrections

    def forget_tracks(self, keys: Sequence[str]) -> None:
        """Delete tracks, and the events that are about nobody who is left."""
        self._memory.forget(keys)
        gone, state, useless = set(keys), self._state, []
        names = set(state["linked"][self._memory.decided()].tolist())  # that somebody has, or had on the way
        for slot in self._events().tolist():
            tracks, is_split = [key for key in state["text"][slot].split("\n") if key not in gone], state["text"][slot]
            other, name = int(state["linked"][slot]), f"event/{int(state['number'][slot])}"
            if (is_split and not tracks) or (not is_split and other not in names):
                useless.append(name)
                continue
            names.add(other if is_split else int(state["person"][slot]))
            if is_split and len(tracks) <= is_split.count("\n"):
                state["text"][slot] = "\n".join(tracks)
                state.touch([name])
        self._memory.forget(useless)

    def _tracks_of(self, person: int) -> Slots:
        slots = self._memory.tracks_of(person)
        if person == NOBODY or not len(slots):
            raise Unknown(f"there is no person {person}, or no longer")
        return slots

    def _event(self, keeps: int, other: int, at_ms: int, tracks: str) -> tuple[int, list[Correction]]:
        number = self._memory.next("number")
        slot = self._memory.slot(f"event/{number}", EVENT)
        for column, value in (("person", keeps), ("linked", other), ("number", number), ("first_ms", at_ms)):
            self._state[column][slot] = value
        self._state["text"][slot] = tracks
        return number, self._derive()

    def _events(self) -> Slots:
        slots = self._memory.of_kind(EVENT)
        ordered: Slots = slots[np.argsort(self._state["number"][slots])]
        return ordered

    def _derive(self) -> list[Correction]:
        """Say of every track whose it is, by the log; what changed."""
        state, slots = self._state, self._memory.decided()
        before, number = state["person"][slots], state["number"][slots]
        person, keys = state["linked"][slots].copy(), np.array(self._memory.track_keys(slots), dtype=object)
        for event in self._events().tolist():
            if state["status"][event]:
                continue
            keeps, other, tracks = int(state["person"][event]), int(state["linked"][event]), state["text"][event]
            then = number < state["number"][event]
            if tracks:
                person[then & (person == keeps) & np.isin(keys, tracks.split("\n"))] = other
            else:
                person[then & (person == other)] = keeps
        changed = person != before
        state["person"][slots[changed]] = person[changed]
        state.touch(self._memory.track_keys(slots[changed]))
        return self._corrections(slots[changed], before[changed])

    def _corrections(self, slots: Slots, old: Ints, to: int | None = None) -> list[Correction]:
        names, state = self._memory.cameras(), self._state
        return [
            Correction(
                names[int(state["camera"][slot])],
                int(state["track_id"][slot]),
                int(state["first_ms"][slot]),
                before,
                int(state["person"][slot]) if to is None else to,
                float(state["score"][slot]),
            )
            for slot, before in zip(slots.tolist(), old.tolist(), strict=True)
        ]
