"""What may be offered, how unlike its neighbours it is, and what chance shows: by hand, and as properties."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from streaming.sessions import rules
from streaming.sessions.catalogue import UNKNOWN, Index
from streaming.sessions.chance import split, uniform
from streaming.sessions.diversity import rerank
from streaming.sessions.exploration import Shown, explore
from streaming.sessions.rules import Candidates, Pairs, Rule
from streaming.sessions.settings import parse_offer
from streaming.store.plan import PlanProblem
from tests.shop_feed import catalogue_of, item


def candidates(
    catalogue: Index,
    *sessions: list[str],
    at: str = "",
    bought: list[list[str]] | None = None,
    basket: list[list[str]] | None = None,
) -> Any:
    items = np.array(sessions, dtype=object)
    lists = (pl.Series(ids or [[]] * len(sessions), dtype=pl.List(pl.String)) for ids in (bought, basket))
    sets = dict(zip(("bought", "basket"), (Pairs.of(each, catalogue) for each in lists), strict=True))
    return Candidates(
        code=catalogue.codes(items),
        score=np.ones(items.shape, np.float32),
        looked_at=catalogue.codes(np.array([at] * len(items), dtype=object)),
        **sets,
    )


def test_only_what_can_be_had_now_is_offered() -> None:
    shop = catalogue_of(item("here"), item("sold", in_stock=False), item("gone", withdrawn=True)).index
    asked = candidates(shop, ["here", "sold", "gone", "never"], ["gone", "never", "here", "sold"])
    assert rules.can_be_had(asked, shop).tolist() == [[True, False, False, False], [False, False, True, False]]


def test_what_is_bought_or_in_the_basket_or_looked_at_is_not_offered() -> None:
    shop = catalogue_of(item("a"), item("b"), item("c")).index
    known = {"bought": [["b", "never"], []], "basket": [[], ["a", "c"]]}
    asked = candidates(shop, ["a", "b", "c"], ["a", "b", "c"], at="c", **known)
    assert rules.is_not_in_basket(asked, shop).tolist() == [[True, True, True], [False, True, False]]
    assert rules.is_not_bought(asked, shop).tolist() == [[True, False, True], [True, True, True]]
    assert rules.is_not_looked_at(asked, shop).tolist() == [[True, True, False]] * 2


def test_an_item_that_nobody_knows_is_not_the_one_looked_at_nor_bought_for_being_unknown() -> None:
    shop = catalogue_of(item("a")).index
    asked = candidates(shop, ["a", "never"], at="other", bought=[["other"]])
    assert rules.is_not_bought(asked, shop).tolist() == [[True, True]]


@pytest.mark.parametrize(
    ("items", "categories", "allowed"),
    [
        ([], [], [True, True, True, True]),
        (["a", "x"], [], [False, True, True, True]),
        ([], ["Toys"], [False, False, True, True]),
        ([], ["Toys > Knives"], [True, False, True, True]),
        ([], ["To"], [True, True, True, True]),
    ],
)
def test_blocked_items_and_categories_with_all_below_are_not_offered(
    items: list[str], categories: list[str], allowed: list[bool]
) -> None:
    shop = catalogue_of(
        item("a", category="Toys"), item("b", category="Toys > Knives > Sharp"), item("c", category="Books"),
    ).index  # fmt: skip
    rule: Rule = rules.is_not_blocked(items, categories)
    assert rule(candidates(shop, ["a", "b", "c", "never"]), shop).tolist() == [allowed]


def test_a_score_that_is_none_is_not_offered() -> None:
    shop = catalogue_of(item("a")).index
    asked = Candidates(np.zeros((1, 3), np.int32), np.array([[1.0, np.nan, -np.inf]], np.float32),
                       np.array([UNKNOWN], np.int32), *[Pairs(np.empty(0, np.int64), 1)] * 2)  # fmt: skip
    assert rules.is_scored(asked, shop).tolist() == [[True, False, False]]


# --- diversity -----------------------------------------------------------------------------------------------------


def levels(*paths: tuple[int, ...]) -> Any:
    return np.array([[list(path) + [0] * (3 - len(path)) for path in paths]], np.int32)


def ranked(scores: list[float], paths: Any, d: float, places: int, allowed: list[bool] | None = None) -> list[int]:
    may = np.array([allowed or [True] * len(scores)])
    made = rerank(np.array([scores], np.float32), paths, may, np.array([d]), places)
    return list(made[0].tolist())


def test_mmr_by_hand() -> None:
    # Relevance 1, .9, .5, 0. With d = .4, after the first: .54 - .4 (same shelf), .3 - .2 (same top), 0 - 0.
    paths = levels((1, 1), (1, 1), (1, 2), (2, 3))
    scores = [10.0, 9.0, 5.0, 0.0]
    assert ranked(scores, paths, 0.0, 4) == [0, 1, 2, 3]
    assert ranked(scores, paths, 0.4, 4) == [0, 1, 2, 3]
    # With d = .6: .36 - .6, .2 - .3, 0 - 0; then .36 - .6 against .2 - .3.
    assert ranked(scores, paths, 0.6, 4) == [0, 3, 2, 1]
    assert ranked(scores, paths, 1.0, 2) == [0, 3]


def test_what_is_not_allowed_is_never_ranked_and_empty_places_come_last() -> None:
    paths = levels((1,), (1,), (2,))
    assert ranked([3.0, 2.0, 1.0], paths, 0.5, 3, [False, True, False]) == [1, -1, -1]
    assert ranked([3.0, 2.0, -np.inf], paths, 0.0, 2, [False, True, False]) == [1, -1]


@given(
    hnp.arrays(np.float32, (3, 8), elements=st.floats(-5, 5, width=32)),
    hnp.arrays(np.int32, (3, 8, 2), elements=st.integers(0, 3)),
    hnp.arrays(np.bool_, (3, 8)),
    st.floats(0, 1),
)
@settings(deadline=None)
def test_a_ranking_has_each_allowed_candidate_once_and_each_session_is_ranked_by_itself(
    score: Any, paths: Any, allowed: Any, d: float
) -> None:
    made = rerank(score, paths, allowed, np.full(3, d), 5)
    for session in range(3):
        shown = made[session][made[session] >= 0].tolist()
        assert len(shown) == len(set(shown)) == min(5, int(allowed[session].sum()))
        assert allowed[session][shown].all()
        alone = rerank(score[[session]], paths[[session]], allowed[[session]], np.array([d]), 5)
        assert alone[0].tolist() == made[session].tolist()
        if d == 0.0:
            best = sorted(score[session][allowed[session]].tolist(), reverse=True)[:5]
            # Relevance is a share of the spread, in which scores a millionth of it apart may be equals.
            assert score[session][shown].tolist() == pytest.approx(best, abs=1e-5)


# --- chance --------------------------------------------------------------------------------------------------------


def test_chance_is_uniform_repeats_and_hangs_on_every_number() -> None:
    offsets = np.arange(100_000)
    drawn = uniform(1, 3 + 0 * offsets, offsets)
    assert np.array_equal(drawn, uniform(1, 3 + 0 * offsets, offsets))
    counts = np.bincount((drawn * 20).astype(int), minlength=20)
    assert ((counts - 5_000) ** 2 / 5_000).sum() < 43.8, "chi-square with 19 degrees of freedom, p = .001"
    others = [uniform(2, 3 + 0 * offsets, offsets), uniform(1, 4 + 0 * offsets, offsets)]
    others.append(drawn[np.arange(1, 100_001) % 100_000])
    for other in others:
        assert abs(np.corrcoef(drawn, other)[0, 1]) < 0.015


def test_a_split_is_in_proportion_stays_and_is_independent_of_other_experiments() -> None:
    units = [f"u{n}" for n in range(40_000)]
    one, other = split(units, "one", [1, 3]), split(units, "other", [1, 3])
    assert abs(one.mean() - 0.75) < 0.01
    assert np.array_equal(one[::-1], split(units[::-1], "one", [1, 3]))
    assert abs(np.corrcoef(one, other)[0, 1]) < 0.02


def explored(rate: float, sessions: int, k: int = 6, places: int = 3, new: int = 2, **changed: Any) -> Shown:
    """Candidates 0..k-1 ranked as they come, new items 100, 101, …"""
    codes = np.broadcast_to(np.arange(k, dtype=np.int32), (sessions, k))
    fresh = np.arange(100, 100 + new, dtype=np.int32)
    allowed = changed.get("allowed", np.ones((sessions, k), bool))
    picked = np.where(np.arange(places) < k, np.arange(places), -1)
    return explore(
        codes, np.broadcast_to(picked, (sessions, places)), allowed, fresh, np.ones((sessions, new), bool),
        np.full(sessions, rate), np.arange(sessions).astype(np.uint64),
    )  # fmt: skip


def test_propensities_are_how_often_things_are_shown() -> None:
    made = explored(0.4, 40_000)
    assert np.isclose(made.explored.mean(), 0.4, atol=0.01)
    for place in range(3):
        shown = made.code[:, place]
        for code in (0, 1, 2, 3, 4, 5, 100, 101):
            chance = 0.4 / 8 + 0.6 * (code == place)
            assert np.isclose((shown == code).mean(), chance, atol=0.008), (place, code)
            assert np.allclose(made.propensity[shown == code, place], chance)


def test_nothing_is_shown_twice_and_only_answers_by_chance_differ_from_the_ranking() -> None:
    made = explored(0.5, 500)
    assert all(len(set(row)) == 3 for row in made.code.tolist())
    assert (made.code[~made.explored] == [0, 1, 2]).all() and (made.candidate[~made.explored] == [0, 1, 2]).all()
    assert ((made.code >= 100) == (made.candidate == -1)).all()
    still = explored(0.0, 5)
    assert not still.explored.any() and (still.propensity == 1.0).all()


def test_what_may_not_be_offered_is_not_tried_and_empty_places_stay_empty() -> None:
    allowed = np.ones((2_000, 6), bool)
    allowed[:, 4] = False
    made = explored(1.0, 2_000, allowed=allowed)
    assert not (made.code == 4).any()
    assert np.allclose(made.propensity, 1 / 7)
    short = explored(0.5, 50, k=2, places=4)
    assert (short.code[:, 2:] == UNKNOWN).all() and (short.propensity[:, 2:] == 0).all()
    assert (short.candidate[:, 2:] == -1).all()


def test_a_new_item_that_the_model_gave_is_no_second_entry_of_the_pool() -> None:
    codes = np.broadcast_to(np.array([0, 1, 100], np.int32), (4_000, 3))
    made = explore(codes, np.zeros((4_000, 1), np.int64), np.ones((4_000, 3), bool), np.array([100], np.int32),
                   np.ones((4_000, 1), bool), np.ones(4_000), np.arange(4_000).astype(np.uint64))  # fmt: skip
    assert np.allclose(made.propensity, 1 / 3)
    assert np.isclose((made.code == 100).mean(), 1 / 3, atol=0.03)


# --- settings ------------------------------------------------------------------------------------------------------


def test_an_offer_is_read_from_a_table() -> None:
    arms = [{"name": "knn"}, {"name": "new", "share": 3, "recommender": "sasrec", "explore": 0.1}]
    offer = parse_offer({"places": 5, "blocked_items": ["x"], "experiment": {"name": "t", "arm": arms}})
    assert (offer.places, offer.blocked_items, offer.arms[1].recommender) == (5, ("x",), "sasrec")
    assert parse_offer({}).arms[0].recommender == "live"


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"places": 0}, "places is 0"),
        ({"places": 30, "candidates": 20}, "candidates is 20, not from 30"),
        ({"explore": 0.6}, "explore is 0.6"),
        ({"diverse": 1}, "there is no 'diverse'"),
        ({"experiment": {"name": "t", "arm": [{"name": "a"}]}}, "needs two arms or more"),
        ({"experiment": {"name": "t", "arm": [{"name": "a"}, {"name": "b", "share": 0}]}}, "share is 0"),
    ],
)
def test_an_offer_that_cannot_be_used_says_why(table: dict[str, Any], said: str) -> None:
    with pytest.raises(PlanProblem, match=said):
        parse_offer(table)
