"""Settings: TOML file < environment `SIGHTLINE_…` < command-line option. Unknown names are errors.

    sightline.toml                 [kafka]
                                   bootstrap_servers = "broker:9092"
    environment                    SIGHTLINE_KAFKA__BOOTSTRAP_SERVERS=broker:9092

The file is the one given by `--config` or SIGHTLINE_CONFIG, else `sightline.toml` in the working folder, if any.
`sightline config` prints what holds and where each value comes from.
"""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict
from pydantic_settings import SettingsError as EnvironmentValueError

import models
from jobs.errors import SettingsError
from jobs.schedule.definition import Schedule, check_names
from models.store.roots import checked_url, is_url
from serve.gateway.settings import GatewaySettings
from streaming.features.catalogue import titles
from streaming.sessions.settings import LIVE as LIVE_RECOMMENDER

if TYPE_CHECKING:
    from streaming.codec import SchemaRegistry
    from streaming.kafka.settings import KafkaSettings
    from streaming.state import StateLimits

PREFIX = "SIGHTLINE_"
FILE = "sightline.toml"
NOT_SETTINGS = ("SIGHTLINE_CONFIG", "SIGHTLINE_DATA")
"""Names with our prefix that are no settings: the file to read, and the public data of the tests."""


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
        default="reid-osnet@live", description="NAME@ALIAS or NAME@VERSION by which people are told apart."
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


class Settings(BaseSettings):
    """All of them. Build with `load_settings`, which also says where each value comes from."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_nested_delimiter="__", extra="forbid", frozen=True, env_ignore_empty=True
    )

    home: Path = Field(default_factory=data_home, description="Folder for the embedded broker and your models.")
    kafka: KafkaSection = Field(default_factory=KafkaSection)
    registry: RegistrySection = Field(default_factory=RegistrySection)
    ray: RaySection = Field(default_factory=RaySection)
    pipeline: PipelineSection = Field(default_factory=PipelineSection)
    serve: ServeSection = Field(default_factory=ServeSection)
    models: ModelsSection = Field(default_factory=ModelsSection)
    insights: InsightsSection = Field(default_factory=InsightsSection)
    privacy: PrivacySection = Field(default_factory=PrivacySection)
    store: StoreSection = Field(default_factory=StoreSection)
    alerts: AlertsSection = Field(default_factory=AlertsSection)
    shop: ShopSection = Field(default_factory=ShopSection)
    gateway: GatewaySection = Field(default_factory=lambda: GatewaySection.model_validate({}))
    schedule: dict[str, Schedule] = Field(default_factory=dict, description="Name → jobs that run by themselves.")

    @property
    def keys_folder(self) -> Path:
        """Where the keys of looks lie."""
        return self.privacy.keys or self.home.absolute() / "keys"

    def secrets(self) -> tuple[str, ...]:
        """The values that must never be written down, such as passwords."""
        values = (value for _, value in _leaves(self.model_dump(mode="python")))
        return tuple(value.get_secret_value() for value in values if isinstance(value, SecretStr))

    @model_validator(mode="before")
    @classmethod
    def _models_live_at_home(cls, raw: dict[str, Any]) -> dict[str, Any]:
        section = raw.get("models", {})
        if "home" not in raw or not isinstance(section, dict) or "store" in section:
            return raw
        return {**raw, "models": {**section, "store": str(Path(raw["home"]) / "models")}}

    @field_validator("schedule")
    @classmethod
    def _are_named(cls, value: dict[str, Schedule]) -> dict[str, Schedule]:
        return dict(check_names(value))

    @field_validator("home")
    @classmethod
    def _without_tilde(cls, value: Path) -> Path:
        return value.expanduser()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what `load_settings` merged: it must know which source a value came from."""
        return (init_settings,)


@dataclass(frozen=True)
class Loaded:
    """Settings that hold, and where each comes from."""

    settings: Settings
    origins: Mapping[str, str]  # "kafka.bootstrap_servers" → "sightline.toml"; what is missing is a default
    file: Path | None

    def rows(self) -> Iterator[tuple[str, Any, str]]:
        """(name, value, origin) of every setting; secrets masked, paths and times as text."""
        for name, value in _leaves(self.settings.model_dump(mode="json")):
            yield name, value, self.origins.get(name, "default")


def load_settings(options: Mapping[str, tuple[Any, str]] | None = None, config: Path | None = None) -> Loaded:
    """Merge file, environment and options.

    Args:
        options: dotted name → (value, the option's name); None values are left out.
        config: the file; None looks at SIGHTLINE_CONFIG, then for `sightline.toml` in the working folder.

    Raises:
        SettingsError: an unknown name or a wrong value.
    """
    file = _chosen_file(config)
    sources: list[tuple[dict[str, Any], dict[str, str]]] = []
    if file is not None:
        from_file = _read_toml(file)
        sources.append((from_file, {name: str(file) for name, _ in _leaves(from_file)}))
    if address := os.environ.get("RAY_ADDRESS"):
        sources.append(({"ray": {"address": address}}, {"ray.address": "RAY_ADDRESS"}))
    _refuse_unknown_environment()
    from_environment = _read_environment()
    names = {name: f"{PREFIX}{name.replace('.', '__').upper()}" for name, _ in _leaves(from_environment)}
    sources.append((from_environment, names))
    given = {name: (value, option) for name, (value, option) in (options or {}).items() if value is not None}
    sources.append(
        (_nested({n: value for n, (value, _) in given.items()}), {n: option for n, (_, option) in given.items()})
    )

    merged: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for values, where in sources:
        merged = _merged(merged, values)
        origins |= where
    try:
        settings = Settings(**merged)
    except ValidationError as error:
        raise SettingsError(_explain(error, origins)) from None
    return Loaded(settings, origins, file)


