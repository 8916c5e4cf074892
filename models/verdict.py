"""A gate's verdict on a candidate: may it take the place of the version that serves, and by which figures."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any


class BadVerdict(ValueError):
    """What should be a verdict is none; the message says what is wrong."""


@dataclass(frozen=True)
class Reason:
    """One criterion: the figure that was measured, the bound that it had to keep, and whether it did.

    The criterion's words say which side of the bound is the good one: "log-loss above the live model's, at most".
    A figure or bound is None where it could not be measured, or where there is none.
    """

    criterion: str
    figure: float | None
    bound: float | None
    passed: bool


@dataclass(frozen=True)
class Verdict:
    """What a gate found.

    Attributes:
        passed: the candidate may take over; only if every reason passed.
        against: "NAME@VERSION" that it was compared with; "" where nothing served before.
        reasons: the criteria, in the order of the report.
        window: which data it was judged on, in words.
        created: when, ISO 8601.
    """

    passed: bool
    against: str
    reasons: tuple[Reason, ...]
    window: str
    created: str

    def __post_init__(self) -> None:
        if self.passed and not (self.reasons and all(reason.passed for reason in self.reasons)):
            raise BadVerdict("a verdict cannot pass without reasons, or with one that did not pass")

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values from which `from_json` makes an equal verdict; a figure that is not finite is None."""
        return {**asdict(self), "reasons": [_plain(reason) for reason in self.reasons]}

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Verdict:
        """The verdict that `to_json` wrote.

        Raises:
            BadVerdict: an unknown or missing key, a value of the wrong kind, or it contradicts itself.
        """
        _check_keys("a verdict", cls, raw)
        _check_kinds(raw, {"passed": bool, "against": str, "window": str, "created": str})
        if not isinstance(raw["reasons"], list) or not all(isinstance(reason, dict) for reason in raw["reasons"]):
            raise BadVerdict("reasons must be a list of objects")
        return cls(
            passed=raw["passed"],
            against=raw["against"],
            reasons=tuple(_reason(reason) for reason in raw["reasons"]),
            window=raw["window"],
            created=raw["created"],
        )


def _plain(reason: Reason) -> dict[str, Any]:
    figures = {name: getattr(reason, name) for name in ("figure", "bound")}
    known = {name: value if value is not None and math.isfinite(value) else None for name, value in figures.items()}
    return {**asdict(reason), **known}


def _reason(raw: Mapping[str, Any]) -> Reason:
    _check_keys("a reason", Reason, raw)
    _check_kinds(raw, {"criterion": str, "passed": bool})
    for name in ("figure", "bound"):
        value = raw[name]
        if value is not None and not (type(value) in (int, float) and math.isfinite(value)):
            raise BadVerdict(f"{name} must be a finite number or null, not {str(value)[:40]!r}")
    return Reason(raw["criterion"], raw["figure"], raw["bound"], raw["passed"])


def _check_keys(what: str, kind: type[Verdict | Reason], raw: Mapping[str, Any]) -> None:
    wanted = {field.name for field in fields(kind)}
    if set(raw) != wanted:
        raise BadVerdict(f"{what} has keys {sorted(raw)} instead of {sorted(wanted)}")


def _check_kinds(raw: Mapping[str, Any], kinds: Mapping[str, type]) -> None:
    for name, kind in kinds.items():
        if type(raw[name]) is not kind:
            raise BadVerdict(f"{name} must be {kind.__name__}, not {str(raw[name])[:40]!r}")
