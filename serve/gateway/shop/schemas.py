"""What the gateway says of the shop, as JSON. Times are UTC milliseconds.

    /api/v1/shop/events   items ItemChanges, offer Offer, state ShopTrust, resync Resync

`items` has an id and moves the position, which is an offset of item.catalogue: what comes after it are the items that
have changed since, each as it is now. `offer` is the newest answer of the session that is followed. `resync` says that
too much has changed, or that the position is not on record: load /api/v1/shop again and follow from its `last_id`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from serve.gateway.schemas import BrokerState, Cause, Resync, State


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Item(_Message):
    """An item of the catalogue as it is now. Its title is data: whoever shows it escapes it."""

    item_id: str
    title: str
    category: str = Field(description="Levels from the widest to the narrowest, joined by >.")
    price: float | None = Field(description="In the shop's one currency.")
    may_be_offered: bool = Field(description="In stock, and not withdrawn.")


class ItemChanges(_Message):
    """Items that have changed."""

    items: list[Item]


class ItemList(_Message):
    """Items that may be offered."""

    total: int = Field(description="So many fit; `items` are those of the page asked for.")
    items: list[Item]


class Reason(_Message):
    """What moved an offered item."""

    kind: str = Field(description="view, cart, purchase; popular or new where no event is the reason.")
    item_id: str = Field(description="Of the past event; empty where none is the reason.")
    title: str
    share: float = Field(description="Of the score, by the model's attribution.")


class OfferedItem(_Message):
    """One item of an offer, and why it is there."""

    item: Item
    reasons: list[Reason] = Field(description="Strongest first.")
    why_en: str = Field(examples=["Because you just looked at \u2068the red kettle\u2069."])
    why_zh: str


class Offer(_Message):
    """What to show next in a session; impressions and clicks name its `answer_id`."""

    session_id: str
    answer_id: str
    item_id: str = Field(description="The item whose view was answered.")
    event_time_ms: int
    emit_time_ms: int
    explored: bool = Field(description="By chance, to learn what it is worth.")
    experiment: str
    arm: str
    model_name: str
    model_version: str
    items: list[OfferedItem] = Field(description="Those that may still be offered, in their order.")


class ShopTrust(_Message):
    """How far to trust what the shop shows now."""

    time_ms: int
    state: State
    delay_s: float
    causes: list[Cause]
    broker: BrokerState
    model: str = Field(description="Whose answer is the newest; empty before the first.")


class Category(_Message):
    """A category, and how many of its items may be offered."""

    name: str
    items: int


class ShopState(ShopTrust):
    """The shop now."""

    last_id: str = Field(description="Position to follow from.")
    origin: str = Field(description="live, replay or simulated.")
    items: int = Field(description="That may be offered.")
    categories: list[Category] = Field(description="By name.")


ItemId = Annotated[str, Field(min_length=1, max_length=128)]
"""Whatever has a bound is also looked at: a text without one may hold half a character, which nothing can write."""


class ShopperEvent(_Message):
    """One thing that a shopper did. `streaming.sessions.events` says which fields each kind needs; when it was is the
    gateway's to say, and who it was nobody's."""

    session_id: str = Field(min_length=1, max_length=128, description="Of the browser; made by chance.")
    kind: Literal["view", "search", "cart", "remove", "purchase", "impression"]
    item_id: ItemId | None = None
    text: str | None = Field(None, max_length=1_000, description="search: as it was typed.")
    items: list[ItemId] = Field([], max_length=100, description="impression: what was shown, in its order.")
    answer_id: str | None = Field(None, max_length=128, description="Of the offer that was shown or clicked on.")


class Written(_Message):
    """The event lies on user.sessions."""

    event_time_ms: int


class ArmRow(_Message):
    """What one arm was worth. Clicks an answer: clicks on offered items, by answers that were shown."""

    experiment: str = Field(description="Empty where none is on.")
    arm: str
    sessions: int
    answers: int = Field(description="That were shown.")
    clicks: int
    ctr: float = Field(description="Clicks an answer.")
    ctr_low: float | None = Field(description="Of its 95 % interval; null with fewer than two answers.")
    ctr_high: float | None
    difference: float | None = Field(description="Clicks an answer more than the first arm's; null for that one.")
    difference_low: float | None = Field(description="Of the interval that holds at every look; null: no bound yet.")
    difference_high: float | None
    differs: bool | None


class CtrPoint(_Message):
    """Answers of one arm that were made in a step of time, and the clicks on them."""

    time_ms: int = Field(description="Begin.")
    experiment: str
    arm: str
    answers: int
    clicks: int


class ColdItem(_Message):
    """An item that nobody looked at."""

    item: Item
    offered: bool = Field(description="It was in an answer.")


class ShopFigures(_Message):
    """What the offers of the last minutes were worth, and which items they reach."""

    since_ms: int = Field(description="The minutes asked for, or from when on answers are kept.")
    until_ms: int
    step_s: int
    answers: int = Field(description="All, shown or not.")
    arms: list[ArmRow]
    points: list[CtrPoint] = Field(description="Of the steps that are over, oldest first.")
    items: int = Field(description="That may be offered.")
    items_offered: int = Field(description="Of these, in an answer; by `items` it is the coverage.")
    cold: int = Field(description="Of these, looked at by nobody.")
    cold_offered: int = Field(description="Cold ones that were in an answer all the same.")
    newest_cold: list[ColdItem] = Field(description="The newest first.")


STREAMED: tuple[type[BaseModel], ...] = (ItemChanges, Offer, ShopTrust, Resync)
"""Data of the messages of the stream."""
