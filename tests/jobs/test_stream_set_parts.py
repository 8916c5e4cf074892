"""Plans, staging and manifests of training sets: what they refuse, and how they say it."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import polars as pl
import pytest

from jobs.errors import UsageProblem
from jobs.stream_set.content import content_digest, set_fingerprint
from jobs.stream_set.manifest import BrokenSet, Manifest, SetFile, check, read_manifest
from jobs.stream_set.plan import Plan, Request, make_plan
from jobs.stream_set.staging import DiskFull, staging
from streaming.features.labels import LabelRule
from streaming.testing import MemoryLog, MemorySource
from streaming.transport import OffsetsExpired

TOPIC = "match.events"


class Log(MemorySource):
    """Two partitions of 100 records; record n is of second n."""

    def __init__(self, gone: int = 0) -> None:
        self.gone = gone
        super().__init__(MemoryLog(), TOPIC, "")

    def partitions(self) -> list[int]:
        return [0, 1]

    def beginning_offsets(self) -> dict[int, int]:
        return {0: self.gone, 1: 0}

    def end_offsets(self) -> dict[int, int]:
        return {0: 100, 1: 100}

    def offsets_at(self, time_ms: int) -> dict[int, int]:
        found = min(max(-(-time_ms // 1000), 0), 100)
        return {0: max(found, self.gone), 1: found}

    def earliest_ms(self) -> int | None:
        return 0


def asked(begin: str | None = None, end: str | None = None, delay_s: float | None = None) -> Request:
    return Request(TOPIC, begin, end, delay_s, "code")


def ranges(plan: Plan) -> list[tuple[int, int]]:
    return [(wanted.start, wanted.end) for wanted in plan.ranges]


def test_a_window_reads_on_for_the_results_that_come_late() -> None:
    plan = make_plan(asked("1970-01-01T00:00:10", "1970-01-01T00:00:30", 20.0), Log())
    assert ranges(plan) == [(10, 50), (10, 50)]
    assert plan.rule == LabelRule(10_000, 30_000, 50_000) and plan.label_delay_s == 20.0
    assert Plan.from_json(json.loads(json.dumps(plan.to_json()))) == plan


def test_offsets_bound_what_is_read_and_nothing_else() -> None:
    plan = make_plan(asked("0:5", "1:50"), Log())
    assert ranges(plan) == [(5, 100), (0, 50)] and plan.rule == LabelRule()


@pytest.mark.parametrize(
    ("request_", "gone", "message"),
    [
        (asked("1970-01-01T00:00:30", "1970-01-01T00:00:30"), 0, "is not before --to"),
        (asked(None, None, 60.0), 0, "--label-delay counts from the time of --to"),
        (asked("soon"), 0, "--from soon"),
        (asked("0:100,1:100"), 0, "no records of match.events in this range"),
        (asked("1970-01-01T00:00:05"), 20, "partition 0 of match.events has lost records since then.*offset 20"),
        (asked(None, "0:101"), 0, "--to 0:101: partition 0 of match.events ends at 100"),
        (asked("7:1"), 0, "--from: match.events has no partition 7"),
    ],
)
def test_a_request_that_makes_no_sense_is_refused(request_: Request, gone: int, message: str) -> None:
    with pytest.raises(UsageProblem, match=message):
        make_plan(request_, Log(gone))


def test_offsets_that_have_expired_are_named() -> None:
    with pytest.raises(OffsetsExpired, match=r"match\.events/0: offset 5 is gone, the log now starts at 20"):
        make_plan(asked("0:5"), Log(gone=20))
    assert ranges(make_plan(asked("1970-01-01T00:00:21"), Log(gone=20)))[0] == (21, 100)


def test_a_place_that_is_taken_is_refused(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    with staging(tmp_path / "set"):
        pass  # an empty folder is no obstacle
    (tmp_path / "set" / "file").touch()
    with pytest.raises(UsageProblem, match="is there already"), staging(tmp_path / "set"):
        pass


def test_one_build_at_a_time(tmp_path: Path) -> None:
    with (
        staging(tmp_path / "set"),
        pytest.raises(UsageProblem, match="another build of it is under way"),
        staging(tmp_path / "set"),
    ):
        pass


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "No space left on device"), OSError("No space left on device (os error 28)")]
)
def test_a_full_disk_says_how_to_go_on(tmp_path: Path, error: OSError) -> None:
    with (
        pytest.raises(DiskFull, match="no space left; make room and run the same command again"),
        staging(tmp_path / "s"),
    ):
        raise error
    assert not (tmp_path / "s").exists()
    with pytest.raises(PermissionError), staging(tmp_path / "s"):
        raise PermissionError(errno.EACCES, "no")


def test_a_plan_that_cannot_be_understood_is_none(tmp_path: Path) -> None:
    with staging(tmp_path / "set") as area:
        for text in ("", "[]", "{}", '{"request": {}, "ranges": [[0, 9, 1]], "rule": {}}'):
            (area.folder / "plan.json").write_text(text)
            assert area.plan() is None
        plan = make_plan(asked(), Log())
        area.begin(plan)
        assert area.plan() == plan and area.done(plan) == {}


def small_set(folder: Path) -> Manifest:
    frame = pl.DataFrame({"gold": [1.0, None], "names": [["a", "b"], []], "text": ["ä", None]})
    path = "title=lol/day=2026-01-01/part-000.parquet"
    (folder / path).parent.mkdir(parents=True)
    frame.write_parquet(folder / path)
    file = SetFile(path, 2, content_digest(frame))
    fingerprint = set_fingerprint([(file.path, file.content)])
    manifest = Manifest(
        TOPIC, {"0": (0, 9)}, {"from": None, "to": None}, 0.0, "", 9, {}, {}, 2, {"lol": {"matches": 1, "won_by_a": 1}},
        {}, "0", "0", fingerprint, "", 0.0, (file,),
    )  # fmt: skip
    (folder / "manifest.json").write_text(json.dumps(manifest.to_json()))
    return manifest


def test_a_manifest_is_read_as_it_was_written(tmp_path: Path) -> None:
    manifest = small_set(tmp_path)
    assert read_manifest(tmp_path) == manifest
    check(tmp_path, manifest)


def test_a_set_that_was_changed_is_told_from_one_that_was_not(tmp_path: Path) -> None:
    manifest = small_set(tmp_path)
    file = tmp_path / manifest.files[0].path
    whole = file.read_bytes()
    changes = {
        "other rows": lambda: pl.read_parquet(file).with_columns(gold=pl.lit(2.0)).write_parquet(file),
        "fewer rows": lambda: pl.read_parquet(file).head(1).write_parquet(file),
        "half a file": lambda: file.write_bytes(whole[: len(whole) // 2]),
        "no file": file.unlink,
        "one more": lambda: file.with_name("part-001.parquet").write_bytes(whole),
    }
    for change in changes.values():
        file.write_bytes(whole)
        change()
        with pytest.raises(BrokenSet):
            check(tmp_path, manifest)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 2}, "format 2"),
        ({"files": [{"path": 1}]}, "no manifest of a training set"),
        ({"files": None}, "no manifest of a training set"),
        ({"more": 1}, "no manifest of a training set"),
    ],
)
def test_a_manifest_of_something_else_is_refused(tmp_path: Path, change: dict[str, object], message: str) -> None:
    manifest = small_set(tmp_path)
    (tmp_path / "manifest.json").write_text(json.dumps(manifest.to_json() | change))
    with pytest.raises(BrokenSet, match=message):
        read_manifest(tmp_path)


def test_a_manifest_leads_nowhere_else(tmp_path: Path) -> None:
    manifest = small_set(tmp_path / "set")
    outside = SetFile("../secret.parquet", 2, manifest.files[0].content)
    (tmp_path / "secret.parquet").write_bytes((tmp_path / "set" / manifest.files[0].path).read_bytes())
    (tmp_path / "set" / "manifest.json").write_text(json.dumps(manifest.to_json() | {"files": [outside.__dict__]}))
    with pytest.raises(BrokenSet, match="outside of the set"):
        check(tmp_path / "set", read_manifest(tmp_path / "set"))


def test_a_folder_without_a_manifest_is_no_set(tmp_path: Path) -> None:
    with pytest.raises(UsageProblem, match=r"it has no manifest\.json"):
        read_manifest(tmp_path)


def test_content_is_what_is_said_and_not_how_it_lies() -> None:
    frame = pl.DataFrame({"a": ["x", "yz", None], "b": [["p"], [], ["q", "r"]], "c": [1.5, float("nan"), None]})
    split = pl.concat([frame.head(1), frame.slice(1)], rechunk=False)
    assert content_digest(split) == content_digest(frame)
    others = [
        frame.with_columns(a=pl.Series(["xy", "z", None])),
        frame.with_columns(a=pl.Series(["x", "yz", ""])),
        frame.with_columns(b=pl.Series([["p", "q"], [], ["r"]])),
        frame.with_columns(c=pl.Series([1.5, float("nan"), 0.0])),
        frame.rename({"c": "d"}),
        frame.with_columns(pl.col("c").cast(pl.Float32)),
        frame.reverse(),
    ]
    assert len({content_digest(other) for other in [frame, *others]}) == len(others) + 1
