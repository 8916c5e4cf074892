"""`sightline camera`: what it keeps, refuses, never shows, and sends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import polars as pl
import pytest

from jobs import cli
from jobs.camera_book import BadCameraFile, read_cameras, to_toml
from jobs.errors import Exit
from jobs.run_cameras import HEAD_BYTES
from streaming.cameras.definition import Camera
from streaming.cameras.publishing import KafkaFrames
from streaming.codec import Decoder, Encoder, PackagedRegistry, load_schema
from streaming.features.frames import CheckFrames
from streaming.features.jpeg import decode_jpeg
from streaming.kafka.admin import ensure_topics, read_all
from streaming.kafka.publisher import Publisher
from streaming.kafka.settings import MAX_RECORD_BYTES, KafkaSettings
from streaming.records import Records
from streaming.topics import CAMERA_FRAMES
from tests.camera_frames import frames, person, reasons
from tests.camera_sources import FPS, FRAMES, HEIGHT, WIDTH, mjpeg_server, number_of, write_clip, write_lines
from tests.waiting import PATIENCE_S

Run = Callable[..., tuple[int, str, str]]

WHY = ("--purpose", "count visitors", "--retention-days", "7")


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs `sightline camera …` in an empty folder: (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SIGHTLINE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("SIGHTLINE_CONFIG", "")
    monkeypatch.setattr("jobs.logs.log_as_json", lambda **_: None)

    def camera(*arguments: str) -> tuple[int, str, str]:
        code = cli.main(["camera", *arguments])
        told = capsys.readouterr()
        return code, told.out, told.err

    return camera


def test_what_is_added_is_listed_and_what_is_removed_is_not(run: Run, tmp_path: Path) -> None:
    write_clip(tmp_path / "clip.mp4")
    identity = "1 0 0 0 1 0 0 0 1"
    code, out, err = run("add", "door", "clip.mp4", *WHY, "--fps", "4", "--homography", identity)
    assert (code, out) == (Exit.OK, f"door: {WIDTH} x {HEIGHT}, {FPS} frames a second\n")
    assert "takes at most 4 of them a second" in err
    assert run("add", "till", "clip.mp4", *WHY, "--size", "80x64")[0] == Exit.OK
    door, till = json.loads(run("ls", "--json")[1])
    assert door == {
        "id": "door", "source": str(tmp_path / "clip.mp4"), "purpose": "count visitors", "retention_days": 7,
        "fps": 4.0, "size": f"{WIDTH}x{HEIGHT}", "homography": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
    }  # fmt: skip
    assert till["size"] == "80x64" and till["homography"] is None
    table = run("ls")[1]
    assert "count visitors" in table and "7 days" in table and "80x64" in table
    assert run("rm", "door")[0] == Exit.OK
    assert [camera["id"] for camera in json.loads(run("ls", "--json")[1])] == ["till"]


def test_the_file_lies_beside_the_settings_and_is_its_owners_alone(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_clip(tmp_path / "clip.mp4")
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "mine.toml").write_text("")
    monkeypatch.setenv("SIGHTLINE_CONFIG", str(tmp_path / "etc" / "mine.toml"))
    assert run("add", "door", "clip.mp4", *WHY)[0] == Exit.OK
    assert (tmp_path / "etc" / "cameras.toml").stat().st_mode & 0o777 == 0o600


def test_no_secret_of_an_address_is_printed_and_none_is_lost(run: Run, tmp_path: Path) -> None:
    with mjpeg_server() as address:
        code, out, err = run("add", "door", address, *WHY, "--json")
        assert code == Exit.OK
        said = out + err + "".join(run("ls")[1:]) + "".join(run("ls", "--json")[1:])
        assert "pa55" not in said and "http://***@127.0.0.1" in said
        (kept,) = read_cameras(tmp_path / "cameras.toml")
        assert kept.source == address
    code, _, err = run("add", "gone", address, *WHY)  # the server is gone
    assert code == Exit.UNAVAILABLE and "pa55" not in err and err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("add", "door", "clip.mp4", *WHY), "there is a camera 'door' already"),
        (("add", "till", "clip.mp4", "--retention-days", "7"), "Missing option '--purpose'"),
        (("add", "till", "clip.mp4", "--purpose", "x"), "Missing option '--retention-days'"),
        (("add", "till", "clip.mp4", "--purpose", " ", "--retention-days", "7"), "say what the pictures are for"),
        (("add", "a b", "clip.mp4", *WHY), "camera 'a b': id: String should match"),
        (("add", "till", "gone.mp4", *WHY), "gone.mp4: No such file or directory"),
        (("add", "till", "ftp://u:pa55@h/x", *WHY), "no ftp:// is read"),
        (("add", "till", "clip.mp4", *WHY, "--size", "big"), "'big' is not WIDTHxHEIGHT"),
        (("add", "till", "clip.mp4", *WHY, "--homography", "1 2 3"), "--homography: nine numbers"),
        (("add", "till", "clip.mp4", *WHY, "--homography", "1 2 3 1 2 3 0 0 1"), "cannot be inverted"),
        (("rm", "dor"), "no camera 'dor'; did you mean door?"),
        (("run", "qqq"), "no camera 'qqq'; `sightline camera ls` has those there are"),
        (("run", "door"), "sightline kafka start"),
    ],
)
def test_mistakes_are_one_line_and_change_nothing(
    run: Run, tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    write_clip(tmp_path / "clip.mp4")
    run("add", "door", "clip.mp4", *WHY)
    before = (tmp_path / "cameras.toml").read_bytes()
    code, out, err = run(*arguments)
    assert code == Exit.BAD_INPUT and out == "" and said in err and err.count("\n") == 1 and "pa55" not in err
    assert (tmp_path / "cameras.toml").read_bytes() == before


GOOD = Camera(id="door", source='rtsp://u:p"\\a55@h/x', purpose="zählen", retention_days=7, size=(64, 48))


def test_a_file_reads_back_as_it_was_written(tmp_path: Path) -> None:
    cameras = (GOOD, GOOD.model_copy(update={"id": "till", "homography": ((1.5, 0, 0), (0, -2e-9, 0), (0, 0, 1.0))}))
    file = tmp_path / "cameras.toml"
    file.write_text(to_toml(cameras), encoding="utf-8")
    file.chmod(0o600)
    assert read_cameras(file) == cameras
    assert read_cameras(tmp_path / "none.toml") == ()


@pytest.mark.parametrize(
    ("text", "mode", "said"),
    [
        (to_toml([GOOD]), 0o640, "others can read it"),
        (to_toml([GOOD, GOOD]), 0o600, "two cameras have the id 'door'"),
        ("[[camera", 0o600, "not TOML"),
        ("colour = 1", 0o600, "'colour' is not [[camera]]"),
        ("camera = 1", 0o600, "'camera' is not [[camera]]"),
        (to_toml([GOOD]).replace("7", "0"), 0o600, "camera 1 (door): retention_days: Input should be greater"),
        (to_toml([GOOD]).replace("rtsp", "ftp"), 0o600, "no ftp:// is read"),
    ],
)
def test_a_file_that_is_wrong_is_refused_without_its_secrets(tmp_path: Path, text: str, mode: int, said: str) -> None:
    file = tmp_path / "cameras.toml"
    file.write_text(text, encoding="utf-8")
    file.chmod(mode)
    with pytest.raises(BadCameraFile) as refused:
        read_cameras(file)
    assert said in str(refused.value) and "a55" not in str(refused.value)


def test_two_at_the_same_time_lose_nothing(run: Run, tmp_path: Path) -> None:
    write_lines(tmp_path / "a.jsonl")
    threads = [threading.Thread(target=cli.main, args=(["camera", "add", f"c{n}", "a.jsonl", *WHY],)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(camera.id for camera in read_cameras(tmp_path / "cameras.toml")) == [f"c{n}" for n in range(6)]


# --- to a real Kafka ----------------------------------------------------------------------------------------------


def arrived(kafka: str, camera_id: str) -> pl.DataFrame:
    """What lies on the topic of this camera, in order."""
    settings = KafkaSettings(bootstrap_servers=kafka)
    ensure_topics(settings, [CAMERA_FRAMES])
    decoder = Decoder("camera-frames", PackagedRegistry())
    parts = read_all(settings, CAMERA_FRAMES.name)
    records = Records.joined([part for part in parts.values() if len(part)])
    decoded = decoder.decode(records)
    assert not decoded.bad
    keys = pl.Series("key", [records.keys[int(row)].as_py().decode() for row in decoded.rows], pl.String)
    mine = decoded.frame.with_columns(
        keys, _ingest_time_ms=pl.Series(records.timestamps_ms[decoded.rows]), captured_ms=pl.col("captured_ms")
    ).filter(pl.col("key") == camera_id)
    assert (mine["camera_id"] == camera_id).all()
    return mine.drop("key")


@pytest.mark.kafka
def test_a_clip_arrives_frame_by_frame_with_the_times_it_was_taken(
    run: Run, kafka: str, topic_prefix: str, tmp_path: Path
) -> None:
    write_clip(tmp_path / "clip.mp4")
    assert run("add", topic_prefix, "clip.mp4", *WHY, "--fps", str(FPS))[0] == Exit.OK
    before_ms = time.time() * 1000
    code, out, _ = run("run", topic_prefix, "--brokers", kafka, "--json")
    after_ms = time.time() * 1000
    assert code == Exit.OK
    rows, last = arrived(kafka, topic_prefix), json.loads(out.splitlines()[-1])
    # On a machine that is busy enough some of the oldest are dropped, which is said.
    assert (last["camera"], last["state"], last["captured"]) == (topic_prefix, "ended", FRAMES)
    assert last["sent"] == rows.height == FRAMES - last["dropped"] >= 8
    numbers = [number_of(decode_jpeg(jpeg)) for jpeg in rows["jpeg"]]
    assert numbers[-1] == FRAMES - 1 and numbers == sorted(set(numbers))
    assert (rows["frame"] - rows["frame"][-1] + FRAMES - 1).to_list() == numbers
    times = rows["captured_ms"].cast(pl.Int64)
    assert ((times - times[-1]) * FPS / 1000 + FRAMES - 1).to_list() == pytest.approx(numbers, abs=0.02)
    assert before_ms <= times[-1] - 900 and times[-1] <= after_ms + 1
    assert reasons(CheckFrames()(rows)) == [None] * rows.height


@pytest.mark.kafka
def test_a_live_camera_is_sent_until_it_is_told_to_stop(
    run: Run, kafka: str, topic_prefix: str, tmp_path: Path
) -> None:
    with mjpeg_server([1] * 100_000, gap_s=0.02) as address:
        assert run("add", topic_prefix, address, *WHY)[0] == Exit.OK
        process = subprocess.Popen(
            [sys.executable, "-m", "jobs.cli", "camera", "run", topic_prefix, "--brokers", kafka, "--json"],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            assert process.stdout is not None
            while json.loads(process.stdout.readline())["sent"] < 2:  # a line a second; the test has a limit of its own
                pass
            process.send_signal(signal.SIGTERM)
            out, err = process.communicate(timeout=PATIENCE_S)
        finally:
            process.kill()
            process.wait()
    assert process.returncode == Exit.OK, err
    assert "pa55" not in out + err
    last, rows = json.loads(out.splitlines()[-1]), arrived(kafka, topic_prefix)
    assert last["state"] == "ended" and last["sent"] == rows.height >= 2
    assert {number_of(decode_jpeg(jpeg)) for jpeg in rows["jpeg"]} == {1}
    assert (rows["captured_ms"].cast(pl.Int64).diff().drop_nulls() >= 0).all()


@pytest.mark.kafka
def test_several_cameras_run_a_process_each_and_one_that_cannot_be_read_fails_alone(
    run: Run, kafka: str, topic_prefix: str, tmp_path: Path
) -> None:
    for name in ("good", "bad"):
        write_clip(tmp_path / f"{name}.mp4")
        assert run("add", f"{topic_prefix}{name}", f"{name}.mp4", *WHY)[0] == Exit.OK
    (tmp_path / "bad.mp4").write_bytes(b"no video any more")
    code, _, err = run("run", f"{topic_prefix}good", f"{topic_prefix}bad", "--brokers", kafka)
    assert code == Exit.FAILED
    assert "1 of 2 cameras failed" in err and "bad.mp4" in err
    good = arrived(kafka, f"{topic_prefix}good")
    assert number_of(decode_jpeg(good["jpeg"][-1])) >= FRAMES - 2  # the last of the five a second that are taken


@pytest.mark.kafka
def test_records_up_to_the_largest_that_is_allowed_arrive_whole(kafka: str, topic_prefix: str) -> None:
    """100 KB, as a camera of 1080p makes them, and one with as many bytes of crops as fit."""
    settings = KafkaSettings(bootstrap_servers=kafka)
    ensure_topics(settings, [CAMERA_FRAMES])
    encoder = Encoder(load_schema("camera-frames"), PackagedRegistry().id_of("camera-frames"))
    usual = [{"camera_id": topic_prefix, "jpeg": os.urandom(100_000)}] * 20
    largest = {"camera_id": topic_prefix, "detections": [person(crop=os.urandom(MAX_RECORD_BYTES - HEAD_BYTES))]}
    sent = frames(*usual, largest)
    with closing(Publisher(settings)) as publisher:
        send, never = KafkaFrames(publisher), threading.Event()
        assert all(send(topic_prefix.encode(), value, never) for value in encoder.encode(sent).to_pylist())
        too_large = encoder.encode(frames({"jpeg": os.urandom(1_100_000)}))[0].as_py()
        assert not send(topic_prefix.encode(), too_large, never)  # above the topic's own limit: told, not waited for
    assert arrived(kafka, topic_prefix).drop("_ingest_time_ms").equals(sent)
