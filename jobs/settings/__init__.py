"""Settings: TOML file < environment `SIGHTLINE_…` < command-line option. Unknown names are errors.

    sightline.toml                 [kafka]
                                   bootstrap_servers = "broker:9092"
    environment                    SIGHTLINE_KAFKA__BOOTSTRAP_SERVERS=broker:9092

The file is the one given by `--config` or SIGHTLINE_CONFIG, else `sightline.toml` in the working folder, if any.
`sightline config` prints what holds and where each value comes from.
"""

from __future__ import annotations

from jobs.settings.definition import PREFIX, Settings
from jobs.settings.loading import Loaded, load_settings, setting_names
from jobs.settings.sections import (
    KafkaSection,
    PipelineSection,
    PrivacySection,
    RaySection,
    RegistrySection,
    ShopSection,
)
from jobs.settings.writing import to_toml

__all__ = [
    "PREFIX",
    "KafkaSection",
    "Loaded",
    "PipelineSection",
    "PrivacySection",
    "RaySection",
    "RegistrySection",
    "Settings",
    "ShopSection",
    "load_settings",
    "setting_names",
    "to_toml",
]
