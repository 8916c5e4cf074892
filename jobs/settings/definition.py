"""All settings as one immutable value."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from jobs.schedule.definition import Schedule, check_names
from jobs.settings import sections
from jobs.settings.names import leaves

PREFIX = "SIGHTLINE_"
TABLES = ("models.titles", "shop.recommenders", "schedule")
"""Settings whose keys are the user's own."""


class Settings(BaseSettings):
    """All of them. Build with `load_settings`, which also says where each value comes from."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_nested_delimiter="__", extra="forbid", frozen=True, env_ignore_empty=True
    )

    home: Path = Field(
        default_factory=sections.data_home, description="Folder for the embedded broker and your models."
    )
    kafka: sections.KafkaSection = Field(default_factory=sections.KafkaSection)
    registry: sections.RegistrySection = Field(default_factory=sections.RegistrySection)
    ray: sections.RaySection = Field(default_factory=sections.RaySection)
    pipeline: sections.PipelineSection = Field(default_factory=sections.PipelineSection)
    serve: sections.ServeSection = Field(default_factory=sections.ServeSection)
    models: sections.ModelsSection = Field(default_factory=sections.ModelsSection)
    insights: sections.InsightsSection = Field(default_factory=sections.InsightsSection)
    privacy: sections.PrivacySection = Field(default_factory=sections.PrivacySection)
    store: sections.StoreSection = Field(default_factory=sections.StoreSection)
    alerts: sections.AlertsSection = Field(default_factory=sections.AlertsSection)
    shop: sections.ShopSection = Field(default_factory=sections.ShopSection)
    gateway: sections.GatewaySection = Field(default_factory=lambda: sections.GatewaySection.model_validate({}))
    schedule: dict[str, Schedule] = Field(default_factory=dict, description="Name → jobs that run by themselves.")

    @property
    def keys_folder(self) -> Path:
        """Where the keys of looks lie."""
        return self.privacy.keys or self.home.absolute() / "keys"

    def secrets(self) -> tuple[str, ...]:
        """The values that must never be written down, such as passwords."""
        values = (value for _, value in leaves(self.model_dump(mode="python")))
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
