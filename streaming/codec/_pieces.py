"""What rows are put together from: columns of a byte matrix, and byte strings as they lie in Arrow's buffers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Bytes = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]
Rows = npt.NDArray[np.int64]

_EMPTY = pa.scalar(b"", pa.large_binary())


class Piece(NamedTuple):
    """Some bytes of every row."""

    matrix: Bytes  # (N, W)
    mask: Mask | None = None  # (N, W), the bytes that count; None for all
    lengths: Rows | None = None  # (N,), how many count in each row; None for W


@dataclass
class Parts:
    """The pieces of N rows, left to right."""

    rows: int
    open: list[Piece] = field(default_factory=list)
    closed: list[pa.LargeBinaryArray] = field(default_factory=list)

    def put(self, piece: Piece) -> None:
        """Go on with columns of bytes."""
        self.open.append(piece)

    def put_binary(self, array: pa.LargeBinaryArray) -> None:
        """Go on with byte strings, (N,); null is an empty one."""
        self._close()
        self.closed.append(array)

    def join(self) -> pa.LargeBinaryArray:
        """All bytes of each row, (N,)."""
        self._close()
        if len(self.closed) == 1:
            return self.closed[0]
        return pc.binary_join_element_wise(*self.closed, _EMPTY, null_handling="replace", null_replacement="")

    def _close(self) -> None:
        """Make byte strings of the open columns."""
        if self.open:
            self.closed.append(_together(self.rows, self.open))
            self.open.clear()


def _together(rows: int, pieces: list[Piece]) -> pa.LargeBinaryArray:
    matrix = pieces[0].matrix if len(pieces) == 1 else np.hstack([piece.matrix for piece in pieces])
    if all(piece.mask is None for piece in pieces):
        width = matrix.shape[1]
        return _array(np.ascontiguousarray(matrix), np.arange(0, (rows + 1) * width, width))
    lengths = np.full(rows, sum(piece.matrix.shape[1] for piece in pieces if piece.lengths is None))
    for piece in pieces:
        if piece.lengths is not None:
            lengths += piece.lengths
    masks = [np.ones_like(piece.matrix, bool) if piece.mask is None else piece.mask for piece in pieces]
    return binary_array(matrix[masks[0] if len(masks) == 1 else np.hstack(masks)], lengths)


def binary_array(data: Bytes, lengths: Rows) -> pa.LargeBinaryArray:
    """Byte strings of these lengths, one after the other in `data`."""
    offsets = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return _array(data, offsets)


def _array(data: Bytes, offsets: Rows) -> pa.LargeBinaryArray:
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(data)]
    return pa.LargeBinaryArray.from_buffers(pa.large_binary(), len(offsets) - 1, buffers)


def varints(values: npt.NDArray[np.int64]) -> Piece:
    """(N, K) integers as zigzag varints, side by side, all of one width."""
    zigzag = ((values << 1) ^ (values >> 63)).view(np.uint64)
    widest = max(1, (int(zigzag.max(initial=0)).bit_length() + 6) // 7)
    if widest == 1:
        return Piece(zigzag.astype(np.uint8))
    groups = zigzag[:, :, None] >> np.arange(0, 7 * widest, 7, dtype=np.uint64)  # (N, K, widest)
    matrix = (groups & np.uint64(0x7F)).astype(np.uint8)
    mask = groups != 0
    mask[:, :, 0] = True
    matrix[:, :, :-1] |= mask[:, :, 1:].view(np.uint8) << np.uint8(7)  # another byte follows
    flat = mask.reshape(len(values), -1)
    lengths = np.count_nonzero(flat, axis=1)
    if lengths.min() == flat.shape[1]:
        return Piece(matrix.reshape(flat.shape))
    return Piece(matrix.reshape(flat.shape), flat, lengths)


def where(there: Mask, piece: Piece) -> Piece:
    """The piece in these rows, nothing in the others."""
    mask = np.broadcast_to(there[:, None], piece.matrix.shape)
    lengths = piece.matrix.shape[1] if piece.lengths is None else piece.lengths
    return Piece(piece.matrix, mask if piece.mask is None else piece.mask & mask, there * lengths)


# --- Arrow buffers as numpy ---------------------------------------------------------------------------------------


def valid(array: pa.Array) -> Mask | None:
    """Where an array is not null; None where it is nowhere null."""
    bitmap = array.buffers()[0]
    if bitmap is None or array.null_count == 0:
        return None
    return bits(bitmap, array.offset, len(array))


def bits(bitmap: pa.Buffer, offset: int, count: int) -> Mask:
    """Bits as booleans."""
    packed = np.frombuffer(bitmap, np.uint8)
    return np.unpackbits(packed, count=offset + count, bitorder="little")[offset:].view(bool)


def data_and_ends(array: pa.LargeBinaryArray) -> tuple[Bytes, Rows]:
    """The data of byte strings and the N + 1 offsets into it."""
    _, offsets, data = array.buffers()
    ends = np.frombuffer(offsets, np.int64, count=array.offset + len(array) + 1)[array.offset :]
    return np.frombuffer(data, np.uint8) if data else np.zeros(0, np.uint8), ends


def lengths_of(array: pa.LargeBinaryArray) -> Rows:
    """How long each byte string is."""
    ends = data_and_ends(array)[1]
    return ends[1:] - ends[:-1]
