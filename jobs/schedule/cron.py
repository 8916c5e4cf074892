"""Times of a cron expression in a time zone. The arithmetic is cronsim's, which follows Debian's cron:

- a time that the clock leaps over in spring comes at the end of the gap, once;
- a time that the clock repeats in autumn comes once, the first time;
- with `*` as minute or hour every minute or hour that passes counts, whatever the clock shows.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from difflib import get_close_matches
from zoneinfo import ZoneInfo, available_timezones

from cronsim import CronSim, CronSimError

FIELDS = ("minute", "hour", "day-of-month", "month", "day-of-week")
_VALUES = {
    "minute": "0-59",
    "hour": "0-23",
    "day-of-month": "1-31, or L for the last",
    "month": "1-12 or JAN-DEC",
    "day-of-week": "0-7 or SUN-SAT, 0 and 7 for Sunday",
}
_LONGEST = 200


class BadCron(ValueError):
    """No such time, or no such zone; the message says which part, and what would do."""


class Cron:
    """When.

    Args:
        expression: five fields: minute, hour, day of month, month, day of week.
        zone: name in the tz database, such as Europe/Berlin.

    Raises:
        BadCron: not a cron expression, one that never comes, or no such zone.
    """

    def __init__(self, expression: str, zone: str = "UTC") -> None:
        self.expression, self.zone = " ".join(expression.split()), zone
        self._zone = _zone(zone)
        _check(self.expression)
        if next(self.after(datetime.now(UTC)), None) is None:
            raise BadCron(_never(self.expression))

    def after(self, moment: datetime) -> Iterator[datetime]:
        """The times after this one, in UTC, rising; for as long as there are any within 50 years of the last."""
        last = moment.astimezone(UTC)
        for time in CronSim(self.expression, moment.astimezone(self._zone)):
            # Told an hour that comes twice, it begins with the first of the two, which may be over.
            if (instant := time.astimezone(UTC)) > last:
                last = instant
                yield instant

    def local(self, moment: datetime) -> datetime:
        """As the clock in the zone shows it."""
        return moment.astimezone(self._zone)


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # unknown, not a name at all, or a folder of the database
        near = get_close_matches(name, sorted(available_timezones()), n=1)
        hint = f"did you mean {near[0]}?" if near else "write a name such as Europe/Berlin or UTC"
        raise BadCron(f"zone {name!r}: no such time zone; {hint}") from None


def _check(expression: str) -> None:
    fields = expression.split()
    if len(expression) > _LONGEST or len(fields) != len(FIELDS):
        raise BadCron(f"cron {_short(expression)} has {len(fields)} fields; write five: {' '.join(FIELDS)}")
    for position, (name, field) in enumerate(zip(FIELDS, fields, strict=True)):
        try:
            CronSim(" ".join(field if at == position else "*" for at in range(len(FIELDS))), datetime(2000, 1, 1))
        except CronSimError:
            raise BadCron(
                f"cron {expression!r}: {field!r} is no {name}; write {_VALUES[name]}, with * for all, and lists 1,2, "
                "ranges 1-5 and steps */2 of them"
            ) from None
    try:
        CronSim(expression, datetime(2000, 1, 1))
    except CronSimError:  # each field is right, and no month in it has the day
        raise BadCron(_never(expression)) from None


def _never(expression: str) -> str:
    return f"cron {expression!r} never comes: no month in it has such a day"


def _short(expression: str) -> str:
    return repr(expression if len(expression) <= _LONGEST else expression[:_LONGEST] + "…")
