"""Counts of a store over time: bins of windows, the heat map, paths and flows. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from itertools import pairwise

import numpy as np

from serve.gateway.store.rows import FIGURES, MetricRow
from serve.gateway.store.schemas import CountPoint, Flow, Flows, HeatMap, PathCount
from streaming.store.plan import Floor

MAX_POINTS = 1_500
_PATHS, _FLOWS = 20, 60
_SUMMED = ("entered", "left", "crossed_in", "crossed_out")
_BINNED = tuple(FIGURES.index(name) for name in ("occupancy_mean", "occupancy_max", *_SUMMED))


def fitting_step_s(span_s: float, wanted_s: int) -> int:
    """The step asked for, or the next whole multiple of it with which a span has no more than `MAX_POINTS` bins."""
    return wanted_s * max(1, -(-int(span_s) // (wanted_s * MAX_POINTS)))


def binned(rows: Iterable[MetricRow], step_s: int) -> list[CountPoint]:
    """Windows of one place gathered into steps by their begin, oldest first."""
    held = sorted(rows, key=lambda row: row.start_ms)
    if not held:
        return []
    step_ms = step_s * 1000
    times = np.array([(row.start_ms, row.end_ms - row.start_ms, row.revision) for row in held], np.int64)
    figures = np.array([[row.figures[at] for at in _BINNED] for row in held], np.float64)
    begins_ms, first = np.unique(times[:, 0] // step_ms * step_ms, return_index=True)
    lengths, means, most = times[:, 1], figures[:, 0], figures[:, 1]
    mean = np.add.reduceat(means * lengths, first) / np.add.reduceat(lengths, first)
    corrected = np.maximum.reduceat(times[:, 2], first) > 0
    total = np.add.reduceat(figures[:, 2:], first).astype(np.int64)
    columns = zip(
        begins_ms.tolist(), mean.round(3).tolist(), np.maximum.reduceat(most, first).tolist(), total.tolist(),
        corrected.tolist(), strict=True,
    )  # fmt: skip
    return [
        CountPoint(
            time_ms=time_ms,
            occupancy_mean=occupancy,
            occupancy_max=int(highest),
            corrected=late,
            **dict(zip(_SUMMED, sums, strict=True)),
        )
        for time_ms, occupancy, highest, sums, late in columns
    ]


def heat_map(rows: Iterable[MetricRow], floor: Floor, since_ms: int, until_ms: int) -> HeatMap:
    """Person-seconds of all windows together, on the grid of a floor; cells of another, larger grid are left out."""
    held = list(rows)
    size = floor.columns * floor.rows
    cells = np.concatenate([np.frombuffer(row.cells, np.int32) for row in held] or [np.empty(0, np.int32)])
    seconds = np.concatenate([np.frombuffer(row.cell_s, np.float32) for row in held] or [np.empty(0, np.float32)])
    good = (cells >= 0) & (cells < size) & np.isfinite(seconds)
    total = np.bincount(cells[good], seconds[good], minlength=size)
    (some,) = np.nonzero(total > 0)
    return HeatMap(
        since_ms=since_ms,
        until_ms=until_ms,
        width_m=floor.width_m,
        depth_m=floor.depth_m,
        cell_m=floor.cell_m,
        columns=floor.columns,
        cells=some.tolist(),
        seconds=np.round(total[some], 1).tolist(),
    )


def flows(rows: Iterable[MetricRow], since_ms: int, until_ms: int) -> Flows:
    """Paths of visits that ended, and the steps from zone to zone that they are made of."""
    paths: Counter[str] = Counter()
    for row in rows:
        paths.update(dict(zip(row.labels, row.counts, strict=True)))
    steps: Counter[tuple[str, str]] = Counter()
    for path, visits in paths.items():
        for step in pairwise(path.split(">")):
            steps[step] += visits
    ranked = sorted(paths.items(), key=lambda item: (-item[1], item[0]))[:_PATHS]
    return Flows(
        since_ms=since_ms,
        until_ms=until_ms,
        visits=paths.total(),
        paths=[PathCount(zones=path.split(">"), visits=visits) for path, visits in ranked],
        flows=[
            Flow(origin=origin, target=target, visits=visits)
            for (origin, target), visits in sorted(steps.items(), key=lambda item: (-item[1], item[0]))[:_FLOWS]
        ],
    )
