"""Training on several workers: the same as on one, and the same again where one of them is killed."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest
import torch

from jobs.checkpoints import CheckpointError, Checkpoints
from jobs.datasets import Split, load_matches, split_by_match
from jobs.fit_on_ray import fit_on_ray
from jobs.fit_tsstn import EpochReport, Fitted, fit
from jobs.recipes.overrides import with_overrides
from jobs.recipes.win_tsstn import WinTSSTN
from tests.waiting import PATIENCE_S

pytestmark = [
    pytest.mark.ray,
    pytest.mark.usefixtures("own_ray"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:ray"),  # Ray warns of its own defaults
]

SOURCE = "simulator:lol?matches=41&seed=3"
# 38 matches to learn from, 7 a batch: shares of 4 and 3, and a last batch of 3, so that no two are alike
RECIPE = with_overrides(
    WinTSSTN(data=SOURCE),
    ["optim.epochs=8", "optim.batch_matches=7", "sizes.hidden=8", "sizes.state=8", "scaling.workers=2"],
)


@pytest.fixture(scope="module")
def split() -> Split:
    return split_by_match(load_matches(SOURCE), share=RECIPE.validation, seed=0)


def training_processes() -> list[psutil.Process]:
    """The processes of this Ray that train."""
    found = []
    for process in psutil.Process().children(recursive=True):
        try:
            if "RayTrainWorker" in " ".join(process.cmdline()):
                found.append(process)
        except psutil.Error:
            continue
    return found


@pytest.fixture(scope="module")
def undisturbed(split: Split, tmp_path_factory: pytest.TempPathFactory) -> Fitted:
    return fit_on_ray(split, RECIPE, folder=tmp_path_factory.mktemp("run"), subject="x", on_epoch=lambda report: None)


def test_two_workers_with_half_batches_give_what_one_gives(split: Split, undisturbed: Fitted) -> None:
    alone = fit(split.train, split.held_out, RECIPE)
    for name, value in alone.weights.items():
        assert (undisturbed.weights[name] - value).abs().max() <= 1e-5, name
    for one, two in zip(alone.reports, undisturbed.reports, strict=True):
        assert two.train_loss == pytest.approx(one.train_loss, abs=1e-5)
        assert two.validation == pytest.approx(one.validation, abs=1e-5, nan_ok=True)


@pytest.mark.long
def test_two_workers_that_learn_from_their_halves_in_pieces_give_it_as_well(split: Split, tmp_path: Path) -> None:
    recipe = with_overrides(RECIPE, ["optim.epochs=2"])
    pieces = with_overrides(recipe, ["optim.accumulate=2"])  # of shares of 4, 3, 2 and 1
    both = fit_on_ray(split, pieces, folder=tmp_path, subject="x", on_epoch=lambda report: None)
    for name, value in fit(split.train, split.held_out, recipe).weights.items():
        assert (both.weights[name] - value).abs().max() <= 1e-5, name


def test_a_killed_worker_costs_no_bit(split: Split, undisturbed: Fitted, tmp_path: Path) -> None:
    killed: list[psutil.Process] = []

    def kill_one(report: EpochReport) -> None:
        if killed:
            return
        both = training_processes()
        assert len(both) == 2
        killed.append(both[-1])
        both[-1].kill()
        both[-1].wait(PATIENCE_S)
        latest = Checkpoints(tmp_path, "x").latest()
        assert latest is not None and latest.progress["epoch"] < RECIPE.optim.epochs, "it was over already"

    fitted = fit_on_ray(split, RECIPE, folder=tmp_path, subject="x", on_epoch=kill_one)
    assert len(killed) == 1
    for name, value in undisturbed.weights.items():
        assert torch.equal(fitted.weights[name], value), name
    assert [r.train_loss for r in fitted.reports] == [r.train_loss for r in undisturbed.reports]


@pytest.mark.long
def test_a_checkpoint_that_cannot_be_written_ends_all_workers_and_says_why(split: Split, tmp_path: Path) -> None:
    (tmp_path / "checkpoint.part").mkdir()  # in the way
    epochs: list[int] = []
    with pytest.raises(CheckpointError, match="no checkpoint could be written: Is a directory"):
        fit_on_ray(split, RECIPE, folder=tmp_path, subject="x", on_epoch=lambda report: epochs.append(report.epoch))
    assert epochs == [], "no worker was started again"
