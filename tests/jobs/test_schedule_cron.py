"""Cron times in their zones, against dates worked out by hand, and against properties that hold of all of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.schedule.cron import BadCron, Cron


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def times(cron: Cron, after: str, count: int) -> list[str]:
    return [f"{time:%Y-%m-%d %H:%M}" for time in islice(cron.after(utc(after)), count)]


@pytest.mark.parametrize(
    ("expression", "zone", "after", "expected"),
    [
        # Berlin: from 02:00 to 03:00 on 28 March 2027 (01:00 UTC); the 02:30 that is not there comes at 03:00.
        ("30 2 * * *", "Europe/Berlin", "2027-03-27 12:00", ["2027-03-28 01:00", "2027-03-29 00:30"]),
        # From 03:00 back to 02:00 on 25 October 2026 (01:00 UTC); of two 02:30 the first counts.
        ("30 2 * * *", "Europe/Berlin", "2026-10-24 12:00", ["2026-10-25 00:30", "2026-10-26 01:30"]),
        # Asked between the two, and within the second hour: the first has been.
        ("30 2 * * *", "Europe/Berlin", "2026-10-25 00:45", ["2026-10-26 01:30"]),
        ("30 2 * * *", "Europe/Berlin", "2026-10-25 01:15", ["2026-10-26 01:30"]),
        # Every hour that passes, whatever the clock shows.
        ("30 * * * *", "Europe/Berlin", "2026-10-25 00:00", [f"2026-10-25 0{hour}:30" for hour in range(3)]),
        ("30 * * * *", "Europe/Berlin", "2027-03-28 00:00", ["2027-03-28 00:30", "2027-03-28 01:30"]),
        # Lord Howe moves by half an hour: on 4 October 2026 from 02:00 to 02:30 (15:30 UTC the day before).
        ("15 2 * * *", "Australia/Lord_Howe", "2026-10-03 00:00", ["2026-10-03 15:30", "2026-10-04 15:15"]),
        ("0 3 * * *", "America/New_York", "2026-11-22 00:00", ["2026-11-22 08:00", "2026-11-23 08:00"]),
        ("0 0 29 2 *", "UTC", "2026-01-01 00:00", ["2028-02-29 00:00", "2032-02-29 00:00"]),
        ("0 0 L * *", "UTC", "2026-02-01 00:00", ["2026-02-28 00:00", "2026-03-31 00:00"]),
        # Two days that are both named: either; 1 December 2026 is a Tuesday, 7 December the first Monday after it.
        ("0 0 1 * MON", "UTC", "2026-11-30 12:00", ["2026-12-01 00:00", "2026-12-07 00:00"]),
        ("*/20 8-9 * * MON-FRI", "UTC", "2026-11-20 09:20", ["2026-11-20 09:40", "2026-11-23 08:00"]),
    ],
)  # fmt: skip
def test_times_are_those_of_the_calendar(expression: str, zone: str, after: str, expected: list[str]) -> None:
    assert times(Cron(expression, zone), after, len(expected)) == expected


@pytest.mark.parametrize(
    ("expression", "zone", "says"),
    [
        ("0 3 * *", "UTC", "has 4 fields; write five: minute hour day-of-month month day-of-week"),
        ("0 0 3 * * *", "UTC", "has 6 fields"),
        ("", "UTC", "has 0 fields"),
        ("61 3 * * *", "UTC", "'61' is no minute; write 0-59"),
        ("0 3-1 * * *", "UTC", "'3-1' is no hour; write 0-23"),
        ("0 3 32 * *", "UTC", "'32' is no day-of-month; write 1-31"),
        ("0 3 * 13 *", "UTC", "'13' is no month; write 1-12"),
        ("0 3 * * MOO", "UTC", "'MOO' is no day-of-week; write 0-7"),
        ("*/0 3 * * *", "UTC", "'*/0' is no minute"),
        ("0 3 30 2 *", "UTC", "never comes"),
        ("0 3 31 2,4,6,9,11 *", "UTC", "never comes"),
        ("0 3 * * *", "Europe/Berlim", "no such time zone; did you mean Europe/Berlin?"),
        ("0 3 * * *", "Europe", "no such time zone"),
        ("0 3 * * *", "../../etc/passwd", "no such time zone"),
        ("0 3 * * *", "", "no such time zone"),
        ("1," * 200 + " * * * *", "UTC", "fields"),
    ],
)
def test_what_is_wrong_is_named(expression: str, zone: str, says: str) -> None:
    with pytest.raises(BadCron) as refused:
        Cron(expression, zone)
    assert says in str(refused.value) and len(str(refused.value)) < 500


@given(st.text(alphabet="0123456789*/,-L# MONJA", max_size=30))
def test_any_text_is_a_cron_expression_or_is_told_why_not(text: str) -> None:
    try:
        cron = Cron(text)
    except BadCron:
        return
    assert next(cron.after(utc("2026-01-01"))) > utc("2026-01-01")


ZONES = ("Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Africa/Casablanca", "Asia/Kathmandu", "UTC")
MOMENTS = st.integers(0, 3 * 365 * 24 * 60).map(lambda minutes: utc("2025-06-01") + timedelta(minutes=minutes))


@given(st.sampled_from(ZONES), st.integers(0, 23), st.integers(0, 59), MOMENTS)
def test_a_daily_time_comes_once_on_every_day_of_the_zone(zone: str, hour: int, minute: int, after: datetime) -> None:
    cron = Cron(f"{minute} {hour} * * *", zone)
    found = list(islice(cron.after(after), 40))
    assert all(earlier < later for earlier, later in zip([after, *found], found, strict=False))
    days = [time.astimezone(ZoneInfo(zone)).date() for time in found]
    assert days == [days[0] + timedelta(days=n) for n in range(40)]
    assert found[0] - after <= timedelta(hours=25)


@given(st.sampled_from(ZONES), st.sampled_from(["*/15 * * * *", "7 * * * *", "0 */6 * * *", "30 2 1 * *"]), MOMENTS)
def test_asked_from_one_time_the_next_are_the_same(zone: str, expression: str, after: datetime) -> None:
    cron = Cron(expression, zone)
    found = list(islice(cron.after(after), 12))
    for place, time in enumerate(found):
        assert list(islice(cron.after(time), 11 - place)) == found[place + 1 :]
