"""Items unseen in training, in a small made-up shop: nothing of them leaks, and their content is worth something."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from jobs.recipes.overrides import with_overrides
from jobs.recipes.session_gru4rec import GRU4REC
from jobs.recipes.session_two_tower import TWO_TOWER
from jobs.sessions.clicks import load_clicks
from jobs.sessions.cold_start import ColdTrial, cold_start_figures
from jobs.sessions.fit import SessionEpoch
from jobs.sessions.split import split_last_day
from jobs.sessions.trainings import Trainings
from tests.shop_sessions import walk_file

FEW = ["encoder.dim=16", "optim.epochs=3", "optim.batch_sessions=32", "loss.negatives=8", "length=8"]
LIVE, CONTENT = with_overrides(GRU4REC, FEW), with_overrides(TWO_TOWER, FEW)


def judged(**how: Any) -> dict[str, Any]:
    return cold_start_figures(
        LIVE, CONTENT, seeds=1, resamples=200, trainings=Trainings(None), trial=ColdTrial(shoppers=100, **how)
    )


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    return judged(items=300, categories=24, sessions=1_500)


def recall(found: dict[str, Any], kind: str, row: str) -> float:
    return float(found["figures"][kind][row]["recall"]["value"])


def test_content_finds_what_clicks_alone_cannot(found: dict[str, Any]) -> None:
    assert found["moments"]["of_unseen"] > 50 and found["moments"]["to_unseen"] > 100
    for other in ("popularity", "random"):
        assert found["above"][other]["low"] > 0.1
        assert recall(found, "of_unseen", other) < recall(found, "of_unseen", "cold_start") / 2
    # Where no click is known, ColdStart is the two towers; where one is, it is the live model.
    assert recall(found, "of_unseen", "cold_start") == recall(found, "of_unseen", "two_tower")
    assert recall(found, "to_unseen", "two_tower") > recall(found, "to_unseen", "cold_start") > 0


def test_an_unseen_item_is_in_no_answer_of_what_knows_clicks_alone(found: dict[str, Any]) -> None:
    for row in ("live", "popularity"):
        assert recall(found, "to_unseen", row) == 0.0
    by_chance = found["figures"]["to_unseen"]["random"]["recall"]
    assert by_chance["low"] <= 20 / 300 <= by_chance["high"]


def test_without_anything_to_tell_them_apart_unseen_items_are_found_by_chance() -> None:
    """All items are of one category. Were they told in the order of the catalogue, or in that in which they come to be
    clicked, the popular ones would be found first: 20 of about 120 would be a third of the clicks on them, and more."""
    found = judged(items=300, categories=1, unseen=0.4, sessions=1_500)
    assert found["unseen_items"] > 100
    assert recall(found, "to_unseen", "two_tower") < 0.22


def test_trainings_go_on_and_are_forgotten_when_all_is_judged(tmp_path: Path) -> None:
    split = split_last_day(load_clicks(str(walk_file(tmp_path))))

    class Cut(RuntimeError):
        pass

    def cut(report: SessionEpoch) -> None:
        if report.epoch == 2:
            raise Cut

    with pytest.raises(Cut):
        Trainings(tmp_path / "work").fit(split, LIVE, on_epoch=cut)
    trainings, epochs = Trainings(tmp_path / "work"), list[int]()
    assert not trainings.went_on
    for _ in range(2):  # the second time there is nothing left to do
        assert len(trainings.fit(split, LIVE, on_epoch=lambda report: epochs.append(report.epoch)).reports) == 3
    assert epochs == [3] and trainings.went_on
    trainings.fit(split, CONTENT, on_epoch=lambda report: epochs.append(report.epoch))
    assert epochs == [3, 1, 2, 3]
    trainings.forget()
    assert list((tmp_path / "work").iterdir()) == []
