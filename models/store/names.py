"""Names of models and aliases, version numbers, and references to versions, all as text from outside."""

from __future__ import annotations

import re

from models.store.errors import BadReference

LIVE = "live"
"""The alias that is meant where none is named."""

LONGEST_NAME = 100
_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_VERSION = re.compile(r"[1-9][0-9]{0,8}")


def is_name(text: str) -> bool:
    """Can it name a model or an alias?"""
    return _NAME.fullmatch(text) is not None and len(text) <= LONGEST_NAME


def is_version(text: str) -> bool:
    """Is it the number of a version?"""
    return _VERSION.fullmatch(text) is not None


def checked_name(name: str) -> str:
    """Names become folders: nothing but letters, digits and hyphens gets through.

    Raises:
        BadReference: it is no name.
    """
    if not is_name(name):
        raise BadReference(
            f"bad model name or alias {name[:LONGEST_NAME]!r}: use lower-case letters, digits and single hyphens, "
            f"at most {LONGEST_NAME}"
        )
    return name


def exact(ref: str) -> tuple[str, int]:
    """Name and number of "NAME@VERSION".

    Raises:
        BadReference: it is anything else, such as an alias, which may mean another version tomorrow.
    """
    name, _, version = ref.partition("@")
    checked_name(name)
    if not is_version(version):
        raise BadReference(f"{ref[: 2 * LONGEST_NAME]!r} names no version: write NAME@VERSION, such as {name}@3")
    return name, int(version)
