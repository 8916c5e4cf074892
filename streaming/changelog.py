"""The changelog of a pipeline's keyed state: what its records say, and the state taken back from them.

    STAGE@PARTITION/KEY  a row: framed Avro (`streaming.layouts`), a CRC-32 of record key and row at its end; null: gone
    STAGE/KEY            the same, of a key that all partitions share
    @layout/STAGE/ID     the schema with this id, in JSON; written before the first row that has it

What belongs to a partition lies in that partition of the changelog (counted around), what is shared in its first. Each
partition carries the schemas of its rows, so a worker that reads only its own can read rows of any older layout.

A changelog is believed only as a whole: nothing of it is taken over before all of it has been checked. A missing row
is the one thing that nothing tells.

**How long a start takes.** Only the last record of each key is decoded, and little more is held. The topic's settings
(`streaming.kafka.admin.topic_options`) bound what has to be read: the rows of all keys and a quarter more, 16 MB a
partition that are not cleaned yet, what is written between two rounds of the cleaner (15 s), and the tombstones and
transaction markers of an hour. For 100,000 keys of 340 bytes in 4 partitions that was 78 MB and 0.6 s; the restore of
ten versions of each, none cleaned, takes 3 to 4 s of CPU (`tests/benchmarks/bench_restore.py`).
"""

from __future__ import annotations

import zlib
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa

from streaming.codec import Decoder, frame_prefix
from streaming.layouts import KEY, BadSchema, Columns, RowLayout, Unfit
from streaming.records import Records
from streaming.state import SHARED, Changes, StateTable
from streaming.transport import Fetched, LogCorrupt, Output

_OF = "@"
_LAYOUT = b"@layout/"
_MAGIC, _FRAME_BYTES, _CHECK_BYTES = b"\0", 5, 4
_FOLD_ROWS = 100_000  # more records than this, and than twice what is kept of them, are not held at once


class Lanes(NamedTuple):
    """A changelog as it is read, or some of its partitions."""

    partitions: int  # how many it has in all
    pieces: Iterable[Fetched]  # those of a partition in log order


def lanes_of(owners: Collection[int], count: int) -> list[int]:
    """In which of a changelog's `count` partitions lies what belongs to these partitions of the source, or `SHARED`."""
    return sorted({_home(owner) % count for owner in owners})


def _home(owner: int) -> int:
    return 0 if owner == SHARED else owner


class StateCorrupt(RuntimeError):
    """A record of the changelog that cannot be what we wrote."""

    def __init__(self, topic: str, partition: int, offset: int, reason: str) -> None:
        super().__init__(
            f"{topic}/{partition}: the record at offset {offset} is not as we wrote it: {reason}. No state was taken "
            "over; bring the topic back from a replica or a copy, or stop the pipeline and delete the topic to go on "
            "from the committed offsets with empty state"
        )
        self.topic, self.partition, self.offset, self.reason = topic, partition, offset, reason

    def __reduce__(self) -> tuple[type[StateCorrupt], tuple[str, int, int, str]]:
        return type(self), (self.topic, self.partition, self.offset, self.reason)


class StateLayoutChanged(RuntimeError):
    """The changelog holds rows of another layout, of which this version cannot make its own."""


class Latest:
    """The last record of every key, of records in log order. Holds about twice as many at most: what matters is how
    many keys there are, not how long the changelog is."""

    def __init__(self) -> None:
        self._kept = Records.of([], [])
        self._pending: list[Records] = []
        self._count = 0

    def add(self, records: Records) -> None:
        """Take the next records in."""
        self._pending.append(records)
        self._count += len(records)
        if self._count > max(_FOLD_ROWS, len(self._kept)):
            self._fold()

    def records(self) -> Records:
        """In log order, tombstones among them."""
        self._fold()
        return self._kept

    def _fold(self) -> None:
        every = Records.joined([self._kept, *self._pending])
        last = pl.Series(pl.from_arrow(every.keys)).is_last_distinct().to_numpy()
        self._kept = every.take(np.flatnonzero(last))
        self._pending, self._count = [], 0


class _Row(NamedTuple):
    """Where a row lies, and the key it has in its table."""

    position: int
    key: str


class _Found(NamedTuple):
    """Rows that are to be taken over."""

    table: StateTable
    owner: int
    keys: list[str]
    columns: Columns


