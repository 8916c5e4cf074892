"""What is offered: from views to answers, by hand, under load, and against the bytes of all topics."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streaming import topics
from streaming.codec import Encoder, load_schema
from streaming.pipeline import DependencyUnavailable
from streaming.pipelines.recommendations import recommendations
from streaming.sessions.catalogue import Catalogue
from streaming.sessions.covisits import Covisits
from streaming.sessions.folding import SessionFold
from streaming.sessions.model import Recommend, Sessions
from streaming.sessions.recommending import RecommendStage
from streaming.sessions.settings import Arm, Experiment, Offer
from streaming.simulators.shop import VisitSettings, changes, item_records, make_goods, make_shoppers, visits
from streaming.testing import every_row
from tests.shop_feed import Fixed, apply, arrived, catalogue_of, event, feed, item, item_values
from tests.shop_feed import item_records as records_of

PLAIN = Offer(places=3, candidates=6, diversity=0.0)


class Shop:
    """Both stages over a catalogue that stands still until it is told to change."""

    def __init__(
        self, recommenders: Recommend | dict[str, Recommend], catalogue: Catalogue, offer: Offer = PLAIN
    ) -> None:
        named = recommenders if isinstance(recommenders, dict) else {"live": recommenders}
        self.fold, self.stage, self.catalogue = SessionFold(), RecommendStage(named, catalogue, offer), catalogue
        self.sessions, self.state = self.fold.new_state(), self.stage.new_state()

    def see(self, rows: pl.DataFrame) -> pl.DataFrame:
        asked = self.fold(rows, self.sessions)
        return self.stage(asked, self.state)


def things(*names: str, **more: Any) -> Catalogue:
    return catalogue_of(*(item(name, **more) for name in names))


def test_an_answer_says_what_why_by_whom_and_from_which_record() -> None:
    shop = Shop(Fixed("a", "b", "c", "d", "e"), things(*"abcdex"))
    (said,) = shop.see(feed([event("s", 0, "cart", "x"), event("s", 1, item="a")])).to_dicts()
    assert (said["items"], said["scores"], said["propensities"]) == (["b", "c", "d"], [4.0, 3.0, 2.0], [1.0] * 3)
    assert (said["reason_of"], said["reason_items"], said["reason_kinds"]) == ([0, 1, 2], ["a"] * 3, ["view"] * 3)
    assert (said["model_name"], said["model_version"], said["weight_hash"]) == ("fixed", "1", "h")
    assert (said["item_id"], said["session_events"], said["flags"], said["catalogue_offset"]) == ("a", 2, "", 6)
    assert (said["source_partition"], said["source_offset"], said["arm"]) == (0, 1, "")


def test_answers_are_rows_of_the_schema() -> None:
    shop = Shop(Fixed("a", "b"), things("a", "b"))
    rows = shop.see(feed([event("s", 0, item="a"), event("s", 1, item="never")]))
    assert rows["flags"].to_list() == ["few", "few unknown-item"]
    now = pl.Series("emit_time_ms", [0] * 2).cast(pl.Datetime("ms", "UTC"))
    complete = rows.hstack([now, pl.Series("source_topic", ["t"] * 2)])
    schema = load_schema("session-recommendations")
    names = [field["name"] for field in schema["fields"]]
    assert len(Encoder(schema, 13).encode(complete.select(names))) == 2
    assert shop.stage.facts(shop.state).totals == {"unknown_items": 1, "few": 2, "explored": 0}


def test_rules_hold_in_the_answer() -> None:
    catalogue = catalogue_of(*(item(name) for name in "abcdefg"), item("b", in_stock=False), item("c", withdrawn=True))
    offer = Offer(places=3, candidates=10, diversity=0.0, blocked_items=("d",))
    shop = Shop(Fixed(*"abcdefg"), catalogue, offer)
    answers = shop.see(feed([event("s", 0, item="g"), event("s", 1, "purchase", "a"), event("s", 2, item="g")]))
    assert answers["items"].to_list() == [["a", "e", "f"], ["e", "f"]]


def test_what_lies_in_the_basket_is_not_offered_until_it_is_taken_out_or_the_session_is_over() -> None:
    shop = Shop(Fixed(*"abcd"), things(*"abcdg"))
    view = [event("s", second, item="g") for second in (1, 3, 5, 3_600)]
    rows = [
        event("s", 0, "cart", "a"),
        view[0],
        event("s", 2, "remove", "a"),
        view[1],
        event("s", 4, "cart", "b"),
        *view[2:],
    ]
    assert shop.see(feed(rows))["items"].to_list() == [
        ["b", "c", "d"],
        ["a", "b", "c"],
        ["a", "c", "d"],
        ["a", "b", "c"],
    ]


def test_an_answer_id_is_the_views_own_wherever_it_lies() -> None:
    rows = [event("s", 0, item="a"), event("s", 0, item="a"), event("t", 0, item="a"), event("s", 5_000, item="a")]
    ids = Shop(Fixed("b"), things("a", "b")).see(feed(rows))["answer_id"].to_list()
    assert len(set(ids)) == 4
    moved = feed([{**row, "_partition": 3} for row in [event("r", 0, item="a"), *rows]])
    assert Shop(Fixed("b"), things("a", "b")).see(moved)["answer_id"].to_list()[1:] == ids


def test_arms_go_to_their_recommenders_one_call_each_and_a_session_stays_in_its_arm() -> None:
    arms = (Arm("old", 1.0), Arm("new", 1.0, "other", explore=0.5))
    offer = Offer(places=2, candidates=4, diversity=0.0, experiment=Experiment("test", arms))
    one, other = Fixed(*"abcd", name="one"), Fixed(*"dcba", name="other")
    shop = Shop({"live": one, "other": other}, things(*"abcdx"), offer)
    rows = [event(f"s{n}", second, item="x") for second in (0, 10) for n in range(40)]
    answers = shop.see(feed(rows))
    assert set(zip(answers["arm"], answers["model_name"], strict=True)) == {("old", "one"), ("new", "other")}
    assert answers.group_by("session_id").agg(pl.col("arm").n_unique())["arm"].to_list() == [1] * 40
    assert answers["experiment"].unique().to_list() == ["test"]
    assert (len(one.asked), len(other.asked)) == (1, 1)
    assert answers.filter(arm="old")["items"].to_list() == [["a", "b"]] * answers.filter(arm="old").height
    assert 0.2 < (answers.filter(arm="new")["flags"] == "explored").mean() < 0.8


def test_a_recommender_that_is_not_there_or_breaks_its_promise_is_named() -> None:
    arms = (Arm("a"), Arm("b", recommender="gone"))
    with pytest.raises(ValueError, match="no recommender 'gone'; there are: live"):
        RecommendStage({"live": Fixed("a")}, things("a"), Offer(experiment=Experiment("t", arms)))

    def short(sessions: Sessions, top_k: int) -> Any:
        return Fixed("a")(sessions.take(np.array([0])), top_k)

    with pytest.raises(ValueError, match="recommender live was asked for 2 sessions"):
        Shop(short, things("a")).see(feed([event("s", 0, item="a"), event("t", 1, item="a")]))


def test_an_answer_never_knows_less_of_the_catalogue_than_one_before_it() -> None:
    shop = Shop(Fixed("a"), things("a", "b"))
    shop.see(feed([event("s", 0, item="b")]))

    class Behind:
        def as_of(self, position: int) -> Any:
            raise DependencyUnavailable(f"asked for {position}")

        def alerts(self) -> tuple[str, ...]:
            return ()

    behind = RecommendStage({"live": Fixed("a")}, Behind())
    before = every_row(shop.state)
    with pytest.raises(DependencyUnavailable, match="asked for 2"):
        behind(SessionFold().__call__(feed([event("s", 1, item="b")]), SessionFold().new_state()), shop.state)
    assert every_row(shop.state).equals(before)


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_what_is_withdrawn_or_sold_out_is_never_offered_whatever_changes_meanwhile(data: st.DataObject) -> None:
    names = "abcdefgh"
    catalogue, there = things(*names), set(names)
    shop = Shop(Fixed(*names), catalogue, Offer(places=4, candidates=8, explore=0.5, new_items=4))
    for step in range(data.draw(st.integers(1, 8))):
        name = data.draw(st.sampled_from(names))
        what = data.draw(st.sampled_from([{}, {"withdrawn": True}, {"in_stock": False}, {"price": -1.0}]))
        apply(catalogue, records_of([item(name, **what)]))
        there = there - {name} if what else there | {name}
        views = [event(f"s{n}", step, item=data.draw(st.sampled_from(names))) for n in range(5)]
        for said in shop.see(feed(views)).to_dicts():
            assert set(said["items"]) <= there - {said["item_id"]}
            assert len(set(said["items"])) == len(said["items"])


def test_under_a_shops_load_nothing_is_offered_that_the_catalogue_took_out_before() -> None:
    goods = make_goods(300, categories=8, seed=2)
    made = visits(goods, make_shoppers(goods, 100, seed=2), sessions=300, seed=2,
                  settings=VisitSettings(hours=1.0, bots=0.02))  # fmt: skip
    catalogue = catalogue_of()
    apply(catalogue, item_values(item_records(goods)))
    shop = Shop(Covisits(made.events.filter(kind="view")), catalogue, Offer(places=10, candidates=40, explore=0.1))
    later = changes(goods, hours=1.0, per_hour=1_500, seed=2)
    there, offered = set(goods.ids.tolist()), 0
    for number, rows in enumerate(arrived(made.events).iter_slices(100)):
        part = later[number * 20 : number * 20 + 20]
        if part.height:
            apply(catalogue, item_values(part))
            for name, stays in part.select("item_id", pl.col("in_stock") & ~pl.col("withdrawn")).iter_rows():
                (there.add if stays else there.discard)(name)
        answers = shop.see(rows)
        offered += len(answers.explode("items").drop_nulls("items"))
        assert set(answers["items"].explode(empty_as_null=False).to_list()) <= there
    assert len(there) < 300 + later.filter(change="new").height - 50 and offered > 5_000


def test_reasons_name_events_of_the_session_as_it_was() -> None:
    goods = make_goods(300, categories=8, seed=2)
    made = visits(goods, make_shoppers(goods, 100, seed=2), sessions=200, seed=2,
                  settings=VisitSettings(hours=1.0, bots=0.0))  # fmt: skip
    catalogue = catalogue_of()
    apply(catalogue, item_values(item_records(goods)))
    shop = Shop(Covisits(made.events.filter(kind="view")), catalogue, Offer(places=5, candidates=30, explore=0.2))
    seen: dict[str, set[tuple[str, str]]] = {}
    answers = {said["source_offset"]: said for said in shop.see(arrived(made.events)).to_dicts()}
    kinds = set()
    for offset, row in enumerate(made.events.to_dicts()):
        seen.setdefault(row["session_id"], set()).add((row["item_id"], row["kind"]))
        if row["kind"] != "view":
            continue
        said = answers[offset]
        assert sorted(set(said["reason_of"])) == list(range(len(said["items"]))), "every item has one"
        for name, kind, share in zip(said["reason_items"], said["reason_kinds"], said["reason_shares"], strict=True):
            kinds.add(kind)
            assert kind in ("popular", "new") or ((name, kind) in seen[row["session_id"]] and 0 < share <= 1.0001)
    assert kinds >= {"view", "cart", "popular", "new"}


def test_the_pipeline_is_as_its_topics_say() -> None:
    made = recommendations({"live": Fixed("a")}, things("a"))
    assert (made.source, made.sink) == (topics.USER_SESSIONS, topics.SESSION_RECOMMENDATIONS)
    assert made.shared == ()
    assert str(made).startswith("recommendations: user.sessions → validate_events → sessions* → recommend*")
