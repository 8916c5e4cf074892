"""Going on with a training: from any epoch, to the same bits; and what a checkpoint refuses."""

from __future__ import annotations

import errno
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.checkpoints import Checkpoint, CheckpointError, Checkpoints
from jobs.datasets import Split, load_matches, split_by_match
from jobs.fit_tsstn import EpochReport, Fitted, fit
from jobs.recipes.overrides import with_overrides
from jobs.recipes.win_tsstn import WinTSSTN

SOURCE = "simulator:lol?matches=20&seed=3"
SMALL = with_overrides(
    WinTSSTN(data=SOURCE, validation=0.2),
    ["optim.epochs=3", "optim.batch_matches=6", "sizes.hidden=4", "sizes.state=4", "sizes.dropout=0.3"],
)


class Killed(BaseException):
    """Stands for kill -9."""


@pytest.fixture(scope="module")
def split() -> Split:
    return split_by_match(load_matches(SOURCE), share=SMALL.validation, seed=0)


def same(one: Fitted, other: Fitted) -> None:
    assert one.weights.keys() == other.weights.keys()
    for name, value in one.weights.items():
        assert torch.equal(other.weights[name], value), name
    assert [report.train_loss for report in one.reports] == [report.train_loss for report in other.reports]
    assert [report.best_epoch for report in one.reports] == [report.best_epoch for report in other.reports]


@pytest.mark.parametrize("two_stage", [False, True], ids=["joint", "two stages"])
@pytest.mark.parametrize("early_stop", [False, True], ids=["last", "best"])
def test_a_training_cut_short_after_every_epoch_ends_with_the_same_bits(
    split: Split, tmp_path: Path, two_stage: bool, early_stop: bool
) -> None:
    recipe = replace(SMALL, two_stage=two_stage, optim=replace(SMALL.optim, early_stop=early_stop, lr=0.05, patience=1))
    whole = fit(*split, recipe)
    fitted, processes = None, 0
    while fitted is None:
        processes += 1
        done = 0

        def cut(report: EpochReport) -> None:
            nonlocal done
            done += 1
            if done == 2:  # its first epoch is kept already
                raise Killed

        torch.manual_seed(processes)  # a new process draws otherwise
        try:
            fitted = fit(*split, recipe, on_epoch=cut, checkpoints=Checkpoints(tmp_path, "it"))
        except Killed:
            continue
    assert processes >= 2
    same(whole, fitted)


def test_the_data_goes_on_in_the_same_order(split: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    orders: list[list[int]] = []
    original = torch.randperm

    def noted(*arguments: Any, **named: Any) -> torch.Tensor:
        order = original(*arguments, **named)
        orders.append(order.tolist())
        return order

    monkeypatch.setattr(torch, "randperm", noted)
    fit(*split, SMALL)
    whole = orders.copy()
    assert len({tuple(order) for order in whole}) == 3
    orders.clear()

    def cut(report: EpochReport) -> None:
        if report.epoch == 2:
            raise Killed

    with pytest.raises(Killed):
        fit(*split, SMALL, on_epoch=cut, checkpoints=Checkpoints(tmp_path, "it"))
    fit(*split, SMALL, checkpoints=Checkpoints(tmp_path, "it"))
    assert orders == whole


def test_a_full_disk_is_told_and_the_checkpoint_before_stays(
    split: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = fit(*split, SMALL)
    written = 0
    original = os.fsync

    def full(descriptor: int) -> None:
        nonlocal written
        written += 1
        if written == 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        original(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(CheckpointError, match=r"no space left; make room, then go on with --resume"):
            fit(*split, SMALL, checkpoints=Checkpoints(tmp_path, "it"))
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.safetensors"]
    latest = Checkpoints(tmp_path, "it").latest()
    assert latest is not None and latest.progress["epoch"] == 1
    same(whole, fit(*split, SMALL, checkpoints=Checkpoints(tmp_path, "it")))


def test_a_folder_that_cannot_be_written_says_so(split: Split, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no checkpoint could be written: No such file"):
        fit(*split, SMALL, checkpoints=Checkpoints(tmp_path / "gone", "it"))


def kept(folder: Path) -> bytes:
    checkpoints = Checkpoints(folder, "it")
    checkpoints.keep(Checkpoint({"a": torch.arange(3.0), "b": torch.tensor(7)}, {"epoch": 2, "best": 0.1}))
    return checkpoints.path.read_bytes()


def test_what_is_kept_is_read_again(tmp_path: Path) -> None:
    assert Checkpoints(tmp_path, "it").latest() is None
    kept(tmp_path)
    tensors, progress = Checkpoints(tmp_path, "it").latest() or ({}, {})
    assert tensors["a"].tolist() == [0, 1, 2] and tensors["b"].item() == 7
    assert progress == {"epoch": 2, "best": 0.1}
    Checkpoints(tmp_path, "it").forget()
    assert not any(tmp_path.iterdir())


def test_a_checkpoint_of_something_else_is_refused(tmp_path: Path) -> None:
    kept(tmp_path)
    with pytest.raises(CheckpointError, match="of another recipe or other data"):
        Checkpoints(tmp_path, "other").latest()


def test_a_checkpoint_of_more_workers_is_refused(split: Split, tmp_path: Path) -> None:
    fit(*split, SMALL, checkpoints=Checkpoints(tmp_path, "it"))
    latest = Checkpoints(tmp_path, "it").latest()
    assert latest is not None
    of_two = {**latest.tensors, "torch": latest.tensors["torch"].repeat(2, 1)}
    Checkpoints(tmp_path, "it").keep(Checkpoint(of_two, latest.progress))
    with pytest.raises(CheckpointError, match=r"of 2 worker\(s\), not of 1"):
        fit(*split, SMALL, checkpoints=Checkpoints(tmp_path, "it"))


@given(st.data())
@settings(max_examples=60)
def test_half_a_checkpoint_is_refused_and_says_why(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("half")
    whole = kept(folder)
    cut = data.draw(st.integers(0, len(whole) - 1))
    (folder / "checkpoint.safetensors").write_bytes(whole[:cut])
    with pytest.raises(CheckpointError, match="not a whole checkpoint"):
        Checkpoints(folder, "it").latest()


@pytest.mark.parametrize("text", [b"", b"\x00" * 8, b"\x02\x00\x00\x00\x00\x00\x00\x00{}", b"not this at all"])
def test_another_file_in_its_place_is_refused(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "checkpoint.safetensors").write_bytes(text)
    with pytest.raises(CheckpointError, match="not a whole checkpoint"):
        Checkpoints(tmp_path, "it").latest()
