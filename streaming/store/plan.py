"""What there is to count in a store, as data: cameras, zones, lines, funnels, and the times that make a stay.

    plan = parse_plan(tomllib.loads(text))

    time_zone = "Europe/Berlin"
    [floor]
    width_m = 20.0
    depth_m = 12.0
    cell_m = 0.5
    [[camera]]
    name = "cam-1"                            # floor positions come with its sightings; or without them, pixels:
    [[camera]]
    name = "cam-2"
    width_px = 1920
    height_px = 1080
    [[zone]]
    name = "till"
    kind = "queue"                            # area or queue
    polygon = [[0, 0], [4, 0], [4, 3], [0, 3]]
    [[zone]]
    name = "shelf"
    camera = "cam-2"                          # in that camera's pixels, not on the floor
    polygon = [[100, 400], [800, 400], [800, 900], [100, 900]]
    [[line]]
    name = "door"
    start = [8, 0]
    end = [10, 0]
    band = 0.3                                # as near to the line nobody has crossed it
    entrance = true                           # beyond it is the street: who crosses it comes or goes
    [[funnel]]
    name = "to-the-till"
    zones = ["shelf", "till"]

Places are metres on the floor plan (x right, y down, from the top left), or pixels of the camera that is named.
"""

from __future__ import annotations

import math
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from typing import Any, TypeVar
from zoneinfo import ZoneInfo, available_timezones

import numpy as np

from streaming.store.geometry import Floats, Point, problem_of

STORE = "store"
"""In place of a zone's name: the whole of it. `heat` is the heat map's."""
HEAT = "heat"
PATHS = "paths"

RESERVED = (STORE, HEAT, PATHS)
ZONE_KINDS = ("area", "queue")

MAX_NAME_BYTES = 64
MAX_THINGS = 200
"""So many cameras, zones, lines or funnels of one store, and corners of a polygon."""
MAX_CELLS = 100_000
MAX_NUMBER = 1e9

T = TypeVar("T")


class PlanProblem(ValueError):
    """A plan that cannot be used; the message names the thing and the remedy."""


def check_name(what: str, name: str) -> None:
    """Raises `PlanProblem` for a name that is empty, too long, or would not be one word in a key."""
    if not name or len(name.encode()) > MAX_NAME_BYTES or not name.isprintable() or {"/", ">"} & set(name):
        raise PlanProblem(
            f"{what} {name!r}: a name has 1 to {MAX_NAME_BYTES} bytes, all of them printable, and neither / nor >"
        )


def check_between(what: str, value: float, low: float, high: float) -> None:
    """Raises `PlanProblem` for a number outside of [low, high]."""
    if not low <= value <= high:
        raise PlanProblem(f"{what} is {value:g}, not from {low:g} to {high:g}")


@dataclass(frozen=True)
class Camera:
    """A camera whose sightings count. With a size, feet below its picture are taken for at its edge."""

    name: str
    width_px: int | None = None
    height_px: int | None = None

    def __post_init__(self) -> None:
        check_name("camera", self.name)
        if (self.width_px is None) != (self.height_px is None):
            raise PlanProblem(f"camera {self.name}: give both width_px and height_px, or neither")
        for which, size in (("width_px", self.width_px), ("height_px", self.height_px)):
            if size is not None:
                check_between(f"camera {self.name}: {which}", size, 1, 65_536)


@dataclass(frozen=True)
class Zone:
    """A part of the floor, or of one camera's picture, in which people stay."""

    name: str
    polygon: tuple[Point, ...]  # metres on the floor, or pixels of `camera`
    kind: str = "area"
    camera: str | None = None
    min_stay_s: float = 0.0  # who stays for less was passing through; in a queue: is not waiting

    def __post_init__(self) -> None:
        check_name("zone", self.name)
        if self.kind not in ZONE_KINDS:
            raise PlanProblem(f"zone {self.name}: kind {self.kind!r} is not one of {', '.join(ZONE_KINDS)}")
        if len(self.polygon) > MAX_THINGS:
            raise PlanProblem(f"zone {self.name}: its polygon has more than {MAX_THINGS} corners")
        if problem := problem_of(self.polygon):
            raise PlanProblem(f"zone {self.name}: its polygon {problem}")
        check_between(f"zone {self.name}: min_stay_s", self.min_stay_s, 0, 3600)

    @property
    def corners(self) -> Floats:
        """(V, 2)."""
        return np.asarray(self.polygon, dtype=np.float64)


