"""How well embeddings of people never seen find each other, by the usual rule and across cameras only."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from jobs.reid.crops import CropSet
from models.bnneck import PersonEmbedder
from models.embedding import cosine_distances, embed
from models.metrics.retrieval import Ranked, rank
from streaming.identities import Appearance
from streaming.identities.appearance import centred

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
    """What is watched in training, and what the embedding's looks say; empty where nobody is held out."""
    if not len(crops):
        return {}
    embeddings = embed(model, crops.images.numpy())
    found = judged_by(embeddings, crops)
    return {
        "map": found.usual.mean_average_precision,
        "rank1": found.usual.cmc(1),
        "map_across": found.across.mean_average_precision,
        "rank1_across": found.across.cmc(1),
        **looks_say(embeddings, crops),
    }


def looks_say(embeddings: Floats, crops: CropSet) -> dict[str, float]:
    """The figures of `streaming.identities.Appearance`, from pairs of crops of different cameras; none where there are
    too few, or the network tells nobody apart yet."""
    looks = centred(embeddings, crops.camera)
    cosines = (looks @ looks.T).astype(np.float64)
    across = np.triu(crops.camera[:, None] != crops.camera[None, :])
    same = crops.identity[:, None] == crops.identity[None, :]
    try:
        fitted = Appearance.fit(cosines[across & same], cosines[across & ~same])
    except ValueError:
        return {}
    return {"same_cosine": fitted.same_cosine, "directions": fitted.directions}
