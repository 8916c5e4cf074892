"""An alert as a message of a webhook, and its signature. Pure.

Names and signature are those of Standard Webhooks 1.0 (standardwebhooks.com), which receivers have libraries for: the
signature is `v1,` and the base64 of HMAC-SHA256 over `ID.TIMESTAMP.BODY`, under a secret written `whsec_` and base64.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

SECRET_PREFIX = "whsec_"  # nosec B105  # what secrets begin with, and none itself
LEAST_SECRET_BYTES, MOST_SECRET_BYTES = 24, 64
_IDENTITY = ("rule", "zone_id", "subject", "state", "event_time_ms")
_TOLD = ("zone_id", "rule", "kind", "state", "subject", "value", "limit")


class BadSecret(ValueError):
    """The secret cannot sign; the message never tells it."""


class Message(NamedTuple):
    """What is sent."""

    id: str  # the same for the same alert, however often and from wherever it is sent
    body: bytes


def message_of(alert: Mapping[str, Any]) -> Message:
    """The message of a row of store.alerts, times in UTC.

    The id follows from what the alert says, not from where it stands: an alert that a pipeline wrote twice is one.

    Raises:
        ValueError: a figure is not finite, which JSON cannot tell.
    """
    time: datetime = alert["event_time_ms"]
    stamp = time.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    identity = json.dumps([stamp if name == "event_time_ms" else alert[name] for name in _IDENTITY])
    data = {name: alert[name] for name in _TOLD} | {"time": stamp}
    body = {"type": f"store.alert.{alert['state']}", "timestamp": stamp, "data": data}
    key = f"alert_{hashlib.sha256(identity.encode()).hexdigest()[:32]}"
    return Message(key, json.dumps(body, ensure_ascii=False, allow_nan=False).encode())


def secret_bytes(written: str) -> bytes:
    """The secret that is written so.

    Raises:
        BadSecret: it is none, or of another length than the standard asks for.
    """
    try:
        secret = base64.b64decode(written.removeprefix(SECRET_PREFIX), validate=True)
    except ValueError:
        secret = b""
    if not written.startswith(SECRET_PREFIX) or not LEAST_SECRET_BYTES <= len(secret) <= MOST_SECRET_BYTES:
        raise BadSecret(
            f"a secret is {SECRET_PREFIX} and the base64 of {LEAST_SECRET_BYTES} to {MOST_SECRET_BYTES} random bytes: "
            "echo whsec_$(openssl rand -base64 32)"
        )
    return secret


def headers_of(message: Message, secret: bytes | None, now_s: int) -> dict[str, str]:
    """Headers of one try: id, time of the try, and where there is a secret the signature over both and the body."""
    headers = {
        "content-type": "application/json",
        "webhook-id": message.id,
        "idempotency-key": message.id,
        "webhook-timestamp": str(now_s),
    }
    if secret is not None:
        signed = b".".join((message.id.encode(), str(now_s).encode(), message.body))
        digest = hmac.new(secret, signed, hashlib.sha256).digest()
        headers["webhook-signature"] = f"v1,{base64.b64encode(digest).decode()}"
    return headers
