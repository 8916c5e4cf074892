"""What the gateway says, as JSON: the contract between it, the pages in `serve/web` and any other client.

Times are UTC milliseconds, clocks are seconds of game time, probabilities are camp A's. A stream position (`last_id`,
the `id:` of a server-sent event) is opaque to clients: hand back the last one seen and nothing is missed or repeated.

The streams carry these messages; over a WebSocket each is one JSON object `{"id", "event", "data"}`:

    /api/matches/{id}/events   insight InsightMessage, event EventEntry, result Result, state StateMessage,
                               resync Resync
    /api/stream                snapshot MatchList, match MatchSummary (a new one, or one to replace), delta WallDelta,
                               gone MatchGone, state BrokerState
    /api/ops/stream            snapshot Ops (with history), then one tick Ops a second (history empty)

`state`, `resync` and everything but `insight`, `event` and `result` have no id: they do not move the position.
A stream with nothing to say sends `beat` (data: null) every ten seconds; one that is silent for longer is dead.
`resync` says that the position is not on record (too old, or of an earlier Kafka): drop what you hold, since all that
is kept follows, or load the match again and follow from its `last_id`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

State = Literal["live", "delayed", "degraded", "replay", "simulated", "ended"]
"""How much to trust what is shown. `ended` holds for finished and remade matches; `delayed` when the newest answer
may be behind by 5 s or more (`delay_s`); `degraded` when answers are worse than they should be; else the origin."""

Cause = Literal["baseline", "sums", "starting", "pipeline"]
"""Why answers are worse than they should be. `baseline`: the calibrated per-minute baseline answers, because the
model's calibration broke on this patch; `sums`: the reasons do not add up to the probability; `starting`: the pipeline
has begun, and answers once its models are loaded and its state is restored; `pipeline`: it waits, failed or stopped,
or no replica can predict."""

Status = Literal["live", "ended", "void"]
Side = Literal["A", "B"]
Kind = Literal["start", "score", "end", "remake"]
SparkPoint = tuple[float, float]  # clock_s, p


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Groups(_Message):
    """One number for every feature group; 0 for a group that the title lacks."""

    gold: float
    kill: float
    tower: float
    wild: float
    lane: float
    hero: float
    form: float


class ModelName(_Message):
    """The weights behind the newest answer."""

    name: str = Field(examples=["tsstn-lol"])
    version: str = Field(examples=["3"])
    weight_hash: str = Field(examples=["9f2c4b1a77de"])
    trained_on: str = Field(description="Empty until the pipeline has said.", examples=["simulator"])


class BrokerState(_Message):
    """Whether Kafka can be read."""

    reachable: bool
    since_ms: int = Field(description="When it became so.")
    text: str = Field(description="In words.", examples=["reachable", "unreachable since 14:03:20 UTC"])
    ready: bool = Field(description="False while the gateway still reads the topics back after a start.")


class WallDelta(_Message):
    """What changes about a match, as far as a card shows it."""

    id: str = Field(examples=["sim-0007"])
    status: Status
    state: State
    delay_s: float = Field(description="How far the answers may be behind, at most; 0 for a match that is over.")
    attempt: int = Field(description="Counts restarts of this match; on a change the curve begins anew.")
    clock_s: float | None = Field(description="None before the first answer, like p.")
    p: float | None = Field(description="Probability that camp A wins.", examples=[0.63])
    delta_p: float | None
    top_reason: str = Field(description="A group name, or empty before the first answer.", examples=["tower"])
    key_moment: bool
    commentary_en: str | None = Field(description="The newest sentence of this attempt.")
    commentary_zh: str | None
    commentary_clock_s: float | None = Field(description="Game clock at which it was said.")
    spark: Annotated[list[SparkPoint], Field(max_length=60)] = Field(
        description="[clock_s, p], oldest first: the whole match thinned out; in a delta only the new ones, to append."
    )
    winner: Side | None
    last_id: str | None = Field(
        description="Position to follow from; None before anything was said.", examples=["2-1045.2-8310"]
    )
    flags: list[str] = Field(description="Warnings of the newest answer.", examples=[["late"]])
    causes: list[Cause] = Field(description="Why answers are degraded; empty when they are not. Delayed ones may be.")


class MatchSummary(WallDelta):
    """One match at a glance: a card of the wall."""

    title: str = Field(examples=["lol"])
    title_name: str = Field(examples=["League of Legends"])
    sides: tuple[str, str] = Field(description="Names of the camps, A first.", examples=[("Blue", "Red")])
    teams: tuple[str, str] = Field(description="Empty where unknown.", examples=[("Northwind", "Sundogs")])
    league: str
    patch: str
    origin: str = Field(description="live, replay or simulated.")
    model: ModelName | None


class MatchList(_Message):
    """All matches asked for, in the order asked for: live ones first."""

    time_ms: int
    broker: BrokerState
    matches: list[MatchSummary]


class CurvePoint(_Message):
    """One answer of the model."""

    id: str = Field(description="PARTITION-OFFSET of the answer in match.insights.", examples=["2-1045"])
    attempt: int
    frame: int = Field(description="A frame that comes again replaces itself and all after it.")
    clock_s: float
    event_time_ms: int
    p: float
    delta_p: float
    contributions: Groups = Field(description="Signed for camp A; they sum to the logit of p.")
    changes: Groups = Field(description="Change of the contributions since the last answer.")
    scores: Groups
    weights: Groups
    top_reason: str
    key_moment: bool
    moment: str = Field(description="The event behind it, empty where there is none.", examples=["A:dragons"])
    commentary_en: str | None
    commentary_zh: str | None
    flags: list[str]


class InsightMessage(CurvePoint):
    """A new answer on a stream."""

    match_id: str
    status: Status
    winner: Side | None
    state: State
    delay_s: float
    causes: list[Cause]


class EventEntry(_Message):
    """One line of the event log."""

    id: str = Field(description="PARTITION-OFFSET of the event in match.events.", examples=["2-8310"])
    event_time_ms: int
    clock_s: float
    kind: Kind
    side: Side | None
    subject: str | None = Field(examples=["dragons"])
    count: float
    text: str = Field(examples=["Northwind takes a dragon"])


class Swing(_Message):
    """One of the largest changes of p between two answers."""

    clock_s: float
    p: float
    delta_p: float
    moment: str
    top_reason: str
    text: str = Field(examples=["Northwind up 9 points: tower"])


class Result(_Message):
    """How a match ended. A remade one has no winner."""

    winner: Side | None
    team: str | None = Field(description="The winner's name, the side's where the team is unknown.")
    swings: Annotated[list[Swing], Field(max_length=3)] = Field(description="Biggest first.")


class MatchDetail(MatchSummary):
    """Everything about one match that is kept."""

    time_ms: int
    broker: BrokerState
    groups: list[str] = Field(description="The feature groups this title has, in display order.")
    curve: list[CurvePoint] = Field(description="Oldest first.")
    events: list[EventEntry] = Field(description="Oldest first.")
    result: Result | None = Field(description="None while the match runs.")


class StateMessage(_Message):
    """How far to trust a match now; sent on every change, and each second while the delay grows."""

    match_id: str
    state: State
    delay_s: float
    causes: list[Cause]
    model: ModelName | None
    broker: BrokerState


class Resync(_Message):
    """The position is not on record: all that is kept follows."""

    reason: str


class MatchGone(_Message):
    """A match that is no longer kept."""

    id: str


class PartitionLag(_Message):
    """One partition of a pipeline's source."""

    partition: int
    committed: int
    end: int
    lag_s: float


