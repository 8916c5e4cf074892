"""One camera's process: a thread that captures, and one that sends.

The first does as little as it can, so that a live source is read as fast as it sends: it takes the time, and puts the
frame into the buffer. The second makes JPEG of the oldest there and has it acknowledged before it takes the next.
"""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Protocol

from streaming.cameras.back_off import BackOff
from streaming.cameras.buffer import NewestBuffer
from streaming.cameras.definition import Camera
from streaming.cameras.pacing import Sampler, believed_ms, steady_clock
from streaming.cameras.record import FrameEncoder
from streaming.cameras.source import BadFrame, Captured, Source, SourceInfo, SourceLost

log = logging.getLogger(__name__)

_TAKE_S = 0.2
_RETRY_S = 0.5
_MAX_BAD = 250  # frames in a row, of a live source: it is read anew then
_JOIN_S = 6.0  # a source that is silent says so after five


class Publish(Protocol):
    """Where records go."""

    def __call__(self, key: bytes, value: bytes, stopping: threading.Event) -> bool:
        """Send one and wait until it lies on the log; False if it does not."""


@dataclass(frozen=True)
class CaptureConfig:
    """How a camera process behaves; all but the buffer is for tests."""

    buffer_frames: int = 8  # decoded, 3 to 6 MB each at 1080p
    back_off: BackOff = field(default_factory=BackOff)
    clock_tolerance_s: float = 10.0  # a smart camera's time further from ours than this is not believed
    retry_s: float = _RETRY_S


@dataclass(frozen=True)
class CaptureStatus:
    """How it is; all but the first two are counts since the process began."""

    state: str = "starting"  # starting, running, lost, ended
    reason: str = ""  # why it is lost
    captured: int = 0  # frames wanted and got
    sent: int = 0  # acknowledged by Kafka
    dropped: int = 0  # captured, and driven out by newer ones
    unusable: int = 0  # damaged, or too large
    refused: int = 0  # times that Kafka did not take a frame, which was tried again
    restamped: int = 0  # frames whose own time was not believed
    reconnects: int = 0


@dataclass(frozen=True, slots=True)
class _Stamped:
    captured: Captured
    captured_ms: int
    frame: int


