"""Baseline networks: shapes, no look ahead, no word from the padding."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from models.baselines import CausalTransformer, FrameInputs, FrameMLP, RecurrentNet

MAKERS: dict[str, Callable[[], nn.Module]] = {
    "mlp": lambda: FrameMLP(3, hidden=8),
    "gru": lambda: RecurrentNet(3, cell="gru", state=8),
    "lstm": lambda: RecurrentNet(3, cell="lstm", state=8),
    "transformer": lambda: CausalTransformer(3, width=8, heads=2),
}


def matches(batch: int = 2, frames: int = 6) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    chance = torch.Generator().manual_seed(0)
    features = torch.randn(batch, frames, 3, generator=chance)
    features[0, 2, 1] = torch.nan
    clock_s = (60.0 * torch.arange(frames)).expand(batch, frames).contiguous()
    return features, clock_s, torch.ones(batch, frames, dtype=torch.bool)


@pytest.fixture(params=MAKERS)
def network(request: pytest.FixtureRequest) -> nn.Module:
    torch.manual_seed(0)
    made: nn.Module = MAKERS[request.param]().eval()
    return made


def test_one_logit_a_frame_and_a_gradient_for_every_parameter(network: nn.Module) -> None:
    logits = network(*matches())
    assert logits.shape == (2, 6) and logits.isfinite().all()
    logits.square().sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_a_later_frame_changes_no_earlier_answer(network: nn.Module) -> None:
    features, clock_s, mask = matches()
    before = network(features, clock_s, mask)
    features, clock_s = features.clone(), clock_s.clone()
    features[:, 4:] += 5
    clock_s[:, 4:] += 1000
    after = network(features, clock_s, mask)
    torch.testing.assert_close(after[:, :4], before[:, :4])
    assert not torch.allclose(after[:, 4:], before[:, 4:])


def test_padding_says_nothing(network: nn.Module) -> None:
    features, clock_s, mask = matches()
    alone = network(features[:1, :4], clock_s[:1, :4], mask[:1, :4])
    mask = mask.clone()
    mask[0, 4:] = False
    padded = network(features, clock_s, mask)
    torch.testing.assert_close(padded[:1, :4], alone)
    assert (padded[0, 4:] == 0).all()


def test_inputs_tell_missing_from_level() -> None:
    inputs = FrameInputs(2)
    row = inputs(torch.tensor([[[0.0, torch.nan]]]), torch.tensor([[1200.0]]))
    assert row.shape == (1, 1, inputs.width)
    assert row[0, 0, :5].tolist() == [0.0, 0.0, 1.0, 0.0, 1.0]  # values, known, clock in 20 minutes
