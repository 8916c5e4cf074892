"""The simulated shop of the benchmarks of sessions: its catalogue, a model trained on its visits, and its pipeline."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import polars as pl

from jobs.recipes.session_gru4rec import GRU4REC
from jobs.sessions.clicks import SessionRules, click_set
from jobs.sessions.fit import fit
from jobs.sessions.split import whole
from models._registry import config_to_json
from models.store import ModelStore
from serve.predictors.session import SessionPredictor
from streaming.codec import Encoder, PackagedRegistry, load_schema
from streaming.sessions.events import EVENT_SCHEMA
from streaming.simulators.shop import Goods, VisitSettings, item_records, make_goods, make_shoppers, visits

HERE = Path(__file__).parent
SEARCH_PATH = os.pathsep.join((str(HERE), str(HERE.parents[1])))
"""PYTHONPATH of processes."""
REGISTRY = PackagedRegistry()
SHOPPERS = 5_000
GOODS = 65_000  # of which some 50,000 are looked at in training
TRAIN_SESSIONS = 100_000
NAME = "session-gru4rec"
PEOPLE = VisitSettings(bots=0.0)


@dataclass(frozen=True)
class Trained:
    """What came of the training."""

    items: int
    sessions: int
    clicks: int
    clicks_per_s: float  # of processor time


def shop_goods() -> Goods:
    return make_goods(GOODS)


def shop_events(sessions: int, seed: int) -> pl.DataFrame:
    """Events of so many sessions, in the order of their times; nobody floods."""
    goods = shop_goods()
    return visits(goods, make_shoppers(goods, SHOPPERS), sessions=sessions, settings=PEOPLE, seed=seed).events


def train_model(root: Path) -> Trained:
    """One epoch of the recipe of the live model on the views of the shop, stored as the first version."""
    views = shop_events(TRAIN_SESSIONS, seed=1).filter(kind="view")
    seconds = pl.col("event_time_ms").to_physical() / 1e3
    clicks = click_set(
        "the simulated shop", views.select(session="session_id", item="item_id", time_s=seconds), {}, SessionRules()
    )
    recipe = replace(GRU4REC, optim=replace(GRU4REC.optim, epochs=1))
    fitted = fit(whole(clicks), recipe)
    words = dict.fromkeys(("trained_on", "data_fingerprint", "code_version"), "the simulated shop")
    ModelStore(root).save(
        NAME, fitted.model(), config_to_json(fitted.config), metrics={}, title="session", recipe=asdict(recipe), **words
    )
    return Trained(len(clicks.items), clicks.sessions, len(clicks), round(fitted.best.clicks_per_s))


def predictor(root: Path, reasons: int = 2) -> SessionPredictor:
    return SessionPredictor(ModelStore(root).load(f"{NAME}@1"), reasons=reasons)


def catalogue_records() -> tuple[list[bytes], list[bytes]]:
    """Keys and values of all items."""
    return _encoded(item_records(shop_goods()), "item-catalogue", "item_id")


def event_records(events: pl.DataFrame) -> tuple[list[bytes], list[bytes]]:
    """Keys and values of events."""
    return _encoded(events.select(EVENT_SCHEMA.names()), "user-sessions", "session_id")


def _encoded(frame: pl.DataFrame, schema: str, key: str) -> tuple[list[bytes], list[bytes]]:
    values = Encoder(load_schema(schema), REGISTRY.id_of(schema)).encode(frame)
    return [each.encode() for each in frame[key]], values.to_pylist()
