"""What can go wrong inside a runner's processes, switched by files in a folder that all of them see.

Ray carries this module's classes by value (`tests.chaos.lab`): its workers need not find `tests`.
"""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from pathlib import Path
from typing import Any

import polars as pl

from streaming.codec import PackagedRegistry, RegistryUnavailable, load_schema
from streaming.pipeline import DependencyUnavailable
from streaming.transport import Sink
from tests.counting import SCHEMA, OnKafka, wall_ms

SECOND_ID = 901
"""The schema id of writers that have one field more."""


class Switches:
    """Faults that are on, by name, each perhaps with a number."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def on(self, fault: str, value: float = 0.0) -> None:
        partial = self._folder / f"{fault}.tmp"
        partial.write_text(repr(value))
        partial.replace(self._folder / fault)

    def off(self, fault: str) -> None:
        (self._folder / fault).unlink(missing_ok=True)

    def get(self, fault: str) -> float | None:
        try:
            return float((self._folder / fault).read_text())
        except FileNotFoundError:
            return None


class NoteProcess:
    """A transform that changes nothing, and leaves the number of its process."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __call__(self, frame: pl.DataFrame) -> pl.DataFrame:
        (self._folder / str(os.getpid())).touch()
        return frame


class Model:
    """What the stage asks before it answers: while `model` is on it takes up to 20 ms, and is away that often."""

    def __init__(self, switches: Switches, seed: int) -> None:
        self._switches, self._random = switches, random.Random(seed)

    def __call__(self, rows: pl.DataFrame) -> None:
        often = self._switches.get("model")
        if often is None:
            return
        time.sleep(self._random.uniform(0.0, 0.02))
        if self._random.random() < often:
            raise DependencyUnavailable("the model is away, as the lab wants")


class SkewedClock:
    """The wall's, and `clock` milliseconds."""

    def __init__(self, switches: Switches) -> None:
        self._switches = switches

    def __call__(self) -> int:
        return wall_ms() + int(self._switches.get("clock") or 0)


class Registry:
    """The packaged schemas, and a second one of the feed's; neither while `registry` is on."""

    def __init__(self, switches: Switches) -> None:
        self._switches = switches

    def schema(self, schema_id: int) -> dict[str, Any]:
        if self._switches.get("registry") is not None:
            raise RegistryUnavailable("the registry is away, as the lab wants")
        return second_schema() if schema_id == SECOND_ID else PackagedRegistry().schema(schema_id)

    def id_of(self, schema_name: str) -> int:
        return PackagedRegistry().id_of(schema_name)


def second_schema() -> dict[str, Any]:
    schema = load_schema(SCHEMA)
    added = {"name": "referee", "type": ["null", "string"], "default": None}
    return {**schema, "fields": [added, *schema["fields"]]}


class TerminatingLog(OnKafka):
    """Its sinks send the driver a SIGTERM in a commit of theirs: number `nth`, some milliseconds after it began."""

    def __init__(self, log: OnKafka, pid: int, nth: int, after_s: float) -> None:
        super().__init__(log.settings, log.delivery)
        self._pid, self._nth, self._after_s = pid, nth, after_s

    def __getstate__(self) -> Any:
        return OnKafka(self.settings, self.delivery), self._pid, self._nth, self._after_s

    def sink(self, transactional_id: str, group: str, topic: str, producers: int = 1) -> Sink:
        sink = super().sink(transactional_id, group, topic, producers)
        commit, count = sink.commit, 0

        def terminating(**batch: Any) -> None:
            nonlocal count
            count += 1
            if count == self._nth:
                threading.Timer(self._after_s, os.kill, (self._pid, signal.SIGTERM)).start()
            commit(**batch)

        sink.commit = terminating  # type: ignore[method-assign]
        return sink
