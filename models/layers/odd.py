"""Score nets for groups of signed features, exactly odd: swapping the camps turns the sign of every score.

All groups are computed as one batched product, so a frame costs six small kernels and not six per group.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from torch import Tensor, nn


class _Grouped(nn.Module):
    """The columns of each group, side by side and padded to the widest group.

    Args:
        columns: for each group, its columns in the input.
        features: how many columns the input has.
    """

    columns: Tensor  # (G, D)

    def __init__(self, columns: Sequence[Sequence[int]], features: int) -> None:
        super().__init__()
        widest = max(len(group) for group in columns)
        # Column `features` is a spare one of zeros: groups narrower than the widest point there.
        padded = [[*group, *[features] * (widest - len(group))] for group in columns]
        self.register_buffer("columns", torch.tensor(padded), persistent=False)
        self.widths = tuple(len(group) for group in columns)

    def grouped(self, values: Tensor) -> Tensor:
        """Columns by group (N, G, D) of values (N, F), 0 in the padding."""
        return F.pad(values, (0, 1))[:, self.columns]


class OddGroupScores(_Grouped):
    """One two-layer MLP per group: s_g(x, m) = tanh((f_g(x, m) - f_g(-x, m)) / 2), in (-1, 1).

    `m` marks the values that are present. The last layer has no bias: the odd part cancels it.

    Args:
        columns: for each group, its columns in the input.
        features: how many columns the input has.
        hidden: units of both hidden layers.
        dropout: share of the units of the second layer that training leaves out, the same ones in both views.
    """

    def __init__(self, columns: Sequence[Sequence[int]], features: int, hidden: int, dropout: float = 0.0) -> None:
        super().__init__(columns, features)
        groups, widest = self.columns.shape
        self.dropout = dropout
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

    def forward(self, values: Tensor, present: Tensor, piece: int | None = None) -> tuple[Tensor, Tensor]:
        """Scores of all groups.

        Args:
            values: (N, F), 0 where missing.
            present: (N, F), 1.0 where the value is known, else 0.0.
            piece: compute in pieces of so many rows, of which N is a multiple (`models.layers.rows`); None: all at
                once.

        Returns:
            scores (N, G), 0 for a group of which nothing is known, and known (N, G), 1.0 or 0.0.
        """
        x, m = self.grouped(values), self.grouped(present)
        known = m.amax(dim=2)
        if not known.shape[0]:
            return torch.zeros_like(known), known
        some = torch.nonzero(known.amax(dim=0)).squeeze(1)
        if some.shape[0] == known.shape[1]:
            return self._scores(x, m, some, piece or x.shape[0]) * known, known
        scores = torch.zeros_like(known)
        if some.shape[0]:  # a poor feed costs no more than the groups that it knows
            scores[:, some] = self._scores(x[:, some], m[:, some], some, piece or x.shape[0])
        return scores * known, known

    def _scores(self, x: Tensor, m: Tensor, groups: Tensor, piece: int) -> Tensor:
        """Scores (N, S) of the groups numbered so, from their values and marks (N, S, D)."""
        rows, some, width = x.shape
        pieces = rows // piece
        views = torch.stack([torch.cat([x, m], dim=2), torch.cat([-x, m], dim=2)])  # (2, N, S, 2D)
        views = views.reshape(2, pieces, piece, some, 2 * width).permute(1, 3, 0, 2, 4)  # (pieces, S, 2, piece, 2D)
        h = views.reshape(pieces * some, 2 * piece, 2 * width)
        w1, b1, w2, b2, w3 = (self._of(w, groups, pieces) for w in (self.w1, self.b1, self.w2, self.b2, self.w3))
        h = F.gelu(torch.bmm(h, w1).add_(b1))
        h = F.gelu(torch.bmm(h, w2).add_(b2))
        if self.training and self.dropout:
            kept = torch.rand(pieces * some, 1, piece, h.shape[2], device=h.device) >= self.dropout
            h = (h.reshape(pieces * some, 2, piece, -1) * kept / (1 - self.dropout)).reshape(h.shape)
        # Not a product with one column: alone in its batch, such a one is computed another way and rounds otherwise.
        f = (h * w3.transpose(1, 2)).sum(dim=2).reshape(pieces, some, 2, piece)
        return torch.tanh((f[:, :, 0] - f[:, :, 1]) / 2).transpose(1, 2).reshape(rows, some)

    def _of(self, parameter: Tensor, groups: Tensor, pieces: int) -> Tensor:
        """A parameter (pieces · S, ...) of these groups, once for every piece."""
        own = parameter if groups.shape[0] == parameter.shape[0] else parameter[groups]
        return own if pieces == 1 else own.repeat(pieces, 1, 1)


class LinearGroupScores(_Grouped):
    """The plainest odd score, s_g(x) = u_g · x: what is left of the spatial stage without its nets. Not bounded.

    Args:
        columns: for each group, its columns in the input.
        features: how many columns the input has.
    """

    def __init__(self, columns: Sequence[Sequence[int]], features: int) -> None:
        super().__init__(columns, features)
        shares = [[1.0 / len(group)] * len(group) + [0.0] * (self.columns.shape[1] - len(group)) for group in columns]
        self.w = nn.Parameter(torch.tensor(shares))

    def forward(self, values: Tensor, present: Tensor, piece: int | None = None) -> tuple[Tensor, Tensor]:
        """Scores (N, G) and known (N, G), as `OddGroupScores`; `piece` does not matter, as rows are summed alone."""
        known = self.grouped(present).amax(dim=2)
        products = self.grouped(values) * self.w
        score = products[..., 0]
        for column in range(1, products.shape[2]):  # in this order whatever N is, which a sum() would not promise
            score = score + products[..., column]
        return score, known
