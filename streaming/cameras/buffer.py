"""Frames that wait to be sent: the newest, and no more than a few."""

from __future__ import annotations

import threading
from collections import deque
from typing import Generic, TypeVar

Item = TypeVar("Item")


class NewestBuffer(Generic[Item]):
    """First in, first out, of a fixed size: what comes when it is full drives out the oldest, which is counted.

    Whatever happens, `put` = taken for good + `dropped` + waiting. Thread-safe.
    """

    def __init__(self, capacity: int) -> None:
        if capacity < 1:
            raise ValueError(f"a buffer holds one frame or more, not {capacity}")
        self._capacity = capacity
        self._items: deque[Item] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._items)

    @property
    def finished(self) -> bool:
        """Closed, and everything taken."""
        with self._changed:
            return self._closed and not self._items

    def put(self, item: Item) -> None:
        """Add the newest."""
        with self._changed:
            self._items.append(item)
            if len(self._items) > self._capacity:
                self._items.popleft()
                self.dropped += 1
            self._changed.notify()

    def take(self, timeout_s: float) -> Item | None:
        """The oldest; None when there was none in time, or there will be none any more."""
        with self._changed:
            self._changed.wait_for(lambda: self._items or self._closed, timeout_s)
            return self._items.popleft() if self._items else None

    def put_back(self, item: Item) -> None:
        """Return what was taken last and could not be sent: it is the oldest again, and dropped if there is no room."""
        with self._changed:
            if len(self._items) >= self._capacity:
                self.dropped += 1
            else:
                self._items.appendleft(item)

    def close(self) -> None:
        """No more will come; what waits can still be taken."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
