"""Are the reasons true? Keep only the groups that a method names, or take them away, and see what the model then says.

    fidelity at k    keep the k groups of largest |c|, all others level all along: share of frames whose class
                     (who is ahead) stays what it was                                           more is better
    removal at k     level those k and keep the others: mean change of the win probability      more is better
    area             the mean over k = 1 .. G of either
    cost             CPU time of the method in plain forward passes over the same histories

Rows of one table explain the same frames of the same matches; intervals are 95 %, from resampling whole matches. A
frame at which the model gives exactly even odds has no class to keep and is not drawn.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from models.attribution import by_captum, by_shap, controls
from models.attribution.coalitions import Coalitions, shapley
from models.attribution.controls import Matches
from models.attribution.histories import Attribution, Histories, WinNet, in_pieces, logits
from models.attribution.own import contributions

OWN = "TSSTN contributions"
RESAMPLES = 1000
_LEAST_TIMED_S = 0.2

Interval = tuple[float, float]
"""95 % of the resamples lie between."""


@dataclass(frozen=True)
class Curve:
    """One measure over k = 1 .. G."""

    at: tuple[float, ...]  # (G,)
    intervals: tuple[Interval, ...]  # (G,)
    area: float
    area_interval: Interval


@dataclass(frozen=True)
class FidelityRow:
    """What one method is worth."""

    method: str
    fidelity: Curve  # shares, 0 to 1
    removal: Curve  # win probability, 0 to 1
    behind_best: tuple[float, ...]  # (G,), best fidelity of all methods at k less this one's
    behind_best_intervals: tuple[Interval, ...]  # (G,), of the difference on the same frames
    cost: float  # in plain forward passes
    frames: int
    matches: int


@dataclass(frozen=True)
class Gate:
    """What the project asks of the model's own reasons."""

    k: int
    behind_best: float
    cost: float
    passed: bool


def default_methods(train: Matches, seed: int = 0) -> dict[str, Attribution]:
    """Every method there is, by the name that the report shows; the linear one learns from `train`."""
    return {
        OWN: contributions,
        "exact Shapley values": shapley,
        "integrated gradients (Captum)": by_captum.integrated_gradients,
        "SmoothGrad (Captum)": by_captum.smooth_grad,
        "gradient × input (Captum)": by_captum.gradient_x_input,
        "KernelSHAP (Captum)": by_captum.kernel_shap,
        "GradientSHAP (Captum)": by_captum.gradient_shap,
        "KernelExplainer (SHAP)": by_shap.kernel_explainer,
        "GradientExplainer (SHAP)": by_shap.gradient_explainer(seed),
        "logistic regression coefficients": controls.linear_coefficients(train),
        "random": controls.random_reasons(seed),
    }


def table(
    model: WinNet,
    matches: Matches,
    *,
    methods: Mapping[str, Attribution] | None = None,
    sample_frames: int = 400,
    seed: int = 0,
    train: Matches | None = None,
    on_method: Callable[[str], None] = lambda name: None,
) -> list[FidelityRow]:
    """One row per method, in their order.

    Args:
        model: in evaluation mode.
        matches: to draw frames from, such as a test set.
        methods: by name; by default all of `default_methods`.
        sample_frames: how many frames to explain, spread evenly over the matches.
        seed: of the draw, of methods that draw, and of the resampling.
        train: what the linear control learns from; by default `matches` themselves.
        on_method: told the name of each method before it runs.

    Raises:
        ValueError: the model gives even odds at every frame drawn, or a method gives no finite number.
    """
    methods = default_methods(train or matches, seed) if methods is None else methods
    frames = draw_frames(matches.mask, sample_frames, seed)
    histories = Histories.of(matches.features, matches.clock_s, matches.mask, frames, matches.heroes)
    with torch.no_grad():
        decided = _plain_forward(model, histories) != 0
    if not decided.any():
        raise ValueError("the model gives even odds at every frame drawn: there is no class to keep")
    frames, histories = frames[decided], histories.take(torch.nonzero(decided).squeeze(1))
    coalitions = Coalitions.of(model, histories)
    known = histories.known_groups(model.config)
    plain_s = _cpu_s(lambda: _plain_forward(model, histories))
    judged = []
    for name, method in methods.items():
        on_method(name)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            began = time.process_time()
            found = method(model, histories)
            spent_s = time.process_time() - began
        if spent_s < _LEAST_TIMED_S:
            spent_s = _cpu_s(lambda method=method: method(model, histories))  # type: ignore[misc]
        if not found.isfinite().all():
            raise ValueError(f"{name}: not every attribution is a finite number")
        judged.append((name, _per_frame(found, coalitions, known), spent_s / plain_s))
    resampled = _Resampled.of(frames[:, 0], seed)
    best = _best_per_k([kept for _, (kept, _), _ in judged])
    return [
        FidelityRow(
            method=name,
            fidelity=resampled.curve(kept),
            removal=resampled.curve(removed),
            behind_best=tuple((best - kept).mean(dim=0).tolist()),
            behind_best_intervals=resampled.intervals(best - kept),
            cost=cost,
            frames=len(frames),
            matches=len(torch.unique(frames[:, 0])),
        )
        for name, (kept, removed), cost in judged
    ]


