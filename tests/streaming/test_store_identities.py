"""Identities across a simulated store, against the truth. All seeds at full size: python -m tests.seen_walks"""

from __future__ import annotations

import pytest

from streaming.identities import Appearance, Rules
from streaming.tracking.metrics import identity_scores
from tests.seen_walks import OVERLAPPING, Walks, compared, identified, rank_1, store_walks


@pytest.fixture(scope="module")
def walks() -> Walks:
    return store_walks(seed=7, people=14, arriving_s=40.0)


def test_a_single_look_is_often_wrong(walks: Walks) -> None:
    assert rank_1(walks) < 0.95  # of 14 people; of 60 it is 0.8


def test_people_keep_their_names_across_the_store(walks: Walks) -> None:
    rules = Rules(overlapping=OVERLAPPING, appearance=Appearance(0.41, 63.0))  # as fitted to people of another seed
    as_told, corrected = identified(walks, rules)
    scores = identity_scores(compared(walks, corrected))
    assert scores.idf1 >= 0.85
    assert identity_scores(compared(walks, as_told)).idf1 < scores.idf1
