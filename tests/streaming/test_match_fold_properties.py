"""The vectorised fold against a plain one, row by row; and the same answers however the rows are cut."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streaming.features.catalogue import COUNTS, FEATURES, LEVELS, title_spec
from streaming.features.form import Elo, Rated, rating_key
from streaming.features.match import HEROES, TEXTS, events_frame, validate
from streaming.features.match_fold import FLAGS, HERO_CLASSES, MOMENTS, MatchFold
from streaming.testing import Changelog, every_row

T0 = 1_700_000_000_000
MINUTE = 60_000
STEP, IDLE, CLOSED = 10 * MINUTE, 180 * MINUTE, 10 * MINUTE
SETTLE, HOLD, DISORDER = 2 * MINUTE, 20 * MINUTE, 30_000


class PlainFold:
    """What match_fold's words say, one row at a time."""

    def __init__(self) -> None:
        self.matches: dict[str, dict[str, Any]] = {}
        self.time: dict[int, tuple[int, int, int]] = {}  # watermark, elapsed, event time of the last row
        self.late = self.repeated = self.results_late = 0
        self.ratings: dict[str, Rated] = {}  # the base
        self.results: list[tuple[Any, ...]] = []  # those that wait: time, match, attempt, teams, A won, gold lead

    def fold(self, row: dict[str, Any]) -> dict[str, Any] | None:
        time, key = row["time"], row["match_id"]
        watermark, before, last = self.time.get(row["_partition"], (-1, 0, -1))
        reached = max(watermark, min(time, last))
        after = before + (min(reached - watermark, STEP) if watermark >= 0 else 0)
        self.time[row["_partition"]] = reached, after, time
        match = self.matches.get(key)
        if match and before - match["spoke"] > (IDLE if match["status"] == "live" else CLOSED):
            match = None
        if not match:
            match = self.matches[key] = self.new() | {"attempt": 0, "floor": -1, "top": -1, "seen": set(), "newest": -1}
        match["spoke"] = after
        row["elapsed"], row["horizon"] = after, max(watermark for watermark, _, _ in self.time.values())
        row["happened"] = reached if DISORDER < reached - time <= HOLD else time
        if row["kind"] == "end" and reached >= 0:
            row["happened"] = min(row["happened"], reached + HOLD)
        return self.take(match, row)

    @staticmethod
    def new() -> dict[str, Any]:
        return {
            "status": "live", "started": False, "clock": -1, "frame": 0, "form": math.nan, "named": False,
            "heroes": False, "level": {}, "level_clock": {}, "total": {}, "score": dict.fromkeys(COUNTS, 0),
            "moved": dict.fromkeys(COUNTS, 0), "flags": set(), **dict.fromkeys(TEXTS, ""),
            **{name: [] for name in HEROES},
        }  # fmt: skip

    def take(self, match: dict[str, Any], row: dict[str, Any]) -> dict[str, Any] | None:
        if match["top"] - row["sequence"] >= 64:
            return self.is_late(match)
        if row["sequence"] in match["seen"]:
            self.repeated += 1
            return None
        match["seen"].add(row["sequence"])
        match["top"] = max(match["top"], row["sequence"])
        began = match["started"] or match["clock"] > 0 or match["status"] != "live"
        newest, match["newest"] = match["newest"], max(match["newest"], row["time"])
        if row["kind"] == "start" and began and row["time"] > newest:
            match |= self.new() | {"attempt": match["attempt"] + 1, "floor": row["time"]}
        if row["time"] < match["floor"] or match["status"] != "live":
            return self.is_late(match)
        return self.count(match, row)

    def is_late(self, match: dict[str, Any]) -> None:
        self.late += 1
        match["flags"].add("late")

    def count(self, match: dict[str, Any], row: dict[str, Any]) -> dict[str, Any] | None:
        clock, is_late = max(row["clock_s"], 0.0), False
        if row["clock_s"] < 0:
            match["flags"].add("negative-clock")
        if row["kind"] == "start":
            if match["started"]:
                self.repeated += 1
            else:
                match |= {"started": True, **{name: row[name] or "" for name in TEXTS}}
                match |= {name: row[name] or [] for name in HEROES}
                match["form"] = self.form_of(match, row)
        for name in LEVELS:
            if row[name] is not None:
                if clock < match["level_clock"].get(name, -1):
                    is_late = True
                else:
                    match["level"][name], match["level_clock"][name] = row[name], clock
        for name in ("kills", "towers"):
            stated = {side: row[side] for side in (f"{name}_a", f"{name}_b") if row[side] is not None}
            if not stated:
                continue
            match["named"] = True
            old = clock < match["level_clock"].get(name, -1)
            is_late |= old
            if not old:
                match["level_clock"][name] = clock
                if any(total < match["total"].get(side, -1) for side, total in stated.items()):
                    match["flags"].add(f"{name}-fell")
            for side, total in stated.items():
                match["total"][side] = max(total, match["total"].get(side, -1))
        if row["kind"] == "score":
            gained = row["count"] if row["side"] == "A" else -row["count"]
            match["score"][row["subject"]] += gained
            match["moved"][row["subject"]] += gained
            match["heroes" if row["subject"] in HERO_CLASSES else "named"] = True
        if is_late:
            self.is_late(match)
        grid = title_spec(row["title"]).grid_s
        enters = match["clock"] < 0 or clock // grid > match["clock"] // grid
        match["clock"] = max(match["clock"], clock)
        if row["kind"] in ("end", "remake"):
            match["status"] = {"end": "ended", "remake": "void"}[row["kind"]]
            if row["kind"] == "end":
                self.take_result(match, row)
        elif not enters:
            return None
        return self.frame(match, row)

    @staticmethod
    def teams(match: dict[str, Any], row: dict[str, Any]) -> tuple[str, str]:
        return (
            rating_key(row["title"], match["league"], match["team_a"]),
            rating_key(row["title"], match["league"], match["team_b"]),
        )

    def take_result(self, match: dict[str, Any], row: dict[str, Any]) -> None:
        self.results_late += row["horizon"] >= row["happened"] + SETTLE
        teams = self.teams(match, row)
        result = (row["happened"], row["match_id"], match["attempt"], *teams, row["side"] == "A")
        if match["team_a"] and match["team_b"] and teams[0] != teams[1]:
            if result[:3] not in [other[:3] for other in self.results]:
                self.results.append((*result, match["level"].get("gold", math.nan)))
            self.results.sort(key=lambda result: result[:3])
            while self.results and self.results[0][0] <= row["horizon"] - HOLD:
                self.ratings = self.rated(self.results.pop(0), self.ratings)

    @staticmethod
    def rated(result: tuple[Any, ...], ratings: dict[str, Rated]) -> dict[str, Rated]:
        a, b = (ratings.get(team, Rated(0.0, 0)) for team in result[3:5])
        after = Elo().after(a, b, a_won=result[5], gold_lead=result[6])
        return ratings | dict(zip(result[3:5], after, strict=True))

    def form_of(self, match: dict[str, Any], row: dict[str, Any]) -> float:
        if not (match["team_a"] and match["team_b"]):
            return math.nan
        ratings = self.ratings
        for result in self.results:
            if result[0] <= row["happened"] - SETTLE:
                ratings = self.rated(result, ratings)
        a, b = (ratings.get(team, Rated(0.0, 0)).rating for team in self.teams(match, row))
        return (a - b) / 400.0

    def frame(self, match: dict[str, Any], row: dict[str, Any]) -> dict[str, Any]:
        values = {name: match["level"].get(name, math.nan) for name in LEVELS} | {"form": match["form"]}
        for name in COUNTS:
            known = match["heroes" if name in HERO_CLASSES else "named"]
            value = match["score"][name]
            if name in ("kills", "towers") and (f"{name}_a" in match["total"] or f"{name}_b" in match["total"]):
                value = match["total"].get(f"{name}_a", math.nan) - match["total"].get(f"{name}_b", math.nan)
            values[name] = value if known and name in title_spec(row["title"]).features else math.nan
        moved = [(name, match["moved"][name]) for name in MOMENTS if match["moved"][name]]
        made = {
            **{name: match[name] for name in ("attempt", "frame", "status", *TEXTS, *HEROES)},
            "_elapsed_ms": row["elapsed"],
            "_time_ms": row["happened"],
            "_horizon_ms": row["horizon"],
            "match_id": row["match_id"],
            "clock_s": match["clock"],
            "moment": f"{'A' if moved[0][1] > 0 else 'B'}:{moved[0][0]}" if moved else "",
            "winner": row["side"] if row["kind"] == "end" else None,
            "flags": " ".join(flag for flag in FLAGS if flag in match["flags"]),
            "_offset": row["_offset"],
            **{name: float(np.float32(values[name])) for name in FEATURES},
        }
        match["frame"] += 1
        match["moved"], match["flags"] = dict.fromkeys(COUNTS, 0), set()
        return made


