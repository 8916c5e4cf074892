"""The stage: sightings of tracks in, the same with the person's identity across the store out, and corrections.

A row leaves at once with the identity that its track has so far: none in the track's first second or so. When a track
is decided, and whenever it changes hands later, a *correction* leaves:

    camera_id, track_id   whose sightings change
    corrects_from_ms      those captured from then on; null in a row that is a sighting
    corrects_person_id    who they were told to be; null for nobody
    person_id, link_score who they are; null for nobody any more

Event time is that of all partitions together: the oldest of those that are not more than `PATIENCE_MS` behind the
newest. A live partition of which nothing more comes has come, by a tick, to `QUIET_MS` before now: a camera that has
stopped holds up nobody who is seen in another. A track is decided when it is past the track's first `decide_s` and the
step they end in, and asked again at some ages (`reviews`). But for ticks, identities are a function of the rows in the
order in which partitions are read, however they are cut into batches. That order matters little: a decision waits for
the partitions that are behind, and looks at when people were seen, not at when that was read. But what was read ahead
is known to it, so two runs that interleave partitions otherwise may differ in a doubtful link.

**Back again.** When a track that was out of sight returns and its person was meanwhile found in another one, the later
link was made on a false premise: it is taken back, corrected to nobody, and decided anew.

**By hand.** `streaming.identities.ledger` merges, splits, undoes and erases on the same state; `corrected` makes rows
of what it changes. What the stage itself makes one of two names (`Decisions.unite`, and `review` of a young person) is
an event there like a merge by hand, listed with its probability; once it is undone, it is not made again. An operator
orders such things in files (`streaming.identities.orders`), which ticks look at. Persons who are to be forgotten
(`streaming.privacy.erasures`) are erased before the next row is looked at; their tracks are corrected to nobody.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Sequence

import numpy as np
import numpy.typing as npt
import polars as pl

from streaming.identities import reviews
from streaming.identities.appearance import Looks
from streaming.identities.decisions import Decisions, Rules
from streaming.identities.ledger import NOBODY, Correction, Ledger, person_id
from streaming.identities.memory import (
    DECIDED,
    ERASED,
    FREE,
    PARTITION,
    PENDING,
    STORE,
    TRACK,
    Memory,
    layout,
    track_key,
)  # fmt: skip
from streaming.identities.obeying import listed, obey
from streaming.identities.orders import IdentityOrders
from streaming.pipeline import Facts
from streaming.privacy.erasures import Orders
from streaming.privacy.seal import Plain, Seal
from streaming.state import Slots, StateTable
from streaming.tracking.late import INCOMPLETE
from streaming.tracking.looks import has_look, unit_looks
from streaming.windows.clock import ORIGIN

log = logging.getLogger(__name__)

PATIENCE_MS = 60_000
QUIET_MS = 5_000
NOTE_MS = 500
"""When a track was last seen, and where, is written down so often, that a row of state is not written each frame."""

_PLENTY, _LATER_MS, _MOST_WEIGHT = 12, 2_000, 32  # looks of a track taken as they come, then one so often, and weight


class IdentityStage:
    """Identities across a store; one worker, since it looks at all cameras.

    Args:
        dimensions: of an embedding.
        rules: how tracks are decided.
        seal: how looks are kept.
        erasures: orders to forget persons.
        orders: about who is who.
    """

    name = "identities"

    def __init__(
        self,
        dimensions: int,
        rules: Rules | None = None,
        seal: Seal | None = None,
        erasures: Orders | None = None,
        orders: IdentityOrders | None = None,
    ) -> None:
        self.rules, self._seal, self._dimensions = rules or Rules(), seal or Plain(), dimensions
        self._erasures, self._orders = erasures, orders

    def new_state(self) -> StateTable:
        """An empty table, shared by all partitions: `streaming.identities.memory`."""
        return StateTable(self.name, layout(self._seal.width(self._dimensions)))

    def facts(self, state: StateTable) -> Facts:
        """Persons told so far, and looks that were forgotten with their keys."""
        # Only the store has other than 0 there.
        return Facts({"persons": int(state["last_person"].sum()), "looks forgotten": int(state["lost"].sum())})

    def __call__(self, rows: pl.DataFrame, state: StateTable) -> pl.DataFrame:
        """Sightings with `camera_id, captured_ms, track_id, x_m, y_m, embedding` (Binary, float32, null where none), in
        the order of their frames, to the same without the embedding, with identities, and corrections among them.

        Raises:
            ValueError: an embedding is not of `dimensions` floats.
        """
        memory, persons, scores = Memory(state), np.zeros(rows.height, np.int64), np.zeros(rows.height)
        made: list[tuple[int, Correction]] = []
        looks = unit_looks(rows["embedding"], self._dimensions)
        seen_well = has_look(looks)
        places = rows.select(pl.col("x_m", "y_m").cast(pl.Float32).fill_null(np.nan)).to_numpy()
        captured_ms, partition = rows["captured_ms"].to_physical().to_numpy(), rows["_partition"].to_numpy()
        track_id = rows["track_id"].fill_null(0).to_numpy()
        incomplete = rows[INCOMPLETE].to_numpy() if INCOMPLETE in rows.columns else np.zeros(rows.height, np.bool_)
        names = rows["camera_id"].to_list()
        if rows.height:
            made += [(0, one) for one in self._forget(memory, int(captured_ms[0]))]
        for frame in _frames(rows):
            now_ms, seen = int(captured_ms[frame[0]]), frame[track_id[frame] > 0]
            camera = memory.camera(names[frame[0]], now_ms)
            before: dict[int, int] = {}
            # Where somebody is yet to be decided, or may be told of late, it must be known who else is in the frame.
            exactly = bool(incomplete[frame[0]]) or self._has_pending(memory, camera, track_id[seen].tolist())
            for row in seen.tolist():
                look = looks[row] if seen_well[row] else None
                slot, last_ms = self._note(memory, camera, int(track_id[row]), now_ms, look, places[row], exactly)
                before[slot] = last_ms
            slots = np.fromiter(before, np.int64, len(before))
            made += [(int(frame[-1]), one) for one in self._contradicted(memory, slots, before, now_ms)]
            persons[seen], scores[seen] = state["person"][slots], Ledger(memory).scores(slots)
            moved_ms = self._move_on(memory, int(partition[frame[0]]), now_ms)
            if moved_ms is not None:
                made += [(int(frame[-1]), one) for one in self._decide(memory, *moved_ms)]
        return self._told(rows, persons, scores, made)

    def tick(self, now_ms: int, partitions: Collection[int], state: StateTable) -> pl.DataFrame:
        """Decide the tracks whose time has come though no camera sends anything; carry out orders about who is who;
        let go of what has had its time by the wall clock, or is to be forgotten: then nobody counts who would have to
        be told."""
        memory, made = Memory(state), list[Correction]()
        self._expire(memory, now_ms)
        for _ in self._forget(memory, now_ms):
            pass
        if self._orders is not None:
            made += obey(memory, self._orders, now_ms)
        for partition in sorted(partitions) if self._waits(state) else ():
            # One far behind now tells of the past, or its clock is wrong: what time it is there, nobody knows.
            if memory.reached(partition) >= now_ms - PATIENCE_MS:
                moved_ms = self._move_on(memory, partition, now_ms - QUIET_MS)
                if moved_ms is not None:
                    made += self._decide(memory, *moved_ms)
        at = pl.lit(now_ms - QUIET_MS).cast(_TIME)
        return self.corrected(made).with_columns(captured_ms=at, frame=pl.lit(0, pl.Int64))

    def corrected(self, corrections: Sequence[Correction]) -> pl.DataFrame:
        """Corrections as rows."""
        return pl.DataFrame(
            {
                "camera_id": [one.camera_id for one in corrections],
                "track_id": [one.track_id for one in corrections],
                "person_id": [person_id(one.new) for one in corrections],
                "link_score": [one.score if one.new else None for one in corrections],
                "corrects_person_id": [person_id(one.old) for one in corrections],
                "corrects_from_ms": [one.from_ms for one in corrections],
            },
            schema=_CORRECTION,
        )

    def _note(
        self, memory: Memory, camera: int, track_id: int, now_ms: int, look: Looks | None, place: Looks, exactly: bool
    ) -> tuple[int, int]:
        """A sighting of a track: its row, and when it was seen before."""
        state, key = memory.state, track_key(camera, track_id)
        if is_new := key not in state:
            slot = memory.slot(key, TRACK)
            state["camera"][slot], state["track_id"][slot], state["first_ms"][slot] = camera, track_id, now_ms
        (slot,) = state.slots([key]).tolist()
        if state["status"][slot] == ERASED:
            look, place = None, np.full(2, np.nan, dtype=np.float32)
        in_time = state["status"][slot] == PENDING and now_ms <= state["first_ms"][slot] + 1000 * self.rules.decide_s
        count, since_ms = int(state["count"][slot]), now_ms - int(state["last_ms"][slot])
        if not (is_new or exactly or since_ms >= NOTE_MS):
            return int(slot), now_ms
        wanted = in_time or (state["status"][slot] == DECIDED and (count < _PLENTY or since_ms >= _LATER_MS))
        if look is not None and wanted:
            mean = memory.open_looks(np.array([slot]), self._seal)
            count = int(state["count"][slot])
            mean += (look - mean) / np.float32(min(count + 1, _MOST_WEIGHT))
            state["look"][slot] = self._seal.seal(mean, memory.names(np.array([slot])), now_ms)[0]
            state["count"][slot] = count + 1 if state["look"][slot].any() else 0  # some may not be kept
        state["last_ms"][slot] = now_ms
        if not np.isnan(place).any() and now_ms - state["place_ms"][slot].max() >= NOTE_MS:
            # The first place stays: there the track began.
            at = 0 if np.isnan(state["place_m"][slot, 0, 0]) else 1 + int(state["place_ms"][slot][1:].argmin())
            state["place_ms"][slot, at], state["place_m"][slot, at] = now_ms, place
        state.touch([key])
        return int(slot), now_ms - since_ms

    def _forget(self, memory: Memory, now_ms: int) -> Iterator[Correction]:
        """Forget who is to be forgotten: first the keys, so that nothing that lies anywhere can be opened again."""
        for order in self._erasures.standing() if self._erasures is not None else ():
            persons = [
                person
                for person in memory.persons_called(order.person)
                if memory.state["first_ms"][memory.tracks_of(person)].min() <= order.asked_ms
            ]
            ledger = Ledger(memory)
            tracks = [name for person in persons for name in memory.names(memory.tracks_of(person))]
            names = {order.person_id, *(f"P{name}" for person in persons for name in ledger.names_of(person))}
            try:
                self._seal.forget(tracks)
                if self._erasures is not None:
                    self._erasures.reach(order, names)
                if self._orders is not None and (persons or order.erased_ms is None):
                    self._orders.forget(names)
            except OSError as error:
                log.error("%s is not forgotten yet: %s", person_id(order.person), error)
                continue
            for person in persons:
                yield from ledger.erase(person, still_on_ms=now_ms - PATIENCE_MS)
            if self._orders is not None and persons:
                self._orders.tell(listed(memory))
            if self._erasures is not None:
                self._erasures.carried_out(order, len(tracks))

    def _has_pending(self, memory: Memory, camera: int, track_ids: list[int]) -> bool:
        """Whether one of these tracks is yet to be decided."""
        state, keys = memory.state, [track_key(camera, track_id) for track_id in track_ids]
        return any(key not in state for key in keys) or bool((state["status"][state.slots(keys)] == PENDING).any())

    def _contradicted(self, memory: Memory, slots: Slots, before: dict[int, int], now_ms: int) -> Iterator[Correction]:
        """Take back links that cannot be: somebody is seen twice at once. A track that was out of sight is back, and
        meanwhile another was taken for its person; the later link was made as if the person had gone, and is wrong."""
        state, ledger = memory.state, Ledger(memory)
        for slot in slots.tolist():
            person = int(state["person"][slot])
            if not person or (now_ms - before[slot] <= NOTE_MS and (state["person"][slots] == person).sum() < 2):
                continue
            others = memory.tracks_of(person)
            camera = state["camera"]
            beside = np.isin(others, slots)
            away = (camera[others] != camera[slot]) & (state["first_ms"][others] > before[slot])
            away &= (np.abs(now_ms - state["last_ms"][others]) <= 2 * NOTE_MS) & ~self._sees_too(memory, slot, others)
            found = others[(beside | away) & (others != slot)]
            if len(found):
                yield ledger.reopen(ledger.latest(np.append(found, slot)))

    def _sees_too(self, memory: Memory, slot: int, others: Slots) -> npt.NDArray[np.bool_]:
        """Whether the cameras of these tracks overlap with that of this one."""
        names, camera = memory.cameras(), memory.state["camera"]
        mine = names[int(camera[slot])]
        pairs = [frozenset({mine, names[number]}) in self.rules.overlapping for number in camera[others].tolist()]
        return np.array(pairs, dtype=np.bool_)

    def _waits(self, state: StateTable) -> bool:
        """Whether a track is yet to be decided."""
        return bool(((state["kind"] == TRACK) & (state["status"] == PENDING)).any())

    def _move_on(self, memory: Memory, partition: int, now_ms: int) -> tuple[int, int] | None:
        """Note how far a partition has come; the ends of the last step that was past, and of the last that is now, if
        that is news."""
        state, key = memory.state, f"partition/{partition}"
        slot = memory.slot(key, PARTITION)
        state["last_ms"][slot] = max(now_ms, int(state["last_ms"][slot]))
        reached = state["last_ms"][memory.of_kind(PARTITION)]
        oldest = int(reached[reached >= reached.max() - PATIENCE_MS].min())
        step_ms = round(1000 * self.rules.step_s)
        end = oldest // step_ms * step_ms
        store = int(state.slots(["store"])[0])
        if state["kind"][store] == FREE:
            store = memory.slot("store", STORE)
        if end <= state["last_ms"][store]:
            return None
        since_ms, state["last_ms"][store] = int(state["last_ms"][store]), end
        state.touch(["store"])
        return since_ms, end

    def _decide(self, memory: Memory, since_ms: int, until_ms: int) -> Iterator[Correction]:
        """Every step that is over, in turn."""
        state, step_ms = memory.state, round(1000 * self.rules.step_s)
        self._expire(memory, until_ms)
        pending = np.flatnonzero((state["kind"] == TRACK) & (state["status"] == PENDING))
        ends = (state["first_ms"][pending] + round(1000 * self.rules.decide_s)) // step_ms * step_ms + step_ms
        again = ends <= since_ms  # they were decided before, and taken back: as of now, when more is known
        ends[again] = (since_ms // step_ms + 1) * step_ms
        for end in sorted({*ends[ends <= until_ms].tolist(), *reviews.steps(since_ms, until_ms, step_ms)}):
            for are_again in (True, False):
                due = pending[(ends == end) & (again == are_again)]
                due = due[np.lexsort([state["track_id"][due], state["camera"][due]])]
                decisions = Decisions(self.rules, self._seal, memory, end, due, are_again=are_again)
                yield from decisions.decide()
            for tracks in reviews.due(memory, end, step_ms):
                yield from decisions.review(tracks)
            yield from decisions.unite(reviews.unions(memory, end, step_ms))

    def _expire(self, memory: Memory, now_ms: int) -> None:
        state = memory.state
        old = (state["kind"] == TRACK) & (state["last_ms"] < now_ms - round(1000 * self.rules.retention_s))
        if old.any():
            Ledger(memory).forget_tracks(memory.track_keys(np.flatnonzero(old)))

    def _told(
        self, rows: pl.DataFrame, persons: np.ndarray, scores: np.ndarray, made: Sequence[tuple[int, Correction]]
    ) -> pl.DataFrame:
        """Sightings, each correction behind the row that led to it."""
        known = persons != NOBODY
        sightings = rows.drop("embedding", INCOMPLETE, strict=False).with_columns(
            pl.Series("person_id", [person_id(person) for person in persons.tolist()], pl.String),
            pl.Series("link_score", np.where(known, scores, np.nan).astype(np.float32)).fill_nan(None),
            corrects_person_id=pl.lit(None, pl.String),
            corrects_from_ms=pl.lit(None, _TIME),
            _row=pl.int_range(pl.len()),
        )
        if not made:
            return sightings.drop("_row")
        at = [row for row, _ in made]
        shared = [name for name in (*ORIGIN, "captured_ms", "frame", "_row") if name in sightings.columns]
        corrections = self.corrected([one for _, one in made]).hstack(sightings[at].select(shared))
        return pl.concat([sightings, corrections], how="diagonal").sort("_row", maintain_order=True).drop("_row")


_TIME = pl.Datetime("ms", "UTC")
_CORRECTION = {
    "camera_id": pl.String(),
    "track_id": pl.Int64(),
    "person_id": pl.String(),
    "link_score": pl.Float32(),
    "corrects_person_id": pl.String(),
    "corrects_from_ms": _TIME,
}


def _frames(rows: pl.DataFrame) -> Iterator[np.ndarray]:
    """Rows of one frame after another."""
    if rows.is_empty():
        return
    same = rows.select(pl.struct("camera_id", "captured_ms", "_partition", "_offset").rle_id()).to_series().to_numpy()
    yield from np.split(np.arange(rows.height), np.flatnonzero(np.diff(same)) + 1)
