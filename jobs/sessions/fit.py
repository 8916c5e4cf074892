"""The training loop of session encoders: plain torch, one process, the same weights for the same recipe and clicks."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from jobs.checkpoints import Checkpoint, Checkpoints, below, optimiser_state, restore_optimiser, under
from jobs.errors import UsageProblem
from jobs.recipes.sessions import SessionRecipe
from jobs.sessions.batches import session_parallel, whole_sessions
from jobs.sessions.split import DaySplit
from models.gru4rec import GRU4Rec
from models.losses.session import (
    bpr_max,
    in_batch_margin,
    negatives,
    sampled_cross_entropy,
    sasrec_bce,
    top1_max,
)
from models.session_encoder import SessionEncoder
from models.session_model import SessionModel, SessionModelConfig
from models.two_tower import TwoTower

_AGAINST_MANY = {"cross-entropy": sampled_cross_entropy, "bpr-max": bpr_max, "top1-max": top1_max}


class SessionEpoch(NamedTuple):
    """What an epoch achieved."""

    epoch: int  # from 1
    epochs: int
    train_loss: float
    validation: dict[str, float]  # of the day held out; empty without one
    best_epoch: int  # the last: what is watched does not choose
    elapsed_s: float
    clicks_per_s: float  # learned from, of processor time
    left_s: float

    @property
    def rate(self) -> str:
        """How fast it goes, in words."""
        return f"{self.clicks_per_s:,.0f} clicks/s"


class FittedSession(NamedTuple):
    """The weights as training leaves them, and the reports of all epochs."""

    config: SessionModelConfig
    weights: dict[str, Tensor]
    reports: tuple[SessionEpoch, ...]

    def model(self) -> SessionModel:
        """The model, in evaluation mode."""
        model = self.config.build()
        model.load_state_dict(self.weights)
        return model.eval()

    @property
    def best(self) -> SessionEpoch:
        """The report of the last epoch."""
        return self.reports[-1]


def fit(
    split: DaySplit,
    recipe: SessionRecipe,
    *,
    watch: Callable[[SessionModel], dict[str, float]] = lambda model: {},
    on_epoch: Callable[[SessionEpoch], None] = lambda report: None,
    checkpoints: Checkpoints | None = None,
) -> FittedSession:
    """Train to the last epoch. Items that only the held-out part has are known by their content, if by anything.

    The same recipe and clicks give the same weights on the same machine, whether or not the training was cut short and
    went on from a checkpoint.

    Args:
        split: what to learn from, and the numbering of the items.
        recipe: encoder, loss, optimiser, seed.
        watch: figures on what is held out, after every epoch.
        on_epoch: told after every epoch.
        checkpoints: where to go on from, and what to renew after every epoch; None keeps none.

    Raises:
        UsageProblem: the loss is not finite.
        CheckpointError: one cannot be written, or the one that is there cannot be used.
    """
    torch.set_num_threads(recipe.threads)
    with torch.random.fork_rng(devices=[]):  # fresh weights, dropout and negatives draw from torch's own generator
        torch.manual_seed(recipe.seed)
        model = _fresh(split, recipe)
        reports = _descend(model, split, recipe, watch, on_epoch, checkpoints)
    return FittedSession(model.config, {name: value.clone() for name, value in model.state_dict().items()}, reports)


def _fresh(split: DaySplit, recipe: SessionRecipe) -> SessionModel:
    """A model with fresh weights, that knows its items and remembers the sessions."""
    train = split.train
    encoder = recipe.encoder.build(items=len(train.items), seen=split.seen, length=recipe.length)
    ids = train.items[: encoder.items]
    config = SessionModelConfig(
        encoder=encoder,
        id_bytes=sum(len(each.encode()) for each in ids),
        length=recipe.length,
        memory=recipe.memory,
        sessions=train.sessions if recipe.memory else 0,
        clicks=len(train) if recipe.memory else 0,
        rule=recipe.rule,
    )
    model = config.build()
    model.set_ids(ids)
    if recipe.memory:
        model.remember(train.session, train.item, train.time_s[train.starts[1:] - 1])
    if isinstance(model.encoder, TwoTower):
        model.encoder.set_content([train.content.get(item, ()) for item in ids])
    return model


def _descend(
    model: SessionModel,
    split: DaySplit,
    recipe: SessionRecipe,
    watch: Callable[[SessionModel], dict[str, float]],
    on_epoch: Callable[[SessionEpoch], None],
    checkpoints: Checkpoints | None,
) -> tuple[SessionEpoch, ...]:
    optim, encoder = recipe.optim, model.encoder
    kind = torch.optim.Adagrad if optim.rule == "adagrad" else torch.optim.AdamW
    optimiser = kind(encoder.parameters(), lr=optim.lr, weight_decay=optim.weight_decay)
    # Adagrad leaves a row without a gradient as it is: so only the rows of a batch have to be looked at. With 20,000
    # items that is five times as fast; the other rules move every row at every step.
    for module in encoder.modules():
        if isinstance(module, nn.Embedding):
            module.sparse = optim.rule == "adagrad" and not optim.weight_decay
    reports: list[SessionEpoch] = []
    if checkpoints is not None and (latest := checkpoints.latest()) is not None:
        encoder.load_state_dict(below(latest.tensors, "encoder"))
        restore_optimiser(optimiser, below(latest.tensors, "moments"), latest.progress["optimiser"])
        reports = [SessionEpoch(**report) for report in latest.progress["reports"]]
    before_s = reports[-1].elapsed_s if reports else 0.0
    began, done = time.monotonic(), len(reports)
    for epoch in range(done + 1, optim.epochs + 1):
        if optim.rule == "adamw":
            for group in optimiser.param_groups:
                group["lr"] = optim.lr * (1 + math.cos(math.pi * (epoch - 1) / optim.epochs)) / 2
        encoder.train()
        at = time.process_time()
        # Anew for every epoch: what was drawn before it does not have to be kept in a checkpoint.
        torch.manual_seed(int(np.random.default_rng([recipe.seed, epoch]).integers(1 << 62)))
        with torch.sparse.check_sparse_tensor_invariants(False):  # type: ignore[no-untyped-call] # torch made them itself
            loss = _epoch(encoder, split, recipe, optimiser, np.random.default_rng([recipe.seed, epoch]))
        rate = len(split.train) / max(time.process_time() - at, 1e-9) * recipe.threads
        if not math.isfinite(loss):
            raise UsageProblem(f"epoch {epoch}: the loss is not finite; lower optim.lr")
        found = watch(model.eval())
        elapsed = time.monotonic() - began
        left_s = (optim.epochs - epoch) * elapsed / (epoch - done)
        reports.append(SessionEpoch(epoch, optim.epochs, loss, found, epoch, before_s + elapsed, rate, left_s))
        if checkpoints is not None:
            moments, groups = optimiser_state(optimiser)
            tensors = {**under("encoder", encoder.state_dict()), **under("moments", moments)}
            progress = {"optimiser": groups, "reports": [report._asdict() for report in reports]}
            checkpoints.keep(Checkpoint(tensors, progress))
        on_epoch(reports[-1])
    return tuple(reports)


def _epoch(
    encoder: SessionEncoder,
    split: DaySplit,
    recipe: SessionRecipe,
    optimiser: torch.optim.Optimizer,
    chance: np.random.Generator,
) -> float:
    """One pass; its mean loss a row."""
    drawn = torch.from_numpy(split.clicks.astype(np.float64) ** recipe.loss.alpha)
    batches = _lanes if isinstance(encoder, GRU4Rec) else _sessions
    total, rows = 0.0, 0
    for states, targets in batches(encoder, split, recipe, chance):
        loss = _loss(encoder, states, targets, recipe, drawn)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        total, rows = total + loss.item() * len(targets), rows + len(targets)
    return total / max(rows, 1)


def _lanes(
    encoder: SessionEncoder, split: DaySplit, recipe: SessionRecipe, chance: np.random.Generator
) -> Iterator[tuple[Tensor, Tensor]]:
    """States (R, D) and next clicks (R,) of each step; a state is carried on, gradients are not (arXiv:1511.06939)."""
    assert isinstance(encoder, GRU4Rec)
    clicks, targets, fresh = map(torch.from_numpy, session_parallel(split.train, recipe.optim.batch_sessions, chance))
    state = torch.zeros(clicks.shape[1], encoder.dim)
    for shown, wanted, begins in zip(clicks, targets, fresh, strict=True):
        state = encoder.step(shown.clamp(min=0), state.masked_fill(begins[:, None], 0.0))
        followed = wanted >= 0
        if bool(followed.any()):
            yield encoder.drop_state(state)[followed], wanted[followed]
        state = state.detach()


def _sessions(
    encoder: SessionEncoder, split: DaySplit, recipe: SessionRecipe, chance: np.random.Generator
) -> Iterator[tuple[Tensor, Tensor]]:
    """States (R, D) and next clicks (R,) of all clicks of some sessions at a time."""
    clicks, targets = whole_sessions(split.train, recipe.length)
    order = chance.permutation(len(clicks))
    for start in range(0, len(order), recipe.optim.batch_sessions):
        rows = order[start : start + recipe.optim.batch_sessions]
        longest = int((clicks[rows] >= 0).sum(axis=1).max())
        shown = torch.from_numpy(clicks[rows, recipe.length - longest :])
        wanted = torch.from_numpy(targets[rows, recipe.length - longest :])
        yield encoder.states(shown)[wanted >= 0], wanted[wanted >= 0]


def _loss(encoder: SessionEncoder, states: Tensor, targets: Tensor, recipe: SessionRecipe, drawn: Tensor) -> Tensor:
    """Of states (R, D) against the batch's own targets and, unless the loss has its own, extra negatives."""
    loss = recipe.loss
    if loss.name == "in-batch-margin":
        return in_batch_margin(states @ encoder.item_vectors(targets).T, margin=loss.margin)
    if loss.name == "bce":
        other = torch.multinomial(drawn, len(targets), replacement=True)
        own, against = (
            (states * encoder.item_vectors(items)).sum(dim=1) + encoder.item_biases(items) for items in (targets, other)
        )
        return sasrec_bce(own, against)
    extra = torch.multinomial(drawn, loss.negatives, replacement=True) if loss.negatives else targets[:0]
    candidates = torch.cat([targets, extra])
    scores = (states @ encoder.item_vectors(candidates).T + encoder.item_biases(candidates)) * encoder.sharpness
    positive = torch.arange(len(targets))
    return _AGAINST_MANY[loss.name](scores, positive, negatives(candidates, positive))
