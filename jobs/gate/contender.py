"""A stored version as it would serve: it answers through the predictor that serving uses, frame after frame, and not
through the pass over whole matches that training uses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt
import torch

from jobs.datasets import MatchSet, frame_matches
from jobs.errors import UsageProblem
from jobs.gate.promises import Answers

if TYPE_CHECKING:
    from models.store import StoredModel
    from serve.predictors.win import WinPredictor

Arrays = Mapping[str, npt.NDArray[Any]]

_MATCHES_AT_ONCE = 512


class Contender(Protocol):
    """What is judged."""

    has_home: bool
    """The model has a home advantage."""

    def request(self, matches: MatchSet) -> Arrays:
        """All frames of some matches, as `predict` takes them."""
        ...

    def predict(self, request: Arrays) -> Arrays:
        """At least logit (N,) and contributions (N, G)."""
        ...


class ServedWin:
    """A win model of the store.

    Args:
        stored: a version.

    Raises:
        BrokenModelError: as `WinPredictor`.
        UsageProblem: it could never serve.
    """

    def __init__(self, stored: StoredModel) -> None:
        from models.tsstn import TSSTN
        from serve.predictors.win import WinPredictor

        if stored.config.get("temporal") == "attention":
            raise UsageProblem(
                f"{stored.manifest.reference} cannot be streamed (temporal=attention), so it can never serve; train "
                "one with --set sizes.temporal=gru"
            )
        self.predictor: WinPredictor = WinPredictor(stored)
        self.has_home = stored.build_as(TSSTN).home is not None

    def request(self, matches: MatchSet) -> Arrays:
        """As `WinPredictor.predict` takes it; every match begins here."""
        return {
            "features": matches.features[matches.mask].numpy(),
            "clock_s": matches.clock_s[matches.mask].numpy(),
            "match": frame_matches(matches),
            "hidden": np.zeros((len(matches), self.predictor.state_floats), np.float32),
            "heroes": np.array([["\n".join(camp) for camp in camps] for camps in matches.heroes]),
        }

    def predict(self, request: Arrays) -> Arrays:
        """As `WinPredictor.predict`."""
        return self.predictor.predict(request)


def answers(contender: Contender, matches: MatchSet) -> Answers:
    """Its answers for all frames."""
    parts = [
        contender.predict(contender.request(matches.take(positions)))
        for positions in torch.split(torch.arange(len(matches)), _MATCHES_AT_ONCE)
    ]
    logits, contributions = (np.concatenate([part[key] for part in parts]) for key in ("logit", "contributions"))
    return Answers(logits.astype(np.float64), contributions.astype(np.float64))


def single_frames(matches: MatchSet, rows: int) -> MatchSet:
    """So many matches of one frame each: the one in the middle of each match in turn, again and again."""
    positions = torch.arange(rows) % len(matches)
    middle = (matches.mask.sum(dim=1)[positions] - 1) // 2
    return MatchSet(
        title=matches.title,
        source=matches.source,
        match_ids=tuple(map(str, range(rows))),
        features=matches.features[positions, middle][:, None],
        clock_s=matches.clock_s[positions, middle][:, None],
        mask=torch.ones(rows, 1, dtype=torch.bool),
        won=matches.won[positions],
        year=matches.year[positions],
        heroes=tuple(matches.heroes[position] for position in positions.tolist()),
    )
