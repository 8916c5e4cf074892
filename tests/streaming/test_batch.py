from __future__ import annotations

import numpy as np
import polars as pl
from polars.testing import assert_frame_equal

from streaming.records import OffsetRange, Records
from streaming.runners.batch import Batch, Rejected, pack, pack_raw, unpack, unpack_raw


def test_raw_ranges_survive_the_trip_as_one_row() -> None:
    records = Records.of([b"k", None], [b"value", None], [7, 9], [100, 101])
    fetched = [(OffsetRange(0, 7, 12), records), (OffsetRange(3, 5, 6), Records.of([], []))]
    block = pack_raw(fetched)
    assert block.num_rows == 1
    (wanted, back), (empty, nothing) = unpack_raw(block)
    assert (wanted, empty) == (OffsetRange(0, 7, 12), OffsetRange(3, 5, 6))
    assert back.keys.to_pylist() == [b"k", None]
    assert back.values.to_pylist() == [b"value", None]
    np.testing.assert_array_equal(back.offsets, [7, 9])
    np.testing.assert_array_equal(back.timestamps_ms, [100, 101])
    assert len(nothing) == 0


def test_a_batch_survives_the_trip_with_what_it_rejected() -> None:
    rows = pl.DataFrame({"match_id": ["a", "b"], "heroes": [["x"], []], "_offset": [1, 2]})
    refused = Rejected(2, Records.of([b"k"], [b"\x00broken"], [5], [50]), ["Corrupt"], ["too short"], [None])
    block = pack(Batch((OffsetRange(2, 1, 6),), rows, (refused,), shed=3))
    assert block.num_rows == 1
    back = unpack(block)
    assert back.ranges == (OffsetRange(2, 1, 6),)
    assert_frame_equal(back.rows, rows)
    (part,) = back.rejected
    assert (part.partition, list(part.errors), list(part.messages), list(part.schema_ids)) == (
        2, ["Corrupt"], ["too short"], [None],
    )  # fmt: skip
    assert part.records.values.to_pylist() == [b"\x00broken"]
    assert (back.shed, back.records) == (3, 6)  # those are answered for, too
