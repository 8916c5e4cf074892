"""Ways, links and the ledger, each by itself, on values computed by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streaming.identities import Appearance, Rules, floor, reviews
from streaming.identities.arrivals import MISTAKEN, Arrivals, Unit, Ways
from streaming.identities.floor import VIEW_M2, begun_near, beside_ratio, moved_ratio
from streaming.identities.ledger import Event, Ledger, Unknown
from streaming.identities.linking import NOBODY, link, posterior
from streaming.identities.memory import CAMERA, EVENT, TRACK, Memory, layout, track_key
from streaming.identities.past import Notes, Past
from streaming.identities.transit import TransitPrior, Transits, learned
from streaming.identities.unions import conflicts, mistaken
from streaming.privacy.seal import Plain
from streaming.state import StateTable

NO_COUNTS = np.zeros((2, 2))
ONE = np.array([1])


def test_an_unknown_way_is_possible_and_a_known_one_is_expected_at_its_time() -> None:
    count, mean, m2 = 0.0, 0.0, 0.0
    for gap_s in (28.0, 30.0, 32.0) * 10:
        count, mean, m2 = learned(count, mean, m2, gap_s)
    logs = np.log((28.0, 30.0, 32.0) * 10)
    assert (count, mean, m2) == (30, pytest.approx(logs.mean()), pytest.approx(((logs - logs.mean()) ** 2).sum()))
    counts, means, squares = (np.zeros((3, 3)) for _ in range(3))
    counts[0, 1], means[0, 1], squares[0, 1] = count, mean, m2
    transits = Transits(counts, means, squares)
    early, on_time, late = (float(transits.rate(np.array([0]), np.array([1]), np.array([s]))[0]) for s in (5, 30, 900))
    assert on_time > 10 * early
    assert on_time > late > 0
    elsewhere = float(transits.rate(np.array([0]), np.array([2]), np.array([30.0]))[0])
    assert 0 < elsewhere < on_time / 10


def test_who_never_left_is_expected_somewhere_for_sure() -> None:
    # The rate is a hazard: over all cameras and all time it adds up to the share that comes back, ln of what is left.
    transits = Transits(NO_COUNTS, NO_COUNTS, NO_COUNTS, TransitPrior(left_share=1e-12, longest_s=600.0))
    gap_s = np.geomspace(0.3, 599.0, 20_000)
    rate = transits.rate(np.array([0]), np.array([0]), gap_s) + transits.rate(np.array([0]), np.array([1]), gap_s)
    came = 1 - math.exp(-float(np.trapezoid(rate, gap_s)))
    assert came == pytest.approx(1.0, abs=0.01)


def test_the_posterior_is_bayes_rule() -> None:
    # rates 0.2 and 0.1 against 0.1 for newcomers, ratios 1 and 4: 2 : 4 : 1
    share = posterior(np.array([[0.2, 0.1, 0.0]]), np.log([[1.0, 4.0, 9.0]]), np.array([0.1]))
    np.testing.assert_allclose(share, [[2 / 7, 4 / 7, 0.0]])
    assert posterior(np.zeros((2, 0)), np.zeros((2, 0)), np.ones(2)).shape == (2, 0)


def test_a_person_is_linked_once_a_step() -> None:
    links = link(np.array([[0.90, 0.06], [0.80, 0.15]]), least=0.05)
    assert links.person.tolist() == [0, 1]  # not both the first
    assert links.score.tolist() == [pytest.approx(0.9), pytest.approx(0.15)]
    alone = link(np.array([[0.90, 0.06], [0.80, 0.15]]), least=0.5)
    assert alone.person.tolist() == [0, NOBODY]
    assert alone.score[1] == pytest.approx(0.05)


@given(st.lists(st.lists(st.floats(1e-6, 1.0), min_size=3, max_size=3), min_size=1, max_size=4))
@settings(max_examples=30, deadline=None)
def test_scores_are_probabilities_and_nobody_is_linked_twice(rates: list[list[float]]) -> None:
    share = posterior(np.array(rates), np.zeros((len(rates), 3)), np.full(len(rates), 0.02))
    links = link(share, least=0.3)
    taken = links.person[links.person != NOBODY]
    assert len(set(taken.tolist())) == len(taken)
    assert ((links.score >= 0) & (links.score <= 1)).all()


def test_the_nearer_at_the_same_moments_the_more_it_says() -> None:
    spread2 = 2 * floor.PLACE_M**2
    at = beside_ratio(np.array([0.0, 0.09, 25.0]), np.ones(3))
    np.testing.assert_allclose(at[:2], VIEW_M2 / (2 * math.pi * spread2) * np.exp([0.0, -0.09 / (2 * spread2)]))
    assert at[0] > at[1] > 1 > at[2] > 0
    once, thrice = beside_ratio(np.array([0.5, 0.5]), np.array([1.0, 3.0]))
    assert thrice < once  # a neighbour gives himself away
    assert beside_ratio(np.array([0.5]), np.array([90.0]))[0] == thrice  # but not without end: errors persist


def test_the_longer_ago_the_less_a_place_says() -> None:
    near, far = moved_ratio(np.array([0.3, 0.3, 0.3]), np.array([0.0, 2.0, 600.0])), moved_ratio(np.array([5.0]), 0.0)
    assert near[0] > near[1] > near[2] > 0
    assert far[0] < 1e-6
    spread2 = 2 * floor.PLACE_M**2 + floor.FARTHEST_M**2
    assert near[2] == pytest.approx(VIEW_M2 / (2 * math.pi * spread2) * math.exp(-0.09 / (2 * spread2)))


def test_people_begin_where_people_began() -> None:
    door = np.array([[1.0, 1.0], [1.2, 0.8], [np.nan, np.nan]])
    at_the_door, inside = begun_near(door, np.array([1.0, 1.0])), begun_near(door, np.array([9.0, 9.0]))
    assert at_the_door > 2 * VIEW_M2 / (2 * math.pi * floor.BEGINS_M**2) * 0.98
    assert inside < 1e-6


class Book:
    """A ledger with tracks of one camera after another, an hour apart, linked as told."""

    def __init__(self, *persons: int) -> None:
        self.memory = Memory(StateTable("identities", layout(Plain().width(2))))
        self.ledger = Ledger(self.memory)
        state = self.memory.state
        self.memory.camera("door", 0)
        for track_id, person in enumerate(persons, start=1):
            slot = self.memory.slot(track_key(0, track_id), TRACK)
            state["track_id"][slot], state["look"][slot] = track_id, 7
            state["first_ms"][slot], state["last_ms"][slot] = 10_000 * track_id, 10_000 * track_id + 5_000
            while int(state["last_person"].sum()) < person:
                self.memory.next("last_person")
            self.ledger.link(slot, person, 0.9)

    def slot(self, track_id: int) -> int:
        return int(self.memory.state.slots([track_key(0, track_id)])[0])

    def whose(self) -> list[int]:
        slots = self.memory.decided()
        return [int(person) for person in self.memory.state["person"][slots]]


def test_a_merge_renames_and_its_undoing_names_back() -> None:
    book = Book(1, 2, 2, 3)
    event, corrections = book.ledger.merge(1, 2, at_ms=0)
    assert book.whose() == [1, 1, 1, 3]
    assert [one[:5] for one in corrections] == [("door", 2, 20_000, 2, 1), ("door", 3, 30_000, 2, 1)]
    back = book.ledger.undo(event)
    assert book.whose() == [1, 2, 2, 3]
    assert [(one.old, one.new) for one in back] == [(1, 2), (1, 2)]
    with pytest.raises(ValueError, match="undone already"):
        book.ledger.undo(event)


def test_a_split_gives_a_name_that_nobody_had() -> None:
    book = Book(1, 1, 2)
    event, corrections = book.ledger.split(1, [("door", 2)], at_ms=0)
    assert book.whose() == [1, 3, 2]
    assert [(one.track_id, one.old, one.new) for one in corrections] == [(2, 1, 3)]
    book.ledger.undo(event)
    assert book.whose() == [1, 1, 2]


def test_events_are_undone_in_any_order() -> None:
    book = Book(1, 2, 3)
    first, _ = book.ledger.merge(2, 3, at_ms=0)
    second, _ = book.ledger.merge(1, 2, at_ms=0)
    assert book.whose() == [1, 1, 1]
    book.ledger.undo(first)
    assert book.whose() == [1, 1, 3]
    book.ledger.undo(second)
    assert book.whose() == [1, 2, 3]


@given(st.lists(st.tuples(st.sampled_from(["merge", "split"]), st.integers(1, 9), st.integers(1, 9)), max_size=6))
@settings(max_examples=30, deadline=None)
def test_undoing_everything_leads_back(steps: list[tuple[str, int, int]]) -> None:
    book = Book(1, 2, 3, 3, 4)
    before, events = book.whose(), []
    for kind, one, other in steps:
        try:
            if kind == "merge":
                events.append(book.ledger.merge(one, other, at_ms=0)[0])
            else:
                events.append(book.ledger.split(one, [("door", other)], at_ms=0)[0])
        except (ValueError, LookupError):
            continue
    for event in events:
        book.ledger.undo(event)
    assert book.whose() == before


def test_a_union_is_listed_with_its_probability_and_undone_like_a_merge() -> None:
    book = Book(1, 2, 2, 3)
    event, corrections = book.ledger.unite(1, 2, at_ms=7, score=0.75)
    assert [one[:5] for one in corrections] == [("door", 2, 20_000, 2, 1), ("door", 3, 30_000, 2, 1)]
    assert [one.score for one in corrections] == [0.75, 0.75]
    assert book.ledger.scores(book.memory.decided()).tolist() == pytest.approx([0.9, 0.75, 0.75, 0.9])
    by_hand, _ = book.ledger.merge(3, 1, at_ms=8)
    assert book.ledger.scores(book.memory.decided()).tolist() == pytest.approx([0.9] * 4)
    split, _ = book.ledger.split(3, [("door", 1)], at_ms=9)
    book.ledger.undo(by_hand)
    assert book.ledger.events() == [
        Event(event, 7, 1, 2, (), 0.75, False),
        Event(by_hand, 8, 3, 1, (), 0.0, True),
        Event(split, 9, 3, 4, ("track/0/1",), 0.0, False),
    ]
    assert book.whose() == [1, 1, 1, 3]
    back = book.ledger.undo(event)
    assert [(one.track_id, one.old, one.new) for one in back] == [(2, 1, 2), (3, 1, 2)]
    assert [one.score for one in back] == pytest.approx([0.9, 0.9])


def test_what_is_linked_anew_is_of_its_link_and_of_no_event() -> None:
    book = Book(2, 2, 1)
    event, _ = book.ledger.unite(1, 2, at_ms=0, score=0.75)
    assert book.ledger.latest(book.memory.decided()) == book.slot(2)  # it was moved, after all were linked
    book.ledger.relink(book.slot(1), 1, 0.6)
    assert book.ledger.latest(book.memory.decided()) == book.slot(1)
    assert book.ledger.scores(book.memory.decided()).tolist() == pytest.approx([0.6, 0.75, 0.9])
    assert [one.track_id for one in book.ledger.undo(event)] == [2]
    assert book.whose() == [1, 2, 1]


def test_who_was_told_apart_is_so_by_the_names_of_now() -> None:
    book = Book(1, 2, 3, 4)
    union, _ = book.ledger.unite(1, 2, at_ms=0, score=0.9)
    book.ledger.unite(3, 4, at_ms=0, score=0.9)
    assert [book.ledger.told_apart(person) for person in (1, 2, 3)] == [set(), set(), set()]
    book.ledger.undo(union)
    assert [book.ledger.told_apart(person) for person in (1, 2, 3)] == [{2}, {1}, set()]
    book.ledger.unite(3, 2, at_ms=0, score=0.9)
    assert [book.ledger.told_apart(person) for person in (1, 2, 3)] == [{3}, set(), {1}]
    split, _ = book.ledger.split(3, [("door", 4)], at_ms=0)
    assert [book.ledger.told_apart(person) for person in (1, 3, 5)] == [{3}, {1, 5}, {3}]
    book.ledger.undo(split)
    assert [book.ledger.told_apart(person) for person in (1, 3, 5)] == [{3}, {1}, set()]
    book.ledger.merge(1, 3, at_ms=0)  # somebody thought better of it
    assert book.ledger.told_apart(1) == set()


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["unite", "split", "undo", "link", "reopen", "forget", "erase"]),
            st.integers(1, 6),
            st.integers(1, 6),
        ),
        max_size=12,
    )
)
@settings(max_examples=60, deadline=None)
def test_one_event_after_another_is_what_all_together_say(steps: list[tuple[str, int, int]]) -> None:
    book = Book(1, 2, 3, 3, 4, 4, 99, 99)
    for kind, one, other in steps:
        try:
            if kind == "unite":
                book.ledger.unite(one, other, at_ms=0, score=other / 10) if one != other else None
            elif kind == "split":
                book.ledger.split(one, [("door", other)], at_ms=0)
            elif kind == "undo":
                book.ledger.undo(book.ledger.events()[one - 1].number)
            elif kind == "forget":
                book.ledger.forget_tracks([track_key(0, one)])
            elif kind == "erase":
                book.ledger.erase(one, still_on_ms=10**9)
            elif track_key(0, one) in book.memory.state:
                book.ledger.reopen(book.slot(one)) if kind == "reopen" else book.ledger.link(book.slot(one), other, 0.5)
        except (ValueError, LookupError, IndexError):
            continue
    slots = book.memory.decided()
    before, scores = book.whose(), book.ledger.scores(slots).tolist()
    event, _ = book.ledger.split(99, [("door", 8)], at_ms=0)
    (back,) = book.ledger.undo(event)  # derives everything anew
    assert back.track_id == 8
    assert (book.whose(), book.ledger.scores(slots).tolist()) == (before, scores)


def test_what_cannot_be_is_refused() -> None:
    book = Book(1, 2)
    with pytest.raises(ValueError, match="itself"):
        book.ledger.merge(1, 1, at_ms=0)
    with pytest.raises(Unknown, match="no person P9"):
        book.ledger.merge(1, 9, at_ms=0)
    with pytest.raises(Unknown, match="P1 has no"):
        book.ledger.split(1, [("door", 2)], at_ms=0)
    with pytest.raises(ValueError, match="some of its 1"):
        book.ledger.split(1, [("door", 1)], at_ms=0)
    with pytest.raises(Unknown, match="no event E77"):
        book.ledger.undo(77)
    beside = Book(1, 2)
    beside.memory.state["last_ms"][:] = 90_000
    with pytest.raises(ValueError, match="beside one another"):
        beside.ledger.merge(1, 2, at_ms=0)


def test_an_erased_person_is_gone_from_every_row() -> None:
    book = Book(1, 2, 3)
    book.ledger.merge(1, 2, at_ms=0)
    book.ledger.split(1, [("door", 2)], at_ms=0)
    corrections = book.ledger.erase(1, still_on_ms=10**9)
    assert [(one.track_id, one.old, one.new) for one in corrections] == [(1, 1, 0)]
    corrections = book.ledger.erase(4, still_on_ms=10**9)
    state = book.memory.state
    assert book.whose() == [3]
    assert len(book.memory.of_kind(EVENT)) == 0
    assert (state["look"] != 0).any(axis=1).sum() == 1  # not in free storage either
    assert sorted(state.keys()) == ["camera/door", "store", "track/0/3"]
    assert len(book.memory.of_kind(CAMERA)) == 1


def test_who_was_split_off_from_an_erased_person_stays_and_names_nobody() -> None:
    book = Book(1, 2, 3, 3)
    book.ledger.unite(1, 2, at_ms=0, score=0.75)
    book.ledger.split(1, [("door", 2)], at_ms=0)  # 4
    book.ledger.merge(1, 3, at_ms=0)
    moved, _ = book.ledger.unite(9, 4, at_ms=0, score=0.6)
    assert book.whose() == [1, 9, 1, 1]
    assert book.ledger.names_of(1) == {1, 3} and book.ledger.names_of(9) == {9, 2, 4}
    book.ledger.erase(1, still_on_ms=10**9)
    assert book.whose() == [9]
    assert [event.number for event in book.ledger.events()] == [moved]
    assert book.ledger.scores(book.memory.decided()).tolist() == pytest.approx([0.6])
    (back,) = book.ledger.undo(moved)
    assert (back.old, back.new) == (9, 4)
    assert [book.memory.persons_called(name) for name in (1, 2, 3)] == [[], [], []]


def test_who_was_split_off_is_not_called_by_the_old_name() -> None:
    book = Book(1, 1, 2)
    split, _ = book.ledger.split(1, [("door", 2)], at_ms=0)
    book.ledger.merge(2, 1, at_ms=0)
    assert book.whose() == [2, 3, 2]
    assert book.memory.persons_called(1) == [2]
    book.ledger.undo(split)
    assert book.whose() == [2, 2, 2]


def test_a_merge_lives_as_long_as_tracks_that_it_moved_however_often() -> None:
    book = Book(2, 1, 3)
    book.ledger.merge(1, 2, at_ms=0)
    book.ledger.merge(3, 1, at_ms=0)
    book.ledger.forget_tracks(["track/0/2"])  # the only one that was linked to 1 itself
    assert len(book.memory.of_kind(EVENT)) == 2
    event, _ = book.ledger.split(3, [("door", 3)], at_ms=0)
    book.ledger.undo(event)
    assert book.whose() == [3, 3]
    book.ledger.forget_tracks(["track/0/1"])
    assert book.memory.state["number"][book.memory.of_kind(EVENT)].tolist() == [event]  # the split is about track 3


def test_what_tells_two_apart_goes_with_the_tracks_of_one() -> None:
    book = Book(1, 2, 2)
    event, _ = book.ledger.unite(1, 2, at_ms=0, score=0.9)
    book.ledger.undo(event)
    book.ledger.forget_tracks(["track/0/2"])
    assert book.ledger.told_apart(1) == {2}
    book.ledger.forget_tracks(["track/0/3"])
    assert book.ledger.events() == []
    assert book.ledger.told_apart(1) == set()


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (lambda: Rules(decide_s=0.0), "decide_s"),
        (lambda: Rules(least_score=0.0), "least_score"),
        (lambda: Rules(memory_s=10.0, retention_s=5.0), "longer than"),
        (lambda: Rules(overlapping=[frozenset({"door"})]), "pairs"),
        (lambda: Appearance(same_cosine=1.0), "same_cosine"),
        (lambda: Appearance(directions=0.0), "directions"),
    ],
)
def test_figures_out_of_range_are_refused(made: object, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        made()  # type: ignore[operator]


def test_ways_are_compared_at_the_same_moments() -> None:
    at_ms = np.array([[0, 1_000, 4_000, -(10**15)], [-(10**15)] * 4])
    places = np.full((2, 4, 2), np.nan)
    places[0, :3] = [[0.0, 0.0], [1.0, 0.0], [4.0, 0.0]]
    notes = Notes(at_ms, places)
    other_ms, other = np.array([500, 1_200, 2_500, 4_900]), np.array([[0.5, 0.3], [1.2, 0.4], [2.5, 0], [4.0, 0]])
    apart = notes.apart(np.array([0, 1]), other_ms, other)
    # On the way between two notes; beside one; too long between two; after the last.
    np.testing.assert_allclose(apart, [[0.3, 0.4, np.nan, np.nan], [np.nan] * 4])


def test_every_age_is_asked_once_and_after_a_pause_no_more() -> None:
    book, first_ms = Book(1), 10_000
    asked = [
        end
        for since in range(first_ms, first_ms + 20_000, 500)
        for end in reviews.steps(since, since + 500, 500)
        if list(reviews.due(book.memory, end, 500))
    ]
    assert asked == [first_ms + age for age in reviews.PERSON_AGES_MS]
    assert len(reviews.steps(first_ms, first_ms + 10**9, 500)) <= 40


def test_a_track_may_be_anothers_after_all() -> None:
    book = Book(1, 2)
    (slot,) = book.memory.tracks_of(2).tolist()
    made = book.ledger.relink(slot, 1, 0.8)
    assert (made.old, made.new, made.score) == (2, 1, pytest.approx(0.8))
    assert book.whose() == [1, 1]


class Floor:
    """Tracks of two cameras that see the same floor, and of one that does not, each a second a place from its start."""

    CAMERAS = ("door", "shelf", "till")

    def __init__(self) -> None:
        self.memory = Memory(StateTable("identities", layout(Plain().width(2))))
        self.numbers = {name: self.memory.camera(name, 0) for name in self.CAMERAS}
        self.tracks = 0

    def walk(self, camera: str, person: int, from_s: float, *x_m: float) -> np.ndarray:
        """The slot of a track of somebody, 0 for nobody yet."""
        self.tracks += 1
        slot, state = self.memory.slot(track_key(self.numbers[camera], self.tracks), TRACK), self.memory.state
        at_ms = np.round(1000 * (from_s + np.arange(len(x_m)))).astype(np.int64)
        state["camera"][slot], state["track_id"][slot] = self.numbers[camera], self.tracks
        state["first_ms"][slot], state["last_ms"][slot] = at_ms[0], at_ms[-1]
        state["place_ms"][slot, : len(x_m)] = at_ms
        state["place_m"][slot, : len(x_m)] = np.column_stack([x_m, np.zeros(len(x_m))])
        if person:
            Ledger(self.memory).link(slot, person, 0.9)
        return np.array([slot])

    def rates(self, asked: np.ndarray, strictly: bool = False) -> dict[int, float]:
        past = Past(self.memory, 0, 10**6, asked)
        ways = Ways.of(self.memory, [frozenset({"door", "shelf"})], TransitPrior(), 0.005, 60.0)
        known = past.known()
        found = Arrivals(ways, past, known).rates(Unit(past.rows(asked), past), strictly)
        return dict(zip(known.persons.tolist(), found.tolist(), strict=True))


def walked(*, mistaken: bool, right: bool = True) -> tuple[Floor, np.ndarray]:
    """Somebody goes along the shelf; the door's camera saw the same, or so it was taken, far away."""
    floor_plan = Floor()
    if right:
        floor_plan.walk("door", 1, 0, 1.0, 2.0, 3.0)
    if mistaken:
        floor_plan.walk("door", 1, 3, 20.0, 20.0, 20.0)
    return floor_plan, floor_plan.walk("shelf", 0, 2.5, 2.5, 3.5, 4.5)


