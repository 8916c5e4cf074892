"""Models of a shop demo, trained on its past in the demo's first minute: by the command, on a file, as a user would.

They are not shipped: a model of sessions knows the items of one shop alone, and seconds are enough for this one.
"""

from __future__ import annotations

from pathlib import Path

import polars as pl

from jobs.shop_demo.stock import Stock

CLICKS, CONTENT = "session-gru4rec", "session-two-tower"
"""Recipes, and names of the models."""

_WHY = "the first of this demo's shop"
_TIME = "%Y-%m-%dT%H:%M:%S%.3fZ"
_SMALL = {
    CLICKS: ("encoder.dim=64", "optim.epochs=6"),
    CONTENT: ("encoder.dim=48", "optim.epochs=6"),
}


def models_of(stock: Stock) -> tuple[str, ...]:
    """Recipes that have something to learn from here."""
    return (CLICKS, CONTENT) if stock.has_content else (CLICKS,)


def write_past(stock: Stock, path: Path) -> None:
    """The past as a file of the RecSys Challenge's own layout, which has categories."""
    rows = stock.past.join(stock.items.select("item_id", "category"), on="item_id", how="left", maintain_order="left")
    rows.select(
        pl.col("session_id").rank("dense"),  # that layout is known by a number at its beginning
        pl.col("event_time_ms").dt.strftime(_TIME),
        "item_id",
        pl.col("category").fill_null("").replace("", "0"),
    ).write_csv(path, include_header=False)


def train_words(recipe: str, data: Path, *, small: bool) -> list[str]:
    """Module and arguments of the training; for a small shop with less than the recipe has for a large one."""
    fields = (*_SMALL[recipe], "validation=0") if small else ("validation=0",)
    changes = [word for field in fields for word in ("--set", field)]
    given = ["--data", str(data), "--alias", "live", "--force", "--reason", _WHY]
    return ["jobs.cli", "train", recipe, *given, *changes]
