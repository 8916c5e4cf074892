"""One suite for every source of frames, recorded or live; then what each does with its own kind of bad input."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streaming.cameras import source as seam
from streaming.cameras.opening import source_of
from streaming.cameras.source import BadFrame, BadSource, Captured, Source, SourceLost
from tests.camera_frames import T0_MS, person
from tests.camera_sources import (
    FPS,
    FRAMES,
    HEIGHT,
    WIDTH,
    NoRtspServer,
    jpeg_of,
    line,
    mjpeg_server,
    number_of,
    rtsp_server,
    write_clip,
    write_folder,
    write_lines,
)

RECORDED: dict[str, Callable[[Path], Path]] = {
    "h264.mp4": lambda path: write_clip(path),
    "mpeg4.avi": lambda path: write_clip(path, codec="mpeg4"),
    "mjpeg.mkv": lambda path: write_clip(path, codec="mpeg4"),
    "pictures": write_folder,
    "smart.jsonl": write_lines,
}
LIVE = ("http", "rtsp", "pipe")


@pytest.fixture(params=[*RECORDED, *LIVE])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Where the ten grey frames come from."""
    kind = request.param
    with ExitStack() as stack:
        if kind in RECORDED:
            yield str(RECORDED[kind](tmp_path / kind))
        elif kind == "http":
            yield stack.enter_context(mjpeg_server())
        elif kind == "pipe":
            yield str(piped(tmp_path / "pipe.jsonl", "".join(line(number) for number in range(FRAMES)).encode()))
        else:
            try:
                yield stack.enter_context(rtsp_server(write_clip(tmp_path / "clip.mp4")))
            except NoRtspServer as none:
                pytest.skip(f"no RTSP server here: {none}")


def piped(path: Path, data: bytes) -> Path:
    """A named pipe that holds this for whoever opens it first."""
    os.mkfifo(path)
    threading.Thread(target=path.write_bytes, args=(data,), daemon=True).start()
    return path


def read_all(source: Source) -> list[Captured]:
    """To the end, which a live source may also tell by being lost."""
    found = []
    try:
        while (captured := source.read()) is not None:
            found.append(captured)
    except SourceLost:
        assert source.live
    return found


def test_every_frame_comes_once_in_order_and_as_it_was(address: str) -> None:
    source = source_of(address, fps=FPS)
    info = source.open()
    assert (info.width, info.height) == (WIDTH, HEIGHT)
    found = read_all(source)
    pictures = [captured.picture() for captured in found if captured.picture is not None]
    source.close()
    assert {image.shape for image in pictures} == {(HEIGHT, WIDTH, 3)}
    assert {(captured.width, captured.height) for captured in found} == {(WIDTH, HEIGHT)}
    assert [number_of(image) for image in pictures] == list(range(FRAMES))


def test_recorded_frames_are_due_when_they_were_taken(address: str) -> None:
    source = source_of(address, fps=FPS)
    source.open()
    times = [captured.at_s for captured in read_all(source)]
    source.close()
    assert source.live == (not address.startswith("/") or address.endswith("pipe.jsonl"))
    if not source.live:
        assert times == pytest.approx([number / FPS for number in range(FRAMES)], abs=0.002)


def test_what_is_closed_is_not_read_and_can_be_closed_again(address: str) -> None:
    source = source_of(address, fps=FPS)
    source.close()
    with pytest.raises(SourceLost, match="not open"):
        source.read()
    source.open()
    assert source.read() is not None
    source.close()
    source.close()
    with pytest.raises(SourceLost, match="not open") as lost:
        source.read()
    assert "pa55" not in str(lost.value)


@pytest.mark.parametrize("kind", [*RECORDED, "http"])
def test_what_is_opened_again_begins_again(kind: str, tmp_path: Path) -> None:
    with ExitStack() as stack:
        place = stack.enter_context(mjpeg_server()) if kind == "http" else str(RECORDED[kind](tmp_path / kind))
        source = source_of(place, fps=FPS)
        for _ in range(2):
            source.open()
            first = source.read()
            assert first is not None and first.picture is not None and number_of(first.picture()) == 0
        source.close()


