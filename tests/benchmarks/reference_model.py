"""The model of the reference workload, as a stage. Apart from it, because a driver has no use for torch."""

from __future__ import annotations

import numpy as np
import polars as pl
import torch
from reference_workload import VALUES, WIDTHS
from torch import Tensor, nn

from models.layers import OddGroupScores, masked_softmax
from streaming.state import Column, StateTable

STATE = 64
HIDDEN = 64


class ReferenceNet(nn.Module):
    """Six group scores; a GRU over |score|, what is known and the clock; six weights: six contributions."""

    def __init__(self) -> None:
        super().__init__()
        ends = np.cumsum(WIDTHS)
        columns = [list(range(end - width, end)) for width, end in zip(WIDTHS, ends.tolist(), strict=True)]
        self.spatial = OddGroupScores(columns, len(VALUES), HIDDEN)
        self.cell = nn.GRUCell(2 * len(WIDTHS) + 1, STATE)
        self.weights = nn.Linear(STATE, len(WIDTHS))

    @torch.inference_mode()
    def forward(self, values: Tensor, clock_s: Tensor, turn: Tensor, match: Tensor, hidden: Tensor) -> Tensor:
        """Contributions (N, 6) of frames (N, 23); `turn` (N,) numbers the frames of each match in this batch, `match`
        (N,) is the row of `hidden` (M, 64), which moves on in place."""
        scores, known = self.spatial(values, torch.ones_like(values))
        inputs = torch.cat([scores.abs(), known, (clock_s / 1200)[:, None]], dim=1)
        states = torch.empty(len(values), STATE)
        order = torch.argsort(turn, stable=True)
        for rows in torch.split(order, torch.bincount(turn).tolist()):
            hidden[match[rows]] = self.cell(inputs[rows], hidden[match[rows]])
            states[rows] = hidden[match[rows]]
        contributions: Tensor = 4.0 * masked_softmax(self.weights(states), known) * scores
        return contributions


class ReferenceModel:
    """The model as a stage; weights are random, which costs what trained ones cost."""

    name = "model"

    def __init__(self) -> None:
        torch.set_num_threads(1)
        torch.manual_seed(0)
        self._net = ReferenceNet().eval()

    def new_state(self) -> StateTable:
        return StateTable(self.name, {"hidden": Column(np.float32, (STATE,))}, partitioned=True)

    def __call__(self, rows: pl.DataFrame, state: StateTable) -> pl.DataFrame:
        keys, match = np.unique(rows["match_id"].to_numpy(), return_inverse=True)
        order = np.argsort(match, kind="stable")
        turn = np.empty(len(match), np.int64)
        turn[order] = np.arange(len(match)) - np.searchsorted(match[order], match[order])  # its number in its match
        first = order[np.searchsorted(match[order], np.arange(len(keys)))]
        slots = state.slots(keys.tolist(), rows["_partition"].to_numpy()[first].tolist())
        hidden = torch.from_numpy(state["hidden"][slots])
        contributions = self._net(
            torch.from_numpy(np.stack([rows[name].to_numpy() for name in VALUES], axis=1)),
            torch.from_numpy(rows["clock_s"].to_numpy().astype(np.float32)),
            torch.from_numpy(turn),
            torch.from_numpy(match),
            hidden,
        ).numpy()
        state["hidden"][slots] = hidden.numpy()
        state.touch(keys.tolist())
        p = 1.0 / (1.0 + np.exp(-contributions.sum(axis=1, dtype=np.float64)))
        made = [pl.Series("p", p), *(pl.Series(f"contribution_{n}", contributions[:, n]) for n in range(len(WIDTHS)))]
        where = [rows["_partition"].alias("source_partition"), rows["_offset"].alias("source_offset")]
        when = rows["_ingest_time_ms"].cast(pl.Datetime("ms", "UTC")).alias("ingest_time_ms")
        return pl.DataFrame([rows["match_id"], rows["event_time_ms"], *made, *where, when])