class ModelState(_Message):
    """A model that a pipeline answers with."""

    title: str
    name: str
    version: str
    weight_hash: str
    trained_on: str


class PipelineReport(BaseModel):
    """One pipeline's own account of itself, a row of sightline.status."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    pipeline: str = Field(examples=["win-prediction"])
    state: str = Field(description="starting, running, waiting, stopping, stopped, failed; silent: no word for 10 s.")
    reason: str = Field(description="Why it waits or failed, in words.")
    time_ms: int = Field(description="When it last reported.")
    started_ms: int
    source_topic: str
    lag_s: float = Field(description="Age of the oldest unanswered record; 0 when there is none.")
    lag_records: int
    events_per_s: float
    answers_per_s: float
    latency_p50_ms: float | None = Field(
        description="Record reached Kafka to answer committed, last minute; null where nothing was answered."
    )
    latency_p99_ms: float | None
    events_total: int
    answers_total: int
    dead_letters_total: int
    late_total: int
    shed_total: int = Field(description="Records that were passed over for newer ones, where a pipeline allows that.")
    results_late_total: int = Field(description="Results that came after answers had been given without them.")
    batches_total: int
    broken_total: int = Field(description="Answers whose contributions did not sum to the logit.")
    replicas: int = Field(description="-1 where Ray Serve does not answer.")
    ray_nodes: int = Field(description="0 where Ray does not answer.")
    models: list[ModelState]
    partitions: list[PartitionLag]
    errors: list[str] = Field(description="Newest first.")


class HistoryPoint(_Message):
    """One second of a pipeline's life."""

    time_ms: int
    lag_s: float
    events_per_s: float
    answers_per_s: float
    latency_p99_ms: float | None


class PipelineOps(PipelineReport):
    """One row of the ops page."""

    healthy: bool = Field(description="Answers flow, or there is nothing to answer.")
    age_s: float = Field(description="How long ago it last reported.")
    history: list[HistoryPoint] = Field(description="10 minutes and more, oldest first; empty on stream ticks.")


class Part(_Message):
    """Health of one thing that the platform stands on."""

    name: Literal["broker", "ray", "replicas", "gateway"]
    ok: bool | None = Field(description="null where nobody has said.")
    text: str


class GatewayOps(_Message):
    """The gateway's account of itself."""

    started_ms: int
    matches: int
    live: int
    streams: int = Field(description="Open SSE and WebSocket streams.")
    slow_clients: int = Field(description="Clients let go since the start because they took nothing.")
    bad_records: int = Field(description="Records that could not be decoded since the start.")


class Ops(_Message):
    """The ops page."""

    time_ms: int
    healthy: bool
    reasons: list[str] = Field(description="Why not, one line each; the same as /healthz says.")
    broker: BrokerState
    parts: list[Part]
    pipelines: list[PipelineOps]
    gateway: GatewayOps


STREAMED: tuple[type[BaseModel], ...] = (
    InsightMessage, EventEntry, Result, StateMessage, Resync,
    MatchList, MatchSummary, WallDelta, MatchGone, BrokerState, Ops,
)  # fmt: skip
"""Data of the messages of all streams."""


class Health(_Message):
    """The answer of /healthz: about progress, not about being up."""

    healthy: bool
    reasons: list[str]


class Problem(_Message):
    """An error, in one line."""

    detail: str = Field(examples=["no match 'x'; /api/matches lists those there are"])
