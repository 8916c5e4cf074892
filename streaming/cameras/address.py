"""Where a camera's frames come from, as one text; and how that text is shown without its secrets."""

from __future__ import annotations

import re
from typing import Literal
from urllib.parse import urlsplit

Kind = Literal["network", "video", "images", "detections"]

NETWORK = ("rtsp", "rtsps", "http", "https")
STDIN = "-"
_DETECTIONS = (".jsonl", ".ndjson")
_URL = re.compile(r"\b([a-z][a-z0-9+.-]*)://[^\s'\"]+", re.IGNORECASE)


def scheme_of(address: str) -> str | None:
    """`rtsp` of `rtsp://…`; None for a path."""
    scheme, separator, _ = address.partition("://")
    return scheme.lower() if separator else None


def is_detections(address: str) -> bool:
    """Whether these are lines of a smart camera and no pictures."""
    return address == STDIN or address.lower().endswith(_DETECTIONS)


def shown(address: str) -> str:
    """The address without user, password and what is asked for: any of it may be a secret. A path stays as it is."""
    scheme = scheme_of(address)
    if scheme is None:
        return address
    try:
        parts = urlsplit(address)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return f"{scheme}://***"
    host = f"[{host}]" if ":" in host else host
    whose = "***@" if "@" in parts.netloc else ""
    asked = "?***" if parts.query or parts.fragment else ""
    return f"{scheme}://{whose}{host}{f':{port}' if port else ''}{parts.path}{asked}"


def without_secrets(words: str) -> str:
    """A message, perhaps of a library, in which every URL is `shown`."""
    return _URL.sub(lambda found: shown(found.group()), words)
