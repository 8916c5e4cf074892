"""AS-GAN: what goes in and comes out, what is copied, what the structure does not see, the bank and its wardrobe."""

from __future__ import annotations

from collections import deque

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.as_gan import ASGANConfig
from models.layers.adain import AdaINBlock, ResBlock
from models.layers.discriminator import MultiScaleDiscriminator
from models.layers.regions import TwoRegionPool, structure_of
from models.stargan import GroupClassifier, StarGANConfig
from models.wardrobe import wardrobe

TINY = ASGANConfig(height_px=32, width_px=16, width=2, dim=8, hidden=8, blocks=2, bank=8)


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(3, 3, 32, 16, generator=torch.Generator().manual_seed(1)) * 2 - 1


def test_shapes_ranges_and_unit_halves(images: torch.Tensor) -> None:
    torch.manual_seed(0)
    model = TINY.build()
    apparel = model.apparel(images)
    assert model.structure(images).shape == (3, 16, 8, 4)
    torch.testing.assert_close(apparel.view(3, 2, 4).norm(dim=2), torch.ones(3, 2))
    dressed = model(images, apparel)
    assert dressed.images.shape == dressed.painted.shape == images.shape and dressed.alpha.shape == (3, 1, 32, 16)
    assert dressed.alpha.min() >= 0 and dressed.alpha.max() <= 1
    assert dressed.painted.abs().max() <= 1 and dressed.images.abs().max() <= 1


def test_what_is_not_painted_is_copied_bit_for_bit(images: torch.Tensor) -> None:
    torch.manual_seed(0)
    model = TINY.build()
    torch.nn.init.constant_(model.generator.mask[-1].bias, -1000.0)
    torch.nn.init.zeros_(model.generator.mask[-1].weight)
    assert torch.equal(model(images, model.apparel(images)).images, images)


def test_every_parameter_gets_a_gradient(images: torch.Tensor) -> None:
    torch.manual_seed(0)
    model = TINY.build()
    dressed = model(images, model.apparel(images.flip(0)))
    dressed.images.square().sum().backward()
    assert [name for name, each in model.named_parameters() if each.grad is None or not each.grad.any()] == []


@given(gain=st.floats(0.3, 1.0), lift=st.floats(-0.2, 0.2), seed=st.integers(0, 100))
@settings(max_examples=20, deadline=None)
def test_structure_does_not_see_how_light_a_garment_is(gain: float, lift: float, seed: int) -> None:
    images = torch.rand(1, 3, 32, 16, generator=torch.Generator().manual_seed(seed)) * 1.6 - 0.8
    seen, other = structure_of(images), structure_of(gain * images + lift)
    assert (seen - other).abs().mean() < 0.2, "grey would differ by the gain"
    assert seen[0, 0].std() > 0.8


def test_structure_of_a_flat_picture_is_flat_and_tells_places() -> None:
    seen = structure_of(torch.full((1, 3, 8, 4), 0.7))
    assert seen[0, 0].abs().max() < 1e-3
    assert seen[0, 1, :, 0].tolist() == torch.linspace(-1, 1, 8).tolist()
    assert seen[0, 2, 0].tolist() == torch.linspace(-1, 1, 4).tolist()


def test_regions_look_at_upper_and_lower_rows_before_anything_is_learned() -> None:
    pool = TwoRegionPool(1, 12, 6)
    torch.nn.init.zeros_(pool.where.weight)
    upper = torch.zeros(1, 1, 12, 6)
    upper[:, :, 3:5] = 1.0
    pooled = pool(upper)[0, :, 0]
    assert pooled[0] > 0.3 and pooled[1] < 0.1
    torch.testing.assert_close(pool(torch.ones(1, 1, 12, 6))[0, :, 0], torch.ones(2))


def test_a_style_of_nothing_is_a_plain_block() -> None:
    torch.manual_seed(0)
    styled, plain = AdaINBlock(4), ResBlock(4)
    styled.load_state_dict(plain.state_dict())
    maps = torch.randn(2, 4, 5, 3)
    torch.testing.assert_close(styled(maps, torch.zeros(2, styled.style_numbers)), plain(maps))
    assert not torch.allclose(styled(maps, torch.ones(2, styled.style_numbers)), plain(maps))


def test_the_discriminator_judges_every_scale_and_reads_unit_halves(images: torch.Tensor) -> None:
    torch.manual_seed(0)
    verdicts = MultiScaleDiscriminator(2, 8, scales=2)(images)
    assert [each.shape for each in verdicts.real] == [(3, 1, 8, 4), (3, 1, 4, 2)]
    torch.testing.assert_close(verdicts.apparel.view(3, 2, 4).norm(dim=2), torch.ones(3, 2))


@given(sizes=st.lists(st.integers(1, 12), max_size=6))
@settings(max_examples=40, deadline=None)
def test_the_bank_keeps_the_latest(sizes: list[int]) -> None:
    model, kept, number = TINY.build(), deque[float](maxlen=8), 0
    for size in sizes:
        values = [float(number + i) for i in range(size)]
        model.remember(torch.tensor(values)[:, None].expand(-1, 8))
        kept.extend(values)
        number += size
    filled = int(model.bank_size)
    assert filled == len(kept) and sorted(model.bank[:filled, 0].tolist()) == sorted(kept)
    if kept:
        assert set(model.drawn(50, torch.Generator().manual_seed(0))[:, 0].tolist()) <= set(kept)


def test_an_empty_bank_dresses_nobody() -> None:
    with pytest.raises(ValueError, match="bank of apparel embeddings is empty"):
        TINY.build().drawn(1, torch.Generator())


@pytest.mark.parametrize(
    "wrong", [{"width": 0}, {"height_px": 30}, {"dim": 7}, {"bank": 1 << 21}, {"hidden": 5000}, {"blocks": 65}]
)
def test_a_config_that_cannot_be_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="AS-GAN"):
        ASGANConfig(**wrong)


def test_a_wardrobe_finds_the_groups_that_there_are() -> None:
    chance = torch.Generator().manual_seed(0)
    middles = torch.tensor([[0.0, 0.0], [9.0, 0.0], [0.0, 9.0]])
    which = torch.tensor([0] * 20 + [1] * 10 + [2] * 5)
    found = wardrobe(middles[which] + 0.1 * torch.randn(35, 2, generator=chance), 3)
    assert found.sizes.tolist() == [20, 10, 5] and found.group.tolist() == which.tolist()
    assert which[found.typical].tolist() == [0, 1, 2]
    torch.testing.assert_close(found.centres, middles, atol=0.2, rtol=0)


def test_a_wardrobe_of_equal_clothes_has_one_group() -> None:
    assert wardrobe(torch.ones(5, 3), 4).sizes.tolist() == [5]
    with pytest.raises(ValueError, match="at least one of each"):
        wardrobe(torch.empty(0, 3), 4)


def test_stargan_repaints_after_the_number_of_a_group(images: torch.Tensor) -> None:
    torch.manual_seed(0)
    model = StarGANConfig(groups=3, width=2, blocks=1).build()
    made = [model(images, torch.full((3,), group)) for group in (0, 2)]
    assert made[0].shape == images.shape and made[0].abs().max() <= 1 and not torch.allclose(*made)
    assert GroupClassifier(2, 3)(images).shape == (3, 3)
