"""`sightline schedule …`: what it prints, for people and for programs, and what it refuses."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from jobs import cli
from jobs.errors import Exit
from jobs.schedule.book import Book
from jobs.schedule.decide import Plan
from jobs.schedule.runs import Run, State

Run_ = Callable[..., tuple[int, str, str]]

NIGHTLY = '[schedule.nightly]\ncommand = "version"\ncron = "0 3 * * *"\nzone = "Europe/Berlin"\n'
DRIFTING = '[schedule.drifting]\ncommand = "version"\ndrift = "win-prediction"\nevents = 5000\n'


@pytest.fixture
def sightline(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run_:
    monkeypatch.chdir(tmp_path)
    for name, value in (("HOME", str(tmp_path / "home")), ("CONFIG", "")):
        monkeypatch.setenv(f"SIGHTLINE_{name}", value)
    for name in ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "sightline.toml").write_text(NIGHTLY + DRIFTING, "utf-8")

    def call(*arguments: str) -> tuple[int, str, str]:
        code = cli.main(list(arguments))
        told = capsys.readouterr()
        return code, told.out, told.err

    return call


def answer(result: tuple[int, str, str]) -> Any:
    assert result[0] == Exit.OK, result[2]
    return json.loads(result[1])


def test_the_next_times_are_shown_in_the_zone_and_in_utc(sightline: Run_) -> None:
    code, out, _ = sightline("schedule", "next", "nightly", "--count", "3")
    assert code == Exit.OK and len(out.splitlines()) == 4
    found = answer(sightline("schedule", "next", "nightly", "--count", "400", "--json"))
    assert len(found) == 400
    assert {re.sub(r"^.*T", "", each["local"]) for each in found} == {"03:00:00+01:00", "03:00:00+02:00"}
    assert {each["utc"][11:] for each in found} == {"02:00:00Z", "01:00:00Z"}
    assert all(datetime.fromisoformat(each["utc"]) > datetime.now(UTC) for each in found)


def test_all_are_listed_with_their_next_and_their_last_run(sightline: Run_, tmp_path: Path) -> None:
    nightly, drifting = answer(sightline("schedule", "ls", "--json"))
    assert not (tmp_path / "home" / "schedule").exists()  # to look makes nothing
    assert (nightly["starts"], nightly["last_run"]) == ("0 3 * * * (Europe/Berlin)", None)
    assert nightly["next"] == answer(sightline("schedule", "next", "nightly", "--json"))[0]["utc"]
    assert (drifting["starts"], drifting["next"]) == ("5,000 events on match.events, drift of win-prediction", None)
    book = Book(tmp_path / "home" / "schedule")
    lease = book.take_lease("me", 0, 10)
    assert lease is not None
    failed = Run("nightly-1", "nightly", "cron", 1, State.FAILED, 1, 0, 1, 5001, "no [memory]")
    later = replace(failed, run_id="nightly-2", due_ms=2, submitted_ms=2, ended_ms=5002)
    book.write(Plan(begun=[failed, later]), lease, 1)
    book.close()
    assert answer(sightline("schedule", "ls", "--json"))[0]["last_run"]["run_id"] == "nightly-2"
    assert "failed, 1970-01-01 00:00:05" in sightline("schedule", "ls")[1]
    newest, _ = answer(sightline("schedule", "history", "nightly", "--json"))
    assert (newest["run_id"], newest["ended"], newest["submitted"]) == (
        "nightly-2",
        "1970-01-01T00:00:05.002000Z",
        "1970-01-01T00:00:00.002000Z",
    )
    assert "no [memory]" in sightline("schedule", "history", "--count", "1")[1]


def test_a_trigger_waits_for_a_scheduler_and_says_so(sightline: Run_, tmp_path: Path) -> None:
    code, _, err = sightline("schedule", "trigger", "nightly")
    assert code == Exit.OK and "no scheduler acts" in err
    assert answer(sightline("schedule", "trigger", "nightly", "--json"))["number"] == 2
    book = Book(tmp_path / "home" / "schedule")
    assert [request.schedule for request in book.past().asked] == ["nightly", "nightly"]
    book.close()


def test_manifests_are_written(sightline: Run_, tmp_path: Path) -> None:
    files = answer(sightline("schedule", "manifests", "--out", "k8s", "--image", "me:1", "--json"))
    assert files == ["k8s/nightly.rayjob.yaml", "k8s/nightly.raycronjob.yaml", "k8s/drifting.rayjob.yaml"]
    assert all('image: "me:1"' in (tmp_path / file).read_text("utf-8") for file in files)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["next", "nihgtly"], "no schedule 'nihgtly'; did you mean nightly?"),
        (["next", "drifting"], "drifting has no cron times: it starts by 5,000 events"),
        (["history", "else"], "no schedule 'else'; there are: nightly, drifting"),
        (["trigger", "else"], "no schedule 'else'"),
        (["run"], "kafka.bootstrap_servers is not set"),
        (["run", "--jobs", "http://127.0.0.1:1", "--brokers", "127.0.0.1:1"], "is not the folder of Sightline"),
    ],
)
def test_what_makes_no_sense_is_refused(sightline: Run_, arguments: list[str], says: str) -> None:
    code, _, err = sightline("schedule", *arguments)
    assert code == Exit.BAD_INPUT and says in err and len(err.splitlines()) == 1


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("trian win-tsstn", "no command 'trian' to run by itself; did you mean train?"),
        ("evaluate", "no command '' to run by itself; there are: win"),
        ("schedule run", "no command 'schedule' to run by itself"),
        ("train win-tsst --data x", "no recipe 'win-tsst'; there are: as-gan"),
        ("train", "name a recipe, one of as-gan"),
        ("train win-tsstn", "say what to learn from: --data PATH"),
        ("train win-tsstn --dta x", "--dta"),
        ("train win-tsstn --data x --help", "--help does nothing by itself"),
        ("version extra", "extra"),
    ],
)
@pytest.mark.parametrize("verb", [["run", "--jobs", "local"], ["trigger", "bad"], ["manifests", "--out", "k8s"]])
def test_a_command_that_would_fail_when_its_time_comes_is_refused_now(
    sightline: Run_, tmp_path: Path, command: str, says: str, verb: list[str]
) -> None:
    (tmp_path / "sightline.toml").write_text(f'[schedule.bad]\ncommand = "{command}"\ncron = "0 3 * * *"\n', "utf-8")
    code, _, err = sightline("schedule", *verb)
    assert code == Exit.BAD_INPUT and "schedule.bad.command: " in err and says in err
    assert not (tmp_path / "k8s").exists() and not (tmp_path / "home").exists()


def test_without_schedules_it_is_said_how_to_define_one(sightline: Run_, tmp_path: Path) -> None:
    (tmp_path / "sightline.toml").write_text("", "utf-8")
    assert sightline("schedule", "ls")[0] == Exit.OK and sightline("schedule", "ls", "--json")[1] == "[]\n"
    for arguments in (["run"], ["next", "x"], ["manifests", "--out", "k8s"]):
        code, _, err = sightline("schedule", *arguments)
        assert code == Exit.BAD_INPUT and "define one as [schedule.NAME]" in err


def test_a_damaged_book_is_named(sightline: Run_, tmp_path: Path) -> None:
    (tmp_path / "home" / "schedule").mkdir(parents=True)
    (tmp_path / "home" / "schedule" / "schedule.sqlite").write_bytes(b"x" * 5_000)
    code, _, err = sightline("schedule", "history")
    assert code == Exit.FAILED and "schedule.sqlite: file is not a database" in err