@dataclass(frozen=True)
class Line:
    """A segment that people cross: *in* from the left to the right of whoever looks from start to end, else *out*.

    Nobody has crossed who did not stand clear of it, by `band`, on the one side and then on the other, or came into
    sight or was lost within it on the way.
    """

    name: str
    start: Point
    end: Point
    band: float = 0.3  # metres, or pixels of `camera`
    camera: str | None = None
    entrance: bool = False  # of the store: visits are counted here, where names cannot double them

    def __post_init__(self) -> None:
        check_name("line", self.name)
        if not all(math.isfinite(value) for value in (*self.start, *self.end)):
            raise PlanProblem(f"line {self.name}: an end is not finite")
        if self.start == self.end:
            raise PlanProblem(f"line {self.name}: start and end are the same point")
        if not 0 < self.band < math.inf:
            raise PlanProblem(f"line {self.name}: band is {self.band:g}, not above 0")


@dataclass(frozen=True)
class Funnel:
    """Zones in the order in which visits may reach them."""

    name: str
    zones: tuple[str, ...]

    def __post_init__(self) -> None:
        check_name("funnel", self.name)
        if len(self.zones) < 2:
            raise PlanProblem(f"funnel {self.name}: has {len(self.zones)} zones; a funnel has 2 or more")


@dataclass(frozen=True)
class Floor:
    """The floor plan, and the grid of its heat map."""

    width_m: float
    depth_m: float
    cell_m: float = 0.5

    def __post_init__(self) -> None:
        for name in ("width_m", "depth_m", "cell_m"):
            check_between(f"floor: {name}", getattr(self, name), 0.01, 10_000)
        if self.columns * self.rows > MAX_CELLS:
            raise PlanProblem(f"floor: {self.columns * self.rows} cells, more than {MAX_CELLS}; raise cell_m")

    @property
    def columns(self) -> int:
        """Cells from left to right; a cell's number is row * columns + column."""
        return math.ceil(self.width_m / self.cell_m)

    @property
    def rows(self) -> int:
        """Cells from top to bottom."""
        return math.ceil(self.depth_m / self.cell_m)


@dataclass(frozen=True)
class StorePlan:
    """All of it. Names are unique among zones, lines and funnels together: they are keys of one topic."""

    camera: tuple[Camera, ...]
    zone: tuple[Zone, ...] = ()
    line: tuple[Line, ...] = ()
    funnel: tuple[Funnel, ...] = ()
    floor: Floor | None = None
    time_zone: str = "UTC"  # of opening hours
    leave_s: float = 2.0  # out of a zone, or out of sight, for less: the stay goes on
    gone_s: float = 30.0  # nobody has seen them for so long: the visit is over, if they can have left

    def __post_init__(self) -> None:
        check_between("leave_s", self.leave_s, 0, 3600)
        check_between("gone_s", self.gone_s, self.leave_s, 24 * 3600)
        for what in ("camera", "zone", "line", "funnel"):
            if len(getattr(self, what)) > MAX_THINGS:
                raise PlanProblem(f"{len(getattr(self, what))} of {what}, more than {MAX_THINGS}")
        if not self.camera:
            raise PlanProblem("there is no camera; add a [[camera]] with its name")
        _check_unique("camera", [camera.name for camera in self.camera])
        cameras, zones = {camera.name for camera in self.camera}, {zone.name for zone in self.zone}
        names = [*(zone.name for zone in self.zone), *(line.name for line in self.line)]
        _check_unique("name", [*RESERVED, *names, *(funnel.name for funnel in self.funnel)])
        bound = [("zone", zone.name, zone.camera) for zone in self.zone]
        bound += [("line", line.name, line.camera) for line in self.line]
        for what, name, camera in bound:
            if camera is not None and camera not in cameras:
                raise PlanProblem(f"{what} {name}: there is no camera {camera!r}")
        for funnel in self.funnel:
            if unknown := [name for name in funnel.zones if name not in zones]:
                raise PlanProblem(f"funnel {funnel.name}: there is no zone {unknown[0]!r}")
        if self.time_zone not in available_timezones():
            raise PlanProblem(f"time_zone {self.time_zone!r} is not one that this machine knows, such as Europe/Berlin")

    @property
    def zone_info(self) -> ZoneInfo:
        """Of `time_zone`."""
        return ZoneInfo(self.time_zone)