def test_a_track_taken_for_somebody_by_mistake_does_not_keep_the_right_one_away() -> None:
    (right,), (both,) = (plan.rates(asked).values() for plan, asked in (walked(mistaken=False), walked(mistaken=True)))
    assert both == pytest.approx(MISTAKEN * right)
    plan, asked = walked(mistaken=True)
    (strictly,) = plan.rates(asked, strictly=True).values()
    assert strictly < 1e-3 * both


def test_who_is_known_by_what_contradicts_alone_is_somebody_else() -> None:
    plan, asked = walked(mistaken=True, right=False)
    (alone,) = plan.rates(asked).values()
    assert alone < 1e-5
    beside = Floor()
    beside.walk("shelf", 1, 2.5, 2.5, 3.5, 4.5)
    assert beside.rates(beside.walk("shelf", 0, 2.5, 2.5, 3.5, 4.5)) == {1: 0.0}


def test_tracks_against_are_those_at_once_in_one_camera_far_away_or_where_nobody_sees_both() -> None:
    plan = Floor()
    plan.walk("shelf", 1, 3, 3.0)  # the same camera
    plan.walk("door", 1, 2.5, 2.6, 3.5, 4.4)  # there
    plan.walk("door", 1, 2.5, 9.0, 9.0, 9.0)  # elsewhere
    plan.walk("till", 1, 2.5, np.nan, np.nan, np.nan)  # a camera that sees other floor
    plan.walk("door", 1, 2.5, np.nan, np.nan, np.nan)  # one that sees the same, nobody knows where
    plan.walk("till", 1, 9, 9.0)  # later
    asked = plan.walk("shelf", 0, 2.5, 2.5, 3.5, 4.5)
    past = Past(plan.memory, 0, 10**6, asked)
    ways = Ways.of(plan.memory, [frozenset({"door", "shelf"})], TransitPrior(), 0.005, 60.0)
    found = Arrivals(ways, past, past.known()).against(Unit(past.rows(asked), past))
    against = plan.memory.state["track_id"][past.slots[found]]
    assert sorted(against.tolist()) == [1, 3, 4, 7]  # and itself


