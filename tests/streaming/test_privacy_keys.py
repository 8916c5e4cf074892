"""Keys of looks: which holds when, that one track's can be struck out and no other, and what files keep of it."""

from __future__ import annotations

import hashlib
import pickle
import stat
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streaming.privacy import folder
from streaming.privacy.folder import BadKeyFolder, KeyFolder, now_ms
from streaming.privacy.keyring import Retention, day_name, day_named, day_of
from streaming.privacy.punctured import DEPTH, KEY_BYTES, PuncturableKey
from streaming.topics import DAY_MS, PERSON_SIGHTINGS

NOW_MS = 1_790_000_000_000
TODAY = day_of(NOW_MS)
RETENTION = Retention({"door": 7, "till": 2})
NAMES = st.lists(st.binary(max_size=12), max_size=6, unique=True)


class Clock:
    def __init__(self) -> None:
        self.now_ms = NOW_MS

    def __call__(self) -> int:
        return self.now_ms


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def keys(tmp_path: Path, clock: Clock) -> KeyFolder:
    return KeyFolder(tmp_path / "keys", RETENTION, clock)


# --- the tree ---------------------------------------------------------------------------------------------------------


def walked(root: bytes, name: bytes) -> bytes:
    """The leaf by the definition, without any of the code's short cuts."""
    leaf = int.from_bytes(hashlib.blake2b(name, digest_size=6, person=b"sightline leaf").digest(), "big")
    for bit in format(leaf, f"0{DEPTH}b"):
        root = hashlib.blake2b(bytes([int(bit)]), key=root, digest_size=32, person=b"sightline node").digest()
    return root


@settings(deadline=None, max_examples=40)
@given(root=st.binary(min_size=KEY_BYTES, max_size=KEY_BYTES), gone=NAMES, kept=NAMES)
def test_what_is_struck_out_is_gone_and_all_else_is_as_before(
    root: bytes, gone: list[bytes], kept: list[bytes]
) -> None:
    key = PuncturableKey.whole(root)
    for name in gone:
        key = key.without(name)
    key = PuncturableKey.from_bytes(key.to_bytes())

    for name in gone:
        assert key.key_of(name) is None
        assert key.without(name).to_bytes() == key.to_bytes()
    for name in set(kept) - set(gone):
        assert key.key_of(name) == walked(root, name)


@settings(deadline=None, max_examples=20)
@given(root=st.binary(min_size=KEY_BYTES, max_size=KEY_BYTES), name=st.binary(max_size=12))
def test_nothing_on_the_way_to_a_struck_out_leaf_is_kept(root: bytes, name: bytes) -> None:
    kept = PuncturableKey.whole(root).without(name).to_bytes()
    leaf = int.from_bytes(hashlib.blake2b(name, digest_size=6, person=b"sightline leaf").digest(), "big")
    value = root
    assert value not in kept
    for bit in format(leaf, f"0{DEPTH}b"):
        value = hashlib.blake2b(bytes([int(bit)]), key=value, digest_size=32, person=b"sightline node").digest()
        assert value not in kept


@pytest.mark.parametrize("data", [b"\0", bytes([DEPTH + 1]) + bytes(40), bytes([3]) + bytes(7) + b"\x08" + bytes(32)])
def test_bytes_that_are_no_key_are_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"no key|outside"):
        PuncturableKey.from_bytes(data)


def test_a_root_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="31 bytes"):
        PuncturableKey.whole(bytes(31))


# --- days -------------------------------------------------------------------------------------------------------------


@given(st.integers(-700_000, 2_900_000))
def test_a_day_is_found_by_its_name(day: int) -> None:
    assert day_named(day_name(day)) == day


@given(retention=st.integers(1, 400), late_ms=st.integers(0, DAY_MS - 1), age_ms=st.integers(0, 500 * DAY_MS))
def test_nothing_is_known_longer_than_the_camera_may_keep_it(retention: int, late_ms: int, age_ms: int) -> None:
    captured_ms = TODAY * DAY_MS + late_ms
    known = Retention({"door": retention}).allows("door", day_of(captured_ms), captured_ms + age_ms)
    if age_ms >= retention * DAY_MS:
        assert not known
    if age_ms < (retention - 1) * DAY_MS:
        assert known  # less than a day is cut off


def test_of_a_camera_that_nobody_named_things_are_known_for_a_day() -> None:
    assert RETENTION.allows("strange", TODAY, NOW_MS)
    assert not RETENTION.allows("strange", TODAY - 1, NOW_MS)
    assert RETENTION.longest_days == 7
    with pytest.raises(ValueError, match="camera door: 0 days"):
        Retention({"door": 0})


def test_topics_keep_nothing_longer_than_all_cameras_allow() -> None:
    assert RETENTION.bounded(PERSON_SIGHTINGS).retention_ms == 2 * DAY_MS
    assert Retention({"door": 30}).bounded(PERSON_SIGHTINGS) == PERSON_SIGHTINGS  # 7 days
    assert Retention({}).bounded(PERSON_SIGHTINGS).retention_ms == DAY_MS


# --- files ------------------------------------------------------------------------------------------------------------


def test_every_track_camera_and_day_has_a_key_of_its_own_which_stays(
    tmp_path: Path, keys: KeyFolder, clock: Clock
) -> None:
    names = [("door", 1, TODAY), ("door", 2, TODAY), ("till", 1, TODAY), ("door", 1, TODAY - 1)]
    made = [keys.key(*name) for name in names]

    assert None not in made and len(set(made)) == 4 and {len(key or b"") for key in made} == {64}
    again = KeyFolder(tmp_path / "keys", RETENTION, clock)
    assert [again.key(*name) for name in names] == made


