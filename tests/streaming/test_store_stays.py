"""Stays in zones, worked out on paper: steps of half a second, gaps of up to 1 s are slips, visits end after 3 s."""

from __future__ import annotations

import numpy as np

from streaming.store.carry import Carry, Crossed, Person, Stay, Walker
from streaming.store.stays import Rules, Stays, fold_stays

RULES = Rules(["till", "store"], np.array([1_000, 3_000]), np.array([0, 0]))
SLOW = Rules(["till", "store"], np.array([1_000, 3_000]), np.array([1_500, 0]))


def fold(*people: str, rules: Rules = RULES, start_ms: int = 0, before: Stays | None = None) -> Stays:
    """People by what they do at each step: t in the till, . elsewhere in the store, a blank unseen."""
    known = before.people_after if before else {}
    names = [f"p{number}" for number in range(len(people))]
    inside = np.array([[[step == "t", step != " "] for step in person] for person in people])
    return fold_stays(start_ms, names, inside, rules, known)


def test_a_stay_lasts_from_its_first_step_to_the_end_of_its_last() -> None:
    found = fold(".ttt......", "..........")
    assert found.dwell_ms == [[1_500], []]
    assert found.occupancy[:, 0].tolist() == [0, 1, 1, 1, 0, 0, 0, 0, 0, 0]
    assert found.occupancy[:, 1].tolist() == [2] * 10
    assert (found.people.tolist(), found.entered.tolist()) == ([1, 2], [1, 2])
    assert found.longest_ms.tolist() == [-1, 5_000]


def test_a_gap_no_longer_than_allowed_is_a_slip_and_counts_as_inside() -> None:
    found = fold("t..t......")
    assert found.dwell_ms[0] == [2_000]
    assert found.entered[0] == 1
    assert found.occupancy[:, 0].tolist() == [1, 1, 1, 1, 0, 0, 0, 0, 0, 0]
    longer = fold("t...t.....")
    assert (longer.dwell_ms[0], longer.entered[0]) == ([500, 500], 2)
    assert longer.occupancy[:, 0].tolist() == [1, 0, 0, 0, 1, 0, 0, 0, 0, 0]


def test_who_passes_through_a_queue_does_not_wait_in_it() -> None:
    found = fold("tt........", ".tttt.....", rules=SLOW)
    assert found.dwell_ms[0] == [2_000]
    assert found.people.tolist() == [1, 2]
    assert found.occupancy[:, 0].tolist() == [0, 0, 0, 1, 1, 0, 0, 0, 0, 0], "once it is clear that they wait"


def test_stays_and_visits_go_on_from_window_to_window() -> None:
    first = fold("....tttttt")
    assert first.longest_ms.tolist() == [3_000, 5_000]
    second = fold("tt..      ", start_ms=5_000, before=first)
    assert (second.dwell_ms[0], second.entered.tolist()) == ([4_000], [0, 0])
    assert second.visits == []
    third = fold("          ", start_ms=10_000, before=second)
    assert [(visit.dwell_ms, visit.path) for visit in third.visits] == [(7_000, ("till",))]
    assert third.people_after == {}


def test_who_comes_back_after_the_visit_is_over_begins_another() -> None:
    found = fold("t          .")
    assert [(visit.dwell_ms, visit.path) for visit in found.visits] == [(500, ("till",))]
    assert found.entered.tolist() == [1, 2]
    assert found.people_after["p0"] == Person({"store": Stay(5_500, 6_000, True)}, [])


def test_a_carry_is_the_same_after_json_and_forgets_what_the_plan_forgot() -> None:
    walker = Walker("p0", {"cam-1": 7}, 1_234, 1.5, 0.1, 0.3, -0.2, 0.01, 0.0, 0.5, -1, 1.0, 2.0)
    person = Person({"till": Stay(0, 500, True), "store": Stay(0, 900, True)}, ["till", "till"])
    carry = Carry({"p0": person}, {"door": [walker]}, {"cam-1": 999}, {"door": [Crossed(900, "p0", -1)]})
    assert Carry.from_json(carry.to_json()) == carry
    assert Carry.from_json("") == Carry()
    older = '[{},{"door":[["p0",1.5,0.1,0.3,-0.2,1234,-1,1.0,2.0]]},{"cam-1":999}]'
    assert Carry.from_json(older) == Carry({}, {"door": []}, {"cam-1": 999}), "walkers of an older layout begin anew"
    less = carry.known_to(["store"], [], ["cam-1"])
    assert less == Carry({"p0": Person({"store": Stay(0, 900, True)}, [])}, {}, {"cam-1": 999})


def test_one_identity_taken_into_another_joins_their_stays_and_paths() -> None:
    one = Person({"store": Stay(1_000, 4_000, True)}, ["shelf"])
    other = Person({"store": Stay(0, 2_000, True), "till": Stay(500, 1_500, False)}, ["till"])
    renamed = Carry({"a": one, "b": other}).renamed("a", "b")
    joined = Person({"store": Stay(0, 4_000, True), "till": Stay(500, 1_500, False)}, ["till", "shelf"])
    assert renamed.people == {"b": joined}
    assert Carry({"a": one}).renamed("a", "c").people == {"c": one}
    assert Carry({"a": one}).renamed("x", "c").people == {"a": one}
    crossed = Carry(crossed={"door": [Crossed(900, "a", 1), Crossed(950, "x", -1)]}).renamed("a", "c").crossed
    assert crossed == {"door": [Crossed(900, "c", 1), Crossed(950, "x", -1)]}
