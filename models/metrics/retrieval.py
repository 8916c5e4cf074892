"""How well a gallery is ranked for each query: CMC and mAP as the re-identification benchmarks define them.

Market-1501 (Zheng et al., ICCV 2015): from a query's ranked gallery the images of the same person in the same camera
are taken away, and so is junk, marked by identity `JUNK`; what is left is judged. Two definitions of average precision
are in use, which differ by some points: `AP_STEP`, the mean precision at each right image, is that of most papers and
toolkits since; `AP_TRAPEZOID`, the area under straight lines between the points of recall, is that of Market-1501's
own evaluation. A figure has to say which it is; here the first is meant unless the other is asked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
AveragePrecision = Literal["step", "trapezoid"]

AP_STEP: AveragePrecision = "step"
AP_TRAPEZOID: AveragePrecision = "trapezoid"
JUNK = -1
"""Identity of gallery images that count neither as right nor as wrong."""


@dataclass(frozen=True)
class Ranked:
    """What became of Q queries; a query without a right image left in its gallery has NaN, and is in no mean.

    Attributes:
        first: (Q,) place of the first right image, from 1.
        average_precision: (Q,) between 0 and 1.
    """

    first: Floats
    average_precision: Floats

    @property
    def judged(self) -> int:
        """Queries with a right image in their gallery."""
        return int(np.isfinite(self.first).sum())

    @property
    def mean_average_precision(self) -> float:
        """mAP; NaN where no query is judged."""
        return _mean(self.average_precision)

    def cmc(self, rank: int) -> float:
        """Share of queries with a right image among the first `rank`; NaN where no query is judged."""
        return _mean(np.where(np.isnan(self.first), np.nan, self.first <= rank))


def rank(
    distance: npt.ArrayLike,
    query_ids: npt.ArrayLike,
    gallery_ids: npt.ArrayLike,
    query_cameras: npt.ArrayLike,
    gallery_cameras: npt.ArrayLike,
    *,
    other_cameras_only: bool = False,
    left_out: npt.ArrayLike | None = None,
    average_precision: AveragePrecision = AP_STEP,
) -> Ranked:
    """Judge a ranking against the whole gallery. Of equal distances, the earlier in the gallery ranks first.

    Args:
        distance: (Q, G), small is near.
        query_ids: (Q,) int, who it is.
        gallery_ids: (G,) int; `JUNK` is left out of every ranking.
        query_cameras: (Q,) int.
        gallery_cameras: (G,) int.
        other_cameras_only: leave out everybody in the query's camera, not only the same person.
        left_out: (Q, G) bool, what a protocol takes from a query's gallery besides; None: nothing.
        average_precision: which definition.

    Raises:
        ValueError: shapes that do not fit, or a distance that is no number.
    """
    table, q, g, qc, gc = _checked(distance, query_ids, gallery_ids, query_cameras, gallery_cameras)
    kept = _kept(q, g, qc, gc, other_cameras_only)
    if left_out is not None:
        away = np.asarray(left_out)
        if away.dtype != np.bool_ or away.shape != kept.shape:
            raise ValueError(f"left_out must be bool {kept.shape}, not {away.dtype} {away.shape}")
        kept &= ~away
    order = np.argsort(table, axis=1, kind="stable")
    kept = np.take_along_axis(kept, order, axis=1)
    return _judged(kept, kept & (g[order] == q[:, None]), average_precision)


def rank_single_shot(
    distance: npt.ArrayLike,
    query_ids: npt.ArrayLike,
    gallery_ids: npt.ArrayLike,
    query_cameras: npt.ArrayLike,
    gallery_cameras: npt.ArrayLike,
    *,
    repeats: int = 10,
    seed: int = 0,
    other_cameras_only: bool = False,
) -> list[Ranked]:
    """The same with one image of each person in the gallery, drawn at random of those left to the query, `repeats`
    times: the single-gallery-shot setting of CUHK03 (Li et al. 2014). mAP and CMC are the means over the repeats.

    Raises:
        ValueError: as `rank`.
    """
    table, q, g, qc, gc = _checked(distance, query_ids, gallery_ids, query_cameras, gallery_cameras)
    by_person = np.argsort(g, kind="stable")
    table, g, gc = table[:, by_person], g[by_person], gc[by_person]
    starts = np.flatnonzero(np.diff(g, prepend=g[0] - 1)) if len(g) else np.empty(0, np.int64)
    person = np.repeat(np.arange(len(starts)), np.diff(starts, append=len(g)))
    kept = _kept(q, g, qc, gc, other_cameras_only)
    order = np.argsort(table, axis=1, kind="stable")
    right = g[order] == q[:, None]
    chance = np.random.default_rng(seed)
    found = []
    for _ in range(repeats):
        lot = np.where(kept, chance.random(kept.shape), np.inf)
        drawn = kept & (lot == np.minimum.reduceat(lot, starts, axis=1)[:, person]) if len(g) else kept
        drawn = np.take_along_axis(drawn, order, axis=1)
        found.append(_judged(drawn, drawn & right, AP_STEP))
    return found


def _kept(q: Ints, g: Ints, qc: Ints, gc: Ints, other_cameras_only: bool) -> Bools:
    """(Q, G): which of the gallery a query is judged on."""
    away = qc[:, None] == gc[None]
    if not other_cameras_only:
        away &= q[:, None] == g[None]
    kept: Bools = ~away & (g != JUNK)[None]
    return kept


def _judged(kept: Bools, right: Bools, average_precision: AveragePrecision) -> Ranked:
    """Of each row in ranked order, what is kept, and what of that is right."""
    place = np.cumsum(kept, axis=1)  # from 1, among those kept
    hits = np.cumsum(right, axis=1)
    total = right.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        precision = hits / place
        if average_precision == AP_TRAPEZOID:
            before = np.where(place > 1, (hits - 1) / (place - 1), 1.0)  # just ahead of this one, if it is right
            precision = (precision + before) / 2
        ap = np.where(right, precision, 0.0).sum(axis=1) / total
    first = np.where(total > 0, np.where(right, place, np.inf).min(axis=1, initial=np.inf), np.nan)
    return Ranked(first, np.where(total > 0, ap, np.nan))


def _checked(
    distance: npt.ArrayLike, *labels: npt.ArrayLike
) -> tuple[npt.NDArray[np.floating], Ints, Ints, Ints, Ints]:
    table = np.asarray(distance)
    q, g, qc, gc = (np.asarray(each, dtype=np.int64) for each in labels)
    if table.shape != (*q.shape, *g.shape) or q.shape != qc.shape or g.shape != gc.shape or q.ndim != 1:
        raise ValueError(
            f"distance {table.shape} must be (Q, G) for ids {q.shape}, {g.shape} and cameras {qc.shape}, {gc.shape}"
        )
    if np.isnan(table).any():
        raise ValueError("a distance is NaN")
    if (q == JUNK).any():
        raise ValueError(f"identity {JUNK} marks junk, and cannot be asked for")
    return table, q, g, qc, gc


def _mean(values: Floats) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")
