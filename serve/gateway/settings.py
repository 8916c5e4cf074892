"""What can be set about the gateway, with the reasons for the defaults."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

BUILT_PAGES = Path(__file__).resolve().parents[1] / "web" / "dist"


class GatewaySettings(BaseModel):
    """Addresses, bounds and times. Every bound holds whatever the clients and the topics do."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    host: str = "127.0.0.1"
    port: int = Field(8600, ge=0, le=65535, description="0 takes a free one.")
    pages: Path = Field(BUILT_PAGES, description="Folder of the built pages.")

    history_s: float = Field(6 * 3600, gt=0, description="How far back the topics are read at a start.")
    max_matches: int = Field(2_000, gt=0, description="Finished ones go first, oldest first.")
    max_points: int = Field(2_000, gt=0, description="Answers kept a match: 16 hours of game at one in 30 s.")
    max_points_total: int = Field(200_000, gt=0, description="Answers kept in all; about 0.7 KB each.")
    max_events: int = Field(500, gt=0, description="Lines of the event log kept a match.")

    max_streams: int = Field(1_000, gt=0, description="SSE and WebSocket streams at a time; the next gets 503.")
    send_timeout_s: float = Field(30.0, gt=0, description="A client that takes nothing for so long is let go.")
    heartbeat_s: float = Field(10.0, gt=0, description="A beat on quiet streams: proxies keep them, pages trust them.")
    wall_interval_s: float = Field(0.25, gt=0, description="The wall hears of one match this often at most.")
    ops_interval_s: float = Field(1.0, gt=0)
    ready_wait_s: float = Field(10.0, ge=0, description="How long a request waits for a restarted gateway.")

    delayed_s: float = Field(5.0, gt=0, description="Answers that may be behind by more are called delayed.")
    silent_s: float = Field(10.0, gt=0, description="A pipeline that says nothing for so long is called silent.")
    stuck_s: float = Field(15.0, gt=0, description="An event unanswered for so long, with no progress: not healthy.")
