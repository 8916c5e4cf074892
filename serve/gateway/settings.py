"""What can be set about the gateway, with the reasons for the defaults."""

from __future__ import annotations

from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

BUILT_PAGES = Path(__file__).resolve().parents[1] / "web" / "dist"


class GatewaySettings(BaseModel):
    """Addresses, bounds and times. Every bound holds whatever the clients and the topics do."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    host: str = "127.0.0.1"
    port: int = Field(8600, ge=0, le=65535, description="0 takes a free one.")
    pages: Path = Field(BUILT_PAGES, description="Folder of the built pages.")

    tokens: Path | None = Field(None, description="File of `sightline tokens`; without one, all is open.")
    audit: Path | None = Field(None, description="Who looked at people: JSON lines; default: audit.jsonl here.")
    open: bool = Field(False, description="Without tokens, answer to others than this machine all the same.")
    tls_cert: Path | None = Field(None, description="Certificate and chain, PEM; with tls_key: https.")
    tls_key: Path | None = Field(None, description="Its key, PEM, not encrypted.")
    cors_origins: str | None = Field(None, description="Pages elsewhere that may read: https://a.example,https://…")
    trusted_proxies: str | None = Field(None, description="Addresses whose X-Forwarded-For and -Proto are believed.")
    rate_per_s: float = Field(50.0, gt=0, description="Requests a token, or address without one; the next gets 429.")
    rate_burst: int = Field(300, ge=1, description="So many at once, after a pause.")
    max_body_bytes: int = Field(65_536, ge=1_024, description="Of a request; a larger one gets 413.")

    history_s: float = Field(6 * 3600, gt=0, description="How far back the topics are read at a start.")
    max_matches: int = Field(2_000, gt=0, description="Finished ones go first, oldest first.")
    max_points: int = Field(2_000, gt=0, description="Answers kept a match: 16 hours of game at one in 30 s.")
    max_points_total: int = Field(200_000, gt=0, description="Answers kept in all; about 0.7 KB each.")
    max_events: int = Field(500, gt=0, description="Lines of the event log kept a match.")

    store_origin: Literal["live", "replay", "simulated"] = Field("live", description="What the store's cameras show.")
    store_history_s: float = Field(24 * 3600, gt=0, description="How far back counts of the store are kept.")
    max_store_rows: int = Field(200_000, gt=0, description="Rows of store.metrics kept: 20 places a day; 0.6 KB each.")
    max_store_alerts: int = Field(1_000, gt=0)
    people_interval_s: float = Field(0.2, gt=0, description="Who is where is told this often at most.")
    show_frames: bool = Field(False, description="Show frames of cameras that state a purpose, faces blurred.")

    shop: bool = Field(False, description="Show the shop: its catalogue, offers and what they are worth.")
    shop_origin: Literal["live", "replay", "simulated"] = Field("live", description="Who the shop's shoppers are.")
    shop_history_s: float = Field(3600, gt=0, description="How far back answers and events of the shop are kept.")
    max_shop_answers: int = Field(20_000, gt=0, description="Kept for figures; about 0.5 KB each.")
    max_shop_events: int = Field(50_000, gt=0, description="Impressions and clicks kept for figures; 0.3 KB each.")
    max_shop_sessions: int = Field(1_000, gt=0, description="Sessions looked at whose newest answer is kept.")
    shop_session_s: float = Field(1800, gt=0, description="A session nobody looks at for so long is forgotten.")
    shop_events_per_s: float = Field(5.0, gt=0, description="Shoppers' events a client may send; the next gets 429.")
    shop_events_burst: int = Field(60, ge=1, description="So many at once, after a pause.")

    max_streams: int = Field(1_000, gt=0, description="SSE and WebSocket streams at a time; the next gets 503.")
    max_streams_per_client: int = Field(200, gt=0, description="Of a token, or address without one; then 429.")
    send_timeout_s: float = Field(30.0, gt=0, description="A client that takes nothing for so long is let go.")
    heartbeat_s: float = Field(10.0, gt=0, description="A beat on quiet streams: proxies keep them, pages trust them.")
    wall_interval_s: float = Field(0.25, gt=0, description="The wall hears of one match this often at most.")
    ops_interval_s: float = Field(1.0, gt=0)
    ready_wait_s: float = Field(10.0, ge=0, description="How long a request waits for a restarted gateway.")

    delayed_s: float = Field(5.0, gt=0, description="Answers that may be behind by more are called delayed.")
    silent_s: float = Field(10.0, gt=0, description="A pipeline that says nothing for so long is called silent.")
    stuck_s: float = Field(15.0, gt=0, description="An event unanswered for so long, with no progress: not healthy.")

    @field_validator("tokens", "audit", "tls_cert", "tls_key")
    @classmethod
    def _without_tilde(cls, value: Path | None) -> Path | None:
        return value.expanduser() if value is not None else None

    @field_validator("cors_origins")
    @classmethod
    def _are_origins(cls, value: str | None) -> str | None:
        for origin in _listed(value):
            parts = urlsplit(origin)
            if parts.scheme not in ("http", "https") or origin != f"{parts.scheme}://{parts.netloc}":
                raise ValueError(f"{origin!r} is not an origin such as https://studio.example")
        return value

    @model_validator(mode="after")
    def _go_together(self) -> GatewaySettings:
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("tls_cert and tls_key go together: set both, or neither")
        return self

    @property
    def audit_file(self) -> Path:
        """Where it is written down who looked."""
        return self.audit or Path("audit.jsonl")

    @property
    def origins(self) -> tuple[str, ...]:
        """`cors_origins` one by one."""
        return _listed(self.cors_origins)


def _listed(written: str | None) -> tuple[str, ...]:
    return tuple(item.strip() for item in (written or "").split(",") if item.strip())