def parse_plan(table: Mapping[str, Any]) -> StorePlan:
    """A plan from a table as TOML and JSON have them.

    Raises:
        PlanProblem: it is none; the message says where and what to do.
    """
    return parse(StorePlan, table, "plan")


def parse(kind: type[T], table: Any, where: str) -> T:
    """A dataclass from a table; tuples of dataclasses from lists of tables.

    Raises:
        PlanProblem: a field is unknown, missing, or of another type, or the dataclass refuses it.
    """
    if not isinstance(table, Mapping):
        raise PlanProblem(f"{where} is {_brief(table)}, not a table")
    hints, known = _hints(kind), {field.name: field for field in fields(typing.cast(Any, kind))}
    if unknown := [name for name in table if name not in known]:
        raise PlanProblem(f"{where}: there is no {unknown[0]!r}; known are {', '.join(known)}")
    if missing := [name for name, field in known.items() if field.default is MISSING and name not in table]:
        raise PlanProblem(f"{where}: {missing[0]} is missing")
    name = table.get("name")
    where = f"{where} {name}" if isinstance(name, str) else where
    return kind(**{name: _value(hints[name], value, f"{where}: {name}") for name, value in table.items()})


def _hints(kind: type[Any]) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def _value(hint: Any, value: Any, where: str) -> Any:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        (hint,) = [arg for arg in args if arg is not types.NoneType]
        return None if value is None else _value(hint, value, where)
    if origin is tuple:
        if not isinstance(value, Sequence) or isinstance(value, str):
            raise PlanProblem(f"{where} is {_brief(value)}, not a list")
        if args[-1] is ...:
            return tuple(_value(args[0], item, f"{where}[{number}]") for number, item in enumerate(value))
        if len(value) != len(args):
            raise PlanProblem(f"{where} has {len(value)} values, not {len(args)}")
        return tuple(_value(arg, item, where) for arg, item in zip(args, value, strict=True))
    if hint in (int, float):
        is_number = isinstance(value, int if hint is int else int | float) and not isinstance(value, bool)
        if not is_number or not -MAX_NUMBER <= value <= MAX_NUMBER:
            raise PlanProblem(
                f"{where} is {_brief(value)}, not a {'whole ' if hint is int else ''}number within {MAX_NUMBER:g}"
            )
        return hint(value)
    if hint is bool:
        if not isinstance(value, bool):
            raise PlanProblem(f"{where} is {_brief(value)}, not true or false")
        return value
    if hint is str:
        if not isinstance(value, str):
            raise PlanProblem(f"{where} is {_brief(value)}, not text")
        return value
    return parse(hint, value, where)


def _check_unique(what: str, names: Sequence[str]) -> None:
    for number, name in enumerate(names):
        if name in names[:number]:
            reserved = " (it is reserved)" if name in RESERVED else ""
            raise PlanProblem(f"{what} {name!r} is there twice{reserved}; names are unique")


def _brief(value: Any) -> str:
    return f"{value!r:.40}"
