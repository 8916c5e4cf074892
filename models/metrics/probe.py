"""What a feature tells without being asked: a linear probe, and how often it is right on rows it has not seen."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

_RIDGE = 1e-2  # of the mean of the diagonal


def linear_probe(
    features: npt.NDArray[np.floating],
    labels: npt.NDArray[np.integer],
    to_judge: npt.NDArray[np.bool_],
) -> float:
    """Share of the judged rows whose label is the largest of ridge regressions, one a label, on the other rows.

    In closed form, so that a probe has no luck of its own; Alain and Bengio (arXiv:1610.01644) train theirs.

    Args:
        features: (N, D).
        labels: (N,).
        to_judge: (N,), rows that are judged; the rest is learned from.

    Raises:
        ValueError: nothing to judge, or nothing to learn from.
    """
    if not to_judge.any() or to_judge.all():
        raise ValueError("a probe needs rows to learn from and others to judge")
    names, number = np.unique(labels, return_inverse=True)
    learn = ~to_judge
    mean = features[learn].mean(axis=0)
    rows = np.concatenate([features - mean, np.ones((len(features), 1))], axis=1).astype(np.float64)
    x, y = rows[learn], np.eye(len(names))[number[learn]]
    gram = x.T @ x
    weights = np.linalg.solve(gram + _RIDGE * np.trace(gram) / len(gram) * np.eye(len(gram)), x.T @ y)
    said = (rows[to_judge] @ weights).argmax(axis=1)
    return float((said == number[to_judge]).mean())
