"""League of Legends matches from Riot's MATCH-V5 timelines: team 100 (blue) is camp A, team 200 (red) camp B.

A timeline has a frame a minute with the state of ten participants, and every event since the frame before. A list
around the object, as some tools save it, is taken off. A frame in which a participant is missing gives no leads: a
lead over some of ten would be wrong. A building's `teamId` is the camp that lost it. Without a GAME_END (the download
was cut, or the game is still on) there is no end event. Ended by the game itself (`Abort…`): a remake.

Timelines do not name the map, so other maps are recognised by what Summoner's Rift never lacks: wards and neutral
monsters. Match files (`participants` with champions, no frames) are another resource and are refused.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from streaming.importers.assembly import END, REMAKE, SCORE, SNAPSHOT, START, assemble
from streaming.importers.problem import ImportProblem

SUMMONERS_RIFT = 11
PARTICIPANTS = range(1, 11)
_BLUE = range(1, 6)
_MONSTERS = {"DRAGON": "dragons", "BARON_NASHOR": "barons", "RIFTHERALD": "heralds"}
_SHORT_S = 300.0  # in a match this short, nobody may have placed a ward yet
_MOST_S = 6 * 3600.0
_FIRST_MS = 1_577_836_800_000  # 2020-01-01 UTC, for a timeline without a clock time
_DAMAGED = "download the timeline again"


@dataclass
class RiotMatch:
    """One timeline, as rows for `assemble` without their match number."""

    path: Path
    match_id: str
    start_ms: int | None  # event time of clock 0, if the timeline says
    rows: list[dict[str, Any]] = field(default_factory=list)


def read_riot(path: Path, content: bytes, *, any_map: bool = False) -> list[RiotMatch]:
    """The matches in one file: one, unless the file is a list of several.

    Raises:
        ImportProblem: no JSON, no timeline, damaged, or (unless `any_map`) not played on Summoner's Rift.
    """
    matches = [_match(path, place, timeline, any_map) for place, timeline in _timelines(path, _parsed(path, content))]
    if not matches:
        raise ImportProblem(path, "byte 0", "an empty list", _DAMAGED)
    return matches


def riot_events(matches: list[RiotMatch]) -> pl.DataFrame:
    """An event frame of these matches, in the order of their start times, else as given."""
    known = [match.start_ms for match in matches if match.start_ms is not None]
    free_ms = max(known, default=_FIRST_MS)
    starts: list[int] = []
    for match in matches:
        if match.start_ms is None:
            free_ms += 3600 * 1000  # an hour apart: no overlap, and the order given
        starts.append(free_ms if match.start_ms is None else match.start_ms)
    order = sorted(range(len(matches)), key=lambda i: starts[i])
    rows = [row | {"match": place} for place, i in enumerate(order) for row in matches[i].rows]
    frame = pl.from_dicts(rows, infer_schema_length=None)
    ids = [matches[i].match_id for i in order]
    return assemble([frame], title="lol", match_ids=ids, start_ms=np.array([starts[i] for i in order], np.int64))


def _parsed(path: Path, content: bytes) -> Any:
    def refuse(constant: str) -> Any:
        raise ImportProblem(path, "", f"{constant} is no JSON number", _DAMAGED)

    try:
        parsed = json.loads(content.decode("utf-8-sig"), parse_constant=refuse)
        if b"\\ud" in content.lower():  # an escaped half of a character is JSON, and no text
            json.dumps(parsed, ensure_ascii=False).encode()
        return parsed
    except json.JSONDecodeError as error:
        cut = error.pos >= len(error.doc.rstrip()) - 1 or error.msg.startswith("Unterminated string")
        fault = "the file is cut short" if cut else f"not JSON: {error.msg}"
        raise ImportProblem(path, f"line {error.lineno} column {error.colno}", fault, _DAMAGED) from error
    except UnicodeDecodeError as error:
        raise ImportProblem(path, f"byte {error.start}", "not UTF-8 text", _DAMAGED) from error
    except UnicodeEncodeError as error:
        raise ImportProblem(path, "", f"half a character: {error.object[error.start]!r}", _DAMAGED) from error
    except (ValueError, RecursionError) as error:  # a number of thousands of digits; lists within lists without end
        raise ImportProblem(path, "", f"not a timeline: {error}"[:120], _DAMAGED) from error


def _timelines(path: Path, parsed: Any, place: str = "", depth: int = 0) -> Iterator[tuple[str, dict[str, Any]]]:
    """The timeline objects, with a place for messages, inside at most three lists."""
    if isinstance(parsed, list) and depth < 3:
        for number, item in enumerate(parsed):
            yield from _timelines(path, item, f"item {number}, " if len(parsed) > 1 else place, depth + 1)
        return
    info = parsed.get("info", parsed) if isinstance(parsed, dict) else None
    if isinstance(info, dict) and isinstance(info.get("frames"), list) and info["frames"]:
        yield place, parsed
    elif isinstance(info, dict) and "gameDuration" in info:
        raise ImportProblem(
            path, f"{place}info", "a match file without frames", "download /matches/ID/timeline of the same match"
        )
    else:
        raise ImportProblem(path, f"{place}info.frames", "missing or empty, so this is no MATCH-V5 timeline", _DAMAGED)


class _Reader:
    """Values of one timeline, each checked where it is taken."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.place = ""

    def problem(self, fault: str) -> ImportProblem:
        return ImportProblem(self.path, self.place, fault, _DAMAGED)

    def number(self, source: dict[str, Any], name: str) -> float:
        value = source.get(name)
        # Bounded before it becomes a float, because a JSON integer can be too large for one.
        if isinstance(value, bool) or not isinstance(value, int | float) or not -1e13 < value < 1e13:
            raise self.problem(f"{name} is {str(value)[:40]!r}, not a number" if value is not None else f"no {name}")
        return float(value)

    def objects(self, source: dict[str, Any], name: str) -> list[dict[str, Any]]:
        value = source.get(name, [])
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            raise self.problem(f"{name} is no list of objects")
        return value

    def participant(self, source: dict[str, Any], name: str) -> int | None:
        """1 to 10; None for a minion, a tower or nobody."""
        value = source.get(name)
        return value if isinstance(value, int) and not isinstance(value, bool) and value in PARTICIPANTS else None


