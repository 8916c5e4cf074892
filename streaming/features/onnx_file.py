"""Writes networks in the ONNX format, so that OpenCV reads them: what a format's own library would do, were it needed.

    graph = [Node("Conv", ("image", "w", "b"), "out", {"kernel_shape": [3, 3]}), …]
    onnx_file(graph, {"w": weights, "b": biases}, {"image": (1, 3, None, None)}, ["out"])

Source: the ONNX intermediate representation (onnx.proto3) and the wire format of protocol buffers.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

_IR_VERSION, _OPSET = 7, 13
_VARINT, _BYTES, _FIXED32 = 0, 2, 5  # wire types of protocol buffers
_FLOAT, _INT, _STRING, _FLOATS, _INTS = 1, 2, 3, 6, 7  # AttributeProto.AttributeType
_ELEMENTS = {np.dtype(np.float32): 1, np.dtype(np.int64): 7}  # TensorProto.DataType

Attribute = float | int | str | Sequence[float] | Sequence[int]


@dataclass(frozen=True)
class Node:
    """One operator: its kind, the names of what goes in and of what comes out, its attributes."""

    kind: str
    inputs: Sequence[str]
    output: str
    attributes: Mapping[str, Attribute] = field(default_factory=dict)


def onnx_file(
    nodes: Iterable[Node],
    constants: Mapping[str, npt.NDArray[Any]],
    inputs: Mapping[str, Sequence[int | None]],
    outputs: Sequence[str],
) -> bytes:
    """A network of these nodes, in the order in which they are computed; the constants are of float32 or int64.

    `inputs` gives each its shape, None where any size will do.
    """
    graph = b"".join(
        (
            *(_message(1, _node(node)) for node in nodes),
            _text(2, "graph"),
            *(_message(5, _tensor(name, values)) for name, values in constants.items()),
            *(_message(11, _value(name, shape)) for name, shape in inputs.items()),
            *(_message(12, _value(name, ())) for name in outputs),
        )
    )
    return _number(1, _IR_VERSION) + _message(7, graph) + _message(8, _text(1, "") + _number(2, _OPSET))


def _node(node: Node) -> bytes:
    ends = b"".join(_text(1, name) for name in node.inputs) + _text(2, node.output)
    attributes = (_message(5, _attribute(name, value)) for name, value in node.attributes.items())
    return ends + _text(3, node.output) + _text(4, node.kind) + b"".join(attributes)


def _attribute(name: str, value: Attribute) -> bytes:
    start = _text(1, name)
    if isinstance(value, str):
        return start + _text(4, value) + _number(20, _STRING)
    if isinstance(value, int):
        return start + _number(3, value) + _number(20, _INT)
    if isinstance(value, float):
        return start + _float(2, value) + _number(20, _FLOAT)
    if all(isinstance(one, int) for one in value):
        return start + b"".join(_number(8, int(one)) for one in value) + _number(20, _INTS)
    return start + b"".join(_float(7, one) for one in value) + _number(20, _FLOATS)


def _tensor(name: str, values: npt.NDArray[Any]) -> bytes:
    shape = b"".join(_number(1, size) for size in values.shape)
    return shape + _number(2, _ELEMENTS[values.dtype]) + _text(8, name) + _message(9, values.tobytes())


def _value(name: str, shape: Sequence[int | None]) -> bytes:
    """A named tensor of float32. An output's shape stays empty: readers work it out."""
    sizes = (_message(1, _text(2, f"{name}_{i}") if n is None else _number(1, n)) for i, n in enumerate(shape))
    return _text(1, name) + _message(2, _message(1, _number(1, 1) + _message(2, b"".join(sizes))))


def _key(number: int, wire_type: int) -> bytes:
    return _varint(number << 3 | wire_type)


def _varint(number: int) -> bytes:
    """Unsigned, seven bits a byte; a negative number as its complement to two in 64 bits."""
    rest, out = number % (1 << 64), bytearray()
    while rest > 127:
        out.append(rest & 127 | 128)
        rest >>= 7
    out.append(rest)
    return bytes(out)


def _number(number: int, value: int) -> bytes:
    return _key(number, _VARINT) + _varint(value)


def _float(number: int, value: float) -> bytes:
    return _key(number, _FIXED32) + struct.pack("<f", value)


def _message(number: int, payload: bytes) -> bytes:
    return _key(number, _BYTES) + _varint(len(payload)) + payload


def _text(number: int, text: str) -> bytes:
    return _message(number, text.encode())
