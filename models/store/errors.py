"""What can be wrong with a stored model, or with the place where it lies."""

from __future__ import annotations


class ModelNotFoundError(LookupError):
    """No such model, version or alias."""


class BadReference(ValueError):
    """What is no name, alias, version or place of a store at all."""


class BrokenModelError(ValueError):
    """A stored version is incomplete, altered or not of this format."""


class StoreUnavailableError(RuntimeError):
    """The place of a store does not answer, or does not let us do this."""


class AliasMovedError(RuntimeError):
    """An alias means something else by now than it did when the move was decided: somebody else has moved it."""


class NotApprovedError(RuntimeError):
    """A version may not be promoted, or an alias not be moved back; the message says what is missing."""
