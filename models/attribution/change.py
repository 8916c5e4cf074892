"""What a swing consists of, which frames swung most, and what it would be had an event not happened.

change(before, after)          Δ log-odds by group; the parts add up to the swing
key_moments(...)               the frames of largest swing, each with its parts
without_event(model, ...)      p with and without the second dragon, from the event on
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from models.attribution.histories import WinNet
from models.layers.heroes import LineUp

Camp = Literal["A", "B"]


class Change(NamedTuple):
    """A swing of the log-odds between two frames, or many such swings; float64, so that it adds up."""

    logit: Tensor  # (...)
    groups: Tensor  # (..., G), sums to `logit`

    @property
    def shares(self) -> Tensor:
        """Each group's part of all that moved, (..., G): |change| over the sum of them; 0 where nothing moved."""
        size = self.groups.abs()
        return size / size.sum(dim=-1, keepdim=True).clamp(min=torch.finfo(size.dtype).tiny)


class KeyMoment(NamedTuple):
    """A frame that changed much."""

    frame: int  # position in the match
    clock_s: float
    p_before: float  # camp A's chance at the frame before
    p: float
    change: Change  # against the frame before


@dataclass(frozen=True)
class Event:
    """A count that one camp gained, such as a dragon taken by A at 14:20."""

    subject: str  # a feature of the model that counts
    camp: Camp
    clock_s: float
    count: float = 1.0


class Counterfactual(NamedTuple):
    """A match as it was, and as the model sees it with the event taken out. Frames before the event are the same."""

    event: Event
    first: int  # position of the first frame that knows of the event
    logits: Tensor  # (T,) float64, as it was
    logits_without: Tensor  # (T,) float64

    @property
    def probs(self) -> Tensor:
        """Camp A's chance at every frame as it was, (T,)."""
        return self.logits.sigmoid()

    @property
    def probs_without(self) -> Tensor:
        """Camp A's chance at every frame without the event, (T,)."""
        return self.logits_without.sigmoid()

    def worth(self, frame: int = -1) -> float:
        """What the event was worth to its camp at a frame, as a change of that camp's chance."""
        gain = float(self.probs[frame] - self.probs_without[frame])
        return gain if self.event.camp == "A" else -gain


def change(before: Tensor, after: Tensor) -> Change:
    """What moved the log-odds between two frames, from their contributions (..., G)."""
    groups = after.double() - before.double()
    return Change(groups.sum(dim=-1), groups)


def key_moments(contributions: Tensor, clock_s: Tensor, *, most: int = 5, apart_s: float = 0.0) -> list[KeyMoment]:
    """The frames of one match that moved the log-odds most against the frame before, in order of time.

    Args:
        contributions: (T, G), frames in time order.
        clock_s: (T,).
        most: no more than so many.
        apart_s: of two moments closer than this only the larger counts.
    """
    if len(clock_s) < 2:
        return []
    moved = change(contributions[:-1], contributions[1:])
    probs = contributions.double().sum(dim=1).sigmoid()
    chosen: list[int] = []
    for step in torch.argsort(-moved.logit.abs(), stable=True).tolist():
        if len(chosen) == most or moved.logit[step] == 0:
            break
        if all(abs(float(clock_s[step + 1] - clock_s[other + 1])) >= apart_s for other in chosen):
            chosen.append(step)
    return [
        KeyMoment(
            frame=step + 1,
            clock_s=float(clock_s[step + 1]),
            p_before=float(probs[step]),
            p=float(probs[step + 1]),
            change=Change(moved.logit[step], moved.groups[step]),
        )
        for step in sorted(chosen)
    ]


def without_event(
    model: WinNet, features: Tensor, clock_s: Tensor, event: Event, line_up: LineUp | None = None
) -> Counterfactual:
    """Run a match again with one event's count taken out of every frame from its clock on.

    Only the count is taken out; gold and whatever else came of the event stays, since no feed says how much that was.

    Args:
        model: in evaluation mode; its features name the subject.
        features: (T, F) of one match so far, frames in time order, NaN = not known.
        clock_s: (T,).
        event: what did not happen.
        line_up: names of the heroes of camp A and B; None: not known.

    Raises:
        ValueError: the model has no such feature, no frame is as late as the event, or the feature is not known then.
    """
    names = model.config.features
    if event.subject not in names:
        raise ValueError(f"the model has no feature {event.subject!r}; it has {', '.join(names)}")
    column = names.index(event.subject)
    late = torch.nonzero(clock_s >= event.clock_s).squeeze(1)
    if not len(late):
        raise ValueError(f"{event.subject} at {event.clock_s:g} s: the match is only at {float(clock_s.max()):g} s")
    first = int(late[0])
    if features[first:, column].isnan().all():
        raise ValueError(f"{event.subject} is not known from {event.clock_s:g} s on, so it cannot be taken out")
    gained = event.count if event.camp == "A" else -event.count
    without = features.clone()
    without[first:, column] -= gained
    both = torch.stack([features, without])
    clocks = clock_s.expand(2, -1)
    with torch.no_grad():
        mask = torch.ones_like(clocks, dtype=torch.bool)
        logits = model(both, clocks, mask, None if line_up is None else [line_up] * 2).logits.double()
    # An answer never rests on later frames, so up to the event the two are the same.
    logits[1, :first] = logits[0, :first]
    return Counterfactual(event, first, logits[0], logits[1])
