"""Frames of cameras, for as long as somebody looks: read from Kafka on demand, shown blurred, kept nowhere else.

A frame is shown once it was said who is in it, and in all frames up to `_SPAN_MS` later: a track is confirmed late, and
before that nobody knows which heads are to be covered. So pictures are that much behind.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

import polars as pl
from starlette.concurrency import run_in_threadpool

from serve.gateway.broker import BrokerHealth
from serve.gateway.reader import Feed, Follower
from serve.gateway.store.board import StoreBoard
from serve.gateway.store.rows import Box
from serve.gateway.streams import now_ms
from streaming.features.blurring import blurred_jpeg
from streaming.features.jpeg import BadJpeg
from streaming.store.plan import MAX_THINGS

_IDLE_S = 10.0  # nobody asked for so long: stop reading
_BACK_S = 5.0  # where reading begins
_SPAN_MS = 1_500  # a track on trial is confirmed or given up in a second
_APART_MS = 150  # of the frames of a camera that sends more often the others are passed over
_FRAMES_KEPT = 48  # of a camera that is looked at, until it is known who is in them: seven seconds at least
_UNSEEN = (1_000, 4)  # both, of a camera that nobody looks at: enough to begin with
_CHECK_S = 0.05


class Frame(NamedTuple):
    """A frame of a camera, as it came."""

    camera_id: str
    captured_ms: int
    number: int
    jpeg: bytes
    boxes: tuple[Box, ...]  # that a smart camera sent with it


class Shown(NamedTuple):
    """A frame as it may be looked at."""

    captured_ms: int
    jpeg: bytes


class FrameWindow:
    """The newest frames of the cameras that are looked at. One event loop owns it.

    Args:
        feed: of camera.frames.
        board: knows who is in them.
    """

    def __init__(self, feed: Feed, board: StoreBoard) -> None:
        self.broker = BrokerHealth(frozenset({feed.source.topic}), now_ms())
        self.bad_records = 0
        self._feed, self._board = feed, board
        self._frames: dict[str, deque[Frame]] = {}
        self._asked_s: dict[str, float] = {}
        self._shown: dict[str, Shown] = {}
        self._reading: asyncio.Task[None] | None = None

    async def newest(self, camera_id: str, after_ms: int, wait_s: float) -> Shown | None:
        """The newest frame of a camera whose people are known, taken after a moment; None if there is none in time."""
        loop = asyncio.get_running_loop()
        self._asked_s[camera_id] = loop.time()
        self._frames.setdefault(camera_id, deque())
        if self._reading is None or self._reading.done():
            self._reading = asyncio.create_task(self._read())
        deadline_s = loop.time() + wait_s
        while (known := self._known(camera_id, after_ms)) is None:
            if loop.time() >= deadline_s:
                return None
            await asyncio.sleep(_CHECK_S)
        frame, around = known
        held = self._shown.get(camera_id)
        if held is None or held.captured_ms != frame.captured_ms:
            try:
                jpeg = await run_in_threadpool(blurred_jpeg, frame.jpeg, [*frame.boxes, *around])
                held = Shown(frame.captured_ms, jpeg)
            except BadJpeg:
                self.bad_records += 1
                with contextlib.suppress(ValueError):
                    self._frames[camera_id].remove(frame)
                return None
            self._shown[camera_id] = held
        return held

    def stop(self) -> None:
        """Read no more."""
        if self._reading is not None:
            self._reading.cancel()

    def _known(self, camera_id: str, after_ms: int) -> tuple[Frame, list[Box]] | None:
        for frame in reversed(self._frames.get(camera_id, ())):
            if frame.captured_ms <= after_ms:
                return None
            boxes = self._board.boxes_around(camera_id, frame.captured_ms, frame.number, _SPAN_MS)
            if boxes is not None:
                return frame, boxes
        return None

    async def _read(self) -> None:
        follower = Follower(
            self._feed, self, lambda _: None, lambda frame, *_: frame_rows(frame), self._take, history_s=_BACK_S
        )
        reading = asyncio.create_task(follower.run())
        try:
            while self._asked_s:  # once nobody looks any more, all is forgotten
                await asyncio.sleep(1.0)
                now_s = asyncio.get_running_loop().time()
                for camera_id in [name for name, asked in self._asked_s.items() if now_s - asked > _IDLE_S]:
                    del self._asked_s[camera_id]
                    self._shown.pop(camera_id, None)
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
            self._frames.clear()
            self._shown.clear()

    def _take(self, rows: Sequence[Frame], newest_ms: int) -> set[str]:
        for row in rows:
            if row.camera_id not in self._frames and len(self._frames) >= MAX_THINGS:
                continue
            held = self._frames.setdefault(row.camera_id, deque())
            apart_ms, kept = (_APART_MS, _FRAMES_KEPT) if row.camera_id in self._asked_s else _UNSEEN
            if not held or not 0 <= row.captured_ms - held[-1].captured_ms < apart_ms:
                held.append(row)
            while len(held) > kept:
                held.popleft()
        return set()


def frame_rows(frame: pl.DataFrame) -> list[Frame]:
    """Rows of camera.frames that have a picture."""
    shown = frame.filter(pl.col("jpeg").is_not_null()).with_columns(
        pl.col("captured_ms").cast(pl.Datetime("ms")).cast(pl.Int64)
    )
    return [
        Frame(
            row["camera_id"],
            row["captured_ms"],
            row["frame"],
            row["jpeg"],
            tuple((one["x0_px"], one["y0_px"], one["x1_px"], one["y1_px"]) for one in row["detections"] or ()),
        )
        for row in shown.iter_rows(named=True)
    ]
