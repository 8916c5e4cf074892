"""Who asks, and what they may see. Built once from the settings; no HTTP."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from serve.gateway.rate_limit import site_of
from serve.gateway.settings import GatewaySettings
from serve.gateway.token_file import TokenFile
from serve.gateway.tokens import SCOPES, Scope, Token, TokenBook, sees, utc_now


@dataclass(frozen=True, slots=True)
class Visitor:
    """Whoever asks."""

    client: str  # whose share of requests and streams is used
    scopes: tuple[Scope, ...] = ()
    matches: tuple[str, ...] = ()  # patterns of match ids
    token: Token | None = None  # None for those who need none, or have none

    @property
    def known(self) -> bool:
        """Whether anything is open to it at all."""
        return bool(self.scopes)

    def may(self, scope: Scope) -> bool:
        """Whether this is open to it."""
        return scope in self.scopes

    def sees(self, match_id: str) -> bool:
        """Whether it is for this match."""
        return sees(self.matches, match_id)


class Access:
    """Tells visitors apart. Without a file of tokens everything is open to everybody."""

    def __init__(self, book: Callable[[], TokenBook] | None, now: Callable[[], datetime] = utc_now) -> None:
        self._book, self._now = book, now

    @classmethod
    def of(cls, settings: GatewaySettings) -> Access:
        """As the settings say.

        Raises:
            BadTokenFile: the file of tokens cannot be used.
        """
        return cls(TokenFile(settings.tokens).book if settings.tokens is not None else None)

    @property
    def guarded(self) -> bool:
        """Whether a token is needed."""
        return self._book is not None

    def visitor(self, written: str | None, host: str) -> Visitor:
        """Whoever asks from this address, with this token."""
        if self._book is None:
            return Visitor(site_of(host), SCOPES, ("*",))
        token = self._book().find(written, self._now()) if written is not None else None
        if token is None:
            return Visitor(site_of(host))
        return Visitor(f"token {token.name}", token.scopes, token.matches, token)

    def holds(self, visitor: Visitor) -> bool:
        """Whether what opened the door still does: for streams, which outlive their request."""
        if self._book is None:
            return True
        token = visitor.token
        return token is not None and token in self._book().tokens and not token.expired(self._now())
