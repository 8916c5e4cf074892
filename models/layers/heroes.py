"""Line-ups as signed features: what each hero brings, summed per camp, A minus B.

Heroes go by name. A feed may append a hero's class, as in "Jinx/marksman". A hero that training never met counts as the
mean of its class, where its class is stated and training met some of it, else as the mean of all heroes: a new patch
brings new heroes, and the mean is what they are most likely to be worth.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

LineUp = tuple[Sequence[str], Sequence[str]]
"""Names of the heroes of camp A and of camp B; empty = unknown."""


def hero_and_class(stated: str) -> tuple[str, str]:
    """Name and class, both case-folded, of "Jinx/marksman"; class "" where none is stated."""
    name, _, role = stated.partition("/")
    return name.strip().casefold(), role.strip().casefold()


def hero_classes(line_ups: Sequence[LineUp]) -> dict[str, str]:
    """Every hero in these line-ups with its class as last stated, "" where it never was; sorted by name."""
    classes: dict[str, str] = {}
    for line_up in line_ups:
        for name, role in (hero_and_class(stated) for camp in line_up for stated in camp):
            classes[name] = role or classes.get(name, "")
    return dict(sorted(classes.items()))


class HeroEmbedding(nn.Module):
    """A vector per hero, its classes' means, and the mean of all.

    Args:
        classes: hero → class ("" = unknown) of all heroes that training knows.
        dim: length of a hero's vector.
    """

    means: Tensor  # (classes + 1, H), rows that average heroes

    def __init__(self, classes: Mapping[str, str], dim: int) -> None:
        super().__init__()
        heroes, roles = list(classes), sorted(set(classes.values()) - {""})
        self._row = {name: row for row, name in enumerate(heroes)}
        self._class_row = {role: len(heroes) + row for row, role in enumerate(roles)}
        self._any = len(heroes) + len(roles)
        means = torch.tensor([[float(classes[name] == role) for name in heroes] for role in roles])
        means = torch.cat([means.reshape(len(roles), len(heroes)), torch.ones(1, len(heroes))])
        self.register_buffer("means", means / means.sum(dim=1, keepdim=True), persistent=False)
        self.vectors = nn.Parameter(0.1 * torch.randn(len(heroes), dim))

    def forward(self, line_ups: Sequence[LineUp]) -> tuple[Tensor, Tensor]:
        """What the line-ups bring.

        Returns:
            signed features (M, dim), camp A minus camp B, and whether both line-ups are known (M,), 1.0 or 0.0; the
            features are 0 where not.
        """
        # Row `nobody`, past all others, is 0: shorter line-ups are filled up with it.
        table = torch.cat([self.vectors, self.means @ self.vectors, self.vectors.new_zeros(1, self.vectors.shape[1])])
        nobody, longest = len(table) - 1, max((len(camp) for line_up in line_ups for camp in line_up), default=0)
        rows, known = [], []
        for a, b in line_ups:
            both = bool(a) and bool(b)
            known.append(float(both))
            for camp in (a, b):
                found = [self._row_of(stated) for stated in camp] if both else []
                rows.append(found + [nobody] * (longest - len(found)))
        heroes = torch.tensor(rows, dtype=torch.int64, device=table.device).reshape(len(known), 2, longest)
        # One hero after the other, and not one sum: the same line-up gives the same bits in every company.
        total = table.new_zeros(len(known), 2, table.shape[1])
        for hero in range(longest):
            total = total + table[heroes[:, :, hero]]
        size = (heroes != nobody).sum(dim=2, keepdim=True).clamp(min=1)  # four known heroes are worth no less than five
        mean = total / size
        return mean[:, 0] - mean[:, 1], table.new_tensor(known)

    def _row_of(self, stated: str) -> int:
        name, role = hero_and_class(stated)
        return self._row.get(name, self._class_row.get(role, self._any))
