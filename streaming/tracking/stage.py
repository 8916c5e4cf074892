"""The stage: detections of a frame in, one row for each confirmed track seen in it out.

What a camera may do to us, and what then happens (each counted in the facts):

- a box that is none (a side not above zero, a value not finite, a score outside 0 to 1) is passed over;
- a frame taken no later than the camera's last one, by up to `REWIND_MS`: a repeat, or out of order. It is passed over;
- one further back: the camera's clock was set back. Its tracks end, ids go on counting, and time goes on from there;
- a frame taken more than `ahead_s` after its record reached the log cannot be: it is passed over and moves nothing.

A track is told from its first sighting on, and without gaps: sightings before it was believed leave with the frame in
which it is, and those in frames in which it was missed with its next one, as rows of their own, with the time and
number of the frame that they are of (`late`).

Nothing is rejected: a rejected record is kept among the dead letters, and raw frames are not to be kept.

What comes out, and the state, is a function of the camera's frames in their order, however these are cut into batches
and in whatever order the boxes of a frame come. All rows of a frame come in one call, as they stand in one record.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import numpy.typing as npt
import polars as pl

from streaming.pipeline import Facts
from streaming.privacy.seal import Plain, Seal
from streaming.state import Column, StateTable
from streaming.tracking.bytetrack import UNSEEN, ByteTrack, Tracks
from streaming.tracking.late import INCOMPLETE, OWN, RECENT, Held, Late, between, held_in, hold, late_rows, layout
from streaming.tracking.looks import has_look, unit_looks
from streaming.tracking.motion import Motion

BOX = ("x0_px", "y0_px", "x1_px", "y1_px")
"""Corners of a detection, null in the row of a frame without any."""

REWIND_MS = 10_000

FRAME_COLUMNS = ("camera_id", "captured_ms", "frame")
"""What all rows of a frame share, with the runner's columns, which begin with an underscore."""

_NEVER = -1
_CAMERA_LAYOUT = {
    "captured_ms": Column(np.int64, default=_NEVER),  # of the camera's last frame
    "next_id": Column(np.int64),
    "repeated_total": Column(np.int64),
    "future_total": Column(np.int64),
    "rewound_total": Column(np.int64),
    "bad_boxes_total": Column(np.int64),
    "lost_looks_total": Column(np.int64),
    "recent_ms": Column(np.int64, (RECENT,), default=_NEVER),  # of the last frames, the oldest first
    "recent_frame": Column(np.int64, (RECENT,), default=_NEVER),
}
_TRACK_LAYOUT = {
    "camera_id": Column(str),
    "track_id": Column(np.int64),  # 0: the row is a camera's
    "hits": Column(np.int32),
    "seen_ms": Column(np.int64),
    "missed": Column(np.bool_, default=False),
    "mean": Column(np.float64, (4, 2)),
    "cov": Column(np.float64, (4, 3)),
}
_TOTALS = {
    "frames repeated": "repeated_total",
    "frames from the future": "future_total",
    "camera clocks set back": "rewound_total",
    "boxes refused": "bad_boxes_total",
    "looks forgotten": "lost_looks_total",
}


