"""GRU4Rec: a gated recurrent network over the clicks of a session.

Hidasi et al., "Session-based Recommendations with Recurrent Neural Networks" (ICLR 2016, arXiv:1511.06939); losses and
extra negatives of "Recurrent Neural Networks with Top-k Gains for Session-based Recommendations" (CIKM 2018,
arXiv:1706.03847). Constrained embeddings (§3.3 there, as in the authors' code): one table serves input and output.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from torch import Tensor, nn

from models.session_encoder import SessionEncoder, known


@dataclass(frozen=True)
class GRU4RecConfig:
    """A GRU4Rec; see `GRU4Rec`."""

    items: int
    dim: int = 96
    dropout_input: float = 0.0
    dropout_state: float = 0.0

    def __post_init__(self) -> None:
        if min(self.items, self.dim) < 1:
            raise ValueError(f"GRU4Rec: sizes must be at least 1: {self}")
        if not (0 <= self.dropout_input < 1 and 0 <= self.dropout_state < 1):
            raise ValueError(f"GRU4Rec: dropout must be at least 0 and below 1: {self}")

    def build(self) -> GRU4Rec:
        """A network with fresh weights."""
        return GRU4Rec(self)


class GRU4Rec(SessionEncoder):
    """One layer of gated recurrent units; its state is what items are scored by. A click on no known item is skipped.

    The product of an item's embedding with the input weights depends on the item alone: `input_table` computes it once
    for all items, so that a step costs one product of the state.
    """

    def __init__(self, config: GRU4RecConfig) -> None:
        super().__init__()
        self.config, self.items, self.dim = config, config.items, config.dim
        self._inputs: Tensor | None = None
        self.embedding = nn.Embedding(config.items, config.dim)
        self.bias = nn.Embedding(config.items, 1)
        self.cell = nn.GRUCell(config.dim, config.dim)
        self.drop_input, self.drop_state = nn.Dropout(config.dropout_input), nn.Dropout(config.dropout_state)
        bound = (6 / (config.items + config.dim)) ** 0.5  # of Glorot, as in the authors' code
        nn.init.uniform_(self.embedding.weight, -bound, bound)
        nn.init.zeros_(self.bias.weight)

    def step(self, items: Tensor, state: Tensor) -> Tensor:
        """State (B, D) after a click on each of items (B,), all known."""
        found: Tensor = self.cell(self.drop_input(self.embedding(items)), state)
        return found

    def states(self, clicks: Tensor) -> Tensor:  # noqa: D102 - as the base says
        there = known(clicks, self.items)
        inputs = self._gate_inputs(clicks.where(there, 0))
        state = inputs.new_zeros(len(clicks), self.dim)
        found = []
        stepped = there.any(dim=0).tolist()  # a step at which nobody clicks moves no state
        for at in range(clicks.shape[1]):
            if stepped[at]:
                state = torch.where(there[:, at, None], self._moved(inputs[:, at], state), state)
            found.append(state)
        stacked: Tensor = self.drop_state(torch.stack(found, dim=1))
        return stacked

    def item_vectors(self, items: Tensor) -> Tensor:  # noqa: D102
        found: Tensor = self.embedding(items)
        return found

    def item_biases(self, items: Tensor) -> Tensor:  # noqa: D102
        found: Tensor = self.bias(items)[:, 0]
        return found

    def input_table(self) -> Tensor:
        """Gate inputs (I, 3D) of all items, in evaluation, made once."""
        if self._inputs is None:
            with torch.no_grad():
                self._inputs = F.linear(self.embedding.weight, self.cell.weight_ih, self.cell.bias_ih)
        return self._inputs

    def train(self, mode: bool = True) -> GRU4Rec:
        """As torch has it; what was made for evaluation is gone."""
        self._inputs = None
        super().train(mode)
        return self

    def _gate_inputs(self, items: Tensor) -> Tensor:
        if self.training:
            inputs = self.drop_input(self.embedding(items))
            return F.linear(inputs, self.cell.weight_ih, self.cell.bias_ih)
        return self.input_table()[items]

    def _moved(self, inputs: Tensor, state: Tensor) -> Tensor:
        """The cell's equations, with its input product done."""
        recurrent = F.linear(state, self.cell.weight_hh, self.cell.bias_hh)
        (r, z, n), (hr, hz, hn) = inputs.chunk(3, dim=1), recurrent.chunk(3, dim=1)
        update = torch.sigmoid(z + hz)
        return (1 - update) * torch.tanh(n + torch.sigmoid(r + hr) * hn) + update * state
