"""What every backbone of person embeddings owes to training, to the store and to those who ask it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from models._registry import ModelConfig, config_to_json
from models.bnneck import PersonEmbedder
from models.embedding import embed
from models.losses import PersonLoss
from models.osnet import OSNetConfig
from models.resnet import ResNet50, ResNet50Config
from models.small_cnn import SmallCNNConfig
from models.store import ModelStore

BACKBONES: dict[str, OSNetConfig | ResNet50Config | SmallCNNConfig] = {
    "osnet": OSNetConfig(height_px=32, width_px=16, width=0.1, dim=24),
    "osnet-as-published": OSNetConfig(height_px=32, width_px=16, width=0.1, dim=24, last_stride=2, instance_norm=False),
    "resnet50": ResNet50Config(height_px=32, width_px=16, width=4),
    "small-cnn": SmallCNNConfig(height_px=32, width_px=16, width=4, dim=24),
}
CROPS = np.random.default_rng(0).integers(0, 256, (40, 3, 32, 16), dtype=np.uint8)


def made(config: ModelConfig, seed: int = 0) -> PersonEmbedder:
    torch.manual_seed(seed)
    model = config.build()
    assert isinstance(model, PersonEmbedder)
    for module in model.modules():  # as after training: fresh statistics would hide that they are used
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d):
            assert module.running_mean is not None and module.running_var is not None
            module.running_mean.normal_(0, 0.3)
            module.running_var.uniform_(0.5, 1.5)
    return model.eval()


@pytest.mark.parametrize("name", BACKBONES)
def test_embeddings_are_of_the_declared_size_and_of_unit_length(name: str) -> None:
    model = made(BACKBONES[name])
    found = embed(model, CROPS[:5])
    assert found.shape == (5, model.dim) and found.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)
    assert embed(model, CROPS[:0]).shape == (0, model.dim)


@pytest.mark.parametrize("name", BACKBONES)
def test_different_crops_have_different_embeddings(name: str) -> None:
    found = embed(made(BACKBONES[name]), CROPS[:5])
    assert (np.abs(found @ found.T - np.eye(5)) < 0.99999).all()


@pytest.mark.parametrize("name", BACKBONES)
def test_the_same_seed_makes_the_same_network(name: str) -> None:
    one, again, other = (embed(made(BACKBONES[name], seed), CROPS[:3]) for seed in (1, 1, 2))
    assert np.array_equal(one, again) and not np.array_equal(one, other)


@pytest.mark.parametrize("name", BACKBONES)
def test_an_embedding_does_not_depend_on_what_is_asked_beside_it(name: str) -> None:
    model = made(BACKBONES[name])
    together = embed(model, CROPS)
    assert np.array_equal(embed(model, CROPS[::-1]), together[::-1])
    for some in (slice(0, 1), slice(7, 10), slice(30, 40)):
        assert np.array_equal(embed(model, CROPS[some]), together[some])


@pytest.mark.parametrize("name", BACKBONES)
def test_embedding_leaves_training_mode_and_changes_no_weight(name: str) -> None:
    model = made(BACKBONES[name])
    before = {key: value.clone() for key, value in model.state_dict().items()}
    model.train()
    embed(model, CROPS[:4])
    assert not model.training
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


@pytest.mark.parametrize("name", BACKBONES)
def test_every_parameter_that_is_to_learn_gets_a_gradient(name: str) -> None:
    torch.manual_seed(0)
    model = made(BACKBONES[name]).train()
    loss = PersonLoss(4, model.dim)
    pooled = model.pooled(torch.from_numpy(CROPS[:16]).float() / 255)
    loss(pooled, model.neck(pooled), torch.arange(16) // 4).total.backward()
    learned = [*model.named_parameters(), *loss.named_parameters()]
    without = [key for key, value in learned if value.requires_grad and (value.grad is None or not value.grad.any())]
    assert without == []
    assert [key for key, value in learned if not value.requires_grad] == ["neck.bias"]
    assert not model.neck.bias.any()


@pytest.mark.parametrize("name", BACKBONES)
def test_the_store_gives_the_same_embeddings_back(name: str, tmp_path: Path) -> None:
    model, store = made(BACKBONES[name]), ModelStore(tmp_path)
    words = {"title": "person", "trained_on": "", "data_fingerprint": "", "code_version": ""}
    store.save("it", model, config_to_json(BACKBONES[name]), metrics={}, **words)
    loaded = store.load("it@1").build_as(PersonEmbedder)
    assert np.array_equal(embed(loaded, CROPS[:3]), embed(model, CROPS[:3]))


@pytest.mark.parametrize("name", [name for name, config in BACKBONES.items() if hasattr(config, "last_stride")])
def test_a_last_stride_of_one_keeps_the_maps_twice_as_large(name: str) -> None:
    maps = [made(replace(BACKBONES[name], last_stride=stride)).backbone(torch.zeros(1, 3, 64, 32)) for stride in (2, 1)]
    assert [2 * size for size in maps[0].shape[2:]] == list(maps[1].shape[2:])


@pytest.mark.parametrize("name", BACKBONES)
def test_crops_of_another_size_or_kind_are_refused(name: str) -> None:
    model = made(BACKBONES[name])
    with pytest.raises(ValueError, match=r"must be \(3, 32, 16\), not \(3, 16, 32\)"):
        embed(model, CROPS[:2].transpose(0, 1, 3, 2))
    with pytest.raises(ValueError, match="must be uint8, not float64"):
        embed(model, CROPS[:2] / 255)


def test_resnet_has_the_parameters_of_the_published_one() -> None:
    with torch.device("meta"):
        full = ResNet50()
    assert sum(each.numel() for each in full.parameters()) == 23_508_032  # torchvision's, less its classifier
    assert full.dim == 2048
    shapes = {name: tuple(value.shape) for name, value in full.state_dict().items()}
    assert shapes["conv1.weight"] == (64, 3, 7, 7)
    assert shapes["layer3.5.conv2.weight"] == (256, 256, 3, 3)
    assert shapes["layer4.0.downsample.0.weight"] == (2048, 1024, 1, 1)


@pytest.mark.parametrize(
    ("config", "changes", "message"),
    [
        (OSNetConfig, {"width": 0.0}, "width=0.0 must lie between"),
        (OSNetConfig, {"last_stride": 3}, "last_stride 1 or 2"),
        (ResNet50Config, {"width": 0}, "at least 1"),
        (SmallCNNConfig, {"dim": 0}, "at least 1"),
        (SmallCNNConfig, {"width_px": 20}, "multiples of 8"),
    ],
)
def test_sizes_that_make_no_network_are_refused(config: type, changes: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        config(**changes)
