"""The contract of `streaming.transport`: one suite for every member, in memory and on a real broker."""

from __future__ import annotations

import hashlib
import pickle
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streaming.kafka.record_batch import record_sizes
from streaming.records import OffsetRange, Records
from streaming.testing import AFTER_COMMIT
from streaming.transport import (
    TOGETHER_MS,
    CommitRefused,
    Fenced,
    OffsetsExpired,
    Output,
    Reader,
    TransportUnavailable,
)
from tests.transport_labs import Lab, MemoryLab, Row, numbered, read_rest, rows
from tests.waiting import PATIENCE_S


def poll_until(reader: Reader, end: Mapping[int, int], max_records: int = 1000) -> dict[int, list[Row]]:
    """Poll every partition up to its end, checking on the way that the ranges follow each other without a gap."""
    seen: dict[int, list[Row]] = {partition: [] for partition in end}
    position: dict[int, int] = {}
    deadline = time.monotonic() + PATIENCE_S
    while any(position.get(partition, 0) < offset for partition, offset in end.items()):
        assert time.monotonic() < deadline, f"stopped at {position} before {end}"
        fetched = reader.poll(0.2, max_records)
        if fetched is None:
            continue
        partition = fetched.range.partition
        assert fetched.range.start == position.get(partition, 0)
        assert len(fetched.records) <= max_records
        assert all(fetched.range.start <= offset < fetched.range.end for offset in fetched.records.offsets)
        position[partition] = fetched.range.end
        seen[partition] += rows(fetched.records)
    return seen


def test_ranges_are_contiguous_and_rereading_one_gives_the_same_records(lab: Lab) -> None:
    lab.create("in", 2)
    for start in range(0, 300, 60):
        lab.append("in", numbered(start, start + 60), partition=0)
    source = lab.source("in")
    reader = source.open({0: 0})
    ranges: list[OffsetRange] = []
    records: list[Records] = []
    while sum(len(piece) for piece in records) < 300:
        fetched = reader.poll(PATIENCE_S, max_records=37)
        assert fetched is not None
        assert len(fetched.records) <= 37
        ranges.append(fetched.range)
        records.append(fetched.records)
    assert [r.start for r in ranges] == [0, *(r.end for r in ranges[:-1])]
    assert [row for piece in records for row in rows(piece)] == rows(numbered(0, 300))
    for wanted, first in zip(ranges, records, strict=True):
        again = reader.read(wanted)
        assert rows(again) == rows(first)
        assert again.offsets.tolist() == first.offsets.tolist()
        assert again.timestamps_ms.tolist() == first.timestamps_ms.tolist()
    assert ranges[-1].end <= source.end_offsets()[0]
    reader.close()


def at_times(times_s: Sequence[int], size: int = 0) -> Records:
    """Records of these times, which begin their values as well."""
    values = [(b"%d" % second).ljust(size) for second in times_s]
    return Records.of([b"k"] * len(values), values, timestamps_ms=[1_700_000_000_000 + s * 1000 for s in times_s])


@pytest.mark.parametrize("size", [pytest.param(0, id="small"), pytest.param(20_000, id="more-than-a-fetch")])
def test_a_backlog_is_read_in_the_order_of_its_time_over_all_partitions(lab: Lab, size: int) -> None:
    lab.create("in", 4)
    lab.append("in", at_times(range(0, 600, 2), size), partition=0)
    lab.append("in", at_times(range(300, 600, 1)), partition=1)
    lab.append("in", at_times(range(100, 1000, 50)), partition=2)
    reader = lab.source("in").open(dict.fromkeys(range(4), 0))
    wait_for_all, read = {0: 300, 1: 300, 2: 18}, {0: 0, 1: 0, 2: 0}
    latest = 0
    while sum(read.values()) < sum(wait_for_all.values()):
        fetched = reader.poll(PATIENCE_S, 50)
        assert fetched is not None
        seconds = [int(value) for value in fetched.records.values.to_pylist()]
        read[fetched.range.partition] += len(seconds)
        assert min(seconds, default=latest) >= latest - TOGETHER_MS // 1000
        latest = max([latest, *seconds])
    reader.close()
    assert read == wait_for_all


