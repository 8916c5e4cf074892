"""Whole numbers as zigzag varints, and bytes behind their length: as both Avro and Kafka's record batches have them."""

from __future__ import annotations


def varint(number: int) -> bytes:
    """A number of 64 bits, one to ten bytes."""
    zigzag = (number << 1) ^ (number >> 63)
    out = bytearray()
    while zigzag > 127:
        out.append(zigzag & 127 | 128)
        zigzag >>= 7
    out.append(zigzag)
    return bytes(out)


_LENGTHS = [varint(number) for number in range(256)]


def sized(data: bytes) -> bytes:
    """How many bytes, then they themselves."""
    count = len(data)
    return (_LENGTHS[count] if count < len(_LENGTHS) else varint(count)) + data
