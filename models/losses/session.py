"""Losses of next-click prediction. Each row has scores of candidates, of which one is the item that was clicked.

scores    (R, C) of all candidates
positive  (R,) column of the item that was clicked
allowed   (R, C) bool: which columns are negatives of the row; the clicked item is none, wherever it stands
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from torch import Tensor

SCORE_DECAY = 1.0
"""λ of BPR-max's score regularisation, as in the authors' settings."""


def negatives(candidates: Tensor, positive: Tensor) -> Tensor:
    """`allowed` of rows over candidates (C,) items: all columns with another item than the row's own, (R, C)."""
    return candidates[None] != candidates[positive][:, None]


def sampled_cross_entropy(scores: Tensor, positive: Tensor, allowed: Tensor) -> Tensor:
    """Mean of -ln softmax of the clicked item among itself and its negatives (arXiv:1706.03847, §3.1), nats."""
    own = scores.gather(1, positive[:, None])
    rest = scores.masked_fill(~allowed, -torch.inf)
    return (torch.cat([own, rest], dim=1).logsumexp(dim=1) - own[:, 0]).mean()


def bpr_max(scores: Tensor, positive: Tensor, allowed: Tensor, *, decay: float = SCORE_DECAY) -> Tensor:
    """Mean of -ln Σ_j s_j σ(r_i - r_j) + λ Σ_j s_j r_j², s the softmax over negatives (arXiv:1706.03847, eq. 10)."""
    own, weight = _against(scores, positive, allowed)
    win = (weight * torch.sigmoid(own - scores)).sum(dim=1)
    size = (weight * scores.square()).sum(dim=1)
    return (decay * size - (win + 1e-24).log()).mean()


def top1_max(scores: Tensor, positive: Tensor, allowed: Tensor) -> Tensor:
    """Mean of Σ_j s_j (σ(r_j - r_i) + σ(r_j²)), s the softmax over negatives (arXiv:1706.03847, eq. 8)."""
    own, weight = _against(scores, positive, allowed)
    return (weight * (torch.sigmoid(scores - own) + torch.sigmoid(scores.square()))).sum(dim=1).mean()


def sasrec_bce(positive: Tensor, negative: Tensor) -> Tensor:
    """Mean of -ln σ(r⁺) - ln(1 - σ(r⁻)), one negative to a row (arXiv:1808.09781, §III-E); both (R,)."""
    return (F.softplus(-positive) + F.softplus(negative)).mean()


def in_batch_margin(similarity: Tensor, *, margin: float = 0.3) -> Tensor:
    """EasyTransfer's loss of two towers: mean_i mean_j max(0, m - s_ii + s_ij - m·1[i = j]), all rows being pairs.

    Source: alibaba/EasyTransfer, text_match_bert_two_tower.

    Args:
        similarity: (R, R) cosines of the row's own tower a_i with every b_j.
        margin: m.
    """
    own = similarity.diagonal()[:, None]
    same = torch.eye(len(similarity), dtype=similarity.dtype, device=similarity.device)
    return F.relu(margin - own + similarity - margin * same).mean()


def _against(scores: Tensor, positive: Tensor, allowed: Tensor) -> tuple[Tensor, Tensor]:
    """The clicked item's scores (R, 1), and the softmax over its negatives (R, C), 0 elsewhere."""
    own = scores.gather(1, positive[:, None])
    weight = scores.masked_fill(~allowed, -torch.inf).softmax(dim=1).nan_to_num()  # a row may have no negative at all
    return own, weight