class _Tally:
    """Kills and assists so far."""

    def __init__(self) -> None:
        self.kills = {"A": 0, "B": 0}
        self.taken_part = dict.fromkeys(PARTICIPANTS, 0)

    def participation(self) -> float | None:
        """Mean share of their team's kills that the heroes of A had a part in, minus that of B."""
        if not all(self.kills.values()):
            return None
        shares = {side: sum(self.taken_part[p] for p in _team(side)) / (5 * n) for side, n in self.kills.items()}
        return round(shares["A"] - shares["B"], 4)


def _team(side: str) -> range:
    return _BLUE if side == "A" else range(6, 11)


def _side(participant: int) -> str:
    return "A" if participant in _BLUE else "B"


def _other(side: str) -> str:
    return "B" if side == "A" else "A"


def _match(path: Path, place: str, timeline: dict[str, Any], any_map: bool) -> RiotMatch:
    info = timeline.get("info", timeline)
    reader = _Reader(path)
    reader.place = f"{place}info.frames"
    frames = reader.objects(info, "frames")
    if not any_map:
        _refuse_other_maps(path, place, info, frames)
    metadata = timeline.get("metadata")
    named = metadata.get("matchId") if isinstance(metadata, dict) else None
    if not isinstance(named, str) or not 0 < len(named) <= 64:
        number = info.get("gameId")
        named = f"riot-{number}" if isinstance(number, int) and number < 10**18 else f"riot-{path.stem[:48]}"
    match = RiotMatch(path, named.lstrip("@") or "riot", start_ms=None)
    match.rows.append({"order": START, "clock_s": 0.0, "origin": "replay"} | _patch(info))
    tally, end, complete = _Tally(), None, 0
    for number, frame in enumerate(frames):
        reader.place = f"{place}frame {number}"
        for at, event in enumerate(reader.objects(frame, "events")):
            reader.place = f"{place}frame {number}, event {at}"
            if isinstance(event.get("realTimestamp"), int) and 0 < event["realTimestamp"] < 4e12:
                match.start_ms = match.start_ms or max(
                    int(event["realTimestamp"] - reader.number(event, "timestamp")), 1
                )
            if event.get("type") == "GAME_END":
                end = event
            match.rows.extend(_scores(reader, event, tally))
        reader.place = f"{place}frame {number}"
        snapshot = _snapshot(reader, frame, tally)
        complete += snapshot is not None
        match.rows.extend([snapshot] if snapshot else [])
    if not complete:
        raise ImportProblem(path, f"{place}participantFrames", "no frame has all ten participants", _DAMAGED)
    match.rows.extend(_end(reader, info, end, match.rows))
    return match


def _patch(info: dict[str, Any]) -> dict[str, str]:
    version = info.get("gameVersion")
    return {"patch": ".".join(version.split(".")[:2])[:32]} if isinstance(version, str) else {}


