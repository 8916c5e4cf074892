"""How good tracks are, against the truth.

Sources: MOTA — Bernardin & Stiefelhagen, "Evaluating Multiple Object Tracking Performance: The CLEAR MOT Metrics",
EURASIP JIVP 2008. IDF1, IDP, IDR — Ristani et al., "Performance Measures and a Data Set for Multi-Target, Multi-Camera
Tracking", ECCV-W 2016. HOTA — Luiten et al., "HOTA: A Higher Order Metric for Evaluating Multi-Object Tracking", IJCV
2021, with its 19 thresholds.

Identities are compared over all frames together. With frames of several cameras and identities that hold across them
these are the multi-camera measures of Ristani et al.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from streaming.tracking.association import Floats, Ints, assign, overlaps

BOX = ("x0_px", "y0_px", "x1_px", "y1_px")
HOTA_THRESHOLDS = np.arange(0.05, 0.99, 0.05)


@dataclass(frozen=True)
class Comparison:
    """Frames with somebody in them, told or true. Identities are numbered from 0."""

    truths: list[Ints]  # by frame: (N,) who is there, nobody twice
    tolds: list[Ints]  # by frame: (M,) who is said to be
    likeness: list[Floats]  # by frame: (N, M) overlap of their boxes

    @classmethod
    def of(cls, truth: pl.DataFrame, told: pl.DataFrame, frame: Sequence[str] = ("camera_id", "frame")) -> Comparison:
        """From rows with the columns of `frame`, `id` and `BOX`. A told row without an id is nobody: it is left out.

        Raises:
            ValueError: an identity is twice in one frame.
        """
        frame = list(frame)
        told = told.drop_nulls("id")
        for name, rows in (("truth", truth), ("told", told)):
            twice = rows.filter(pl.struct(*frame, "id").is_duplicated())
            if not twice.is_empty():
                raise ValueError(f"{name}: {twice['id'][0]!r} is more than once in frame {twice.row(0, named=True)}")
        sides = []
        for rows in (truth, told):
            numbered = rows.with_columns(pl.col("id").rank("dense").cast(pl.Int64) - 1)
            sides.append({key: part for key, part in numbered.partition_by(frame, as_dict=True).items()})
        empty = pl.DataFrame(schema={"id": pl.Int64, **dict.fromkeys(BOX, pl.Float64)})
        pairs = [[side.get(key, empty) for side in sides] for key in sorted({*sides[0], *sides[1]})]
        boxes = [[part.select(pl.col(BOX).cast(pl.Float64)).to_numpy() for part in pair] for pair in pairs]
        return cls(
            [pair[0]["id"].to_numpy() for pair in pairs],
            [pair[1]["id"].to_numpy() for pair in pairs],
            [overlaps(*both) for both in boxes],
        )

    @property
    def sizes(self) -> tuple[int, int]:
        """How many identities there are, true and told."""
        most = [max((int(ids.max(initial=-1)) for ids in side), default=-1) for side in (self.truths, self.tolds)]
        return most[0] + 1, most[1] + 1


@dataclass(frozen=True)
class IdentityScores:
    """Under the one-to-one mapping of told to true identities that agrees in the most boxes."""

    idtp: int  # boxes told under the right identity
    truths: int
    tolds: int

    @property
    def idp(self) -> float:
        """Share of told boxes that are right."""
        return _share(self.idtp, self.tolds)

    @property
    def idr(self) -> float:
        """Share of true boxes that are told right."""
        return _share(self.idtp, self.truths)

    @property
    def idf1(self) -> float:
        """Harmonic mean of the two."""
        return _share(2 * self.idtp, self.truths + self.tolds)


def identity_scores(comparison: Comparison, min_iou: float = 0.5) -> IdentityScores:
    """IDTP and what follows from it. Boxes agree from `min_iou` on."""
    agreed = np.zeros(comparison.sizes)
    for truths, tolds, likeness in _frames(comparison):
        agreed[np.ix_(truths, tolds)] += likeness >= min_iou
    mapping = assign(agreed, 1)
    idtp = int(agreed[mapping.rows, mapping.columns].sum())
    return IdentityScores(idtp, sum(map(len, comparison.truths)), sum(map(len, comparison.tolds)))


@dataclass(frozen=True)
class ClearMot:
    """Counts of the CLEAR MOT measures."""

    truths: int
    missed: int
    false: int
    switches: int  # a person's box is told under another identity than when it was last told

    @property
    def mota(self) -> float:
        """1 less the errors for each true box; below 0 when there are more errors than boxes."""
        return 1.0 - _share(self.missed + self.false + self.switches, self.truths)


def clear_mot(comparison: Comparison, min_iou: float = 0.5) -> ClearMot:
    """Frame by frame, in their order: a pair of the frame before stays together as long as its boxes agree."""
    kept = np.full(comparison.sizes[0], -1)  # who each was in the frame before
    last = kept.copy()  # and when last told
    hits = switches = 0
    for truths, tolds, likeness in _frames(comparison):
        worth = np.where(likeness >= min_iou, likeness, 0.0)
        worth += 1000.0 * ((worth > 0) & (kept[truths][:, None] == tolds[None, :]))
        found = assign(worth, min_iou)
        who, as_whom = truths[found.rows], tolds[found.columns]
        switches += int(((last[who] >= 0) & (last[who] != as_whom)).sum())
        kept[:] = -1
        kept[who] = last[who] = as_whom
        hits += len(who)
    truth, told = sum(map(len, comparison.truths)), sum(map(len, comparison.tolds))
    return ClearMot(truth, truth - hits, told - hits, switches)


@dataclass(frozen=True)
class Hota:
    """Means over `HOTA_THRESHOLDS`."""

    hota: float
    deta: float
    assa: float


def hota(comparison: Comparison) -> Hota:
    """HOTA with its two factors."""
    true_count, told_count = (np.zeros(size) for size in comparison.sizes)
    together = np.zeros(comparison.sizes)
    for truths, tolds, likeness in _frames(comparison):
        both = likeness.sum(axis=0)[None, :] + likeness.sum(axis=1)[:, None] - likeness
        together[np.ix_(truths, tolds)] += np.divide(likeness, both, out=np.zeros_like(likeness), where=both > 0)
        true_count[truths] += 1
        told_count[tolds] += 1
    union = true_count[:, None] + told_count[None, :]
    aligned = np.divide(together, union - together, out=np.zeros_like(together), where=union > together)
    matched = np.zeros((len(HOTA_THRESHOLDS), *comparison.sizes))
    for truths, tolds, likeness in _frames(comparison):
        found = assign(likeness * aligned[np.ix_(truths, tolds)], np.finfo(float).tiny)
        reached = likeness[found.rows, found.columns][None, :] >= HOTA_THRESHOLDS[:, None] - 1e-9
        matched[:, truths[found.rows], tolds[found.columns]] += reached
    hits = matched.sum(axis=(1, 2))
    alike = np.divide(matched, union - matched, out=np.zeros_like(matched), where=union > matched)
    assa = (matched * alike).sum(axis=(1, 2)) / np.maximum(hits, 1)
    deta = hits / np.maximum(true_count.sum() + told_count.sum() - hits, 1)
    return Hota(float(np.sqrt(deta * assa).mean()), float(deta.mean()), float(assa.mean()))


def _frames(comparison: Comparison) -> zip[tuple[Ints, Ints, Floats]]:
    return zip(comparison.truths, comparison.tolds, comparison.likeness, strict=True)


def _share(part: float, whole: float) -> float:
    return part / whole if whole else float("nan")


__all__ = ["ClearMot", "Comparison", "Hota", "IdentityScores", "clear_mot", "hota", "identity_scores"]
