"""Person embeddings through the training command, the store and the evaluation, on very few and very small crops."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from typer.testing import CliRunner

from jobs.checkpoints import CheckpointError, Checkpoints
from jobs.cli import main
from jobs.commands.evaluate import evaluate
from jobs.errors import UsageProblem
from jobs.recipes.overrides import with_overrides
from jobs.recipes.reid import OSNET, RESNET50, ReIDOptim
from jobs.reid.crops import CropSet, load_crops, split_by_person
from jobs.reid.evaluate import evaluate_reid
from jobs.reid.fit import ReIDEpoch, fit, learning_rate
from jobs.reid.learner import load_backbone
from jobs.report.reid import print_reid, reid_page
from jobs.train import resume, train
from models.bnneck import PersonEmbedder
from models.resnet import ResNet50Config
from models.store import ModelStore
from tests.person_crops import person_crops

SMALL = [
    "network.height_px=32",
    "network.width_px=16",
    "network.width=0.1",
    "network.dim=16",
    "batch.people=4",
    "batch.images=2",
    "augmentation.pad_px=1",
    "optim.epochs=3",
    "optim.warmup_epochs=1",
    "optim.lr=1e-2",
    "loss.triplet_after=1",
]
TINY = with_overrides(OSNET, SMALL)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Runs and folds are kept there."""
    monkeypatch.setenv("SIGHTLINE_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return person_crops(tmp_path / "people.parquet", people=6, images=3)


@pytest.fixture
def split(file: Path) -> tuple[CropSet, CropSet]:
    return split_by_person(load_crops(str(file), height_px=32, width_px=16), share=0.4, seed=0)


def test_training_stores_a_model_and_keeps_the_run(file: Path, tmp_path: Path) -> None:
    told: list[str] = []
    result = train(
        replace(TINY, data=str(file), validation=0.4),
        store=tmp_path / "store",
        runs=tmp_path / "runs",
        alias="candidate",
        on_step=told.append,
    )
    stored = ModelStore(tmp_path / "store").load("reid-osnet@candidate")
    assert isinstance(stored.build(), PersonEmbedder)
    assert stored.manifest.title == "person" and stored.manifest.recipe["name"] == "reid-osnet"
    assert stored.manifest.trained_on == "people.parquet, 4 people, 24 images"
    retrieval, looks = {"map", "rank1", "map_across", "rank1_across"}, {"same_cosine", "directions"}
    assert set(result.metrics["validation"]) == retrieval | looks
    assert result.metrics["validation_people"] == 2 and result.counts == {"people": 4, "images": 24, "held_out": 2}
    assert any("training on 4 people, 24 images of 2 cameras" in words for words in told)
    curve = (tmp_path / "runs" / result.run / "curve.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in curve] == [1, 2, 3]


def test_the_command_names_no_gate_for_people(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    changes = [f"--set={change}" for change in (*SMALL, "optim.epochs=1")]
    assert main(["train", "reid-osnet", f"--data={file}", *changes]) == 0
    words = capsys.readouterr().err
    assert "reid-osnet@candidate now means it" in words and "models gate" not in words


def test_a_training_that_was_cut_short_goes_on_to_the_same_weights(file: Path, tmp_path: Path) -> None:
    recipe, runs = replace(TINY, data=str(file)), tmp_path / "runs"
    whole = train(recipe, store=tmp_path / "one", runs=runs)

    def cut(report: Any) -> None:
        if report.epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(recipe, store=tmp_path / "two", runs=tmp_path / "cut", on_epoch=cut)
    (run,) = (tmp_path / "cut").iterdir()
    seen: list[int] = []
    resumed = resume(run.name, runs=tmp_path / "cut", on_epoch=lambda report: seen.append(report.epoch))
    assert seen == [3]
    one, two = (ModelStore(store).load(f"{each.manifest.reference}") for store, each in
                ((tmp_path / "one", whole), (tmp_path / "two", resumed)))  # fmt: skip
    assert one.manifest.sha256["weights.safetensors"] == two.manifest.sha256["weights.safetensors"]


def test_another_recipe_does_not_go_on_from_this_one(split: tuple[CropSet, CropSet], tmp_path: Path) -> None:
    fit(*split, with_overrides(TINY, ["optim.epochs=1"]), checkpoints=Checkpoints(tmp_path, "one"))
    with pytest.raises(CheckpointError, match="of another recipe or other data"):
        fit(*split, TINY, checkpoints=Checkpoints(tmp_path, "another"))


def test_training_learns_to_tell_people_apart(split: tuple[CropSet, CropSet]) -> None:
    plain = [f"augmentation.{each}=0" for each in ("flip", "pad_px", "erase", "jitter")]
    fitted = fit(*split, with_overrides(TINY, [*plain, "loss.triplet=0", "loss.centre=0", "optim.epochs=6"]))
    assert fitted.reports[-1].train_loss < fitted.reports[0].train_loss - 0.1
    assert fitted.best.epoch == 6, "without early stop the last epoch counts"


def test_half_the_precision_gives_nearly_the_same_network(split: tuple[CropSet, CropSet]) -> None:
    short = with_overrides(TINY, ["optim.epochs=1", "optim.lr=1e-4"])
    whole, half = (fit(*split, with_overrides(short, [f"precision={each}"])) for each in ("float32", "bfloat16"))
    assert half.best.train_loss == pytest.approx(whole.best.train_loss, rel=0.05)
    assert half.best.train_loss != whole.best.train_loss
    assert all(value.dtype != torch.bfloat16 for value in half.weights.values())


def test_early_stop_keeps_the_best_epoch(split: tuple[CropSet, CropSet]) -> None:
    recipe = with_overrides(TINY, ["optim.early_stop=true", "optim.patience=2", "optim.epochs=30"])
    reports = fit(*split, recipe).reports
    best = max(reports, key=lambda report: report.validation["map"])
    assert reports[-1].best_epoch == best.epoch == len(reports) - 2
    assert len(reports) < 30


def test_the_rate_rises_in_a_line_and_falls_as_a_cosine() -> None:
    optim = ReIDOptim(lr=1.0, lr_end=0.1, warmup_epochs=2, epochs=10)
    assert learning_rate(0, optim) == pytest.approx(0.01)
    assert learning_rate(1, optim) == pytest.approx(0.505)
    assert [learning_rate(at, optim) for at in (2, 6, 10)] == pytest.approx([1, 0.55, 0.1])
    assert learning_rate(0, replace(optim, warmup_epochs=0)) == 1


def test_a_loss_that_is_not_finite_stops_with_the_step(split: tuple[CropSet, CropSet]) -> None:
    with pytest.raises(UsageProblem, match=r"epoch \d+, batch \d+: the loss is not finite; lower optim.lr"):
        fit(*split, with_overrides(TINY, ["optim.lr=1e30", "optim.warmup_epochs=0"]))


def test_a_backbone_begins_with_weights_of_a_file(tmp_path: Path) -> None:
    config = ResNet50Config(height_px=32, width_px=16, width=2)
    torch.manual_seed(1)
    given = config.build().backbone.state_dict()
    named = {name: value for name, value in given.items() if not name.endswith("_tracked")}  # as older files are
    save_file({**named, "fc.weight": torch.zeros(10, 64)}, tmp_path / "imagenet.safetensors")
    model = config.build()
    load_backbone(model, str(tmp_path / "imagenet.safetensors"))
    assert all(torch.equal(value, given[name]) for name, value in model.backbone.state_dict().items())
    save_file(model.state_dict(), tmp_path / "ours.safetensors")
    load_backbone(config.build(), str(tmp_path / "ours.safetensors"))


@pytest.mark.parametrize("kind", ["missing", "broken", "another"])
def test_weights_that_do_not_fit_are_refused(kind: str, tmp_path: Path) -> None:
    file = tmp_path / "weights.safetensors"
    if kind == "broken":
        file.write_bytes(b"\x80\x04 no safetensors")
    if kind == "another":
        save_file({"conv1.weight": torch.zeros(2)}, file)
    message = "not of this backbone" if kind == "another" else "not a safetensors file that can be read"
    with pytest.raises(UsageProblem, match=message):
        load_backbone(ResNet50Config(height_px=32, width_px=16, width=2).build(), str(file))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("batch.images=1", "batch.images=1: must be at least 2"),
        ("augmentation.erase=1.5", "must lie between 0 and 1"),
        ("optim.lr=nan", "must be a finite number"),
        ("validation=1.0", "below 1"),
        ("device=tpu", "must be cpu or cuda"),
        ("precision=half", "precision=half: must be float32 or bfloat16"),
        ("network.last_stride=3", "last_stride 1 or 2"),
    ],
)
def test_a_recipe_that_makes_no_sense_is_refused(change: str, message: str) -> None:
    with pytest.raises(UsageProblem, match=message):
        with_overrides(OSNET, [change]).check()


def test_the_full_size_recipe_asks_for_a_gpu(split: tuple[CropSet, CropSet]) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(UsageProblem, match="torch finds none here"):
        fit(*split, RESNET50)


def test_options_of_win_prediction_are_refused(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "reid-osnet", "--data", str(file), "--since", "2015"]) == 2
    assert "reid-osnet: trains in this process" in capsys.readouterr().err


