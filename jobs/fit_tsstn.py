"""The training loop of TSSTN: plain torch, one process or one of several that average their gradients."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from jobs.datasets import MatchSet, frame_outcomes
from jobs.recipes.win_tsstn import Thinning, WinTSSTN
from models.layers import at_clock
from models.layers.heroes import LineUp
from models.losses import TSSTNLoss, frame_weights
from models.metrics import accuracy, auc, brier, ece, log_loss
from models.tsstn import CURVE_STEP_S, TSSTN, TSSTNConfig, WinEstimate

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
) -> Fitted:
    """Train to the last epoch, or until `held_out` stops improving.

    The same recipe and data give the same weights on the same machine.

    Args:
        train: matches to learn from.
        held_out: matches that are watched, and decide when to stop where the recipe says so; only looked at.
        recipe: sizes, losses, optimiser, seed.
        on_epoch: told after every epoch.
        rank: number of this worker.
        world: number of workers; each takes every world-th match of a shuffle that all share.
        wrap: makes the module average its gradients over the workers.
    """
    torch.set_num_threads(recipe.scaling.threads)
    with torch.random.fork_rng(devices=[]):  # dropout and fresh weights draw from torch's own generator
        torch.manual_seed(recipe.seed)
        task = _Task(train, recipe)
        torch.manual_seed(recipe.seed * world + rank)
        descent = _Descent(train, held_out, recipe, task, wrap(task), on_epoch, rank, world)
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
    ) -> None:
        self._train, self._held_out, self._recipe, self._task, self._wrapped = train, held_out, recipe, task, wrapped
        self._on_epoch, self._rank, self._world = on_epoch, rank, world
        self._shuffle = torch.Generator().manual_seed(recipe.seed)  # the same on every worker
        self._chance = torch.Generator().manual_seed(recipe.seed * world + rank)
        self._plan = FeaturePlan.of(train.spec.groups)
        self._started = time.monotonic()
        self.reports: list[EpochReport] = []
        self.best_weights = _copied(task.model)

    def run(self, parameters: list[nn.Parameter], part: str) -> None:
        """Descend one part of the loss in these parameters; end at the weights to keep."""
        optim, task = self._recipe.optim, self._task
        # Line-ups are learned by heart: three folds of Dota 2 have .73 after the last epoch, .49 after the best.
        early_stop = optim.early_stop or task.model.heroes is not None
        optimiser = torch.optim.AdamW(parameters, lr=optim.lr, weight_decay=optim.weight_decay)
        steps = optim.epochs * -(-len(self._train) // optim.batch_matches)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps, eta_min=optim.lr_end)
        best, best_epoch, first = float("inf"), 0, len(self.reports)
        for epoch in range(1, optim.epochs + 1):
            loss = self._epoch(parameters, part, optimiser, schedule)
            validation = frame_metrics(task.model, self._held_out)
            judged = task.score_loss(self._held_out) if part == "score" else validation["log_loss"]
            if judged < best or not early_stop:
                best, best_epoch = judged, epoch
                self.best_weights = _copied(task.model)
            elapsed_s = time.monotonic() - self._started
            report = EpochReport(first + epoch, first + optim.epochs, loss, validation, first + best_epoch, elapsed_s)
            self.reports.append(report)
            self._on_epoch(report)
            if epoch - best_epoch >= optim.patience:
                break
        task.model.load_state_dict(self.best_weights)

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
            mine = batch[self._rank :: self._world] if len(batch) >= self._world else batch
            loss = self._wrapped(part, *_batch(self._train, mine, self._plan, self._recipe.thinning, self._chance))
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(parameters, self._recipe.optim.clip_norm)
            optimiser.step()
            schedule.step()
            total += loss.item()
        return total / len(batches)


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


class FeaturePlan(NamedTuple):
    """What `thin` needs to know of each feature column."""

    group: Tensor  # (F,) int64, number of its group
    form: Tensor  # (F,) bool, of the form group

    @classmethod
    def of(cls, groups: dict[str, tuple[str, ...]]) -> FeaturePlan:
        """The plan of a title's groups."""
        group = torch.tensor([number for number, names in enumerate(groups.values()) for _ in names])
        form = torch.tensor([name == "form" for name, names in groups.items() for _ in names])
        return cls(group, form)


