"""Two towers that know the items of the catalogue as it is now: what answers where nothing was learned of an item."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from contextlib import suppress

from models.cold_start import with_items
from models.recommender import SessionRecommender
from models.session_model import SessionModel
from models.store import BrokenModelError, StoredModel
from serve.predictors.win import ModelInfo
from streaming.pipeline import DependencyUnavailable
from streaming.sessions.catalogue import Index
from streaming.sessions.following import CatalogueFollower

log = logging.getLogger(__name__)

_LOOK_S = 1.0

Content = Mapping[str, tuple[str, ...]]


class ByContent:
    """A recommender that is made anew, by a thread of its own, when the catalogue has other items that training has not
    seen. Until that is read for the first time it knows those of the training alone.

    Args:
        stored: a version of two towers.
        catalogue: that says what items are.
        reasons: events that are named for each item at most.

    Raises:
        BrokenModelError: the version is another model.
    """

    def __init__(self, stored: StoredModel, catalogue: CatalogueFollower, *, reasons: int = 2) -> None:
        self._model, self._catalogue, self._reasons = stored.build_as(SessionModel), catalogue, reasons
        self.info = ModelInfo(
            stored.name, stored.version, stored.weight_hash, stored.manifest.trained_on, stored.manifest.title
        )
        self._known = frozenset(self._model.ids())
        self._content: Content = {}
        try:
            self.recommender = self._knowing(self._content)
        except ValueError as error:
            raise BrokenModelError(
                f"{stored.path}: {error}; name a model of `sightline train session-two-tower`"
            ) from None
        with suppress(DependencyUnavailable):
            self.look()  # what the catalogue has already is known from the first answer on
        threading.Thread(target=self._follow, name="content", daemon=True).start()

    def look(self) -> None:
        """Take in what the catalogue has now; the recommender is replaced by one assignment.

        Raises:
            DependencyUnavailable: the catalogue is not there.
        """
        content = content_of(self._catalogue.as_of(), self._known)
        if content != self._content:
            self.recommender, self._content = self._knowing(content), content

    def _knowing(self, content: Content) -> SessionRecommender:
        return SessionRecommender(with_items(self._model, content), reasons=self._reasons)

    def _follow(self) -> None:
        over = threading.Event()  # as long as the process
        while not over.wait(_LOOK_S):
            try:
                self.look()
            except DependencyUnavailable:
                continue  # who asks the catalogue for an answer says so
            except Exception as failure:  # what was known answers on
                log.warning("new items are not known by content for now: %s: %s", type(failure).__name__, failure)


def content_of(catalogue: Index, known: frozenset[str]) -> Content:
    """Words of every item of the catalogue that is not among these, and of which something is known: its category, as
    the files that are trained on have it (`jobs.sessions.clicks`)."""
    names = catalogue.categories
    ids, numbers = catalogue.item_id.tolist(), catalogue.category.tolist()
    told = {item: names[number] for item, number in zip(ids, numbers, strict=True) if names and item not in known}
    return {item: (f"category:{name}",) for item, name in told.items() if name}
