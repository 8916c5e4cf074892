"""Products whose every row comes out the same, bit for bit, whatever other rows are computed beside it.

A matrix product of another shape may round otherwise. Streams are therefore computed in pieces of `PIECE` rows, padded,
and many pieces at once as one batched product, in which every piece keeps its shape.
"""

from __future__ import annotations

import torch
from torch import Tensor

PIECE = 32


def padded(rows: Tensor, fill: float = 0.0) -> Tensor:
    """`rows` (N, ...) with rows of `fill` appended up to the next multiple of `PIECE`."""
    spare = -rows.shape[0] % PIECE
    return torch.cat([rows, rows.new_full((spare, *rows.shape[1:]), fill)]) if spare else rows


def affine(rows: Tensor, weight: Tensor, bias: Tensor, piece: int) -> Tensor:
    """Rows times weightᵀ + bias, (N, O), in pieces of `piece` rows of which N is a multiple.

    Args:
        rows: (N, I).
        weight: (O, I).
        bias: (O,).
        piece: rows of each product.
    """
    pieces = rows.reshape(-1, piece, rows.shape[1])
    # The weight laid out anew and the bias apart: else rows at different places of a piece may round differently.
    return torch.bmm(pieces, weight.T.contiguous().expand(pieces.shape[0], -1, -1)).reshape(rows.shape[0], -1) + bias
