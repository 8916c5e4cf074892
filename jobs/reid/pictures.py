"""Pictures for the report of AIFL: dolls in their outfits, dolls dressed anew, and the wardrobe to browse."""

from __future__ import annotations

import io

import torch
from torch import Tensor

from jobs.reid.aifl_trial import People
from jobs.reid.redress import ASGANDresser
from models.as_gan import ASGAN
from models.wardrobe import wardrobe

_ZOOM = 2
_PEOPLE, _DONORS, _HANGERS = 8, 10, 24
_WHITE = 255


def pictures_of(gan: ASGAN, people: People) -> dict[str, bytes]:
    """PNG files by their names.

    Args:
        gan: of a seed.
        people: of the same seed; what is shown of judged people was not learned from.
    """
    judged = people.judged
    assert judged.clothes is not None  # dolls say what they wear
    of_each = len(judged) // len(judged.people)
    dolls = judged.images[: _PEOPLE * of_each].view(-1, of_each, *judged.images.shape[1:])
    some = judged.images[::of_each][:_PEOPLE]
    dresser = ASGANDresser(gan, height_px=judged.images.shape[2], width_px=judged.images.shape[3])
    closet = wardrobe(dresser.worn(people.train.images), _HANGERS)
    typical = people.train.images[closet.typical]
    return {
        "dolls.png": png_of(dolls),
        "dressed.png": png_of(dressed_table(gan, dresser, some, typical[:_DONORS])),
        "wardrobe.png": png_of(typical[None]),
    }


@torch.no_grad()
def dressed_table(gan: ASGAN, dresser: ASGANDresser, some: Tensor, donors: Tensor) -> Tensor:
    """(1 + P, 2 + D, 3, H, W) uint8: donors above, people on the left with where the first donor's clothes are painted
    (α) beside them, each person in each donor's clothes within."""
    blank = torch.full_like(some[:1], _WHITE)
    rows = [torch.cat([blank, blank, donors])]
    wanted = dresser.worn(donors)
    for person in some:
        made = dresser.as_asked(person.expand(len(donors), -1, -1, -1), wanted)
        alpha = gan(person[None].float() / 127.5 - 1, wanted[:1]).alpha
        mask = (255 * alpha).round().to(torch.uint8).expand(-1, 3, -1, -1)
        rows.append(torch.cat([person[None], mask, made]))
    return torch.stack(rows)


def png_of(table: Tensor) -> bytes:
    """A table of crops (R, C, 3, H, W) uint8 as one picture, twice as large."""
    from PIL import Image

    rows, columns, _, height, width = table.shape
    pixels = table.permute(0, 3, 1, 4, 2).reshape(rows * height, columns * width, 3)
    stream = io.BytesIO()
    picture = Image.fromarray(pixels.numpy())
    picture.resize((picture.width * _ZOOM, picture.height * _ZOOM), Image.Resampling.NEAREST).save(stream, "PNG")
    return stream.getvalue()
