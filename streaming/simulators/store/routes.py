"""Ways through a store: from anywhere on the floor, the next step of a shortest way to each place of interest."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.ndimage import distance_transform_edt
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import dijkstra

from streaming.simulators.store.plan import Flags, Floats, FloorPlan, Spot

CELL_M = 0.2
BODY_M = 0.3  # half of a person's width, and what they keep from shelves
Ints = npt.NDArray[np.int64]


class Routes:
    """Shortest ways over a grid of 0.2 m, eight neighbours a cell, at least `BODY_M` from all that stands.

    Raises:
        ValueError: a place that cannot be reached from another.
    """

    def __init__(self, plan: FloorPlan, places: tuple[Spot, ...]) -> None:
        self._columns, self._rows = (int(np.ceil(side / CELL_M)) for side in (plan.width_m, plan.depth_m))
        row, column = np.divmod(np.arange(self._rows * self._columns), self._columns)
        self._centre = np.stack([column + 0.5, row + 0.5], axis=1) * CELL_M
        free = plan.is_free(self._centre[:, 0], self._centre[:, 1], margin_m=BODY_M)
        self._nearest_free = self._snap(free)
        at = self._nearest_free[self._cell(np.array([(p.x_m, p.y_m) for p in places]))]
        distance, before = dijkstra(self._steps(free), directed=False, indices=at, return_predecessors=True)
        lost = ~np.isfinite(distance[:, at]).all(axis=1)
        if lost.any():
            place = places[int(np.flatnonzero(lost)[0])]
            raise ValueError(f"no way leads from ({place.x_m:.1f}, {place.y_m:.1f}) m to all other places of the store")
        # A way from a place to a cell, read backwards: the cell before is the next one towards the place.
        self._next = np.where(before < 0, at[:, None], before).astype(np.int32)

    def ahead(self, place: Ints, xy_m: Floats, cells: int = 5) -> Floats:
        """Where to head for from `xy_m` (N, 2) on the way to `place` (N,): the point some cells further on, (N, 2)."""
        cell = self._nearest_free[self._cell(xy_m)]
        for _ in range(cells):
            cell = self._next[place, cell].astype(np.int64)
        return self._centre[cell]

    def _cell(self, xy_m: Floats) -> Ints:
        column = np.clip(xy_m[:, 0] / CELL_M, 0, self._columns - 1).astype(np.int64)
        row = np.clip(xy_m[:, 1] / CELL_M, 0, self._rows - 1).astype(np.int64)
        return row * self._columns + column

    def _snap(self, free: Flags) -> Ints:
        """Each cell's nearest free cell, itself if free."""
        row, column = distance_transform_edt(
            ~free.reshape(self._rows, self._columns), return_distances=False, return_indices=True
        )
        cells: Ints = (row * self._columns + column).ravel().astype(np.int64)
        return cells

    def _steps(self, free: Flags) -> coo_matrix:
        """The grid as a graph; each neighbouring pair of free cells once."""
        grid = np.arange(self._rows * self._columns).reshape(self._rows, self._columns)
        pairs = (
            (grid[:, :-1], grid[:, 1:], 1.0),
            (grid[:-1], grid[1:], 1.0),
            (grid[:-1, :-1], grid[1:, 1:], np.sqrt(2.0)),
            (grid[1:, :-1], grid[:-1, 1:], np.sqrt(2.0)),
        )
        a = np.concatenate([one.ravel() for one, _, _ in pairs])
        b = np.concatenate([other.ravel() for _, other, _ in pairs])
        weight = np.concatenate([np.full(one.size, cost) for one, _, cost in pairs])
        both = free[a] & free[b]
        return coo_matrix((weight[both], (a[both], b[both])), shape=(grid.size, grid.size)).tocsr()
