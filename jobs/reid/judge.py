"""How well embeddings of people never seen find each other, by the usual rule and across cameras only."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from jobs.reid.crops import CropSet
from models.bnneck import PersonEmbedder
from models.embedding import cosine_distances, embed
from models.metrics.retrieval import Ranked, rank

Floats = npt.NDArray[np.float32]


class Judged(NamedTuple):
    """Every crop as a query against all crops of the set."""

    usual: Ranked  # same person in the same camera left out
    across: Ranked  # everybody in the same camera left out


def judged(crops: CropSet, distance: npt.NDArray[np.floating]) -> Judged:
    """A ranking by these distances (N, N) among all crops. A query itself is its own person in its own camera."""
    labels = crops.identity, crops.identity, crops.camera, crops.camera
    return Judged(rank(distance, *labels), rank(distance, *labels, other_cameras_only=True))


def judged_by(embeddings: Floats, crops: CropSet) -> Judged:
    """A ranking by the cosine of embeddings (N, D)."""
    return judged(crops, cosine_distances(embeddings, embeddings))


def validation(model: PersonEmbedder, crops: CropSet) -> dict[str, float]:
    """What is watched in training; empty where nobody is held out."""
    if not len(crops):
        return {}
    found = judged_by(embed(model, crops.images.numpy()), crops)
    return {
        "map": found.usual.mean_average_precision,
        "rank1": found.usual.cmc(1),
        "map_across": found.across.mean_average_precision,
        "rank1_across": found.across.cmc(1),
    }
