"""Hot swap: aliases are watched, and what one means now is loaded and warmed beside what answers, then offered.

    promotion ─► alias moves ─► ReleaseWatch: prepare everywhere ─► offered ─► the stage takes it over between batches
                                └─ fails: an alert; the old version is offered on, until the alias moves again

A watch asks the store about once a second, which is cheap, and at once when it is told that something moved
(`sightline.control`). References to a version, NAME@3, never move.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Generic, Protocol, TypeVar

from models.store import AliasState, BrokenModelError, ModelNotFoundError, ModelStore, StoreUnavailableError
from models.store.aliases import meanings
from models.store.names import LIVE, is_version
from streaming.pipeline import DependencyUnavailable
from streaming.releases import Release, ReleaseLost

log = logging.getLogger(__name__)

_PERIOD_S = 1.0
_SOON_S = 0.1  # while there is nothing to answer with
_FIRST_OFFER_S = 0.5
_END_S = 5.0

Prepare = Callable[[str, str], None]
"""(title, NAME@VERSION): load it and let it answer once, wherever it is to answer from.

Raises:
    DependencyUnavailable, StoreUnavailableError: not now, it will be tried again.
    others: it cannot serve.
"""


Hints = Callable[[Callable[[], None], threading.Event], None]
"""(nudge, over): call `nudge` whenever an alias may have moved, until `over` is set. Has a thread to itself."""


Request = TypeVar("Request", contravariant=True)
Reply = TypeVar("Reply", covariant=True)


class Holder(Protocol[Request, Reply]):
    """Whatever has models loaded: `serve.win.ServePredict`, `serve.session.LocalRecommend`."""

    def prepare(self, title: str, exact: str, /) -> None:
        """As `Prepare`."""

    def __call__(self, title: str, request: Request, exact: str = "", /) -> Reply:
        """By NAME@VERSION, loaded first if it is not.

        Raises:
            ModelNotFoundError, BrokenModelError: it cannot be.
        """

    def describe(self) -> list[dict[str, Any]]:
        """As `serve.win.WinReplica.describe`."""


def alias_of(reference: str) -> tuple[str, str | None]:
    """Name and alias of a reference, or None if it names a version."""
    name, _, rest = reference.partition("@")
    return name, None if is_version(rest) else rest or LIVE


def releases_of(store: ModelStore, reference: str) -> Iterator[Release]:
    """What a reference means; then, in case that cannot serve, what its alias meant before, the latest first."""
    name, alias = alias_of(reference)
    if alias is None:
        yield Release(reference, 0, store.resolve(reference)[1])
        return
    state = store.alias_state(name, alias)
    if state is None:
        store.resolve(reference)  # says what there is
        return
    yield Release(reference, state.moves, state.version)
    if state.root == str(store.own):
        for version in reversed(meanings(store.history(name, alias))[:-1]):
            yield Release(reference, max(0, state.moves - 1), version)


class ReleaseWatch:
    """A thread that looks at aliases, and has what they mean prepared.

    Args:
        roots: of the model store.
        references: title to NAME@ALIAS or NAME@VERSION.
        prepare: as `Prepare`; called by this thread.
        period_s: between two looks.
    """

    def __init__(
        self, roots: Sequence[str], references: Mapping[str, str], prepare: Prepare, *, period_s: float = _PERIOD_S
    ) -> None:
        self._roots, self._references, self._prepare = tuple(roots), dict(references), prepare
        self._period_s = period_s
        self._store: ModelStore | None = None
        self._seen: dict[str, AliasState | None] = {}  # what was dealt with last, well or badly
        self._alerts: dict[tuple[str, str], str] = {}  # by title, and what of it is wrong
        self._told: set[str] = set()
        self._over, self._wake, self._looked = threading.Event(), threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._repeat, name="releases", daemon=True)
        self.offered: dict[str, Release] = {}
        """By title: what may answer from the next batch on."""

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End; a version that is being loaded may be waited for a while."""
        self._over.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(_END_S)

    def nudge(self) -> None:
        """Something has moved: look now."""
        self._wake.set()

    def alerts(self) -> tuple[str, ...]:
        """Versions that were meant to take over and cannot."""
        return tuple(alert for _, alert in sorted(self._alerts.copy().items()))

    def first_look(self, timeout_s: float) -> None:
        """Wait, at most so long, until every title was looked at once."""
        self._looked.wait(timeout_s)

    def look(self) -> None:
        """Once at every title, as the thread does again and again."""
        for title, reference in self._references.items():
            try:
                self._look_at(title, reference)
            except (DependencyUnavailable, StoreUnavailableError, OSError) as away:
                if title in self.offered or not isinstance(away, DependencyUnavailable):  # else it is still starting
                    self._tell(f"{reference} is not followed for now: {away}")
        self._looked.set()

    def _look_at(self, title: str, reference: str) -> None:
        if self._store is None:
            self._store = ModelStore(*self._roots)
        name, alias = alias_of(reference)
        try:
            seen = None if alias is None else self._store.alias_state(name, alias)
            self._alerts.pop((title, "alias"), None)
            if title in self._seen and self._seen[title] == seen:
                return
            for tried, release in enumerate(releases_of(self._store, reference)):
                if self._take(title, release):
                    if not tried:
                        self._alerts.pop((title, "version"), None)
                    break
                if title in self.offered:
                    break
        except (ModelNotFoundError, BrokenModelError) as problem:
            self._alert((title, "alias"), f"what {reference} means cannot be read: {problem}")
            return
        self._seen[title] = seen

    def _take(self, title: str, release: Release) -> bool:
        """Whether it is offered now; else an alert says why not."""
        before = self.offered.get(title)
        try:
            self._prepare(title, release.exact)
        except (DependencyUnavailable, StoreUnavailableError):
            raise
        except Exception as failure:  # whatever it is that keeps a version from serving, the old one serves on
            why = " ".join(str(failure).split()) or type(failure).__name__
            if before is not None or (title, "version") not in self._alerts:
                goes_on = f"{before.exact} answers on" if before else "an earlier version is looked for"
                words = f"{release.exact} ({release.reference}) cannot take over, {goes_on}: {why}"
                self._alert((title, "version"), words)
            return False
        self.offered[title] = release  # by this one assignment
        log.info("%s: %s takes over from %s", title, release.exact, before.exact if before else "nothing")
        return True

    def _alert(self, what: tuple[str, str], words: str) -> None:
        self._alerts[what] = words
        self._tell(words)

    def _tell(self, words: str) -> None:
        if words not in self._told:
            self._told.add(words)
            log.warning("%s", words)

    def _repeat(self) -> None:
        while not self._over.is_set():
            self._wake.clear()
            try:
                self.look()
            except Exception as failure:  # the old versions answer on, whatever it was
                self._tell(f"aliases are not followed for now: {type(failure).__name__}: {failure}")
            is_whole = self.offered.keys() == self._references.keys()
            self._wake.wait(self._period_s if is_whole else min(_SOON_S, self._period_s))


