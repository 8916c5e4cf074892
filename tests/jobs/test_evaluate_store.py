"""The made-up store as a judge: what is drawn is what is known, and what is counted right is counted right."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pytest

from jobs import evaluate_store
from jobs.evaluate_store import StoreTrial, judge_store
from jobs.report.store import COLUMNS, store_page, store_rows
from streaming.identities import Appearance
from streaming.pipelines.person_sightings import Embedding
from streaming.simulators.store.detections import FAULTLESS

TRIAL = StoreTrial(seed=5, cameras=2, people=4, duration_s=24.0, width_px=480, height_px=270)


def by_colour(crops: npt.NDArray[np.uint8]) -> Embedding:
    """Means over a grid of each crop: coarse, and good enough for four people."""
    squares = crops.reshape(len(crops), 8, 16, 2, 32, 3).mean(axis=(2, 4)).reshape(len(crops), 48) - 128.0
    length = np.linalg.norm(squares, axis=1, keepdims=True)
    return Embedding((squares / np.maximum(length, 1e-9)).astype(np.float32), "grid", "1", "abc")


def judged(trial: StoreTrial) -> dict[str, Any]:
    return judge_store(trial, by_colour, 48, Appearance())


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    return judged(TRIAL)


def test_figures_are_a_function_of_the_seed(found: dict[str, Any]) -> None:
    assert judged(TRIAL) == found
    assert 0.3 < found["idf1"] <= 1.0
    assert found["people"] >= 2
    assert found["counts"]["refused"] == 0


def test_every_frame_of_a_trial_has_a_picture_and_no_box_of_nobody_where_nothing_errs() -> None:
    trial = StoreTrial(**{**TRIAL.__dict__, "errors": FAULTLESS, "duration_s": 4.0})
    made = trial.made()
    walks = evaluate_store.walk(made.plan, made.traffic, seed=trial.seed)
    seen = evaluate_store._Seen.of(trial, made, walks)  # noqa: SLF001 - what the judge draws
    rows = pl.concat(list(seen.batches(lambda words: None)))
    assert rows.height == trial.cameras * trial.fps * 4
    assert rows["jpeg"].null_count() == 0
    assert rows["detections"].list.len().sum() == seen.truth.height


def test_the_report_has_a_row_a_seed_and_says_what_was_missed(found: dict[str, Any]) -> None:
    gates = [{"name": "IDF1", "wanted": "≥ 0.85", "got": "0.5", "passed": False}]
    model = {"name": "grid", "version": "1", "trained_on": "nothing"}
    trial = {**TRIAL.__dict__, "errors": TRIAL.errors.__dict__}
    report = {"model": model, "trial": trial, "trials": [found], "gates": gates, "passed": False}
    (row,) = store_rows(report)
    assert len(row) == len(COLUMNS)
    page = store_page(report)
    assert "Missed: IDF1" in page
    assert f"{found['idf1']:.3f}" in page