def test_folds_are_judged_beside_colour_and_kept(file: Path, tmp_path: Path) -> None:
    recipe, work, epochs = replace(TINY, data=str(file)), tmp_path / "work", []
    report = evaluate_reid(recipe, work=work, folds=3, resamples=50, on_epoch=lambda each: epochs.append(each.epoch))
    assert epochs == [1, 2, 3] * 3
    assert report["data"]["people"] == 6 and [fold["people"] for fold in report["folds"]] == [2, 2, 2]
    for found in report["figures"].values():
        for rule in ("usual", "across"):
            assert found[rule]["queries"] == 36
            assert found[rule]["cmc"] == sorted(found[rule]["cmc"])
            assert found[rule]["cmc"][0] == found[rule]["rank1"]["value"]
            for measure in ("map", "rank1", "rank5"):
                figure = found[rule][measure]
                assert 0 <= figure["low"] <= figure["value"] <= figure["high"] <= 1
    trained, colour = report["figures"]["trained"]["across"]["map"], report["figures"]["histogram"]["across"]["map"]
    apart = report["above_histogram"]["trained"]["across"]["map"]
    assert apart["value"] == pytest.approx(trained["value"] - colour["value"], abs=2e-4)

    again = evaluate_reid(recipe, work=work, folds=3, resamples=50, on_epoch=lambda each: epochs.append(each.epoch))
    assert len(epochs) == 9, "a fold that was done has been trained again"
    assert again["figures"] == report["figures"]
    evaluate_reid(replace(recipe, seed=1), work=work, folds=3, on_epoch=lambda each: epochs.append(each.epoch))
    assert len(epochs) == 18, "another seed is another training"


