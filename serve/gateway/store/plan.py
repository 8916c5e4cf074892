"""The stored plan as the gateway knows it: looked at again whenever the file has changed."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

from streaming.store.plan import PlanProblem
from streaming.store.plan_file import StoredPlan, Table, read_plan, write_plan

_NAMED = ("camera", "zone", "line", "funnel", "rule")

logger = logging.getLogger(__name__)


class PlanFile:
    """The plan now. A file that has become unusable is reported, and the plan read last goes on to hold.

    Raises:
        PlanProblem: there is no plan at the start.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp = self._look()
        self._stored = read_plan(path)

    def stored(self) -> StoredPlan:
        """What holds."""
        if (stamp := self._look()) != self._stamp:
            self._stamp = stamp
            try:
                self._stored = read_plan(self._path)
            except PlanProblem as problem:
                logger.error("%s (the plan read before goes on to hold)", problem)
        return self._stored

    def write(self, table: Table, expected: str) -> StoredPlan:
        """Replace it.

        Raises:
            PlanProblem, PlanChanged: as `streaming.store.plan_file.write_plan`.
        """
        self._stored = write_plan(self._path, table, expected)
        self._stamp = self._look()
        return self._stored

    def _look(self) -> tuple[int, ...] | None:
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns, found.st_size


def thing_of(problem: PlanProblem, table: Any) -> str | None:
    """Which zone, line, camera, funnel or rule of a table this is about, so that it can be said beside it."""
    text = str(problem)
    for what in _NAMED:
        entries = table.get(what) if isinstance(table, dict) else None
        for entry in entries if isinstance(entries, list) else ():
            name = entry.get("name") if isinstance(entry, dict) else None
            if isinstance(name, str) and (
                re.search(rf"\b{what}(\[\d+\])? {re.escape(name)}: ", text) or f"name {name!r} is there twice" in text
            ):
                return name
    return None
