"""Who sent a browser here: what a page from elsewhere may ask of the gateway. Pure functions over the headers."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Mapping
from urllib.parse import urlsplit

_READS = ("GET", "HEAD", "OPTIONS")


def from_elsewhere(method: str, headers: Mapping[str, str], allowed: Collection[str]) -> bool:
    """Whether a page of another origin asks. Following a link to here is not asking, and programs send no origin.

    Args:
        method: of the request; of a WebSocket handshake it is GET.
        headers: with names in small letters.
        allowed: origins that may ask, such as https://studio.example.
    """
    origin = headers.get("origin")
    if origin is not None:
        return not same_origin(origin, headers.get("host", "")) and origin not in allowed
    site = headers.get("sec-fetch-site", "none")
    if site in ("same-origin", "none"):
        return False
    return method not in _READS or headers.get("sec-fetch-mode") != "navigate"


def led_here(headers: Mapping[str, str]) -> bool:
    """Whether a person followed a link from another site: browsers hold the cookie back then (SameSite=Strict)."""
    cross = headers.get("sec-fetch-site") in ("cross-site", "same-site")
    return cross and headers.get("sec-fetch-mode") == "navigate"


def same_origin(origin: str, host: str) -> bool:
    """Whether an Origin header names the host that is asked."""
    try:
        return urlsplit(origin).netloc == host != ""
    except ValueError:  # no address at all, such as http://[x
        return False


def is_loopback(host: str) -> bool:
    """Whether a Host header (or a bare address) names this machine from within, and from nowhere else.

    A page from elsewhere can make its own name resolve to 127.0.0.1; the Host header then still has that name.
    """
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