@pytest.mark.parametrize("name", ["gone.mp4", "gone.jsonl", "gone"])
def test_what_is_not_there_is_no_source(name: str, tmp_path: Path) -> None:
    with pytest.raises(BadSource, match=name):
        source_of(str(tmp_path / name), fps=FPS).open()


@pytest.mark.parametrize("address", ["http://u:pa55@127.0.0.1:9/x?key=pa55", "rtsp://u:pa55@127.0.0.1:9/x"])
def test_a_camera_that_does_not_answer_is_lost_and_its_password_not_told(address: str) -> None:
    with pytest.raises(SourceLost, match=r"\*\*\*@127\.0\.0\.1:9/x.*refused") as lost:
        source_of(address, fps=FPS).open()
    assert "pa55" not in str(lost.value)


def test_a_wrong_password_is_said_and_not_shown(tmp_path: Path) -> None:
    with mjpeg_server() as address, pytest.raises(SourceLost, match="404") as lost:
        source_of(address.replace("key=pa55", "key=pa66"), fps=FPS).open()
    assert "pa66" not in str(lost.value) and "pa55" not in str(lost.value)


# --- video --------------------------------------------------------------------------------------------------------


def test_a_file_that_is_no_video_is_no_source(tmp_path: Path) -> None:
    for name, content in (("a.mp4", b"no video at all"), ("b.mp4", b""), ("c.mp4", os.urandom(5_000))):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(BadSource, match=name):
            source_of(str(tmp_path / name), fps=FPS).open()


def test_a_playlist_may_not_open_what_it_names(tmp_path: Path) -> None:
    """Whoever hands over a clip must not make us ask an address of his choice."""
    with mjpeg_server() as address:
        (tmp_path / "a.m3u8").write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{address}\n#EXT-X-ENDLIST\n")
        with pytest.raises(BadSource):
            source = source_of(str(tmp_path / "a.m3u8"), fps=FPS)
            source.open()
            source.read()


def test_frames_too_large_are_refused_before_they_are_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streaming.cameras.video.MAX_PIXELS", WIDTH * HEIGHT - 1)
    with pytest.raises(BadSource, match=f"{WIDTH} x {HEIGHT} pixels a frame; at most 20,479 are read"):
        source_of(str(write_clip(tmp_path / "a.mp4")), fps=FPS).open()
    assert seam.MAX_PIXELS > 4000 * 3000


@given(cut=st.integers(0, 6_000), damage=st.lists(st.tuples(st.integers(48, 6_000), st.integers(0, 255)), max_size=20))
@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_damaged_clip_gives_frames_or_reasons_and_never_a_crash(
    cut: int, damage: list[tuple[int, int]], tmp_path: Path
) -> None:
    whole = tmp_path / "whole.avi"
    data = bytearray(whole.read_bytes() if whole.exists() else write_clip(whole, codec="mpeg4").read_bytes())
    for at, value in damage:
        data[at % len(data)] = value
    (tmp_path / "a.avi").write_bytes(data[: len(data) - cut % len(data)])
    source = source_of(str(tmp_path / "a.avi"), fps=FPS)
    try:
        source.open()
        for _ in range(50):
            try:
                if (captured := source.read()) is None:
                    break
                assert captured.picture is not None and captured.picture().shape[2] == 3
            except BadFrame:
                continue
    except BadSource:
        pass
    finally:
        source.close()


# --- pictures -----------------------------------------------------------------------------------------------------


def test_a_picture_that_cannot_be_read_is_a_bad_frame_and_the_next_is_not(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "pictures")
    (folder / "000.jpg").write_bytes(b"no picture")
    (folder / "002.jpg").write_bytes(jpeg_of(2)[:-20])
    (folder / "003.png").write_bytes((folder / "003.png").read_bytes()[:60])
    source = source_of(str(folder), fps=FPS)
    assert source.open().width == WIDTH
    good, bad = [], []
    for number in range(FRAMES):
        try:
            captured = source.read()
            assert captured is not None
            good.append((number, captured.at_s))
        except BadFrame as fault:
            bad.append(str(fault).split(":")[0])
    assert source.read() is None
    assert bad == ["000.jpg", "002.jpg", "003.png"]
    assert good == [(number, number / FPS) for number in range(FRAMES) if number not in (0, 2, 3)]


