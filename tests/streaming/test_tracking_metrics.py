"""The measures against cases that were computed by hand."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest

from streaming.tracking.metrics import Comparison, clear_mot, hota, identity_scores


def boxes(rows: list[tuple[int, str, float]]) -> pl.DataFrame:
    """(frame, id, x): boxes of 10 by 10."""
    return pl.DataFrame(
        [
            {"camera_id": "c", "frame": frame, "id": name, "x0_px": x, "y0_px": 0.0, "x1_px": x + 10, "y1_px": 10.0}
            for frame, name, x in rows
        ],
        schema={
            "camera_id": pl.String, "frame": pl.Int64, "id": pl.String,
            **dict.fromkeys(("x0_px", "y0_px", "x1_px", "y1_px"), pl.Float64),
        },
    )  # fmt: skip


def walk(name: str, frames: range, x: float = 0.0) -> list[tuple[int, str, float]]:
    return [(frame, name, x) for frame in frames]


def test_the_truth_itself_is_perfect() -> None:
    truth = boxes(walk("a", range(5)) + walk("b", range(5), 50))
    comparison = Comparison.of(truth, truth.with_columns(pl.col("id") + "!"))
    assert identity_scores(comparison).idf1 == 1.0
    assert clear_mot(comparison).mota == 1.0
    assert hota(comparison).hota == pytest.approx(1.0)


def test_a_track_cut_in_two_by_hand() -> None:
    # a: 10 boxes, told as p for 6 and as q for 4. The mapping takes p: IDTP 6 of 10 and 10.
    comparison = Comparison.of(boxes(walk("a", range(10))), boxes(walk("p", range(6)) + walk("q", range(6, 10))))
    scores = identity_scores(comparison)
    assert (scores.idtp, scores.idp, scores.idr, scores.idf1) == (6, 0.6, 0.6, 0.6)
    mot = clear_mot(comparison)
    assert (mot.missed, mot.false, mot.switches, mot.mota) == (0, 0, 1, pytest.approx(0.9))
    measured = hota(comparison)
    assert measured.deta == pytest.approx(1.0)
    assert measured.assa == pytest.approx((6 * 0.6 + 4 * 0.4) / 10)  # of each hit: 6 / (10 + 6 - 6), 4 / (10 + 4 - 4)
    assert measured.hota == pytest.approx(math.sqrt(0.52))


def test_misses_and_false_boxes_by_hand() -> None:
    # Of 10 true boxes 7 are told right, 2 elsewhere, 1 not at all.
    told = boxes(walk("p", range(7)) + walk("p", range(7, 9), 100))
    comparison = Comparison.of(boxes(walk("a", range(10))), told)
    scores = identity_scores(comparison)
    assert (scores.idr, scores.idp) == (0.7, pytest.approx(7 / 9))
    assert scores.idf1 == pytest.approx(2 * 7 / 19)
    mot = clear_mot(comparison)
    assert (mot.missed, mot.false, mot.switches, mot.mota) == (3, 2, 0, pytest.approx(0.5))


def test_two_people_who_change_names_half_way_by_hand() -> None:
    truth = boxes(walk("a", range(4)) + walk("b", range(4), 50))
    swapped = boxes(walk("p", range(2)) + walk("q", range(2), 50) + walk("q", range(2, 4)) + walk("p", range(2, 4), 50))
    comparison = Comparison.of(truth, swapped)
    assert identity_scores(comparison).idf1 == 0.5
    assert clear_mot(comparison).switches == 2
    # Each of the 8 hits: its pair shares 2 of 4 + 4 - 2 frames.
    assert hota(comparison).assa == pytest.approx(1 / 3)


def test_one_person_told_of_two_counts_for_one_of_them() -> None:
    truth = boxes(walk("a", range(6)) + walk("b", range(6, 10), 50))
    told = boxes(walk("p", range(6)) + walk("p", range(6, 10), 50))
    assert identity_scores(Comparison.of(truth, told)).idtp == 6


def test_a_gap_of_the_truth_is_no_switch_and_a_change_behind_it_is() -> None:
    truth = boxes(walk("a", range(3)) + walk("a", range(6, 9)))
    assert clear_mot(Comparison.of(truth, truth)).switches == 0
    changed = boxes(walk("p", range(3)) + walk("q", range(6, 9)))
    assert clear_mot(Comparison.of(truth, changed)).switches == 1


def test_a_pair_stays_together_while_its_boxes_agree() -> None:
    # In frame 1 q lies nearer to a, but p, its name so far, agrees still: 8 / 12 against 9 / 11.
    truth = boxes([(0, "a", 0.0), (1, "a", 0.0)])
    told = boxes([(0, "p", 0.0), (1, "p", 2.0), (1, "q", 1.0)])
    mot = clear_mot(Comparison.of(truth, told))
    assert (mot.switches, mot.false, mot.missed) == (0, 1, 0)


def test_the_threshold_of_overlap_counts() -> None:
    comparison = Comparison.of(boxes([(0, "a", 0.0)]), boxes([(0, "p", 5.0)]))  # 50 of 150
    assert identity_scores(comparison).idtp == 0
    assert identity_scores(comparison, min_iou=1 / 3).idtp == 1
    assert hota(comparison).deta == pytest.approx(6 / 19)  # reached at 0.05 ... 0.30, six of nineteen thresholds


def test_identities_hold_across_cameras() -> None:
    truth = boxes(walk("a", range(4)))
    truth = pl.concat([truth, truth.with_columns(camera_id=pl.lit("d"))])
    told = truth.with_columns(id=pl.when(pl.col("camera_id") == "c").then(pl.lit("p")).otherwise(pl.lit("q")))
    assert identity_scores(Comparison.of(truth, truth)).idf1 == 1.0
    assert identity_scores(Comparison.of(truth, told)).idf1 == 0.5


def test_nobody_told_and_nobody_there() -> None:
    some, none = boxes(walk("a", range(4))), boxes([])
    silent = Comparison.of(some, none)
    assert (identity_scores(silent).idr, identity_scores(silent).idf1, clear_mot(silent).mota) == (0.0, 0.0, 0.0)
    assert clear_mot(Comparison.of(none, some)).false == 4
    assert np.isnan(identity_scores(Comparison.of(none, none)).idf1)
    assert hota(silent).hota == 0.0


def test_rows_without_an_id_are_nobody_and_an_id_twice_in_a_frame_is_refused() -> None:
    truth = boxes(walk("a", range(2)))
    unnamed = truth.with_columns(id=pl.lit(None, pl.String))
    assert identity_scores(Comparison.of(truth, unnamed)).tolds == 0
    with pytest.raises(ValueError, match="told: 'a' is more than once"):
        Comparison.of(truth, pl.concat([truth, truth]))
