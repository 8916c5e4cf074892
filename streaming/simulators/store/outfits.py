"""What a person wears: upper and lower garment with hue, pattern and length, and shoes."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from streaming.simulators.store.plan import Flags, Floats
from streaming.simulators.store.routes import Ints

PATTERNS = ("plain", "stripes", "pinstripes", "checks", "dots")
_NEUTRALS = np.array([[34, 36, 42], [72, 76, 84], [128, 132, 138], [232, 232, 228], [36, 48, 84], [188, 166, 132]])
_SHOES = np.array([[30, 30, 32], [238, 238, 236], [92, 64, 44], [64, 74, 96], [178, 60, 52]])


@dataclass(frozen=True)
class Outfits:
    """N outfits, a row each. Colours are 0 to 255, (N, 3)."""

    upper_rgb: Floats
    upper_second_rgb: Floats  # of the pattern
    upper_pattern: Ints  # index in PATTERNS
    sleeve: Floats  # 0 none, 1 to the elbow, 2 to the wrist
    coat: Floats  # how far down the thigh, 0 to 0.9
    lower_rgb: Floats
    lower_second_rgb: Floats
    lower_pattern: Ints
    trouser: Floats  # of the leg: 1 to the knee, 2 to the ankle
    skirt: Flags  # then `trouser` is the hem, of the thigh
    shoe_rgb: Floats

    def __len__(self) -> int:
        return len(self.sleeve)

    def take(self, rows: npt.NDArray[np.integer]) -> Outfits:
        """These rows, in this order."""
        return Outfits(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})


def draw_outfits(outfits: int, seed: int) -> Outfits:
    """Made-up outfits; outfit i is the same however many are drawn.

    Raises:
        ValueError: fewer than one.
    """
    if outfits < 1:
        raise ValueError(f"there is at least one outfit to draw, not {outfits}")
    u = np.random.default_rng([seed, 3]).random((outfits, 24))
    upper, lower = _cloth(u[:, 0:5], neutral_share=0.35), _cloth(u[:, 5:10], neutral_share=0.6)
    skirt = u[:, 10] < 0.16
    trouser = np.select([u[:, 11] < 0.12, u[:, 11] < 0.2], [0.75 + 0.3 * u[:, 12], 1.4 + 0.3 * u[:, 12]], 2.0)
    return Outfits(
        upper_rgb=upper,
        upper_second_rgb=_against(upper, u[:, 13]),
        upper_pattern=np.searchsorted([0.5, 0.68, 0.78, 0.9], u[:, 14], side="right"),
        sleeve=np.select([u[:, 15] < 0.1, u[:, 15] < 0.5], [np.zeros(outfits), 0.6 + 0.3 * u[:, 16]], 2.0),
        coat=np.where(u[:, 17] < 0.2, 0.35 + 0.55 * u[:, 18], 0.12 * u[:, 18]),
        lower_rgb=lower,
        lower_second_rgb=_against(lower, u[:, 19]),
        lower_pattern=np.where(u[:, 20] < 0.8, 0, 1 + (u[:, 21] * 4).astype(np.int64)),
        trouser=np.where(skirt, 0.65 + 0.75 * u[:, 12], trouser),
        skirt=skirt,
        shoe_rgb=_SHOES[(u[:, 22] * len(_SHOES)).astype(np.int64)].astype(np.float64),
    )


def _cloth(u: Floats, neutral_share: float) -> Floats:
    """Colours of cloth from uniform numbers (N, 5): neutrals, and the rest around the colour wheel."""
    neutral = _NEUTRALS[(u[:, 1] * len(_NEUTRALS)).astype(np.int64)] * (0.88 + 0.2 * u[:, 2:3])
    bright = _rgb(u[:, 2], 0.45 + 0.4 * u[:, 3], 0.38 + 0.54 * u[:, 4])
    return np.clip(np.where(u[:, :1] < neutral_share, neutral, bright), 0, 255)


def _against(rgb: Floats, u: Floats) -> Floats:
    """A colour that shows on another: much lighter on dark cloth, much darker on light cloth."""
    light = rgb.mean(axis=1, keepdims=True) > 120
    share = (0.5 + 0.35 * u)[:, None]
    return np.where(light, rgb * (1 - share), rgb + (250 - rgb) * share)


def _rgb(hue: Floats, saturation: Floats, value: Floats) -> Floats:
    """HSV, each 0 to 1 (N,), as RGB 0 to 255 (N, 3)."""
    k = (np.array([5.0, 3.0, 1.0]) + hue[:, None] * 6.0) % 6.0
    fade = np.clip(np.minimum(k, 4.0 - k), 0.0, 1.0)
    rgb: Floats = 255.0 * value[:, None] * (1.0 - saturation[:, None] * fade)
    return rgb