class StateChangelog:
    """Writes what changed in these tables, and takes it back.

    Args:
        topic: the changelog's.
        tables: by stage.
        former: stages that there were once; what is left of them is passed over.
    """

    def __init__(self, topic: str, tables: Mapping[str, StateTable], former: Collection[str] = ()) -> None:
        self._topic, self._tables, self._former = topic, tables, former
        self._described: set[tuple[str, int]] = set()  # (stage, owner) whose schema lies where its rows do

    def drain(self, now_ms: int) -> list[Output]:
        """What changed in all tables since the last call, each partition's in its own partition of the changelog."""
        return [
            self._output(table, owner, changes, now_ms)
            for table in self._tables.values()
            for owner, changes in table.drain_by_partition().items()
        ]

    def restore(self, lanes: Lanes, only: Collection[int] | None = None) -> None:
        """Take the state back.

        Args:
            lanes: what there is of the changelog.
            only: whose state, by partition of the source or `SHARED`; it takes the place of what tables hold of it.
                Without it everything, into tables that are empty.

        Raises:
            StateCorrupt: a record is not what it should be. The tables are as they were.
            StateLayoutChanged: rows are of a layout of which no row of today's can be made. Here, too.
        """
        latest: defaultdict[int, Latest] = defaultdict(Latest)
        try:
            for piece in lanes.pieces:
                latest[piece.range.partition].add(piece.records)
        except LogCorrupt as broken:
            raise StateCorrupt(self._topic, broken.partition, broken.start, broken.reason) from broken
        found: list[_Found] = []
        for partition, kept in sorted(latest.items()):
            found += self._of_lane(partition, kept.records(), lanes.partitions, only)
        for table in self._tables.values():
            for owner in only or ():
                table.forget(owner)
        for table, owner, keys, columns in found:
            table.take(keys, columns, owner)

    def _output(self, table: StateTable, owner: int, changes: Changes, now_ms: int) -> Output:
        keys, values = [], []
        if (table.name, owner) not in self._described:
            self._described.add((table.name, owner))
            keys.append(_LAYOUT + f"{table.name}/{table.schema_id}".encode())
            values.append(table.row_layout.published())
        before = f"{table.name}/" if owner == SHARED else f"{table.name}{_OF}{owner}/"
        prefix = frame_prefix(table.schema_id)
        for key, row in zip(changes.keys, changes.rows, strict=True):
            keys.append((before + key).encode())
            values.append(_sealed(keys[-1], prefix + row))
        keys += [(before + key).encode() for key in changes.deleted]
        gone = [None] * len(changes.deleted)
        records = Records.of(keys, [*values, *gone], timestamps_ms=np.full(len(keys), now_ms, np.int64))
        return Output(self._topic, records, lane=_home(owner))

    def _of_lane(self, partition: int, records: Records, count: int, only: Collection[int] | None) -> Iterator[_Found]:
        """The rows of one partition of the changelog."""
        layouts: dict[tuple[str, int], RowLayout] = {}
        tables: dict[bytes, tuple[str, int]] = {}  # what stands before the slash of a key
        rows: defaultdict[tuple[str, int], list[_Row]] = defaultdict(list)
        live = np.asarray(records.values.is_valid()).tolist()
        for position, raw in enumerate(records.keys.to_pylist()):
            try:
                if raw is not None and raw.startswith(_LAYOUT):
                    if live[position]:
                        layout = _described(raw, records.values[position].as_py())
                        layouts[layout.stage, layout.schema_id] = layout
                    continue
                head, slash, key = (b"" if raw is None else raw).partition(b"/")
                if not slash:
                    raise ValueError(f"its key is {raw!r}, without a stage")
                if head not in tables:
                    tables[head] = _parsed(head)
                (stage, owner), own_key = tables[head], key.decode()
                if stage not in self._tables:
                    if stage in self._former:
                        continue
                    raise ValueError(
                        f"there is no stage {stage!r}; if there was one once, name it in the pipeline's `former_stages`"
                    )
                if _home(owner) % count != partition:
                    whose = "what all partitions share" if owner == SHARED else f"what belongs to partition {owner}"
                    raise ValueError(f"{whose} lies elsewhere in a topic of {count} partitions, unless it was grown")
            except ValueError as wrong:
                raise self._corrupt(partition, records, position, str(wrong)) from wrong
            if live[position] and (only is None or owner in only):
                rows[stage, owner].append(_Row(position, own_key))
        for (stage, owner), own in rows.items():
            table = self._tables[stage]
            if (stage, table.schema_id) in layouts:
                self._described.add((stage, owner))
            yield from self._rows(table, owner, partition, records, own, layouts)

    def _rows(
        self,
        table: StateTable,
        owner: int,
        partition: int,
        records: Records,
        rows: Sequence[_Row],
        layouts: Mapping[tuple[str, int], RowLayout],
    ) -> Iterator[_Found]:
        """Rows of one table and owner, by their layouts."""
        index = pa.array([row.position for row in rows])
        keys, values = (column.take(index).to_pylist() for column in (records.keys, records.values))
        by_id: defaultdict[int, list[int]] = defaultdict(list)
        for number, (key, value) in enumerate(zip(keys, values, strict=True)):
            if value[:1] != _MAGIC or _sealed(key, value[:-_CHECK_BYTES]) != value:
                why = "its checksum is not that of its key and row" if value[:1] == _MAGIC else "it is not framed"
                raise self._corrupt(partition, records, rows[number].position, why)
            by_id[int.from_bytes(value[1:_FRAME_BYTES], "big")].append(number)
        for schema_id, numbers in by_id.items():
            first = rows[numbers[0]].position
            layout = layouts.get((table.name, schema_id))
            if layout is None:
                raise self._corrupt(
                    partition, records, first, f"no schema {schema_id} of stage {table.name} lies there"
                )
            decoded = Decoder(layout.schema, {schema_id: layout.schema}).decode(
                Records.of([None] * len(numbers), [values[number][:-_CHECK_BYTES] for number in numbers])
            )
            for bad in decoded.bad:
                raise self._corrupt(partition, records, rows[numbers[bad.row]].position, bad.message)
            own = [rows[number].key for number in numbers]
            if (held := decoded.frame[KEY].to_list()) != own:
                wrong = next(i for i, key in enumerate(own) if held[i] != key)
                raise self._corrupt(partition, records, rows[numbers[wrong]].position, f"it is of {held[wrong]!r}")
            columns: Columns = layout.unpack(decoded.frame)
            if schema_id != table.schema_id:
                columns = self._fitted(table, columns, partition, int(records.offsets[first]))
            yield _Found(table, owner, own, columns)

    def _fitted(self, table: StateTable, columns: Columns, partition: int, offset: int) -> Columns:
        try:
            return table.row_layout.fit(columns, table.migrate)
        except Unfit as unfit:
            raise StateLayoutChanged(
                f"{self._topic}/{partition}: rows of stage {table.name}, the first at offset {offset}, are of another "
                f"layout: {unfit}. Name what becomes of it in the stage's table (`migrate` of StateTable), run the "
                "version that wrote them, or stop the pipeline and delete the topic to start with empty state"
            ) from unfit

    def _corrupt(self, partition: int, records: Records, position: int, why: str) -> StateCorrupt:
        return StateCorrupt(self._topic, partition, int(records.offsets[position]), why)


def _sealed(key: bytes, value: bytes) -> bytes:
    """The value with its checksum: moved to another key, it does not fit any more."""
    return value + zlib.crc32(value, zlib.crc32(key)).to_bytes(_CHECK_BYTES, "big")


def _parsed(head: bytes) -> tuple[str, int]:
    """Stage and owner, of what stands before the slash of a key. Raises ValueError."""
    stage, of, partition = head.decode().partition(_OF)
    if not stage or (of and str(_number(partition)) != partition):
        raise ValueError(f"its key begins with {head!r}, not with STAGE or STAGE{_OF}PARTITION")
    return stage, int(partition) if of else SHARED


def _number(text: str) -> int:
    return int(text) if text.isdecimal() and text.isascii() and len(text) < 10 else -1


def _described(key: bytes, value: bytes) -> RowLayout:
    """The layout that a record tells of. Raises `BadSchema`."""
    layout = RowLayout.parse(value)
    if key != _LAYOUT + f"{layout.stage}/{layout.schema_id}".encode():
        raise BadSchema(f"its key is {key!r}, and its schema is {layout.schema_id} of stage {layout.stage!r}")
    return layout
