"""Train an AS-GAN, which dresses people anew: on crops without any label of clothes.

    sightline train as-gan --data "simulator:dolls?people=200&images=3"
    sightline train as-gan-full --data crops.parquet                      # on a GPU

The first is of a size for a CPU. The second is the design at its own size, 256 × 128 px and 100,000 steps of 16; it has
not been run.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields

from jobs.errors import UsageProblem
from models.as_gan import ASGANConfig
from models.losses.apparel import ASGANLossWeights


@dataclass(frozen=True)
class ASGANOptim:
    """Adam with β = (0.5, 0.999); rates stay, then fall in a line to nothing."""

    lr: float = 1e-4
    lr_discriminator: float = 1e-4
    steps: int = 100_000
    batch: int = 16
    decay: float = 0.4  # share of the steps at whose end the rates are 0
    cycle_from: float = 0.5  # share of the steps after which the cycle comes in
    penalty_every: int = 8  # steps between gradient penalties, each so much heavier
    average: float = 0.999  # decay of the mean of the weights, which is what is kept
    report_every: int = 1000  # steps of what is told as an epoch, and kept as a checkpoint


@dataclass(frozen=True)
class ASGANRecipe:
    """The whole recipe."""

    data: str
    network: ASGANConfig = field(default_factory=ASGANConfig)
    discriminator_width: int = 32
    scales: int = 3
    identity: str = ""  # NAME@ALIAS of the person embedding whose view of a head is kept; empty: the term is off
    flip: float = 0.5
    seed: int = 0
    threads: int = 1
    device: str = "cpu"  # or cuda
    loss: ASGANLossWeights = field(default_factory=ASGANLossWeights)
    optim: ASGANOptim = field(default_factory=ASGANOptim)

    def check(self) -> None:
        """Raises UsageProblem where a number makes no sense; the message names it."""
        optim = self.optim
        for name, whole, least in (
            ("optim.steps", optim.steps, 1),
            ("optim.batch", optim.batch, 2),
            ("optim.penalty_every", optim.penalty_every, 1),
            ("optim.report_every", optim.report_every, 1),
            ("discriminator_width", self.discriminator_width, 1),
            ("scales", self.scales, 1),
            ("threads", self.threads, 1),
        ):
            if whole < least:
                raise UsageProblem(f"{name}={whole}: must be at least {least}")
        if min(self.network.height_px, self.network.width_px) < 4 * 2 ** (self.scales - 1):
            raise UsageProblem(f"scales={self.scales}: too many for {self.network.width_px} px")
        numbers = {f"optim.{name}": getattr(optim, name) for name in ("lr", "lr_discriminator")}
        numbers |= {f"loss.{each.name}": getattr(self.loss, each.name) for each in fields(self.loss)}
        for name, number in numbers.items():
            if not 0 <= number < math.inf:
                raise UsageProblem(f"{name}={number}: must be a finite number, not below 0")
        shares = {f"optim.{name}": getattr(optim, name) for name in ("decay", "cycle_from", "average")}
        for name, share in (shares | {"flip": self.flip, "loss.mask_share": self.loss.mask_share}).items():
            if not 0 <= share <= 1:
                raise UsageProblem(f"{name}={share}: must lie between 0 and 1")
        if self.device not in ("cpu", "cuda"):
            raise UsageProblem(f"device={self.device}: must be cpu or cuda")


AS_GAN = ASGANRecipe(
    data="",
    network=ASGANConfig(height_px=48, width_px=24, width=6, dim=32, hidden=64, blocks=1, bank=2048),
    discriminator_width=8,
    scales=2,
    loss=ASGANLossWeights(
        self_reconstruction=0.0, same_identity_reconstruction=10.0, embedding_recovery=2.0, mask_share=0.5
    ),
    optim=ASGANOptim(lr=2e-3, lr_discriminator=4e-4, steps=1500, batch=12, average=0.99, report_every=100),
)
"""Small enough for a CPU."""

AS_GAN_FULL = ASGANRecipe(
    data="",
    network=ASGANConfig(height_px=256, width_px=128, width=16, dim=128, hidden=512, blocks=4, bank=8192),
    device="cuda",
)
"""The design at its own size, for a GPU."""
