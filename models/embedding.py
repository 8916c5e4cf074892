"""From crops to embeddings, and from embeddings to neighbours: exact search by cosine."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from models.bnneck import PersonEmbedder
from models.layers.rows import PIECE, padded

Floats = npt.NDArray[np.float32]


def embed(model: PersonEmbedder, crops: npt.NDArray[np.uint8]) -> Floats:
    """Embeddings (N, D) of unit length, float32, of crops (N, 3, H, W) uint8 RGB of the model's size.

    Computed in padded pieces of one size, so that an embedding does not depend on what is asked beside it. The model is
    left in evaluation mode.

    Raises:
        ValueError: the crops have another shape, or are no bytes.
    """
    if crops.dtype != np.uint8:
        raise ValueError(f"crops must be uint8, not {crops.dtype}")
    model.eval()
    if not len(crops):
        return np.empty((0, model.dim), np.float32)
    rows = padded(torch.from_numpy(np.ascontiguousarray(crops)))
    device = model.neck.weight.device
    with torch.inference_mode():
        pieces = [model(piece.to(device).float() / 255).cpu() for piece in torch.split(rows, PIECE)]
    found: Floats = torch.cat(pieces)[: len(crops)].numpy()
    return found


def cosine_distances(query: Floats, gallery: Floats) -> Floats:
    """1 - cosine, (Q, G), of embeddings (Q, D) and (G, D) of unit length: half their squared Euclidean distance."""
    distances: Floats = np.maximum(1 - query @ gallery.T, 0)
    return distances


def nearest(query: Floats, gallery: Floats, k: int) -> tuple[npt.NDArray[np.int64], Floats]:
    """The k nearest of the gallery to each query, nearest first: positions (Q, k) and cosines (Q, k).

    With fewer than k in the gallery there are as many columns as it has. Of equals, the earlier comes first.

    Args:
        query: (Q, D), unit length.
        gallery: (G, D), unit length.
        k: at least 1.
    """
    if k < 1:
        raise ValueError(f"k={k}: must be at least 1")
    cosines = query @ gallery.T
    k = min(k, len(gallery))
    if k == len(gallery):
        order = np.argsort(-cosines, axis=1, kind="stable")
        return order, np.take_along_axis(cosines, order, axis=1)
    # Down to the k-th highest of each row, ties included; of these the earlier ones.
    bar = -np.partition(-cosines, k - 1, axis=1)[:, k - 1 : k]
    above, tied = cosines > bar, cosines == bar
    room = k - above.sum(axis=1, keepdims=True)
    chosen = above | (tied & (np.cumsum(tied, axis=1) <= room))
    found = np.nonzero(chosen)[1].reshape(len(query), k)
    values = np.take_along_axis(cosines, found, axis=1)
    order = np.argsort(-values, axis=1, kind="stable")
    return np.take_along_axis(found, order, axis=1), np.take_along_axis(values, order, axis=1)