_Asked = TypeVar("_Asked")
_Given = TypeVar("_Given")
_Made = tuple[Holder[Any, Any], tuple[str, ...], dict[str, str], Hints | None, float]


class Following(Generic[_Asked, _Given]):
    """A holder's models as aliases move: `streaming.releases.ReleasedPredict`. Watches from the first use on, wherever
    that is, so that it travels light.

    Args:
        holder: has the models.
        roots: of the model store.
        references: title to NAME@ALIAS or NAME@VERSION.
        hints: as `Hints`; None for none. Travels along.
        period_s: between two looks without a hint.
    """

    def __init__(
        self,
        holder: Holder[_Asked, _Given],
        roots: Sequence[str],
        references: Mapping[str, str],
        *,
        hints: Hints | None = None,
        period_s: float = _PERIOD_S,
    ) -> None:
        self.__setstate__((holder, tuple(roots), dict(references), hints, period_s))

    def __getstate__(self) -> _Made:
        return self._made

    def __setstate__(self, made: _Made) -> None:
        self._made: _Made = made
        self._watch: ReleaseWatch | None = None
        self._over, self._starting = threading.Event(), threading.Lock()

    def offered(self, title: str) -> Release:
        """The release that is loaded and warm wherever the holder has models.

        Raises:
            KeyError: there is no model for the title.
            DependencyUnavailable: there is none yet.
        """
        if title not in self._made[2]:
            raise KeyError(f"no model for title {title!r}; there are: {', '.join(sorted(self._made[2]))}")
        watch = self._watching()
        if title not in watch.offered:
            watch.first_look(_FIRST_OFFER_S)
        if title not in watch.offered:
            raise DependencyUnavailable(f"the model for {title} is being loaded{self._troubles(watch)}")
        return watch.offered[title]

    def alerts(self) -> tuple[str, ...]:
        """Versions that were meant to take over and cannot."""
        return self._watching().alerts()

    def __call__(self, title: str, request: _Asked, release: Release) -> _Given:
        """The holder's answer by a release.

        Raises:
            ReleaseLost: its weights can be had no more.
            DependencyUnavailable: the holder does not answer.
        """
        try:
            answer: _Given = self._made[0](title, request, release.exact)
            return answer
        except (ModelNotFoundError, BrokenModelError) as gone:
            raise ReleaseLost(release, str(gone)) from gone
        except StoreUnavailableError as away:
            raise DependencyUnavailable(str(away)) from away

    def describe(self) -> list[dict[str, Any]]:
        """The holder's models; watches from then on."""
        described = self._made[0].describe()
        self._watching()
        return described

    def close(self) -> None:
        """Watch no more."""
        self._over.set()
        with self._starting:
            if self._watch is not None:
                self._watch.stop()

    def _watching(self) -> ReleaseWatch:
        with self._starting:
            if self._watch is None:
                holder, roots, references, hints, period_s = self._made
                self._watch = ReleaseWatch(roots, references, holder.prepare, period_s=period_s)
                self._watch.start()
                if hints is not None:
                    about = (self._watch.nudge, self._over)
                    threading.Thread(target=hints, args=about, name="hints", daemon=True).start()
            return self._watch

    @staticmethod
    def _troubles(watch: ReleaseWatch) -> str:
        return f" ({'; '.join(alerts)})" if (alerts := watch.alerts()) else ""
