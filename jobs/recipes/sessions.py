"""What the recipes of sessions have in common; each has a file of its own."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from jobs.errors import UsageProblem
from models.baselines.session_knn import VSTAN, NeighbourRule

if TYPE_CHECKING:
    from models.session_model import EncoderConfig

LOSSES = ("cross-entropy", "bpr-max", "top1-max", "bce", "in-batch-margin")
OPTIMISERS = ("adagrad", "adamw")


@dataclass(frozen=True)
class EncoderSizes:
    """What the encoder is made of; `kind` says which numbers count (`models.gru4rec`, `sasrec`, `two_tower`)."""

    kind: str = "gru4rec"
    dim: int = 96
    dropout: float = 0.3
    blocks: int = 2  # of sasrec
    heads: int = 1  # of sasrec
    half_life: float = 1.0  # of two-tower, clicks
    hide: float = 0.1  # of two-tower, share of items known by their content alone
    buckets: int = 4096  # of two-tower, for words

    def build(self, *, items: int, seen: int, length: int) -> EncoderConfig:
        """The config of an encoder of so many items, `seen` of them in training, and sessions of so many clicks."""
        from models.gru4rec import GRU4RecConfig
        from models.sasrec import SASRecConfig
        from models.two_tower import TwoTowerConfig

        if self.kind == "gru4rec":
            return GRU4RecConfig(seen, self.dim, dropout_input=self.dropout, dropout_state=self.dropout)
        if self.kind == "sasrec":
            return SASRecConfig(seen, self.dim, length, self.blocks, self.heads, self.dropout)
        return TwoTowerConfig(items, seen, self.dim, self.buckets, self.half_life, self.hide, self.dropout)


@dataclass(frozen=True)
class SessionLoss:
    """Which of `LOSSES`, and what a row is compared with: the batch's other targets and extra items, drawn with their
    clicks to the power of alpha (arXiv:1706.03847, §3.1.1)."""

    name: str = "cross-entropy"
    negatives: int = 512
    alpha: float = 0.5
    margin: float = 0.3  # of in-batch-margin


@dataclass(frozen=True)
class SessionOptim:
    """Adagrad at a constant rate, as GRU4Rec's authors have it, or AdamW with a cosine down to nothing."""

    rule: str = "adagrad"
    lr: float = 0.05
    weight_decay: float = 0.0
    batch_sessions: int = 64
    epochs: int = 6


@dataclass(frozen=True)
class SessionRecipe:
    """The whole recipe. Of a model with `memory` above 0, that share of each answer is its nearest sessions'."""

    data: str
    encoder: EncoderSizes = field(default_factory=EncoderSizes)
    loss: SessionLoss = field(default_factory=SessionLoss)
    optim: SessionOptim = field(default_factory=SessionOptim)
    memory: float = 0.0
    rule: NeighbourRule = VSTAN
    length: int = 20  # clicks of a session that count
    min_clicks: int = 2  # of a session
    max_clicks: int = 200  # a longer one is a crawler's
    gap_s: float = 0.0  # a longer pause ends a session; 0: as the file says
    validation: float = 1.0  # days at the end held out to watch; 0: none
    seed: int = 0
    threads: int = 1

    def check(self) -> None:
        """Raises UsageProblem where a number makes no sense; the message names it."""
        for name, whole, least in (
            ("encoder.dim", self.encoder.dim, 1),
            ("encoder.blocks", self.encoder.blocks, 1),
            ("encoder.heads", self.encoder.heads, 1),
            ("encoder.buckets", self.encoder.buckets, 1),
            ("loss.negatives", self.loss.negatives, 0),
            ("optim.batch_sessions", self.optim.batch_sessions, 2),
            ("optim.epochs", self.optim.epochs, 1),
            ("length", self.length, 1),
            ("threads", self.threads, 1),
        ):
            if whole < least:
                raise UsageProblem(f"{name}={whole}: must be at least {least}")
        for name, number in (
            ("optim.lr", self.optim.lr),
            ("optim.weight_decay", self.optim.weight_decay),
            ("loss.alpha", self.loss.alpha),
            ("loss.margin", self.loss.margin),
            ("validation", self.validation),
        ):
            if not 0 <= number < math.inf:
                raise UsageProblem(f"{name}={number}: must be a finite number, not below 0")
        for name, share in (("encoder.dropout", self.encoder.dropout), ("encoder.hide", self.encoder.hide),
                            ("memory", self.memory)):  # fmt: skip
            if not 0 <= share < 1:
                raise UsageProblem(f"{name}={share}: must be at least 0 and below 1")
        for name, word, words in (
            ("encoder.kind", self.encoder.kind, ("gru4rec", "sasrec", "two-tower")),
            ("loss.name", self.loss.name, LOSSES),
            ("optim.rule", self.optim.rule, OPTIMISERS),
        ):
            if word not in words:
                raise UsageProblem(f"{name}={word}: must be one of {', '.join(words)}")
        if self.encoder.kind != "two-tower" and self.loss.name == "in-batch-margin":
            raise UsageProblem("loss.name=in-batch-margin: is of cosines, which only encoder.kind=two-tower has")
        if self.encoder.kind == "sasrec" and self.encoder.dim % self.encoder.heads:
            raise UsageProblem(f"encoder.heads={self.encoder.heads}: must divide encoder.dim={self.encoder.dim}")
        if self.encoder.half_life <= 0:
            raise UsageProblem(f"encoder.half_life={self.encoder.half_life}: must be above 0")
