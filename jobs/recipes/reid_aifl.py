"""Train a person embedding that does not read clothes: AIFL around a baseline, with people dressed anew by an AS-GAN.

    sightline train as-gan --data "simulator:dolls?people=200&images=3"
    sightline train reid-aifl --data "simulator:dolls?people=200&images=3" \
        --set unlabelled="simulator:dolls?people=100&first=300&images=2"
    sightline train reid-aifl-resnet50 --data crops.parquet                 # on a GPU, after as-gan-full

The first is of a size for a CPU: 48 × 24 px, around a small plain network; OSNet takes three times as long, and its
instance norms take away tones of skin and hair with those of the camera. Everybody is given a few outfits before
anything is learned, which is cheaper than an AS-GAN in every step. Identities of real crops count half of those of
dressed ones: clothes answer them. The second is the design at its own size; it has not been run. `sightline evaluate
aifl` says what AIFL achieves on paper dolls.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields

from jobs.errors import UsageProblem
from jobs.recipes.reid import BFLOAT16, Augmentation, PersonLossWeights, PKBatch, ReID, ReIDOptim
from models.aifl import AIFLWeights
from models.resnet import ResNet50Config
from models.small_cnn import SmallCNNConfig

AS_GAN, JITTER = "as-gan", "jitter"


@dataclass(frozen=True)
class Redressing:
    """Where x̃ comes from, and when."""

    by: str = AS_GAN  # or jitter: colours of the whole crop, no generator, as a control
    model: str = "as-gan@candidate"  # in the model store
    jitter: float = 0.5  # of it, as of `Augmentation`
    copies: int = 0  # outfits a person, dressed before anything is learned, to draw x̃ from; 0: x̃ is made anew each time
    share: float = 0.5  # of the images whose x̃ is used, in the end
    enters_after: int = 10  # epochs without it
    full_after: int = 30  # epochs after which the share, and the terms beside the identity's, have their full weight


@dataclass(frozen=True)
class ReIDAIFL(ReID):
    """A recipe of people, and what AIFL adds. Its own weights take the place of `loss`, which has to stay as it is."""

    unlabelled: str = ""  # crops whose identities are not looked at, as `data`; empty: the terms of them are off
    strangers: int = 32  # of these in a batch
    aifl: AIFLWeights = field(default_factory=AIFLWeights)
    redressing: Redressing = field(default_factory=Redressing)

    def check(self) -> None:
        """Raises UsageProblem where a number makes no sense; the message names it."""
        super().check()
        if self.loss != PersonLossWeights():
            raise UsageProblem("loss: is of the baseline; set the weights of aifl instead")
        if self.strangers < 2:
            raise UsageProblem(f"strangers={self.strangers}: must be at least 2")
        if self.redressing.by not in (AS_GAN, JITTER):
            raise UsageProblem(f"redressing.by={self.redressing.by}: must be {AS_GAN} or {JITTER}")
        if self.aifl.memory < 1 or self.aifl.temperature <= 0:
            raise UsageProblem(
                f"aifl.memory={self.aifl.memory}, aifl.temperature={self.aifl.temperature}: must be above 0"
            )
        for each in fields(self.aifl):
            number = getattr(self.aifl, each.name)
            if not 0 <= number < math.inf:
                raise UsageProblem(f"aifl.{each.name}={number}: must be a finite number, not below 0")
        for name in ("share", "jitter"):
            if not 0 <= getattr(self.redressing, name) <= 1:
                raise UsageProblem(f"redressing.{name}={getattr(self.redressing, name)}: must lie between 0 and 1")
        if self.redressing.copies < 0:
            raise UsageProblem(f"redressing.copies={self.redressing.copies}: must not be below 0")
        if not 0 <= self.redressing.enters_after <= self.redressing.full_after:
            raise UsageProblem("redressing.enters_after: must be at least 0 and not above full_after")


REID_AIFL = ReIDAIFL(
    data="",
    network=SmallCNNConfig(height_px=48, width_px=24, width=16, dim=192),
    precision=BFLOAT16,
    augmentation=Augmentation(pad_px=2, erase=0.0, jitter=0.0),
    batch=PKBatch(people=8, images=4),
    strangers=4,
    aifl=AIFLWeights(identity=0.5, triplet=0.1, invariance=0.05, unlabelled=0.05),
    optim=ReIDOptim(lr=3e-3, weight_decay=1e-4, epochs=40, warmup_epochs=1),
    redressing=Redressing(copies=8, share=1.0, enters_after=4, full_after=10),
)
"""Small enough for a CPU."""

REID_AIFL_RESNET50 = ReIDAIFL(data="", network=ResNet50Config(), device="cuda")
"""The design at its own size, for a GPU; `--set weights=FILE` begins with weights trained on ImageNet."""
