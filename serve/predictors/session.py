"""What to offer next as a plain class: sessions in, items with reasons out. Knows the model store, not Ray."""

from __future__ import annotations

import torch

from models.recommender import SessionRecommender
from models.session_model import SessionModel
from models.store import BrokenModelError, StoredModel
from serve.predictors.win import ModelInfo
from streaming.sessions.model import Recommended, Sessions


class SessionPredictor:
    """One loaded model, as `streaming.sessions.model.Recommend`. All kinds of events count as clicks.

    Args:
        stored: a version from the store.
        reasons: events that are named for each item at most.

    Raises:
        BrokenModelError: what the version holds are no ids or no sessions.
    """

    def __init__(self, stored: StoredModel, *, reasons: int = 2) -> None:
        torch.set_num_threads(1)
        model = stored.build_as(SessionModel)
        try:
            model.neighbours()
            self._recommender = SessionRecommender(model, reasons=reasons)
        except ValueError as error:
            raise BrokenModelError(f"{stored.path}: {error}; train it again") from None
        self.info = ModelInfo(
            stored.name, stored.version, stored.weight_hash, stored.manifest.trained_on, stored.manifest.title
        )

    def __call__(self, sessions: Sessions, top_k: int) -> Recommended:
        """The best `top_k` items of each session, of all that the model knows."""
        found = self._recommender.recommend(sessions.item, sessions.time_ms, sessions.offsets, top_k)
        return Recommended(
            *found,
            model_name=self.info.name,
            model_version=self.info.version,
            weight_hash=self.info.weight_hash,
        )