def test_a_png_that_claims_too_much_is_not_decoded(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "pictures")
    bomb = (folder / "001.png").read_bytes()
    (folder / "001.png").write_bytes(bomb[:16] + (60_000).to_bytes(4, "big") * 2 + bomb[24:])
    source = source_of(str(folder), fps=FPS)
    source.open()
    source.read()
    with pytest.raises(BadFrame, match="60000 x 60000 pixels"):
        source.read()


def test_a_folder_without_pictures_is_no_source(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no picture")
    with pytest.raises(BadSource, match="there is no picture in it"):
        source_of(str(tmp_path), fps=FPS).open()


# --- smart cameras ------------------------------------------------------------------------------------------------


def test_what_a_smart_camera_saw_is_taken_as_it_says(tmp_path: Path) -> None:
    source = source_of(str(write_lines(tmp_path / "a.jsonl")), fps=FPS)
    source.open()
    captured = source.read()
    source.close()
    assert captured is not None
    assert captured.detections == [person(score=0.5)]
    assert captured.stated_ms == T0_MS


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("{", "EOF while parsing"),
        ("[]", "Input should be an object"),
        (line(1, width=0), "width: Input should be greater than or equal to 1"),
        (line(1, width="160"), "width: Input should be a valid integer"),
        (line(1, detections=[{"box": [1, 2, 3], "score": 1}]), "detections.0.box: List should have at least 4 items"),
        (line(1, detections=[{"box": [1, 2, 3, 4], "score": 2}]), "detections.0.score: Input should be less than"),
        (line(1, detections=[{"box": [1, 2, 3, 4], "score": 1, "crop": "?"}]), "not base64"),
        (line(1, jpeg="AAAA"), "its picture: not JPEG"),
        (line(1, height=127), "its picture is 160 x 128, and the line says 160 x 127"),
        (line(1, captured_ms=-1), "captured_ms: Input should be greater than or equal to 0"),
        (line(1, colour="red"), "colour: Extra inputs are not permitted"),
        (line(1).replace("0.5", "NaN"), "detections.0.score"),
    ],
)
def test_a_line_that_is_wrong_is_a_bad_frame_and_the_next_is_not(wrong: str, said: str, tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text(line(0) + wrong.rstrip("\n") + "\n" + line(2))
    with closing(source_of(str(file), fps=FPS)) as source:
        source.open()
        assert source.read() is not None
        with pytest.raises(BadFrame) as bad:
            source.read()
        assert said in str(bad.value)
        third = source.read()
        assert third is not None and third.stated_ms == T0_MS + 200
        assert source.read() is None


def test_a_line_without_end_is_not_held_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streaming.cameras.smart.MAX_LINE_BYTES", 10_000)
    (tmp_path / "a.jsonl").write_text(line(0) + "x" * 50_000 + "\n" + line(2))
    source = source_of(str(tmp_path / "a.jsonl"), fps=FPS)
    source.open()
    source.read()
    with pytest.raises(BadFrame, match="a line of more than 10,000 bytes"):
        source.read()
    third = source.read()
    assert third is not None and third.stated_ms == T0_MS + 200
    source.close()


def test_lines_without_times_come_at_the_rate_of_the_camera(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("".join(line(number, captured_ms=None) for number in range(3)))
    source = source_of(str(tmp_path / "a.jsonl"), fps=4.0)
    source.open()
    assert [captured.at_s for captured in read_all(source)] == [0.0, 0.25, 0.5]
    source.close()


def test_a_file_of_nothing_but_wrong_lines_is_no_source(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("x\ny\n")
    with pytest.raises(BadSource, match="not one frame in it; the first line: Invalid JSON"):
        source_of(str(tmp_path / "a.jsonl"), fps=FPS).open()


@given(lines=st.lists(st.binary(max_size=80), max_size=6))
@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_lines_crash(lines: list[bytes], tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(line(0).encode() + b"\n".join(lines) + b"\n")
    with closing(source_of(str(tmp_path / "a.jsonl"), fps=FPS)) as source:
        source.open()
        for _ in range(200):
            try:
                if source.read() is None:
                    return
            except BadFrame:
                continue
        pytest.fail("never ended")
