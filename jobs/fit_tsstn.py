"""The training loop of TSSTN: plain torch, one process or one of several that average their gradients."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn

from jobs.datasets import MatchSet
from jobs.recipes.win_tsstn import Thinning, WinTSSTN
from models.losses import TSSTNLoss, frame_weights
from models.metrics import accuracy, auc, brier, ece, log_loss
from models.tsstn import TSSTN, WinEstimate

_EVALUATED_AT_ONCE = 256


class EpochReport(NamedTuple):
    """What an epoch achieved."""

    epoch: int  # from 1
    epochs: int  # at most
    train_loss: float  # nats, all parts
    validation: dict[str, float]  # log_loss, accuracy, brier, auc, ece over frames
    best_epoch: int
    elapsed_s: float


class Fitted(NamedTuple):
    """The weights of the best epoch, and the reports of all."""

    weights: dict[str, Tensor]
    reports: tuple[EpochReport, ...]

    @property
    def best(self) -> EpochReport:
        """The report of the epoch whose weights these are."""
        return self.reports[self.reports[-1].best_epoch - 1]


def fit(
    train: MatchSet,
    held_out: MatchSet,
    recipe: WinTSSTN,
    *,
    on_epoch: Callable[[EpochReport], None] = lambda report: None,
    rank: int = 0,
    world: int = 1,
    wrap: Callable[[nn.Module], nn.Module] = lambda module: module,
) -> Fitted:
    """Train until `held_out` stops improving; the same recipe and data give the same weights on the same machine.

    Args:
        train: matches to learn from.
        held_out: matches that decide when to stop; only looked at.
        recipe: sizes, losses, optimiser, seed.
        on_epoch: told after every epoch.
        rank: number of this worker.
        world: number of workers; each takes every world-th match of a shuffle that all share.
        wrap: makes the module average its gradients over the workers.
    """
    started = time.monotonic()
    torch.set_num_threads(recipe.scaling.threads)
    shuffle = torch.Generator().manual_seed(recipe.seed)  # the same on every worker
    chance = torch.Generator().manual_seed(recipe.seed * world + rank)
    task = _Task(train, recipe)
    wrapped = wrap(task)
    plan = FeaturePlan.of(train.spec.groups)
    optim = recipe.optim
    optimiser = torch.optim.AdamW(task.parameters(), lr=optim.lr, weight_decay=optim.weight_decay)
    steps = optim.epochs * -(-len(train) // optim.batch_matches)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps, eta_min=optim.lr_end)
    reports: list[EpochReport] = []
    best = (float("inf"), 0, _copied(task.model))
    for epoch in range(1, optim.epochs + 1):
        task.train()
        total = 0.0
        batches = torch.split(torch.randperm(len(train), generator=shuffle), optim.batch_matches)
        for batch in batches:
            mine = batch[rank::world] if len(batch) >= world else batch
            loss = wrapped(*_batch(train, mine, plan, recipe.thinning, chance))
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(task.parameters(), optim.clip_norm)
            optimiser.step()
            schedule.step()
            total += loss.item()
        validation = frame_metrics(task.model, held_out)
        if validation["log_loss"] < best[0]:
            best = (validation["log_loss"], epoch, _copied(task.model))
        elapsed_s = time.monotonic() - started
        reports.append(EpochReport(epoch, optim.epochs, total / len(batches), validation, best[1], elapsed_s))
        on_epoch(reports[-1])
        if epoch - best[1] >= optim.patience:
            break
    return Fitted(best[2], tuple(reports))


def estimates(model: TSSTN, matches: MatchSet) -> Iterator[tuple[Tensor, WinEstimate]]:
    """Estimates for whole matches, some at a time: positions (b,) and the estimate (b, t, ...)."""
    model.eval()
    with torch.no_grad():
        for positions in torch.split(torch.arange(len(matches)), _EVALUATED_AT_ONCE):
            part = matches.take(positions)
            yield positions, model(part.features, part.clock_s, part.mask)


def frame_probs(model: TSSTN, matches: MatchSet) -> Tensor:
    """P(A wins) for every real frame, in the order of `matches.mask.nonzero()`, float64."""
    parts = [
        estimate.logits[matches.mask[positions, : estimate.logits.shape[1]]].double().sigmoid()
        for positions, estimate in estimates(model, matches)
    ]
    return torch.cat(parts)


def frame_metrics(model: TSSTN, matches: MatchSet) -> dict[str, float]:
    """Figures of merit over all real frames."""
    probs = frame_probs(model, matches).numpy()
    won = matches.won[:, None].expand_as(matches.mask)[matches.mask].numpy()
    return {measure.__name__: measure(probs, won) for measure in (log_loss, accuracy, brier, auc, ece)}


class FeaturePlan(NamedTuple):
    """What `thin` needs to know of each feature column."""

    group: Tensor  # (F,) int64, number of its group
    first: Tensor  # (F,) bool, the first of its group
    form: Tensor  # (F,) bool, of the form group

    @classmethod
    def of(cls, groups: dict[str, tuple[str, ...]]) -> FeaturePlan:
        """The plan of a title's groups."""
        group = torch.tensor([number for number, names in enumerate(groups.values()) for _ in names])
        form = torch.tensor([name == "form" for name, names in groups.items() for _ in names])
        return cls(group, torch.cat([torch.tensor([True]), group[1:] != group[:-1]]), form)


