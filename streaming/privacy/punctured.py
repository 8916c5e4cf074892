"""A key from which the keys of many names follow, and from which any of them can be struck out for good.

Source: the tree of Goldreich, Goldwasser and Micali, "How to construct random functions", J. ACM 33 (1986): a node's
children are pseudorandom functions of it, and the key of a name is the leaf that the bits of its hash lead to. Striking
a leaf out (Boneh and Waters, "Constrained pseudorandom functions and their applications", ASIACRYPT 2013; Green and
Miers, "Forward secure asynchronous messaging from puncturable encryption", IEEE S&P 2015) replaces each node on the way
to it by the sibling: all other leaves follow as before, and nothing is left from which this one does.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Mapping
from typing import NamedTuple

KEY_BYTES = 32
DEPTH = 48
"""Of the tree: that one of 100,000 names shares its leaf with another has a chance of 4 in 10,000,000,000."""

_NODE = struct.Struct(f">BQ{KEY_BYTES}s")


class Node(NamedTuple):
    """Where in the tree: the first `depth` bits on the way from its root."""

    depth: int
    path: int


class PuncturableKey:
    """Immutable.

    Args:
        nodes: from which leaves follow; none stands above another.
    """

    def __init__(self, nodes: Mapping[Node, bytes]) -> None:
        self._nodes = dict(nodes)

    @classmethod
    def whole(cls, root: bytes) -> PuncturableKey:
        """From which every name's key follows. Raises ValueError: it has not `KEY_BYTES`."""
        if len(root) != KEY_BYTES:
            raise ValueError(f"a key of {len(root)} bytes, not {KEY_BYTES}")
        return cls({Node(0, 0): root})

    def key_of(self, name: bytes) -> bytes | None:
        """The name's key; None if it was struck out."""
        found = self._above(leaf := _leaf(name))
        if found is None:
            return None
        value = self._nodes[found]
        for depth in range(found.depth, DEPTH):
            value = _child(value, _bit(leaf, depth))
        return value

    def without(self, name: bytes) -> PuncturableKey:
        """The same key, but for this name's."""
        found = self._above(leaf := _leaf(name))
        if found is None:
            return self
        nodes = dict(self._nodes)
        value = nodes.pop(found)
        for depth in range(found.depth, DEPTH):
            bit = _bit(leaf, depth)
            sibling = Node(depth + 1, (leaf >> (DEPTH - depth - 1)) ^ 1)
            nodes[sibling] = _child(value, 1 - bit)
            value = _child(value, bit)
        return PuncturableKey(nodes)

    def to_bytes(self) -> bytes:
        """For `from_bytes`."""
        return b"".join(_NODE.pack(*node, value) for node, value in sorted(self._nodes.items()))

    @classmethod
    def from_bytes(cls, data: bytes) -> PuncturableKey:
        """Raises ValueError: these are not what `to_bytes` makes."""
        if len(data) % _NODE.size:
            raise ValueError(f"{len(data)} bytes are no key")
        nodes = {Node(depth, path): value for depth, path, value in _NODE.iter_unpack(data)}
        if any(node.depth > DEPTH or node.path >> node.depth for node in nodes):
            raise ValueError("a node that is outside of the tree")
        return cls(nodes)

    def _above(self, leaf: int) -> Node | None:
        """The node that the leaf follows from."""
        for depth in range(DEPTH + 1):
            if (node := Node(depth, leaf >> (DEPTH - depth))) in self._nodes:
                return node
        return None


def _leaf(name: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(name, digest_size=DEPTH // 8, person=b"sightline leaf").digest(), "big")


def _bit(leaf: int, depth: int) -> int:
    """Which way it goes on from this depth."""
    return leaf >> (DEPTH - depth - 1) & 1


def _child(value: bytes, bit: int) -> bytes:
    return hashlib.blake2b(bytes([bit]), key=value, digest_size=KEY_BYTES, person=b"sightline node").digest()
