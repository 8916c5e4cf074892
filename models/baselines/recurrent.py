"""One recurrent layer over the frames of a match: GRU or LSTM."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, cast

from torch import Tensor, nn

from models.baselines.inputs import FrameInputs, check_sizes

_CELLS: dict[str, type[nn.GRU] | type[nn.LSTM]] = {"gru": nn.GRU, "lstm": nn.LSTM}


@dataclass(frozen=True)
class RecurrentNetConfig:
    """What a RecurrentNet is made of; see there. `cell` is gru or lstm."""

    features: int
    cell: str
    state: int = 48
    dropout: float = 0.2

    def __post_init__(self) -> None:
        if self.cell not in _CELLS:
            raise ValueError(f"RecurrentNet cell must be one of {', '.join(_CELLS)}, not {self.cell!r}")
        check_sizes("RecurrentNet", self.dropout, features=self.features, state=self.state)

    def build(self) -> RecurrentNet:
        """A network with fresh weights."""
        cell = cast(Literal["gru", "lstm"], self.cell)
        return RecurrentNet(self.features, cell=cell, state=self.state, dropout=self.dropout)


class RecurrentNet(nn.Module):
    """A layer of `state` units, dropout, and a linear answer for every frame."""

    def __init__(self, features: int, *, cell: Literal["gru", "lstm"], state: int = 48, dropout: float = 0.2) -> None:
        super().__init__()
        self.inputs = FrameInputs(features)
        self.layer = _CELLS[cell](self.inputs.width, state, batch_first=True)
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Linear(state, 1))

    def forward(self, features: Tensor, clock_s: Tensor, mask: Tensor) -> Tensor:
        """Logits (B, T); padding, where `mask` is False, comes out as 0."""
        states, _ = self.layer(self.inputs(features, clock_s))
        logits: Tensor = self.head(states).squeeze(-1)
        return logits * mask