class TrackStage:
    """ByteTrack for every camera.

    Args:
        rules: the tracker's.
        dimensions: of the embeddings in the rows, 0 where rows have none.
        ahead_s: how far a frame's time may lie ahead of the log time of its record.
        seal: how looks are kept. One whose key is gone is forgotten, and counted: the track goes on by where it is.
    """

    name = "track"

    def __init__(
        self,
        rules: ByteTrack | None = None,
        *,
        dimensions: int = 0,
        ahead_s: float = 60.0,
        seal: Seal | None = None,
    ) -> None:
        self._rules, self._dimensions, self._ahead_ms = rules or ByteTrack(), dimensions, round(ahead_s * 1000)
        self._seal = seal or Plain()

    def new_state(self) -> StateTable:
        """A row a camera, for good, and a row a living track."""
        look = {"look": Column(np.uint8, (self._seal.width(self._dimensions),))} if self._dimensions else {}
        held = layout(max(1, self._rules.confirm_hits - 1))
        return StateTable(self.name, {**_CAMERA_LAYOUT, **_TRACK_LAYOUT, **held, **look}, partitioned=True)

    def facts(self, state: StateTable) -> Facts:
        """What was passed over, and how often a clock was set back."""
        # Only cameras have other than 0 there, and cameras are never forgotten: free slots add nothing.
        return Facts({name: int(state[column].sum()) for name, column in _TOTALS.items()})

    def __call__(self, rows: pl.DataFrame, state: StateTable) -> pl.DataFrame:
        """Rows with `FRAME_COLUMNS`, `BOX`, `score`, and `embedding` where there are any, in the order of their frames,
        to those of confirmed tracks with their `track_id`, ascending within a frame; a frame that shows none is one
        row, null but for its own columns. Before a frame's rows come those of earlier ones that are told with it,
        without an embedding. `INCOMPLETE` says of each frame whether such may follow.

        Raises:
            ValueError: an embedding is not of `dimensions` floats.
        """
        if rows.is_empty():
            return rows.with_columns(track_id=pl.lit(None, pl.Int64))
        frames = _Frames(rows, self._dimensions)
        cameras = {name: _Camera(name, frames.partition[name], state, self._seal) for name in frames.partition}
        for number, name in enumerate(frames.camera_id):
            camera, now_ms = cameras[name], int(frames.captured_ms[number])
            if now_ms > int(frames.log_ms[number]) + self._ahead_ms:
                camera.totals["future_total"] += 1
            elif camera.captured_ms - REWIND_MS <= now_ms <= camera.captured_ms:
                camera.totals["repeated_total"] += 1
            else:
                mine, bad = frames.boxes_of(number)
                camera.totals["bad_boxes_total"] += bad
                frames.track_id[mine], late, frames.incomplete[number] = camera.see(
                    self._rules, (now_ms, int(frames.frame[number])), frames.boxes[mine], frames.scores[mine],
                    frames.looks[mine], frames.own[mine],
                )  # fmt: skip
                frames.late += [Late(number, track_id, held) for track_id, held in late]
                frames.answered[number] = True
        for camera in cameras.values():
            camera.remember(state)
        return frames.told()


