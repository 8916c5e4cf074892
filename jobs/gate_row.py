"""A gate of a report, as all reports have it."""

from __future__ import annotations

from typing import Any


def gate_row(name: str, wanted: str, got: str, passed: bool | None) -> dict[str, Any]:
    """What was wanted and what was found, in words, and whether it is enough: None where nothing was measured."""
    return {"name": name, "wanted": wanted, "got": got, "passed": None if passed is None else bool(passed)}
