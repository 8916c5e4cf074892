"""What every encoder of sessions owes: no look ahead, unknown clicks skipped, scores that exact search can make."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it

from models.gru4rec import GRU4Rec, GRU4RecConfig
from models.sasrec import SASRecConfig
from models.session_encoder import NO_ITEM, SessionEncoder
from models.top_k import top_k
from models.two_tower import TwoTower, TwoTowerConfig, word_bucket

ITEMS = 9
CONFIGS = {
    "gru4rec": GRU4RecConfig(items=ITEMS, dim=6, dropout_input=0.2, dropout_state=0.2),
    "sasrec": SASRecConfig(items=ITEMS, dim=6, length=5, blocks=2, heads=2),
    "two-tower": TwoTowerConfig(items=ITEMS, seen=7, dim=6, buckets=11, dropout=0.1),
}


@pytest.fixture(params=CONFIGS)
def encoder(request: pytest.FixtureRequest) -> SessionEncoder:
    torch.manual_seed(0)
    found: SessionEncoder = CONFIGS[request.param].build().eval()
    if isinstance(found, TwoTower):
        found.set_content([("category:1",), (), ("category:2", "price:3"), (), (), (), (), ("category:1",), ()])
    return found


def test_a_state_depends_on_no_later_click(encoder: SessionEncoder) -> None:
    clicks = torch.tensor([[NO_ITEM, 3, 1, 4]])
    changed = torch.tensor([[NO_ITEM, 3, 1, 6]])
    torch.testing.assert_close(encoder.states(clicks)[:, :3], encoder.states(changed)[:, :3])
    assert not torch.allclose(encoder.encode(clicks), encoder.encode(changed))


def test_the_length_of_the_row_does_not_matter(encoder: SessionEncoder) -> None:
    short, long = torch.tensor([[2, 1, 4]]), torch.tensor([[NO_ITEM, NO_ITEM, 2, 1, 4]])
    torch.testing.assert_close(encoder.encode(short), encoder.encode(long))


def test_earlier_clicks_count(encoder: SessionEncoder) -> None:
    found = encoder.encode(torch.tensor([[2, 1, 4], [3, 1, 4]]))
    assert not torch.allclose(found[0], found[1])


def test_scores_are_what_exact_search_finds(encoder: SessionEncoder) -> None:
    clicks, every = torch.tensor([[2, 1, 4], [0, 5, NO_ITEM]]), torch.arange(ITEMS)
    scores = encoder.scores(clicks)
    assert scores.shape == (2, ITEMS) and scores.isfinite().all()
    found = top_k(encoder.encode(clicks), encoder.item_vectors(every), 3, bias=encoder.item_biases(every))
    torch.testing.assert_close(found.scores, scores.topk(3, dim=1).values)


def test_every_weight_learns(encoder: SessionEncoder) -> None:
    encoder.train()
    clicks = torch.tensor([[2, 1, 4, 5], [NO_ITEM, 0, 3, 2]])
    states, every = encoder.states(clicks), torch.arange(ITEMS)
    scores = states @ encoder.item_vectors(every).T + encoder.item_biases(every)
    F.cross_entropy(scores.flatten(0, 1), torch.tensor([1, 4, 5, 6, 1, 3, 2, 6])).backward()
    for name, weight in encoder.named_parameters():
        assert weight.grad is not None and weight.grad.isfinite().all(), name
        assert weight.grad.abs().sum() > 0, name


def test_gru4rec_steps_as_torchs_own_cell_and_skips_what_it_does_not_know() -> None:
    torch.manual_seed(1)
    model = GRU4Rec(GRU4RecConfig(items=4, dim=3)).eval()
    state = torch.zeros(1, 3)
    for item in (2, 0, 3):
        state = model.step(torch.tensor([item]), state)
    torch.testing.assert_close(model.encode(torch.tensor([[2, 0, 3]])), state)
    torch.testing.assert_close(model.encode(torch.tensor([[2, NO_ITEM, 0, 99, 3]])), state)
    assert model.encode(torch.tensor([[NO_ITEM, 99]])).tolist() == [[0, 0, 0]]


@pytest.mark.parametrize("encoder", ["two-tower"], indirect=True)
def test_two_towers_know_an_item_by_its_content_alone(encoder: SessionEncoder) -> None:
    assert isinstance(encoder, TwoTower)
    vectors = encoder.item_vectors(torch.arange(ITEMS))
    norms = vectors.norm(dim=1).tolist()
    assert norms[:8] == pytest.approx([1] * 8) and norms[8] == 0  # 8 was never clicked, and nothing is known of it
    word = encoder.word.weight[word_bucket("category:1", 11)]
    torch.testing.assert_close(vectors[7], F.normalize(word, dim=0))
    with pytest.raises(ValueError, match="content of 1 items"):
        encoder.set_content([()])


def test_the_mean_of_a_session_halves_with_every_click() -> None:
    model = TwoTower(TwoTowerConfig(items=2, seen=2, dim=2, half_life=1.0)).eval()
    with torch.no_grad():
        model.own.weight.copy_(torch.eye(2))
        for layer in model.session.parameters():
            layer.zero_()
    # Item 0, then item 1: (½·e₀ + e₁) / 1½, of unit length.
    state = model.encode(torch.tensor([[0, 1]]))[0]
    assert state.tolist() == pytest.approx([1 / math.sqrt(5), 2 / math.sqrt(5)])


@pytest.mark.parametrize(
    ("make", "wanted"),
    [
        (lambda: GRU4RecConfig(items=0), "sizes"),
        (lambda: GRU4RecConfig(items=1, dropout_input=1.0), "dropout"),
        (lambda: SASRecConfig(items=1, dim=5, heads=2), "multiple of heads"),
        (lambda: SASRecConfig(items=1, dropout=-0.1), "dropout"),
        (lambda: TwoTowerConfig(items=1, seen=2), "seen <= items"),
        (lambda: TwoTowerConfig(items=1, seen=1, hide=2.0), "hide"),
    ],
)
def test_sizes_that_make_no_sense_are_refused(make: object, wanted: str) -> None:
    assert callable(make)
    with pytest.raises(ValueError, match=wanted):
        make()


def test_what_was_made_for_evaluation_does_not_outlive_training(encoder: SessionEncoder) -> None:
    clicks = torch.tensor([[2, 1, 4]])
    before = encoder.encode(clicks) @ encoder.tables().vectors.T + encoder.tables().biases
    torch.testing.assert_close(before, encoder.scores(clicks))
    encoder.train()
    with torch.no_grad():
        for weight in encoder.parameters():
            weight.add_(torch.randn_like(weight))
    encoder.eval()
    after = encoder.encode(clicks) @ encoder.tables().vectors.T + encoder.tables().biases
    torch.testing.assert_close(after, encoder.scores(clicks))
    assert not torch.allclose(before, after)