class _Frames:
    """The frames of a batch, F of them, and their N rows sorted by frame and box."""

    def __init__(self, rows: pl.DataFrame, dimensions: int) -> None:
        frame = [*FRAME_COLUMNS, "_partition", "_offset"]
        numbered = rows.with_columns(_frame=pl.struct(frame).rank("dense"), _row=pl.int_range(pl.len()))
        numbered = numbered.with_columns(_frame=pl.col("_row").min().over("_frame"))
        # Within a frame by the boxes: the order in which a detector names them must not matter.
        self.rows = numbered.sort("_frame", *BOX, "score", "_row", nulls_last=True)
        heads = self.rows.group_by("_frame", maintain_order=True).first()
        self._heads = heads
        self.camera_id: list[str] = heads["camera_id"].to_list()
        self.partition = dict(zip(self.camera_id, heads["_partition"].to_list(), strict=True))
        self.captured_ms = heads["captured_ms"].to_physical().to_numpy()
        self.log_ms = heads["_ingest_time_ms"].to_physical().to_numpy()
        self.boxes = self.rows.select(pl.col(BOX).cast(pl.Float64).fill_null(np.nan)).to_numpy()
        self.frame = heads["frame"].to_numpy()
        own = [pl.col(name) if name in rows.columns else pl.lit(None).alias(name) for name in OWN]
        self.own = self.rows.select(own).cast(pl.Float32).fill_null(np.nan).to_numpy()
        self.late: list[Late] = []
        self.incomplete = np.zeros(heads.height, dtype=np.bool_)
        self.scores = self.rows["score"].cast(pl.Float64).fill_null(np.nan).to_numpy()
        self.looks = (
            unit_looks(self.rows["embedding"], dimensions) if dimensions else np.zeros((len(self.scores), 0), "f4")
        )
        self.track_id = np.full(self.rows.height, UNSEEN)
        self.answered = np.zeros(heads.height, dtype=np.bool_)
        of_frame = self.rows["_frame"].to_numpy()
        self._bounds = np.append(np.searchsorted(of_frame, heads["_frame"].to_numpy()), len(of_frame))
        with np.errstate(invalid="ignore"):
            sides = (self.boxes[:, 2:] > self.boxes[:, :2]).all(axis=1)
            self._is_good = np.isfinite(self.boxes).all(axis=1) & sides & (self.scores >= 0) & (self.scores <= 1)
        self._is_box = self.rows.select(pl.any_horizontal(pl.col(BOX).is_not_null())).to_series().to_numpy()

    def boxes_of(self, number: int) -> tuple[npt.NDArray[np.int64], int]:
        """Rows of a frame that are boxes, and how many claim to be and are not."""
        within = np.arange(self._bounds[number], self._bounds[number + 1])
        good = within[self._is_good[within]]
        return good, int(self._is_box[within].sum()) - len(good)

    def told(self) -> pl.DataFrame:
        """What leaves: rows of confirmed tracks, those of earlier frames that are told with this one, and a row for
        every frame that was answered and shows none."""
        seen = self.rows.with_columns(track_id=pl.Series(self.track_id)).filter(pl.col("track_id") != UNSEEN)
        quiet = self._heads.filter(pl.Series(self.answered)).join(seen, on="_frame", how="anti")
        kept = [pl.col(name) for name in quiet.columns if name in FRAME_COLUMNS or name.startswith("_")]
        parts = [seen, quiet.select(kept)]
        if self.late:
            parts.append(late_rows(self.late, self._heads, seen.schema))
        incomplete = self._heads.select("_frame", pl.Series(INCOMPLETE, self.incomplete))
        rows = pl.concat(parts, how="diagonal").join(incomplete, on="_frame", how="left")
        return rows.sort("_frame", "captured_ms", "track_id").drop("_frame", "_row")


