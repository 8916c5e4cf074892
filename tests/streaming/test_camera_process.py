"""A camera process from source to log: what is sent, what is dropped, and how it comes back."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import polars as pl
import pytest

from streaming.cameras.back_off import BackOff
from streaming.cameras.capture import CameraProcess, CaptureConfig, CaptureStatus
from streaming.cameras.definition import Camera
from streaming.cameras.record import FrameEncoder
from streaming.cameras.source import BadFrame, BadSource, Captured, SourceInfo, SourceLost
from streaming.codec import Decoder, PackagedRegistry
from streaming.features.jpeg import BadJpeg, Image
from streaming.records import Records
from tests.camera_frames import T0_MS
from tests.waiting import PATIENCE_S, wait_until

CAMERA = Camera(id="door", source="rtsp://u:pa55@h/x", purpose="count visitors", retention_days=7, fps=10.0)
QUICK = CaptureConfig(back_off=BackOff(0.001, 0.002), retry_s=0.001)

Step = Captured | Exception


def frame(number: int, stated_ms: int | None = None) -> Captured:
    """A frame of a smart camera, `number` tenths of a second after the first."""
    return Captured(number / 10, 64, 48, None, [], stated_ms)


@dataclass
class Scripted:
    """Does at each opening what is next written down, and is then at its end."""

    openings: Sequence[Sequence[Step] | Exception]
    live: bool = False
    opened: int = 0
    closed: int = 0
    _steps: list[Step] = field(default_factory=list)

    def open(self) -> SourceInfo:
        script = self.openings[min(self.opened, len(self.openings) - 1)]
        self.opened += 1
        if isinstance(script, Exception):
            raise script
        self._steps = list(script)
        return SourceInfo(64, 48, 10.0)

    def read(self) -> Captured | None:
        if not self._steps:
            return None
        step = self._steps.pop(0)
        if isinstance(step, Exception):
            raise step
        return step

    def close(self) -> None:
        self.closed += 1


class Log:
    """Keeps what it is given; `gate` may hold it up, and `refusals` are answered with no."""

    def __init__(self, refusals: int = 0) -> None:
        self.values: list[bytes] = []
        self.gate = threading.Event()
        self.gate.set()
        self.asked = threading.Event()
        self._refusals = refusals

    def __call__(self, key: bytes, value: bytes, stopping: threading.Event) -> bool:
        assert key == b"door"
        self.asked.set()
        assert self.gate.wait(PATIENCE_S)
        if self._refusals:
            self._refusals -= 1
            return False
        self.values.append(value)
        return True

    @property
    def rows(self) -> pl.DataFrame:
        decoded = Decoder("camera-frames", PackagedRegistry()).decode(
            Records.of([b"door"] * len(self.values), self.values)
        )
        assert not decoded.bad
        return decoded.frame.with_columns(pl.col("captured_ms").cast(pl.Int64))


def hurrying(step_s: float = 1.0) -> Callable[[], float]:
    """A clock that goes on by a second whenever it is asked: whatever is recorded is due at once."""
    ticks = itertools.count()
    return lambda: T0_MS / 1000 + step_s * next(ticks)


def process(
    source: Scripted, log: Log, stopping: threading.Event | None = None, config: CaptureConfig = QUICK
) -> CameraProcess:
    encoder = FrameEncoder(CAMERA, PackagedRegistry(), 100_000)
    return CameraProcess(CAMERA, source, encoder, log, stopping or threading.Event(), now_s=hurrying(), config=config)


def roomy(frames: int) -> CaptureConfig:
    return CaptureConfig(buffer_frames=frames, back_off=QUICK.back_off, retry_s=QUICK.retry_s)


def test_every_frame_of_a_recording_is_sent_once_with_the_time_it_is_due() -> None:
    source, log = Scripted([[frame(n) for n in range(20)]]), Log()
    camera = process(source, log, config=roomy(20))
    camera.run()
    rows = log.rows
    assert rows["frame"].diff().drop_nulls().to_list() == [1] * 19
    assert rows["captured_ms"].diff().drop_nulls().to_list() == [100] * 19
    assert T0_MS < rows["captured_ms"][0] < T0_MS + 10_000
    assert camera.status == CaptureStatus(state="ended", captured=20, sent=20)
    assert source.closed >= 1


def test_when_kafka_is_slow_the_oldest_are_dropped_and_counted_and_the_newest_is_sent() -> None:
    source, log = Scripted([[frame(n) for n in range(50)]]), Log()
    log.gate.clear()
    camera = process(source, log, config=roomy(4))
    runner = threading.Thread(target=camera.run)
    runner.start()
    wait_until(lambda: camera.status.captured == 50)
    log.gate.set()
    runner.join(PATIENCE_S)
    status, rows = camera.status, log.rows
    assert status.captured == 50 == status.sent + status.dropped
    assert rows["frame"].to_list()[-4:] == [T0_MS + n for n in (47, 48, 49, 50)]  # numbered from the clock at the start
    assert status.sent in (4, 5)  # those in the buffer, and one that may have been under way
    assert rows["dropped_total"][-1] == status.dropped


def test_a_frame_that_kafka_does_not_take_is_tried_again() -> None:
    log = Log(refusals=3)
    camera = process(Scripted([[frame(n) for n in range(5)]]), log, config=roomy(6))
    camera.run()
    assert log.rows["frame"].diff().drop_nulls().to_list() == [1] * 4
    assert (camera.status.sent, camera.status.refused, camera.status.dropped) == (5, 3, 0)


def test_a_camera_that_is_lost_is_tried_again_until_it_is_there() -> None:
    gone = SourceLost("rtsp://***@h/x: refused")
    source = Scripted([gone, gone, [frame(0), SourceLost("silent")], gone, [frame(0)]], live=True)
    log, stopping = Log(), threading.Event()
    camera = process(source, log, stopping)
    runner = threading.Thread(target=camera.run)
    runner.start()
    wait_until(lambda: camera.status.sent >= 3)  # the last script again and again
    stopping.set()
    runner.join(PATIENCE_S)
    assert not runner.is_alive()
    assert camera.status.reconnects >= 4
    assert source.closed >= source.opened
    rows = log.rows
    assert (rows["frame"].diff().drop_nulls() > 0).all()
    assert (rows["captured_ms"].diff().drop_nulls() >= 0).all()


def test_why_a_camera_is_lost_is_said(caplog: pytest.LogCaptureFixture) -> None:
    stopping = threading.Event()
    config = CaptureConfig(back_off=BackOff(3_600.0, 3_600.0))
    camera = process(Scripted([SourceLost("rtsp://***@h/x: refused")], live=True), Log(), stopping, config)
    runner = threading.Thread(target=camera.run)
    runner.start()
    wait_until(lambda: camera.status.state == "lost")
    assert camera.status.reason == "rtsp://***@h/x: refused"
    stopping.set()  # while it waits for its next try
    runner.join(PATIENCE_S)
    assert not runner.is_alive()
    assert "pa55" not in caplog.text


def test_a_live_camera_that_ends_is_lost_and_a_recording_that_ends_has_ended() -> None:
    stopping = threading.Event()
    source = Scripted([[frame(0)]], live=True)
    camera = process(source, Log(), stopping)
    runner = threading.Thread(target=camera.run)
    runner.start()
    wait_until(lambda: source.opened > 2)
    stopping.set()
    runner.join(PATIENCE_S)
    recording = Scripted([[frame(0)]])
    process(recording, Log()).run()
    assert recording.opened == 1


def test_what_can_never_be_read_ends_the_process_after_what_was_read_is_sent() -> None:
    log = Log()
    with pytest.raises(BadSource, match="damaged"):
        process(Scripted([[frame(0), frame(1), BadSource("damaged")]]), log).run()
    assert len(log.values) == 2


def test_bad_frames_are_counted_and_the_others_sent() -> None:
    log = Log()
    script = [frame(0), BadFrame("cut off"), frame(1), Captured(0.2, 64, 48, cut_off), frame(3)]
    camera = process(Scripted([script]), log, config=roomy(8))
    camera.run()
    assert (camera.status.unusable, camera.status.sent) == (2, 3)


def cut_off() -> Image:
    raise BadJpeg("cut off")


def test_a_live_camera_of_nothing_but_bad_frames_is_opened_anew() -> None:
    stopping = threading.Event()
    source = Scripted([[BadFrame("cut off")] * 400, [frame(0)]], live=True)
    camera = process(source, Log(), stopping)
    runner = threading.Thread(target=camera.run)
    runner.start()
    wait_until(lambda: camera.status.sent >= 1)
    stopping.set()
    runner.join(PATIENCE_S)
    assert source.opened >= 2 and camera.status.unusable == 250


def test_a_smart_camera_is_believed_about_its_times_unless_its_clock_is_wrong() -> None:
    hour_ms = 3_600_000
    near, ahead, back = T0_MS + 4_000, T0_MS + hour_ms, T0_MS - hour_ms
    log, stopping = Log(), threading.Event()
    source = Scripted([[frame(0, near), frame(1, ahead), frame(2, back)], [frame(0)]], live=True)
    camera = process(source, log, stopping, config=roomy(50))
    runner = threading.Thread(target=camera.run)
    runner.start()
    wait_until(lambda: camera.status.sent >= 3)
    stopping.set()
    runner.join(PATIENCE_S)
    times = log.rows["captured_ms"].to_list()
    assert times[0] == near
    assert all(T0_MS <= ms < T0_MS + 600_000 for ms in times) and times == sorted(times)
    assert camera.status.restamped == 2


def test_a_smart_camera_whose_clock_is_set_back_a_little_does_not_take_time_back() -> None:
    log, stopping = Log(), threading.Event()
    source = Scripted(
        [[frame(0, T0_MS + 5_000), frame(1, T0_MS + 3_000), SourceLost("gone")], SourceLost("gone")], True
    )
    config = CaptureConfig(back_off=QUICK.back_off, clock_tolerance_s=1e6)
    camera = process(source, log, stopping, config)
    runner = threading.Thread(target=camera.run)
    runner.start()
    wait_until(lambda: camera.status.sent == 2)
    stopping.set()
    runner.join(PATIENCE_S)
    assert log.rows["captured_ms"].to_list() == [T0_MS + 5_000] * 2


def test_a_recording_that_is_not_due_yet_does_not_hold_up_the_end() -> None:
    stopping, log = threading.Event(), Log()
    source = Scripted([[frame(0), frame(36_000)]])
    encoder = FrameEncoder(CAMERA, PackagedRegistry(), 100_000)
    camera = CameraProcess(CAMERA, source, encoder, log, stopping)
    runner = threading.Thread(target=camera.run)
    runner.start()
    wait_until(lambda: camera.status.sent == 1)
    stopping.set()
    runner.join(PATIENCE_S)
    assert not runner.is_alive() and camera.status.state == "ended"


def test_only_as_many_frames_as_are_wanted_are_taken() -> None:
    log = Log()
    fast = [Captured(n / 100, 64, 48, None, []) for n in range(100)]  # 100 a second, and 10 are wanted
    camera = process(Scripted([fast]), log, config=roomy(100))
    camera.run()
    assert camera.status.sent in (10, 11)
