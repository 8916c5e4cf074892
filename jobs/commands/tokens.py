"""`sightline tokens`: who may open the gateway."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jobs.commands.console import AsJson, Assignments, emit_json, emit_table, loaded, say
from jobs.errors import UsageProblem
from streaming.locking import folder_locked

if TYPE_CHECKING:
    from serve.gateway.tokens import Scope, Token, TokenBook

tokens = typer.Typer(no_args_is_help=True, help="Tokens that open the gateway; the file is the setting gateway.tokens.")


@tokens.command()
def create(
    name: Annotated[str, typer.Argument(help="Whose it is: letters, digits, - _ and dots.")],
    scope: Annotated[
        list[str] | None,
        typer.Option(
            help="matches:read, stores:read, stores:admin, shops:read, shops:write, ops:read, ops:admin. Repeatable. "
            "Default: matches:read."
        ),
    ] = None,
    match: Annotated[
        list[str] | None, typer.Option(metavar="PATTERN", help="Only these match ids, such as 'LCK/*'. Repeatable.")
    ] = None,
    days: Annotated[int | None, typer.Option(min=1, max=3650, help="Valid so long; default: until revoked.")] = None,
    as_json: AsJson = False,
    assignments: Assignments = None,
) -> None:
    """Make a token, and print it: it is kept nowhere. Programs send it as `Authorization: Bearer …`, broadcast software
    opens /overlay/MATCH?token=….

    Example: sightline tokens create studio-1 --match 'LCK/*' --days 30
    """
    from pydantic import ValidationError

    from serve.gateway.tokens import mint, utc_now

    now = utc_now()
    expires = now + timedelta(days=days) if days is not None else None
    try:
        written, token = mint(name, _scopes(scope), now, matches=match or ("*",), expires=expires)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise UsageProblem(f"{name!r}: {first['loc'][0]}: {first['msg']}") from None
    with _changing(_file(assignments)) as (book, save):
        if book.named(name) is not None:
            raise UsageProblem(f"there is a token {name!r} already: revoke it first, or choose another name")
        try:
            changed = book.with_token(token)
        except ValidationError:
            raise UsageProblem(f"there are {len(book.tokens):,} tokens, as many as there may be: revoke some") from None
        save(changed)
    if as_json:
        emit_json({"token": written, **_told(token)})
        return
    typer.echo(written)
    say(f"{name}: {', '.join(token.scopes)} of {', '.join(token.matches)}; copy it now, it is shown only here")


@tokens.command(name="ls")
def ls(as_json: AsJson = False, assignments: Assignments = None) -> None:
    """List the tokens there are; their texts are not kept.

    Example: sightline tokens ls --json
    """
    from serve.gateway.token_file import read_tokens
    from serve.gateway.tokens import utc_now

    book, now = read_tokens(_file(assignments)), utc_now()
    if as_json:
        emit_json([_told(token) | {"expired": token.expired(now)} for token in book.tokens])
        return
    rows = [
        (
            token.name,
            " ".join(token.scopes),
            " ".join(token.matches),
            f"{token.created:%Y-%m-%d}",
            f"{token.expires:%Y-%m-%d}{' (over)' if token.expired(now) else ''}" if token.expires else "-",
        )
        for token in book.tokens
    ]
    emit_table(("name", "scopes", "matches", "created (UTC)", "expires"), rows)


@tokens.command()
def revoke(
    name: Annotated[str, typer.Argument(help="As `sightline tokens ls` shows it.")], assignments: Assignments = None
) -> None:
    """Take a token back: a running gateway refuses it within a second, and ends its streams with their next message.

    Example: sightline tokens revoke studio-1
    """
    with _changing(_file(assignments)) as (book, save):
        if book.named(name) is None:
            names = [token.name for token in book.tokens]
            near = get_close_matches(name, names, n=1)
            hint = f"did you mean {near[0]}?" if near else "`sightline tokens ls` has those there are"
            raise UsageProblem(f"no token {name!r}; {hint}")
        save(book.without(name))
    say(f"{name} is revoked")


class _Save:
    """Writes a book in place of another, readable by its owner alone."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __call__(self, book: TokenBook) -> None:
        from jobs.files import write_text
        from serve.gateway.token_file import MODE

        write_text(self._path, book.model_dump_json(indent=2) + "\n", MODE)


@contextmanager
def _changing(path: Path) -> Iterator[tuple[TokenBook, _Save]]:
    """The tokens of a file, which nobody else changes meanwhile: or a token revoked could come back."""
    from serve.gateway.token_file import read_tokens
    from serve.gateway.tokens import TokenBook

    if not path.parent.is_dir():
        raise UsageProblem(f"gateway.tokens {path}: there is no folder {path.parent}; make it first")
    with folder_locked(path.parent):
        yield (read_tokens(path) if path.exists() else TokenBook()), _Save(path)


def _file(assignments: list[str] | None) -> Path:
    path = loaded(assignments).settings.gateway.tokens
    if path is None:
        raise UsageProblem(
            "gateway.tokens is not set: name the file in sightline.toml, in SIGHTLINE_GATEWAY__TOKENS, or with "
            "--set gateway.tokens=PATH; the gateway needs the same"
        )
    return path


def _scopes(written: list[str] | None) -> tuple[Scope, ...]:
    from serve.gateway.tokens import SCOPES

    for name in written or ():
        if name not in SCOPES:
            raise UsageProblem(f"--scope {name}: unknown; there are: {', '.join(SCOPES)}")
    return tuple(scope for scope in SCOPES if scope in (written or ("matches:read",)))


def _told(token: Token) -> dict[str, object]:
    return token.model_dump(mode="json", exclude={"sha256"})
