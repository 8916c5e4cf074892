"""Tokens that open the gateway: what one is, what it opens, and how one is told from all others. No files, no HTTP.

A token is `sl_` and 32 random bytes in base64url. It is shown once, when it is made; kept is its SHA-256. A plain hash
is enough: it protects 256 random bits, which nobody can guess; a password would need a slow, salted one.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Collection
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import Annotated, Literal, get_args

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, field_validator

Scope = Literal["matches:read", "stores:read", "stores:admin", "shops:read", "shops:write", "ops:read", "ops:admin"]
"""What a token opens. `matches:read`: matches, their pages and overlays; `stores:read`: the same for stores;
`stores:admin`: changes the plan of a store; `shops:read`: the shop, its offers and figures; `shops:write`: says what
shoppers did; `ops:read`: /ops, /metrics and the reasons of /healthz; `ops:admin`:
whatever else changes something. None includes another.
"""

SCOPES: tuple[Scope, ...] = get_args(Scope)
PREFIX = "sl_"
MAX_TOKENS = 1_000
_WRITTEN = re.compile(r"sl_[A-Za-z0-9_-]{43}")

Glob = Annotated[str, Field(min_length=1, max_length=128)]


class BadTokenFile(ValueError):
    """The file of tokens cannot be used; the message names it and the remedy."""


class Token(BaseModel):
    """One token, as it is kept."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, Field(pattern=r"^[\w][\w.-]{0,63}$")]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    scopes: Annotated[tuple[Scope, ...], Field(min_length=1)]
    matches: tuple[Glob, ...] = ("*",)
    created: AwareDatetime
    expires: AwareDatetime | None = None

    def expired(self, now: datetime) -> bool:
        """Whether its time is over."""
        return self.expires is not None and self.expires <= now


class TokenBook(BaseModel):
    """All tokens there are."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal[1] = 1
    tokens: Annotated[tuple[Token, ...], Field(max_length=MAX_TOKENS)] = ()

    @field_validator("tokens")
    @classmethod
    def _are_distinct(cls, tokens: tuple[Token, ...]) -> tuple[Token, ...]:
        names = [token.name for token in tokens]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two tokens are named {name!r}")
        return tokens

    @classmethod
    def parse(cls, text: bytes, place: str) -> TokenBook:
        """Read what `model_dump_json` wrote.

        Raises:
            BadTokenFile: anything else; the message begins with `place` and never tells a value.
        """
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False, include_context=False)[0]
            where = "".join(f"{part}." for part in first["loc"])[:-1]
            told = ": ".join(part for part in (place, where, first["msg"].removeprefix("Value error, ")) if part)
            raise BadTokenFile(f"{told}; `sightline tokens` writes this file, restore it or make a new one") from None

    def find(self, written: str, now: datetime) -> Token | None:
        """The token that reads so, unless its time is over. Every one is compared, each in constant time."""
        if not _WRITTEN.fullmatch(written):
            return None
        digest, found = digest_of(written), None
        for token in self.tokens:
            if hmac.compare_digest(token.sha256, digest):
                found = token
        return None if found is None or found.expired(now) else found

    def named(self, name: str) -> Token | None:
        """The token of this name."""
        return next((token for token in self.tokens if token.name == name), None)

    def with_token(self, token: Token) -> TokenBook:
        """This book and one more.

        Raises:
            ValueError: the name is taken, or the book is full.
        """
        return TokenBook(tokens=(*self.tokens, token))

    def without(self, name: str) -> TokenBook:
        """This book less one."""
        return TokenBook(tokens=tuple(token for token in self.tokens if token.name != name))


def mint(
    name: str,
    scopes: Collection[Scope],
    now: datetime,
    *,
    matches: Collection[str] = ("*",),
    expires: datetime | None = None,
) -> tuple[str, Token]:
    """A new token: its text, which is kept nowhere, and what is kept of it."""
    written = PREFIX + secrets.token_urlsafe(32)
    kept = Token(
        name=name,
        sha256=digest_of(written),
        scopes=tuple(scope for scope in SCOPES if scope in scopes),
        matches=tuple(matches),
        created=now,
        expires=expires,
    )
    return written, kept


def digest_of(written: str) -> str:
    """What is kept of a token's text."""
    return hashlib.sha256(written.encode()).hexdigest()


def sees(globs: Collection[str], match_id: str) -> bool:
    """Whether a match id fits one of these patterns, in which `*` stands for anything, slashes too."""
    return any(fnmatchcase(match_id, glob) for glob in globs)


def utc_now() -> datetime:
    """The time by which tokens expire."""
    return datetime.now(UTC)