def told_apart(plan: Floor, one: list[np.ndarray], other: list[np.ndarray]) -> tuple[np.ndarray, list[int]]:
    """What contradicts what, and which tracks are mistaken, by their order: first those of one, then of the other."""
    past = Past(plan.memory, 0, 10**6, np.array([], np.int64))
    sides = [np.concatenate([past.rows(track) for track in tracks]) for tracks in (one, other)]
    ways = Ways.of(plan.memory, [frozenset({"door", "shelf"})], TransitPrior(), 0.005, 60.0)
    found = conflicts(ways.overlap, past, *sides)
    order = np.concatenate(sides).tolist()
    return found, sorted(order.index(row) for row in mistaken(past, *sides, found).tolist())


def test_what_cannot_be_of_one_person() -> None:
    plan = Floor()
    one = [plan.walk("door", 1, 10, 1.0, 2.0, 3.0)]
    other = [
        plan.walk("door", 2, 11, 2.0, 3.0),  # at once in the same camera, be it at the same place
        plan.walk("shelf", 2, 10, 1.1, 2.1, 3.1),  # at once in another, there
        plan.walk("shelf", 2, 10, 8.0, 8.0, 8.0),  # elsewhere
        plan.walk("till", 2, 10, np.nan, np.nan, np.nan),  # where no floor is seen of both
        plan.walk("shelf", 2, 10, np.nan, np.nan, np.nan),  # where some is
        plan.walk("till", 2, 14, 5.0, 6.0),  # a way that somebody can go, afterwards and before
        plan.walk("till", 2, 14, 10.0, 10.0),  # one that nobody can
        plan.walk("till", 2, 6, -9.0, -9.0),
        plan.walk("till", 2, 7, -1.0, 0.0),
    ]
    found, _ = told_apart(plan, one, other)
    assert found[0].tolist() == [True, False, True, True, False, False, True, True, False]