def bytes_of(frame: pl.DataFrame) -> list[tuple[str, str, bytes]]:
    """Name, type and exact values of each column; an IPC file would show how the frame was put together, too."""
    columns = []
    for column in frame:
        values = column.to_numpy().tobytes() if column.dtype.is_float() else repr(column.to_list()).encode()
        columns.append((column.name, str(column.dtype), values))
    return columns


MATCHES = {"m0": ("lol", 0), "m1": ("dota2", 1), "m2": ("hok", 0), "m3": ("lol", 1)}
KIND = st.sampled_from(["start", *["snapshot"] * 6, *["score"] * 6, "end", "remake"])
SUBJECTS = ("kills", "towers", "dragons", "barons", "tank", "roshans", "teamfights")


def maybe(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(st.none(), values)


ROW = st.fixed_dictionaries(
    {
        "match_id": st.sampled_from(list(MATCHES)),
        "kind": KIND,
        "back": st.integers(0, 3) | st.integers(50, 80),  # how far its sequence number lies below the match's next
        "forward": st.integers(0, 1) | st.integers(0, 70),
        "pause": st.sampled_from([0] * 8 + [1, 5, 11, 40, 200]),  # minutes since the row before
        "jitter": st.sampled_from([0, 0, 0, -1, -30, 2, 3000]),  # minutes
        "clock_s": st.sampled_from([-90.0, 0.0, 0.25, 10.0, 29.999, 30.0, 45.5, 60.0, 100.0, 200.0]),
        "side": st.sampled_from("AB"),
        "subject": st.sampled_from(SUBJECTS),
        "count": st.sampled_from([1.0, 1.0, 2.0]),
        "gold": maybe(st.sampled_from([-1500.5, 0.0, 700.1])),
        "xp": maybe(st.just(3.0)),
        "kills_a": maybe(st.integers(0, 3).map(float)),
        "kills_b": maybe(st.integers(0, 3).map(float)),
        "towers_a": maybe(st.integers(0, 3).map(float)),
        "team_a": maybe(st.sampled_from(["TSM", "tsm", "C9"])),
        "team_b": st.sampled_from(["C9", "G2"]),
        "league": maybe(st.just("LCS")),
        "heroes_a": st.sampled_from([[], ["Ahri"], ["Ahri", "Lee Sin"]]),
    }
)


def frame_of(drawn: list[dict[str, Any]]) -> pl.DataFrame:
    """An event frame with the runner's columns, whose rows a feed could have sent."""
    rows, now, following = [], T0, dict.fromkeys(MATCHES, 0)
    for row in drawn:
        now += row["pause"] * MINUTE
        match_id = row["match_id"]
        sequence = max(0, following[match_id] + row["forward"] - row["back"])
        following[match_id] = max(following[match_id], sequence + 1)
        fields = {name: value for name, value in row.items() if name not in ("back", "forward", "pause", "jitter")}
        if row["kind"] != "start":
            fields |= {"team_a": None, "team_b": None, "league": None, "heroes_a": []}
        if row["kind"] != "snapshot":
            fields |= {name: None for name in ("xp", "kills_a", "kills_b", "towers_a")}
        time = now + row["jitter"] * MINUTE
        rows.append(fields | {"sequence": sequence, "event_time_ms": time, "title": MATCHES[match_id][0]})
    partition = pl.Series([MATCHES[row["match_id"]][1] for row in rows], dtype=pl.Int32)
    return events_frame(rows).with_columns(
        _partition=partition,
        _offset=pl.int_range(pl.len(), dtype=pl.Int64),
        _ingest_time_ms=pl.lit(0, pl.Int64),
        _schema_id=pl.lit(1, pl.Int32),
    )


EXAMPLES = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@EXAMPLES
@given(st.lists(ROW, min_size=1, max_size=60))
def test_the_fold_says_what_a_plain_one_says(drawn: list[dict[str, Any]]) -> None:
    rows, fold, plain = frame_of(drawn), MatchFold(), PlainFold()
    assert validate(rows)["_reject"].null_count() == rows.height
    state = fold.new_state()
    frames = fold(rows, state)
    timed = rows.with_columns(time=pl.col("event_time_ms").to_physical())
    expected = [frame for row in timed.iter_rows(named=True) if (frame := plain.fold(row))]
    assert frames["_offset"].to_list() == [frame["_offset"] for frame in expected]
    for got, wanted in zip(frames.iter_rows(named=True), expected, strict=True):
        for name, value in wanted.items():
            same = got[name] == value or (isinstance(value, float) and math.isnan(value) and math.isnan(got[name]))
            assert same, f"offset {got['_offset']}: {name} is {got[name]}, expected {value}"
    slots = state.slots(state.keys())
    counted = [state[f"{name}_total"][slots].sum() for name in ("late", "repeated", "results_late")]
    assert counted == [plain.late, plain.repeated, plain.results_late]


@EXAMPLES
@given(st.lists(ROW, min_size=1, max_size=60), st.data())
def test_frames_and_state_do_not_depend_on_how_rows_are_cut(drawn: list[dict[str, Any]], data: st.DataObject) -> None:
    rows, fold = frame_of(drawn), MatchFold()
    whole_state = fold.new_state()
    whole = fold(rows, whole_state)
    cuts = sorted(data.draw(st.sets(st.integers(1, max(1, rows.height - 1)))))
    state = fold.new_state()
    parts = []
    for first, end in pairwise([0, *cuts, rows.height]):
        parts.append(fold(rows.slice(first, end - first), state))
        if data.draw(st.booleans()):  # a restart of the process in between
            snapshot, state = every_row(state), fold.new_state()
            state.restore(snapshot)
    assert bytes_of(pl.concat(parts)) == bytes_of(whole)
    assert bytes_of(every_row(state)) == bytes_of(every_row(whole_state))


@EXAMPLES
@given(st.lists(ROW, min_size=1, max_size=40))
def test_the_changelog_alone_rebuilds_the_state(drawn: list[dict[str, Any]]) -> None:
    rows, fold = frame_of(drawn), MatchFold()
    state, log = fold.new_state(), Changelog()
    for part in rows.iter_slices(7):
        fold(part, state)
        log.drain(state)
    restored = fold.new_state()
    log.restore(restored)
    assert bytes_of(every_row(restored)) == bytes_of(every_row(state))
