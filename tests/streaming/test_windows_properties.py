"""Windows against a plain model that looks at one row at a time, and against themselves on the stream cut otherwise."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streaming.state import StateTable
from streaming.testing import Changelog, every_row
from streaming.windows import Aggregate, Corrections, Session, Sliding, Tumbling, WindowStage

FIGURES = ("count", "sum", "min", "max", "mean", "first", "last")
AGGREGATES = [Aggregate("rows", "count"), *(Aggregate(how, how, "amount") for how in FIGURES)]
KEYS = {"ann": 0, "bob": 0, "cat/1": 1, "@dan": 1}  # and the partition of each
NOW_MS = 1_700_000_000_000
IDLE_MS, AHEAD_MS = 20_000, 10_000


@dataclass
class Held:
    """A window of the plain model, with all its rows."""

    key: str
    start: int
    end: int
    rows: list[dict[str, Any]]
    due: int
    revision: int = 0
    pending: bool = True


@dataclass
class PlainPartition:
    """One partition, as the words of `streaming.windows` say it."""

    stage: dict[str, Any]
    number: int
    watermark: int = -1
    moved: int = 0
    ticked: int = -1
    last: dict[str, Any] | None = None
    late: int = 0
    windows: list[Held] = field(default_factory=list)

    def row(self, row: dict[str, Any]) -> list[dict[str, Any]]:
        if row["time"] > row["log"] + AHEAD_MS:
            return [{"zone": row["zone"], "_offset": row["_offset"], "_reject": True}]
        reached = min(row["time"], self.last["time"]) if self.last else -1
        if reached > self.watermark:
            self.watermark, self.moved = reached, row["log"]
        self.last = row
        now = max(self.watermark, self.ticked)
        out = self.settle(now, "data")
        aside = self.join(row, now) if isinstance(self.stage["windows"], Session) else self.count(row, now)
        return [*out, *aside]

    def settle(self, now: int, closed_by: str) -> list[dict[str, Any]]:
        due = [window for window in self.windows if window.due <= now]
        assert self.last
        out = []
        for window in sorted(due, key=lambda w: (w.end, w.start, w.key)):
            if window.pending:
                out.append(
                    told(window.key, window.start, window.end, window.rows)
                    | {"revision": window.revision, "closed_by": closed_by, "late": False}
                    | {"_offset": self.last["_offset"]}
                )
            window.revision, window.pending, window.due = window.revision + 1, False, self.final(window.end)
        self.windows = [window for window in self.windows if window.pending or window.due > now]
        return out

    def final(self, end: int) -> int:
        corrections = self.stage.get("corrections")
        return end + self.stage["lateness_ms"] + (corrections.horizon_ms if corrections else 0)

    def count(self, row: dict[str, Any], now: int) -> list[dict[str, Any]]:
        shape, corrections, out, is_late = self.stage["windows"], self.stage.get("corrections"), [], False
        newest = row["time"] // shape.every_ms * shape.every_ms
        for start in range(newest, row["time"] - shape.size_ms, -shape.every_ms):
            end = start + shape.size_ms
            due = end + self.stage["lateness_ms"]
            is_late |= due <= now
            if self.final(end) <= now:
                out.append(aside(row, start, end))
                continue
            while due <= now:
                due += corrections.every_ms
            for window in self.windows:
                if (window.key, window.start) == (row["zone"], start):
                    window.rows.append(row)
                    window.due, window.pending = due, True
                    break
            else:
                self.windows.append(Held(row["zone"], start, end, [row], due))
        self.late += is_late
        return out[::-1]

    def join(self, row: dict[str, Any], now: int) -> list[dict[str, Any]]:
        start, end = row["time"], row["time"] + self.stage["windows"].gap_ms
        if row["time"] + self.stage["lateness_ms"] < now:
            self.late += 1
            return [aside(row, start, end)]
        rows = [row]
        for window in [w for w in self.windows if w.key == row["zone"] and w.start < end and start < w.end]:
            self.windows.remove(window)
            start, end, rows = min(start, window.start), max(end, window.end), rows + window.rows
        self.windows.append(Held(row["zone"], start, end, rows, end + self.stage["lateness_ms"]))
        return []

    def tick(self, now: int) -> list[dict[str, Any]]:
        assert self.last
        candidates = [-1]
        if self.watermark >= 0 and now - self.moved >= IDLE_MS:
            candidates.append(now - IDLE_MS - max(0, self.moved - self.watermark))
        if now - self.last["log"] >= IDLE_MS:
            candidates.append(now - IDLE_MS - max(0, self.last["log"] - self.last["time"]))
        due = [window.due for window in self.windows if window.due <= max(candidates)]
        if not due:
            return []
        self.ticked = max(self.ticked, *due)
        return self.settle(max(due), "tick")


def aside(row: dict[str, Any], start: int, end: int) -> dict[str, Any]:
    return told(row["zone"], start, end, [row]) | {"late": True, "_offset": row["_offset"]}


def told(key: str, start: int, end: int, rows: list[dict[str, Any]]) -> dict[str, Any]:
    known = [row for row in rows if row["amount"] is not None and not math.isnan(row["amount"])]
    amounts = [row["amount"] for row in sorted(known, key=lambda row: (row["time"], row["_offset"]))]
    figures = {"rows": len(rows), "count": len(amounts), **dict.fromkeys(FIGURES[1:])}
    if amounts:
        total = math.fsum(amounts)
        figures |= {"sum": total, "min": min(amounts), "max": max(amounts), "mean": total / len(amounts)}
        figures |= {"first": amounts[0], "last": amounts[-1]}
    return {"zone": key, "window_start_ms": start, "window_end_ms": end} | figures


STAGES = st.fixed_dictionaries(
    {
        "windows": st.sampled_from([Tumbling(10), Sliding(10, 4), Sliding(9, 3), Session(5)]),
        "lateness_ms": st.sampled_from([0, 3_000, 7_500]),
        "corrections": st.sampled_from([None, Corrections(20, 5), Corrections(10, 10)]),
    }
).map(lambda drawn: drawn | ({"corrections": None} if isinstance(drawn["windows"], Session) else {}))

ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "zone": st.sampled_from(list(KEYS)),
            "pause": st.sampled_from([0, 0, 500, 1_000, 1_000, 2_500, 5_000, 12_000, 40_000]),
            "behind": st.sampled_from([0, 0, 0, 1, 999, 3_000, 5_000, 9_000, 30_000, -4_000, -12_000]),
            "amount": st.sampled_from([1.5, -2.25, 0.1, 0.0, -0.0, 1e6 + 1 / 3, None, float("nan")]),
            "tick": st.sampled_from([None] * 12 + [0, 15_000, 25_000, 45_000]),
        }
    ),
    min_size=1,
    max_size=40,
)


def stage_of(drawn: dict[str, Any]) -> WindowStage:
    return WindowStage(
        "zones", "zone", "time", drawn["windows"], AGGREGATES,
        lateness_s=drawn["lateness_ms"] / 1000, corrections=drawn["corrections"],
        idle_s=IDLE_MS / 1000, ahead_s=AHEAD_MS / 1000,
    )  # fmt: skip


def plain_rows(drawn: list[dict[str, Any]]) -> list[dict[str, Any]]:
    now, rows = NOW_MS, []
    for offset, row in enumerate(drawn):
        now += row["pause"]
        rows.append(
            {**row, "time": now - row["behind"], "log": now, "_offset": offset, "_partition": KEYS[row["zone"]]}
        )
    return rows


def frame_of(rows: list[dict[str, Any]]) -> pl.DataFrame:
    schema = {"zone": pl.String, "time": pl.Int64, "amount": pl.Float64, "_partition": pl.Int32, "_offset": pl.Int64}
    frame = pl.DataFrame(rows, schema=schema | {"log": pl.Int64}, strict=False)
    return frame.with_columns(
        pl.col("time").cast(pl.Datetime("ms", "UTC")),
        pl.col("log").alias("_ingest_time_ms"),
        _schema_id=pl.lit(1, pl.Int32),
    )


def bytes_of(frame: pl.DataFrame) -> list[tuple[str, str, bytes]]:
    """Name, type and exact values of each column."""
    columns = []
    for column in frame:
        values = column.fill_null(math.nan).to_numpy().tobytes() if column.dtype.is_float() else b""
        columns.append((column.name, str(column.dtype), repr(column.to_list()).encode() + values))
    return columns


EXAMPLES = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@EXAMPLES
@given(STAGES, ROWS)
def test_windows_say_what_a_plain_model_says(drawn: dict[str, Any], rows_drawn: list[dict[str, Any]]) -> None:
    stage, rows = stage_of(drawn), plain_rows(rows_drawn)
    state, plain = stage.new_state(), {number: PlainPartition(drawn, number) for number in (0, 1)}
    got, wanted, since = [], [], 0
    for at, row in enumerate(rows, start=1):
        wanted += plain[row["_partition"]].row(row)
        if row["tick"] is None and at < len(rows):
            continue
        got.append(stage(frame_of(rows[since:at]), state))
        since = at
        now = row["log"] + (10_000_000 if row["tick"] is None else row["tick"])
        got.append(stage.tick(now, [0, 1], state).sort("_partition", maintain_order=True))
        wanted += [said for partition in plain.values() if partition.last for said in partition.tick(now)]
    out = pl.concat(got).with_columns(pl.col("window_start_ms", "window_end_ms").to_physical())
    assert out.height == len(wanted)
    for said, expected in zip(out.iter_rows(named=True), wanted, strict=True):
        for name in stage.schema:
            if name == "_reject":
                assert (said[name] is not None) == expected.get(name, False)
            elif name in ("sum", "mean"):
                assert said[name] == pytest.approx(expected.get(name), abs=1e-8)
            elif not name.startswith("_") or name in expected:
                assert said[name] == expected.get(name), f"{name} at offset {said['_offset']}"
    assert stage.facts(state).totals == {"late": sum(partition.late for partition in plain.values())}


@EXAMPLES
@given(STAGES, ROWS, st.data())
def test_windows_and_state_do_not_depend_on_how_rows_are_cut(
    drawn: dict[str, Any], rows_drawn: list[dict[str, Any]], data: st.DataObject
) -> None:
    stage, rows = stage_of(drawn), frame_of(plain_rows(rows_drawn))
    whole_state = stage.new_state()
    whole = stage(rows, whole_state)
    cuts = sorted(data.draw(st.sets(st.integers(1, max(1, rows.height - 1)), max_size=8)))
    state, log, parts = stage.new_state(), Changelog(), []
    for first, end in pairwise([0, *cuts, rows.height]):
        parts.append(stage(rows.slice(first, end - first), state))
        log.drain(state)
        if data.draw(st.booleans()):  # a restart of the process in between
            state = stage.new_state()
            log.restore(state)
    assert bytes_of(pl.concat(parts)) == bytes_of(whole)
    assert bytes_of(every_row(state)) == bytes_of(every_row(whole_state))


@EXAMPLES
@given(STAGES, ROWS, st.randoms(use_true_random=False))
def test_partitions_do_not_depend_on_each_other(
    drawn: dict[str, Any], rows_drawn: list[dict[str, Any]], random: Any
) -> None:
    stage, rows = stage_of(drawn), plain_rows(rows_drawn)
    queues = [[row for row in rows if row["_partition"] == number] for number in (0, 1)]
    order = sorted(range(len(rows)), key=lambda _: random.random())
    shuffled = [queues[rows[position]["_partition"]].pop(0) for position in order]

    def run(rows: list[dict[str, Any]]) -> tuple[list[Any], Any]:
        state = stage.new_state()
        out = stage(frame_of(rows), state)
        return [bytes_of(out.filter(_partition=number)) for number in (0, 1)], bytes_of(every_row(state))

    assert run(shuffled) == run(rows)


@EXAMPLES
@given(
    st.sampled_from([Tumbling(10), Sliding(10, 4), Session(5)]),
    st.lists(st.integers(0, 59_999), min_size=1, max_size=30, unique=True),
    st.data(),
)
def test_within_the_lateness_the_order_of_rows_does_not_matter(
    windows: Any, times: list[int], data: st.DataObject
) -> None:
    stage = stage_of({"windows": windows, "lateness_ms": 60_000, "corrections": None})
    amounts = data.draw(st.lists(st.floats(-1e9, 1e9), min_size=len(times), max_size=len(times)))
    rows = [
        {"zone": f"z{at % 2}", "time": NOW_MS + time, "log": NOW_MS + 60_000, "amount": amount, "_partition": 0}
        for at, (time, amount) in enumerate(zip(times, amounts, strict=True))
    ]
    order = data.draw(st.permutations(rows))

    def run(rows: list[dict[str, Any]]) -> Any:
        state: StateTable = stage.new_state()
        numbered = [row | {"_offset": offset} for offset, row in enumerate(rows)]
        parts = [stage(part, state) for part in frame_of(numbered).iter_slices(11)]
        out = pl.concat([*parts, stage.tick(NOW_MS + 10_000_000, [0], state)])
        assert not out["late"].any()
        return bytes_of(out.drop("_offset"))

    assert run(order) == run(rows)