def test_a_fold_that_was_cut_short_goes_on(file: Path, tmp_path: Path) -> None:
    recipe = replace(TINY, data=str(file))
    whole = evaluate_reid(recipe, work=tmp_path / "whole", folds=2, resamples=20)

    def cut(report: ReIDEpoch) -> None:
        if report.epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate_reid(recipe, work=tmp_path / "cut", folds=2, resamples=20, on_epoch=cut)
    epochs: list[int] = []
    resumed = evaluate_reid(
        recipe, work=tmp_path / "cut", folds=2, resamples=20, on_epoch=lambda each: epochs.append(each.epoch)
    )
    assert epochs == [3, 1, 2, 3]
    assert resumed["figures"] == whole["figures"]


def test_a_damaged_fold_is_named(file: Path, tmp_path: Path) -> None:
    recipe = with_overrides(replace(TINY, data=str(file)), ["optim.epochs=1"])
    evaluate_reid(recipe, work=tmp_path / "work", folds=2, resamples=20)
    kept = next((tmp_path / "work").glob("*/embeddings.safetensors"))
    kept.write_bytes(kept.read_bytes()[:50])
    with pytest.raises(UsageProblem, match="not what a fold left"):
        evaluate_reid(recipe, work=tmp_path / "work", folds=2, resamples=20)


def test_one_camera_cannot_be_judged_across_cameras(tmp_path: Path) -> None:
    import polars as pl

    file = person_crops(tmp_path / "p.parquet", people=4, images=2)
    pl.read_parquet(file).filter(pl.col("camid") == 1).write_parquet(tmp_path / "one.parquet")
    with pytest.raises(UsageProblem, match="one camera only"):
        evaluate_reid(replace(TINY, data=str(tmp_path / "one.parquet")), work=tmp_path / "work", folds=2)


def test_the_command_writes_the_page_and_the_figures(file: Path, tmp_path: Path) -> None:
    changes = [word for change in [*SMALL, "optim.epochs=1"] for word in ("--set", change)]
    options = ["--data", str(file), "--folds", "2", "--report", str(tmp_path / "report"), "--json", "-"]
    done = CliRunner().invoke(evaluate, ["reid", *options, *changes])
    assert done.exit_code == 0, done.output
    figures = json.loads((tmp_path / "report" / "report.json").read_text())
    assert json.loads(done.stdout) == figures
    page = (tmp_path / "report" / "index.html").read_text()
    assert page == reid_page(figures)
    shown = figures["figures"]["trained"]["across"]["map"]["value"]
    assert f"{shown:.3f}" in page and "6 people, 36 crops, 2 cameras" in page
    assert page.count("<svg") == 2
    print_reid(figures)


def test_a_recipe_of_win_prediction_is_not_one_of_people(file: Path) -> None:
    done = CliRunner().invoke(evaluate, ["reid", "--data", str(file), "--recipe", "win-tsstn"])
    assert isinstance(done.exception, UsageProblem) and "is not one for people" in str(done.exception)


@pytest.mark.data
def test_the_real_crops_can_be_read(data_dir: Path) -> None:
    file = data_dir / "reid" / "pku_reid_train62.parquet"
    if not file.is_file():
        pytest.skip(f"no {file}")
    crops = load_crops(str(file), height_px=128, width_px=48)
    assert (len(crops), len(crops.people), crops.cameras) == (992, 62, 2)
    assert np.bincount(crops.camera).tolist() == [0, 496, 496]
