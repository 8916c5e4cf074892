"""Re-identification as a plain class: crops of people in, embeddings out. Knows the model store, not Ray."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
import torch

from models.bnneck import PersonEmbedder
from models.embedding import embed
from models.store import ModelStore, StoredModel
from streaming.identities import Appearance

Crops = npt.NDArray[np.uint8]
"""(N, H, W, 3), RGB, of any one size."""


@dataclass(frozen=True)
class EmbeddingInfo:
    """Which network embeds, and what it was trained on, in words for viewers."""

    name: str
    version: str
    weight_hash: str
    trained_on: str
    dimensions: int

    @property
    def exact(self) -> str:
        """NAME@VERSION."""
        return f"{self.name}@{self.version}"


class ReIDPredictor:
    """One loaded network. `predict` is deterministic: a crop's embedding does not depend on the rest of its batch.

    Args:
        stored: a version from the store.
        device: "cpu" or "cuda".

    Raises:
        BrokenModelError: the version embeds no people.
        RuntimeError: there is no such device.
    """

    def __init__(self, stored: StoredModel, device: str = "cpu") -> None:
        torch.set_num_threads(1)
        self._model = stored.build_as(PersonEmbedder).to(torch.device(device))
        self.info = EmbeddingInfo(
            stored.name, stored.version, stored.weight_hash, stored.manifest.trained_on, self._model.dim
        )
        self.metrics = stored.metrics

    def predict(self, crops: Crops) -> npt.NDArray[np.float32]:
        """Embeddings (N, D) of unit length.

        Raises:
            ValueError: the crops are of another shape or kind.
        """
        if crops.dtype != np.uint8 or crops.ndim != 4 or crops.shape[3] != 3:
            raise ValueError(f"crops must be (N, H, W, 3) of uint8, not {crops.shape} of {crops.dtype}")
        sized = _of_size(crops, self._model.height_px, self._model.width_px)
        return embed(self._model, sized.transpose(0, 3, 1, 2))


def _of_size(crops: Crops, height_px: int, width_px: int) -> Crops:
    if crops.shape[1:3] == (height_px, width_px):
        return crops
    shrinks = crops.shape[1] * crops.shape[2] > height_px * width_px
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    sized = np.empty((len(crops), height_px, width_px, 3), np.uint8)
    for row, crop in enumerate(crops):
        cv2.resize(crop, (width_px, height_px), dst=sized[row], interpolation=how)
    return sized


def load_reid_predictor(store: Sequence[str], reference: str, device: str = "cpu") -> ReIDPredictor:
    """The predictor of "NAME@ALIAS" or "NAME@VERSION", from the first of these store folders that has it.

    Raises:
        ModelNotFoundError, BrokenModelError: as `ModelStore.load`; or it embeds no people.
    """
    return ReIDPredictor(ModelStore(*store).load(reference), device)


def appearance_of(predictor: ReIDPredictor) -> Appearance:
    """What looks of this network say: as its training measured it, else what is usual."""
    figures = predictor.metrics.get("validation")
    known = figures if isinstance(figures, dict) else {}
    fitted = {name: float(known[name]) for name in ("same_cosine", "directions") if name in known}
    return Appearance(**fitted) if len(fitted) == 2 else Appearance()
