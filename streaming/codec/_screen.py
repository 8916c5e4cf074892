"""Which records are well-formed, found without decoding them: all records of a poll are walked side by side.

polars reads a block fast but trusts it: a union tag of 2, a boolean of 7 or an int of 40 bits pass as if they were
right, and a wrong length is a panic. So every record is walked first, one numpy step per field for all records
together, and only those that end exactly where they should reach polars. The walk is strict: what it does not vouch for
(damage, but also legal oddities such as arrays in several blocks) is judged by fastavro, record by record.

A record that is not right jumps so far ahead that it never ends where it should, so nothing else is noted of it. Most
jumps are read from a table, by the byte or two that decide them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from streaming.codec._schema import Array, Enum, Fixed, Primitive, Record, Type, Union, children

Bytes = npt.NDArray[np.uint8]
Rows = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

MAX_ITEMS = 64
"""Arrays of items of varying size are walked item by item: longer ones, and arrays within them, are for fastavro."""

_LOST = 1 << 40  # beyond every record; the sum over all fields of a schema still fits an int64
_LONG = -1  # in a table: more bytes decide
_FIXED_BYTES = {"float": 4, "double": 8}
_CONTINUES = np.uint64(0x8080808080808080)
_INT_MAX_ZIGZAG = (1 << 32) - 1


@dataclass
class Walk:
    """N readers at their places in the same data."""

    data: Bytes
    pairs: npt.NDArray[np.uint16]  # the two bytes at each place
    words: npt.NDArray[np.uint64]  # the eight bytes at each place
    at: Rows  # (N,)

    def byte(self) -> Bytes:
        return self.data.take(self.at, mode="clip")

    def pair(self) -> npt.NDArray[np.uint16]:
        return self.pairs[np.minimum(self.at, len(self.pairs) - 1)]  # `take` would first copy what is not aligned

    def word(self) -> npt.NDArray[np.uint64]:
        return self.words[np.minimum(self.at, len(self.words) - 1)]

    def some(self, rows: Rows) -> Walk:
        return Walk(self.data, self.pairs, self.words, self.at[rows])


Step = Callable[[Walk], None]


def screen(record: Record) -> Callable[[Bytes, Rows, Rows], Mask]:
    """A function of (data, starts, ends) that says which records are well-formed, (N,). `data` must go on for eight
    bytes beyond the last record."""
    steps = _steps(record)

    def well_formed(data: Bytes, starts: Rows, ends: Rows) -> Mask:
        count = len(data) - 7
        pairs = np.ndarray((count,), "<u2", data, strides=(1,))
        words = np.ndarray((count,), "<u8", data, strides=(1,))
        walk = Walk(data, pairs, words, starts.copy())
        for step in steps:
            step(walk)
        complete: Mask = walk.at == ends
        return complete

    return well_formed


def _steps(type_: Type) -> list[Step]:
    size = _fixed_bytes(type_)
    if size is not None:
        return [_skip(size)] if size else []
    match type_:
        case Primitive("boolean"):
            return [_byte_table({0: 1, 1: 1})]
        case Primitive("int"):
            return [_int]
        case Primitive("long"):
            return [_long]
        case Primitive("string" | "bytes"):
            return [_text]
        case Enum(_, symbols):
            return [_enum(len(symbols))]
        case Union(branches) if type_.optional is not None:
            return [_optional(branches[type_.optional], present=2 * type_.optional)]
        case Array(items):
            return [_array(items)]
        case Record(_, fields):
            return _merged([(field.type, _fixed_bytes(field.type)) for field in fields])
    raise TypeError(f"no walk over {type_}")


def _merged(fields: list[tuple[Type, int | None]]) -> list[Step]:
    """One step for neighbours of fixed size."""
    steps: list[Step] = []
    skipped = 0
    for type_, size in fields:
        if size is not None:
            skipped += size
            continue
        steps += [*([_skip(skipped)] if skipped else []), *_steps(type_)]
        skipped = 0
    return [*steps, _skip(skipped)] if skipped else steps


def _fixed_bytes(type_: Type) -> int | None:
    """The size of a type whose every byte pattern of that size is a value; None for others."""
    match type_:
        case Primitive(kind):
            return _FIXED_BYTES.get(kind)
        case Fixed(_, size):
            return size
        case Record(_, fields):
            sizes = [_fixed_bytes(field.type) for field in fields]
            return None if None in sizes else sum(size for size in sizes if size)
    return None


def _skip(size: int) -> Step:
    def step(walk: Walk) -> None:
        walk.at += size

    return step


def _byte_table(jumps: dict[int, int]) -> Step:
    """Where one byte says it all: how far to go for each; any other is wrong."""
    table = np.full(256, _LOST)
    table[list(jumps)] = list(jumps.values())

    def step(walk: Walk) -> None:
        walk.at += table.take(walk.byte())

    return step


# --- numbers ------------------------------------------------------------------------------------------------------


def _long(walk: Walk) -> None:
    first = walk.byte()
    if first.max(initial=0) < 128:
        walk.at += 1
        return
    words = walk.word()
    ends = ~words & _CONTINUES  # the top bit of each byte that ends a varint
    walk.at += np.bitwise_count(ends ^ (ends - np.uint64(1))) >> 3  # bytes up to the first of them; 8 if there is none
    open_ = np.flatnonzero(ends == 0)
    if len(open_):
        rest = walk.some(open_).word()
        ninth, tenth = rest & np.uint64(0xFF), rest >> np.uint64(8) & np.uint64(0xFF)
        walk.at[open_] += np.where(ninth < 128, 1, np.where(tenth <= 1, 2, _LOST))  # of the tenth, one bit counts


def _varint(walk: Walk) -> Rows:
    """The raw value of varints of at most five bytes, before zigzag; a longer one is lost."""
    first = walk.byte()
    if first.max(initial=0) < 128:
        walk.at += 1
        return first.astype(np.int64)
    words = walk.word()
    ends = ~words & _CONTINUES
    size = np.bitwise_count(ends ^ (ends - np.uint64(1))) >> 3
    value = words & np.uint64(0x7F)
    for i in range(1, min(5, int(size.max()))):
        group = words >> np.uint64(8 * i) & np.uint64(0x7F)
        value |= np.where(size > i, group << np.uint64(7 * i), np.uint64(0))
    walk.at += np.where((size <= 5) & (ends != 0), size.astype(np.int64), _LOST)
    return value.astype(np.int64)


def _int(walk: Walk) -> None:
    value = _varint(walk)
    if value.max(initial=0) > _INT_MAX_ZIGZAG:
        walk.at[value > _INT_MAX_ZIGZAG] += _LOST


def _enum(symbols: int) -> Step:
    if symbols <= 64:
        return _byte_table({2 * number: 1 for number in range(symbols)})

    def step(walk: Walk) -> None:
        value = _varint(walk)
        walk.at[(value & 1 == 1) | (value >= 2 * symbols)] += _LOST

    return step


# --- what has a length --------------------------------------------------------------------------------------------

_TEXT_JUMPS = np.array([_LONG if byte >= 128 else _LOST if byte % 2 else 1 + byte // 2 for byte in range(256)])


def _text(walk: Walk) -> None:
    jumps = _TEXT_JUMPS.take(walk.byte())
    if jumps.min(initial=0) == _LONG:
        walk.at += _count(walk)
    else:
        walk.at += jumps


def _count(walk: Walk) -> Rows:
    """A length or a number of items; a negative one is lost and answered with 0."""
    raw = _varint(walk)
    negative = raw & 1 == 1
    walk.at[negative] += _LOST
    return np.where(negative, 0, raw >> 1)


def _optional(inner: Type, present: int) -> Step:
    size = _fixed_bytes(inner)
    if size is not None:
        return _byte_table({present: 1 + size, 2 - present: 1})
    steps = _steps(inner)

    def step(walk: Walk) -> None:
        tag = walk.byte()
        walk.at += 1
        walk.at[(tag & 0xFD) != 0] += _LOST  # neither 0 nor 2
        rows = np.flatnonzero(tag == present)
        if len(rows):
            some = walk.some(rows)
            for inner_step in steps:
                inner_step(some)
            walk.at[rows] = some.at

    return _optional_text(present, step) if inner in (Primitive("string"), Primitive("bytes")) else step


def _optional_text(present: int, slow: Step) -> Step:
    """Tag and length in one look, where all lengths are short."""
    table = np.full(1 << 16, _LOST)  # by tag + 256 * length
    table[2 - present :: 256] = 1
    table[present::256] = np.where(_TEXT_JUMPS < 0, _TEXT_JUMPS, 1 + _TEXT_JUMPS)

    def step(walk: Walk) -> None:
        jumps = table.take(walk.pair())
        if jumps.min(initial=0) == _LONG:
            slow(walk)
        else:
            walk.at += jumps

    return step


def _array(items: Type) -> Step:
    size = _fixed_bytes(items)
    limit = 0 if _holds_array(items) else MAX_ITEMS
    steps = [] if size is not None else _steps(items)

    def step(walk: Walk) -> None:
        count = _count(walk)
        rows = np.flatnonzero(count)
        if not len(rows):
            return
        some, left = walk.some(rows), count[rows]
        if size is not None:
            some.at += np.minimum(left * size, _LOST)
        else:
            some.at[left > limit] += _LOST
            _walk_items(steps, some, np.where(left > limit, 0, left))
        some.at += np.where(some.byte() == 0, 1, _LOST)  # one block with all items, then the end
        walk.at[rows] = some.at

    return step


def _holds_array(type_: Type) -> bool:
    return isinstance(type_, Array) or any(_holds_array(child) for child in children(type_))


def _walk_items(steps: list[Step], walk: Walk, left: Rows) -> None:
    rows = np.flatnonzero(left)
    done = 0
    while len(rows):
        item = walk.some(rows)
        for step in steps:
            step(item)
        walk.at[rows] = item.at
        done += 1
        rows = rows[(left[rows] > done) & (item.at < _LOST)]