class CameraProcess:
    """From source to log until the source ends or `stopping` is set.

    Args:
        camera: what is known of it.
        source: not open.
        encoder: to records.
        publish: to Kafka.
        stopping: set from outside, as by a signal.
        now_s: UTC in seconds, never falling.
        config: how it behaves.
    """

    def __init__(
        self,
        camera: Camera,
        source: Source,
        encoder: FrameEncoder,
        publish: Publish,
        stopping: threading.Event,
        *,
        now_s: Callable[[], float] | None = None,
        config: CaptureConfig | None = None,
    ) -> None:
        self._camera, self._source, self._encoder, self._publish = camera, source, encoder, publish
        self._stopping, self._now_s = stopping, now_s or steady_clock()
        self._config = config or CaptureConfig()
        self._buffer: NewestBuffer[_Stamped] = NewestBuffer(self._config.buffer_frames)
        self._rng = random.Random()  # nosec B311  # spreads reconnects
        self._lock = threading.Lock()
        self._status = CaptureStatus()
        self._failure: BaseException | None = None
        # Numbers rise over a restart without anything being kept: no camera makes a frame a millisecond.
        self._frame = round(self._now_s() * 1000.0)
        self._last_ms = 0

    @property
    def status(self) -> CaptureStatus:
        """As of now."""
        with self._lock:
            return replace(self._status, dropped=self._buffer.dropped)

    def run(self) -> None:
        """Capture and send.

        What waits when `stopping` is set is not sent any more, but the frame under way is.

        Raises:
            BadSource: nothing can ever be read there.
        """
        capturing = threading.Thread(target=self._capture, name=f"capture {self._camera.id}", daemon=True)
        capturing.start()
        try:
            while not self._stopping.is_set() and not self._buffer.finished:
                self._send()
        except BaseException:
            self._stopping.set()
            raise
        finally:
            capturing.join(_JOIN_S)
        self._tell(state="ended")
        if self._failure is not None:
            raise self._failure

    # --- capturing ---------------------------------------------------------------------------------------------------

    def _capture(self) -> None:
        failures = 0
        try:
            while not self._stopping.is_set():
                before = self.status.captured
                try:
                    self._read(self._source.open())
                    return
                except SourceLost as lost:
                    failures = 1 if self.status.captured > before else failures + 1
                    wait_s = self._config.back_off.delay_s(failures, self._rng)
                    self._tell(state="lost", reason=str(lost))
                    self._count(reconnects=1)
                    log.warning("camera %s is lost, next try in %.1f s: %s", self._camera.id, wait_s, lost)
                    self._stopping.wait(wait_s)
                finally:
                    self._source.close()
        except Exception as failure:  # of the thread, for `run`
            self._failure = failure
        finally:
            self._buffer.close()

    def _read(self, info: SourceInfo) -> None:
        """From an open source to its end. Raises `SourceLost`."""
        log.info("camera %s: %d x %d", self._camera.id, info.width, info.height)
        self._tell(state="running", reason="")
        began_s, sampler, bad = self._now_s(), Sampler(self._camera.fps), 0
        while not self._stopping.is_set():
            try:
                captured = self._source.read()
                bad = 0
            except BadFrame as fault:
                self._unusable(fault)
                bad += 1
                if bad >= _MAX_BAD and self._source.live:
                    raise SourceLost(f"{bad} frames in a row cannot be used; the last: {fault}") from None
                continue
            if captured is None:
                if self._source.live:
                    raise SourceLost(f"{self._camera.shown_source}: has ended")
                return
            at_s = self._now_s() - began_s if self._source.live else captured.at_s
            if sampler.wants(at_s):
                self._put(captured, began_s)

    def _put(self, captured: Captured, began_s: float) -> None:
        if self._source.live:
            stamp_ms, wrong = believed_ms(captured.stated_ms, self._now_s(), self._config.clock_tolerance_s)
            self._count(restamped=int(wrong))
        else:  # recorded: as if it happened now, in its own time
            due_s = began_s + captured.at_s
            while (early_s := due_s - self._now_s()) > 0:
                if self._stopping.wait(early_s):
                    return
            stamp_ms = round(due_s * 1000.0)
        self._last_ms = max(self._last_ms, stamp_ms)
        self._frame += 1
        self._count(captured=1)
        self._buffer.put(_Stamped(captured, self._last_ms, self._frame))

    # --- sending -----------------------------------------------------------------------------------------------------

    def _send(self) -> None:
        waiting = self._buffer.take(_TAKE_S)
        if waiting is None:
            return
        try:
            value = self._encoder.encode(
                waiting.captured,
                captured_ms=waiting.captured_ms,
                frame=waiting.frame,
                dropped_total=self._buffer.dropped,
            )
        except BadFrame as fault:
            self._unusable(fault)
            return
        if self._publish(self._camera.id.encode(), value, self._stopping):
            self._count(sent=1)
        else:
            self._count(refused=1)
            self._buffer.put_back(waiting)
            self._stopping.wait(self._config.retry_s)

    def _unusable(self, fault: BadFrame) -> None:
        if self.status.unusable == 0:
            log.warning("camera %s: a frame cannot be used (only the first is said): %s", self._camera.id, fault)
        self._count(unusable=1)

    def _tell(self, state: str, reason: str = "") -> None:
        with self._lock:
            self._status = replace(self._status, state=state, reason=reason)

    def _count(self, **more: int) -> None:
        with self._lock:
            now = {name: getattr(self._status, name) + count for name, count in more.items()}
            self._status = replace(self._status, **now)
