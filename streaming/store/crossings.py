"""Who crosses a line: counted by how people near it move, not by who they are said to be.

A tracker loses people, swaps two that meet, and gives new numbers, and it does so where it is narrow: at a door; and
one person is several tracks where cameras overlap. So near a line everybody is followed anew, as *walkers*. Frame after
frame, walkers and the people in it are paired at the least cost (Kuhn 1955, as scipy has it): the distance from where
the walker should be by now, and more for another track. Names decide nothing about whom a camera sees, or just saw. But
out of sight people turn and hurry, so who was it for longer is known again by name as well, wherever they can have
walked meanwhile; not at an entrance, as who has left does not come back in a moment. A frame shows a walker once;
several cameras show the same one. Where a walker is, and how fast, comes of all sightings, each of which is off
by some (a Kalman filter of nearly constant speed: Bar-Shalom et al., Estimation with Applications to Tracking and
Navigation, 2001, §6.3). So an identity or a track that changes at the line changes no count, and whom three cameras see
crosses once. Who moves off against the way on which a walker was lost is somebody else; and a new track that is, over
the next moments, where other cameras show somebody is theirs, however near to it another was lost: the first place of
a track is the worst, as only a part of the body is in the picture.

A walker that was clear of the line on one side and is clear of it on the other has crossed it, if the way between led
through the segment. So trembling at the line counts nothing, nor does walking around its ends. Whoever appears within
the band comes from the side where they appeared; and whoever is last seen there on the way out of it is taken to have
gone on: at a door people come into sight and leave it right behind the line. At an entrance that holds for whoever
would be over it by now, and whoever appears on the line, or walks on from it as they appear, has come in: nobody is
seen behind it, and few right before it where the door hides them.

All distances are in units of the line's `band`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from scipy.optimize import linear_sum_assignment

from streaming.store.carry import Walker
from streaming.store.geometry import Bools, Floats, distance_to, passes_between, side_of
from streaming.store.observed import Observed, Tracks
from streaming.store.plan import Line

NEAR = 10.0
"""Bands from the line within which people are followed: who is lost before it and found behind it is known to have been
on the way if they have been seen to walk."""
PATIENCE_MS = 3_000
"""Out of sight for longer, a walker is given up."""

_SAME_GATE = 6.0  # that a track of the walker's may be away from where the walker should be
_GATE, _GATE_PER_S = 2.0, 5.0  # the same for another track: at once, and more while nobody sees the walker
_WALKS_PER_S = 1.5  # who moves off so fast against the way on which the walker was is somebody else
_BESIDE = 1.6  # so near to where other cameras see somebody over the next moments, a new track is theirs
_FOR_SURE = 100.0  # more than any distance
_ONE = 0.5  # so near to one another, two bodies cannot be
_SWITCH_COST = 1.5  # by which another track must fit better
_NOISE, _SPEED_PER_S, _ACCELERATION = 0.6, 4.0, 6.0  # standard deviations: a sighting, a new walker's speed, its change
_AHEAD_S = 0.7  # who is given up would have walked on for so long, and who appears has
_LEFT_AHEAD_S = 1.5  # who leaves by an entrance: how fast they turn into it is known late
_APPEARED = 0.3  # so far from the line somebody came from that side
_MAX_AHEAD_S = 0.7  # nobody walks straight on for longer
_FASTEST_PER_S = 7.0  # nobody walks faster: 2.1 m/s at a band of .3 m
_NAMED_COST = 1.0  # of the same name, after a while out of sight: as somebody's who is so far from where they should be
_INFEASIBLE = 1e9


class Crossing(NamedTuple):
    """One person over one line."""

    line: str
    time_ms: int  # of the sighting by which they were over; of who was lost on the way, the last
    person: str
    direction: int  # 1 in (left to right), -1 out


def fold_line(
    line: Line, end_ms: int, seen: Observed, walkers: Sequence[Walker]
) -> tuple[list[Crossing], list[Walker]]:
    """Count one window at one line.

    Args:
        line: which.
        end_ms: of the window.
        seen: all that was seen in it where the line lies.
        walkers: near the line as the window begins.

    Returns:
        The crossings in the order in which they became known, and the walkers near the line as the window ends.
    """
    away = distance_to(line.start, line.end, seen.points) / line.band
    crossings: list[Crossing] = []
    followed = [replace(walker, tracks=dict(walker.tracks)) for walker in walkers]
    tracks = Tracks(seen)
    speeds = tracks.speeds()
    for rows in tracks.frames():
        if not followed and not (away[rows] <= NEAR).any():
            continue
        now_ms, camera = int(seen.at_ms[rows[0]]), seen.camera[rows[0]]
        followed, found = _given_up(line, followed, now_ms)
        crossings += found
        numbers = seen.track[rows].tolist()
        goes_on = [tracks.goes_on((camera, walker.tracks.get(camera, -1)), now_ms) for walker in followed]
        frame = _Frame(now_ms, camera, numbers, [seen.person[row] for row in rows], seen.points[rows], speeds[rows])
        beside = _beside(line, followed, frame, tracks)
        pairs = _pairs(line, followed, frame, np.array(goes_on, bool), beside)
        taken = {row: followed[number] for number, row in pairs}
        for row, walker in taken.items():
            walker.person = frame.people[row]
            crossings += _moved(line, walker, seen.points[rows[row]], now_ms)
        # Whose track is in the frame and is no longer theirs has been mistaken for somebody who is elsewhere.
        for walker in followed:
            if walker.tracks.get(camera) in numbers and taken.get(numbers.index(walker.tracks[camera])) is not walker:
                del walker.tracks[camera]
        for row, walker in taken.items():
            walker.tracks[camera] = numbers[row]
        places = np.array([(walker.x, walker.y) for walker in followed]).reshape(-1, 2)
        is_near = (distance_to(line.start, line.end, places) <= NEAR * line.band).tolist()
        followed = [walker for walker, near in zip(followed, is_near, strict=True) if walker.tracks and near]
        followed += [
            _new(line, frame, row) for row in range(len(numbers)) if row not in taken and away[rows[row]] <= NEAR
        ]
        followed = _without_doubles(line, followed, tracks, now_ms)
    followed, found = _given_up(line, followed, end_ms)
    return crossings + found, followed


def _without_doubles(line: Line, walkers: Sequence[Walker], tracks: Tracks, now_ms: int) -> list[Walker]:
    """Two walkers in one place whom no camera shows side by side are one, the one who was followed first: cameras have
    put them so far apart at first that they were taken for two."""

    def seen_by(walker: Walker) -> set[str]:
        return {camera for camera, track in walker.tracks.items() if tracks.goes_on((camera, track), now_ms)}

    kept: list[Walker] = []
    for walker in walkers:
        for other in kept:
            if math.hypot(walker.x - other.x, walker.y - other.y) > _ONE * line.band:
                continue
            mine, theirs = seen_by(walker), seen_by(other)
            if mine and theirs and not mine & theirs:
                other.tracks |= {camera: walker.tracks[camera] for camera in mine}
                break
        else:
            kept.append(walker)
    return kept


def _given_up(line: Line, walkers: Sequence[Walker], now_ms: int) -> tuple[list[Walker], list[Crossing]]:
    """Those that are still followed, and the crossings of those that were last seen on their way over the line."""
    kept = [walker for walker in walkers if now_ms - walker.seen_ms <= PATIENCE_MS]
    crossings = []
    for walker in walkers:
        if now_ms - walker.seen_ms <= PATIENCE_MS or walker.side == 0:
            continue
        ahead_s = _LEFT_AHEAD_S if line.entrance and walker.side > 0 else _AHEAD_S
        goes_on = np.array([walker.x + ahead_s * walker.x_per_s, walker.y + ahead_s * walker.y_per_s])
        # Behind an entrance nobody is seen any more: who would have been over it has left, or they would be seen.
        is_over = (
            _across(line, goes_on) * walker.side < 0 if line.entrance else _clear_side(line, goes_on) == -walker.side
        )
        if is_over and _leads_through(line, walker, goes_on):
            crossings.append(Crossing(line.name, walker.seen_ms, walker.person, -walker.side))
    return kept, crossings


class _Frame(NamedTuple):
    """What one camera sees at one moment: N people."""

    now_ms: int
    camera: str
    tracks: list[int]
    people: list[str]
    points: Floats  # (N, 2)
    speeds: Floats  # (N, 2) per second, as each moves on; NaN where it is not known


def _beside(line: Line, walkers: Sequence[Walker], frame: _Frame, tracks: Tracks) -> Floats:
    """(walkers, people) how far in bands each whose track is nobody's yet is from where other cameras see a walker over
    the next moments; NaN where no other does, or this one sees the walker already."""
    apart = np.full((len(walkers), len(frame.tracks)), np.nan)
    bound = {walker.tracks.get(frame.camera) for walker in walkers}
    new = [row for row, track in enumerate(frame.tracks) if track not in bound]
    for number, walker in enumerate(walkers if new else ()):
        others = [track for track in walker.tracks.items() if tracks.goes_on(track, frame.now_ms)]
        if not others or walker.tracks.get(frame.camera) in frame.tracks:
            continue
        away = np.hypot(*(frame.points[new] - (walker.x, walker.y)).T) / line.band
        for row in np.array(new)[away <= _SAME_GATE].tolist():
            apart[number, row] = tracks.apart((frame.camera, frame.tracks[row]), others, frame.now_ms) / line.band
    return apart


def _pairs(
    line: Line, walkers: Sequence[Walker], frame: _Frame, goes_on: Bools, beside: Floats
) -> list[tuple[int, int]]:
    """Which walker is which of the people in a frame; both by number. Some walkers' tracks are seen here yet."""
    if not walkers:
        return []
    gap_s = np.array([(frame.now_ms - walker.seen_ms) / 1000 for walker in walkers])
    position = np.array([(walker.x, walker.y) for walker in walkers])
    speed = np.array([(walker.x_per_s, walker.y_per_s) for walker in walkers])
    expected = position + speed * np.minimum(gap_s, _MAX_AHEAD_S)[:, None]
    distance = np.linalg.norm(expected[:, None] - frame.points[None], axis=-1) / line.band
    bound = [walker.tracks.get(frame.camera) for walker in walkers]
    own = np.array([[track == number for number in frame.tracks] for track in bound])
    # Two tracks that are in the frame may have been swapped; else a walker's own track is the walker while it goes on.
    swapped = own.any(axis=1, keepdims=True) & own.any(axis=0, keepdims=True)
    walks: Bools = np.hypot(*speed.T) > _WALKS_PER_S * line.band
    moves_off: Bools = np.hypot(*frame.speeds.T) > _WALKS_PER_S * line.band
    turns = walks[:, None] & moves_off[None] & (speed @ np.nan_to_num(frame.speeds).T < 0.0)
    may_take = swapped | ~goes_on[:, None] & ~turns
    cost = np.where(own, distance, distance + _SWITCH_COST)
    near = distance <= (_GATE + _GATE_PER_S * np.minimum(gap_s, _MAX_AHEAD_S))[:, None]
    cost = np.where(own & (distance <= _SAME_GATE) | ~own & may_take & near, cost, _INFEASIBLE)
    if not line.entrance:
        walked = np.linalg.norm(position[:, None] - frame.points[None], axis=-1) / line.band
        reached = (gap_s > _MAX_AHEAD_S)[:, None] & (walked <= (_GATE + _FASTEST_PER_S * gap_s)[:, None])
        named = np.array([[walker.person == name for name in frame.people] for walker in walkers])
        known = named & reached & ~goes_on[:, None] & ~own.any(axis=0)
        cost = np.where(known, np.minimum(cost, _NAMED_COST), cost)
    # Whom other cameras show in the same place is that one, before anybody who was lost there.
    is_beside = (beside <= _BESIDE) & ~goes_on[:, None]
    cost = np.where(is_beside, beside - _FOR_SURE, cost)
    rows, columns = linear_sum_assignment(cost)
    chosen = zip(rows.tolist(), columns.tolist(), strict=True)
    return [(walker, person) for walker, person in chosen if cost[walker, person] < _INFEASIBLE]


