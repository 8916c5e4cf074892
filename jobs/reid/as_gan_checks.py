"""Whether an AS-GAN can be believed: obedience, locality, identity, variety, and how near to real crops it comes.

None needs a network from outside. Where the design asks for LPIPS and for FID with Inception, the frozen baseline of
the same seed stands in; such figures compare rows of one report, and nothing else.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from jobs.reid.crops import CropSet
from jobs.reid.histogram import histogram_embeddings
from jobs.reid.protocols import SAME, judged_under
from jobs.reid.redress import ASGANDresser
from models.as_gan import ASGAN
from models.bnneck import PersonEmbedder
from models.losses.apparel import head_alone, head_features
from models.metrics.frechet import frechet_distance

Floats = npt.NDArray[np.float32]
_VARIETY_OF, _VARIETY_IN = 8, 16  # people, embeddings each
_TORSO_ROWS, _TORSO_COLUMNS = (0.2, 0.5), (0.3, 0.7)  # shares of a crop
_PAINTED = 0.5
_GREY = 128


def gan_checks(
    gan: ASGAN, baseline: PersonEmbedder, judged: CropSet, otherwise: CropSet, donors: CropSet
) -> dict[str, float]:
    """The figures of §8 of the design, by name.

    Args:
        gan: on the CPU, in evaluation mode.
        baseline: a frozen person embedding.
        judged: people whom neither has seen, in several outfits.
        otherwise: the same pictures in other clothes, drawn.
        donors: crops whose clothes are to be worn.
    """
    dresser = ASGANDresser(gan, height_px=judged.images.shape[2], width_px=judged.images.shape[3])
    chance = torch.Generator().manual_seed(0)
    donor = donors.images[torch.randint(len(donors), (len(judged),), generator=chance)]
    wanted = dresser.worn(donor)
    made = dresser.as_asked(judged.images, wanted)
    cosine = (dresser.worn(made) * wanted).sum(dim=1) / 2  # two halves of length 1
    before = (dresser.worn(judged.images) * wanted).sum(dim=1) / 2
    head_before, head_after = (_heads(baseline, images) for images in (judged.images, made))
    unedited = judged_under(SAME, judged, judged, head_before, head_before).cmc(1)
    return {
        "obedience": float(cosine.mean()),
        "obedience_5th_percentile": float(cosine.quantile(0.05)),
        "obedience_without_dressing": float(before.mean()),
        "histogram_agrees_with_donor": _agrees(judged.images, donor, made),
        "locality": _changed_where_copied(gan, judged.images, wanted),
        "painted_share": _painted(gan, judged.images, wanted),
        "identity_unedited": unedited,
        "identity_agreement": judged_under(SAME, judged, judged, head_after, head_before).cmc(1) / max(unedited, 1e-9),
        "variety": _variety(gan, baseline, judged.images, dresser),
        "variety_of_the_truth": _distance(baseline, judged.images, otherwise.images),
        "frechet": frechet_between(baseline, judged.images, made),
        "frechet_of_the_truth": frechet_between(baseline, judged.images, otherwise.images),
    }


def frechet_between(model: PersonEmbedder, first: Tensor, second: Tensor) -> float:
    """Of crops (N, 3, H, W) uint8, by the pooled maps of a frozen person embedding."""
    return frechet_distance(_pooled(model, first), _pooled(model, second))


def _agrees(source: Tensor, donor: Tensor, made: Tensor) -> float:
    """Share whose torso has a colour histogram nearer to the donor's than to the one it had; chance is a half."""
    own, given, now = (histogram_embeddings(_torso(images).numpy(), stripes=1) for images in (source, donor, made))
    return float(((now * given).sum(axis=1) > (now * own).sum(axis=1)).mean())


def _torso(images: Tensor) -> Tensor:
    (top, bottom), (left, right) = _TORSO_ROWS, _TORSO_COLUMNS
    height, width = images.shape[2:]
    return images[:, :, round(top * height) : round(bottom * height), round(left * width) : round(right * width)]


@torch.no_grad()
def _changed_where_copied(gan: ASGAN, images: Tensor, wanted: Tensor) -> float:
    """Mean |x̃ - x| of [0, 1] where α is not above a half."""
    scaled = images.float() / 127.5 - 1
    dressed = gan(scaled, wanted)
    outside = (dressed.alpha <= _PAINTED).expand_as(scaled)
    return float((dressed.images - scaled).abs()[outside].mean() / 2)


@torch.no_grad()
def _painted(gan: ASGAN, images: Tensor, wanted: Tensor) -> float:
    return float((gan(images.float() / 127.5 - 1, wanted).alpha > _PAINTED).float().mean())


@torch.no_grad()
def _maps(model: PersonEmbedder, images: Tensor) -> Tensor:
    maps: Tensor = model.backbone((images.float() / 255 - model.mean) / model.std)
    return maps


def _heads(model: PersonEmbedder, images: Tensor) -> Floats:
    """Unit features (N, D) of heads alone."""
    found: Floats = torch.nn.functional.normalize(head_features(_maps(model, head_alone(images, _GREY)))).numpy()
    return found


def _pooled(model: PersonEmbedder, images: Tensor) -> Floats:
    found: Floats = _maps(model, images).mean(dim=(2, 3)).numpy()
    return found


def _distance(model: PersonEmbedder, first: Tensor, second: Tensor) -> float:
    """Mean squared distance of unit feature columns, place by place: LPIPS (Zhang et al., CVPR 2018, eq. 1) of one
    layer, unweighed."""
    a, b = (torch.nn.functional.normalize(_maps(model, images), dim=1) for images in (first, second))
    return float((a - b).square().sum(dim=1).mean())


def _variety(gan: ASGAN, model: PersonEmbedder, images: Tensor, dresser: ASGANDresser) -> float:
    """That distance over all pairs of one person in 16 embeddings of the bank, mean over some people."""
    chance, found = torch.Generator().manual_seed(1), []
    for image in images[:: max(len(images) // _VARIETY_OF, 1)][:_VARIETY_OF]:
        made = dresser.as_asked(image.expand(_VARIETY_IN, -1, -1, -1), gan.drawn(_VARIETY_IN, chance))
        first, second = torch.triu_indices(_VARIETY_IN, _VARIETY_IN, 1)
        found.append(_distance(model, made[first], made[second]))
    return float(np.mean(found))
