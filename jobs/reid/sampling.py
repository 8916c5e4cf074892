"""Batches of P people with K images each, which batch-hard triplets need (Hermans et al. 2017, §2)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]


def pk_batches(identity: Ints, *, people: int, images: int, chance: np.random.Generator) -> list[Ints]:
    """An epoch: positions of each batch (P × K,), all of a person side by side.

    Every person's images are shuffled and cut into groups of K, the last filled up with others of the same person.
    Batches take groups of people drawn by how many groups they have left, so that the largest do not remain alone; what
    is left over at the end, of fewer than P people, waits for another epoch.

    Args:
        identity: (N,) of each image.
        people: P; with fewer in the set, all of them.
        images: K; a person with fewer is drawn with repeats.
        chance: draws.
    """
    groups: dict[int, list[Ints]] = {}
    for person in np.unique(identity).tolist():
        own = chance.permutation(np.flatnonzero(identity == person))
        spare = -len(own) % images
        own = np.concatenate([own, chance.choice(own, spare)])
        groups[person] = list(own.reshape(-1, images))
    people = min(people, len(groups))
    batches = []
    while len(groups) >= people:
        names = np.array(list(groups))
        left = np.array([len(each) for each in groups.values()])
        drawn = chance.choice(names, people, replace=False, p=left / left.sum())
        batches.append(np.concatenate([groups[person].pop() for person in drawn.tolist()]))
        groups = {person: rest for person, rest in groups.items() if rest}
    return batches