def _new(line: Line, frame: _Frame, row: int) -> Walker:
    """Somebody who is followed from here on; who walks on from an entrance as they appear has come in by it."""
    at, side = frame.points[row], _clear_side(line, frame.points[row])
    x, y = clear = at.tolist()
    before = at - _AHEAD_S * frame.speeds[row]
    came_in = line.entrance and _across(line, before) < 0.0 < _across(line, at)
    if came_in and passes_between(line.start, line.end, (before[0], before[1]), (x, y)):
        side, clear = -1, before.tolist()
    variance = ((_NOISE * line.band) ** 2, 0.0, (_SPEED_PER_S * line.band) ** 2)
    return Walker(
        frame.people[row], {frame.camera: frame.tracks[row]}, frame.now_ms, x, y, 0.0, 0.0, *variance, side, *clear
    )


def _moved(line: Line, walker: Walker, at: Floats, now_ms: int) -> list[Crossing]:
    """Take the walker to where they are now, by one more sighting."""
    passed_s = (now_ms - walker.seen_ms) / 1000
    walker.seen_ms = now_ms
    _filter(walker, at, passed_s, (_NOISE * line.band) ** 2, (_ACCELERATION * line.band) ** 2)
    here = np.array([walker.x, walker.y])
    side = _clear_side(line, here)
    if side == 0:
        return []
    # Somebody who has not been clear of the line yet comes from the side on which they appeared.
    across = _across(line, np.array([walker.clear_x, walker.clear_y])) / line.band
    from_side = 0 if abs(across) < _APPEARED else int(np.sign(across))
    if line.entrance and from_side == 0:
        from_side = -1  # nobody begins in a door but who comes in
    before = walker.side or from_side
    crossed = side == -before and _leads_through(line, walker, here)
    walker.side, walker.clear_x, walker.clear_y = side, walker.x, walker.y
    return [Crossing(line.name, now_ms, walker.person, side)] if crossed else []