def test_reading_again_does_not_move_the_position(lab: Lab) -> None:
    lab.create("in", 1)
    lab.append("in", numbered(0, 10), partition=0)
    reader = lab.source("in").open({0: 0})
    first = reader.poll(PATIENCE_S, 4)
    assert first is not None
    reader.read(OffsetRange(0, 0, 9))
    second = reader.poll(PATIENCE_S, 4)
    assert second is not None
    assert rows(second.records) == rows(numbered(4, 8))
    reader.close()


def test_nothing_in_time_is_none_and_reading_beyond_the_end_is_an_error(lab: Lab) -> None:
    lab.create("in", 1)
    lab.append("in", numbered(0, 3), partition=0)
    source = lab.source("in")
    end = source.end_offsets()[0]
    reader = source.open({0: end})
    assert reader.poll(0.05, 10) is None
    reader.close()
    beyond = source.open({0: end + 100})
    with pytest.raises(LookupError):
        beyond.poll(PATIENCE_S, 10)
    beyond.close()


def test_aborted_records_are_never_seen_but_the_position_moves_past_them(lab: Lab) -> None:
    lab.create("in", 1)
    lab.append("in", numbered(0, 5), partition=0)
    lab.append("in", numbered(100, 105), partition=0, aborted=True)
    lab.append("in", numbered(5, 10), partition=0)
    lab.append("in", numbered(200, 205), partition=0, aborted=True)
    source = lab.source("in")
    reader = source.open({0: 0})
    end = source.end_offsets()
    assert poll_until(reader, end, max_records=3)[0] == rows(numbered(0, 10))
    reader.close()
    only_aborted = source.open({0: int(read_rest(lab, "in", 0).offsets[-1]) + 1})
    while (fetched := only_aborted.poll(1.0, 10)) is None:  # it waits for records, of which there are none
        pass
    assert len(fetched.records) == 0
    assert fetched.range.end == end[0]
    only_aborted.close()


def test_a_commit_shows_answers_dead_letters_state_and_offsets_together(lab: Lab) -> None:
    for topic in ("in", "out", "dead", "state"):
        lab.create(topic, 1)
    lab.append("in", numbered(0, 10), partition=0)
    source, sink = lab.source("in"), lab.sink("in")
    assert source.committed() == {0: 0}
    sink.open()
    sink.commit(
        answers=[Output("out", numbered(0, 4))],
        dead_letters=[Output("dead", numbered(4, 5))],
        state=[Output("state", Records.of([b"a", b"b"], [b"1", None]), partition=0)],
        offsets={0: 5},
    )
    assert rows(read_rest(lab, "out", 0)) == rows(numbered(0, 4))
    assert lab.source("out").end_offsets() == {0: 5}  # four records, and the marker that ends the transaction
    assert rows(read_rest(lab, "dead", 0)) == rows(numbered(4, 5))
    assert rows(read_rest(lab, "state", 0)) == [(b"a", b"1"), (b"b", None)]
    assert source.committed() == {0: 5}


@pytest.mark.parametrize("step", [1, 2, 3, 4, 5, AFTER_COMMIT])
def test_a_cut_at_any_step_loses_and_doubles_nothing_when_the_commit_is_tried_again(lab: Lab, step: int) -> None:
    for topic in ("in", "out", "dead", "state"):
        lab.create(topic, 1)
    lab.append("in", numbered(0, 10), partition=0)
    source, sink = lab.source("in"), lab.sink("in")
    sink.open()
    sink.commit(answers=[Output("out", numbered(0, 2))], dead_letters=[], state=[], offsets={0: 2})
    batch: dict[str, Any] = {
        "answers": [Output("out", numbered(2, 4))],
        "dead_letters": [Output("dead", numbered(4, 5))],
        "state": [Output("state", numbered(5, 6))],
        "offsets": {0: 5},
    }
    lab.fail_at(sink, step)
    with pytest.raises(TransportUnavailable):
        sink.commit(**batch)
    if step < 5:  # later, the offsets are part of a transaction that is still open: nobody can tell
        assert source.committed() == {0: 2}
    sink.commit(**batch)
    sink.commit(answers=[Output("out", numbered(6, 7))], dead_letters=[], state=[], offsets={0: 6})
    assert rows(read_rest(lab, "out", 0)) == [*rows(numbered(0, 4)), *rows(numbered(6, 7))]
    assert rows(read_rest(lab, "dead", 0)) == rows(numbered(4, 5))
    assert rows(read_rest(lab, "state", 0)) == rows(numbered(5, 6))
    assert source.committed() == {0: 6}


