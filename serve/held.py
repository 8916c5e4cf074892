"""Versions of models that one process has loaded: a few of each title, so that one can take over from another."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any, Generic, Protocol, TypeVar

from models.store import BrokenModelError, ModelNotFoundError, ModelStore
from serve.releases import releases_of

_HELD = 3  # versions of a title: the one that answers, the one before, to which a rollback leads, and one to come


class Named(Protocol):
    """Which model it is, and what it learned from."""

    @property
    def name(self) -> str:
        """Of the model in its store."""

    @property
    def version(self) -> str:
        """Of the model in its store."""

    @property
    def exact(self) -> str:
        """NAME@VERSION."""

    @property
    def weight_hash(self) -> str:
        """SHA-256 of its weights."""

    @property
    def trained_on(self) -> str:
        """In words for viewers."""


class Loaded(Protocol):
    """A model in memory."""

    @property
    def info(self) -> Named:
        """Which it is."""


Model = TypeVar("Model", bound=Loaded)


class Held(Generic[Model]):
    """Models by title and NAME@VERSION. Safe for threads.

    Args:
        load: (title, NAME@VERSION) to a model that is for that title.
        check: (title, model); raises RuntimeError or ValueError, in words, if the model does not answer as it must.
    """

    def __init__(self, load: Callable[[str, str], Model], check: Callable[[str, Model], None]) -> None:
        self._load, self._check = load, check
        self._lock = threading.Lock()
        # What was loaded or asked for last at the end. Replaced, never changed.
        self._held: dict[tuple[str, str], Model] = {}

    def load_first(self, store: ModelStore, references: Mapping[str, str], *, fall_back: bool) -> None:
        """Hold what each title's reference means.

        Args:
            store: that says what it means.
            references: title to NAME@ALIAS or NAME@VERSION.
            fall_back: where what an alias means cannot serve, load what it meant before. For those whom calls tell by
                which version to answer: one that starts meanwhile must not be missing beside those that answer on.

        Raises:
            ModelNotFoundError, BrokenModelError: a model cannot be loaded: what is meant, not what was tried last.
        """
        for title, reference in references.items():
            failure: Exception | None = None
            for release in releases_of(store, reference):
                try:
                    self.prepare(title, release.exact)
                    failure = None
                    break
                except (ModelNotFoundError, BrokenModelError) as broken:
                    failure = failure or broken
                if not fall_back:
                    break
            if failure is not None:
                raise failure

    def prepare(self, title: str, exact: str) -> None:
        """Load NAME@VERSION beside what answers. What was asked for longest ago goes."""
        self._touch(title, self._loaded(title, exact))

    def asked(self, title: str, exact: str = "") -> Model:
        """The model to answer by, loaded first if it is not held; without a version, the newest.

        Raises:
            KeyError: there is no model for the title.
        """
        newest = self.newest()
        if title not in newest:
            raise KeyError(f"no model for title {title!r}; this replica serves {', '.join(sorted(newest))}")
        model = self._loaded(title, exact) if exact else newest[title]
        self._touch(title, model)
        return model

    def newest(self) -> dict[str, Model]:
        """By title, what was loaded or asked for last."""
        return {title: model for (title, _), model in self._held.items()}

    def describe(self) -> list[dict[str, Any]]:
        """Of the newest, by title: title, name, version, weight_hash, trained_on."""
        return [
            {
                "title": title,
                "name": model.info.name,
                "version": model.info.version,
                "weight_hash": model.info.weight_hash,
                "trained_on": model.info.trained_on,
            }
            for title, model in sorted(self.newest().items())
        ]

    def check_newest(self, calling: threading.Lock) -> None:
        """See that the newest of each title answers as it must.

        Args:
            calling: held while a model answers.

        Raises:
            RuntimeError, ValueError: one does not.
        """
        for title, model in self.newest().items():
            with calling:
                self._check(title, model)

    def _loaded(self, title: str, exact: str) -> Model:
        model = self._held.get((title, exact))
        if model is None:
            model = self._load(title, exact)
            try:
                self._check(title, model)
            except (RuntimeError, ValueError) as unfit:
                raise BrokenModelError(f"{exact} does not answer as it must: {unfit}") from unfit
        return model

    def _touch(self, title: str, model: Model) -> None:
        """Hold it as the last of its title, and no more than a few."""
        exact = model.info.exact
        with self._lock:
            others = {key: held for key, held in self._held.items() if key != (title, exact)}
            mine = [key for key in others if key[0] == title]
            for key in mine[: max(0, len(mine) + 1 - _HELD)]:
                del others[key]
            self._held = {**others, (title, exact): model}