def setting_names() -> tuple[str, ...]:
    """Dotted names of all settings."""
    return tuple(_field_names(Settings, ""))


def to_toml(settings: Settings) -> str:
    """The settings as a file that `load_settings` reads back to the same, secrets in clear: for own processes only."""
    lines: list[str] = []
    sections: dict[str, list[str]] = {}
    for name, value in _leaves(settings.model_dump(mode="python")):
        section, _, key = name.rpartition(".")
        if value is not None:
            sections.setdefault(section, []).append(f"{key} = {_toml_value(value)}")
    for section, entries in sorted(sections.items()):  # what is in no section comes first
        lines += [f"[{section}]"] * bool(section) + entries
    return "\n".join(lines) + "\n"


def _toml_value(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    text = value.get_secret_value() if isinstance(value, SecretStr) else str(value)
    # A JSON string is a TOML string, but for one character.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _chosen_file(config: Path | None) -> Path | None:
    named = config or (Path(value) if (value := os.environ.get("SIGHTLINE_CONFIG")) else None)
    if named is not None:
        if not named.is_file():
            raise SettingsError(
                f"{named}: no such settings file; give an existing one with --config or SIGHTLINE_CONFIG"
            )
        return named
    return Path(FILE) if Path(FILE).is_file() else None


def _read_toml(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"{file}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise SettingsError(f"{file}: not UTF-8 at byte {error.start}; save the file as UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{file}: not TOML: {error}") from None


def _read_environment() -> dict[str, Any]:
    try:
        return EnvSettingsSource(Settings)()
    except EnvironmentValueError as error:
        section = "".join(re.findall(r'field "(\w+)"', str(error))[:1])
        variable = f"{PREFIX}{section.upper()}"
        raise SettingsError(f"{variable}: not JSON; set one value as {variable}__NAME instead") from None


def _refuse_unknown_environment() -> None:
    known = {f"{PREFIX}{name.replace('.', '__').upper()}": name for name in setting_names()}
    sections = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields}
    tables = tuple(f"{PREFIX}{name.replace('.', '__').upper()}__" for name in _TABLES)
    for variable in os.environ:
        name = variable.upper()
        if not name.startswith(PREFIX) or name in NOT_SETTINGS or name in known or name in sections:
            continue
        if not name.startswith(tables):
            names = [known_name.removeprefix(PREFIX) for known_name in (*known, *NOT_SETTINGS)]
            near = get_close_matches(name.removeprefix(PREFIX), names, n=1, cutoff=0.5)
            hint = f"did you mean {PREFIX}{near[0]}?" if near else "`sightline config` lists them all"
            raise SettingsError(f"{variable}: no such setting; {hint}")


_TABLES = ("models.titles", "shop.recommenders", "schedule")


def _revealed(secret: SecretStr | None) -> str | None:
    return secret.get_secret_value() if secret is not None else None


def _text(path: Path | None) -> str | None:
    return str(path) if path is not None else None


def _field_names(section: type[BaseModel], prefix: str) -> Iterator[str]:
    for name, field in section.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _field_names(field.annotation, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


def _leaves(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _nested(values: Mapping[str, Any]) -> dict[str, Any]:
    nested: dict[str, Any] = {}
    for name, value in values.items():
        *sections, last = name.split(".")
        table = nested
        for section in sections:
            table = table.setdefault(section, {})
        table[last] = value
    return nested


def _merged(low: Mapping[str, Any], high: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(low)
    for name, value in high.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(name), Mapping)
        merged[name] = _merged(merged[name], value) if both else value
    return merged


def _explain(error: ValidationError, origins: Mapping[str, str]) -> str:
    """The first thing wrong, in one line: where, what, and what to do. Never the value of a secret."""
    problems = error.errors(include_url=False, include_input=False)
    first = problems[0]
    name = ".".join(str(part) for part in first["loc"])
    table, _, key = name.rpartition(".")
    near_by = f"{table}." if first["type"] == "missing" else f"{name}."  # what is missing stands nowhere itself
    place = next((origins[n] for n in origins if n == name or n.startswith(near_by)), "")
    says_it = name in place or place == f"{PREFIX}{name.replace('.', '__').upper()}"
    if first["type"] == "extra_forbidden" and table.startswith("schedule."):
        known = list(Schedule.model_fields)
        near = get_close_matches(key, known, n=1, cutoff=0.5)
        what = f"no such setting; {f'did you mean {table}.{near[0]}?' if near else 'there are ' + ', '.join(known)}"
    elif first["type"] == "extra_forbidden":
        near = get_close_matches(name, setting_names(), n=1, cutoff=0.5)
        what = f"no such setting; {f'did you mean {near[0]}?' if near else '`sightline config` lists them all'}"
    elif first["type"] == "model_type" and table == "schedule":
        what = "is no schedule; begin one with [schedule.NAME], and say its command and when it starts"
    elif first["type"] == "model_type":
        what = f"is a section; set one of its names, such as {next(n for n in setting_names() if n.startswith(name))}"
    else:
        what = first["msg"].removeprefix("Value error, ").replace("Input should be", "must be", 1)
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return ": ".join([*([place] if place else []), *([] if says_it else [name]), f"{what}{more}"])
