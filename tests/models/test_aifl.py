"""AIFL around any baseline: terms that can be switched, batches that lack something, and nothing left at inference."""

from __future__ import annotations

import math
from dataclasses import fields, replace

import pytest
import torch

from models._registry import ModelConfig
from models.aifl import AIFL, AIFLWeights, Pair
from models.bnneck import PersonEmbedder
from models.osnet import OSNetConfig
from models.resnet import ResNet50Config

BASELINES: dict[str, ModelConfig] = {
    "osnet": OSNetConfig(height_px=32, width_px=16, width=0.1, dim=8),
    "resnet50": ResNet50Config(height_px=32, width_px=16, width=2),
}
SMALL = AIFLWeights(memory=6)
TERMS = ("identity", "dressed_identity", "triplet", "invariance", "decorrelation", "unlabelled", "centre")


def embedder(name: str = "osnet") -> PersonEmbedder:
    torch.manual_seed(0)
    made = BASELINES[name].build()
    assert isinstance(made, PersonEmbedder)
    return made


def pair(count: int, seed: int = 1) -> Pair:
    chance = torch.Generator().manual_seed(seed)
    images, dressed = (torch.rand(count, 3, 32, 16, generator=chance) for _ in range(2))
    worn, other = (torch.randn(count, 4, generator=chance) for _ in range(2))
    return Pair(images, dressed, worn, other)


LABELS = torch.tensor([0, 0, 1, 1, 2, 2])
ALL = torch.ones(6, dtype=torch.bool)


@pytest.mark.parametrize("name", BASELINES)
def test_at_inference_it_is_the_graph_of_the_baseline(name: str) -> None:
    baseline = embedder(name).eval()
    learned = AIFL(embedder(name), 3, SMALL)
    learned(pair(6), LABELS, ALL, pair(4))
    served = learned.embedder.eval()
    crops = (torch.rand(2, 3, 32, 16),)
    graphs = [torch.export.export(each, crops) for each in (baseline, served)]
    assert graphs[0].graph_module.code == graphs[1].graph_module.code
    shapes = [{key: value.shape for key, value in each.state_dict().items()} for each in (baseline, served)]
    assert shapes[0] == shapes[1]
    assert not torch.equal(served.neck.running_mean, baseline.neck.running_mean), "nothing was learned"


@pytest.mark.parametrize("name", BASELINES)
def test_every_parameter_of_the_baseline_is_reached(name: str) -> None:
    aifl = AIFL(embedder(name), 3, SMALL)
    torch.stack(list(aifl(pair(6), LABELS, ALL, pair(4)).values())).sum().backward()
    without = [
        key
        for key, each in aifl.named_parameters()
        if each.requires_grad and (each.grad is None or not each.grad.any())
    ]
    # A zeroed gate of a narrow network may be silent for one batch.
    assert [key for key in without if not key.startswith("embedder.backbone")] == []
    assert len(without) < 0.1 * len(list(aifl.parameters()))


@pytest.mark.parametrize("term", TERMS)
def test_every_term_can_be_switched_off(term: str) -> None:
    assert set(AIFL(embedder(), 3, SMALL)(pair(6), LABELS, ALL, pair(4))) == set(TERMS)
    without = AIFL(embedder(), 3, replace(SMALL, **{term: 0.0}))(pair(6), LABELS, ALL, pair(4))
    assert set(without) == set(TERMS) - {term}


def test_weights_multiply_their_terms() -> None:
    once = AIFL(embedder(), 3, SMALL)(pair(6), LABELS, ALL, pair(4))
    for term in TERMS:
        twice = replace(SMALL, **{term: 2 * getattr(SMALL, term)})
        found = AIFL(embedder(), 3, twice)(pair(6), LABELS, ALL, pair(4))
        torch.testing.assert_close(found[term], 2 * once[term])
    assert {each.name for each in fields(AIFLWeights)} >= set(TERMS)


def test_identities_are_classified_by_cosines() -> None:
    aifl = AIFL(embedder(), 3, SMALL)
    before = aifl(pair(6), LABELS, ALL)["identity"]
    with torch.no_grad():
        aifl.classifier.weight *= torch.tensor([[0.1], [1.0], [30.0]])
    torch.testing.assert_close(aifl(pair(6), LABELS, ALL)["identity"], before)
    flat = AIFL(embedder(), 3, replace(SMALL, scale=0.0))(pair(6), LABELS, ALL)["identity"]
    assert flat.item() == pytest.approx(math.log(3))


def test_without_x_dressed_anew_and_without_strangers_it_is_the_baselines_loss() -> None:
    found = AIFL(embedder(), 3, SMALL)(pair(6), LABELS, ~ALL, None)
    assert set(found) == {"identity", "triplet", "decorrelation", "centre"}
    nothing_yet = AIFL(embedder(), 3, SMALL)(pair(6), LABELS, ~ALL, pair(4), ramp=0.0)
    assert set(nothing_yet) == {"identity", "centre"}


@pytest.mark.parametrize(
    ("labels", "people"),
    [([0, 0, 0, 0, 0, 0], 1), ([0, 1, 2, 3, 4, 5], 6)],
    ids=["one identity only", "no two images of one person"],
)
@pytest.mark.parametrize("dressed", [0, 1, 6])
def test_batches_that_lack_something_give_finite_losses_and_gradients(
    labels: list[int], people: int, dressed: int
) -> None:
    aifl = AIFL(embedder(), people, SMALL)
    used = torch.arange(6) < dressed
    total = torch.stack(list(aifl(pair(6), torch.tensor(labels), used, None).values())).sum()
    total.backward()
    assert torch.isfinite(total)
    assert all(torch.isfinite(each.grad).all() for each in aifl.parameters() if each.grad is not None)


def test_grey_crops_are_no_reason_to_stumble() -> None:
    grey = Pair(*(torch.full((6, 3, 32, 16), 0.5) for _ in range(2)), torch.ones(6, 4), torch.ones(6, 4))
    found = AIFL(embedder(), 3, SMALL)(grey, LABELS, ALL, grey)
    assert all(torch.isfinite(value) for value in found.values())


def test_the_memory_keeps_the_latest_strangers_of_unit_length() -> None:
    aifl = AIFL(embedder(), 3, SMALL)
    for seed, filled in ((1, 4), (2, 6), (3, 6)):
        aifl(pair(6), LABELS, ALL, pair(4, seed))
        assert int(aifl.memory_size) == filled
    torch.testing.assert_close(aifl.memory.norm(dim=1), torch.ones(6))