def thin(features: Tensor, plan: FeaturePlan, how: Thinning, chance: torch.Generator) -> Tensor:
    """Hide features of some matches as a poorer feed would: features (B, T, F) with NaN for what is hidden.

    Every match keeps something that it knew.
    """
    batch, groups = len(features), int(plan.group.max()) + 1
    known = features.isnan().logical_not().any(dim=1)  # (B, F)
    draw = torch.rand(batch, 1, generator=chance)
    # Of each group any feature that the match knows: a feed may have team fights, and no kills.
    lucky = torch.rand(batch, len(plan.group), generator=chance) * known
    best = torch.zeros(batch, groups).scatter_reduce_(1, plan.group.expand(batch, -1), lucky, "amax")
    single = (lucky == best[:, plan.group]) & known
    # Of each group: all of it, one feature only, or nothing.
    fate = torch.rand(batch, groups, generator=chance)[:, plan.group]
    some = (fate < 0.4) | ((fate < 0.65) & single)
    # One group of those that the match knows, whole or one feature of it, with or without form.
    known_group = torch.zeros(batch, groups).index_add_(1, plan.group, known.float()) > 0
    luck = torch.rand(batch, groups, generator=chance) * known_group
    narrow = torch.rand(batch, 1, generator=chance) < 0.5
    with_form = torch.rand(batch, 1, generator=chance) < 2 / 3
    chosen = luck.argmax(dim=1, keepdim=True) == plan.group
    one = (chosen & (single | ~narrow)) | (plan.form & with_form)
    kept = torch.where(draw < how.one, one, torch.where(draw < how.one + how.some, some, torch.tensor(True)))
    kept |= ~(kept & known).any(dim=1, keepdim=True)
    return features.masked_fill(~kept[:, None, :], torch.nan)


class _Task(nn.Module):
    """Model and loss as one module, so that workers average the gradients of both."""

    def __init__(self, train: MatchSet, recipe: WinTSSTN) -> None:
        super().__init__()
        self.model = recipe.sizes.build(train.title, train.heroes).build()
        self.model.scale.fit(train.features[train.mask], train.clock_s[train.mask])
        weights = recipe.loss
        self.loss = TSSTNLoss(
            len(self.model.config.groups), score=weights.score, roughness=weights.roughness, entropy=weights.entropy
        )
        self.per_match = weights.per_match

    def forward(
        self, part: str, features: Tensor, clock_s: Tensor, mask: Tensor, won: Tensor, line_ups: Sequence[LineUp]
    ) -> Tensor:
        weight = frame_weights(mask, per_match=self.per_match)
        losses = self.loss(self.model(features, clock_s, mask, line_ups), won, weight)
        total: Tensor = getattr(losses, part)
        return total

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


def _batch(
    matches: MatchSet, positions: Tensor, plan: FeaturePlan, how: Thinning, chance: torch.Generator
) -> tuple[Tensor, Tensor, Tensor, Tensor, list[LineUp]]:
    part = matches.take(positions)
    features = thin(part.features, plan, how, chance)
    hidden = (torch.rand(len(part), generator=chance) < how.some).tolist()
    line_ups: list[LineUp] = [((), ()) if hide else line_up for line_up, hide in zip(part.heroes, hidden, strict=True)]
    start = 0
    if torch.rand((), generator=chance) < how.late:
        start = int(torch.randint(part.mask.shape[1] // 2 + 1, (), generator=chance))
    return features[:, start:], part.clock_s[:, start:], part.mask[:, start:], part.won, line_ups


def _copied(model: TSSTN) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in model.state_dict().items()}