class _Camera:
    """One camera while a batch lasts."""

    def __init__(self, name: str, partition: int, state: StateTable, seal: Seal) -> None:
        self._name, self._partition, self._seal = name, partition, seal
        (slot,) = state.slots([_camera_key(name)], [partition])
        self.captured_ms = int(state["captured_ms"][slot])
        self._next_id = max(1, int(state["next_id"][slot]))
        self.totals = {column: int(state[column][slot]) for column in _TOTALS.values()}
        living = np.flatnonzero((state["track_id"] > 0) & (state["camera_id"] == name))
        living = living[np.argsort(state["track_id"][living])]
        self._held = held_in(state, living)
        recent = zip(state["recent_ms"][slot].tolist(), state["recent_frame"][slot].tolist(), strict=True)
        self._recent = [one for one in recent if one[0] != _NEVER]
        self._tracks = self._before = Tracks(
            state["track_id"][living],
            state["hits"][living],
            state["seen_ms"][living],
            state["missed"][living],
            Motion(state["mean"][living], state["cov"][living]),
            self._opened(state, living) if "look" in state.layout else np.zeros((len(living), 0), np.float32),
        )

    def _opened(self, state: StateTable, living: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """Looks of these tracks, (N, D); those whose key is gone are forgotten."""
        numbers, sealed = state["track_id"][living], state["look"][living]
        looks = self._seal.open(sealed, [(self._name, number) for number in numbers.tolist()])
        lost = sealed.any(axis=1) & ~has_look(looks)
        state["look"][living[lost]] = 0
        state.touch([_track_key(self._name, number) for number in numbers[lost].tolist()])
        self.totals["lost_looks_total"] += int(lost.sum())
        return looks

    def see(
        self,
        rules: ByteTrack,
        frame: tuple[int, int],
        boxes: npt.NDArray[np.float64],
        scores: npt.NDArray[np.float64],
        looks: npt.NDArray[np.float32],
        own: npt.NDArray[np.float32],
    ) -> tuple[npt.NDArray[np.int64], list[tuple[int, Held]], bool]:
        """A frame, (captured_ms, number): whose each box is, as `ByteTrack.step` says, what is told of earlier frames
        with it, and whether anything may be told of it later."""
        now_ms = frame[0]
        if now_ms < self.captured_ms:
            self.totals["rewound_total"] += 1
            self._tracks, self._recent = Tracks.none(looks.shape[1]), []
        believed = set(self._tracks.track_id[self._tracks.hits >= rules.confirm_hits].tolist())
        self._tracks, told, on_trial = rules.step(self._tracks, self._next_id, now_ms, boxes, scores, looks)
        self._next_id = max(self._next_id, int(self._tracks.track_id.max(initial=0)) + 1)
        self.captured_ms = now_ms
        late: list[tuple[int, Held]] = []
        for row in np.flatnonzero(np.maximum(told, on_trial) != UNSEEN).tolist():
            number, seen = int(max(told[row], on_trial[row])), Held(*frame, own[row])
            kept = [*self._held.get(number, ()), seen]
            if told[row] != UNSEEN:
                for one, after in pairwise(kept):
                    known = [] if number in believed else [one]
                    late += [(number, held) for held in [*known, *between(one, after, self._recent)]]
            self._held[number] = kept if told[row] == UNSEEN else [seen]
        self._recent = [*self._recent[1 - RECENT :], frame]
        return told, late, bool(self._tracks.missed.any() or (on_trial != UNSEEN).any())

    def remember(self, state: StateTable) -> None:
        """Write back what changed."""
        key = _camera_key(self._name)
        (slot,) = state.slots([key], [self._partition])
        state["captured_ms"][slot], state["next_id"][slot] = self.captured_ms, self._next_id
        for column, total in self.totals.items():
            state[column][slot] = total
        state["recent_ms"][slot] = state["recent_frame"][slot] = _NEVER  # a clock that was set back leaves fewer
        for at, frame in enumerate(self._recent):
            state["recent_ms"][slot, at], state["recent_frame"][slot, at] = frame
        gone = np.setdiff1d(self._before.track_id, self._tracks.track_id)
        forgotten = [_track_key(self._name, number) for number in gone.tolist()]
        if forgotten:
            slots = state.slots(forgotten, [self._partition] * len(forgotten))
            state["track_id"][slots] = 0  # a free slot is no track
            hold(state, slots, gone.tolist(), {})
            if "look" in state.layout:
                state["look"][slots] = 0
            state.delete(forgotten)
        old = {number: row for row, number in enumerate(self._before.track_id.tolist())}
        changed = [
            row
            for row, number in enumerate(self._tracks.track_id.tolist())
            if number not in old or self._differs(row, old[number])
        ]
        now = self._tracks.take(np.array(changed, dtype=np.int64))
        keys = [_track_key(self._name, number) for number in now.track_id.tolist()]
        slots = state.slots(keys, [self._partition] * len(keys))
        state["camera_id"][slots] = self._name
        for column in ("track_id", "hits", "seen_ms", "missed"):
            state[column][slots] = getattr(now, column)
        state["mean"][slots], state["cov"][slots] = now.motion
        hold(state, slots, now.track_id.tolist(), self._held)
        if "look" in state.layout:
            tracks = [(self._name, number) for number in now.track_id.tolist()]
            state["look"][slots] = self._seal.seal(now.look, tracks, self.captured_ms)
        state.touch([key, *keys])

    def _differs(self, row: int, before: int) -> bool:
        now, then = self._tracks, self._before
        return bool(now.seen_ms[row] != then.seen_ms[before] or now.missed[row] != then.missed[before])


def _camera_key(name: str) -> str:
    return f"camera/{name}"


def _track_key(name: str, track_id: int) -> str:
    return f"track/{track_id}/{name}"
