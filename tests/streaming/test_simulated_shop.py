"""The made-up shop: the same for a seed, and as its settings say; and the loop from answers to what they were worth."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from streaming.experiments import figures, outcomes, policy_value
from streaming.sessions.covisits import Covisits
from streaming.sessions.events import EVENT_SCHEMA, validate_events
from streaming.sessions.folding import SessionFold
from streaming.sessions.items import ITEM_SCHEMA, validate_items
from streaming.sessions.recommending import RecommendStage
from streaming.sessions.settings import Arm, Experiment, Offer
from streaming.simulators.shop import (
    VisitSettings,
    changes,
    click_probability,
    item_records,
    make_goods,
    make_shoppers,
    reactions,
    respond,
    visits,
)
from streaming.simulators.shop.goods import DAY_MS, START_MS
from tests.shop_feed import Fixed, apply, arrived, catalogue_of, item_values

GOODS = make_goods(600, categories=12, seed=1)
SHOPPERS = make_shoppers(GOODS, 400, seed=1)
MADE = visits(GOODS, SHOPPERS, sessions=3_000, seed=1)


def category_of(events: pl.DataFrame) -> np.ndarray:
    return GOODS.category[events["item_id"].str.slice(1).cast(pl.Int64).to_numpy()]


def test_a_seed_is_a_shop() -> None:
    again = visits(make_goods(600, categories=12, seed=1), make_shoppers(GOODS, 400, seed=1), sessions=3_000, seed=1)
    assert again.events.equals(MADE.events) and again.truth.equals(MADE.truth)
    assert not visits(GOODS, SHOPPERS, sessions=3_000, seed=2).events.equals(MADE.events)
    assert changes(GOODS, hours=5, per_hour=20, seed=1).equals(changes(GOODS, hours=5, per_hour=20, seed=1))


def test_everything_that_it_makes_is_believed() -> None:
    assert MADE.events.schema == EVENT_SCHEMA
    assert MADE.events["event_time_ms"].is_sorted()
    assert validate_events(arrived(MADE.events))["_reject"].null_count() == MADE.events.height
    for items in (item_records(GOODS), changes(GOODS, hours=10, per_hour=50, seed=1).drop("change")):
        assert items.schema == ITEM_SCHEMA
        rows = items.with_columns(_ingest_time_ms=pl.col("changed_ms").to_physical())
        assert validate_items(rows)["_reject"].null_count() == items.height


def test_the_truth_counts_what_there_is() -> None:
    views = MADE.events.filter(kind="view").group_by("session_id").len()
    both = MADE.truth.join(views, on="session_id")
    assert both.height == 3_000 and (both["views"] == both["len"]).all()
    assert both["is_bot"].sum() == 30 and (both.filter("is_bot")["shopper"] == -1).all()
    names = MADE.events.filter(kind="login").select("session_id", "user_id").join(MADE.truth, on="session_id")
    assert (names["user_id"] == "u" + names["shopper"].cast(pl.String).str.zfill(6)).all()


def test_shoppers_look_at_what_they_like_and_along_the_shelf() -> None:
    views = MADE.events.filter(kind="view").join(MADE.truth.filter(~pl.col("is_bot")), on="session_id")
    category, shopper = category_of(views), views["shopper"].to_numpy()
    taste = SHOPPERS.taste[shopper, category]
    assert taste.mean() > 4 * SHOPPERS.taste[np.random.default_rng(1).permutation(shopper), category].mean()
    number = views.with_columns(number=views["item_id"].str.slice(1).cast(pl.Int64))
    steps = number.select(pl.col("number").diff().over("session_id").drop_nulls().alias("step"))["step"]
    assert steps.is_between(1, 4).mean() > 0.3


def test_evenings_are_busy_and_items_go_out_of_fashion() -> None:
    starts = MADE.events.filter(kind="view").group_by("session_id").agg(pl.col("event_time_ms").min())
    hour = (starts["event_time_ms"].to_physical() - START_MS) // 3_600_000
    assert hour.is_between(16, 19).sum() > 8 * hour.is_between(4, 7).sum()
    month = visits(GOODS, SHOPPERS, sessions=6_000, seed=1, settings=VisitSettings(hours=30 * 24, along=0.0, bots=0.0))
    views = month.events.filter(kind="view")
    item = views["item_id"].str.slice(1).cast(pl.Int64).to_numpy()
    day = (views["event_time_ms"].to_physical().to_numpy() - START_MS) / DAY_MS
    on_another_day = np.random.default_rng(1).permutation(day)
    near, by_chance = (abs(at - GOODS.peak_day[item]) < 7 for at in (day, on_another_day))
    assert near.mean() > 1.25 * by_chance.mean()


def test_what_changes_is_said() -> None:
    made = changes(GOODS, hours=100, per_hour=10, seed=1)
    assert 850 < made.height < 1_150 and made["changed_ms"].is_sorted()
    assert set(made["change"]) == {"price", "sold out", "back", "withdrawn", "new"}
    assert made.filter(pl.col("withdrawn") != (pl.col("change") == "withdrawn")).is_empty()
    new = made.filter(change="new")["item_id"]
    assert new.n_unique() == len(new) and not set(new) & set(GOODS.ids.tolist())


def test_clicks_come_as_often_as_the_truth_says_and_from_no_empty_place() -> None:
    who, items = np.repeat(np.arange(400), 50), np.tile(np.arange(8), (20_000, 1))
    items[:, 5] = -1
    clicked, chance = respond(GOODS, SHOPPERS, who, items, seed=1), click_probability(GOODS, SHOPPERS, who, items)
    assert not clicked[:, 5].any()
    assert clicked.mean(axis=0) == pytest.approx(chance.mean(axis=0), abs=0.006)


def test_goods_need_items() -> None:
    with pytest.raises(ValueError, match="3 items are too few for 24 categories"):
        make_goods(3)


# --- the loop ------------------------------------------------------------------------------------------------------


def test_the_loop_from_answers_to_their_worth_closes_on_the_truth() -> None:
    catalogue = catalogue_of()
    apply(catalogue, item_values(item_records(GOODS)))
    best = [f"i{number:06d}" for number in np.argsort(-GOODS.appeal)[:12]]
    arms = (Arm("near", recommender="live"), Arm("same", recommender="same"))
    offer = Offer(places=4, candidates=12, diversity=0.0, explore=0.3, new_items=0, experiment=Experiment("t", arms))
    live = Covisits(MADE.events.filter(kind="view"))
    fold, stage = SessionFold(), RecommendStage({"live": live, "same": Fixed(*best)}, catalogue, offer)
    answers = stage(fold(arrived(MADE.events), fold.new_state()), stage.new_state())
    back = reactions(GOODS, SHOPPERS, answers, MADE.truth, seed=1)
    assert validate_events(arrived(back))["_reject"].null_count() == back.height

    shown = outcomes(answers, back)
    people = answers.join(MADE.truth.filter(~pl.col("is_bot")), on="session_id", maintain_order="left")
    assert shown["answer_id"].n_unique() == people.height
    assert shown["clicked"].sum() == back.filter(kind="view").height

    # What the ranking of one arm is worth when it never explores, from what was clicked while it did.
    same = people.filter((pl.col("arm") == "same") & (pl.col("items").list.len() == 4))
    rows = shown.join(same.select("answer_id"), on="answer_id", maintain_order="left")
    clicked = rows["clicked"].to_numpy().reshape(-1, 4)
    ranking = np.array([[name for name in best if name != at][:4] for at in same["item_id"].to_list()], dtype=object)
    offered = np.array(same["items"].to_list(), dtype=object)
    unbought = rows["propensity"].to_numpy().reshape(-1, 4)
    plain = ~np.isin(same["session_id"].to_numpy(), MADE.events.filter(kind="purchase")["session_id"].to_numpy())
    made = policy_value(clicked[plain], unbought[plain], (offered == ranking)[plain])
    number = np.array([[int(name[1:]) for name in row] for row in ranking.tolist()])
    truth = click_probability(GOODS, SHOPPERS, same["shopper"].to_numpy(), number).sum(axis=1)[plain].mean()
    assert made.low <= truth <= made.high and made.self_normalised_low <= truth <= made.self_normalised_high
    assert made.high - made.low < truth, "and that says something"

    near, same_arm = figures(shown)
    assert (near.arm, near.against_first, same_arm.arm) == ("near", None, "same")
    assert near.answers + same_arm.answers == people.height and min(near.sessions, same_arm.sessions) > 1_000
    assert same_arm.shown is not None and same_arm.ranking is not None and same_arm.against_first is not None
    assert same_arm.shown.value == pytest.approx(same_arm.clicks / same_arm.answers)
    assert same_arm.ranking.low <= truth <= same_arm.ranking.high
    assert same_arm.ranking.mean_weight == pytest.approx(1.0, abs=0.05)