def test_order_within_a_partition_survives(lab: Lab) -> None:
    for topic in ("in", "out"):
        lab.create(topic, 3)
    sink = lab.sink("in")
    sink.open()
    for start in range(0, 200, 50):
        sink.commit(answers=[Output("out", numbered(start, start + 50))], dead_letters=[], state=[], offsets={})
    by_key: dict[bytes | None, list[int]] = {}
    for partition in range(3):
        for key, value in rows(read_rest(lab, "out", partition)):
            by_key.setdefault(key, []).append(int((value or b"")[1:]))
    assert sum(map(len, by_key.values())) == 200
    assert all(numbers == sorted(numbers) for numbers in by_key.values())


def test_keyless_records_tombstones_empty_and_binary_fields_headers_and_times_come_back_as_they_were(lab: Lab) -> None:
    lab.create("in", 1)
    lab.create("out", 1)
    written = Records.of(
        [None, b"", b"k\0\xff", b"gone", None],
        [b"v", b"", bytes(range(256)), None, b""],
        timestamps_ms=[1_000, 5, 70_000_000_000, 2, 1_700_000_000_123],
        headers=[
            [],
            [("reason", b"bad \xff")],
            [("a", b""), ("a", b"2"), ("\u00e9", b"3")],
            [],
            [("x" * 300, b"y" * 9000)],
        ],
    )
    sink = lab.sink("in")
    sink.open()
    sink.commit(answers=[Output("out", written, partition=0)], dead_letters=[], state=[], offsets={})
    found = read_rest(lab, "out", 0)
    assert rows(found) == rows(written)
    assert found.timestamps_ms.tolist() == written.timestamps_ms.tolist()
    assert found.headers is not None
    assert [list(row) for row in found.headers] == [list(row) for row in written.headers or ()]


def test_a_record_without_a_time_gets_the_time_of_writing(lab: Lab) -> None:
    lab.create("in", 1)
    sink = lab.sink("in")
    sink.open()
    before_ms = int(time.time() * 1000)
    sink.commit(answers=[Output("in", numbered(0, 1))], dead_letters=[], state=[], offsets={})
    assert before_ms <= int(read_rest(lab, "in", 0).timestamps_ms[0]) <= int(time.time() * 1000)


def test_values_of_900_kilobytes_and_ten_thousand_records_in_one_commit(lab: Lab) -> None:
    lab.create("in", 1)
    lab.create("out", 2)
    big = Records.of([b"a", b"b", b"c"], [bytes([i]) * 900_000 for i in range(3)])
    many = numbered(0, 10_000)
    sink = lab.sink("in")
    sink.open()
    sink.commit(answers=[Output("out", big, 0), Output("out", many, 1)], dead_letters=[], state=[], offsets={0: 0})
    assert rows(read_rest(lab, "out", 0)) == rows(big)
    assert rows(read_rest(lab, "out", 1)) == rows(many)


def test_a_dead_letter_too_large_for_its_topic_is_cut_and_says_so(lab: Lab) -> None:
    lab.create("in", 1)
    lab.create("dead", 1)
    value, key = bytes(range(256)) * 12_000, b"k" * 900_000  # 3 MB came compressed, say
    why = [("error", b"too long a name")]
    large = Records.of(
        [b"m1", key, b"m2", key],
        [value, value, b"whole", None],
        headers=[why, why, why, [("stack", b"s" * 200_000)]],
    )
    sink = lab.sink("in")
    sink.open()
    sink.commit(answers=[], dead_letters=[Output("dead", large, partition=0)], state=[], offsets={0: 4})
    found = read_rest(lab, "dead", 0)
    assert lab.source("in").committed() == {0: 4}
    assert rows(found)[2] == (b"m2", b"whole")
    told = [dict(row) for row in found.headers or ()]
    assert [row.get("error") for row in told] == [b"too long a name"] * 3 + [None]
    for row, (kept, original) in enumerate(zip(rows(found), rows(large), strict=True)):
        for name, part, whole in zip(("key", "value"), kept, original, strict=True):
            if part == whole:
                assert f"sightline.{name}_bytes" not in told[row]
                continue
            assert part and whole and whole.startswith(part)
            assert told[row][f"sightline.{name}_bytes"] == b"%d" % len(whole)
            assert told[row][f"sightline.{name}_sha256"] == hashlib.sha256(whole).hexdigest().encode()
    assert [len(field or b"") > 400_000 for field in found.keys.to_pylist()] == [False, True, False, True]
    sizes = record_sizes(found)
    assert int(sizes.max()) <= 1_000_000
    assert int(sizes[0]) > 999_000  # as much of it as there is room for


