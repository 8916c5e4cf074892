"""Settings by dotted name: `kafka.bootstrap_servers`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel


def field_names(section: type[BaseModel], prefix: str) -> Iterator[str]:
    """Of a section, and of those within it, with the prefix."""
    for name, field in section.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from field_names(field.annotation, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


def leaves(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Name and value of all that is no table."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """The inverse of `leaves`."""
    made: dict[str, Any] = {}
    for name, value in values.items():
        *sections, last = name.split(".")
        table = made
        for section in sections:
            table = table.setdefault(section, {})
        table[last] = value
    return made


def merged(low: Mapping[str, Any], high: Mapping[str, Any]) -> dict[str, Any]:
    """Both, table by table; of a name that both have, the value of `high`."""
    made = dict(low)
    for name, value in high.items():
        both = isinstance(value, Mapping) and isinstance(made.get(name), Mapping)
        made[name] = merged(made[name], value) if both else value
    return made
