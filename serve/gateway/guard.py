"""The door: every request passes here before any route sees it. Who may see what, the routes say (`needs`)."""

from __future__ import annotations

import math
from typing import Any

from fastapi import Depends, HTTPException
from fastapi.responses import JSONResponse, Response
from starlette.datastructures import Headers
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

from serve.gateway.access import Access, Visitor
from serve.gateway.origins import from_elsewhere, is_loopback, led_here
from serve.gateway.pages import prefers_json
from serve.gateway.rate_limit import RateLimit
from serve.gateway.settings import GatewaySettings
from serve.gateway.sign_in import (
    SESSION_PATH,
    address_of,
    onward_page,
    presented,
    set_cookie,
    sign_in_page,
    without_token,
)
from serve.gateway.tokens import Scope as TokenScope

UNKNOWN, FORBIDDEN, TRY_AGAIN_LATER, POLICY_VIOLATION = 4401, 4403, 1013, 1008
_PROBES = ("/livez", "/healthz")
_READS = ("GET", "HEAD", "OPTIONS")
_VISITOR = "sightline.visitor"
_CLOSE_CODES = {401: UNKNOWN, 403: POLICY_VIOLATION, 421: POLICY_VIOLATION, 429: TRY_AGAIN_LATER}


class Guard:
    """ASGI middleware: hosts, origins, rates, tokens. What it lets pass has a visitor (`visitor_of`)."""

    def __init__(self, app: ASGIApp, access: Access, limit: RateLimit, settings: GatewaySettings) -> None:
        self._app, self._access, self._limit, self._settings = app, access, limit, settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let pass, or say why not."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        token, in_address = presented(scope, headers)
        host, _ = scope.get("client") or ("", 0)
        visitor = self._access.visitor(token, host)
        refusal = self._refusal(scope, headers, visitor)
        if refusal is None and in_address:
            if is_page(scope, headers) and visitor.token is not None and token is not None:
                refusal = onward_page(address_of(scope))
                set_cookie(refusal, scope, token)
            scope = without_token(scope)
        if refusal is None:
            await self._app({**scope, _VISITOR: visitor}, receive, send)
        elif scope["type"] == "http":
            await refusal(scope, receive, send)
        else:
            await _close(refusal, receive, send)

    def _refusal(self, scope: Scope, headers: Headers, visitor: Visitor) -> Response | None:
        """Why this request goes no further; None when it does."""
        path, method = scope["path"], scope.get("method", "GET")
        if not self._access.guarded and not self._settings.open and not is_loopback(headers.get("host", "")):
            named = headers.get("host", "")[:128]
            why = f"answers to this machine's own names only, not to {named!r}"
            return _Problem(421, f"{why}; behind a proxy, set gateway.tokens, or gateway.open = true")
        if from_elsewhere(method, headers, self._settings.origins):
            return _Problem(403, "pages from elsewhere may not connect; gateway.cors_origins lists those that may")
        if path in _PROBES:
            return None
        if (wait_s := self._limit.wait_s(visitor.client)) > 0.0:
            return _Problem(429, "too many requests; slow down", {"Retry-After": str(math.ceil(wait_s))})
        if not visitor.known and not _is_public(path):
            if is_page(scope, headers):
                if led_here(headers):
                    return onward_page(address_of(scope))
                return sign_in_page("This gateway opens with a token: `sightline tokens create` makes one.", scope)
            return _Problem(401, "no valid token; send it as Authorization: Bearer …", {"WWW-Authenticate": "Bearer"})
        if method not in _READS and path != SESSION_PATH and not visitor.may(scope_wanted := _admin_of(path)):
            return _Problem(403, f"this token has no scope {scope_wanted}, which changing anything here needs")
        return None


def visitor_of(scope: Scope) -> Visitor:
    """Whoever the guard let pass."""
    found = scope[_VISITOR]
    assert isinstance(found, Visitor)
    return found


def needs(*scopes: TokenScope) -> Any:
    """What a route says about its visitors: one of these scopes; without any, any token."""

    def check(connection: HTTPConnection) -> Visitor:
        visitor = visitor_of(connection.scope)
        if scopes and not any(visitor.may(scope) for scope in scopes):
            raise HTTPException(403, f"this token has no scope {' or '.join(scopes)}")
        return visitor

    return Depends(check)


def _admin_of(path: str) -> TokenScope:
    """The scope that changing something at this address needs."""
    if path.startswith("/api/v1/shop/"):
        return "shops:write"
    return "stores:admin" if path.startswith("/api/v1/store/") else "ops:admin"


def _is_public(path: str) -> bool:
    """What holds nothing to protect: files of the pages, and the door itself."""
    return path == SESSION_PATH or (path.startswith("/assets/") and path.count("/") == 2)


def is_page(scope: Scope, headers: Headers) -> bool:
    """Whether a person looks at the answer, in a browser or a browser source."""
    if scope["type"] != "http" or scope["method"] != "GET" or scope["path"].startswith(("/api/", "/metrics")):
        return False
    return not prefers_json(headers.get("accept", "*/*"))


class _Problem(JSONResponse):
    """A refusal in one line."""

    def __init__(self, code: int, why: str, headers: dict[str, str] | None = None) -> None:
        super().__init__({"detail": why}, code, {"Cache-Control": "no-store", **(headers or {})})
        self.why = why


async def _close(refusal: Response, receive: Receive, send: Send) -> None:
    """Browsers tell a page nothing of a refused handshake, but the code and the reason of a close they do."""
    assert isinstance(refusal, _Problem)
    await receive()
    await send({"type": "websocket.accept"})
    # A close frame has room for 123 bytes of reason.
    reason = refusal.why.encode()[:120].decode(errors="ignore")
    await send({"type": "websocket.close", "code": _CLOSE_CODES[refusal.status_code], "reason": reason})
