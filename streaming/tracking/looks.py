"""Embeddings as they come in rows: bytes of little-endian float32."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl

Looks = npt.NDArray[np.float32]


def unit_looks(embeddings: pl.Series, dimensions: int) -> Looks:
    """(N, D) of unit length; zeros for null, and for what has no direction (zero, or not finite).

    Raises:
        ValueError: an embedding is not of `dimensions` floats.
    """
    sizes = embeddings.bin.size().drop_nulls()
    if (wrong := sizes.filter(sizes != 4 * dimensions)).len():
        raise ValueError(f"an embedding has {wrong[0]} bytes, not the {4 * dimensions} of {dimensions} floats")
    looks = np.zeros((len(embeddings), dimensions), dtype=np.float32)
    known = embeddings.is_not_null().to_numpy()
    if known.any():
        looks[known] = np.frombuffer(b"".join(embeddings.drop_nulls().to_list()), "<f4").reshape(-1, dimensions)
    return unit(looks)


def unit(vectors: Looks) -> Looks:
    """Scaled to length 1, (N, D); what has no length, or none that is finite, becomes zero."""
    with np.errstate(invalid="ignore", over="ignore"):
        length = np.sqrt((vectors.astype(np.float64) ** 2).sum(axis=1, keepdims=True))
        good = np.isfinite(length) & (length > 0)
        scaled: Looks = np.divide(vectors, length, out=np.zeros(vectors.shape), where=good).astype(np.float32)
    return scaled


def has_look(looks: Looks) -> npt.NDArray[np.bool_]:
    """(N,) which are not zero."""
    return np.asarray((looks != 0).any(axis=1), dtype=np.bool_)