def _refuse_other_maps(path: Path, place: str, info: dict[str, Any], frames: list[dict[str, Any]]) -> None:
    named = info.get("mapId")
    if isinstance(named, int):
        is_rift = named == SUMMONERS_RIFT
    else:
        events = [e for frame in frames for e in _list(frame.get("events")) if isinstance(e, dict)]
        kinds = {str(event.get("type")) for event in events}
        last = frames[-1].get("timestamp")
        is_short = isinstance(last, int | float) and last < _SHORT_S * 1000
        is_rift = is_short or bool(kinds & {"WARD_PLACED", "WARD_KILL", "ELITE_MONSTER_KILL"})
    if not is_rift:
        kills = sum(
            event.get("type") == "CHAMPION_KILL"
            for f in frames
            for event in _list(f.get("events"))
            if isinstance(event, dict)
        )
        raise ImportProblem(
            path,
            f"{place}frames 0 to {len(frames) - 1}",
            f"not a Summoner's Rift match: {kills} kills but no ward and no neutral monster, as in ARAM",
            "leave it out; sightline demo --any-map plays it all the same",
        )


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _scores(reader: _Reader, event: dict[str, Any], tally: _Tally) -> list[dict[str, Any]]:
    """What an event gains for a camp; most events gain nothing."""
    kind = event.get("type")
    if kind not in ("CHAMPION_KILL", "BUILDING_KILL", "ELITE_MONSTER_KILL"):
        return []
    clock_s = reader.number(event, "timestamp") / 1000.0
    if not 0 <= clock_s <= _MOST_S:
        raise reader.problem(f"timestamp is {event['timestamp']}, beyond any match")
    killer = reader.participant(event, "killerId")
    if kind == "CHAMPION_KILL":
        if killer is None:  # killed by a tower or minions: nobody's kill
            return []
        side = _side(killer)
        tally.kills[side] += 1
        helpers = {p for p in _list(event.get("assistingParticipantIds")) if isinstance(p, int) and p in _team(side)}
        for participant in helpers | {killer}:
            tally.taken_part[participant] += 1
        return [_score(clock_s, side, "kills")]
    if kind == "BUILDING_KILL":
        if event.get("teamId") not in (100, 200):
            raise reader.problem(f"teamId is {str(event.get('teamId'))[:20]}, not 100 or 200")
        side = _other("A" if event["teamId"] == 100 else "B")  # teamId lost it
        if event.get("buildingType") == "INHIBITOR_BUILDING":
            return [_score(clock_s, side, "inhibitors")]
        if event.get("buildingType") != "TOWER_BUILDING":
            return []
        inner = [_score(clock_s, side, "inner_towers")] if event.get("towerType") == "INNER_TURRET" else []
        return [_score(clock_s, side, "towers"), *inner]
    subject = _MONSTERS.get(str(event.get("monsterType")))
    by = {100: "A", 200: "B"}.get(_hashable(event.get("killerTeamId")), _side(killer) if killer else None)
    return [_score(clock_s, by, subject)] if subject and by else []


def _hashable(value: Any) -> Any:
    return value if isinstance(value, int) else None


def _score(clock_s: float, side: str, subject: str) -> dict[str, Any]:
    return {"order": SCORE, "clock_s": clock_s, "side": side, "subject": subject}


def _snapshot(reader: _Reader, frame: dict[str, Any], tally: _Tally) -> dict[str, Any] | None:
    """Leads at a frame, or None if a participant is missing in it."""
    clock_s = reader.number(frame, "timestamp") / 1000.0
    if not 0 <= clock_s <= _MOST_S:
        raise reader.problem(f"timestamp is {frame['timestamp']}, beyond any match")
    participants = frame.get("participantFrames")
    if not isinstance(participants, dict):
        raise reader.problem("participantFrames is no object")
    states = [participants.get(str(number)) for number in PARTICIPANTS]
    if not all(isinstance(state, dict) for state in states):
        return None

    def values(name: str) -> tuple[list[float], list[float]]:
        every = [reader.number(state, name) for state in states if state is not None]
        return every[:5], every[5:]

    def lead(name: str) -> float:
        a, b = values(name)
        return sum(a) - sum(b)

    gold_a, gold_b = values("totalGold")
    return {
        "order": SNAPSHOT,
        "clock_s": clock_s,
        "gold": sum(gold_a) - sum(gold_b),
        "xp": lead("xp"),
        "level": lead("level"),
        "minions": lead("minionsKilled"),
        "gold_spread": round(_spread(gold_a) - _spread(gold_b), 1),
        "participation": tally.participation(),
    }


def _spread(gold: list[float]) -> float:
    """Population standard deviation."""
    mean = sum(gold) / len(gold)
    return math.sqrt(sum((g - mean) ** 2 for g in gold) / len(gold))


def _end(
    reader: _Reader, info: dict[str, Any], end: dict[str, Any] | None, rows: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    last_s = max(row["clock_s"] for row in rows)
    if str(info.get("endOfGameResult", "")).startswith("Abort"):
        return [{"order": REMAKE, "clock_s": last_s}]
    winner = {100: "A", 200: "B"}.get(_hashable(end.get("winningTeam"))) if end else None
    if end is None or winner is None:
        return []
    reader.place = "GAME_END"
    clock_s = reader.number(end, "timestamp") / 1000.0
    return [{"order": END, "clock_s": min(max(clock_s, last_s), _MOST_S), "side": winner}]
