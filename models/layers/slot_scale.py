"""Feature scales that depend on the game clock: 1,000 gold at minute 5 is a landslide, at minute 35 a shrug."""

from __future__ import annotations

import torch
from torch import Tensor, nn

_FEWEST_VALUES = 30
_SMALLEST_SHARE = 0.1


class SlotScale(nn.Module):
    """Divide each feature by its spread within the time slot, then clip; nothing is subtracted, so 0 stays parity.

    The spread is the root mean square over the training set, which is the standard deviation of the set taken from
    both camps' views. Slots are `slot_s` seconds wide; the last one pools all later time. The scales are saved with
    the weights. A feature that training never saw, or only as 0, has scale NaN and so comes out as not known: what
    the net would make of it is noise.
    """

    scale: Tensor  # (slots, F)

    def __init__(self, features: int, *, slots: int, slot_s: float, clip: float) -> None:
        super().__init__()
        self.slots, self.slot_s, self.clip = slots, slot_s, clip
        self.register_buffer("scale", torch.ones(slots, features))

    def slot_of(self, clock_s: Tensor) -> Tensor:
        """Slot of each clock reading, same shape, int64."""
        return (clock_s / self.slot_s).long().clamp(0, self.slots - 1)

    def forward(self, features: Tensor, clock_s: Tensor) -> Tensor:
        """Scaled features (N, F), within ±clip; NaN stays NaN. clock_s is (N,)."""
        return (features / self.scale[self.slot_of(clock_s)]).clamp(-self.clip, self.clip)

    @torch.no_grad()
    def fit(self, features: Tensor, clock_s: Tensor) -> None:
        """Take the spreads of a training set: features (N, F), NaN where missing; clock_s (N,).

        A slot with fewer than 30 values is interpolated from its neighbours, and none goes below a tenth of the
        feature's spread over all time: early slots, where nothing has happened yet, would blow up the first event.
        """
        squares = features.double().square()
        slot = self.slot_of(clock_s)
        shape = (self.slots, features.shape[1])
        total = torch.zeros(shape, dtype=torch.float64).index_add_(0, slot, squares.nan_to_num())
        count = torch.zeros(shape, dtype=torch.float64).index_add_(0, slot, squares.isnan().logical_not().double())
        for feature in range(features.shape[1]):
            n, t = count[:, feature], total[:, feature]
            overall = (t.sum() / n.sum().clamp(min=1)).sqrt().item()
            if overall == 0:
                self.scale[:, feature] = torch.nan
                continue
            rich = n >= min(_FEWEST_VALUES, n.max().item())
            spread = _interpolate(torch.nonzero(rich).squeeze(1), (t[rich] / n[rich]).sqrt(), self.slots)
            self.scale[:, feature] = spread.clamp(min=_SMALLEST_SHARE * overall).float()


def _interpolate(at: Tensor, values: Tensor, length: int) -> Tensor:
    """Linear between the known positions `at` (rising), constant beyond them; (length,)."""
    where = torch.arange(length)
    right = torch.searchsorted(at, where).clamp(max=len(at) - 1)
    left = (right - (at[right] > where).long()).clamp(min=0)
    gap = (at[right] - at[left]).clamp(min=1)
    share = ((where - at[left]) / gap).clamp(0, 1)
    return values[left] + share * (values[right] - values[left])
