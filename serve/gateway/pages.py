"""The built pages, and the headers that every answer carries."""

from __future__ import annotations

import re
from pathlib import Path

from fastapi.responses import FileResponse, HTMLResponse, Response
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serve.gateway.origins import is_loopback

_NOT_BUILT = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Sightline</title>
<h1>The pages are not built yet</h1>
<p>Run <code>make pages</code> in the project folder, then load this page again.</p>
<p>The answers are there all the same: <a href="/api/matches">/api/matches</a>, <a href="/api/ops">/api/ops</a>,
<a href="/metrics">/metrics</a>.</p>
</html>
"""
_FILE_NAME = re.compile(r"[\w-][\w.-]{0,127}", re.ASCII)

_SECURITY = {
    # Nothing from elsewhere, nothing inline: the pages need no outside network and run no text as code.
    "Content-Security-Policy": (
        "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}


class Pages:
    """The folder that the build of `serve/web` wrote; looked at for every request, so a later build is seen at once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def page(self) -> Response:
        """The one page; it shows what its address says."""
        index = self._folder / "index.html"
        if not index.is_file():
            return HTMLResponse(_NOT_BUILT, status_code=503, headers={"Cache-Control": "no-store"})
        return FileResponse(index, media_type="text/html", headers={"Cache-Control": "no-cache"})

    def asset(self, name: str) -> Response | None:
        """A file whose name changes with its content; None where there is none of that name."""
        return self._file(self._folder / "assets", name, "public, max-age=31536000, immutable")

    def root_file(self, name: str) -> Response | None:
        """A file beside the page, such as an icon; None where there is none of that name."""
        return self._file(self._folder, name, "no-cache")

    @staticmethod
    def _file(folder: Path, name: str, caching: str) -> Response | None:
        # One plain name: no folder, no dot first, so nothing outside the folder can be named.
        if not _FILE_NAME.fullmatch(name) or not (folder / name).is_file():
            return None
        return FileResponse(folder / name, headers={"Cache-Control": caching})


def prefers_json(accept: str) -> bool:
    """Whether an Accept header asks for JSON rather than for a page; `*/*` and ties mean the page."""
    return _quality(accept, "application/json") > _quality(accept, "text/html")


def _quality(accept: str, media_type: str) -> float:
    """The q of a media type, from its most specific range (RFC 9110, 12.5.1)."""
    best = (-1, 0.0)
    for item in accept.split(","):
        name, *parameters = (part.strip().lower() for part in item.split(";"))
        ranges = (media_type, media_type.split("/")[0] + "/*", "*/*")
        if name in ranges:
            best = max(best, (len(ranges) - ranges.index(name), _q(parameters)))
    return best[1]


def _q(parameters: list[str]) -> float:
    for parameter in parameters:
        if parameter.startswith("q="):
            try:
                return min(1.0, max(0.0, float(parameter[2:])))
            except ValueError:
                return 0.0
    return 1.0


class SecurityHeaders:
    """ASGI middleware that adds the headers; it looks at no body, so streams pass untouched."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on, adding the headers to the start of the answer."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        # For a year browsers would open nothing else on localhost without TLS.
        strict = scope.get("scheme") == "https" and not is_loopback(Headers(scope=scope).get("host", ""))

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _SECURITY.items():
                    headers.setdefault(name, value)
                if strict:
                    headers.setdefault("Strict-Transport-Security", "max-age=31536000")
            await send(message)

        await self._app(scope, receive, send_with_headers)
