"""What the gateway says of the store, as JSON. Times are UTC milliseconds, places metres on the plan or camera pixels.

    /api/v1/store/events   people People, metric Metric, alert AlertEntry, state Trust, resync Resync

`metric` and `alert` have an id and move the position; a metric replaces the one of its zone and window. `resync` says
that the position is not on record: load /api/v1/store again and follow from its `last_id`.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from serve.gateway.schemas import BrokerState, Cause, Resync, State


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SeenPerson(_Message):
    """One confirmed track in the newest frame of a camera."""

    track_id: int
    person_id: str | None = Field(description="Identity across the store, once it is known.")
    link_score: float | None = Field(description="Of the identity's last link across cameras.")
    box: tuple[float, float, float, float] = Field(description="x0, y0, x1, y1 in the camera's own pixels.")
    feet: tuple[float, float] | None = Field(description="Metres on the floor plan; null without calibration.")


class CameraView(_Message):
    """Who is in the newest frame of a camera."""

    camera_id: str = Field(examples=["door"])
    captured_ms: int
    frame: int
    heard_ms: int = Field(description="When the gateway heard of it.")
    covered: bool = Field(description="The frame shows no picture of the place.")
    people: list[SeenPerson]


class People(_Message):
    """Cameras whose newest frame is another one by now."""

    time_ms: int
    cameras: list[CameraView]


class Metric(_Message):
    """What one window counted in a zone, at a line, in a funnel or the store; the highest revision holds."""

    id: str = Field(description="PARTITION-OFFSET in store.metrics.", examples=["0-1045"])
    zone_id: str = Field(examples=["till"])
    kind: str = Field(examples=["area", "queue", "line", "store", "funnel", "heat", "paths"])
    window_start_ms: int
    window_end_ms: int
    revision: int = Field(description="Above 0: corrected after it was issued first.")
    people: int
    occupancy_mean: float
    occupancy_max: int
    occupancy_end: int
    entered: int
    left: int
    dwell_mean_s: float | None = Field(description="Of those who left; of a queue the wait.")
    dwell_max_s: float | None
    longest_s: float | None = Field(description="How long who is still there has been; the longest.")
    crossed_in: int
    crossed_out: int
    labels: list[str] = Field(description="funnel: its zones; paths: zones in their order, joined by >.")
    counts: list[int] = Field(description="One for each label.")


class AlertEntry(_Message):
    """Something that a rule asks to be told of."""

    id: str = Field(description="PARTITION-OFFSET in store.alerts.", examples=["1-17"])
    zone_id: str
    rule: str
    kind: str = Field(examples=["crowding", "loitering", "line", "after_hours", "camera_down", "camera_covered"])
    state: str = Field(description="raised, or cleared.")
    subject: str
    event_time_ms: int
    value: float
    limit: float


class Trust(_Message):
    """How far to trust what is shown of the store now."""

    time_ms: int
    state: State
    delay_s: float
    causes: list[Cause]
    broker: BrokerState
    embedding: str = Field(description="Which weights tell people apart; empty where sightings do not say.")
    plan_etag: str = Field(description="Of the plan as it is stored.")
    stale: list[str] = Field(description="Pipelines that count by an older plan: restart them.")


class Camera(_Message):
    """What may be shown of a camera."""

    name: str
    size: tuple[int, int] | None = Field(description="Width and height in pixels, where the plan says.")
    shown: bool = Field(description="Its frames may be looked at, faces blurred.")
    why_not: str = Field(description="Why its frames may not; empty where they may.")
    purpose: str = Field(description="What its pictures are for, as its configuration states.")
    retention_days: int | None


class StoreState(Trust):
    """The store now."""

    last_id: str = Field(description="Position to follow from.")
    origin: str = Field(description="live, replay or simulated.")
    visits_today: int = Field(description="Visits that began since midnight of the store's time zone.")
    today_since_ms: int = Field(description="Midnight, or the oldest window on record where that is later.")
    places: list[Metric] = Field(description="The newest window of the store and of each zone, line and funnel.")
    views: list[CameraView]
    cameras: list[Camera] = Field(description="In the order of the plan.")
    alerts: list[AlertEntry] = Field(description="Newest first.")


class CountPoint(_Message):
    """Some windows of one place together."""

    time_ms: int = Field(description="Begin.")
    occupancy_mean: float
    occupancy_max: int
    entered: int
    left: int
    crossed_in: int
    crossed_out: int
    corrected: bool = Field(description="A window of it was issued again.")


class Counts(_Message):
    """One place over time."""

    zone_id: str
    kind: str
    step_s: int
    points: list[CountPoint] = Field(description="Oldest first; nothing where nobody looked.")


class HeatMap(_Message):
    """Person-seconds by cell of the floor's grid."""

    since_ms: int
    until_ms: int
    width_m: float
    depth_m: float
    cell_m: float
    columns: int
    cells: list[int] = Field(description="row * columns + column; only those that have some.")
    seconds: list[float]


class PathCount(_Message):
    """A way through the zones, and how many visits took it."""

    zones: list[str]
    visits: int


class Flow(_Message):
    """From one zone to the next, over all paths."""

    origin: str
    target: str
    visits: int


class Flows(_Message):
    """Ways through the store of visits that have ended."""

    since_ms: int
    until_ms: int
    visits: int
    paths: list[PathCount] = Field(description="Commonest first, twenty at most.")
    flows: list[Flow] = Field(description="Commonest first.")


class Plan(_Message):
    """The plan as it is stored: `streaming.store.plan`, with the rules."""

    etag: str
    saved_ms: int
    plan: dict[str, Any]


class PlanRefused(_Message):
    """Why this is no plan, and which shape it is about."""

    detail: str = Field(examples=["zone till: its polygon crosses itself: …"])
    thing: str | None = Field(
        None, description="Name of the zone, line, camera, funnel or rule, where it is about one."
    )


STREAMED: tuple[type[BaseModel], ...] = (People, Metric, AlertEntry, Trust, Resync)
"""Data of the messages of the stream."""