def _filter(walker: Walker, at: Floats, passed_s: float, noise: float, acceleration: float) -> None:
    """Predict and correct; the variances are the same along both axes."""
    place, both, speed = walker.place_var, walker.both_var, walker.speed_var
    place += 2 * passed_s * both + passed_s**2 * speed + acceleration * passed_s**4 / 4
    both += passed_s * speed + acceleration * passed_s**3 / 2
    speed += acceleration * passed_s**2
    gain, speed_gain = place / (place + noise), both / (place + noise)
    x, y = walker.x + passed_s * walker.x_per_s, walker.y + passed_s * walker.y_per_s
    off_x, off_y = float(at[0]) - x, float(at[1]) - y
    walker.x, walker.y = x + gain * off_x, y + gain * off_y
    walker.x_per_s, walker.y_per_s = walker.x_per_s + speed_gain * off_x, walker.y_per_s + speed_gain * off_y
    walker.place_var, walker.both_var = (1 - gain) * place, (1 - gain) * both
    walker.speed_var = speed - speed_gain * both


def _across(line: Line, at: Floats) -> float:
    return float(side_of(line.start, line.end, at))


def _leads_through(line: Line, walker: Walker, at: Floats) -> bool:
    x, y = at.tolist()
    return passes_between(line.start, line.end, (walker.clear_x, walker.clear_y), (x, y))


def _clear_side(line: Line, at: Floats) -> int:
    across = _across(line, at)
    return 0 if abs(across) < line.band else (1 if across > 0 else -1)