@pytest.mark.parametrize("where", ["answers", "state"])
def test_an_answer_or_a_state_row_too_large_is_refused_by_its_key_and_nothing_is_visible(lab: Lab, where: str) -> None:
    lab.create("in", 1)
    lab.create("out", 1)
    lab.append("in", numbered(0, 2), 0)
    sink = lab.sink("in")
    sink.open()
    outputs: dict[str, list[Output]] = {"answers": [Output("out", numbered(0, 1))], "dead_letters": [], "state": []}
    headers = [[], [("h", bytes(100))]]
    outputs[where] = [Output("out", Records.of([b"k", b"match 7"], [b"v", bytes(999_950)], headers=headers))]
    with pytest.raises(CommitRefused, match=r"out with the key 'match 7' has 10000\d\d bytes, above max_record_bytes"):
        sink.commit(answers=outputs["answers"], dead_letters=[], state=outputs["state"], offsets={0: 1})
    assert lab.source("in").committed() == {0: 0}
    sink.commit(answers=[Output("out", numbered(5, 6))], dead_letters=[], state=[], offsets={0: 1})
    assert rows(read_rest(lab, "out", 0)) == rows(numbered(5, 6))


def test_a_second_instance_fences_the_first(lab: Lab) -> None:
    lab.create("in", 1)
    zombie, heir = lab.sink("in"), lab.sink("in")
    zombie.open()
    zombie.commit(answers=[Output("in", numbered(0, 1))], dead_letters=[], state=[], offsets={0: 0})
    heir.open()
    with pytest.raises(Fenced, match="taken over"):
        zombie.commit(answers=[Output("in", numbered(50, 60))], dead_letters=[], state=[], offsets={0: 1})
    heir.commit(answers=[Output("in", numbered(1, 2))], dead_letters=[], state=[], offsets={0: 1})
    assert rows(read_rest(lab, "in", 0)) == rows(numbered(0, 2))
    assert lab.source("in").committed() == {0: 1}


def test_a_sink_must_be_opened_before_it_commits(lab: Lab) -> None:
    lab.create("in", 1)
    with pytest.raises(RuntimeError, match="open the sink"):
        lab.sink("in").commit(answers=[], dead_letters=[], state=[], offsets={0: 0})


def test_other_transactional_ids_are_left_alone(lab: Lab) -> None:
    lab.create("in", 1)
    one, two = lab.sink("in", "one"), lab.sink("in", "two")
    one.open()
    two.open()
    for sink, start in ((one, 0), (two, 1), (one, 2)):
        sink.commit(answers=[Output("in", numbered(start, start + 1))], dead_letters=[], state=[], offsets={})
    assert rows(read_rest(lab, "in", 0)) == rows(numbered(0, 3))


def test_expired_offsets_are_named(lab: Lab) -> None:
    lab.create("in", 1)
    lab.append("in", numbered(0, 20), partition=0)
    lab.expire("in", 0, before=12)
    source = lab.source("in")
    assert source.committed() == {0: 12}
    reader = source.open({0: 3})
    with pytest.raises(OffsetsExpired) as expired:
        reader.poll(PATIENCE_S, 10)
    assert (expired.value.partition, expired.value.wanted, expired.value.earliest) == (0, 3, 12)
    with pytest.raises(OffsetsExpired):
        reader.read(OffsetRange(0, 3, 15))
    reader.seek(0, 12)
    fetched = reader.poll(PATIENCE_S, 100)
    assert fetched is not None
    assert rows(fetched.records) == rows(numbered(12, 20))
    reader.close()


