"""Paper dolls as a source of crops: who is who, who wears what, and the same picture in other clothes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from jobs.errors import UsageProblem
from jobs.reid.crops import load_crops, split_by_person
from jobs.reid.dolls import Dolls, doll_crops, parsed_dolls

SIZE = {"height_px": 32, "width_px": 16}
FEW = Dolls(people=3, outfits=2, cameras=2, images=2, seed=5)


def test_dolls_say_who_wears_what_before_which_camera() -> None:
    crops = load_crops("simulator:dolls?people=3&outfits=2&cameras=2&images=2&seed=5", **SIZE)
    assert crops.images.shape == (24, 3, 32, 16) and crops.images.dtype == torch.uint8
    assert crops.identity.tolist() == np.repeat([0, 1, 2], 8).tolist()
    assert crops.camera.tolist() == [1, 1, 2, 2] * 6
    assert crops.clothes is not None and crops.clothes.tolist() == np.repeat([0, 1, 8, 9, 16, 17], 4).tolist()
    assert crops.fingerprint == doll_crops(FEW, **SIZE).fingerprint
    assert parsed_dolls(crops.source) == FEW


def test_the_same_pictures_in_other_clothes_differ_where_clothes_are() -> None:
    crops = doll_crops(replace(FEW, outfits=1), **SIZE)
    others = doll_crops(replace(FEW, outfits=1, first_outfit=3), **SIZE)
    apart = (crops.images.float() - others.images.float()).abs().mean(dim=(0, 1))
    assert apart[10:28].mean() > 10
    assert apart[:3].mean() < 2 and apart[10:28, 5:11].mean() > 3 * apart[10:28, :1].mean()
    assert crops.identity.tolist() == others.identity.tolist() and (crops.clothes != others.clothes).all()


def test_dolls_lend_each_other_what_they_wear() -> None:
    crops, lent = (doll_crops(replace(FEW, outfits=1, lent=places), **SIZE) for places in (0, 2))
    assert lent.identity.tolist() == crops.identity.tolist()
    assert crops.clothes is not None and lent.clothes is not None
    assert lent.clothes.tolist() == np.repeat([16, 0, 8], 4).tolist()
    again = doll_crops(replace(FEW, outfits=1, lent=3), **SIZE)  # of three: back to one's own
    assert torch.equal(again.images, crops.images) and not torch.equal(lent.images, crops.images)


def test_a_smaller_crop_is_scaled_down_and_not_blurred_more() -> None:
    """A picture of twice the size, made smaller, differs little from the small one; noise is that of a pixel."""
    small = doll_crops(replace(FEW, cameras=5), **SIZE).images.float()
    large = doll_crops(replace(FEW, cameras=5), height_px=64, width_px=32).images.float()
    shrunk = torch.nn.functional.avg_pool2d(large, 2)
    assert (small.std(dim=(2, 3)) / shrunk.std(dim=(2, 3))).mean() == pytest.approx(1.0, abs=0.08)


def test_a_person_is_the_same_however_many_are_drawn() -> None:
    some, more = doll_crops(Dolls(people=1, first=2), **SIZE), doll_crops(Dolls(people=3), **SIZE)
    assert some.identity.tolist() == [2] * 12
    assert some.clothes is not None and more.clothes is not None
    assert set(some.clothes.tolist()) == set(more.of([2]).clothes.tolist())  # type: ignore[union-attr] # as above


def test_parts_of_a_set_keep_their_clothes() -> None:
    crops = doll_crops(FEW, **SIZE)
    train, held_out = split_by_person(crops, share=0.34, seed=0)
    for part in (train, held_out):
        assert part.clothes is not None and (part.clothes // 8 == part.identity).all()
    assert crops.of([]).clothes is not None and len(crops.of([])) == 0


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("simulator:dolls?people=x", "people=x is not understood; write simulator:dolls"),
        ("simulator:dolls?hats=2", "hats=2 is not understood"),
        ("simulator:dolls?people=0", "people=0 must be at least 1"),
        ("simulator:dolls?outfits=9", "owns 8 outfits, not 9"),
        ("simulator:dolls?people=100000", "1,200,000 crops"),
        ("simulator:dolls?first=999999999", "people and crops are the most"),
        ("simulator:dolls?cameras=99", "store has places for"),
    ],
)
def test_dolls_that_cannot_be_drawn_are_refused(source: str, message: str) -> None:
    with pytest.raises(UsageProblem, match=message):
        load_crops(source, **SIZE)
