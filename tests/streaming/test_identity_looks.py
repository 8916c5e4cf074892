"""What looks say of who is who, against the formula and values computed by hand."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from streaming.identities import Appearance
from streaming.identities.appearance import centred
from streaming.identities.memory import DECIDED, PENDING, TRACK, Memory, layout, track_key
from streaming.identities.past import Past
from streaming.identities.track_looks import TrackLooks
from streaming.privacy.seal import Plain
from streaming.state import StateTable
from streaming.tracking.looks import unit

ONE = np.array([1])
LITTLE = Appearance(0.5, 2.0)  # of which no evidence is cut off


def test_a_look_is_evidence_as_the_formula_says() -> None:
    # One look known, ρ = 0.5, D = 2: a = 0.5, v = 0.75; |x - a m|² is 0.25 for the same look and 1.25 across it.
    appearance = Appearance(same_cosine=0.5, directions=2.0, spoilt_share=1e-12)
    looks, means = np.array([[1.0, 0.0]], np.float32), np.array([[1.0, 0.0], [0.0, 1.0]], np.float32)
    ratio = appearance.log_ratio(looks, np.array([1]), means, np.array([1, 1]))
    np.testing.assert_allclose(ratio, [[1 - 0.25 / 0.75 - math.log(0.75), 1 - 1.25 / 0.75 - math.log(0.75)]], rtol=1e-6)


def test_looks_of_several_tracks_are_evidence_together() -> None:
    # Two looks that are the same, and two known: ρ = 0.5, so a = 2/3, u = 3/4 and v = 5/12; |x - a m|² is 1/9.
    appearance, same = Appearance(same_cosine=0.5, directions=2.0, spoilt_share=1e-12), np.array([[1.0, 0.0]], "f4")
    ratio = appearance.log_ratio(same, np.array([2]), same, np.array([2]))
    assert ratio[0, 0] == pytest.approx(4 / 3 - (1 / 9) * (12 / 5) - math.log(5 / 9), rel=1e-6)
    assert ratio[0, 0] > appearance.log_ratio(same, np.array([1]), same, np.array([2]))[0, 0]


def test_it_is_the_same_which_of_two_is_asked_for() -> None:
    chance = np.random.default_rng(3)
    one, other = (chance.normal(0, 0.4, (1, 6)).astype(np.float32) for _ in range(2))
    there = Appearance(0.6, 6.0).log_ratio(one, np.array([2]), other, np.array([5]))
    back = Appearance(0.6, 6.0).log_ratio(other, np.array([5]), one, np.array([2]))
    np.testing.assert_allclose(there, back, rtol=1e-5)


def test_a_look_that_may_be_spoilt_is_little_evidence_against() -> None:
    looks, means = np.array([[1.0, 0.0]], np.float32), np.array([[1.0, 0.0], [-1.0, 0.0]], np.float32)
    for share in (0.1, 0.3):
        for_him, against = Appearance(0.9, 60.0, spoilt_share=share).log_ratio(looks, ONE, means, np.array([6, 6]))[0]
        assert against == pytest.approx(math.log(share), abs=0.01)
        assert for_him > 10


def test_more_looks_of_a_person_are_more_evidence() -> None:
    look = np.array([[1.0, 0.0]], np.float32)
    ratio = Appearance().log_ratio(look, ONE, np.repeat(look, 2, axis=0), np.array([1, 6]))[0]
    assert 0 < ratio[0] < ratio[1]


def test_the_appearance_model_is_found_from_pairs() -> None:
    chance = np.random.default_rng(0)
    own = unit(chance.normal(size=(4000, 32)).astype(np.float32))
    one, other = (unit((own + 0.1 * chance.normal(size=own.shape)).astype(np.float32)) for _ in range(2))
    same, apart = (one * other).sum(axis=1).astype(float), (one * np.roll(other, 1, axis=0)).sum(axis=1).astype(float)
    found = Appearance.fit(same, apart)
    assert found.same_cosine == pytest.approx(1 / (1 + 0.01 * 32), abs=0.03)
    assert found.directions == pytest.approx(32, rel=0.2)
    twins = Appearance.fit(same, np.append(apart, np.full(60, 0.7)))  # who look like one another
    assert twins.directions < 0.7 * found.directions
    with pytest.raises(ValueError, match="no more alike"):
        Appearance.fit(apart, same)
    with pytest.raises(ValueError, match="at least 2"):
        Appearance.fit(same[:1], apart)


def test_what_a_camera_adds_to_everybody_is_taken_away() -> None:
    chance = np.random.default_rng(1)
    own = unit(chance.normal(size=(200, 16)).astype(np.float32))
    shift = np.zeros(16, np.float32)
    shift[0] = 1.5
    looks = unit(np.concatenate([own, own + shift]))
    camera = np.repeat([0, 1], 200)
    plain, fair = ((side[:200] * side[200:]).sum(axis=1).mean() for side in (looks, centred(looks, camera)))
    assert fair > 0.9 > plain
    np.testing.assert_allclose(centred(looks[:1], camera[:1]), looks[:1], rtol=1e-5)  # of one look hardly anything


@given(
    st.integers(0, 2**32 - 1),
    st.floats(0.05, 0.95),
    st.floats(1.0, 60.0),
    st.lists(st.integers(1, 40), min_size=1, max_size=5),
    st.lists(st.integers(0, 12), max_size=9),
)
@settings(max_examples=60, deadline=None)
def test_the_ratio_is_the_formula(seed: int, rho: float, d: float, n: list[int], k: list[int]) -> None:
    chance, appearance = np.random.default_rng(seed), Appearance(rho, d)
    x, m = (chance.normal(0, 0.3, (len(counts), 8)).astype(np.float32) for counts in (n, k))
    expected = np.zeros((len(n), len(k)))
    for row, column in np.ndindex(*expected.shape):
        a = k[column] * rho / (k[column] * rho + 1 - rho)
        u = rho + (1 - rho) / n[row]
        v = u - a * rho
        near, far = (float((side.astype(np.float64) ** 2).sum()) for side in (x[row] - a * m[column], x[row]))
        ratio = np.clip(d / 2 * (far / u - near / v - math.log(v / u)), -12.0, 12.0)
        expected[row, column] = math.log(0.85 * math.exp(ratio) + 0.15)
    found = appearance.log_ratio(x, np.array(n), m, np.array(k))
    np.testing.assert_allclose(found, expected, atol=2e-3, rtol=1e-5)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 30)), min_size=1, max_size=40), st.integers(1, 3))
@example([(1, 2 + seen % 5) for seen in range(15)], 1)
@settings(max_examples=40, deadline=None)
def test_the_latest_looks_of_a_person_count_by_how_often_they_were_seen(tracks: list[tuple[int, int]], n: int) -> None:
    chance, memory = np.random.default_rng(5), Memory(StateTable("identities", layout(Plain().width(4))))
    memory.camera("door", 0)
    looks, counts = unit(chance.normal(size=(len(tracks), 4)).astype(np.float32)), np.array([c for _, c in tracks])
    looks[counts == 0] = 0
    slots = np.array([memory.slot(track_key(0, track_id), TRACK) for track_id in range(len(tracks))])
    persons = np.array([person for person, _ in tracks])
    at_ms = np.arange(len(tracks))
    for column, values in (
        ("track_id", at_ms), ("first_ms", at_ms), ("last_ms", at_ms), ("count", counts), ("person", persons),
        ("status", np.where(persons > 0, DECIDED, PENDING)), ("look", Plain().seal(looks, [], 0)),
    ):  # fmt: skip
        memory.state[column][slots] = values
    past = Past(memory, 0, len(tracks), slots)
    plain, weight = np.zeros_like(looks), np.minimum(counts, 12)
    plain[weight > 0] = centred(looks[weight > 0], np.zeros(np.count_nonzero(weight), np.int64))
    units = [np.arange(len(tracks))[k::n] for k in range(n) if k < len(tracks)]
    found = TrackLooks(memory, Plain(), past).log_ratio(LITTLE, units, past.known())
    who = sorted({person for person in persons.tolist() if person})
    assert found.shape == (len(units), len(who))
    for (row, mine), (column, person) in product(enumerate(units), enumerate(who)):
        sides = [rows[weight[rows] > 0] for rows in (mine, np.flatnonzero(persons == person)[-12:])]
        if not all(map(len, sides)):
            assert found[row, column] == 0
            continue
        means = [np.average(plain[rows], axis=0, weights=weight[rows])[None].astype(np.float32) for rows in sides]
        sizes = [np.array([len(rows)]) for rows in sides]
        alone = LITTLE.log_ratio(means[0], sizes[0], means[1], sizes[1])
        np.testing.assert_allclose(found[row, column], alone[0, 0], atol=1e-4)


def test_looks_without_direction_are_zero() -> None:
    broken = np.array([[0.0, 0.0], [np.nan, 1.0], [np.inf, 1.0], [3.0, 4.0]], np.float32)
    np.testing.assert_allclose(unit(broken), [[0, 0], [0, 0], [0, 0], [0.6, 0.8]])
