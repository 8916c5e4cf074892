"""What a temporal stage may be: from what is known so far to how much each group counts now.

Every one maps inputs (B, T, I) and clock_s (B, T) to a drive (B, T, O), in which frame t depends on frames 0..t alone,
and, where it can be served, does the same frame by frame: `step` answers bit for bit the same however a stream is cut.

    ConstantDrive      nothing: one drive for all frames ("without temporal")
    SlotTableDrive     the clock: a table of half-minute slots, lines between them
    RecurrentDrive     clock and history: a GRU whose state travels with the match
    AttentionDrive     clock and history: a causal Transformer; needs the whole history, so it cannot be streamed
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from models.layers.clock_curve import at_clock
from models.layers.rows import PIECE, affine, padded

TABLE_SLOTS = 40
TABLE_SLOT_S = 30.0
ATTENTION_WIDTH, ATTENTION_LAYERS, ATTENTION_HEADS = 64, 2, 4


class Drive(nn.Module):
    """The contract of the four; `state` is the number of floats that a match's state takes."""

    state = 0

    def forward(self, inputs: Tensor, clock_s: Tensor) -> Tensor:
        """Drive (B, T, O) of inputs (B, T, I) at clock_s (B, T)."""
        raise TypeError(f"{type(self).__name__} is a contract, not a stage")

    def step(self, inputs: Tensor, clock_s: Tensor, match: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """Drive of the next frames of many matches, and the state after them.

        Args:
            inputs: (P, I), P a multiple of `PIECE`, at least N; rows beyond N are padding.
            clock_s: (P,).
            match: (N,) int64, row of `hidden`.
            hidden: (M, state).

        Returns:
            drive (P, O), and hidden (M, state).
        """
        return self(inputs[None], clock_s[None])[0], hidden.clone()


class ConstantDrive(Drive):
    """The same drive for every frame."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.level = nn.Parameter(torch.zeros(outputs))

    def start_at(self, output: int, value: float) -> None:
        """Let one output be `value` before training."""
        with torch.no_grad():
            self.level[output] = value

    def forward(self, inputs: Tensor, clock_s: Tensor) -> Tensor:
        """As `Drive.forward`."""
        return self.level.expand(*clock_s.shape, -1)


class SlotTableDrive(Drive):
    """A table over the clock, half a minute a slot; beyond its 40 slots the last one holds."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.zeros(TABLE_SLOTS, outputs))

    def start_at(self, output: int, value: float) -> None:
        """Let one output be `value` before training."""
        with torch.no_grad():
            self.table[:, output] = value

    def forward(self, inputs: Tensor, clock_s: Tensor) -> Tensor:
        """As `Drive.forward`."""
        return at_clock(self.table, clock_s.reshape(-1), TABLE_SLOT_S).reshape(*clock_s.shape, -1)


class _GRU(nn.GRU):
    """torch's GRU, with the types of the parameters that streaming reads."""

    weight_ih_l0: Tensor
    weight_hh_l0: Tensor
    bias_ih_l0: Tensor
    bias_hh_l0: Tensor


class _HistoryDrive(Drive):
    """A drive that is a linear layer, `out`, on what a net has made of the history."""

    out: nn.Linear

    def start_at(self, output: int, value: float) -> None:
        """Let one output be `value` before training, whatever the history."""
        with torch.no_grad():
            self.out.weight[output] = 0
            self.out.bias[output] = value


class RecurrentDrive(_HistoryDrive):
    """A GRU over the frames and a linear layer on its state."""

    def __init__(self, inputs: int, state: int, outputs: int) -> None:
        super().__init__()
        self.state = state
        self.gru = _GRU(inputs, state, batch_first=True)
        self.out = nn.Linear(state, outputs)

    def forward(self, inputs: Tensor, clock_s: Tensor) -> Tensor:
        """As `Drive.forward`."""
        states, _ = self.gru(inputs)
        drive: Tensor = self.out(states)
        return drive

    def step(self, inputs: Tensor, clock_s: Tensor, match: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """As `Drive.step`."""
        pushes = affine(inputs, self.gru.weight_ih_l0, self.gru.bias_ih_l0, PIECE)
        states, hidden = self._advance(pushes, match, hidden)
        return affine(states, self.out.weight, self.out.bias, PIECE), hidden

    def _advance(self, pushes: Tensor, match: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """Run the recurrence: the first frame of every match, then the second, ... Returns states (P, H), hidden."""
        hidden = torch.cat([hidden, hidden.new_zeros(1, self.state)])  # the last row takes what padding computes
        nobody = hidden.shape[0] - 1
        order, starts = _rounds(match)
        states = pushes.new_zeros(pushes.shape[0], self.state)
        for start, stop in pairwise(starts):
            rows = order[start:stop]
            who = nn.functional.pad(match[rows], (0, (start - stop) % PIECE), value=nobody)
            state = self._cell(padded(pushes[rows]), hidden[who])
            hidden[who] = state
            states[rows] = state[: stop - start]
        return states, hidden[:-1]

    def _cell(self, push: Tensor, hidden: Tensor) -> Tensor:
        """One GRU step, push = W_ih x + b_ih: the same equations as `nn.GRU`."""
        pull = affine(hidden, self.gru.weight_hh_l0, self.gru.bias_hh_l0, PIECE)
        width = self.state
        # Contiguous, so that no vector kernel meets a row's end: its scalar remainder may round otherwise.
        gates = (push[:, : 2 * width] + pull[:, : 2 * width]).sigmoid()
        reset, update = gates[:, :width], gates[:, width:]
        new = torch.tanh(push[:, 2 * width :] + reset * pull[:, 2 * width :])
        return new + update * (hidden - new)


class AttentionDrive(_HistoryDrive):
    """Two causal Transformer layers over the frames. Position is in the inputs: they state the clock."""

    def __init__(self, inputs: int, outputs: int, dropout: float = 0.1) -> None:
        super().__init__()
        width = ATTENTION_WIDTH
        self.embed = nn.Linear(inputs, width)
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(
                width, ATTENTION_HEADS, 2 * width, dropout, activation="gelu", batch_first=True, norm_first=True
            )
            for _ in range(ATTENTION_LAYERS)
        )
        self.out = nn.Linear(width, outputs)

    def forward(self, inputs: Tensor, clock_s: Tensor) -> Tensor:
        """As `Drive.forward`."""
        frames = inputs.shape[1]
        later = torch.ones(frames, frames, dtype=torch.bool, device=inputs.device).triu(1)
        x = self.embed(inputs)
        for layer in self.layers:
            x = layer(x, src_mask=later)
        drive: Tensor = self.out(x)
        return drive

    def step(self, inputs: Tensor, clock_s: Tensor, match: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """Refused.

        Raises:
            ValueError: always; the history of a match does not fit into a few state floats.
        """
        raise ValueError(
            "a TSSTN with temporal=attention needs every earlier frame of a match and cannot be streamed: "
            "train one with temporal=gru or temporal=table to serve it"
        )


def _rounds(match: Tensor) -> tuple[Tensor, list[int]]:
    """Rows sorted into rounds, the r-th frame of each match in round r: order (N,) and where each round starts."""
    rows = match.shape[0]
    if int(torch.bincount(match, minlength=1).amax()) <= 1:  # one frame a match, as nearly always when live
        return torch.arange(rows, device=match.device), [0, rows]
    by_match = torch.argsort(match, stable=True)
    sorted_match = match[by_match]
    first = torch.searchsorted(sorted_match, sorted_match)
    turn = torch.empty_like(match)
    turn[by_match] = torch.arange(rows, device=match.device) - first
    order = torch.argsort(turn, stable=True)
    sizes = torch.bincount(turn, minlength=1).tolist()
    starts = [0]
    for size in sizes:
        starts.append(starts[-1] + size)
    return order, starts
