"""What every answer must keep: honest models do, and each way to break a promise is found by its own criterion."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from jobs.datasets import MatchSet, load_matches
from jobs.gate.contender import ServedWin, answers, single_frames
from jobs.gate.promises import MOST_MATCHES, Answers, less_known, level, promises, swapped
from models.store import SHIPPED, ModelStore
from streaming.features.catalogue import titles
from tests.gate_contenders import Floats, Linear, gold_window

CAMPS, SUMS, TIME, UNKNOWN = range(4)
Both = tuple[Floats, Floats]
Spoil = Callable[[MatchSet, Floats, Floats], Both]


def broken(spoil: Spoil | None, *, has_home: bool = False) -> list[int]:
    """Numbers of the promises that a linear model misses which is spoilt like this."""
    found = promises(Linear(spoil=spoil).answer, gold_window(5), has_home=has_home)
    assert len(found) == 4
    return [number for number, reason in enumerate(found) if not reason.passed]


def _shifted(contributions: Floats, by: Floats | float) -> Both:
    moved = contributions.copy()
    moved[..., 0] += by
    return moved.sum(axis=2), moved


def biased(matches: MatchSet, logits: Floats, contributions: Floats) -> Both:
    return _shifted(contributions, 0.01)


def even(matches: MatchSet, logits: Floats, contributions: Floats) -> Both:
    """Says the same of both camps in the lead; level matches are even."""
    return _shifted(contributions, 0.01 * logits**2)


def overstated(matches: MatchSet, logits: Floats, contributions: Floats) -> Both:
    return logits, 1.001 * contributions


def prophetic(matches: MatchSet, logits: Floats, contributions: Floats) -> Both:
    return _shifted(contributions, 0.01 * logits[:, -1:])


def told_the_length(matches: MatchSet, logits: Floats, contributions: Floats) -> Both:
    factor = matches.mask.sum(dim=1).double().numpy()[:, None, None] / 10
    return (factor * contributions).sum(axis=2), factor * contributions


def lost_without_gold(matches: MatchSet, logits: Floats, contributions: Floats) -> Both:
    known = np.where(matches.features[..., 0].isnan().numpy(), np.nan, 1.0)
    return known * logits, known[..., None] * contributions


def lost_without_form(matches: MatchSet, logits: Floats, contributions: Floats) -> Both:
    known = np.where(matches.features[..., -1].isnan().numpy(), np.inf, 1.0)
    return known * logits, contributions


def put_off_by_strangers(matches: MatchSet, logits: Floats, contributions: Floats) -> Both:
    known = np.array([np.nan if "nobody" in camps[0] else 1.0 for camps in matches.heroes])
    return known[:, None] * logits, known[:, None, None] * contributions


@pytest.mark.parametrize(
    ("spoil", "missed"),
    [
        (None, []),
        (biased, [CAMPS]),
        (even, [CAMPS]),
        (overstated, [SUMS]),
        (prophetic, [TIME]),
        (told_the_length, [TIME]),
        (lost_without_gold, [SUMS, UNKNOWN]),
        (lost_without_form, [SUMS, UNKNOWN]),
        (put_off_by_strangers, [SUMS, UNKNOWN]),
    ],
)
def test_each_broken_promise_is_found(spoil: Spoil | None, missed: list[int]) -> None:
    assert broken(spoil) == missed


def test_home_advantage_is_what_a_level_match_says_and_no_more() -> None:
    assert broken(biased, has_home=True) == []
    assert broken(even, has_home=True) == [CAMPS]


def test_how_far_a_promise_is_missed_is_told() -> None:
    found = promises(Linear(spoil=biased).answer, gold_window(3), has_home=False)
    assert found[CAMPS].figure == pytest.approx(0.02) and found[CAMPS].bound == 1e-5
    found = promises(Linear(spoil=lost_without_gold).answer, gold_window(3, frames=4), has_home=False)
    assert found[UNKNOWN].figure == 2 * 12  # without gold's group, and without all


def test_one_match_of_one_frame_is_enough_to_try() -> None:
    assert all(reason.passed for reason in promises(Linear().answer, gold_window(1, frames=1), has_home=False))


def test_of_many_matches_some_are_tried_the_first_and_the_last_among_them() -> None:
    seen: list[tuple[str, ...]] = []

    def answer(matches: MatchSet) -> Answers:
        seen.append(matches.match_ids)
        return Linear().answer(matches)

    promises(answer, gold_window(1000, frames=1), has_home=False)
    assert {len(ids) for ids in seen} == {MOST_MATCHES} and (seen[0][0], seen[0][-1]) == ("m0", "m999")


def test_changed_copies_are_what_they_say() -> None:
    matches = load_matches("simulator:lol?matches=3&seed=1")
    back = swapped(swapped(matches))
    assert torch.equal(back.features.nan_to_num(), matches.features.nan_to_num())
    assert (back.heroes, back.teams) == (matches.heroes, matches.teams) and torch.equal(back.won, matches.won)
    assert not level(matches).features.nan_to_num().any()
    assert torch.equal(level(matches).features.isnan(), matches.features.isnan())
    *groups, nothing, _ = less_known(matches)
    assert len(groups) == len(matches.spec.groups) and nothing.features.isnan().all()
    known = torch.stack([part.features.isnan().logical_not() for part in groups]).sum(dim=0)
    assert torch.equal(known == len(groups) - 1, matches.features.isnan().logical_not())


@pytest.mark.parametrize("title", titles())
def test_every_shipped_model_keeps_its_promises(title: str) -> None:
    contender = ServedWin(ModelStore(SHIPPED).load(f"tsstn-{title}"))
    window = load_matches(f"simulator:{title}?matches=6&seed=2")
    found = promises(lambda matches: answers(contender, matches), window, has_home=contender.has_home)
    assert [reason for reason in found if not reason.passed] == []


def test_single_frames_are_from_the_middle_of_each_match_in_turn() -> None:
    window = gold_window(3, frames=5)
    window.mask[1, 3:] = False
    frames = single_frames(window, 7)
    assert len(frames) == frames.frames == 7
    assert frames.features[:, 0, 0].tolist() == [
        window.features[match, middle, 0].item() for match, middle in [(0, 2), (1, 1), (2, 2)] * 2 + [(0, 2)]
    ]
