"""Settings as a file."""

from __future__ import annotations

import json

from pydantic import SecretStr

from jobs.settings.definition import Settings
from jobs.settings.names import leaves


def to_toml(settings: Settings) -> str:
    """The settings as a file that `load_settings` reads back to the same, secrets in clear: for own processes only."""
    lines: list[str] = []
    sections: dict[str, list[str]] = {}
    for name, value in leaves(settings.model_dump(mode="python")):
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
