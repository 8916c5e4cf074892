"""What a recipe brings to training: data that is read and split, how to learn from it, and what to say of both."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from torch import nn

    from models._registry import ModelConfig


WATCHED = {"log_loss": "log-loss", "map": "mAP", "recall": "Recall@20", "mrr": "MRR@20"}
"""The figures by which a training is told, whichever of these it has, the first one foremost; and their names."""


class Report(Protocol):
    """What an epoch achieved."""

    @property
    def epoch(self) -> int:
        """Its number, from 1."""

    @property
    def epochs(self) -> int:
        """How many there are at most."""

    @property
    def train_loss(self) -> float:
        """Mean over the epoch."""

    @property
    def validation(self) -> dict[str, float]:
        """Figures on what is held out; empty where nothing is."""

    @property
    def best_epoch(self) -> int:
        """Whose weights are kept."""

    @property
    def elapsed_s(self) -> float:
        """Since the training began."""

    @property
    def left_s(self) -> float:
        """To the last epoch, if the others take as long."""

    @property
    def rate(self) -> str:
        """How fast it goes, in words."""

    def _asdict(self) -> dict[str, Any]:
        """All of it, by name."""


OnEpoch = Callable[[Report], None]


class Fitted(Protocol):
    """A network as training leaves it."""

    @property
    def config(self) -> ModelConfig:
        """What it is made of."""

    @property
    def reports(self) -> tuple[Report, ...]:
        """Of all epochs."""

    @property
    def best(self) -> Report:
        """Of the epoch whose weights were kept."""

    def model(self) -> nn.Module:
        """The network, in evaluation mode."""


@dataclass(frozen=True)
class Task:
    """A recipe's data, ready to be learned from.

    Attributes:
        recipe_name: a key of `jobs.train.RECIPES`, from which a run that was cut short is read again.
        model_name: of the model, unless another is asked for.
        title: of the manifest: the game, or what the model is for.
        source: of the data, in words.
        fingerprint: digest of the data.
        counts: how much there is to learn from and how much is held out, for the record of the run.
        words: the same as a person says it.
        trained_on: for the manifest.
        fit: trains, with checkpoints in this folder, and tells of every epoch.
        held_out: how much the validation figures are of, for the stored metrics.
        marks: of what is learned from, as of `ModelStore.save`.
        doubt: what a person should know before it begins, in words.
    """

    recipe_name: str
    model_name: str
    title: str
    source: str
    fingerprint: str
    counts: Mapping[str, int]
    words: str
    trained_on: str
    fit: Callable[[Path, OnEpoch], Fitted]
    held_out: Mapping[str, int] = field(default_factory=dict)
    marks: npt.NDArray[np.uint64] | None = None
    doubt: str = ""
