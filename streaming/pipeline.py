"""A pipeline is data: it can be built, printed and tested without Kafka, Ray or a model.

    source topic ─► transforms (stateless) ─► stages (keyed state; the model is one of them) ─► sink topic

Runners (`streaming.runners`) execute it. For the same input offsets, state and model version every runner emits the
same rows.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import polars as pl

from streaming.state import StateTable
from streaming.topics import Topic

Transform = Callable[[pl.DataFrame], pl.DataFrame]
"""Rows in, rows out, row by row: the answer for a row never depends on its neighbours, because a runner cuts batches
as it likes. Columns that begin with an underscore travel along untouched:

    _partition Int32, _offset Int64, _ingest_time_ms Int64, _schema_id Int32    where the row came from
    _reject    String, null for a good row; else why it goes to dead letters ("ErrorClass: message")
"""


class DependencyUnavailable(ConnectionError):
    """Something a stage needs (a model, a registry) cannot answer now. Not a bad record: the runner waits and calls the
    stage again with the same rows, so a stage raises this before it changes its state."""


class Stage(Protocol):
    """A keyed step. Rows of one key arrive in offset order; state lives in the table handed in, which the runner
    restores and logs. A stage keeps nothing on itself between calls. A row it cannot answer leaves with a reason in
    `_reject`; the runner takes it out and sends the record behind it to dead letters."""

    @property
    def name(self) -> str:
        """Unique in its pipeline; part of the changelog key."""

    def new_state(self) -> StateTable:
        """An empty table of this stage's layout."""

    def __call__(self, rows: pl.DataFrame, state: StateTable) -> pl.DataFrame:
        """Rows in, rows out (fewer or more), in the order of their source offsets."""


@runtime_checkable
class TickingStage(Stage, Protocol):
    """A stage that has something to say when no row comes. Live runners tick it about once a second by their clock, a
    replay by the log's times. A tick is not on the log: what it changed and what it made are committed in one
    transaction, like those of a batch."""

    def tick(self, now_ms: int, partitions: Collection[int], state: StateTable) -> pl.DataFrame:
        """Processing time has come to `now_ms`. Rows out as from a call, with the `_partition`, `_offset`, ... of each
        partition's last row; none if nothing was due.

        Args:
            now_ms: UTC, by the runner's clock, or that of the log.
            partitions: those of which the stage has been handed every record that the log held at `now_ms`. A partition
                with records still to be read is not quiet, however long ago its last row came.
            state: the stage's.
        """


@dataclass(frozen=True)
class Facts:
    """What a stage's state says that an operator wants to know."""

    totals: Mapping[str, int] = field(default_factory=dict)  # name to a count that only rises while the state lives
    alerts: tuple[str, ...] = ()  # what is wrong now, a sentence each


@runtime_checkable
class FactualStage(Stage, Protocol):
    """A stage that can say how it is; asked once a commit, so the answer must be cheap."""

    def facts(self, state: StateTable) -> Facts:
        """As the state stands."""


@dataclass(frozen=True)
class NewestFirst:
    """Load-shedding for what is worthless late: a record that has waited longer than this is passed over, and counted
    as shed, so that the newest are answered in time. Only live runners shed; a replay answers all."""

    max_age_s: float  # by record time, when it is read

    def __post_init__(self) -> None:
        if not self.max_age_s > 0:
            raise ValueError(f"records must be allowed some age before they are shed, not {self.max_age_s} s")


@dataclass(frozen=True)
class Pipeline:
    """One flow: what it reads, what it does, what it writes."""

    name: str
    source: Topic
    transforms: tuple[Transform, ...]
    stages: tuple[Stage, ...]
    sink: Topic
    counted_flags: tuple[str, ...] = ()  # flags of answers that an operator wants counted
    former_stages: tuple[str, ...] = ()  # names of stages it had once, whose state may still lie on its changelog
    shedding: NewestFirst | None = None  # what becomes of records when more come than can be answered; None: they wait
    dead_letters: bool = True  # whether it writes down what it cannot accept; else it only counts it
    looks_up: tuple[Topic, ...] = ()  # topics that its stages follow beside the source

    def __post_init__(self) -> None:
        names = [stage.name for stage in self.stages]
        if len(set(names)) != len(names):
            raise ValueError(f"pipeline {self.name}: two stages share a name: {names}")
        if bad := [name for name in names if not name or {"/", "@"} & set(name)]:
            raise ValueError(f"pipeline {self.name}: stage {bad[0]!r} needs a name without / and @")
        if self.shedding is not None and not self.source.sheddable:
            raise ValueError(
                f"pipeline {self.name}: every record of {self.source.name} must be answered, so none may be shed; "
                "a topic whose records may be is declared with sheddable=True"
            )

    @property
    def shared(self) -> tuple[str, ...]:
        """Stages whose state belongs to no single partition: where there are any, one worker reads all partitions."""
        return tuple(stage.name for stage in self.stages if not stage.new_state().partitioned)

    def __str__(self) -> str:
        steps = [getattr(step, "__name__", type(step).__name__) for step in self.transforms]
        keyed = [f"{stage.name}*" for stage in self.stages]
        return f"{self.name}: {self.source.name} → {' → '.join([*steps, *keyed])} → {self.sink.name}"
