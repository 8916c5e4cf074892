"""A person's embedding: a backbone, its mean over the crop, and a batch-norm neck.

Luo et al., "Bag of Tricks and A Strong Baseline for Deep Person Re-identification" (CVPR workshops 2019), §3.5:
distances are learned on the pooled feature f_t, identities on f_i, which is f_t after a batch norm without a shift;
people are looked up by the cosine of f_i. A layer that classifies identities belongs to training, not to the network
that serves.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from torch import Tensor, nn

CHANNEL_MEAN = (0.485, 0.456, 0.406)
CHANNEL_STD = (0.229, 0.224, 0.225)
"""Of ImageNet, RGB in [0, 1]: what pretrained backbones expect."""


class PersonEmbedder(nn.Module):
    """Crops of people to vectors of unit length, near for one person and far for two.

    Args:
        backbone: images (B, 3, H, W) to maps (B, `dim`, h, w).
        dim: D, channels of the maps.
        height_px: H of the crops that it takes.
        width_px: W of them.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, backbone: nn.Module, dim: int, *, height_px: int, width_px: int) -> None:
        super().__init__()
        self.dim, self.height_px, self.width_px = dim, height_px, width_px
        self.backbone = backbone
        self.neck = nn.BatchNorm1d(dim)
        self.neck.bias.requires_grad_(False)  # stays 0: identities lie around the origin, as a cosine wants them
        self.register_buffer("mean", torch.tensor(CHANNEL_MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(CHANNEL_STD).view(3, 1, 1), persistent=False)

    def pooled(self, crops: Tensor) -> Tensor:
        """f_t (B, D), of any length, from crops (B, 3, H, W) float32 RGB in [0, 1].

        Raises:
            ValueError: the crops have another shape.
        """
        if crops.shape[1:] != (3, self.height_px, self.width_px):
            raise ValueError(
                f"a crop must be (3, {self.height_px}, {self.width_px}), not {tuple(crops.shape[1:])}: resize it first"
            )
        maps: Tensor = self.backbone((crops - self.mean) / self.std)
        return maps.mean(dim=(2, 3))

    def pooled_in(self, dtype: torch.dtype, crops: Tensor) -> Tensor:
        """f_t as of `pooled`, in float32, out of a backbone that computes in `dtype`: bfloat16 halves its time."""
        with torch.autocast(crops.device.type, dtype, enabled=dtype != torch.float32):
            return self.pooled(crops).float()

    def forward(self, crops: Tensor) -> Tensor:
        """f_i (B, D), of unit length; crops as of `pooled`."""
        return F.normalize(self.neck(self.pooled(crops)))
