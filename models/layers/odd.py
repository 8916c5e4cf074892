"""Score nets for groups of signed features, exactly odd: swapping the camps turns the sign of every score.

All groups are computed as one batched product, so a frame costs six small kernels and not six per group.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from torch import Tensor, nn


class OddGroupScores(nn.Module):
    """One two-layer MLP per group: s_g(x, m) = tanh((f_g(x, m) - f_g(-x, m)) / 2), in (-1, 1).

    `m` marks the values that are present. The last layer has no bias: the odd part cancels it.

    Args:
        widths: number of features of each group; their order is the column order of the input.
        hidden: units of both hidden layers.
    """

    columns: Tensor

    def __init__(self, widths: tuple[int, ...], hidden: int) -> None:
        super().__init__()
        groups, widest, features = len(widths), max(widths), sum(widths)
        # Column `features` is a spare one of zeros: groups narrower than the widest point there.
        columns = torch.full((groups, widest), features)
        start = 0
        for group, width in enumerate(widths):
            columns[group, :width] = torch.arange(start, start + width)
            start += width
        self.register_buffer("columns", columns, persistent=False)
        self.widths = widths
        self.w1 = nn.Parameter(torch.empty(groups, 2 * widest, hidden))
        self.b1 = nn.Parameter(torch.empty(groups, 1, hidden))
        self.w2 = nn.Parameter(torch.empty(groups, hidden, hidden))
        self.b2 = nn.Parameter(torch.empty(groups, 1, hidden))
        self.w3 = nn.Parameter(torch.empty(groups, hidden, 1))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Uniform in ±1/√fan-in, as torch's own linear layers; fan-in of a group counts its own features only."""
        with torch.no_grad():
            for group, width in enumerate(self.widths):
                bound = (2 * width) ** -0.5
                self.w1[group].uniform_(-bound, bound)
                self.b1[group].uniform_(-bound, bound)
            bound = self.w2.shape[1] ** -0.5
            for parameter in (self.w2, self.b2, self.w3):
                parameter.uniform_(-bound, bound)

    def forward(self, values: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        """Scores of all groups.

        Args:
            values: (N, F), 0 where missing.
            present: (N, F), 1.0 where the value is known, else 0.0.

        Returns:
            scores (N, G), 0 for a group of which nothing is known, and known (N, G), 1.0 or 0.0.
        """
        rows = len(values)
        # (N, G, D) → (G, N, D), the spare column at the end
        x = F.pad(values, (0, 1))[:, self.columns].transpose(0, 1)
        m = F.pad(present, (0, 1))[:, self.columns].transpose(0, 1)
        both_views = torch.cat([torch.cat([x, m], dim=2), torch.cat([-x, m], dim=2)], dim=1)  # (G, 2N, 2D)
        h = F.gelu(torch.baddbmm(self.b1, both_views, self.w1))
        h = F.gelu(torch.baddbmm(self.b2, h, self.w2))
        f = torch.bmm(h, self.w3).squeeze(2)  # (G, 2N)
        known = m.amax(dim=2).T  # (N, G)
        return torch.tanh((f[:, :rows] - f[:, rows:]) / 2).T * known, known
