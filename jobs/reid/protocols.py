"""Who is left in a query's gallery: the protocols of re-identification across clothes.

Of every ranking the same person in the same camera is left out (Market-1501). The others are those of the sets with
changed clothes (PRCC, LTCC; Gu et al., "Clothes-Changing Person Re-identification with RGB Modality Only", CVPR 2022):
the same person in the *same* clothes is left out where clothes are to have changed, in *other* clothes where they are
not to. A query without a right image left is not judged.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from jobs.errors import UsageProblem
from jobs.reid.crops import CropSet
from models.embedding import cosine_distances
from models.metrics.retrieval import Ranked, rank

Floats = npt.NDArray[np.float32]
Flags = npt.NDArray[np.bool_]

STANDARD, CHANGED, SAME = "standard", "changed_clothes", "same_clothes"
LOOK_ALIKES = 50
"""Of other people, in the gallery of a query."""


def judged_under(protocol: str, query: CropSet, gallery: CropSet, query_by: Floats, gallery_by: Floats) -> Ranked:
    """A ranking of the gallery for each query, by the cosine of embeddings (Q, D) and (G, D).

    Args:
        protocol: STANDARD, CHANGED or SAME.
        query: Q crops.
        gallery: G crops; may be the queries.
        query_by: embeddings of the queries, of unit length.
        gallery_by: those of the gallery.

    Raises:
        UsageProblem: the protocol asks for clothes, and the data does not tell them.
    """
    return _ranked(query, gallery, query_by, gallery_by, _BY_CLOTHES[protocol](query, gallery))


def judged_among_look_alikes(
    query: CropSet,
    gallery: CropSet,
    query_by: Floats,
    gallery_by: Floats,
    apparel: tuple[Floats, Floats],
    *,
    look_alikes: int = LOOK_ALIKES,
) -> Ranked:
    """Among the right images and the `look_alikes` images of other people that are dressed most like the query.

    Args:
        query: Q crops.
        gallery: G crops.
        query_by: embeddings (Q, D).
        gallery_by: embeddings (G, D).
        apparel: apparel embeddings (Q, A) and (G, A), of unit length.
        look_alikes: how many; all others where there are fewer.
    """
    others = ~_same_person(query, gallery)
    distance = np.where(others, cosine_distances(*apparel), np.inf)
    nearest = np.argsort(np.argsort(distance, axis=1, kind="stable"), axis=1, kind="stable") < look_alikes
    return _ranked(query, gallery, query_by, gallery_by, others & ~nearest)


def _ranked(query: CropSet, gallery: CropSet, query_by: Floats, gallery_by: Floats, left_out: Flags) -> Ranked:
    return rank(
        cosine_distances(query_by, gallery_by),
        query.identity,
        gallery.identity,
        query.camera,
        gallery.camera,
        left_out=left_out,
    )


def _nothing(query: CropSet, gallery: CropSet) -> Flags:
    return np.zeros((len(query), len(gallery)), np.bool_)


def _same_clothes_away(query: CropSet, gallery: CropSet) -> Flags:
    away: Flags = _same_person(query, gallery) & _alike(query, gallery)
    return away


def _other_clothes_away(query: CropSet, gallery: CropSet) -> Flags:
    away: Flags = _same_person(query, gallery) & ~_alike(query, gallery)
    return away


def _same_person(query: CropSet, gallery: CropSet) -> Flags:
    same: Flags = query.identity[:, None] == gallery.identity[None]
    return same


def _alike(query: CropSet, gallery: CropSet) -> Flags:
    if query.clothes is None or gallery.clothes is None:
        without = query if query.clothes is None else gallery
        raise UsageProblem(f"{without.source}: does not say who wears what, which {CHANGED} and {SAME} ask for")
    alike: Flags = query.clothes[:, None] == gallery.clothes[None]
    return alike


_BY_CLOTHES: dict[str, Callable[[CropSet, CropSet], Flags]] = {
    STANDARD: _nothing,
    CHANGED: _same_clothes_away,
    SAME: _other_clothes_away,
}
PROTOCOLS = tuple(_BY_CLOTHES)
