"""Keyed state: one row per key, columns in numpy, so that a stage reads and writes a whole batch of keys at once.

    layout = {"clock_s": Column(np.float64, default=-1.0), "hidden": Column(np.float32, (64,)), "team": Column(str)}
    table = StateTable("fold", layout)
    slots = table.slots(["m1", "m2"])            # (2,), new keys get the defaults
    table["clock_s"][slots] += 30.0
    table.touch(["m1", "m2"])                    # these rows go to the changelog with the next commit

`drain` hands out what changed since the last call, as Avro; decoded, `restore` takes it back. The layout decides the
Avro schema of the changelog, so that another layout is taken over knowingly (`streaming.layouts`) instead of misread.

A key that was asked for with its rows' partitions belongs to one of them for good, and moves with it from worker to
worker; one that was not is shared by all partitions.

Nothing here expires by itself: when a key has had its time is for its stage to say, by event time of its partition, so
that it is said of the same row in every cut of the stream. Matches go when they close or fall silent (`match_fold`,
`threads`), windows at their horizon (`streaming.windows`), results when they join their base, patches when enough
matches came after them (`settling`, `guard`). What stays for good is a row a partition, a title, a team, and a title
in a partition.
`StateLimits` is for what none of this foresaw.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from streaming.layouts import CHECK, KEY, PACKED, Columns, Migrate, PackedColumn, RowLayout
from streaming.varint import sized

SHARED = -1
"""In place of a partition: the key belongs to none."""

_GROWTH_ROWS = 256

Slots = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Column:
    """One state column: a numpy scalar type (or `str`), a shape for vectors, and what a new key starts with."""

    dtype: type
    shape: tuple[int, ...] = ()
    default: Any = 0

    @property
    def is_text(self) -> bool:
        """Whether values are strings of any length."""
        return self.dtype is str

    def empty(self, rows: int) -> npt.NDArray[Any]:
        """Storage for this many rows, filled with the default, (rows, *shape)."""
        if self.is_text:
            return np.full(rows, self.default or "", dtype=object)
        return np.full((rows, *self.shape), self.default, dtype=self.dtype)


class Changes(NamedTuple):
    """What to write to the changelog: rows by key, and keys that are gone (tombstones)."""

    keys: list[str]
    rows: list[bytes]  # in Avro, by `StateTable.schema`
    deleted: list[str]


class StateTooLarge(RuntimeError):
    """A stage keeps more than it may; nothing of the batch that took it there has been written."""


@dataclass(frozen=True)
class StateLimits:
    """How much one stage may keep, in one process. Beyond it the run stops: a key that was refused, or evicted, would
    be another one in every cut of the stream, and with it the answers."""

    max_keys: int = 1_000_000
    max_bytes: int = 1 << 30  # of rows as on the changelog; in memory they take about as much

    def check(self, table: StateTable) -> None:
        """Raises `StateTooLarge` if the table is above either."""
        for setting, unit, held, most in (
            ("state_max_keys", "keys", len(table), self.max_keys),
            ("state_max_mb", "bytes", table.size_bytes, self.max_bytes),
        ):
            if held > most:
                raise StateTooLarge(
                    f"stage {table.name} keeps {held:,} {unit}, and {most:,} are allowed: raise pipeline.{setting}, "
                    "spread the partitions over more workers, or find out what makes new keys; nothing of the batch "
                    "that led there was written"
                )


class StateTable:
    """The rows of one stage, in memory. Not thread-safe; one owner.

    Args:
        name: the stage's.
        layout: its columns.
        partitioned: every key belongs to a partition; then the partitions may be read by as many workers.
        migrate: what becomes of rows of an older layout that `streaming.layouts` would not take over by itself.
    """

    def __init__(
        self, name: str, layout: Mapping[str, Column], *, partitioned: bool = False, migrate: Migrate | None = None
    ) -> None:
        for taken in (KEY, PACKED, CHECK):
            if taken in layout:
                raise ValueError(f"state {name}: {taken!r} is taken, it is a field of the changelog")
        self.name = name
        self.layout = dict(layout)
        self.partitioned = partitioned
        self.migrate = migrate
        packed = [
            PackedColumn(column, np.dtype(spec.dtype).newbyteorder("<").str, spec.shape)
            for column, spec in self.layout.items()
            if not spec.is_text
        ]
        self.row_layout = RowLayout(name, tuple(c for c, spec in layout.items() if spec.is_text), tuple(packed))
        self._texts, self._packing = self.row_layout.texts, self.row_layout.dtype
        self.size_bytes = 0
        """Of all rows, as last drained or restored."""
        self._columns = {column: spec.empty(_GROWTH_ROWS) for column, spec in self.layout.items()}
        self._slot_of: dict[str, int] = {}
        self._free = list(range(_GROWTH_ROWS - 1, -1, -1))
        self._partition = np.full(_GROWTH_ROWS, SHARED, np.int32)  # by slot: to which it belongs
        self._sizes = np.zeros(_GROWTH_ROWS, np.int64)  # by slot: bytes of its row
        self._dirty: set[str] = set()
        self._deleted: dict[str, int] = {}  # with the partition to which it belonged

    def __len__(self) -> int:
        return len(self._slot_of)

    def __contains__(self, key: str) -> bool:
        return key in self._slot_of

    def __getitem__(self, column: str) -> npt.NDArray[Any]:
        """The column's storage, (capacity, *shape); index it with slots. Fetch it anew after `slots` or `delete`."""
        return self._columns[column]

    @property
    def schema(self) -> dict[str, Any]:
        """Avro schema of the rows that `drain` hands out."""
        return self.row_layout.schema

    @property
    def schema_id(self) -> int:
        """Of the layout: `RowLayout.schema_id`."""
        return self.row_layout.schema_id

    def keys(self) -> list[str]:
        """All keys, in no order."""
        return list(self._slot_of)

    def keys_where(self, chosen: npt.NDArray[np.bool_]) -> list[str]:
        """Keys whose slot is chosen, (capacity,); what unused slots hold does not matter."""
        if not chosen.any():
            return []
        return [key for key, slot in self._slot_of.items() if chosen[slot]]

    def slots(self, keys: Sequence[str], partitions: Sequence[int] | npt.NDArray[Any] | None = None) -> Slots:
        """The slot of each key, (N,); a key seen for the first time gets one, filled with the defaults, and belongs to
        its partition in `partitions` (N,), or to none."""
        found = [self._slot_of.get(key, -1) for key in keys]
        if -1 in found:
            new: dict[str, int] = {}  # with its partition; the same key may come twice
            for position, slot in enumerate(found):
                if slot < 0:
                    new.setdefault(keys[position], SHARED if partitions is None else int(partitions[position]))
            self._admit(new)
            found = [self._slot_of[key] for key in keys]
        return np.asarray(found, dtype=np.int64)

    def touch(self, keys: Sequence[str]) -> None:
        """Mark these rows as changed: they are part of the next `drain`."""
        self._dirty.update(keys)

    def delete(self, keys: Sequence[str]) -> None:
        """Forget these keys; unknown ones are ignored."""
        for key in keys:
            slot = self._slot_of.pop(key, None)
            if slot is None:
                continue
            self._release(slot)
            self._dirty.discard(key)
            self._deleted[key] = int(self._partition[slot])

    def forget(self, partition: int) -> int:
        """Let go of all that belongs to this partition, without a word to the changelog: it lives on elsewhere. How
        many keys that were."""
        chosen = self._partition == partition
        keys = self.keys_where(chosen)
        for key in keys:
            slot = self._slot_of.pop(key)
            self._release(slot)
            self._reset(slot)  # totals over the storage must not find it there
        self._dirty.difference_update(keys)
        self._deleted = {key: owner for key, owner in self._deleted.items() if owner != partition}
        return len(keys)

    def drain(self) -> Changes:
        """All that changed since the last drain, keys sorted, and forget that it did."""
        keys = sorted(self._dirty)
        changes = Changes(keys, self._avro(keys), sorted(self._deleted))
        self._dirty.clear()
        self._deleted.clear()
        return changes

    def drain_by_partition(self) -> dict[int, Changes]:
        """As `drain`, by the partition to which keys belong, or `SHARED`."""
        owners, gone = {key: int(self._partition[self._slot_of[key]]) for key in self._dirty}, dict(self._deleted)
        keys, rows, deleted = self.drain()
        found: dict[int, Changes] = defaultdict(lambda: Changes([], [], []))
        for key, row in zip(keys, rows, strict=True):
            found[owners[key]].keys.append(key)
            found[owners[key]].rows.append(row)
        for key in deleted:
            found[gone[key]].deleted.append(key)
        return dict(sorted(found.items()))

    def restore(self, rows: pl.DataFrame, partition: int = SHARED) -> None:
        """Take rows back, the last of a key winning; marks nothing as changed.

        Args:
            rows: what `drain` handed out, decoded: key String, the layout's texts, and all else as packed Binary.
            partition: to which the keys belong.
        """
        self.take(rows[KEY].to_list(), self.row_layout.unpack(rows), partition)

    def take(self, keys: Sequence[str], columns: Columns, partition: int = SHARED) -> None:
        """As `restore`, from columns (N, *shape); those that are not there keep the default."""
        slots = self.slots(keys, np.full(len(keys), partition))
        for name, values in columns.items():
            self._columns[name][slots] = values
        sizes = np.fromiter(map(len, self._heads(keys, slots)), np.int64, len(keys)) + self._packing.itemsize
        slots, last = np.unique(slots[::-1], return_index=True)
        self._weigh(slots, sizes[::-1][last])

    def _admit(self, new: Mapping[str, int]) -> None:
        if self.partitioned and SHARED in new.values():
            (key, *_) = (key for key, partition in new.items() if partition == SHARED)
            raise ValueError(f"state {self.name} is partitioned: say to which partition {key!r} belongs")
        while len(self._free) < len(new):
            self._grow()
        slots = [self._free.pop() for _ in new]
        self._slot_of.update(zip(new, slots, strict=True))
        for key, partition in new.items():
            if self._deleted.get(key) == partition:
                del self._deleted[key]
        index = np.asarray(slots)
        self._partition[index] = list(new.values())
        self._reset(index)

    def _reset(self, slots: Slots | int) -> None:
        for name, spec in self.layout.items():
            self._columns[name][slots] = (spec.default or "") if spec.is_text else spec.default

    def _release(self, slot: int) -> None:
        self._free.append(slot)
        self.size_bytes -= int(self._sizes[slot])
        self._sizes[slot] = 0

    def _weigh(self, slots: Slots, sizes: npt.NDArray[np.int64]) -> None:
        """Note how large these rows are; no slot comes twice."""
        self.size_bytes += int(sizes.sum() - self._sizes[slots].sum())
        self._sizes[slots] = sizes

    def _grow(self) -> None:
        old = len(self._partition)
        extra = max(_GROWTH_ROWS, old)
        for name, spec in self.layout.items():
            self._columns[name] = np.concatenate([self._columns[name], spec.empty(extra)])
        self._partition = np.concatenate([self._partition, np.full(extra, SHARED, np.int32)])
        self._sizes = np.concatenate([self._sizes, np.zeros(extra, np.int64)])
        self._free[:0] = range(old + extra - 1, old - 1, -1)

    def _avro(self, keys: list[str]) -> list[bytes]:
        """The rows of these keys. Row by row: a batch has few, and columns would cost more than their content."""
        slots = np.asarray([self._slot_of[key] for key in keys], dtype=np.int64)
        made, size = self._heads(keys, slots), self._packing.itemsize
        if size:
            rows = np.empty(len(keys), self._packing)
            for name in self._packing.fields or ():
                rows[name] = self._columns[name][slots]
            packed = rows.tobytes()
            made = [head + packed[at : at + size] for head, at in zip(made, range(0, len(packed), size), strict=True)]
        self._weigh(slots, np.fromiter(map(len, made), np.int64, len(made)))
        return made

    def _heads(self, keys: Sequence[str], slots: Slots) -> list[bytes]:
        """Key and texts of each row."""
        texts = [self._columns[name][slots].tolist() for name in self._texts]
        return [b"".join([sized(text.encode()) for text in row]) for row in zip(keys, *texts, strict=True)]
