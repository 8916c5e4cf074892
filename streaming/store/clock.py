"""The store's time: how far all cameras have come.

Each camera has a watermark of its own (`streaming.event_time`), so that one clock that is wrong disturbs no other. The
store's is the least of those that are no more than `hold_s` behind the newest: a camera that fell silent, or whose
clock is behind, holds the others up for so long and no longer. Partitions that are read within `hold_s` of event time
of one another therefore give the same figures in any order. A camera of the plan that was never seen is waited for as
long.

A camera whose frames count on while its capture time falls has had its clock set back: such rows are refused until it
has caught up, since counting them would count people at times when they were not there. A row that is merely out of
order has a lower frame number, and counts. A clock that is ahead is refused by `streaming.store.sightings`; of a clock
that is behind from the start every row is late, and counted as such.

Without rows, ticks move the time on as in `streaming.windows`, `idle_s` behind the wall clock.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from streaming.event_time import Ints, watermarks
from streaming.state import Column, StateTable
from streaming.store.geometry import Bools

CAMERA_LAYOUT = {
    "watermark_ms": Column(np.int64, default=-1),
    "last_ms": Column(np.int64, default=-1),  # event time of the last row
    "newest_ms": Column(np.int64, default=-1),  # of the newest row, and its frame
    "newest_frame": Column(np.int64, default=-1),
    "log_ms": Column(np.int64),
    "of_partition": Column(np.int32),
    "of_offset": Column(np.int64),
    "of_schema_id": Column(np.int32),
}
STORE_LAYOUT = {
    "first_ms": Column(np.int64, default=-1),  # event time of the first row ever
    "reached_ms": Column(np.int64, default=-1),  # the store's time
    "late_total": Column(np.int64),
}
STORE_KEY = "@store"

CLOCK_WENT_BACK = "CameraClockWentBack"

_NEVER = np.iinfo(np.int64).max


def camera_key(camera: str) -> str:
    """State key of a camera."""
    return f"@camera/{camera}"


@dataclass(frozen=True)
class StoreClock:
    """Of the plan's cameras."""

    cameras: Sequence[str]
    hold_ms: int
    idle_ms: int

    def advance(self, rows: pl.DataFrame, state: StateTable) -> tuple[Ints, Bools]:
        """Move on by N rows with `camera_id, _time_ms, frame, _is_correction` and where they came from.

        Returns:
            The store's time after each row (N,), and whether the row's camera had its clock set back (N,).
        """
        camera, time_ms = rows["camera_id"].to_numpy(), rows["_time_ms"].to_numpy()
        frame, tells_time = rows["frame"].to_numpy(), ~rows["_is_correction"].to_numpy()
        (store,) = state.slots([STORE_KEY])
        state.touch([STORE_KEY])
        if state["first_ms"][store] < 0 and tells_time.any():
            state["first_ms"][store] = time_ms[np.argmax(tells_time)]
        came: Ints = np.full((len(time_ms) + 1, len(self.cameras)), -1, np.int64)
        went_back: Bools = np.zeros(len(time_ms), bool)
        for number, name in enumerate(self.cameras):
            key = camera_key(name)
            if key in state:
                came[0, number] = state["watermark_ms"][state.slots([key])[0]]
            mine = np.flatnonzero((camera == name) & tells_time)
            if not len(mine):
                continue
            (slot,) = state.slots([key])
            state.touch([key])
            went_back[mine] = self._went_back(time_ms[mine], frame[mine], int(slot), state)
            good = mine[~went_back[mine]]
            if not len(good):
                continue
            risen = watermarks(time_ms[good], state["last_ms"][slot], state["watermark_ms"][slot])
            came[good + 1, number] = risen[1:]
            state["watermark_ms"][slot], state["last_ms"][slot] = risen[-1], time_ms[good[-1]]
            last = rows.row(int(good[-1]), named=True)
            state["log_ms"][slot], state["of_partition"][slot] = last["_ingest_time_ms"], last["_partition"]
            state["of_offset"][slot], state["of_schema_id"][slot] = last["_offset"], last["_schema_id"]
        reached = self._least(np.maximum.accumulate(came, axis=0), int(state["first_ms"][store]))
        reached = np.maximum.accumulate(np.maximum(reached, state["reached_ms"][store]))[1:]
        state["reached_ms"][store] = reached[-1]
        return reached, went_back

    def of_tick(self, now_ms: int, partitions: Collection[int], state: StateTable) -> int:
        """Where the store's time would be at `now_ms`, if the cameras in `partitions` have had nothing more to say."""
        if STORE_KEY not in state:
            return -1
        came: Ints = np.full((1, len(self.cameras)), -1, np.int64)
        for number, name in enumerate(self.cameras):
            if camera_key(name) not in state:
                continue
            (slot,) = state.slots([camera_key(name)])
            came[0, number] = state["watermark_ms"][slot]
            if came[0, number] >= 0 and int(state["of_partition"][slot]) in partitions:
                quiet_ms = now_ms - int(state["log_ms"][slot]) - self.idle_ms
                came[0, number] += max(quiet_ms, 0)
        (store,) = state.slots([STORE_KEY])
        return int(self._least(came, int(state["first_ms"][store]))[0])

    def last_row(self, partitions: Collection[int], state: StateTable) -> dict[str, int] | None:
        """Where the newest row in these partitions came from: what a tick says goes out with it. None where no camera
        of the plan is in them."""
        keys = [camera_key(name) for name in self.cameras if camera_key(name) in state]
        slots = [slot for slot in state.slots(keys).tolist() if int(state["of_partition"][slot]) in partitions]
        if not slots:
            return None
        newest = max(slots, key=lambda slot: (state["log_ms"][slot], state["of_offset"][slot]))
        return {
            "_partition": int(state["of_partition"][newest]),
            "_offset": int(state["of_offset"][newest]),
            "_ingest_time_ms": int(state["log_ms"][newest]),
            "_schema_id": int(state["of_schema_id"][newest]),
        }

    def _least(self, came: Ints, first_ms: int) -> Ints:
        """The store's time (N,) by the cameras' (N, C), -1 for one never seen."""
        came = np.where(came < 0, first_ms, came)
        counts = came >= came.max(axis=1, keepdims=True) - self.hold_ms
        least: Ints = np.where(counts, came, _NEVER).min(axis=1)
        return least

    @staticmethod
    def _went_back(time_ms: Ints, frame: Ints, slot: int, state: StateTable) -> Bools:
        """(N,) of one camera's rows in their order."""
        times = np.concatenate([[state["newest_ms"][slot]], time_ms])
        frames = np.concatenate([[state["newest_frame"][slot]], frame])
        newest = np.maximum.accumulate(times)
        at = np.maximum.accumulate(np.where(times >= newest, np.arange(len(times)), 0))
        state["newest_ms"][slot], state["newest_frame"][slot] = newest[-1], frames[at[-1]]
        back: Bools = (time_ms < newest[:-1]) & (frame > frames[at[:-1]])
        return back
