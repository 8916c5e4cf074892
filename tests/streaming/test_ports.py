"""Ports that are told before anybody listens on them."""

from __future__ import annotations

import itertools
import socket
from typing import Any

import pytest

from streaming import ports
from streaming.ports import LOOPBACK, free_ports, is_free


def test_ports_asked_for_together_are_each_another_one_and_free() -> None:
    found = free_ports(50)
    assert len(found) == len(set(found)) == 50
    assert is_free(found[0])


def test_a_port_is_held_until_all_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Here the machine gives what was let go at once again; a real one does so now and then."""
    given: set[int] = set()

    class Forgetful:
        def __enter__(self) -> Forgetful:
            return self

        def __exit__(self, *error: object) -> None:
            given.discard(self.port)

        def bind(self, address: tuple[str, int]) -> None:
            assert address == (LOOPBACK, 0)
            self.port = next(port for port in itertools.count(4001) if port not in given)
            given.add(self.port)

        def getsockname(self) -> tuple[str, int]:
            return LOOPBACK, self.port

    def forgetful(*_: Any) -> Forgetful:
        return Forgetful()

    monkeypatch.setattr(ports.socket, "socket", forgetful)
    assert free_ports(3) == [4001, 4002, 4003]
    assert free_ports(2, besides=[4001, 4003]) == [4002, 4004]
    assert given == set(), "and all are let go"


def test_where_somebody_listens_is_not_free_and_what_is_no_port_neither() -> None:
    with socket.create_server((LOOPBACK, 0)) as taken:
        assert not is_free(taken.getsockname()[1])
    assert not is_free(70_000)
