"""The store as the routes and streams ask for it: board, plan, pipelines, cameras and looks together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from serve.gateway.audit import AuditLog
from serve.gateway.freshness import freshness, pipeline_view
from serve.gateway.pipelines import Pipelines
from serve.gateway.reader import Feed
from serve.gateway.settings import GatewaySettings
from serve.gateway.store import ways
from serve.gateway.store.board import StoreBoard
from serve.gateway.store.frames import FrameWindow
from serve.gateway.store.looks import Looks
from serve.gateway.store.plan import PlanFile
from serve.gateway.store.schemas import Camera, Counts, Flows, HeatMap, StoreState, Trust
from streaming.cameras.definition import Camera as Configured
from streaming.store.plan import HEAT, PATHS, STORE, PlanProblem, StorePlan
from streaming.store.plan import Camera as Drawn
from streaming.topics import PERSON_SIGHTINGS

Cameras = Callable[[], Sequence[Configured]]
"""The cameras that are configured now, each with its purpose and retention."""

_COUNTS_BY = "store-metrics"
_ALERTS_TOLD = 100
_HOUR_MS = 3_600_000


@dataclass(frozen=True)
class StoreFiles:
    """What is configured of a store.

    Args:
        plan: the file of its plan and rules.
        cameras: those that state a purpose now.
    """

    plan: Path
    cameras: Cameras = tuple


class NotShown(PermissionError):
    """Frames of this camera may not be looked at; the message says why."""


class StoreService:
    """One store.

    Args:
        settings: of the gateway.
        files: plan and cameras.
        pipelines: what the pipelines say of themselves.
        frames: the feed of camera.frames; without it no camera shows a picture.
        started_ms: when the gateway began.

    Raises:
        PlanProblem: there is no plan to begin with.
    """

    def __init__(
        self, settings: GatewaySettings, files: StoreFiles, pipelines: Pipelines, frames: Feed | None, started_ms: int
    ) -> None:
        self.settings = settings
        self.board = StoreBoard(settings, started_ms)
        self.plan = PlanFile(files.plan)
        self.frames = None if frames is None else FrameWindow(frames, self.board)
        self.looks = Looks(AuditLog(settings.audit_file).looked)
        self._pipelines, self._cameras = pipelines, files.cameras

    def trust(self, now_ms: int) -> Trust:
        """How far to trust what is shown."""
        stored = self.plan.stored()
        reading = [report for report in self._pipelines.answering if report.source_topic == PERSON_SIGHTINGS.name]
        # Alerts may be up to date while nobody counts.
        counting = [report for report in reading if report.pipeline == _COUNTS_BY]
        fresh = freshness(
            status="live",
            origin=self.settings.store_origin,
            flags="",
            last_word_ms=self.board.last_word_ms,
            view=pipeline_view(counting, PERSON_SIGHTINGS.name, now_ms),
            now_ms=now_ms,
            delayed_s=self.settings.delayed_s,
        )
        return Trust(
            time_ms=now_ms,
            state=fresh.state,
            delay_s=fresh.delay_s,
            causes=list(fresh.causes),
            broker=self.board.broker.state(),
            embedding=self.board.embedding,
            plan_etag=stored.etag,
            stale=sorted(
                report.pipeline
                for report in reading
                if report.started_ms < stored.saved_ms and report.state not in ("stopped", "failed")
            ),
        )

    def state(self, now_ms: int) -> StoreState:
        """The store now."""
        plan = self.plan.stored().plan
        midnight = datetime.fromtimestamp(now_ms / 1000, plan.zone_info).replace(hour=0, minute=0, second=0)
        since_ms = int(midnight.timestamp()) * 1000
        today = list(self.board.rows(STORE, since_ms))
        return StoreState(
            **dict(self.trust(now_ms)),
            last_id=str(self.board.position),
            origin=self.settings.store_origin,
            visits_today=sum(row.figure("entered") for row in today),
            today_since_ms=min((row.start_ms for row in today), default=since_ms),
            places=self.board.newest(places_of(plan)),
            views=[view for name, view in sorted(self.board.views.items())],
            cameras=self.cameras(),
            alerts=self.board.alerts(_ALERTS_TOLD),
        )

    def cameras(self) -> list[Camera]:
        """What may be shown of the cameras of the plan."""
        stated = {camera.id: camera for camera in self._cameras()}
        return [self._camera(drawn, stated.get(drawn.name)) for drawn in self.plan.stored().plan.camera]

    def _camera(self, drawn: Drawn, configured: Configured | None) -> Camera:
        if not self.settings.show_frames or self.frames is None:
            why = "gateway.show_frames is off"
        elif configured is None:
            why = "no purpose and retention are stated for it: `sightline camera add`"
        else:
            why = ""
        sized = drawn.width_px is not None and drawn.height_px is not None
        return Camera(
            name=drawn.name,
            size=(drawn.width_px or 0, drawn.height_px or 0) if sized else None,
            shown=not why,
            why_not=why,
            purpose=configured.purpose if configured else "",
            retention_days=configured.retention_days if configured else None,
        )

    def window_of(self, name: str) -> FrameWindow:
        """Where frames of a camera are looked at.

        Raises:
            KeyError: the plan has no such camera.
            NotShown: its frames may not be looked at.
        """
        camera = next((camera for camera in self.cameras() if camera.name == name), None)
        if camera is None:
            raise KeyError(f"no camera {name!r}; /api/v1/store has those of the plan")
        if camera.why_not:
            raise NotShown(f"frames of camera {name} are not shown: {camera.why_not}")
        assert self.frames is not None
        return self.frames

    def counts(self, zone_id: str, since_ms: int | None, step_s: int) -> Counts:
        """One place over time, up to its newest window; of the last hour unless said otherwise.

        Raises:
            KeyError: the plan has no such place.
        """
        kinds = places_of(self.plan.stored().plan)
        if zone_id not in kinds:
            raise KeyError(
                f"no place {zone_id[:128]!r}; /api/v1/store/plan has those there are, and `{STORE}` is all of it"
            )
        until_ms = self.board.newest_end_ms(zone_id) or 0
        since_ms = max(since_ms or 0, until_ms - round(self.settings.store_history_s * 1000))
        step_s = ways.fitting_step_s((until_ms - since_ms) / 1000, step_s)
        points = ways.binned(self.board.rows(zone_id, since_ms), step_s)
        return Counts(zone_id=zone_id, kind=kinds[zone_id], step_s=step_s, points=points)

    def heat(self, minutes: int) -> HeatMap:
        """The heat map of the last minutes up to its newest window.

        Raises:
            PlanProblem: the plan has no floor.
        """
        if (floor := self.plan.stored().plan.floor) is None:
            raise PlanProblem("the plan has no floor: add [floor] with its width_m and depth_m")
        since_ms, until_ms = self._span(HEAT, minutes)
        return ways.heat_map(self.board.rows(HEAT, since_ms), floor, since_ms, until_ms)

    def flows(self, minutes: int) -> Flows:
        """Paths of the last minutes up to their newest window."""
        since_ms, until_ms = self._span(PATHS, minutes)
        return ways.flows(self.board.rows(PATHS, since_ms), since_ms, until_ms)

    def _span(self, zone_id: str, minutes: int) -> tuple[int, int]:
        until_ms = self.board.newest_end_ms(zone_id) or 0
        return max(0, until_ms - minutes * _HOUR_MS // 60), until_ms


def places_of(plan: StorePlan) -> dict[str, str]:
    """Whatever of a plan has counts of its own, by kind; the store first."""
    return {
        STORE: STORE,
        **{zone.name: zone.kind for zone in plan.zone},
        **{line.name: "line" for line in plan.line},
        **{funnel.name: "funnel" for funnel in plan.funnel},
    }
