"""What the settings file says of a schedule: which command, when, and what of runs that fail or meet.

[schedule.nightly]
command = "train win-tsstn --data s3://matches/gold.parquet --alias candidate"
cron = "0 3 * * *"
zone = "Europe/Berlin"
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from functools import lru_cache
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from jobs.schedule.cron import Cron

Overlap = Literal["skip", "queue", "replace"]

_NAME = re.compile(r"[a-z]([a-z0-9-]{0,38}[a-z0-9])?")
_YEAR_S = 366 * 86_400


class Schedule(BaseModel):
    """One schedule. Whatever of `cron`, `events` and `drift` is set starts a run, at least one of them is."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    command: str = Field(description="What follows `sightline`: train win-tsstn --data …")
    cron: str | None = Field(default=None, description="Minute, hour, day of month, month, day of week.")
    zone: str = Field(default="UTC", description="Of the cron times.")
    grace_s: float = Field(
        default=3600.0, ge=60, le=_YEAR_S, description="Missed times, the scheduler being away, are made up for, once."
    )
    events: int | None = Field(
        default=None,
        gt=0,
        description="So many more on the topic than when the last good or refused run began.",
    )
    topic: str = Field(default="match.events", min_length=1, max_length=249)
    drift: str | None = Field(default=None, description="Pipeline whose alerts start a run.")
    cool_down_s: float = Field(
        default=3600.0, ge=0, le=_YEAR_S, description="From the end of a run to the next by `events` or `drift`."
    )
    overlap: Overlap = Field(default="skip", description="Of a time that comes while a run is on.")
    retries: int = Field(default=0, ge=0, le=100)
    back_off_s: float = Field(
        default=60.0, gt=0, le=86_400, description="To the first retry; then doubled, up to a day."
    )
    time_limit_s: float | None = Field(default=None, gt=0, le=_YEAR_S, description="Of each attempt.")
    suspended: bool = Field(default=False, description="Starts by hand only.")

    @field_validator("command")
    @classmethod
    def _has_words(cls, value: str) -> str:
        try:
            words = shlex.split(value)
        except ValueError as error:
            raise ValueError(f"{error}: close every quote") from None
        if not words or words[0] == "sightline":
            raise ValueError("must be what follows `sightline`, such as train win-tsstn --data PATH")
        return value

    @model_validator(mode="after")
    def _starts_some_day(self) -> Schedule:
        if self.cron is not None:
            _cron(self.cron, self.zone)
        elif self.zone != "UTC":
            raise ValueError(f"zone {self.zone} is about cron times: set cron, too")
        if self.cron is None and self.events is None and self.drift is None:
            raise ValueError("never starts: set cron, events or drift")
        return self

    @property
    def words(self) -> tuple[str, ...]:
        """The command, in words."""
        return tuple(shlex.split(self.command))

    @property
    def times(self) -> Cron | None:
        """Its cron times, if it has any."""
        return None if self.cron is None else _cron(self.cron, self.zone)


_cron = lru_cache(maxsize=256)(Cron)


def check_names(schedules: Mapping[str, Schedule]) -> Mapping[str, Schedule]:
    """The same.

    Raises:
        ValueError: a name that a job of a cluster could not bear.
    """
    for name in schedules:
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} is no name: write up to 40 letters a-z, digits and dashes, a letter first")
    return schedules
