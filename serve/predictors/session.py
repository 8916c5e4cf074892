"""What to offer next as a plain class: sessions in, items with reasons out. Knows the model store, not Ray."""

from __future__ import annotations

import numpy as np
import torch

from models.cold_start import ColdStart
from models.recommender import SessionRecommender
from models.session_model import SessionModel
from models.store import BrokenModelError, StoredModel
from serve.predictors.content import ByContent
from serve.predictors.win import ModelInfo
from streaming.sessions.model import Recommended, Sessions


class SessionPredictor:
    """One loaded model, as `streaming.sessions.model.Recommend`. All kinds of events count as clicks.

    Args:
        stored: a version from the store.
        reasons: events that are named for each item at most.
        by_content: answers the sessions in which the model knows no item, under its own name; None: the model does, by
            what it expects of sessions at large.

    Raises:
        BrokenModelError: what the version holds are no ids or no sessions.
    """

    def __init__(self, stored: StoredModel, *, reasons: int = 2, by_content: ByContent | None = None) -> None:
        torch.set_num_threads(1)
        model = stored.build_as(SessionModel)
        try:
            model.neighbours()
            self._recommender = SessionRecommender(model, reasons=reasons)
        except ValueError as error:
            raise BrokenModelError(f"{stored.path}: {error}; train it again") from None
        self._by_content = by_content
        self.info = ModelInfo(
            stored.name, stored.version, stored.weight_hash, stored.manifest.trained_on, stored.manifest.title
        )

    def __call__(self, sessions: Sessions, top_k: int) -> Recommended:
        """The best `top_k` items of each session, of all that the model knows."""
        info, content, another = self.info, self._by_content, None
        asked = (sessions.item, sessions.time_ms, sessions.offsets, top_k)
        if content is None:
            found = self._recommender.recommend(*asked)
        else:
            both = ColdStart(self._recommender, content.recommender)
            found = both.recommend(*asked)
            if (cold := both.is_cold(sessions.item, sessions.offsets)).any():
                another = np.full((len(sessions), 3), (info.name, info.version, info.weight_hash), dtype=object)
                another[cold] = (content.info.name, content.info.version, content.info.weight_hash)
        return Recommended(
            *found,
            model_name=info.name,
            model_version=info.version,
            weight_hash=info.weight_hash,
            another=another,
        )