def test_only_the_owner_may_look(tmp_path: Path, keys: KeyFolder) -> None:
    keys.key("door", 1, TODAY)
    for path in (tmp_path / "keys").rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0
    (tmp_path / "keys").chmod(0o755)
    with pytest.raises(BadKeyFolder, match="chmod 700"):
        KeyFolder(tmp_path / "keys", RETENTION)


def test_an_erased_track_has_no_key_of_any_day_in_any_process(
    tmp_path: Path, keys: KeyFolder, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = KeyFolder(tmp_path / "keys", RETENTION, clock)
    before = {(track, day): other.key("door", track, day) for track in (1, 2) for day in (TODAY - 1, TODAY)}
    keys.erase([("door", 1)])

    monkeypatch.setattr(folder, "_LOOK_S", 0.0)  # a second has passed
    version = other.version()
    for day in (TODAY - 1, TODAY):
        assert keys.key("door", 1, day) is None
        assert other.key("door", 1, day) is None
        assert other.key("door", 2, day) == before[2, day]
    assert version == other.version()  # nothing more has changed


def test_to_erase_nobody_leaves_everything_as_it_is(keys: KeyFolder) -> None:
    keys.key("door", 1, TODAY)
    before = keys.version()
    keys.erase([])
    assert keys.version() == before  # or else whatever was derived from keys would be derived anew, each batch


def test_what_the_file_was_before_is_overwritten(tmp_path: Path, keys: KeyFolder) -> None:
    keys.key("door", 1, TODAY)
    (file,) = (tmp_path / "keys" / "door").glob("*.key")
    copy = tmp_path / "the same file by another name"
    copy.hardlink_to(file)
    keys.erase([("door", 1)])

    assert set(copy.read_bytes()) == {0}
    assert set(file.read_bytes()) != {0}


@pytest.mark.parametrize("end", ["erase", "expire"])
def test_a_draft_that_a_crash_left_behind_is_destroyed(
    tmp_path: Path, keys: KeyFolder, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    keys.key("door", 1, TODAY)
    with monkeypatch.context() as crash:  # killed before the rename: nothing tidies up
        crash.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(OSError("killed")))
        crash.setattr(Path, "unlink", lambda *_, **__: None)
        with pytest.raises(BadKeyFolder):
            keys.erase([("door", 1)])
    (draft,) = (tmp_path / "keys" / "door").glob(".*")
    with draft.open("rb") as held:
        if end == "erase":
            keys.erase([("door", 1)])
        else:
            keys.expire()
        assert not any(held.read())
    assert [file.name for file in (tmp_path / "keys" / "door").iterdir()] == [f"{day_name(TODAY)}.key"]


def test_keys_go_with_their_time_and_are_not_made_again(tmp_path: Path, keys: KeyFolder, clock: Clock) -> None:
    for camera in ("door", "till"):
        assert keys.key(camera, 1, TODAY)
    clock.now_ms += 2 * DAY_MS
    keys.version()  # as every use does first

    assert [file.parent.name for file in sorted((tmp_path / "keys").rglob("*.key"))] == ["door"]
    assert keys.key("till", 1, TODAY) is None
    assert not list((tmp_path / "keys" / "till").glob("*.key"))
    clock.now_ms += 5 * DAY_MS
    assert keys.expire() == [f"door/{day_name(TODAY)}"]


def test_of_another_time_there_is_no_key(keys: KeyFolder) -> None:
    for day in (TODAY + 2, TODAY - 7, -1, 10**9):
        assert keys.key("door", 1, day) is None


@pytest.mark.parametrize("camera", ["..", "../door", "a/b", "", "x" * 65])
def test_what_is_no_camera_makes_no_file(tmp_path: Path, keys: KeyFolder, camera: str) -> None:
    assert keys.key(camera, 1, TODAY) is None
    keys.erase([(camera, 1)])
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("damage", [b"", b"nonsense", None])
def test_a_damaged_key_is_none_and_nobody_can_hide_in_it(
    tmp_path: Path, keys: KeyFolder, clock: Clock, damage: bytes | None
) -> None:
    assert keys.key("door", 1, TODAY)
    (file,) = (tmp_path / "keys" / "door").glob("*.key")
    written = file.read_bytes()
    file.write_bytes(bytes((*written[:-1], written[-1] ^ 1)) if damage is None else damage)
    after = KeyFolder(tmp_path / "keys", RETENTION, clock)

    assert after.key("door", 1, TODAY) is None
    after.erase([("door", 2)])
    assert not file.exists()


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BadKeyFolder, match="cannot be made"):
        KeyFolder(tmp_path / "file" / "keys", RETENTION)


def test_of_a_pickled_folder_keys_stay_behind(tmp_path: Path) -> None:
    keys = KeyFolder(tmp_path / "keys", RETENTION)
    key, held = keys.key("door", 1, day_of(now_ms())), pickle.dumps(keys)
    assert key is not None and key not in held
    assert (
        pickle.loads(held).key(  # noqa: S301 -- made two lines above
            "door", 1, day_of(now_ms())
        )
        == key
    )


def test_a_key_that_could_not_be_made_is_tried_again(
    tmp_path: Path, keys: KeyFolder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(file: Path, key: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(folder, "_LOOK_S", 0.0)
    monkeypatch.setattr(folder, "_write", full)
    keys.version()
    for _ in range(3):
        assert keys.key("door", 1, TODAY) is None
        keys.version()
    assert caplog.text.count("No space left") == 1
    monkeypatch.undo()
    monkeypatch.setattr(folder, "_LOOK_S", 0.0)
    keys.version()
    assert keys.key("door", 1, TODAY) is not None
