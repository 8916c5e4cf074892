"""How large a record may be, and what becomes of one that is larger.

A topic takes records up to its max.message.bytes; a larger one would be refused again and again. Answers and state rows
of that size are an error. A dead letter is not: the record behind it may have come compressed, or have filled its topic
to the limit, and the headers come on top. So its bytes are cut, and headers tell their full length and SHA-256.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from streaming.kafka.record_batch import record_sizes
from streaming.records import Header, Records
from streaming.transport import CommitRefused, Output

_CUT_HEADERS_BYTES = 400  # what the headers about a cut key and value take, at most


def fitting(
    answers: Sequence[Output], dead_letters: Sequence[Output], state: Sequence[Output], max_record_bytes: int
) -> list[Output]:
    """The dead letters, cut to the limit where they are above it (`within`).

    Raises:
        CommitRefused: an answer or a state row is above it, or a dead letter that cannot be cut so far.
    """
    fit = [within(letters, max_record_bytes) for letters in dead_letters]
    cut = [after for before, after in zip(dead_letters, fit, strict=True) if after is not before]
    for output in (*answers, *cut, *state):
        require_sizes(output, max_record_bytes)
    return fit


def require_sizes(output: Output, max_record_bytes: int) -> None:
    """Raise CommitRefused if key, value and headers of a record take more than `max_record_bytes` together."""
    sizes = record_sizes(output.records)
    if not len(sizes) or int(sizes.max()) <= max_record_bytes:
        return
    row = int(np.argmax(sizes))
    key = output.records.keys[row].as_py()
    raise CommitRefused(
        f"the record for {output.topic} with the key {'' if key is None else key[:80].decode(errors='replace')!r} has "
        f"{sizes[row]} bytes, above max_record_bytes {max_record_bytes}: raise that and the topic's max.message.bytes"
    )


def within(output: Output, max_record_bytes: int) -> Output:
    """The same dead letters, those above the limit cut to it: the value first, and a key that leaves it no half."""
    sizes = record_sizes(output.records)
    if not len(sizes) or int(sizes.max()) <= max_record_bytes:
        return output
    whole = output.records
    keys, values = whole.keys.to_pylist(), whole.values.to_pylist()
    headers = [list(row) for row in whole.headers or [()] * len(whole)]
    for row in np.flatnonzero(sizes > max_record_bytes).tolist():
        told = int(sizes[row]) - len(keys[row] or b"") - len(values[row] or b"")
        room = max(max_record_bytes - told - _CUT_HEADERS_BYTES, 0)
        keys[row], about_key = _cut(keys[row], max(room // 2, room - len(values[row] or b"")), "key")
        values[row], about_value = _cut(values[row], room - len(keys[row] or b""), "value")
        headers[row] += about_key + about_value
    cut = Records.of(keys, values, whole.offsets, whole.timestamps_ms, headers)
    return Output(output.topic, cut, output.partition)


def _cut(field: bytes | None, room: int, name: str) -> tuple[bytes | None, list[Header]]:
    if field is None or len(field) <= room:
        return field, []
    about = {f"sightline.{name}_bytes": str(len(field)), f"sightline.{name}_sha256": hashlib.sha256(field).hexdigest()}
    return field[:room], [(header, value.encode()) for header, value in about.items()]
