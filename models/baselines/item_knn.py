"""Item-kNN: what was clicked in the same sessions as the latest item.

Hidasi et al. (arXiv:1511.06939), §4: similarity of two items is the number of sessions with both, over the root of the
product of the numbers of sessions with either, with a regularisation that keeps rare items from chance neighbours.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import sparse

from models.baselines.session_memory import SessionMemory

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


class ItemKNN:
    """Similarities of all pairs of items that share a session.

    Args:
        memory: past sessions.
        regularisation: added to the numbers of sessions under the root.
    """

    def __init__(self, memory: SessionMemory, regularisation: float = 20.0) -> None:
        ones = np.ones(len(memory.item_of), np.float64)
        shape = (memory.sessions, memory.items)
        table = sparse.csr_array((ones, (memory.of_session, memory.item_of)), shape=shape)
        scale = sparse.diags_array(1 / np.sqrt(memory.support + regularisation))
        similarity = sparse.csr_array(scale @ (table.T @ table) @ scale)
        similarity.setdiag(0.0)  # else every item would be nearest to itself
        self._similarity, self._items = similarity, memory.items

    def scores(self, context: Ints) -> Floats:
        """Similarities (Q, I) to the latest click, the last column of (Q, L); 0 where that item is not known."""
        latest = context[:, -1]
        known = (latest >= 0) & (latest < self._items)
        found: Floats = self._similarity[np.where(known, latest, 0)].toarray()
        return np.where(known[:, None], found, 0.0)