def test_seek_goes_back_and_forth(lab: Lab) -> None:
    lab.create("in", 1)
    lab.append("in", numbered(0, 10), partition=0)
    reader = lab.source("in").open({0: 8})
    for offset in (8, 2, 7, 0):
        reader.seek(0, offset)
        fetched = reader.poll(PATIENCE_S, 2)
        assert fetched is not None
        assert fetched.range.start == offset
        assert rows(fetched.records) == rows(numbered(offset, offset + 2))
    reader.close()


def test_no_partition_starves_another(lab: Lab) -> None:
    lab.create("in", 2)
    for partition in (0, 1):
        lab.append("in", numbered(0, 50), partition)
    reader = lab.source("in").open({0: 0, 1: 0})
    served: list[int] = []
    while len(served) < 20:
        fetched = reader.poll(PATIENCE_S, 5)
        assert fetched is not None
        if len(fetched.records):
            served.append(fetched.range.partition)
    assert served.count(0) == served.count(1) == 10
    reader.close()


def test_records_written_while_waiting_arrive_at_once(lab: Lab) -> None:
    lab.create("in", 1)
    reader, sink = lab.source("in").open({0: 0}), lab.sink("in")
    sink.open()
    assert reader.poll(0.01, 10) is None
    sink.commit(answers=[Output("in", numbered(0, 1))], dead_letters=[], state=[], offsets={})
    fetched = reader.poll(PATIENCE_S, 10)
    assert fetched is not None
    assert rows(fetched.records) == rows(numbered(0, 1))
    reader.close()


def test_keys_go_where_kafkas_default_partitioner_sends_them(lab: Lab) -> None:
    lab.create("in", 1)
    lab.create("out", 5)
    # murmur2 as in Kafka's Java client: foobar -790332482, abc 479470107, a-little-bit-long-string -985981536
    expected = {b"foobar": 1357151166 % 5, b"abc": 479470107 % 5, b"a-little-bit-long-string": 1161502112 % 5}
    sink = lab.sink("in")
    sink.open()
    keys: list[bytes | None] = list(expected)
    sink.commit(answers=[Output("out", Records.of(keys * 2, keys * 2))], dead_letters=[], state=[], offsets={})
    for partition in range(5):
        mine = [key for key, home in expected.items() if home == partition]
        assert rows(read_rest(lab, "out", partition)) == [(key, key) for key in mine] * 2


def test_a_missing_topic_is_refused_by_name_and_the_sink_goes_on(lab: Lab) -> None:
    lab.create("in", 1)
    sink = lab.sink("in")
    sink.open()
    for output in (Output("nowhere", numbered(0, 1)), Output("in", numbered(0, 1), partition=9)):
        with pytest.raises(CommitRefused, match=f"{output.topic}|partition 9"):
            sink.commit(answers=[Output("in", numbered(5, 6)), output], dead_letters=[], state=[], offsets={0: 1})
    sink.commit(answers=[Output("in", numbered(0, 1))], dead_letters=[], state=[], offsets={0: 1})
    assert rows(read_rest(lab, "in", 0)) == rows(numbered(0, 1))


def test_sources_and_sinks_travel(lab: Lab) -> None:
    lab.create("in", 2)
    lab.append("in", numbered(0, 3), partition=1)
    source = pickle.loads(pickle.dumps(lab.source("in")))  # noqa: S301
    assert list(source.partitions()) == [0, 1]
    assert source.end_offsets()[1] >= 3
    source.close()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(1, 4)), max_size=12), st.integers(1, 5))
def test_in_memory_any_mix_of_committed_and_aborted_writes_reads_back(
    writes: list[tuple[bool, int]], at_once: int
) -> None:
    lab = MemoryLab()
    lab.create("in", 1)
    expected: list[Row] = []
    for n, (aborted, count) in enumerate(writes):
        records = numbered(10 * n, 10 * n + count)
        lab.append("in", records, 0, aborted)
        expected += [] if aborted else rows(records)
    source = lab.source("in")
    assert poll_until(source.open({0: 0}), source.end_offsets(), at_once)[0] == expected
    assert np.all(np.diff(lab.log.records("in", 0).offsets) > 0)
