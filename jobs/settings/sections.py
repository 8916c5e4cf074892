"""The sections of the settings: each setting with its bounds, its default and what it means."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

import models
from jobs.errors import SettingsError
from models.store.roots import checked_url, is_url
from serve.gateway.settings import GatewaySettings
from streaming.features.catalogue import titles
from streaming.sessions.settings import LIVE as LIVE_RECOMMENDER

if TYPE_CHECKING:
    from streaming.codec import SchemaRegistry
    from streaming.kafka.settings import KafkaSettings
    from streaming.state import StateLimits


def data_home() -> Path:
    """Where this user's data belongs: `sightline` below XDG_DATA_HOME or ~/.local/share."""
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "sightline"


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class KafkaSection(_Section):
    """Which Kafka, and how to enter it. Without an address it is the embedded broker."""

    bootstrap_servers: str | None = Field(
        default=None, description="HOST:PORT[,HOST:PORT…]; none: the embedded broker."
    )
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] | None = None
    sasl_username: str | None = None
    sasl_password: SecretStr | None = None
    ssl_cafile: Path | None = Field(default=None, description="Certificates to trust, PEM; none: the system's.")
    ssl_certfile: Path | None = Field(default=None, description="Own certificate, PEM, where the broker asks for one.")
    ssl_keyfile: Path | None = None
    ssl_password: SecretStr | None = Field(default=None, description="Of the key file.")
    ssl_check_hostname: bool = True
    max_record_bytes: int = Field(
        default=1_000_000, ge=65_536, description="Of what is written; below your topics' max.message.bytes."
    )
    port: int = Field(
        default=0, ge=0, le=65535, description="Of the embedded broker; 0: the one it had before, or a free one."
    )

    @field_validator("bootstrap_servers")
    @classmethod
    def _are_addresses(cls, value: str | None) -> str | None:
        for address in (value or "").split(",") if value is not None else ():
            host, _, port = address.strip().rpartition(":")
            if not host or not port.isdecimal():
                raise ValueError(f"{address.strip()!r} is not HOST:PORT")
        return value

    @model_validator(mode="after")
    def _fits_together(self) -> KafkaSection:
        if self.security_protocol.startswith("SASL"):
            missing = [n for n in ("sasl_mechanism", "sasl_username", "sasl_password") if getattr(self, n) is None]
            if missing:
                raise ValueError(f"security_protocol {self.security_protocol} also needs {', '.join(missing)}")
        if not self.security_protocol.endswith("SSL") and (self.ssl_cafile or self.ssl_certfile):
            raise ValueError(
                f"with security_protocol {self.security_protocol} nothing is encrypted, and ssl_cafile and "
                "ssl_certfile do nothing: set SSL or SASL_SSL"
            )
        return self

    def connection(self) -> KafkaSettings:
        """What clients need.

        Raises:
            SettingsError: no address is set; the embedded broker's is known only once it runs.
        """
        from streaming.kafka.settings import KafkaSettings

        if self.bootstrap_servers is None:
            raise SettingsError(
                "kafka.bootstrap_servers is not set: set it to your brokers, or start the embedded one "
                "with `sightline kafka start`"
            )
        return KafkaSettings(
            bootstrap_servers=self.bootstrap_servers,
            security_protocol=self.security_protocol,
            sasl_mechanism=self.sasl_mechanism,
            sasl_username=self.sasl_username,
            sasl_password=_revealed(self.sasl_password),
            ssl_cafile=_text(self.ssl_cafile),
            ssl_certfile=_text(self.ssl_certfile),
            ssl_keyfile=_text(self.ssl_keyfile),
            ssl_password=_revealed(self.ssl_password),
            ssl_check_hostname=self.ssl_check_hostname,
            max_record_bytes=self.max_record_bytes,
        )


