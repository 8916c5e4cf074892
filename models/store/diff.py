"""Two versions side by side: where they come from, what they are made of, how well they do, how far their weights lie
apart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from models.store.stored import StoredModel

if TYPE_CHECKING:
    from torch import Tensor

Row = tuple[str, Any, Any]
"""A dotted name, and its value in either version; None where one lacks it."""


@dataclass(frozen=True)
class TensorDiff:
    """One tensor.

    Attributes:
        shape_a: in the first version; None where it lacks the tensor.
        shape_b: in the second.
        distance: |b - a| / max(|a|, |b|), Euclidean: 0 for the same, about 1.4 for unrelated ones, 2 for opposite ones;
            None where the shapes differ or a number of one stands where the other has none.
    """

    name: str
    shape_a: tuple[int, ...] | None
    shape_b: tuple[int, ...] | None
    distance: float | None


@dataclass(frozen=True)
class ModelDiff:
    """What differs. Manifest and config: only rows that do; metrics: all, side by side; every tensor."""

    a: str
    b: str
    manifest: tuple[Row, ...]
    config: tuple[Row, ...]
    metrics: tuple[Row, ...]
    weights: tuple[TensorDiff, ...]


def diff_models(a: StoredModel, b: StoredModel) -> ModelDiff:
    """The first version beside the second."""
    manifests = (_manifest(a), _manifest(b))
    return ModelDiff(
        a.manifest.reference,
        b.manifest.reference,
        tuple(row for row in _rows(*manifests) if row[1] != row[2]),
        tuple(row for row in _rows(a.config, b.config) if row[1] != row[2]),
        tuple(_rows(a.metrics, b.metrics)),
        tuple(_tensor(name, a.weights.get(name), b.weights.get(name)) for name in {**a.weights, **b.weights}),
    )


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested objects as one, with dotted names."""
    rows: dict[str, Any] = {}
    for name, value in values.items():
        rows |= flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return rows


def _manifest(stored: StoredModel) -> dict[str, Any]:
    return {key: value for key, value in asdict(stored.manifest).items() if key not in ("name", "version")}


def _rows(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[Row]:
    left, right = flat(a), flat(b)
    return [(name, left.get(name), right.get(name)) for name in {**left, **right}]


def _tensor(name: str, a: Tensor | None, b: Tensor | None) -> TensorDiff:
    shape_a, shape_b = (None if tensor is None else tuple(tensor.shape) for tensor in (a, b))
    distance = None if a is None or b is None or shape_a != shape_b else _distance(a, b)
    return TensorDiff(name, shape_a, shape_b, distance)


def _distance(a: Tensor, b: Tensor) -> float | None:
    a, b = a.double(), b.double()
    if not a.isnan().equal(b.isnan()):
        return None
    a, b = a.nan_to_num(), b.nan_to_num()
    size = max(a.norm().item(), b.norm().item())
    return (b - a).norm().item() / size if size else 0.0
