"""Scores of all items for pieces of sessions, of which each row comes out the same whatever stands beside it.

A product of 32 sessions with 50,000 items of 96 numbers is 307 MFLOP. On one core of a 2.6 GHz EPYC of the fifth
generation the library that numpy brings makes 8,300 sessions a second of it, that of torch 7,700, and oneDNN, which is
in torch as well, with the items laid out for it once, 18,400: neither of the others uses the wide registers there.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from models.layers.rows import PIECE, padded
from models.session_encoder import Tables

Scores = npt.NDArray[np.float32]


class Scorer:
    """`(states @ vectors.T + biases) * sharpness` of all I items.

    Args:
        tables: of the items.
        sharpness: at least 0.
    """

    def __init__(self, tables: Tables, sharpness: float) -> None:
        self.vectors = (tables.vectors * sharpness).detach().contiguous()
        self.biases = (tables.biases * sharpness).detach().contiguous()
        self._packed = _packed(self.vectors)

    def pieces(self, states: Tensor) -> Iterator[tuple[slice, Scores]]:
        """Scores (n, I) of the rows of each piece of states (Q, D), which the caller may change."""
        with torch.inference_mode():
            rows = padded(states)
            for start in range(0, len(states), PIECE):
                part = slice(start, min(start + PIECE, len(states)))
                yield part, self._product(rows[start : start + PIECE]).numpy()[: part.stop - start]

    def of(self, states: Tensor, items: npt.NDArray[np.int64]) -> Scores:
        """Scores (Q, k) of some items (Q, k)."""
        # Padded: a batch of one is no batched product, and rounds otherwise.
        rows, which = padded(states), padded(torch.from_numpy(items), 0)
        with torch.inference_mode():
            found = torch.bmm(self.vectors[which], rows[:, :, None])[..., 0] + self.biases[which]
        single: Scores = found[: len(states)].numpy()
        return single

    def _product(self, states: Tensor) -> Tensor:
        if self._packed is None:
            return torch.addmm(self.biases, states, self.vectors.T)
        # By what torch's own compiler calls: the public way to oneDNN lays the items out anew at every call.
        product = torch.ops.mkldnn._linear_pointwise  # noqa: SLF001
        found: Tensor = product(states, self._packed, self.biases, "none", [], "")
        return found


def exponentiate(scores: Scores) -> tuple[Scores, Scores]:
    """Scores (n, I) become e to the power of how much each is below its row's highest; that (n, 1), and the sums of the
    powers (n, 1)."""
    highest = scores.max(axis=1, keepdims=True)
    np.subtract(scores, highest, out=scores)
    np.exp(scores, out=scores)
    return highest, scores.sum(axis=1, keepdims=True)


def _packed(vectors: Tensor) -> Tensor | None:
    """The items as oneDNN multiplies `PIECE` rows by them the fastest; None where there is no oneDNN."""
    there = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call] # torch states no type for it
    if vectors.device.type != "cpu" or not there:
        return None
    found: Tensor = torch.ops.mkldnn._reorder_linear_weight(vectors, PIECE)  # noqa: SLF001 - as below
    return found