class RegistrySection(_Section):
    """Where schema ids come from. Without an address they are those of the packaged schemas."""

    url: str | None = Field(default=None, description="Of a Confluent-compatible schema registry.")
    auth: SecretStr | None = Field(default=None, description="USER:PASSWORD.")

    @field_validator("url")
    @classmethod
    def _is_http(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith(("http://", "https://")):
            raise ValueError("must begin with http:// or https://")
        if "@" in urlsplit(value or "").netloc:
            raise ValueError("must be without user and password; set those in registry.auth")
        return value

    @field_validator("auth")
    @classmethod
    def _is_a_pair(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and ":" not in value.get_secret_value():
            raise ValueError("must be USER:PASSWORD")
        return value

    def open(self) -> SchemaRegistry:
        """The registry at the address, or the packaged one."""
        from streaming.codec import ConfluentRegistry, PackagedRegistry

        if self.url is None:
            return PackagedRegistry()
        if self.auth is None:
            return ConfluentRegistry(self.url)
        user, _, password = self.auth.get_secret_value().partition(":")
        return ConfluentRegistry(self.url, user=user, password=password)


class RaySection(_Section):
    """Which Ray. Without an address one starts on this machine for as long as the command runs."""

    address: str | None = Field(default=None, description="Of a running cluster; RAY_ADDRESS does as well.")
    num_cpus: int = Field(default=8, ge=2, description="Logical CPUs of an own Ray: most of our actors only wait.")
    object_store_mb: int = Field(default=200, ge=80, description="Shared memory of an own Ray.")


class PipelineSection(_Section):
    """How a pipeline cuts the stream, and how much may be under way."""

    runner: Literal["micro_batch", "continuous"] = Field(
        default="micro_batch", description="micro_batch reads by Ray Data; continuous answers within milliseconds."
    )
    workers: int = Field(default=1, ge=1, description="Of the continuous runner; with min_workers the most.")
    min_workers: int | None = Field(
        default=None,
        ge=1,
        description="Set: workers come and go with the lag, from this many up to `workers`, or the partitions. Only "
        "for pipelines whose state belongs to partitions: win prediction has one worker.",
    )
    target_lag_s: float = Field(default=5.0, gt=2, description="What workers and replicas come for; see min_workers.")
    delivery: Literal["exactly_once", "at_least_once"] = Field(
        default="exactly_once", description="at_least_once answers sooner, and twice after a crash."
    )
    epoch_s: float = Field(default=120.0, gt=0, description="One Ray Data execution lasts so long.")
    interval_ms: float = Field(default=60.0, ge=1, le=1000, description="Events gather so long before they are read.")
    read_tasks: int = Field(default=1, ge=1, description="Read tasks at a time; each has some of the partitions.")
    max_batch_records: int = Field(default=5_000, ge=1)
    max_unanswered_records: int = Field(default=50_000, ge=1, description="Read but not committed; bounds memory.")
    state_max_keys: int = Field(default=1_000_000, ge=1, description="Of a stage, in one process; then it stops.")
    state_max_mb: int = Field(default=1_024, ge=1, description="Of the rows of each stage, in one process.")

    def state_limits(self) -> StateLimits:
        """How much a stage may keep."""
        from streaming.state import StateLimits

        return StateLimits(self.state_max_keys, self.state_max_mb << 20)

    @model_validator(mode="after")
    def _fits_together(self) -> PipelineSection:
        if self.min_workers is not None and self.min_workers > self.workers:
            raise ValueError(f"min_workers is {self.min_workers}, and workers, the most, only {self.workers}")
        return self


class ServeSection(_Section):
    """How the model is served."""

    replicas: int = Field(default=1, ge=1, description="With min_replicas the most.")
    min_replicas: int | None = Field(
        default=None, ge=1, description="Set: replicas come and go with the lag; see pipeline.target_lag_s."
    )
    gpus_per_replica: float = Field(default=0.0, ge=0, description="0: on the CPU.")
    max_batch: int = Field(default=4_096, ge=1, description="Rows a call.")

    @model_validator(mode="after")
    def _fits_together(self) -> ServeSection:
        if self.min_replicas is not None and self.min_replicas > self.replicas:
            raise ValueError(f"min_replicas is {self.min_replicas}, and replicas, the most, only {self.replicas}")
        return self


class ModelsSection(_Section):
    """Which weights."""

    store: str = Field(
        default_factory=lambda: str(data_home() / "models"),
        description="Folder of your own models; on a cluster, one that every node has under this path. Or a URL that "
        "fsspec knows, such as s3://bucket/models.",
    )
    titles: dict[str, str] = Field(
        default_factory=lambda: {title: f"tsstn-{title}@live" for title in titles()},
        description="Title → NAME@ALIAS or NAME@VERSION.",
    )

    @field_validator("store", mode="before")
    @classmethod
    def _is_a_place(cls, value: object) -> object:
        if not isinstance(value, str | Path):
            return value
        if is_url(text := str(value).removeprefix("file://")):
            return checked_url(text)
        return str(Path(text).expanduser().absolute())  # replicas run in folders of their own

    @field_validator("titles")
    @classmethod
    def _are_titles(cls, value: dict[str, str]) -> dict[str, str]:
        for title in value:
            if title not in titles():
                raise ValueError(f"unknown title {title!r}; known: {', '.join(titles())}")
        return {title: f"tsstn-{title}@live" for title in titles()} | value

    @property
    def store_roots(self) -> tuple[str, ...]:
        """Your models first, then those that ship with the project."""
        return self.store, str(Path(models.__file__).parent / "shipped")


class InsightsSection(_Section):
    """How answers are put into words."""

    wording: Path | None = Field(
        default=None, description="Your copy of streaming/insights/wording.toml; by default that file itself."
    )


class PrivacySection(_Section):
    """What is known of people's looks."""

    keys: Path | None = Field(
        default=None,
        description="Folder of the keys that looks are sealed with, by default keys below home; on a cluster, one that "
        "every worker has under this path. Not where Kafka's data or backups go.",
    )

    @field_validator("keys")
    @classmethod
    def _without_tilde(cls, value: Path | None) -> Path | None:
        return value.expanduser().absolute() if value is not None else None  # workers run in folders of their own


class StoreSection(_Section):
    """The store whose cameras are watched."""

    plan: Path | None = Field(
        default=None, description="Its cameras, zones and rules of alerts, for store-metrics and store-alerts (TOML)."
    )
    cameras: Path | None = Field(
        default=None, description="Of `sightline camera`; by default cameras.toml beside the settings file."
    )
    embedding: str = Field(
        default="reid-small@live", description="NAME@ALIAS or NAME@VERSION by which people are told apart."
    )
    detector: Path | None = Field(
        default=None, description="ONNX file of a person detector (`make detector`); none: OpenCV's own, which is weak."
    )
    detector_layout: Literal["nanodet", "yolox", "detr"] = Field(
        default="nanodet", description="How its input is made and its output meant."
    )
    detector_side_px: int | None = Field(
        default=None, ge=32, le=2048, multiple_of=32, description="Of its input; none: the layout's usual."
    )
    detector_person: int = Field(default=0, ge=0, description="Which of its classes is persons.")
    max_age_s: float = Field(default=5.0, gt=0, description="Frames that have waited longer are passed over.")
    max_batch_frames: int = Field(default=32, ge=1, description="Frames are large; this bounds memory.")

    @field_validator("plan", "cameras")
    @classmethod
    def _without_tilde(cls, value: Path | None) -> Path | None:
        return value.expanduser() if value is not None else None

    @field_validator("detector")
    @classmethod
    def _for_workers(cls, value: Path | None) -> Path | None:
        return value.expanduser().absolute() if value is not None else None  # workers run in folders of their own


class ShopSection(_Section):
    """What sessions of shoppers are, and what is offered in them: `sightline run recommendations`."""

    recommenders: dict[str, str] = Field(
        default_factory=lambda: {LIVE_RECOMMENDER: "session-gru4rec@live"},
        description="Name → NAME@ALIAS or NAME@VERSION; arms of an experiment name others than live.",
    )
    by_content: str | None = Field(
        default=None,
        description="NAME@ALIAS or NAME@VERSION of two towers, for sessions of items that training has not seen; none: "
        "what is expected of sessions at large.",
    )
    offer: Path | None = Field(
        default=None, description="File of what is offered, and tried (TOML); none: the defaults of an offer."
    )
    gap_s: float = Field(default=1_800.0, ge=1, description="A pause longer than this ends a session.")
    max_length_s: float = Field(default=28_800.0, ge=1, description="A visit longer than this goes on as another.")
    max_events: int = Field(default=500, ge=1, le=1_000_000, description="The same by its events.")
    flood_per_min: int = Field(
        default=120, ge=1, le=1_000_000, description="Who sends more events is no shopper, and is not answered."
    )
    user_s: float = Field(default=7_776_000.0, ge=1, description="How long what a user bought is remembered.")

    @field_validator("recommenders")
    @classmethod
    def _has_live(cls, value: dict[str, str]) -> dict[str, str]:
        return {LIVE_RECOMMENDER: "session-gru4rec@live"} | value

    @field_validator("offer")
    @classmethod
    def _without_tilde(cls, value: Path | None) -> Path | None:
        return value.expanduser() if value is not None else None


class AlertsSection(_Section):
    """Where alerts of a store are handed on to: `sightline alerts forward`."""

    url: SecretStr | None = Field(default=None, description="Of a webhook; many hold a token.")
    secret: SecretStr | None = Field(default=None, description="Signs what is sent: whsec_ and base64.")
    timeout_s: float = Field(default=10.0, gt=0, le=60, description="A receiver that is silent for so long failed.")
    tries: int = Field(default=8, ge=1, le=20, description="Then an alert is given up: two minutes with 8.")

    @field_validator("url")
    @classmethod
    def _is_http(cls, value: SecretStr | None) -> SecretStr | None:
        parts = urlsplit(value.get_secret_value()) if value is not None else None
        if parts is not None and (parts.scheme not in ("http", "https") or not parts.hostname):
            raise ValueError("must be http://… or https://…")
        return value


class GatewaySection(GatewaySettings):
    """Where the pages are served; the bounds are the gateway's own."""

    ready_file: Path | None = Field(default=None, description="Written with the address once it can be asked.")


def _revealed(secret: SecretStr | None) -> str | None:
    return secret.get_secret_value() if secret is not None else None


def _text(path: Path | None) -> str | None:
    return str(path) if path is not None else None
