"""Digests of what a table says, whatever wrote it: no library's version, chunk or compression enters."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np
import polars as pl


def content_digest(frame: pl.DataFrame) -> str:
    """SHA-256 over names, types and values, in the order of columns and rows."""
    digest = hashlib.sha256(f"{frame.height}".encode())
    for column in frame.get_columns():
        digest.update(f"\n{column.name} {column.dtype}\n".encode())
        _update(digest, column)
    return digest.hexdigest()


def set_fingerprint(digests: Iterable[tuple[str, str]]) -> str:
    """First 16 hex digits of a digest over (path, content digest) of all files, in whatever order they come."""
    lines = "\n".join(f"{path} {content}" for path, content in sorted(digests))
    return hashlib.sha256(lines.encode()).hexdigest()[:16]


def _update(digest: hashlib._Hash, column: pl.Series) -> None:
    digest.update(np.packbits(column.is_null().to_numpy()).tobytes())
    if isinstance(column.dtype, pl.List):
        _add(digest, column.list.len().fill_null(0))
        _update(digest, column.drop_nulls().filter(column.drop_nulls().list.len() > 0).explode())
    elif column.dtype == pl.String:
        _add(digest, column.str.len_bytes().fill_null(0))
        digest.update((column.str.join("").item() or "").encode())
    else:
        _add(digest, column.to_physical().fill_null(0))


def _add(digest: hashlib._Hash, numbers: pl.Series) -> None:
    values = numbers.to_numpy()
    digest.update(np.ascontiguousarray(values, values.dtype.newbyteorder("<")).tobytes())
