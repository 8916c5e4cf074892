"""What a person cannot take off: build, head, skin, hair and the way they walk. Kept apart from clothes on purpose."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np
import numpy.typing as npt

from streaming.simulators.store.plan import Flags, Floats

_SKIN = np.array([[246, 214, 190], [232, 190, 160], [208, 160, 124], [170, 120, 84], [122, 82, 56], [84, 56, 42]])
_HAIR = np.array(
    [[28, 24, 24], [62, 42, 32], [112, 74, 44], [176, 130, 74], [214, 184, 128], [142, 58, 34], [168, 168, 170]]
)
_HAIR_SHARE = np.array([0.26, 0.24, 0.18, 0.08, 0.08, 0.06, 0.10])


@dataclass(frozen=True)
class Identities:
    """N people, a row each. Lengths other than the height are shares of it."""

    height_m: Floats
    leg: Floats  # sole to hip
    shoulder: Floats  # half the width between the shoulder joints
    hip: Floats  # half the width between the hip joints
    build: Floats  # 1 is average; scales every radius
    head: Floats  # 1 is average; scales the head
    jaw: Floats  # radius of the chin, of that of the crown
    hair: Floats  # 0 cropped to 1 long
    lean_rad: Floats  # forwards, when walking
    swing: Floats  # 1 is average; scales the arms' swing
    skin_rgb: Floats  # (N, 3), 0 to 255
    hair_rgb: Floats  # (N, 3), 0 to 255
    volume: Floats  # of the hair: 1 lies close to the skull
    bald: Flags
    bun: Flags  # hair tied up, on the crown
    beard: Flags

    def __len__(self) -> int:
        return len(self.height_m)

    def take(self, rows: npt.NDArray[np.integer]) -> Identities:
        """These rows, in this order."""
        return Identities(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})


_BALD, _BUN, _BEARD = 0.12, 0.16, 0.28  # shares of people


def draw_identities(people: int, seed: int) -> Identities:
    """Made-up people; person i is the same however many are drawn.

    Raises:
        ValueError: fewer than one.
    """
    if people < 1:
        raise ValueError(f"there is at least one person to draw, not {people}")
    u = np.random.default_rng([seed, 2]).random((people, 16))
    # The sum of two uniform numbers: most people near the middle, nobody beyond the ends.
    middling = (u[:, :9] + np.roll(u, 5, axis=1)[:, :9]) - 1.0
    tone = u[:, 9] * (len(_SKIN) - 1)
    low = np.floor(tone).astype(np.int64)
    share = (tone - low)[:, None]
    hair = np.searchsorted(np.cumsum(_HAIR_SHARE), u[:, 10] * _HAIR_SHARE.sum(), side="right")
    return Identities(
        height_m=1.71 + 0.21 * middling[:, 0],
        leg=0.515 + 0.035 * middling[:, 1],
        shoulder=0.090 + 0.016 * middling[:, 2],
        hip=0.052 + 0.011 * middling[:, 3],
        build=1.02 + 0.26 * middling[:, 4],
        head=1.0 + 0.12 * middling[:, 5],
        jaw=0.76 + 0.14 * middling[:, 6],
        hair=np.where(u[:, 11] < 0.5, 0.25 * u[:, 12], u[:, 12]),
        lean_rad=0.05 + 0.09 * middling[:, 7],
        swing=1.0 + 0.6 * middling[:, 8],
        skin_rgb=(_SKIN[low] * (1 - share) + _SKIN[low + 1] * share),
        hair_rgb=np.clip(_HAIR[hair] * (0.85 + 0.3 * u[:, 13:14]), 0, 255),
        volume=np.ones(people),
        bald=np.zeros(people, np.bool_),
        bun=np.zeros(people, np.bool_),
        beard=np.zeros(people, np.bool_),
    )


def with_hair_styles(people: Identities, seed: int) -> Identities:
    """The same people with hair of a shape of its own, as people have; person i's is the same however many they are.

    Apart from `draw_identities`, whose people all wear it close: figures of the store were taken with them.
    """
    u = np.random.default_rng([seed, 20]).random((len(people), 4))
    bald = u[:, 0] < _BALD
    return replace(
        people,
        volume=1.0 + 0.6 * u[:, 1] ** 2,
        bald=bald,
        bun=~bald & (u[:, 2] < _BUN),
        beard=u[:, 3] < _BEARD,
    )
