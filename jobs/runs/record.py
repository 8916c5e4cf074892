"""The record of a run, and its curve."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from jobs.files import write_json, write_text

RECORD, CURVE = "run.json", "curve.jsonl"
State = Literal["running", "done", "failed", "interrupted"]


class BrokenRun(ValueError):
    """A run's record is missing or is not one; the message says which."""


@dataclass(frozen=True)
class RunRecord:
    """What a run was asked to do, and what came of it. Times are ISO, UTC."""

    run: str
    started: str
    recipe_name: str
    recipe: Mapping[str, Any]  # its dataclass as JSON
    store: str
    name: str  # of the model
    alias: str | None  # to move to it
    data: Mapping[str, Any]  # source in words, title, fingerprint, matches, held_out, frames
    environment: Mapping[str, Any]
    state: State = "running"
    reason: str = ""  # why it ended without a model
    ended: str = ""
    resumed: tuple[str, ...] = ()  # when it went on
    metrics: Mapping[str, Any] = field(default_factory=dict)  # of the epoch that was kept
    model: str = ""  # NAME@VERSION
    force: str = ""  # why the alias moves without a gate's verdict

    def write(self, folder: Path) -> None:
        """Put it in the place of the one before, whole."""
        write_json(folder / RECORD, asdict(self))


def read_record(folder: Path) -> RunRecord:
    """Of the run in this folder.

    Raises:
        BrokenRun: there is none, or it has other fields than a record has.
    """
    try:
        values = json.loads((folder / RECORD).read_text("utf-8"))
        known = {each.name for each in fields(RunRecord)}
        if not isinstance(values, dict) or not values.keys() <= known:
            raise BrokenRun(f"{folder / RECORD}: not the record of a run of this version of Sightline")
        return RunRecord(**{**values, "resumed": tuple(values.get("resumed", ()))})
    except (OSError, ValueError, TypeError) as error:
        if isinstance(error, BrokenRun):
            raise
        raise BrokenRun(f"{folder / RECORD}: cannot be read as a record of a run: {error}") from None


def curve_line(epoch: Mapping[str, Any]) -> str:
    """One epoch as a line of JSON; NaN, which JSON does not have, is null."""
    return json.dumps(_plain(epoch), allow_nan=False) + "\n"


def read_curve(folder: Path) -> list[dict[str, Any]]:
    """The epochs in their order. Of one that was done twice, after a loss, the last counts; a line that was cut short
    by the end of its process is left out."""
    try:
        lines = (folder / CURVE).read_text("utf-8").splitlines()
    except FileNotFoundError:
        return []
    epochs: dict[int, dict[str, Any]] = {}
    for line in lines:
        try:
            epoch = json.loads(line)
            epochs[int(epoch["epoch"])] = epoch
        except (ValueError, KeyError, TypeError):
            continue
    return [epochs[number] for number in sorted(epochs)]


def write_curve(folder: Path, epochs: list[Mapping[str, Any]]) -> None:
    """All epochs anew."""
    write_text(folder / CURVE, (curve_line(epoch) for epoch in epochs))


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _plain(inner) for name, inner in value.items()}
    return None if isinstance(value, float) and value != value else value
