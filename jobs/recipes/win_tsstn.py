r"""Train the win-prediction model of one title.

On real matches: 1,574 of them, half a minute on one core; on the 2,494 matches of 2016 log-loss .492, accuracy .754
(`python -m jobs.evaluate gate-lol --data lol_pro_2014_2016_gold.parquet` trains and judges).

    python -m jobs.train win-tsstn --data lol_pro_2014_2016_gold.parquet --until 2015 --name my-lol --alias live

The weights that ship, likewise for dota2 and hok: 4,000 simulated matches, two minutes; on 1,500 other ones log-loss
.476, where the generator's own log-odds have .462; on the real matches of 2016 log-loss .500, accuracy .753.

    python -m jobs.train win-tsstn --data "simulator:lol?matches=4000&seed=7" --alias live --workers 0 \
        --store models/shipped --set optim.epochs=15 --set optim.patience=6
"""

from __future__ import annotations

from dataclasses import dataclass, field

from models.tsstn import TSSTNConfig
from streaming.features.catalogue import title_spec


@dataclass(frozen=True)
class ModelSizes:
    """Sizes of the network; the groups come from the title."""

    hidden: int = 32
    state: int = 32
    gamma: float = 4.0

    def build(self, title: str) -> TSSTNConfig:
        """The model config for a title's groups and features."""
        groups = tuple(title_spec(title).groups.items())
        return TSSTNConfig(groups=groups, hidden=self.hidden, state=self.state, gamma=self.gamma)


@dataclass(frozen=True)
class LossWeights:
    """Weights of the parts of `models.losses.TSSTNLoss`, and whether matches or frames count the same."""

    score: float = 0.3
    roughness: float = 0.05
    entropy: float = 0.01
    per_match: bool = False


@dataclass(frozen=True)
class Optim:
    """AdamW with a cosine from `lr` down to `lr_end` over all epochs."""

    lr: float = 2e-3
    lr_end: float = 1e-5
    weight_decay: float = 1e-4
    clip_norm: float = 1.0
    batch_matches: int = 64
    epochs: int = 30
    patience: int = 8  # epochs without a better validation log-loss before stopping


@dataclass(frozen=True)
class Thinning:
    """How often training hides what a poorer feed would not tell, so that one model serves rich and poor feeds."""

    some: float = 0.3  # share of matches that lose random groups, or all but a group's first feature
    one: float = 0.15  # share of matches that keep a single group, and form in two of three
    late: float = 0.1  # share of batches that are joined in mid-match


@dataclass(frozen=True)
class Scaling:
    """Where to train: `workers` of Ray Train, 0 for this very process; `storage` is a folder that all nodes share."""

    workers: int = 1
    threads: int = 1
    storage: str = ""


@dataclass(frozen=True)
class WinTSSTN:
    """The whole recipe."""

    data: str
    title: str = ""  # empty: the source has one title only
    since: int = 0  # first year, 0: open
    until: int = 0  # last year, 0: open
    validation: float = 0.15  # share of matches held out to stop early
    seed: int = 0
    sizes: ModelSizes = field(default_factory=ModelSizes)
    loss: LossWeights = field(default_factory=LossWeights)
    optim: Optim = field(default_factory=Optim)
    thinning: Thinning = field(default_factory=Thinning)
    scaling: Scaling = field(default_factory=Scaling)