def thin(features: Tensor, plan: FeaturePlan, how: Thinning, chance: torch.Generator) -> Tensor:
    """Hide features of some matches as a poorer feed would: features (B, T, F) with NaN for what is hidden.

    Every match keeps something that it knew.
    """
    batch, groups = len(features), int(plan.group.max()) + 1
    known = features.isnan().logical_not().any(dim=1)  # (B, F)
    draw = torch.rand(batch, 1, generator=chance)
    # Of each group: all of it, its first feature only, or nothing.
    fate = torch.rand(batch, groups, generator=chance)[:, plan.group]
    some = (fate < 0.4) | ((fate < 0.65) & plan.first)
    # One group of those that the match knows, whole or its first feature, with or without form.
    known_group = torch.zeros(batch, groups).index_add_(1, plan.group, known.float()) > 0
    luck = torch.rand(batch, groups, generator=chance) * known_group
    narrow = torch.rand(batch, 1, generator=chance) < 0.5
    with_form = torch.rand(batch, 1, generator=chance) < 2 / 3
    chosen = luck.argmax(dim=1, keepdim=True) == plan.group
    one = (chosen & (plan.first | ~narrow)) | (plan.form & with_form)
    kept = torch.where(draw < how.one, one, torch.where(draw < how.one + how.some, some, torch.tensor(True)))
    kept |= ~(kept & known).any(dim=1, keepdim=True)
    return features.masked_fill(~kept[:, None, :], torch.nan)


class _Task(nn.Module):
    """Model and loss as one module, so that workers average the gradients of both."""

    def __init__(self, train: MatchSet, recipe: WinTSSTN) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(recipe.seed)
            self.model = recipe.sizes.build(train.title).build()
        self.model.scale.fit(train.features[train.mask], train.clock_s[train.mask])
        weights = recipe.loss
        self.loss = TSSTNLoss(
            len(self.model.config.groups), score=weights.score, roughness=weights.roughness, entropy=weights.entropy
        )
        self.per_match = weights.per_match

    def forward(self, features: Tensor, clock_s: Tensor, mask: Tensor, won: Tensor) -> Tensor:
        weight = frame_weights(mask, per_match=self.per_match)
        total: Tensor = self.loss(self.model(features, clock_s, mask), won, weight).total
        return total


def _batch(
    matches: MatchSet, positions: Tensor, plan: FeaturePlan, how: Thinning, chance: torch.Generator
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    part = matches.take(positions)
    features = thin(part.features, plan, how, chance)
    start = 0
    if torch.rand((), generator=chance) < how.late:
        start = int(torch.randint(part.mask.shape[1] // 2 + 1, (), generator=chance))
    return features[:, start:], part.clock_s[:, start:], part.mask[:, start:], part.won


def _copied(model: TSSTN) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in model.state_dict().items()}
