"""What is remembered, as rows of keyed state, and how it is asked.

    store            counters                          partition/P       how far its event time has come
    camera/NAME      its number                        transit/A/B       times from camera A to camera B
    track/C/T        a track of camera number C: who it is, when, where, its look
    event/N          a merge or a split (`ledger`)
    order/ID         an order that was carried out or refused (`obeying`)

Looks are sealed bytes (`streaming.privacy.seal`); nothing else here is made from them, so that erasing the rows of a
person erases all that is known of the person's look.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from streaming.identities.transit import TransitPrior, Transits, learned
from streaming.privacy.seal import Looks, Seal, TrackName
from streaming.state import Column, Slots, StateTable
from streaming.tracking.looks import has_look

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

FREE, STORE, PARTITION, CAMERA, TRANSIT, TRACK, EVENT, ORDER = range(8)
PENDING, DECIDED, ERASED = range(3)
"""What is known of a track: not yet who, who, or nothing any more and nothing to come."""

PLACES = 8
"""Places of a track that are kept, the first and the last, at least `streaming.identities.stage.NOTE_MS` apart."""

_NEVER = -(10**15)


def layout(look_bytes: int) -> dict[str, Column]:
    """Columns of the state; which row uses which is said here."""
    return {
        "kind": Column(np.int8),
        "status": Column(np.int8),  # of a track; of an event: 1 once it is undone; of an order: what became of it
        "camera": Column(np.int32),  # number, of a camera and a track; of a transit: from
        "to_camera": Column(np.int32),  # of a transit
        "track_id": Column(np.int64),
        "person": Column(np.int64),  # of a track, 0 for none; of an event: who keeps the name
        "linked": Column(np.int64),  # of a track: who it was taken for; of an event: the other person
        "number": Column(
            np.int64
        ),  # of an event, a track's link: their order; of an order: its event; of the store: the last
        "moved": Column(np.int64),  # of a track: the last event by which it is its person's; 0 for its link
        "last_person": Column(np.int64),  # of the store
        "score": Column(np.float32),  # of the link of a track, and of an event
        "first_ms": Column(np.int64),  # of a track, a camera; of an event: when; of an order: when it was given
        "last_ms": Column(np.int64),  # of a track, a partition
        "count": Column(np.int64),  # of looks in a track's; of times of a transit
        "mean_log": Column(np.float64),  # of a transit
        "m2_log": Column(np.float64),
        "place_ms": Column(np.int64, (PLACES,), default=_NEVER),  # of a track
        "place_m": Column(np.float32, (PLACES, 2), default=np.nan),
        "look": Column(np.uint8, (look_bytes,)),  # of a track: mean of its embeddings, sealed
        "lost": Column(np.int64),  # of the store: looks that nobody could open any more
        "text": Column(str),  # of a camera: its name; of a split: the tracks, a line each
    }


class Memory:
    """The state of the identity stage, while a call lasts."""

    def __init__(self, state: StateTable) -> None:
        self.state = state

    def of_kind(self, kind: int) -> Slots:
        """Slots of all rows of a kind, in no order."""
        return np.flatnonzero(self.state["kind"] == kind)

    def slot(self, key: str, kind: int) -> int:
        """The row of a key, made if there is none."""
        (slot,) = self.state.slots([key])
        self.state["kind"][slot] = kind
        self.state.touch([key])
        return int(slot)

    def next(self, counter: str) -> int:
        """Count the store's counter up by one: `last_person` or `number`."""
        slot = self.slot("store", STORE)
        self.state[counter][slot] += 1
        return int(self.state[counter][slot])

    def camera(self, name: str, now_ms: int) -> int:
        """Number of a camera, from 0; a new one gets the next."""
        key = f"camera/{name}"
        if key not in self.state:
            number = len(self.of_kind(CAMERA))
            slot = self.slot(key, CAMERA)
            self.state["camera"][slot], self.state["first_ms"][slot] = number, now_ms
            self.state["text"][slot] = name
        return int(self.state["camera"][self.state.slots([key])[0]])

    def reached(self, partition: int) -> int:
        """How far the event time of a partition has come; long ago where nothing of it was read."""
        key = f"partition/{partition}"
        return int(self.state["last_ms"][self.state.slots([key])[0]]) if key in self.state else _NEVER

    def cameras(self) -> dict[int, str]:
        """Names by number."""
        slots = self.of_kind(CAMERA)
        return dict(sorted(zip(self.state["camera"][slots].tolist(), self.state["text"][slots].tolist(), strict=True)))

    def transits(self, prior: TransitPrior) -> Transits:
        """What was learned so far."""
        cameras, slots = len(self.of_kind(CAMERA)), self.of_kind(TRANSIT)
        counts, mean, m2 = (np.zeros((cameras, cameras)) for _ in range(3))
        pairs = self.state["camera"][slots], self.state["to_camera"][slots]
        for table, column in ((counts, "count"), (mean, "mean_log"), (m2, "m2_log")):
            table[pairs] = self.state[column][slots]
        return Transits(counts, mean, m2, prior)

    def learn_transit(self, came_from: int, to: int, gap_s: float) -> None:
        """Somebody took this way, for sure."""
        slot = self.slot(f"transit/{came_from}/{to}", TRANSIT)
        self.state["camera"][slot], self.state["to_camera"][slot] = came_from, to
        fields = "count", "mean_log", "m2_log"
        count, mean, m2 = (float(self.state[field][slot]) for field in fields)
        for field, value in zip(fields, learned(count, mean, m2, gap_s), strict=True):
            self.state[field][slot] = value

    def track_keys(self, slots: Slots) -> list[str]:
        """State keys of tracks."""
        pairs = zip(self.state["camera"][slots].tolist(), self.state["track_id"][slots].tolist(), strict=True)
        return [track_key(camera, track_id) for camera, track_id in pairs]

    def names(self, slots: Slots) -> list[TrackName]:
        """What tracks are called outside."""
        cameras = self.cameras()
        pairs = zip(self.state["camera"][slots].tolist(), self.state["track_id"][slots].tolist(), strict=True)
        return [(cameras[camera], track_id) for camera, track_id in pairs]

    def open_looks(self, slots: Slots, seal: Seal) -> Looks:
        """(N, D) looks of tracks, zeros where there is none. One whose key is gone is forgotten, and counted."""
        sealed = self.state["look"][slots]
        looks = seal.open(sealed, self.names(slots))
        lost = slots[sealed.any(axis=1) & ~has_look(looks)]
        if len(lost):
            self.state["look"][lost], self.state["count"][lost] = 0, 0
            self.state.touch(self.track_keys(lost))
            self.state["lost"][self.slot("store", STORE)] += len(lost)
        return looks

    def tracks_of(self, person: int) -> Slots:
        """The tracks of a person, the earliest first."""
        slots = np.flatnonzero((self.state["kind"] == TRACK) & (self.state["person"] == person))
        return self._sorted(slots)

    def persons_called(self, person: int) -> list[int]:
        """Who has this name now: the person, or those into whom the person's tracks were merged, but not those who were
        split off."""
        if len(self.tracks_of(person)):
            return [person]
        state = self.state
        was = np.flatnonzero((state["kind"] == TRACK) & (state["linked"] == person) & (state["person"] != 0))
        of = (state["kind"] == EVENT) & (state["person"] == person) & (state["status"] == 0)
        split_off = "\n".join(keys for keys in state["text"][of] if keys).split("\n")
        was = was[~np.isin(self.track_keys(was), split_off)]
        return [int(other) for other in np.unique(state["person"][was])] if person else []

    def decided(self, since_ms: int | None = None) -> Slots:
        """Tracks of which is known who they are, the earliest first; those seen since then, where it is given."""
        chosen = (self.state["kind"] == TRACK) & (self.state["status"] == DECIDED)
        if since_ms is not None:
            chosen &= self.state["last_ms"] >= since_ms
        return self._sorted(np.flatnonzero(chosen))

    def began_ms(self) -> int:
        """When the first camera was first heard of."""
        return int(self.state["first_ms"][self.of_kind(CAMERA)].min())

    def forget(self, keys: Sequence[str]) -> None:
        """Delete rows, and let nothing of them stand in memory."""
        slots = self.state.slots(keys)
        for column, spec in self.state.layout.items():
            self.state[column][slots] = "" if spec.is_text else spec.default
        self.state.delete(keys)

    def _sorted(self, slots: Slots) -> Slots:
        order = np.lexsort([self.state[name][slots] for name in ("track_id", "camera", "first_ms")])
        return slots[order]


def track_key(camera: int, track_id: int) -> str:
    """State key of a track."""
    return f"track/{camera}/{track_id}"
