"""A scenario: one way to break a running pipeline, as a function. It need not check anything but what is special to it:
the invariant is checked after each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tests.chaos.lab import Lab
from tests.counting import EXACTLY_ONCE


@dataclass(frozen=True)
class Scenario:
    """One way to break things."""

    name: str
    what: str
    runners: tuple[str, ...]
    play: Callable[[Lab], None]
    deliveries: tuple[str, ...] = (EXACTLY_ONCE,)  # the guarantees that are on trial


SCENARIOS: dict[str, Scenario] = {}


def scenario(
    *runners: str, deliveries: tuple[str, ...] = (EXACTLY_ONCE,)
) -> Callable[[Callable[[Lab], None]], Callable[[Lab], None]]:
    """A function whose name and docstring are the scenario's."""

    def add(play: Callable[[Lab], None]) -> Callable[[Lab], None]:
        name = play.__name__.replace("_", "-")
        SCENARIOS[name] = Scenario(name, " ".join((play.__doc__ or "").split()), runners, play, deliveries)
        return play

    return add
