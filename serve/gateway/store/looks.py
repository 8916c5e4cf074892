"""Looks that last, each written down once: a page that asks for a frame each second looks, and does not look again."""

from __future__ import annotations

from collections.abc import Callable

Looked = Callable[[str, str, int], None]
"""(who, what, when in ms UTC): written down before anything is shown. `serve.gateway.audit.AuditLog.looked` is one."""


class Looks:
    """A look lasts until nothing was asked for `quiet_s`, and is told anew every `again_s`.

    Args:
        looked: told of each look.
    """

    def __init__(self, looked: Looked, *, quiet_s: float = 60.0, again_s: float = 600.0) -> None:
        self._looked, self._quiet_ms, self._again_ms = looked, round(quiet_s * 1000), round(again_s * 1000)
        self._lasting: dict[tuple[str, str], tuple[int, int]] = {}  # (who, what) → when told, when seen last

    def looks(self, who: str, what: str, now_ms: int) -> None:
        """Somebody looks now.

        Raises:
            AuditUnwritable: it could not be written down.
        """
        told_ms, last_ms = self._lasting.get((who, what), (None, 0))
        if told_ms is None or now_ms - last_ms > self._quiet_ms or now_ms - told_ms > self._again_ms:
            self._looked(who, what, now_ms)
            told_ms = now_ms
            self._lasting = {key: times for key, times in self._lasting.items() if now_ms - times[1] <= self._quiet_ms}
        self._lasting[who, what] = told_ms, now_ms