def gate(rows: Sequence[FidelityRow], *, k: int = 3, points: float = 0.01, cost: float = 2.0) -> Gate:
    """Whether the model's own contributions are within a point of the best at k, and cheap.

    With fewer than k groups the last of them counts.
    """
    own = next(row for row in rows if row.method == OWN)
    at = min(k, len(own.behind_best))
    behind = own.behind_best[at - 1]
    return Gate(at, behind, own.cost, passed=behind <= points and own.cost <= cost)


def draw_frames(mask: Tensor, count: int, seed: int) -> Tensor:
    """Frames (N, 2), match and position, at random: as many of each match as of the others, give or take one."""
    chance = torch.Generator().manual_seed(seed)
    frames = torch.nonzero(mask)
    shuffled = frames[torch.randperm(len(frames), generator=chance)]
    by_match = torch.argsort(shuffled[:, 0], stable=True)
    match = shuffled[by_match, 0]
    turn = torch.empty_like(match)
    turn[by_match] = torch.arange(len(match)) - torch.searchsorted(match, match)
    return shuffled[torch.argsort(turn, stable=True)[:count]]


def _per_frame(found: Tensor, coalitions: Coalitions, known: Tensor) -> tuple[Tensor, Tensor]:
    """Whether the class stays with the top k kept, and how far p moves with them removed; both (N, G) float64."""
    size = found.double().abs().masked_fill(~known, -1.0)  # what is not known cannot be a reason
    rank = torch.argsort(torch.argsort(-size, dim=1, stable=True), dim=1)
    whole, p = coalitions.whole.sign(), coalitions.whole.sigmoid()
    kept, removed = [], []
    for k in range(1, found.shape[1] + 1):
        kept.append((coalitions.keeping(rank < k).sign() == whole).double())
        removed.append((coalitions.keeping(rank >= k).sigmoid() - p).abs())
    return torch.stack(kept, dim=1), torch.stack(removed, dim=1)


def _best_per_k(kept: Sequence[Tensor]) -> Tensor:
    """Of each k the outcomes of the method that does best on average, (N, G)."""
    means = torch.stack([outcomes.mean(dim=0) for outcomes in kept])
    winner = means.argmax(dim=0)
    return torch.stack([kept[int(method)][:, k] for k, method in enumerate(winner)], dim=1)


@dataclass(frozen=True)
class _Resampled:
    """How often each frame counts in each resample of whole matches."""

    weights: Tensor  # (R, N) float64, rows sum to 1

    @classmethod
    def of(cls, match: Tensor, seed: int) -> _Resampled:
        _, index = torch.unique(match, return_inverse=True)
        count = int(index.max()) + 1
        chance = torch.Generator().manual_seed(seed)
        drawn = torch.randint(count, (RESAMPLES, count), generator=chance)
        times = torch.zeros(RESAMPLES, count, dtype=torch.float64).scatter_add_(
            1, drawn, torch.ones_like(drawn, dtype=torch.float64)
        )
        weights = times[:, index]
        return cls(weights / weights.sum(dim=1, keepdim=True))

    def curve(self, values: Tensor) -> Curve:
        """The means of (N, G) values with their intervals."""
        area = values.mean(dim=1, keepdim=True)
        return Curve(
            at=tuple(values.mean(dim=0).tolist()),
            intervals=self.intervals(values),
            area=area.mean().item(),
            area_interval=self.intervals(area)[0],
        )

    def intervals(self, values: Tensor) -> tuple[Interval, ...]:
        means = self.weights @ values
        low, high = torch.quantile(means, torch.tensor([0.025, 0.975], dtype=torch.float64), dim=0).tolist()
        return tuple(zip(low, high, strict=True))


def _plain_forward(model: WinNet, histories: Histories) -> Tensor:
    with torch.no_grad():
        return in_pieces(lambda piece: logits(model, piece), histories)


def _cpu_s(run: Callable[[], object]) -> float:
    """CPU seconds of one call, the least of several that fill a fifth of a second."""
    spent: list[float] = []
    while len(spent) < 3 or sum(spent) < _LEAST_TIMED_S:
        began = time.process_time()
        run()
        spent.append(time.process_time() - began)
    return min(spent)