def test_few_mistakes_keep_nobody_apart() -> None:
    # One track of the other, taken for theirs by mistake, is where two of the first are not.
    plan = Floor()
    one = [plan.walk("door", 1, 10 + 3 * n, 1.0, 2.0, 3.0) for n in range(2)]
    till, shelf = plan.walk("till", 2, 9, *[np.nan] * 8), plan.walk("shelf", 2, 10, 1.0, 2.0)
    found, wrong = told_apart(plan, one, [till, shelf])
    assert found.sum() == 2
    assert wrong == [2]
    assert told_apart(plan, [till, shelf], one)[1] == [0]
    assert told_apart(plan, one, [shelf])[1] == []


def test_of_two_that_contradict_one_another_the_shorter_is_mistaken() -> None:
    plan = Floor()
    long, short = plan.walk("door", 1, 10, 1.0, 1.0, 1.0, 1.0), plan.walk("door", 2, 11, 1.0, 1.0)
    assert told_apart(plan, [long], [short])[1] == [1]
    assert told_apart(plan, [short], [long])[1] == [0]


@given(st.lists(st.lists(st.booleans(), min_size=4, max_size=4), min_size=1, max_size=5))
@settings(max_examples=50, deadline=None)
def test_without_the_mistaken_nothing_contradicts_anything(against: list[list[bool]]) -> None:
    plan = Floor()
    slots = np.concatenate([plan.walk("door", 1, n, 0.0) for n in range(len(against) + 4)])
    past = Past(plan.memory, 0, 10**6, np.array([], np.int64))
    rows = past.rows(slots)
    one, other, table = rows[: len(against)], rows[len(against) :], np.array(against)
    wrong = mistaken(past, one, other, table)
    assert not table[np.ix_(~np.isin(one, wrong), ~np.isin(other, wrong))].any()
    assert len(wrong) <= min(table.any(axis=1).sum() + table.any(axis=0).sum(), table.sum())


def test_everybody_who_is_seen_is_asked_about_in_turn() -> None:
    book = Book(*range(1, 41))
    last_ms = int(book.memory.state["last_ms"].max())
    ends = range(last_ms - last_ms % 500, last_ms + reviews.UNION_EVERY_MS, 500)
    asked = [
        person for end in ends[: reviews.UNION_EVERY_MS // 500] for person in reviews.unions(book.memory, end, 500)
    ]
    assert sorted(set(asked)) == [39, 40]  # seen a moment ago
    assert len(asked) == 2
