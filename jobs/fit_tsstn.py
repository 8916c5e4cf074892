"""The training loop of TSSTN: plain torch, one process or one of several that average their gradients."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from typing import Any, NamedTuple

import torch
import torch.distributed
from torch import Tensor, nn

from jobs.checkpoints import (
    Checkpoint,
    CheckpointError,
    Checkpoints,
    below,
    generators_of,
    optimiser_state,
    restore_optimiser,
    under,
)
from jobs.datasets import MatchSet, frame_outcomes
from jobs.recipes.win_tsstn import WinTSSTN
from jobs.thinning import FeaturePlan, thinned_batch
from models.layers import at_clock
from models.layers.heroes import LineUp
from models.losses import TSSTNLoss, frame_weights
from models.metrics import accuracy, auc, brier, ece, log_loss
from models.tsstn import CURVE_STEP_S, TSSTN, TSSTNConfig, WinEstimate

_EVALUATED_AT_ONCE = 256
_Matches = tuple[Any, ...]
"""Features, clock, mask, outcome, line-ups: the arguments of `_Task.forward`, by match."""


class EpochReport(NamedTuple):
    """What an epoch achieved."""

    epoch: int  # from 1
    epochs: int  # at most
    train_loss: float  # nats, all parts
    validation: dict[str, float]  # log_loss, accuracy, brier, auc, ece over frames
    best_epoch: int
    elapsed_s: float
    matches_per_s: float  # learned from, by all workers together
    left_s: float  # to the last epoch, if the others take as long

    @property
    def rate(self) -> str:
        """How fast it goes, in words."""
        return f"{self.matches_per_s:,.0f} matches/s"


class Fitted(NamedTuple):
    """The weights that were kept, calibrated if the recipe asks for it, and the reports of all epochs."""

    config: TSSTNConfig
    weights: dict[str, Tensor]
    reports: tuple[EpochReport, ...]

    def model(self) -> TSSTN:
        """The network, in evaluation mode."""
        model = self.config.build()
        model.load_state_dict(self.weights)
        return model.eval()

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
    checkpoints: Checkpoints | None = None,
) -> Fitted:
    """Train to the last epoch, or until `held_out` stops improving.

    The same recipe and data give the same weights on the same machine, whether or not the training was cut short and
    went on from a checkpoint. Several workers give the weights of one but for rounding, where there is no dropout, and
    so does a batch in several pieces.

    Args:
        train: matches to learn from.
        held_out: matches that are watched, and decide when to stop where the recipe says so; only looked at.
        recipe: sizes, losses, optimiser, seed.
        on_epoch: told after every epoch.
        rank: number of this worker.
        world: number of workers; each takes every world-th match of every batch, which all draw alike.
        wrap: makes the module average its gradients over the workers.
        checkpoints: where to go on from, and what to renew after every epoch; None keeps none.

    Raises:
        CheckpointError: one cannot be written, or the one that is there cannot be used.
    """
    torch.set_num_threads(recipe.scaling.threads)
    with torch.random.fork_rng(devices=[]):  # dropout and fresh weights draw from torch's own generator
        torch.manual_seed(recipe.seed)
        task = _Task(train, recipe, _mean_over_workers if world > 1 else lambda own: own)
        torch.manual_seed(recipe.seed * world + rank)
        descent = _Descent(train, held_out, recipe, task, wrap(task), on_epoch, rank, world, checkpoints)
        if recipe.two_stage:
            descent.run(task.of_scores(), "score")
            descent.run(task.of_weights(), "win")
        else:
            descent.run(list(task.parameters()), "total")
    model = task.model
    model.load_state_dict(descent.best_weights)
    if recipe.calibrate:
        calibrate(model, held_out)
    return Fitted(model.config, _copied(model), tuple(descent.reports))


class _Descent:
    """Epochs over the training set, in one stage or several; remembers the weights to keep of the last stage."""

    def __init__(
        self,
        train: MatchSet,
        held_out: MatchSet,
        recipe: WinTSSTN,
        task: _Task,
        wrapped: nn.Module,
        on_epoch: Callable[[EpochReport], None],
        rank: int,
        world: int,
        checkpoints: Checkpoints | None,
    ) -> None:
        self._train, self._held_out, self._recipe, self._task, self._wrapped = train, held_out, recipe, task, wrapped
        self._on_epoch, self._rank, self._world, self._checkpoints = on_epoch, rank, world, checkpoints
        # The same on every worker: all draw for the whole batch.
        self._shuffle = torch.Generator().manual_seed(recipe.seed)
        self._chance = torch.Generator().manual_seed(recipe.seed)
        self._plan = FeaturePlan.of(train.spec.groups)
        self._started = time.monotonic()
        self._stage = 0
        self.reports: list[EpochReport] = []
        self.best_weights = _copied(task.model)
        self._resumed = None if checkpoints is None else checkpoints.latest()
        if self._resumed is not None:
            self._restore(self._resumed)
        self._here = len(self.reports), time.monotonic()  # epochs before this process, and when it began

    def run(self, parameters: list[nn.Parameter], part: str) -> None:
        """Descend one part of the loss in these parameters; end at the weights to keep."""
        stage, self._stage = self._stage, self._stage + 1
        resumed = None if self._resumed is None else self._resumed.progress
        if resumed is not None and stage < resumed["stage"]:
            return  # what it led to is in the checkpoint
        optim, task = self._recipe.optim, self._task
        # Line-ups are learned by heart: three folds of Dota 2 have .73 after the last epoch, .49 after the best.
        early_stop = optim.early_stop or task.model.heroes is not None
        optimiser = torch.optim.AdamW(parameters, lr=optim.lr, weight_decay=optim.weight_decay)
        steps = optim.epochs * -(-len(self._train) // optim.batch_matches)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps, eta_min=optim.lr_end)
        best, best_epoch, epoch, first = float("inf"), 0, 0, len(self.reports)
        if self._resumed is not None and resumed is not None and stage == resumed["stage"]:
            best, best_epoch, epoch, first = (resumed[name] for name in ("best", "best_epoch", "epoch", "first"))
            restore_optimiser(optimiser, below(self._resumed.tensors, "moments"), resumed["optimiser"])
            schedule.load_state_dict(resumed["schedule"])
        while epoch < optim.epochs and epoch - best_epoch < optim.patience:
            epoch += 1
            began = time.monotonic()
            loss = self._epoch(parameters, part, optimiser, schedule)
            rate = len(self._train) / max(time.monotonic() - began, 1e-9)
            validation = frame_metrics(task.model, self._held_out)
            judged = task.score_loss(self._held_out) if part == "score" else validation["log_loss"]
            if judged < best or not early_stop:
                best, best_epoch = judged, epoch
                self.best_weights = _copied(task.model)
            now = time.monotonic()
            before, since = self._here
            left_s = (optim.epochs - epoch) * (now - since) / (len(self.reports) + 1 - before)
            of = first + epoch, first + optim.epochs
            report = EpochReport(*of, loss, validation, first + best_epoch, now - self._started, rate, left_s)
            self.reports.append(report)
            if self._checkpoints is not None:
                place = {"stage": stage, "epoch": epoch, "first": first, "best": best, "best_epoch": best_epoch}
                self._checkpoints.keep(self._checkpoint(place, optimiser, schedule))
            self._on_epoch(report)
        task.model.load_state_dict(self.best_weights)

    def _checkpoint(
        self,
        place: dict[str, Any],
        optimiser: torch.optim.Optimizer,
        schedule: torch.optim.lr_scheduler.LRScheduler,
    ) -> Checkpoint:
        moments, groups = optimiser_state(optimiser)
        tensors = {
            **under("task", self._task.state_dict()),
            **under("best", self.best_weights),
            **under("moments", moments),
            "shuffle": self._shuffle.get_state(),
            "chance": self._chance.get_state(),
            "torch": generators_of(self._world),
        }
        reports = [report._asdict() for report in self.reports]
        return Checkpoint(
            tensors, {**place, "optimiser": groups, "schedule": schedule.state_dict(), "reports": reports}
        )

    def _restore(self, checkpoint: Checkpoint) -> None:
        tensors = checkpoint.tensors
        if len(tensors["torch"]) != self._world:
            raise CheckpointError(
                f"the checkpoint is of {len(tensors['torch'])} worker(s), not of {self._world}: go on with as many"
            )
        self._task.load_state_dict(below(tensors, "task"))
        self.best_weights = below(tensors, "best")
        # Clones: a generator reads its state from the start of the storage, whichever part of it a tensor shows.
        self._shuffle.set_state(tensors["shuffle"].clone())
        self._chance.set_state(tensors["chance"].clone())
        torch.set_rng_state(tensors["torch"][self._rank].clone())
        self.reports = [EpochReport(**report) for report in checkpoint.progress["reports"]]
        self._started -= self.reports[-1].elapsed_s

    def _epoch(
        self,
        parameters: list[nn.Parameter],
        part: str,
        optimiser: torch.optim.Optimizer,
        schedule: torch.optim.lr_scheduler.LRScheduler,
    ) -> float:
        """One pass over the training set; its mean loss."""
        self._task.train()
        total = 0.0
        batches = torch.split(
            torch.randperm(len(self._train), generator=self._shuffle), self._recipe.optim.batch_matches
        )
        for batch in batches:
            # Drawn for all of it by every worker, then cut; the last may be too small for all of them to have a share.
            mine = slice(self._rank, None, self._world) if len(batch) >= self._world else slice(None)
            whole = thinned_batch(self._train, batch, self._plan, self._recipe.thinning, self._chance)
            optimiser.zero_grad()
            total += self._backward(part, tuple(of_batch[mine] for of_batch in whole))
            nn.utils.clip_grad_norm_(parameters, self._recipe.optim.clip_norm)
            optimiser.step()
            schedule.step()
        mean = torch.tensor(total / len(batches), dtype=torch.float64)
        return float(_mean_over_workers(mean) if self._world > 1 else mean)

    def _backward(self, part: str, batch: _Matches) -> float:
        """Gradients of a batch, in pieces where the recipe says so; its loss."""
        pieces = min(self._recipe.optim.accumulate, len(batch[0]))
        if pieces == 1:
            loss: Tensor = self._wrapped(part, *batch)
            loss.backward()  # type: ignore[no-untyped-call]
            return loss.item()
        cut: list[_Matches] = [tuple(column[number::pieces] for column in batch) for number in range(pieces)]
        sums = self._task.totals(torch.stack([self._task.sums(*piece) for piece in cut]).sum(dim=0))
        unsynced = getattr(self._wrapped, "no_sync", nullcontext)  # workers average once a batch
        total = 0.0
        for number, piece in enumerate(cut, 1):
            with nullcontext() if number == pieces else unsynced():
                loss = self._wrapped(part, *piece, sums)
                loss.backward()  # type: ignore[no-untyped-call]
            total += loss.item()
        return total


def calibrate(model: TSSTN, matches: MatchSet, *, stiffness: float = 0.02) -> None:
    """Set the model's temperature by clock to what `matches`, which it did not learn from, ask for.

    It multiplies every contribution, so answers stay odd and add up. Fitted by log-loss, held near 1 by `stiffness`
    times its squared logarithm, as a few hundred matches say little about single minutes.
    """
    won = torch.from_numpy(frame_outcomes(matches))
    clock_s = matches.clock_s[matches.mask]
    model.temperature.fill_(1.0)
    logits = _frame_logits(model, matches)
    log_knots = torch.zeros(len(model.temperature), dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS([log_knots], max_iter=50, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimiser.zero_grad()
        scaled = logits * at_clock(log_knots.exp(), clock_s.double(), CURVE_STEP_S)
        total = nn.functional.binary_cross_entropy_with_logits(scaled, won) + stiffness * log_knots.square().mean()
        total.backward()  # type: ignore[no-untyped-call]
        return total

    optimiser.step(loss)  # type: ignore[no-untyped-call]
    model.temperature.copy_(log_knots.detach().exp())


def estimates(model: TSSTN, matches: MatchSet) -> Iterator[tuple[Tensor, WinEstimate]]:
    """Estimates for whole matches, some at a time: positions (b,) and the estimate (b, t, ...)."""
    model.eval()
    with torch.no_grad():
        for positions in torch.split(torch.arange(len(matches)), _EVALUATED_AT_ONCE):
            part = matches.take(positions)
            yield positions, model(part.features, part.clock_s, part.mask, part.heroes)


def frame_probs(model: TSSTN, matches: MatchSet) -> Tensor:
    """P(A wins) for every real frame, in the order of `matches.mask.nonzero()`, float64."""
    return _frame_logits(model, matches).sigmoid()


def _frame_logits(model: TSSTN, matches: MatchSet) -> Tensor:
    parts = [
        estimate.logits[matches.mask[positions, : estimate.logits.shape[1]]].double()
        for positions, estimate in estimates(model, matches)
    ]
    return torch.cat(parts)


def frame_metrics(model: TSSTN, matches: MatchSet) -> dict[str, float]:
    """Figures of merit over all real frames."""
    probs, won = frame_probs(model, matches).numpy(), frame_outcomes(matches)
    return {measure.__name__: measure(probs, won) for measure in (log_loss, accuracy, brier, auc, ece)}


class _Task(nn.Module):
    """Model and loss as one module, so that workers average the gradients of both."""

    def __init__(self, train: MatchSet, recipe: WinTSSTN, totals: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.totals = totals
        self._bf16 = recipe.optim.bf16
        self.model = recipe.sizes.build(train.title, train.heroes).build()
        self.model.scale.fit(train.features[train.mask], train.clock_s[train.mask])
        weights = recipe.loss
        self.loss = TSSTNLoss(
            len(self.model.config.groups), score=weights.score, roughness=weights.roughness, entropy=weights.entropy
        )
        self.per_match = weights.per_match

    def forward(
        self,
        part: str,
        features: Tensor,
        clock_s: Tensor,
        mask: Tensor,
        won: Tensor,
        line_ups: Sequence[LineUp],
        sums: Tensor | None = None,
    ) -> Tensor:
        """One part of the loss; with `sums`, of a piece of the batch that has these."""
        weight = frame_weights(mask, per_match=self.per_match)
        estimate = self._estimate(features, clock_s, mask, line_ups)
        losses = self.loss(estimate, won, weight, self.totals if sums is None else lambda own: sums)
        total: Tensor = getattr(losses, part)
        return total

    @torch.no_grad()
    def sums(self, features: Tensor, clock_s: Tensor, mask: Tensor, won: Tensor, line_ups: Sequence[LineUp]) -> Tensor:
        """What the loss of these matches is divided by, (3,)."""
        with torch.random.fork_rng(devices=[]):  # which units drop out does not matter here
            estimate = self._estimate(features, clock_s, mask, line_ups)
        return self.loss.sums(estimate, frame_weights(mask, per_match=self.per_match))

    def _estimate(self, features: Tensor, clock_s: Tensor, mask: Tensor, line_ups: Sequence[LineUp]) -> WinEstimate:
        with torch.autocast("cpu", torch.bfloat16, enabled=self._bf16 and self.training):
            estimate = self.model(features, clock_s, mask, line_ups)
        return WinEstimate(*(column.float() for column in estimate))

    def of_scores(self) -> list[nn.Parameter]:
        """Parameters of the first stage: what scores are made of."""
        heroes = [] if self.model.heroes is None else list(self.model.heroes.parameters())
        return [*self.model.spatial.parameters(), *heroes, *self.loss.parameters()]

    def of_weights(self) -> list[nn.Parameter]:
        """Parameters of the second stage: all others."""
        first = {id(parameter) for parameter in self.of_scores()}
        return [parameter for parameter in self.parameters() if id(parameter) not in first]

    @torch.no_grad()
    def score_loss(self, matches: MatchSet) -> float:
        """How good each score is alone, in nats."""
        self.eval()
        return float(self("score", matches.features, matches.clock_s, matches.mask, matches.won, matches.heroes))


def _mean_over_workers(own: Tensor) -> Tensor:
    shared = own.detach().clone()
    torch.distributed.all_reduce(shared)
    return shared / torch.distributed.get_world_size()


def _copied(model: TSSTN) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in model.state_dict().items()}
