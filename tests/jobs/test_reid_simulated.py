"""Crops drawn on the spot, and what a network's figures say of its looks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from jobs.errors import UsageProblem
from jobs.evaluate_store import StoreTrial
from jobs.reid.crops import CropSet, load_crops
from jobs.reid.judge import looks_say
from jobs.reid.store_crops import store_crops

SOURCE = "simulator:people?people=6&images=10&seed=2"


def test_each_person_is_drawn_as_often_by_cameras_in_turn_and_always_the_same() -> None:
    one, again = (load_crops(SOURCE, height_px=32, width_px=16) for _ in range(2))
    assert one.images.shape == (60, 3, 32, 16)
    assert np.array_equal(np.bincount(one.identity), [10] * 6)
    assert one.cameras == 5
    assert one.fingerprint == again.fingerprint
    other = load_crops(SOURCE.replace("seed=2", "seed=3"), height_px=32, width_px=16)
    assert other.fingerprint != one.fingerprint


def test_people_of_a_store_are_cut_out_as_the_pipeline_does_and_nobody_is_anybody_of_another_store() -> None:
    trial, how = StoreTrial(seed=5, cameras=2, people=4, duration_s=24.0), {"height_px": 32, "width_px": 16}
    one, again = (store_crops(trial, 5, **how) for _ in range(2))
    assert one.images.shape == (len(one.identity), 32, 16, 3)
    assert all(np.array_equal(*both) for both in zip(one, again, strict=True))
    assert set(np.unique(one.camera)) == {0, 1}
    people, counts = np.unique(one.identity, return_counts=True)
    assert len(people) >= 3
    assert counts.max() == 5
    other = store_crops(replace(trial, seed=6), 5, **how)
    assert not set(people) & set(other.identity)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("simulator:cats", "no simulated 'cats'"),
        ("simulator:people?person=3", "person=3 is not understood"),
        ("simulator:people?people=-3", "people=-3 is not understood"),
        ("simulator:people?people=1", r"people must lie in 2\.\.20,000"),
        ("simulator:people?images=1000", r"images must lie in 2\.\.100"),
        ("simulator:store?people=3", "people=3 is not understood"),
        ("simulator:store?stores=0", r"stores must lie in 1\.\.100"),
        ("simulator:store?seed=100", r"seed must lie in 0\.\.99"),
        ("simulator:store?seed=98&stores=3", "stores of seeds 98 to 100: those from 100 on are there to judge by"),
    ],
)
def test_what_cannot_be_drawn_is_said(source: str, said: str) -> None:
    with pytest.raises(UsageProblem, match=said):
        load_crops(source, height_px=32, width_px=16)


def test_looks_of_one_person_are_as_alike_as_they_were_made() -> None:
    chance = np.random.default_rng(0)
    people, each, size = 200, 4, 64
    own = chance.normal(size=(people, 1, size))
    looks = (np.sqrt(0.6) * own + np.sqrt(0.4) * chance.normal(size=(people, each, size))).reshape(-1, size)
    looks /= np.linalg.norm(looks, axis=1, keepdims=True)
    crops = CropSet("made", torch.zeros(len(looks), 1), np.repeat(np.arange(people), each), np.tile([0, 1], 2 * people))
    figures = looks_say(looks.astype(np.float32), crops)
    assert figures["same_cosine"] == pytest.approx(0.6, abs=0.02)
    assert figures["directions"] == pytest.approx(size, rel=0.1)


def test_a_network_that_tells_nobody_apart_has_no_figures() -> None:
    looks = np.tile(np.eye(4, dtype=np.float32)[:1], (8, 1))
    crops = CropSet("made", torch.zeros(8, 1), np.repeat([0, 1], 4), np.tile([0, 1], 4))
    assert looks_say(looks, crops) == {}
