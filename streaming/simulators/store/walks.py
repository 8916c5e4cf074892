"""People walk the store: every visitor's place every 0.1 s, from the door to shelves, checkout and door.

A person heads along the shortest way to the next place, keeps out of the way of others (a push that grows as they come
near, a little to the right, so that two who meet pass each other) and never enters what stands. That is a social force
model (Helbing and Molnár, Physical Review E 51, 1995) cut down to what a camera can tell.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import polars as pl

from streaming.simulators.store.plan import Flags, Floats, FloorPlan
from streaming.simulators.store.routes import Ints, Routes
from streaming.simulators.store.traffic import Intents, Traffic, draw_intents

STEP_S = 0.1
ACTIVITIES = ("walk", "browse", "queue", "pay")
_WALK, _BROWSE, _QUEUE, _PAY = range(4)
_KEEP_M = 0.22  # a body's radius: its centre never comes nearer to a shelf
_APART_M = 0.9  # people begin to give way
_BESIDE_M = 0.8  # from a place that is taken
_RELAX_S = 0.4  # until a wish has become a movement
_STRIDE_M = 1.4  # two steps
_PATIENCE_S = 45.0  # after which one takes what is within reach

VISITS_SCHEMA = pl.Schema(
    {
        "visit": pl.Int64(),
        "person_id": pl.Int64(),
        "outfit": pl.Int64(),
        "loiters": pl.Boolean(),
        "arrived_s": pl.Float64(),
        "left_s": pl.Float64(),  # null: in the store at the end
        "checkout": pl.Int64(),  # null: has not queued
        "queued_s": pl.Float64(),  # stood in the queue from then on
        "served_s": pl.Float64(),
        "paid_s": pl.Float64(),
    }
)
POSITIONS_SCHEMA = pl.Schema(
    {
        "step": pl.Int64(),
        "time_s": pl.Float64(),
        "visit": pl.Int64(),
        "person_id": pl.Int64(),
        "outfit": pl.Int64(),
        "x_m": pl.Float64(),
        "y_m": pl.Float64(),
        "heading_rad": pl.Float64(),  # from x towards y
        "gait_rad": pl.Float64(),  # phase of the stride, without end
        "speed_mps": pl.Float64(),
        "activity": pl.Enum(ACTIVITIES),
    }
)


class Walks(NamedTuple):
    """What happened: `VISITS_SCHEMA`, a row a visit; `POSITIONS_SCHEMA`, a row a person and step, sorted by step."""

    visits: pl.DataFrame
    positions: pl.DataFrame


def walk(plan: FloorPlan, traffic: Traffic, seed: int) -> Walks:
    """Let people walk. The same plan, traffic and seed give the same walks.

    Raises:
        ValueError: a place of the plan that cannot be reached.
    """
    rng = np.random.default_rng([seed, 1])
    return _Crowd(plan, traffic, draw_intents(plan, traffic, rng), rng).run()


class _Crowd:
    """All visitors as arrays over visits, moved in lockstep."""

    def __init__(self, plan: FloorPlan, traffic: Traffic, intents: Intents, rng: np.random.Generator) -> None:
        self._plan, self._traffic, self._intents, self._rng = plan, traffic, intents, rng
        self._queue_length = len(plan.queues[0])
        places = (plan.way_out, plan.way_in, *plan.spots, *(place for queue in plan.queues for place in queue))
        self._first_spot, self._first_queue = 2, 2 + len(plan.spots)
        self._place_xy = np.array([(place.x_m, place.y_m) for place in places])
        self._place_heading = np.array([place.heading_rad for place in places])
        self._routes = Routes(plan, places)
        self._kept_off = (plan.rectangles[:, :4] + np.array([-_KEEP_M, -_KEEP_M, _KEEP_M, _KEEP_M])).T
        visits = len(intents.arrives_s)
        self._person = np.full(visits, -1)
        self._outfit = np.full(visits, -1)
        self._inside = np.zeros(visits, bool)
        self._doing = np.full(visits, _WALK)
        self._stop = np.zeros(visits, np.int64)  # how many stops are behind
        self._until_s = np.zeros(visits)  # end of browsing or paying
        self._since_s = np.zeros(visits)  # when the present errand began
        self._checkout = np.full(visits, -1)
        self._times = {name: np.full(visits, np.nan) for name in ("arrived", "left", "queued", "served", "paid")}
        self._xy = np.zeros((visits, 2))
        self._velocity = np.zeros((visits, 2))
        self._heading = np.full(visits, plan.way_in.heading_rad)
        self._gait = np.zeros(visits)
        self._worn: dict[int, int] = {}  # person → what they wore the last time
        self._outfits = 0
        self._log: list[tuple[Ints, Floats]] = []

    def run(self) -> Walks:
        due = 0
        for step in range(round(self._traffic.duration_s / STEP_S) + 1):
            now_s = step * STEP_S
            while due < len(self._person) and self._intents.arrives_s[due] <= now_s:
                self._arrive(due, now_s)
                due += 1
            at = np.flatnonzero(self._inside)
            if len(at):
                target = self._targets(at)
                self._move(at, target)
                self._decide(at, target, now_s)
            self._remember(step)
        return self._result()

    def _arrive(self, visit: int, now_s: float) -> None:
        """Somebody new, or somebody who has been here before; nobody if all there are stand in the store."""
        left_s, rng = self._times["left"], self._rng
        gone = (self._person >= 0) & ~self._inside & (left_s <= now_s - self._traffic.away_s)
        here = set(self._person[self._inside].tolist())
        away = sorted(set(self._person[gone].tolist()) - here)
        late = {p for p in away if (left_s[self._person == p] > now_s - self._traffic.away_s).any()}
        away = [person for person in away if person not in late]
        returns, changes, pick = rng.random(3)
        new = len(self._worn)
        if away and (returns < self._traffic.return_share or new >= self._traffic.people):
            person = away[int(pick * len(away))]
            if changes < self._traffic.new_clothes_share:
                self._worn[person] = self._next_outfit()
        elif new < self._traffic.people:
            person = new
            self._worn[person] = self._next_outfit()
        else:
            return
        self._person[visit], self._outfit[visit] = person, self._worn[person]
        self._inside[visit] = True
        self._times["arrived"][visit] = self._since_s[visit] = now_s
        self._xy[visit] = self._plan.way_in.x_m + rng.uniform(-0.4, 0.4), self._plan.way_in.y_m

    def _next_outfit(self) -> int:
        self._outfits += 1
        return self._outfits - 1

    def _targets(self, at: Ints) -> Ints:
        """The place that each heads for. Those who stand in a queue are ahead of those on their way to it."""
        intents = self._intents
        target = np.zeros(len(at), np.int64)
        shopping = _either(self._doing[at], _WALK, _BROWSE) & (self._stop[at] < intents.stop_count[at])
        target[shopping] = (
            self._first_spot + intents.stops[at, np.minimum(self._stop[at], intents.stops.shape[1] - 1)][shopping]
        )
        queued_s = self._times["queued"][at]
        for checkout in range(len(self._plan.queues)):
            mine = np.flatnonzero((self._checkout[at] == checkout) & _either(self._doing[at], _QUEUE, _PAY))
            order = np.argsort(
                queued_s[mine], kind="stable"
            )  # not a number comes last: those who are still on their way
            standing = int(np.isfinite(queued_s[mine]).sum())
            place = np.minimum(np.minimum(np.arange(len(mine)), standing), self._queue_length - 1)
            target[mine[order]] = self._first_queue + checkout * self._queue_length + place
        return target

    def _move(self, at: Ints, target: Ints) -> None:
        xy, place = self._xy[at], self._place_xy[target]
        distance = np.hypot(*(place - xy).T)
        goal = np.where((distance < 0.8)[:, None], place, self._routes.ahead(target, xy))
        towards = goal - xy
        reach = np.maximum(np.hypot(*towards.T), 1e-9)
        speed = self._intents.speed_mps[at]
        stands = _either(self._doing[at], _BROWSE, _PAY) | ((self._doing[at] == _QUEUE) & (distance < 0.15))
        wish = towards / reach[:, None] * (speed * np.minimum(1.0, distance / 0.4))[:, None]
        wish += _giving_way(xy) * speed[:, None]
        wish[stands] = 0.0
        velocity = self._velocity[at] + (wish - self._velocity[at]) * (STEP_S / _RELAX_S)
        fast = np.maximum(np.hypot(*velocity.T) / (1.2 * speed), 1.0)
        moved = self._out_of_boxes(xy + velocity / fast[:, None] * STEP_S)
        self._velocity[at] = (moved - xy) / STEP_S
        self._xy[at] = moved
        pace = np.hypot(*self._velocity[at].T)
        self._gait[at] += pace * STEP_S * (2 * np.pi / _STRIDE_M)
        facing = np.where(
            pace > 0.3, np.arctan2(self._velocity[at, 1], self._velocity[at, 0]), self._place_heading[target]
        )
        facing = np.where((pace > 0.3) | (distance < 0.6), facing, self._heading[at])
        turn = (facing - self._heading[at] + np.pi) % (2 * np.pi) - np.pi
        self._heading[at] += turn * 0.3

    def _out_of_boxes(self, xy: Floats) -> Floats:
        """The nearest points that are allowed."""
        x0, y0, x1, y1 = self._kept_off
        for _ in range(2):  # out of one box may be into its neighbour
            out = np.stack(
                [xy[:, :1] - x0, x1 - xy[:, :1], xy[:, 1:] - y0, y1 - xy[:, 1:]], axis=2
            )  # (N, boxes, sides)
            who, box = np.nonzero((out > 0).all(axis=2))
            side = out[who, box].argmin(axis=1)
            edge = self._kept_off[(0, 2, 1, 3), :][side, box]
            xy[who, side // 2] = edge
        low, high = (_KEEP_M, _KEEP_M), (self._plan.width_m - _KEEP_M, self._plan.depth_m - 0.05)
        inside: Floats = np.clip(xy, low, high)
        return inside

    def _decide(self, at: Ints, target: Ints, now_s: float) -> None:
        """What those do next who have arrived or are done."""
        distance = np.hypot(*(self._place_xy[target] - self._xy[at]).T)
        pace = np.hypot(*self._velocity[at].T)
        doing, waited_s = self._doing[at], now_s - self._since_s[at]
        # Before a shelf where somebody stands already one stops beside them.
        others = self._xy[at[_either(doing, _BROWSE, _PAY)]]
        taken = (np.hypot(*(self._place_xy[target][:, None] - others).transpose(2, 0, 1)) < 0.5).any(axis=1)
        near = (distance < np.where(taken, _BESIDE_M, 0.3)) | (waited_s > _PATIENCE_S)
        near |= (distance < 1.2) & (pace < 0.3) & (waited_s > 5.0)
        errand = target >= self._first_spot
        walking = doing == _WALK
        begins = at[walking & errand & near]
        self._doing[begins] = _BROWSE
        self._until_s[begins] = now_s + self._intents.dwell_s[begins, self._stop[begins]]
        ends = at[(doing == _BROWSE) & (self._until_s[at] <= now_s)]
        self._doing[ends], self._since_s[ends] = _WALK, now_s
        self._stop[ends] += 1
        for visit in ends[(self._stop[ends] == self._intents.stop_count[ends]) & ~self._intents.loiters[ends]]:
            self._join_a_queue(int(visit))
        joins = at[(doing == _QUEUE) & (distance < 0.3) & np.isnan(self._times["queued"][at])]
        self._times["queued"][joins] = now_s
        first = (target - self._first_queue) % self._queue_length == 0
        pays = at[(doing == _QUEUE) & first & (distance < 0.2) & ~np.isnan(self._times["queued"][at])]
        self._doing[pays], self._times["served"][pays] = _PAY, now_s
        self._until_s[pays] = now_s + self._intents.pay_s[pays]
        paid = at[(doing == _PAY) & (self._until_s[at] <= now_s)]
        self._doing[paid], self._times["paid"][paid], self._since_s[paid] = _WALK, now_s, now_s
        leaves = at[walking & (target == 0) & (distance < 0.3)]
        self._inside[leaves], self._times["left"][leaves] = False, now_s

    def _join_a_queue(self, visit: int) -> None:
        """The shortest one; if all are full, one looks at another shelf first."""
        queueing = self._checkout[self._inside & _either(self._doing, _QUEUE, _PAY)]
        lengths = np.bincount(queueing, minlength=len(self._plan.queues))
        if lengths.min() >= self._queue_length:
            self._stop[visit] -= 1
            self._intents.stops[visit, self._stop[visit]] = self._rng.integers(len(self._plan.spots))
            return
        self._doing[visit], self._checkout[visit] = _QUEUE, int(lengths.argmin())

    def _remember(self, step: int) -> None:
        at = np.flatnonzero(self._inside)
        pace = np.hypot(*self._velocity[at].T)
        whole = np.stack([np.full(len(at), step), at, self._doing[at]], axis=1)
        self._log.append((whole, np.column_stack([self._xy[at], self._heading[at], self._gait[at], pace])))

    def _result(self) -> Walks:
        came = np.flatnonzero(self._person >= 0)
        times = {f"{name}_s": pl.Series(values[came]).fill_nan(None) for name, values in self._times.items()}
        queued = pl.Series(np.where(np.isnan(self._times["queued"]), -1, self._checkout)[came])
        visits = pl.DataFrame(
            {
                "visit": came,
                "person_id": self._person[came],
                "outfit": self._outfit[came],
                "loiters": self._intents.loiters[came],
                **times,
                "checkout": queued.replace(-1, None),
            }
        )
        whole, real = (np.concatenate(parts) for parts in zip(*self._log, strict=True))
        step, visit, doing = whole.T
        x_m, y_m, heading, gait, pace = real.T
        positions = pl.DataFrame(
            {
                "step": step,
                "time_s": step * STEP_S,
                "visit": visit,
                "person_id": self._person[visit],
                "outfit": self._outfit[visit],
                "x_m": x_m,
                "y_m": y_m,
                "heading_rad": heading,
                "gait_rad": gait,
                "speed_mps": pace,
                "activity": pl.Series(np.array(ACTIVITIES)[doing], dtype=pl.Enum(ACTIVITIES)),
            }
        )
        return Walks(_as(visits, VISITS_SCHEMA), _as(positions, POSITIONS_SCHEMA))


def _as(frame: pl.DataFrame, schema: pl.Schema) -> pl.DataFrame:
    return frame.select(pl.col(name).cast(kind) for name, kind in schema.items())


def _either(doing: Ints, one: int, other: int) -> Flags:
    flags: Flags = (doing == one) | (doing == other)
    return flags


def _giving_way(xy: Floats) -> Floats:
    """By how much each is pushed by the others, in shares of their own speed (N, 2)."""
    apart = xy[:, None] - xy[None, :]
    distance = np.hypot(apart[..., 0], apart[..., 1])
    close: Flags = distance < _APART_M
    np.fill_diagonal(close, False)
    push = np.where(close, 1.0 - distance / _APART_M, 0.0) / np.maximum(distance, 0.05)
    away = (apart * push[..., None]).sum(axis=1)
    aside = np.stack([-away[:, 1], away[:, 0]], axis=1)  # to the right of away: both step to their own right
    total = 1.2 * away + 0.5 * aside
    strength = np.maximum(np.hypot(*total.T), 1e-9)
    held: Floats = total * (np.minimum(strength, 0.85) / strength)[:, None]
    return held
