r"""Train a person embedding on crops with identities and cameras.

sightline train reid-osnet --data pku_reid_train62.parquet --alias live
sightline evaluate reid --data pku_reid_train62.parquet --report report

On the 62 people of PKU-ReID, whole, judged in 5 folds by person at a quarter of the pixels and half the epochs:

    sightline evaluate reid --data pku_reid_train62.parquet --set network.height_px=64 --set network.width_px=24 \
        --set augmentation.pad_px=3 --set augmentation.erase=0 --set optim.epochs=20 --set loss.triplet_after=8

mAP .254 (.226 to .285) by the usual rule and .402 (.369 to .437) across cameras; a colour histogram has .056 and .243,
the network untrained .082 and .163. The defaults below, 128 × 48 pixels and 40 epochs, have not been measured.

Batch-hard triplets at full weight from the first step, with few and fresh weights, kept the loss where it began: at
epoch 5 of fold 1 mAP .074, .136 without them. They come in after some epochs, at less weight.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields

from jobs.errors import UsageProblem
from models.osnet import OSNetConfig
from models.resnet import ResNet50Config
from models.small_cnn import SmallCNNConfig

FLOAT32, BFLOAT16 = "float32", "bfloat16"


@dataclass(frozen=True)
class PersonLossWeights:
    """Weights of the parts of `models.losses.PersonLoss`, and their own numbers."""

    triplet: float = 1.0
    triplet_after: int = 0  # epochs without it: the hardest triplets of a fresh network draw everybody to one point
    margin: float = 0.3
    smoothing: float = 0.1
    centre: float = 5e-4


@dataclass(frozen=True)
class Augmentation:
    """What is done to a crop before it is learned from (`jobs.reid.augment`)."""

    flip: float = 0.5  # share that is mirrored
    pad_px: int = 10  # black border, out of which a crop of the old size is cut
    erase: float = 0.5  # share with a rectangle painted over
    jitter: float = 0.0  # brightness, contrast, saturation and each channel by up to this share


@dataclass(frozen=True)
class PKBatch:
    """A batch has P people with K images each."""

    people: int = 16
    images: int = 4


@dataclass(frozen=True)
class ReIDOptim:
    """Adam; the rate rises in a line over the first epochs, then falls as a cosine to `lr_end`."""

    lr: float = 3.5e-4
    lr_end: float = 1e-6
    warmup_epochs: int = 10
    weight_decay: float = 5e-4
    epochs: int = 120
    early_stop: bool = False  # keep the epoch with the best mAP of the people held out; else the last
    patience: int = 20  # with it, epochs without a better one before stopping


@dataclass(frozen=True)
class ReID:
    """The whole recipe."""

    data: str
    network: OSNetConfig | ResNet50Config | SmallCNNConfig = field(default_factory=OSNetConfig)
    weights: str = ""  # safetensors file that the backbone begins with; empty: fresh ones
    validation: float = 0.1  # share of people held out to watch; 0: none
    seed: int = 0
    threads: int = 1
    device: str = "cpu"  # or cuda
    precision: str = FLOAT32  # or bfloat16: of the backbone alone; losses are always summed in float32
    loss: PersonLossWeights = field(default_factory=PersonLossWeights)
    augmentation: Augmentation = field(default_factory=Augmentation)
    batch: PKBatch = field(default_factory=PKBatch)
    optim: ReIDOptim = field(default_factory=ReIDOptim)

    def check(self) -> None:
        """Raises UsageProblem where a number makes no sense; the message names it."""
        optim = self.optim
        for name, whole, least in (
            ("batch.people", self.batch.people, 2),
            ("batch.images", self.batch.images, 2),
            ("optim.epochs", optim.epochs, 1),
            ("optim.patience", optim.patience, 1),
            ("optim.warmup_epochs", optim.warmup_epochs, 0),
            ("augmentation.pad_px", self.augmentation.pad_px, 0),
            ("loss.triplet_after", self.loss.triplet_after, 0),
            ("threads", self.threads, 1),
        ):
            if whole < least:
                raise UsageProblem(f"{name}={whole}: must be at least {least}")
        numbers = {f"optim.{name}": getattr(optim, name) for name in ("lr", "lr_end", "weight_decay")}
        numbers |= {f"loss.{each.name}": getattr(self.loss, each.name) for each in fields(self.loss)}
        for name, number in numbers.items():
            if not 0 <= number < math.inf:
                raise UsageProblem(f"{name}={number}: must be a finite number, not below 0")
        shares = {f"augmentation.{name}": getattr(self.augmentation, name) for name in ("flip", "erase", "jitter")}
        for name, share in (shares | {"loss.smoothing": self.loss.smoothing}).items():
            if not 0 <= share <= 1:
                raise UsageProblem(f"{name}={share}: must lie between 0 and 1")
        if not 0 <= self.validation < 1:
            raise UsageProblem(f"validation={self.validation}: must be at least 0 and below 1")
        if optim.early_stop and not self.validation:
            raise UsageProblem("optim.early_stop=true: needs people to watch: set validation above 0")
        if self.device not in ("cpu", "cuda"):
            raise UsageProblem(f"device={self.device}: must be cpu or cuda")
        if self.precision not in (FLOAT32, BFLOAT16):
            raise UsageProblem(f"precision={self.precision}: must be {FLOAT32} or {BFLOAT16}")


OSNET = ReID(
    data="",
    network=OSNetConfig(height_px=128, width_px=48, width=0.25, dim=256),
    loss=PersonLossWeights(triplet=0.3, triplet_after=10),
    augmentation=Augmentation(pad_px=6, erase=0.2, jitter=0.2),
    batch=PKBatch(people=8, images=4),
    optim=ReIDOptim(lr=2e-3, weight_decay=1e-4, epochs=40, warmup_epochs=1),
)
"""Small enough for a CPU."""

SMALL = ReID(
    data="",
    network=SmallCNNConfig(height_px=64, width_px=32, width=16, dim=128),
    loss=PersonLossWeights(triplet=0.3, triplet_after=3),
    augmentation=Augmentation(pad_px=2, erase=0.3, jitter=0.1),
    batch=PKBatch(people=16, images=4),
    optim=ReIDOptim(lr=2e-3, weight_decay=1e-4, epochs=16, warmup_epochs=1),
)
"""For crops of paper dolls as the pipeline cuts them out. --data 'simulator:store?stores=6&images=24&seed=1' makes the
weights that ship."""

RESNET50 = ReID(data="", network=ResNet50Config(), device="cuda")
"""The strong baseline at its own size, for a GPU; `--set weights=FILE` begins with weights trained on ImageNet."""
