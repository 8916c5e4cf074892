"""Whether Kafka can be read, as the readers of the topics find it. Pure."""

from __future__ import annotations

from datetime import UTC, datetime

from serve.gateway.schemas import BrokerState


class BrokerHealth:
    """Reachable while every reader is; ready once each has read up to where its topic ended at the start."""

    def __init__(self, topics: frozenset[str], now_ms: int) -> None:
        self._topics = topics
        self._caught_up: set[str] = set()
        self._trouble: dict[str, str] = {}  # topic → why it cannot be read, in one line
        self._heard = False  # nothing is known of the broker before the first word
        self._since_ms = now_ms

    @property
    def reachable(self) -> bool:
        """Whether all topics can be read, as far as is known."""
        return self._heard and not self._trouble

    @property
    def ready(self) -> bool:
        """Whether every topic was read back; stays so."""
        return self._caught_up >= self._topics

    def read(self, topic: str, now_ms: int) -> None:
        """The topic could be read just now, be there news or none."""
        was = self.reachable
        self._heard = True
        self._trouble.pop(topic, None)
        self._note_change(was, now_ms)

    def failed(self, topic: str, why: str, now_ms: int) -> None:
        """The topic could not be read just now."""
        was = self.reachable
        first = not self._heard and not self._trouble
        self._trouble[topic] = why
        self._note_change(was or first, now_ms)

    def caught_up(self, topic: str) -> None:
        """The topic was read up to where it ended when the gateway started."""
        self._caught_up.add(topic)

    def state(self) -> BrokerState:
        """For the pages."""
        return BrokerState(reachable=self.reachable, since_ms=self._since_ms, text=self._text(), ready=self.ready)

    def _note_change(self, was_reachable: bool, now_ms: int) -> None:
        if was_reachable != self.reachable:
            self._since_ms = now_ms

    def _text(self) -> str:
        if self.reachable:
            return "reachable" if self.ready else "reachable, reading the topics back"
        if not self._trouble:
            return "connecting"
        since = datetime.fromtimestamp(self._since_ms / 1000, UTC).strftime("%H:%M:%S UTC")
        return f"unreachable since {since}: {next(iter(self._trouble.values()))}"
