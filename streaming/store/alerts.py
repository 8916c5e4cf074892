"""Rules judged on observations (`streaming.store.watching`): what is raised, once, and what is over.

    observations ─► AlertStage ─► rows of store-alerts.avsc

For every rule and subject (a person, a zone, a camera) it is remembered since when the rule's condition holds, whether
that has been told, and when it was told last. An alert is raised when the condition has held for as long as the rule
asks, is not raised already, and `quiet_s` has passed since the last one. Crowding, and what is wrong with a camera, is
cleared when it is over, with hysteresis; persons are not: they leave. When an identity becomes another one, what was
told of the old one has been told of the new.

A camera that says nothing is also noticed without any row, by ticks, if all that the log held of its partition was
read.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from streaming.event_time import Ints
from streaming.pipeline import Facts
from streaming.state import Column, StateTable
from streaming.store.geometry import Bools, Floats
from streaming.store.plan import StorePlan
from streaming.store.rules import (
    DIRECTIONS,
    AfterHours,
    CameraCovered,
    CameraDown,
    Crowding,
    LineCrossed,
    Loitering,
    Rule,
)
from streaming.store.stage import ORIGIN_SCHEMA, frame_of, with_origin
from streaming.windows.clock import ORIGIN

ALERTS_SCHEMA = pl.Schema(
    {
        "zone_id": pl.String(),
        "rule": pl.String(),
        "kind": pl.String(),
        "state": pl.String(),
        "subject": pl.String(),
        "event_time_ms": pl.Datetime("ms", "UTC"),
        "value": pl.Float64(),
        "limit": pl.Float64(),
        **ORIGIN_SCHEMA,
    }
)

_NONE = -1
_LASTING = (Crowding, CameraDown, CameraCovered)


class Judged(NamedTuple):
    """One rule on N subjects at one time."""

    subject: list[str]
    zone: list[str]
    value: Floats  # (N,)
    holds: Bools  # (N,) the condition
    is_over: Bools  # (N,) and so what was raised is, too
    since_ms: Ints  # (N,) from when on, if it was not so before
    time_ms: Ints  # (N,)


class AlertStage:
    """The stage.

    Args:
        plan: of the store.
        rules: of `streaming.store.rules.parse_rules`.
    """

    name = "alerts"

    def __init__(self, plan: StorePlan, rules: Sequence[Rule]) -> None:
        self._zone_info, self._rules = plan.zone_info, tuple(rules)

    def new_state(self) -> StateTable:
        """An empty table: a row for each rule and subject there is something to remember of, and for each camera."""
        layout = {
            "rule": Column(str),
            "subject": Column(str),
            "since_ms": Column(np.int64, default=_NONE),  # the condition holds; -1: it does not
            "raised": Column(np.bool_, default=False),
            "told_ms": Column(np.int64, default=_NONE),  # raised last
            "seen_ms": Column(np.int64, default=_NONE),  # camera: last frame
            "at_ms": Column(np.int64),  # camera: end of the window that said so, its log time, and where it came from
            "log_ms": Column(np.int64),
            "camera_partition": Column(np.int32),
            "of_partition": Column(np.int32),
            "of_offset": Column(np.int64),
            "of_schema_id": Column(np.int32),
        }
        return StateTable(self.name, layout)

    def facts(self, state: StateTable) -> Facts:
        """Cameras that are down or covered now."""
        by_name = {rule.name: rule for rule in self._rules if isinstance(rule, CameraDown | CameraCovered)}
        slots = np.flatnonzero(state["raised"])
        pairs = zip(state["rule"][slots].tolist(), state["subject"][slots].tolist(), strict=True)
        said = [f"camera {subject}: {by_name[rule].kind}" for rule, subject in pairs if rule in by_name]
        return Facts(alerts=tuple(sorted(said)))

    def __call__(self, rows: pl.DataFrame, state: StateTable) -> pl.DataFrame:
        """Observations in; alerts out, in the order of the windows that led to them."""
        told: list[dict[str, Any]] = []
        for window in rows.partition_by("window_end_ms", maintain_order=True):
            origin = {name: int(window.item(0, name)) for name in ORIGIN}
            self._rename(window.filter(pl.col("what") == "renamed"), state)
            self._note_cameras(window.filter(pl.col("what") == "camera"), state)
            end_ms = int(window.item(0, "window_end_ms"))
            alerts = [alert for rule in self._rules for alert in self._judge(rule, window, end_ms, state)]
            told += with_origin(alerts, origin)
        return frame_of(told, ALERTS_SCHEMA)

    def tick(self, now_ms: int, partitions: Collection[int], state: StateTable) -> pl.DataFrame:
        """Cameras that fell silent together with everything else: `streaming.pipeline.TickingStage`."""
        told: list[dict[str, Any]] = []
        slots = np.flatnonzero((state["seen_ms"] != _NONE) & np.isin(state["camera_partition"], list(partitions)))
        for slot in sorted(slots.tolist(), key=lambda slot: str(state["subject"][slot])):
            camera = str(state["subject"][slot])
            time_ms = int(state["at_ms"][slot]) + max(now_ms - int(state["log_ms"][slot]), 0)
            silence_ms = time_ms - int(state["seen_ms"][slot])
            origin = dict(
                zip(
                    ORIGIN,
                    (int(state[name][slot]) for name in ("of_partition", "of_offset", "log_ms", "of_schema_id")),
                    strict=True,
                )
            )
            for rule in self._rules:
                if isinstance(rule, CameraDown) and silence_ms >= rule.limit_s * 1000:
                    judged = _one_camera(camera, silence_ms, time_ms, int(state["seen_ms"][slot]))
                    told += with_origin(self._tell(rule, judged, state), origin)
        return frame_of(told, ALERTS_SCHEMA)

    def _judge(self, rule: Rule, window: pl.DataFrame, end_ms: int, state: StateTable) -> Iterator[dict[str, Any]]:
        for judged in self._conditions(rule, window, end_ms):
            yield from self._tell(rule, judged, state)
            if isinstance(rule, Loitering | AfterHours):
                self._end_others(rule, set(judged.subject), end_ms, state)

    def _conditions(self, rule: Rule, window: pl.DataFrame, end_ms: int) -> Iterator[Judged]:
        """The rule on all that the window says of it; several parts where a subject is there more than once."""
        match rule:
            case Crowding():
                rows = window.filter((pl.col("what") == "occupancy") & (pl.col("zone_id") == rule.zone))
                value = _values(rows)
                yield _judged(rows, value >= rule.people, value < rule.calm_below)
            case Loitering():
                rows = window.filter((pl.col("what") == "stay") & (pl.col("zone_id") == rule.zone))
                holds = _values(rows) >= rule.limit_s
                yield _judged(rows, holds, ~holds)
            case AfterHours():
                rows = window.filter((pl.col("what") == "stay") & (pl.col("zone_id") == rule.zone))
                local = dt.datetime.fromtimestamp(end_ms / 1000, self._zone_info)
                closed = np.full(rows.height, rule.is_closed_at(local.hour * 60 + local.minute))
                yield _judged(rows, closed, ~closed)
            case LineCrossed():
                rows = window.filter((pl.col("what") == "crossed") & (pl.col("zone_id") == rule.line))
                rows = rows.filter(pl.col("value").is_in([float(way) for way in DIRECTIONS[rule.direction]]))
                for crossing in rows.iter_slices(1):  # the same person may cross twice in one window
                    yield _judged(crossing, np.ones(1, bool), np.ones(1, bool))
            case CameraDown() | CameraCovered():
                rows = window.filter(pl.col("what") == "camera")
                yield _judged_cameras(rule, rows)

    def _tell(self, rule: Rule, judged: Judged, state: StateTable) -> list[dict[str, Any]]:
        """Remember, and say what is to be said."""
        if not judged.subject:
            return []
        keys = [_key(rule, subject) for subject in judged.subject]
        known = [key in state for key in keys]
        wanted = [i for i, is_known in enumerate(known) if is_known or judged.holds[i]]
        if not wanted:
            return []
        keys = [keys[i] for i in wanted]
        slots, holds, is_over = state.slots(keys), judged.holds[wanted], judged.is_over[wanted]
        time_ms, since_ms = judged.time_ms[wanted], state["since_ms"][slots]
        raised, told_ms = state["raised"][slots], state["told_ms"][slots]
        since_ms = np.where(holds, np.where(since_ms == _NONE, judged.since_ms[wanted], since_ms), _NONE)
        is_quiet = (told_ms == _NONE) | (time_ms - told_ms >= rule.quiet_s * 1000)
        is_new = holds & ~raised & is_quiet & (time_ms - since_ms >= _for_ms(rule))
        ends = raised & is_over & ~holds
        momentary = isinstance(rule, LineCrossed)
        state["rule"][slots], state["subject"][slots] = rule.name, [judged.subject[i] for i in wanted]
        state["since_ms"][slots] = _NONE if momentary else since_ms
        state["raised"][slots] = False if momentary else (raised | is_new) & ~ends
        state["told_ms"][slots] = np.where(is_new, time_ms, told_ms)
        state.touch(keys)
        said = []
        for i, row in enumerate(wanted):
            if is_new[i] or (ends[i] and isinstance(rule, _LASTING)):
                said.append(
                    {
                        "zone_id": judged.zone[row],
                        "rule": rule.name,
                        "kind": rule.kind,
                        "state": "raised" if is_new[i] else "cleared",
                        "subject": judged.subject[row],
                        "event_time_ms": int(time_ms[i]),
                        "value": float(judged.value[row]),
                        "limit": _limit(rule),
                    }
                )
        self._forget(rule, int(time_ms.max()), state)
        return said

    def _end_others(self, rule: Rule, here: set[str], time_ms: int, state: StateTable) -> None:
        """Whom the window says nothing of has left."""
        slots = np.flatnonzero((state["rule"] == rule.name) & (state["since_ms"] != _NONE))
        left = [slot for slot in slots.tolist() if state["subject"][slot] not in here]
        state["since_ms"][left], state["raised"][left] = _NONE, False
        state.touch([_key(rule, str(state["subject"][slot])) for slot in left])
        self._forget(rule, time_ms, state)

    def _forget(self, rule: Rule, time_ms: int, state: StateTable) -> None:
        """Those of whom there is nothing to remember any more."""
        idle = (state["rule"] == rule.name) & (state["since_ms"] == _NONE) & ~state["raised"]
        idle &= (state["told_ms"] == _NONE) | (time_ms - state["told_ms"] >= rule.quiet_s * 1000)
        keys = state.keys_where(idle)
        state["rule"][idle] = ""  # else a free slot would look idle, again and again
        state.delete(keys)

    def _rename(self, renamed: pl.DataFrame, state: StateTable) -> None:
        for old, new in renamed.select("zone_id", "subject").iter_rows():
            for rule in self._rules:
                if _key(rule, old) not in state:
                    continue
                was, now = state.slots([_key(rule, old), _key(rule, new)]).tolist()
                state["rule"][now], state["subject"][now] = rule.name, new
                began = [int(since) for since in state["since_ms"][[was, now]] if since != _NONE]
                state["since_ms"][now] = min(began, default=_NONE)
                state["raised"][now] |= state["raised"][was]
                state["told_ms"][now] = max(state["told_ms"][[was, now]])
                state.touch([_key(rule, new)])
                state["rule"][was], state["raised"][was] = "", False
                state.delete([_key(rule, old)])

    def _note_cameras(self, cameras: pl.DataFrame, state: StateTable) -> None:
        seen = cameras.filter(pl.col("value").is_not_null() & pl.col("camera_partition").is_not_null())
        if seen.is_empty():
            return
        keys = [f"@camera/{name}" for name in seen["subject"].to_list()]
        slots, at_ms = state.slots(keys), seen["window_end_ms"].to_numpy()
        state["subject"][slots] = seen["subject"].to_list()
        state["seen_ms"][slots] = at_ms - np.rint(seen["value"].to_numpy() * 1000).astype(np.int64)
        state["at_ms"][slots] = at_ms
        state["camera_partition"][slots] = seen["camera_partition"].to_numpy()
        for name, column in zip(("of_partition", "of_offset", "log_ms", "of_schema_id"), ORIGIN, strict=True):
            state[name][slots] = seen[column].to_numpy()
        state.touch(keys)


def _key(rule: Rule, subject: str) -> str:
    return f"{rule.name}/{subject}"


def _values(rows: pl.DataFrame) -> Floats:
    return rows["value"].to_numpy()


def _judged(rows: pl.DataFrame, holds: Bools, is_over: Bools) -> Judged:
    time_ms = rows["event_time_ms"].to_physical().to_numpy()
    return Judged(rows["subject"].to_list(), rows["zone_id"].to_list(), _values(rows), holds, is_over, time_ms, time_ms)


def _judged_cameras(rule: CameraDown | CameraCovered, rows: pl.DataFrame) -> Judged:
    """A camera that was never seen is silent since we look."""
    time_ms = rows["event_time_ms"].to_physical().to_numpy()
    silence_s = rows["value"].fill_null(np.inf).to_numpy()
    covered: Bools = rows["covered"].to_numpy()
    is_known = np.isfinite(silence_s)
    since_ms = np.where(
        is_known, time_ms - np.rint(np.where(is_known, silence_s, 0.0) * 1000).astype(np.int64), time_ms
    )
    holds = ~is_known | (silence_s >= rule.limit_s)
    if isinstance(rule, CameraCovered):
        holds, since_ms = covered, time_ms
    value = np.where(is_known, silence_s, 0.0)
    return Judged(rows["subject"].to_list(), rows["zone_id"].to_list(), value, holds, ~holds, since_ms, time_ms)


def _one_camera(camera: str, silence_ms: int, time_ms: int, seen_ms: int) -> Judged:
    yes = np.ones(1, bool)
    return Judged(
        [camera], [camera], np.array([silence_ms / 1000]), yes, ~yes, np.array([seen_ms]), np.array([time_ms])
    )


def _for_ms(rule: Rule) -> float:
    """How long the condition has to hold."""
    match rule:
        case Crowding():
            return rule.for_s * 1000
        case CameraDown() | CameraCovered():
            return rule.limit_s * 1000
        case _:
            return 0.0


def _limit(rule: Rule) -> float:
    match rule:
        case Crowding():
            return float(rule.people)
        case Loitering() | CameraDown() | CameraCovered():
            return rule.limit_s
        case _:
            return 0.0
