"""How a browser shows its token: once, for a cookie that scripts cannot read and other sites cannot use.

Broadcast software opens a bare address and sets no header, so an address may carry the token: `/overlay/ID?token=…`. It
is answered with the cookie and sent on to the same address without the token, so that no history, no Referer and no
screenshot holds it. The sending on is done by the page, not by a redirect: a browser that came from another site keeps
SameSite=Strict cookies back through all redirects, but not when our own page leads on. A person types the token.
"""

from __future__ import annotations

from html import escape
from urllib.parse import parse_qsl, quote, urlencode

from fastapi.responses import HTMLResponse, Response
from starlette.datastructures import Headers
from starlette.requests import cookie_parser
from starlette.types import Scope

SESSION_PATH = "/session"
MAX_FORM_FIELDS = 4
_PARAMETER = "token"
_HEAD = '<!doctype html>\n<html lang="en"><meta charset="utf-8"><meta name="color-scheme" content="dark light">'
_SIGN_IN = """{head}
<meta name="viewport" content="width=device-width, initial-scale=1"><title>Sightline</title>
<h1>A token, please</h1>
<p>{why}</p>
<form method="post" action="{action}">
<input type="hidden" name="next" value="{next}">
<label>Token <input type="password" name="token" autocomplete="current-password" required autofocus></label>
<button>Open</button>
</form>
</html>
"""
# Over video nobody may read that something is wrong: the title says it, which is not shown there.
_NOTHING_ON_AIR = "{head}<title>{why}</title></html>\n"
_ONWARD = '{head}<meta http-equiv="refresh" content="0;url={to}"><title>Sightline</title></html>\n'


def presented(scope: Scope, headers: Headers) -> tuple[str | None, bool]:
    """The token of a request, from its Authorization header, its address (GET only) or its cookie, in this order; and
    whether it came by the address."""
    if (authorization := headers.get("authorization")) is not None:
        scheme, _, credentials = authorization.partition(" ")
        return (credentials.strip() if scheme.lower() == "bearer" else ""), False
    if scope.get("method", "GET") == "GET":
        for name, value in _query(scope):
            if name == _PARAMETER:
                return value, True
    return cookie_parser(headers.get("cookie", "")).get(_cookie_name(scope)), False


def without_token(scope: Scope) -> Scope:
    """The same request, as if the address had no token: nothing further in can repeat or log it."""
    kept = [(name, value) for name, value in _query(scope) if name != _PARAMETER]
    return {**scope, "query_string": urlencode(kept).encode()}


def sign_in_page(why: str, scope: Scope, status: int = 401, to: str | None = None) -> Response:
    """What a person sees who has no token, or one that does not open this page. Over video: nothing.

    `to` is the address to go on to; by default the one that was asked for.
    """
    headers = {"Cache-Control": "no-store"}
    if scope["path"].startswith("/overlay/"):
        return HTMLResponse(_NOTHING_ON_AIR.format(head=_HEAD, why=escape(why)), status, headers)
    # The form is checked to come from here, and without a referrer policy that allows it browsers would not say so.
    headers["Referrer-Policy"] = "same-origin"
    page = _SIGN_IN.format(head=_HEAD, why=escape(why), action=SESSION_PATH, next=escape(to or address_of(scope)))
    return HTMLResponse(page, status, headers)


def onward_page(to: str) -> Response:
    """Leads a browser on from our own page, so that it brings its cookie."""
    return HTMLResponse(_ONWARD.format(head=_HEAD, to=escape(to)), headers={"Cache-Control": "no-store"})


def set_cookie(response: Response, scope: Scope, token: str) -> None:
    """Let the browser keep the token until it is closed."""
    response.set_cookie(
        _cookie_name(scope), token, path="/", secure=_is_secure(scope), httponly=True, samesite="strict"
    )


def address_of(scope: Scope) -> str:
    """Path and query of a request, less the token, as an address on this host."""
    raw = scope.get("raw_path") or quote(scope["path"]).encode()
    query = without_token(scope)["query_string"]
    return local_address((raw.partition(b"?")[0] + (b"?" + query if query else b"")).decode("latin-1"))


def local_address(written: str) -> str:
    """An address on this host, whatever was written: never `//elsewhere`, in any spelling."""
    path, mark, query = written.partition("?")
    return "/" + quote(path, safe="/%:@!$&'()*+,;=~").lstrip("/") + mark + quote(query, safe="/%:@!$&'()*+,;=~?")


def _query(scope: Scope) -> list[tuple[str, str]]:
    return parse_qsl(scope.get("query_string", b"").decode("latin-1"), keep_blank_values=True)


def _cookie_name(scope: Scope) -> str:
    # The prefix makes browsers refuse it from a neighbour host, or without TLS.
    return "__Host-sightline" if _is_secure(scope) else "sightline"


def _is_secure(scope: Scope) -> bool:
    return scope.get("scheme") in ("https", "wss")
