"""Zigzag varints: small numbers of either sign take one byte."""

from __future__ import annotations

import pytest

from streaming.varint import sized, varint


@pytest.mark.parametrize(
    ("number", "written"),
    [
        (0, "00"), (-1, "01"), (1, "02"), (63, "7e"), (-64, "7f"), (64, "8001"), (300, "d804"),
        (2**63 - 1, "fe" + "ff" * 8 + "01"), (-(2**63), "ff" * 9 + "01"),
    ],
)  # fmt: skip
def test_numbers_by_hand(number: int, written: str) -> None:
    assert varint(number).hex() == written


def test_bytes_come_behind_their_length() -> None:
    assert sized(b"") == b"\0" and sized(b"ab") == b"\4ab"
    assert sized(bytes(64)) == b"\x80\1" + bytes(64)
    assert sized(bytes(255)) == b"\xfe\3" + bytes(255)
    assert sized(bytes(256)) == b"\x80\4" + bytes(256)
