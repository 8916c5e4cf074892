"""Bringing one message to its receiver: tries, waits between them, and when it is given up."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import httpx

from jobs.alerts.message import Message, headers_of
from streaming.cameras.back_off import BackOff

_MAX_ANSWER_BYTES = 1_024  # of what a receiver says, nothing is needed but the code


@dataclass(frozen=True)
class Patience:
    """How long a receiver is waited for."""

    timeout_s: float = 10.0  # to connect, to send, and until the next byte of an answer
    tries: int = 8
    back_off: BackOff = field(default_factory=lambda: BackOff(first_s=1.0, cap_s=60.0))
    longest_wait_s: float = 300.0  # that a receiver may ask for by Retry-After


class Outcome(NamedTuple):
    """How it went."""

    delivered: bool
    tries: int
    reason: str  # of the last try that failed; "" where none did


class Webhook:
    """Sends messages to one address, one after another. A receiver has one when it answers 2xx; a redirect is a
    failure, since what is about people goes to no address but the one that was set.

    Args:
        url: http or https.
        secret: signs what is sent; None: nothing is signed.
        patience: when to try again, and when to give up.
        stopping: ends waits.
        waits: told why a message is not there yet, and "" once it is.
        transport: of httpx; None for the network.
    """

    def __init__(
        self,
        url: str,
        secret: bytes | None,
        patience: Patience,
        stopping: threading.Event,
        waits: Callable[[str], None],
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._url, self._secret, self._patience = url, secret, patience
        self._stopping, self._waits = stopping, waits
        self._rng = random.Random()  # nosec B311  # spreads tries
        self._client = httpx.Client(
            timeout=patience.timeout_s, follow_redirects=False, trust_env=False, transport=transport
        )

    def deliver(self, message: Message) -> Outcome | None:
        """Try until the receiver has it or it is given up; None where the run ends first."""
        reason = ""
        for number in range(1, self._patience.tries + 1):
            if self._stopping.is_set():
                return None
            failure, asked_s = self._try(message)
            if failure is None:
                self._waits("")
                return Outcome(True, number, reason)
            reason = failure
            if number == self._patience.tries:
                break
            wait_s = max(self._patience.back_off.delay_s(number, self._rng), asked_s)
            self._waits(f"{reason}; try {number} of {self._patience.tries}, again in {wait_s:.0f} s")
            if self._stopping.wait(wait_s):
                return None
        self._waits("")
        return Outcome(False, self._patience.tries, reason)

    def close(self) -> None:
        """Disconnect."""
        self._client.close()

    def _try(self, message: Message) -> tuple[str | None, float]:
        """Why it is not there, None if it is; and how long the receiver asks to be left alone."""
        deadline_s = time.monotonic() + self._patience.timeout_s
        headers = headers_of(message, self._secret, int(time.time()))
        try:
            with self._client.stream("POST", self._url, content=message.body, headers=headers) as response:
                if response.is_success:
                    return None, 0.0
                for size, _ in enumerate(response.iter_raw(1)):  # the connection may be used again
                    if size > _MAX_ANSWER_BYTES or time.monotonic() > deadline_s:
                        break
                return f"the webhook answers {response.status_code}", self._asked_s(response)
        except httpx.TimeoutException:
            return f"the webhook does not answer within {self._patience.timeout_s:g} s", 0.0
        except httpx.HTTPError as error:
            return f"the webhook cannot be reached: {error or type(error).__name__}", 0.0

    def _asked_s(self, response: httpx.Response) -> float:
        asked = response.headers.get("retry-after", "")
        return min(float(asked), self._patience.longest_wait_s) if asked.isascii() and asked.isdecimal() else 0.0
