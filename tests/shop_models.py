"""Trained models of sessions in a store, so small that they are made within a second or two: for tests."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from jobs.recipes.overrides import with_overrides
from jobs.recipes.session_gru4rec import GRU4REC
from jobs.recipes.session_two_tower import TWO_TOWER
from jobs.recipes.sessions import SessionRecipe
from jobs.train import train
from models.store import ModelStore
from tests.shop_sessions import walks

_SMALL = ("encoder.dim=8", "optim.epochs=1", "length=6", "loss.negatives=8", "validation=0")


def shop_store(folder: Path, gru4rec: int = 2) -> ModelStore:
    """Versions 1 … of session-gru4rec, and one of session-two-tower, which knows the aisles as categories; live is 1
    of both."""
    lines = [line.split("\t") for line in walks(120).splitlines()[1:]]
    clicks = folder / "clicks.csv"
    clicks.write_text("\n".join(_challenge(*line) for line in lines))
    for seed in range(gru4rec):
        _train(folder, GRU4REC, [f"seed={seed}", f"data={clicks}"])
    _train(
        folder,
        TWO_TOWER,
        ["encoder.dim=16", "encoder.buckets=64", "optim.epochs=12", "optim.batch_sessions=16", f"data={clicks}"],
    )
    store = ModelStore(folder / "store")
    for name in ("session-gru4rec", "session-two-tower"):
        store.set_alias(name, "live", 1)
    return store


def _challenge(session: str, item: str, time_s: str) -> str:
    moment = datetime.fromtimestamp(float(time_s), UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")
    return f"{session},{moment}Z,{item},{aisle_of(item)}"


def aisle_of(item: str) -> str:
    """The category of an item."""
    return f"aisle {int(item) // 10_000}"


def _train(folder: Path, recipe: SessionRecipe, more: Sequence[str]) -> None:
    train(with_overrides(recipe, [*_SMALL, *more]), store=folder / "store", runs=folder / "runs")
