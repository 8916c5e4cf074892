"""Items and sessions that training never saw: two towers answer by content, as soon as the catalogue has them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch

from models.recommender import Recommendations, SessionRecommender
from models.session_model import SessionModel
from models.two_tower import TwoTower, TwoTowerConfig


def with_items(model: SessionModel, content: Mapping[str, Sequence[str]]) -> SessionModel:
    """A model of two towers that knows these items too; the given one is left as it is.

    Items it has already take the new content. Nothing is learned: an item's vector is made of its words, and of its own
    part where it was clicked in training.

    Args:
        model: whose encoder is `TwoTower`.
        content: words by id, such as "category:5".

    Raises:
        ValueError: another encoder, or an item with an empty id.
    """
    encoder, known = model.encoder, model.ids()
    config = model.config.encoder
    if not isinstance(encoder, TwoTower) or not isinstance(config, TwoTowerConfig):
        raise ValueError(f"{type(encoder).__name__} knows items by their clicks alone; two towers are needed")
    if "" in content:
        raise ValueError("an item has an empty id")
    had = set(known)
    ids = (*known, *(each for each in content if each not in had))
    grown = replace(
        model.config,
        encoder=replace(config, items=len(ids)),
        id_bytes=sum(len(each.encode()) for each in ids),
    ).build()
    weights = {name: value for name, value in model.state_dict().items() if not name.startswith("id_")}
    words = weights.pop("encoder.words")
    grown.load_state_dict({**grown.state_dict(), **weights})
    grown.set_ids(ids)
    assert isinstance(grown.encoder, TwoTower)  # as its config
    grown.encoder.set_content([content.get(each, ()) for each in ids])
    kept = torch.tensor([number for number, each in enumerate(known) if each not in content], dtype=torch.int64)
    grown.encoder.words[kept] = words[kept]
    return grown.eval()


class ColdStart:
    """A recommender for sessions of known items, and one by content for sessions in which that knows no click.

    Args:
        known: the live one.
        by_content: two towers, whose reasons are of the same number.
    """

    def __init__(self, known: SessionRecommender, by_content: SessionRecommender) -> None:
        self._known, self._by_content = known, by_content

    def recommend(
        self, item: npt.NDArray[np.object_], time_ms: npt.NDArray[np.int64], offsets: npt.NDArray[np.int64], k: int
    ) -> Recommendations:
        """As `SessionRecommender.recommend`; a session's scores are of the recommender that answers it."""
        found = self._known.recommend(item, time_ms, offsets, k)
        cold = np.flatnonzero(self.is_cold(item, offsets))
        if not len(cold):
            return found
        asked = np.isin(_row(offsets), cold)
        lengths = np.diff(offsets)[cold]
        answer = self._by_content.recommend(item[asked], time_ms[asked], np.append(0, np.cumsum(lengths)), k)
        for mine, theirs in zip(found, answer, strict=True):
            mine[cold] = theirs
        return found

    def is_cold(self, item: npt.NDArray[np.object_], offsets: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """Which sessions (N,) are answered by content."""
        knows = self._known.knows(item.tolist())
        heard: npt.NDArray[np.bool_] = np.bincount(_row(offsets), knows, len(offsets) - 1) > 0
        return ~heard


def _row(offsets: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The session of every click, (T,)."""
    return np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
