"""What is made where it is first used: it travels as the recipe of itself, and not with weights or threads."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Lazily(Generic[T]):
    """A call that is made once, in whatever process asks first, and again in each that this is sent to.

    Args:
        make: such as a class. It and its arguments have to be picklable.
        *args, **options: for `make`.
    """

    def __init__(self, make: Callable[..., T], *args: Any, **options: Any) -> None:
        self.__setstate__((make, args, options))

    def __getstate__(self) -> tuple[Callable[..., T], tuple[Any, ...], dict[str, Any]]:
        return self._recipe

    def __setstate__(self, recipe: tuple[Callable[..., T], tuple[Any, ...], dict[str, Any]]) -> None:
        self._recipe = recipe
        self._made: list[T] = []
        self._making = threading.Lock()

    def __call__(self) -> T:
        """It. Raises what making it raises, and then tries again when it is asked again."""
        with self._making:  # several threads may come at once
            if not self._made:
                make, args, options = self._recipe
                self._made.append(make(*args, **options))
            return self._made[0]
