r"""Train the win-prediction model of one title.

On real matches: 1,574 of them, half a minute on one core (`sightline evaluate reproduce` trains and judges on 2016).

Chosen on two splits in time of the matches until 2015, log-loss on the later part (865 → 394 matches, 1,259 → 315; per
minute logistic regression has .4602 and .4695), as it is now .4596 to .4609 and .4691 to .4708 over three seeds, their
mean log-odds .4601 and .4698. Tried without a gain: a start from the weights that ship (.4620 and .4735), the mean with
them (.4604 and .4719), no home advantage (.4599 and .4772), stopping at the best epoch (.4704 and .4694), roughness
.02, .05 and .1 (the same to .0003) and .5 (.4612 and .4697), a running mean of weights (decay .99 the same, .998 worse
by .01), weight decay .03 and .3, dropout .3, half the hidden units, 8, 15 and 20 epochs, a heavier loss of scores,
matches instead of frames weighing the same. On three folds of Dota 2 it has .4863, and .4889 when it stops at the best
epoch.

    python -m jobs.train win-tsstn --data lol_pro_2014_2016_gold.parquet --until 2015 --name my-lol

The weights that ship, likewise for dota2 and hok: 4,000 simulated matches, two minutes.

    python -m jobs.train win-tsstn-simulated --data "simulator:lol?matches=4000&seed=7" --workers 0 \
        --store models/shipped --alias live --force --reason "ships with the code"

On 1,500 other simulated matches of lol they have log-loss .4963, where the generator's own log-odds have .496; on the
real matches of 2016 .4930 with accuracy .753, on those of Dota 2 .4990, without having seen a real match. Their learned
weights rank the groups much as the simulator does: Spearman .81 for lol, .87 for dota2, .83 for hok. Log-loss on the
real matches until 2015, unseen too, varies with the seed: .464 to .476.

Products in bfloat16 (`optim.bf16`) take 1.1 to 2 times the CPU time here, as the nets are small and the casts are not:
off. Four pieces of a batch of 16 (`optim.accumulate=4`) take 2.4 to 4 times: for batches that memory does not hold.

What is hidden decides what a poor feed gets. As long as a group was thinned to its first feature, whichever that is, a
lead in Dota 2 team fights alone spoke for the other side (-.16 in log-odds at minute 10); thinned to any one that the
match knows, every lead speaks for the side that has it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

from jobs.errors import UsageProblem
from models.layers.heroes import LineUp, hero_classes
from models.tsstn import TSSTNConfig
from streaming.features.catalogue import title_spec


@dataclass(frozen=True)
class ModelSizes:
    """What the network is made of (`models.tsstn.TSSTNConfig`); the groups come from the title."""

    temporal: str = "gru"
    spatial: str = "net"
    home: bool = True
    hidden: int = 32
    dropout: float = 0.0
    state: int = 32
    gamma: float = 4.0
    hero_dim: int = 0

    def build(self, title: str, line_ups: Sequence[LineUp] = ()) -> TSSTNConfig:
        """The model config for a title's groups and features, and for the heroes in these line-ups."""
        heroes = tuple(hero_classes(line_ups).items()) if self.hero_dim else ()
        groups = tuple(title_spec(title).groups.items())
        return TSSTNConfig(groups=groups, heroes=heroes, **(asdict(self) | {"hero_dim": self.hero_dim * bool(heroes)}))


@dataclass(frozen=True)
class LossWeights:
    """Weights of the parts of `models.losses.TSSTNLoss`, and whether matches or frames count the same."""

    score: float = 0.3
    roughness: float = 0.2
    entropy: float = 0.01
    per_match: bool = False


@dataclass(frozen=True)
class Optim:
    """AdamW with a cosine from `lr` down to `lr_end` over all epochs."""

    lr: float = 3e-3
    lr_end: float = 1e-5
    weight_decay: float = 1e-4
    clip_norm: float = 1.0
    batch_matches: int = 16
    accumulate: int = 1  # pieces of a batch, one after another: the same step with less memory, and a forward pass more
    bf16: bool = False  # products in bfloat16
    epochs: int = 30
    early_stop: bool = False  # keep the epoch with the best validation log-loss; else the last; with line-ups, always
    patience: int = 8  # with it, epochs without a better one before stopping


@dataclass(frozen=True)
class Thinning:
    """How often training hides what a poorer feed would not tell, so that one model serves rich and poor feeds."""

    some: float = 0.1  # share of matches that lose random groups, or all but one feature of a group
    one: float = 0.05  # share of matches that keep a single group, and form in two of three
    late: float = 0.1  # share of batches that are joined in mid-match


@dataclass(frozen=True)
class Scaling:
    """Where to train: `workers` of Ray Train, 0 for this very process; `storage` is a folder that all nodes share, for
    checkpoints, by default that of the run."""

    workers: int = 1
    threads: int = 1
    storage: str = ""
    restarts: int = 3  # from the last checkpoint, where workers are lost


@dataclass(frozen=True)
class WinTSSTN:
    """The whole recipe."""

    data: str
    title: str = ""  # empty: the source has one title only
    since: int = 0  # first year, 0: open
    until: int = 0  # last year, 0: open
    patch: str = ""  # of the game; "latest": that of the newest match; empty: all
    hold_back: float = 0.0  # share of the latest matches that is left for `sightline models gate --latest`
    validation: float = 0.05  # share of matches held out to watch; to calibrate or stop early, .15 is better
    seed: int = 0
    two_stage: bool = False  # scores first, on their own; then, with these held, their weights
    calibrate: bool = False  # a temperature by clock, fitted to the matches held out
    sizes: ModelSizes = field(default_factory=ModelSizes)
    loss: LossWeights = field(default_factory=LossWeights)
    optim: Optim = field(default_factory=Optim)
    thinning: Thinning = field(default_factory=Thinning)
    scaling: Scaling = field(default_factory=Scaling)

    def check(self) -> None:
        """Raises UsageProblem where a number makes no sense; the message names it."""
        optim, scaling = self.optim, self.scaling
        for name, whole, least in (
            ("optim.batch_matches", optim.batch_matches, 1),
            ("optim.accumulate", optim.accumulate, 1),
            ("optim.epochs", optim.epochs, 1),
            ("optim.patience", optim.patience, 1),
            ("scaling.workers", scaling.workers, 0),
            ("scaling.threads", scaling.threads, 1),
            ("scaling.restarts", scaling.restarts, 0),
        ):
            if whole < least:
                raise UsageProblem(f"{name}={whole}: must be at least {least}")
        for name, number in (
            ("optim.lr", optim.lr),
            ("optim.lr_end", optim.lr_end),
            ("optim.weight_decay", optim.weight_decay),
            ("optim.clip_norm", optim.clip_norm),
        ):
            if not 0 <= number < math.inf:
                raise UsageProblem(f"{name}={number}: must be a finite number, not below 0")
        if not 0 <= self.hold_back < 1:
            raise UsageProblem(f"hold_back={self.hold_back}: must be at least 0 and below 1")
        if not 0 < self.validation < 1:
            raise UsageProblem(f"validation={self.validation}: must lie between 0 and 1")


SIMULATED = WinTSSTN(
    data="",
    sizes=ModelSizes(home=False),  # the simulator knows none
    optim=Optim(lr=2e-3, batch_matches=64, epochs=15),
    thinning=Thinning(some=0.3, one=0.3),
)
"""For thousands of matches that know all groups: how the weights that ship were trained."""
