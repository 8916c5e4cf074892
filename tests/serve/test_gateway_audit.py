"""The log of who looked: what is written is read back, and whatever is done to it afterwards is told."""

import json
import multiprocessing
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serve.gateway import audit
from serve.gateway.audit import MAX_CHARS, AuditBroken, AuditLog, AuditUnwritable, entries, verified
from tests.waiting import PATIENCE_S

AT_MS = 1_790_000_000_000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "audit.jsonl"


def written(path: Path, count: int) -> Path:
    log = AuditLog(path)
    for number in range(count):
        log.looked("anna", f"camera door {number}", AT_MS + number)
    return path


def test_looks_are_read_back_in_order_and_only_their_owner_may_read_the_file(path: Path) -> None:
    written(path, 3)

    assert [(one.number, one.at_ms, one.who, one.what) for one in entries(path)] == [
        (number + 1, AT_MS + number, "anna", f"camera door {number}") for number in range(3)
    ]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_without_a_look_there_is_no_last_entry(path: Path) -> None:
    assert verified(path) is None


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
@given(who=st.text(st.characters(), max_size=MAX_CHARS + 20), what=st.text(st.characters(), max_size=MAX_CHARS + 20))
def test_any_text_is_one_entry(path: Path, who: str, what: str) -> None:
    before = verified(path)
    AuditLog(path).looked(who, what, AT_MS)

    last = verified(path)
    assert last is not None and (last.who, last.what) == (who[:MAX_CHARS], what[:MAX_CHARS])
    assert last.number == (before.number if before else 0) + 1


def swap(lines: list[bytes]) -> list[bytes]:
    return [lines[0], lines[2], lines[1], *lines[3:]]


def rename(lines: list[bytes]) -> list[bytes]:
    return [lines[0].replace(b"anna", b"ben"), *lines[1:]]


def drop(lines: list[bytes]) -> list[bytes]:
    return [*lines[:2], *lines[3:]]


def drop_and_renumber(lines: list[bytes]) -> list[bytes]:
    later = [json.loads(line) for line in lines[3:]]
    return [*lines[:2], *(json.dumps(one | {"number": one["number"] - 1}).encode() + b"\n" for one in later)]


def tear(lines: list[bytes]) -> list[bytes]:
    return [*lines[:-1], lines[-1][:20]]


def add_a_field(lines: list[bytes]) -> list[bytes]:
    return [json.dumps(json.loads(lines[0]) | {"more": 1}).encode() + b"\n", *lines[1:]]


def number_as_text(lines: list[bytes]) -> list[bytes]:
    return [*lines[:4], json.dumps(json.loads(lines[4]) | {"at_ms": "0"}).encode() + b"\n"]


@pytest.mark.parametrize("how", [swap, rename, drop, drop_and_renumber, tear, add_a_field, number_as_text])
def test_an_altered_log_is_told(path: Path, how: Callable[[list[bytes]], list[bytes]]) -> None:
    lines = written(path, 5).read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(how(lines)))

    with pytest.raises(AuditBroken, match=r"audit\.jsonl:\d"):
        verified(path)


def test_entries_cut_off_at_the_end_are_told_to_who_knows_the_last(path: Path) -> None:
    last = verified(written(path, 5))
    assert last is not None
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:4]))

    assert verified(path)  # the chain alone cannot tell
    with pytest.raises(AuditBroken, match="entry 5 is not there"):
        verified(path, (last.number, last.chain))


def test_a_log_written_anew_is_told_to_who_knows_an_entry_of_the_old(path: Path) -> None:
    known = verified(written(path, 2))
    assert known is not None
    path.unlink()
    AuditLog(path).looked("ben", "nothing", AT_MS)
    written(path, 3)

    with pytest.raises(AuditBroken, match="entry 2"):
        verified(path, (known.number, known.chain))


def test_the_chain_goes_on_over_files_put_aside(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "MAX_FILE_BYTES", 400)
    written(path, 9)
    aside = sorted(file.name for file in path.parent.glob("audit.*.jsonl"))

    assert len(aside) >= 2 and aside[0] == "audit.1.jsonl"
    assert [one.number for one in entries(path)] == list(range(1, 10))
    (path.parent / aside[0]).unlink()  # by its owner, after the time looks are accounted for
    assert [one.number for one in entries(path)][-1] == 9
    written(path, 1)
    assert (last := verified(path)) is not None and last.number == 10


def test_a_file_missing_between_two_is_told(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "MAX_FILE_BYTES", 400)
    written(path, 9)
    sorted(path.parent.glob("audit.*.jsonl"))[1].unlink()

    with pytest.raises(AuditBroken, match="stands where entry"):
        verified(path)


def test_nothing_follows_half_an_entry(path: Path) -> None:
    written(path, 2)
    path.write_bytes(path.read_bytes()[:-5])

    with pytest.raises(AuditUnwritable, match="put the file aside"):
        AuditLog(path).looked("anna", "camera door", AT_MS)


def test_a_look_that_cannot_be_written_down_is_refused_and_leaves_the_log_whole(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(path, 2)
    write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, line: write(descriptor, line[:10]))
    with pytest.raises(AuditUnwritable, match="disk full"):
        AuditLog(path).looked("anna", "camera door", AT_MS)
    monkeypatch.undo()
    assert (last := verified(path)) is not None and last.number == 2
    with pytest.raises(AuditUnwritable, match="No such file"):
        AuditLog(path.parent / "missing" / "audit.jsonl").looked("anna", "camera door", AT_MS)


def test_processes_share_one_log(path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    both = [context.Process(target=written, args=(path, 20)) for _ in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join(PATIENCE_S)

    assert (last := verified(path)) is not None and last.number == 40
