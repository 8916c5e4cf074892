"""Where schemas and their ids come from: the ones packaged here, or a registry by address (`confluent`)."""

from __future__ import annotations

import json
import tomllib
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Protocol, cast

from streaming.codec._schema import Schema


class UnknownSchema(LookupError):
    """The registry answered, and has no such schema."""


class RegistryUnavailable(ConnectionError):
    """The registry cannot be asked now, or does not answer as one: no record is to blame; wait and try again."""


class SchemaRegistry(Protocol):
    """Ids are immutable: what one stands for never changes."""

    def schema(self, schema_id: int) -> Schema:
        """The schema of this id. Raises `UnknownSchema` and `RegistryUnavailable`."""

    def id_of(self, schema_name: str) -> int:
        """The id of a packaged schema, registered if need be. Raises `UnknownSchema` and `RegistryUnavailable`."""


@cache
def _text(name: str) -> str:
    if name.endswith(".avsc"):
        own = Path(name)
        if not own.is_file():
            raise UnknownSchema(f"there is no schema file {name}")
        return own.read_text("utf-8")
    file = files("streaming").joinpath("schemas", *f"{name}.avsc".split("/"))
    if not file.is_file():
        raise UnknownSchema(f"no schema {name!r} is packaged; see streaming/schemas")
    return file.read_text("utf-8")


def load_schema(name: str) -> Schema:
    """A packaged schema by its file name in streaming/schemas, without .avsc; or one of your own by the path of its
    file, with .avsc. Raises `UnknownSchema`."""
    return cast(Schema, json.loads(_text(name)))


@cache
def packaged_ids() -> dict[int, str]:
    """Id → file of every schema packaged here, past ones too."""
    table = tomllib.loads(files("streaming.codec").joinpath("ids.toml").read_text("utf-8"))
    return {int(schema_id): name for schema_id, name in table.items()}


class PackagedRegistry:
    """The schemas of streaming/schemas with the ids of ids.toml. Needs nothing and is always there."""

    def schema(self, schema_id: int) -> Schema:
        """The schema of this id. Raises `UnknownSchema`."""
        ids = packaged_ids()
        if schema_id not in ids:
            raise UnknownSchema(f"no packaged schema has the id {schema_id}; known are {sorted(ids)}")
        return load_schema(ids[schema_id])

    def id_of(self, schema_name: str) -> int:
        """The id of the current version. Raises `UnknownSchema`."""
        for schema_id, name in packaged_ids().items():
            if name == schema_name:
                return schema_id
        raise UnknownSchema(
            f"no packaged schema is called {schema_name!r}; known are {sorted(packaged_ids().values())}"
        )
