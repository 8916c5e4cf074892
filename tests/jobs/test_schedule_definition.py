"""Schedules in the settings file: what is wrong is said with its place and its remedy."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobs.errors import SettingsError
from jobs.schedule.definition import Schedule
from jobs.settings import load_settings, to_toml


def written(tmp_path: Path, lines: str, name: str = "nightly") -> Path:
    file = tmp_path / "sightline.toml"
    file.write_text(f"[schedule.{name}]\n{lines}\n", "utf-8")
    return file


GOOD = 'command = "train win-tsstn --data x.parquet"\ncron = "0 3 * * *"\n'


def test_a_schedule_is_read_and_survives_being_written(tmp_path: Path) -> None:
    text = GOOD + 'zone = "Europe/Berlin"\noverlap = "queue"\nretries = 2\ntime_limit_s = 3600\nevents = 100_000'
    settings = load_settings(config=written(tmp_path, text)).settings
    nightly = settings.schedule["nightly"]
    assert (nightly.words, nightly.overlap, nightly.retries, nightly.events) == (
        ("train", "win-tsstn", "--data", "x.parquet"),
        "queue",
        2,
        100_000,
    )
    again = tmp_path / "again.toml"
    again.write_text(to_toml(settings), "utf-8")
    assert load_settings(config=again).settings.schedule == settings.schedule


def test_the_environment_sets_one_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGHTLINE_SCHEDULE__NIGHTLY__COMMAND", "evaluate win")
    monkeypatch.setenv("SIGHTLINE_SCHEDULE__NIGHTLY__CRON", "0 3 * * *")
    assert load_settings().settings.schedule == {"nightly": Schedule(command="evaluate win", cron="0 3 * * *")}


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        (GOOD + "retrys = 2", "schedule.nightly.retrys: no such setting; did you mean schedule.nightly.retries?"),
        (GOOD + "retries = -1", "schedule.nightly.retries: must be greater than or equal to 0"),
        (GOOD + "time_limit_s = -5", "schedule.nightly.time_limit_s: must be greater than 0"),
        (GOOD + "back_off_s = nan", "schedule.nightly.back_off_s"),
        (GOOD + "events = 0", "schedule.nightly.events: must be greater than 0"),
        (GOOD + 'overlap = "both"', "schedule.nightly.overlap: must be 'skip', 'queue' or 'replace'"),
        (GOOD + 'zone = "Mars"', "schedule.nightly: zone 'Mars': no such time zone"),
        (GOOD.replace("0 3", "0 25"), "schedule.nightly: cron '0 25 * * *': '25' is no hour"),
        (GOOD.replace("3 * *", "3 30 2"), "schedule.nightly: cron '0 3 30 2 *' never comes"),
        (GOOD + "[schedule.nightly]", "twice"),
        ('command = "train"', "schedule.nightly: never starts: set cron, events or drift"),
        ('command = "train"\nevents = 1\nzone = "Europe/Berlin"', "zone Europe/Berlin is about cron times"),
        ('command = "sightline train"\nevents = 1', "must be what follows `sightline`"),
        ('command = "train \'x"\nevents = 1', "close every quote"),
        ('cron = "0 3 * * *"', "schedule.nightly.command: Field required"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(tmp_path: Path, lines: str, says: str) -> None:
    file = written(tmp_path, lines)
    with pytest.raises(SettingsError) as refused:
        load_settings(config=file)
    assert says in str(refused.value) and str(file) in str(refused.value)


@pytest.mark.parametrize("name", ["Nightly", "x" * 41, "1st", '"a b"', "a-", '"../x"'])
def test_a_name_is_one_that_a_cluster_takes(tmp_path: Path, name: str) -> None:
    with pytest.raises(SettingsError, match="is no name: write up to 40 letters"):
        load_settings(config=written(tmp_path, GOOD, name))


def test_the_table_itself_is_no_schedule(tmp_path: Path) -> None:
    file = tmp_path / "sightline.toml"
    file.write_text('[schedule]\ncommand = "train"\n', "utf-8")
    with pytest.raises(SettingsError, match=r"begin one with \[schedule.NAME\]"):
        load_settings(config=file)
