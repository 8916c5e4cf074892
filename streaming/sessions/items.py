"""Items of the catalogue as frames, and which of them cannot be believed.

Titles are data: markup, emoji and right-to-left text stay as they are, and whoever shows a title escapes it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import polars as pl

from streaming.rejecting import Rule, rejecting, says
from streaming.sessions.believing import id_rules, time_rules

ITEM_SCHEMA = pl.Schema(
    {
        "item_id": pl.String(),
        "changed_ms": pl.Datetime("ms", "UTC"),
        "title": pl.String(),
        "category": pl.String(),
        "price": pl.Float64(),
        "attributes": pl.List(pl.Struct({"key": pl.String(), "value": pl.String()})),
        "in_stock": pl.Boolean(),
        "withdrawn": pl.Boolean(),
    }
)
"""Columns of a frame of items, as item-catalogue.avsc states them."""

MAX_TITLE_BYTES = 1_000
MAX_CATEGORY_BYTES = 500
MAX_PRICE = 1e9
MAX_ATTRIBUTES = 32
MAX_ATTRIBUTE_BYTES = 8_000

_ERROR = "InvalidItem"


def _rules() -> list[Rule]:
    price, attributes = pl.col("price"), pl.col("attributes")
    rules = [
        *id_rules("item_id", _ERROR, wanted=pl.lit(True)),
        *time_rules("changed_ms", _ERROR, "ItemFromTheFuture"),
        (~price.is_between(0.0, MAX_PRICE), says(_ERROR, f"price is {{}}, not from 0 to {MAX_PRICE:g}", price)),
        (
            attributes.list.len() > MAX_ATTRIBUTES,
            says(_ERROR, f"{{}} attributes, more than {MAX_ATTRIBUTES}", attributes.list.len()),
        ),
    ]
    bytes_of = pl.element().struct.field("key").str.len_bytes() + pl.element().struct.field("value").str.len_bytes()
    sizes = {
        "title": (pl.col("title").str.len_bytes(), MAX_TITLE_BYTES),
        "category": (pl.col("category").str.len_bytes(), MAX_CATEGORY_BYTES),
        "attributes": (attributes.list.eval(bytes_of).list.sum(), MAX_ATTRIBUTE_BYTES),
    }
    return [
        *rules,
        *((size > most, says(_ERROR, f"{name} has {{}} bytes, more than {most}", size))
          for name, (size, most) in sizes.items()),
    ]  # fmt: skip


validate_items = rejecting(_rules(), "validate_items")
"""The transform that says in `_reject` why an item cannot be believed: `streaming.rejecting`."""


def items_frame(rows: Iterable[Mapping[str, Any]]) -> pl.DataFrame:
    """A frame of items from one mapping a row; `changed_ms` in milliseconds, attributes as a mapping, and for the rest
    the schema's defaults.

    Raises:
        ValueError: a row has a field that the schema does not know.
    """
    defaults = {"title": "", "category": "", "attributes": {}, "in_stock": True, "withdrawn": False}
    made = []
    for number, row in enumerate(rows):
        if unknown := [name for name in row if name not in ITEM_SCHEMA]:
            raise ValueError(f"item row {number}: unknown field {unknown[0]!r}; item-catalogue.avsc lists the fields")
        full = {**defaults, **row}
        made.append({**full, "attributes": [{"key": k, "value": v} for k, v in full["attributes"].items()]})
    physical = {name: pl.Int64() if name == "changed_ms" else dtype for name, dtype in ITEM_SCHEMA.items()}
    return pl.DataFrame(made, schema=physical, orient="row").cast(ITEM_SCHEMA)
