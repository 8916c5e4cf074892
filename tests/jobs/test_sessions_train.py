"""Session models through the training command, the store and the evaluation, on a few made-up shoppers."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from jobs.checkpoints import CheckpointError, Checkpoints
from jobs.cli import main
from jobs.commands.evaluate import evaluate
from jobs.errors import UsageProblem
from jobs.gate.criteria import Bounds
from jobs.recipes.overrides import with_overrides
from jobs.recipes.session_gru4rec import GRU4REC
from jobs.recipes.session_sasrec import SASREC
from jobs.recipes.session_two_tower import TWO_TOWER
from jobs.recipes.sessions import SessionRecipe
from jobs.report.sessions import print_sessions, sessions_page
from jobs.sessions.clicks import load_clicks
from jobs.sessions.cold_start import ColdTrial
from jobs.sessions.evaluate import evaluate_sessions
from jobs.sessions.fit import SessionEpoch, fit
from jobs.sessions.gate import judge_sessions
from jobs.sessions.judge import WITH, WITHOUT, judged
from jobs.sessions.split import DaySplit, Queries, queries, split_last_day
from jobs.train import train
from models.recommender import SessionRecommender
from models.session_model import SessionModel
from models.store import ModelStore
from models.two_tower import TwoTower
from tests.shop_sessions import walk_file
from tests.stored_models import own_store

FEW = ["encoder.dim=16", "optim.epochs=2", "optim.batch_sessions=16", "loss.negatives=8", "length=8"]
TINY = {
    "gru4rec": with_overrides(GRU4REC, FEW),
    "sasrec": with_overrides(SASREC, FEW),
    "two_tower": with_overrides(TWO_TOWER, FEW),
}


SMALL_SHOP = ColdTrial(items=60, categories=6, shoppers=20, sessions=200)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Runs are kept there."""
    monkeypatch.setenv("SIGHTLINE_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return walk_file(tmp_path)


@pytest.fixture
def split(file: Path) -> DaySplit:
    return split_last_day(load_clicks(str(file)))


def weights(model: SessionModel) -> torch.Tensor:
    return torch.cat([value.flatten().float() for value in model.encoder.state_dict().values()])


@pytest.mark.parametrize("kind", TINY)
def test_it_learns_to_follow_an_aisle(split: DaySplit, kind: str) -> None:
    recipe = with_overrides(TINY[kind], ["optim.epochs=12", "memory=0"])
    fitted = fit(split, recipe)
    asked = queries(split)
    place = judged(asked, fitted.model().probabilities)[WITHOUT].place
    assert (place <= 2).mean() > 0.6  # of 40 items, by chance .05
    assert fitted.reports[-1].train_loss < fitted.reports[0].train_loss


@pytest.mark.parametrize("loss", ["cross-entropy", "bpr-max", "top1-max", "bce"])
def test_every_loss_of_an_encoder_descends(split: DaySplit, loss: str) -> None:
    recipe = with_overrides(TINY["gru4rec"], [f"loss.name={loss}", "optim.epochs=4"])
    reports = fit(split, recipe).reports
    assert reports[-1].train_loss < reports[0].train_loss


@pytest.mark.parametrize("kind", TINY)
def test_a_training_cut_short_goes_on_to_the_same_weights(split: DaySplit, tmp_path: Path, kind: str) -> None:
    recipe = TINY[kind]
    whole = fit(split, recipe).model()

    class Cut(RuntimeError):
        pass

    def cut(report: SessionEpoch) -> None:
        raise Cut

    with pytest.raises(Cut):
        fit(split, recipe, on_epoch=cut, checkpoints=Checkpoints(tmp_path, "x"))
    again = fit(split, recipe, checkpoints=Checkpoints(tmp_path, "x"))
    assert torch.equal(weights(again.model()), weights(whole)) and [each.epoch for each in again.reports] == [1, 2]
    other = fit(split, replace(recipe, seed=1)).model()
    assert not torch.equal(weights(other), weights(whole))
    with pytest.raises(CheckpointError, match="other data"):
        fit(split, recipe, checkpoints=Checkpoints(tmp_path, "y"))


def test_looking_at_the_rows_of_a_batch_alone_learns_what_looking_at_all_learns(split: DaySplit) -> None:
    recipe = TINY["gru4rec"]
    assert recipe.optim.rule == "adagrad"
    rows = weights(fit(split, recipe).model())
    every = weights(fit(split, with_overrides(recipe, ["optim.weight_decay=1e-30"])).model())  # moves every row, by 0
    torch.testing.assert_close(rows, every, atol=1e-4, rtol=1e-4)


def test_an_item_that_nobody_has_clicked_is_found_by_its_content(tmp_path: Path) -> None:
    """Two kinds of things; shoppers stay with one. Of each kind one thing is new on the last day."""
    chance = np.random.default_rng(0)
    lines, day_ms = [], 86_400_000
    for session in range(300):
        kind, day = int(chance.integers(2)), session // 100
        items = [f"{kind}{number}" for number in chance.choice(6, 4)]
        if day == 2:
            items[-1] = f"{kind}new"
        lines += [f"{session};NA;{item};{at * 1000};2016-05-{day + 1:02d}" for at, item in enumerate(items)]
    path = tmp_path / "train-item-views.csv"
    path.write_text("\n".join(["sessionId;userId;itemId;timeframe;eventdate", *lines]) + "\n")
    names = [f"{kind}{number}" for kind in range(2) for number in [*range(6), "new"]]
    content = [f"{name};{name[0]}" for name in names]
    (tmp_path / "product-categories.csv").write_text("\n".join(["itemId;categoryId", *content]) + "\n")
    split = split_last_day(load_clicks(str(path)), days=0.5)
    assert split.seen == 12 and len(split.train.items) == 14 and day_ms
    model = fit(split, with_overrides(TINY["two_tower"], ["optim.epochs=6", "encoder.hide=0.3"])).model()
    asked = queries(split)
    fresh = asked.take(asked.target >= split.seen)
    assert len(fresh) == 100
    scores = model.probabilities(fresh.context, fresh.now_s)
    right = scores[np.arange(100), fresh.target]
    wrong = scores[np.arange(100), 12 + (fresh.target == 12)]
    assert (right > wrong).mean() > 0.95


def test_an_item_without_clicks_or_content_is_no_answer_of_the_encoder(split: DaySplit) -> None:
    unknown = replace(split.train, items=(*split.train.items, "unknown"))
    model = fit(DaySplit(unknown, split.held_out, split.seen), TINY["two_tower"]).model()
    assert isinstance(model.encoder, TwoTower)
    assert model.encoder.item_vectors(torch.tensor([model.items - 1])).norm() == 0


def test_judging_by_hand() -> None:
    asked = Queries(np.array([[-1, 0], [0, 1], [0, 9]]), np.array([0, 2, 1]), np.array([0, 0, 1]), np.zeros(3), 2)

    def scores(clicks: np.ndarray, now_s: np.ndarray) -> np.ndarray:
        return np.array([[3.0, 2.0, 1.0]] * len(clicks))

    found = judged(asked, scores)
    assert found[WITH].place.tolist() == [1, 3, 2]
    assert found[WITHOUT].place.tolist() == [2, 2]  # item 1 leaves the second list; the third's item 9 is not known
    assert found[WITHOUT].session.tolist() == [0, 1]


def test_the_command_trains_stores_and_the_model_answers(file: Path, tmp_path: Path, capsys: Any) -> None:
    store = tmp_path / "store"
    changes = [part for change in FEW for part in ("--set", change)]
    arguments = ["train", "session-gru4rec", "--data", str(file), "--store", str(store), "--json", *changes]
    assert main(arguments) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["name"] == "session-gru4rec" and told["held_out"] > 0
    assert 0 < told["metrics"]["validation"]["recall_without_repeats"] <= 1
    model = ModelStore(store).load("session-gru4rec@candidate").build_as(SessionModel)
    found = SessionRecommender(model).recommend(
        np.array(["10000", "10001"], dtype=object), np.array([0, 1000]), np.array([0, 2]), 3
    )
    assert len(set(found.items[0])) == 3 and np.isfinite(found.scores).all()


def test_without_validation_everything_is_learned(file: Path, tmp_path: Path) -> None:
    recipe = replace(TINY["sasrec"], data=str(file), validation=0.0)
    result = train(recipe, store=tmp_path / "store", runs=tmp_path / "runs")
    assert result.counts["held_out"] == 0 and result.counts["sessions"] == 240
    assert result.best.validation == {}


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        ("encoder.kind=rnn", "must be one of gru4rec, sasrec, two-tower"),
        ("loss.name=mse", "must be one of cross-entropy"),
        ("optim.rule=sgd", "must be one of adagrad, adamw"),
        ("loss.name=in-batch-margin", "only encoder.kind=two-tower has"),
        ("optim.epochs=0", "optim.epochs=0: must be at least 1"),
        ("memory=1.0", "must be at least 0 and below 1"),
        ("optim.lr=-1", "must be a finite number"),
        ("encoder.half_life=0", "must be above 0"),
        ("rule.neighbours=0", "neighbours=0"),
    ],
)
def test_a_recipe_that_makes_no_sense_is_refused(change: str, wanted: str) -> None:
    with pytest.raises(UsageProblem, match=wanted):
        with_overrides(GRU4REC, [change]).check()


def test_a_rate_that_is_too_high_is_told(split: DaySplit) -> None:
    with pytest.raises(UsageProblem, match=r"loss is not finite; lower optim\.lr"):
        fit(split, with_overrides(TINY["gru4rec"], ["optim.lr=1e38", "loss.name=bpr-max"]))


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    others: dict[str, SessionRecipe] = {row: TINY[row] for row in ("sasrec", "two_tower")}
    path = walk_file(tmp_path_factory.mktemp("data"))
    work = tmp_path_factory.mktemp("work")
    found = evaluate_sessions(
        str(path), live=TINY["gru4rec"], others=others, trial=SMALL_SHOP, work=work, seeds=2, resamples=50
    )
    assert list(work.iterdir()) == []  # all is judged: nothing is left to go on with
    return found


def test_the_report_has_all_rows_judged_on_the_same_clicks(report: dict[str, Any]) -> None:
    rows = set(report["rows"])
    assert rows == {"live", "gru4rec", "sasrec", "two_tower", "popularity", "item_knn", "vsknn", "stan", "vstan"}
    for protocol in ("all", "filtered"):
        for repeats in ("with", "without"):
            for row, found in report["figures"][protocol][repeats].items():
                for measure in ("recall", "mrr", "ndcg"):
                    figure = found[measure]
                    assert 0 <= figure["low"] <= figure["value"] <= figure["high"] <= 1, (row, measure)
                assert found["curve"][-1] == found["recall"]["value"] and found["curve"] == sorted(found["curve"])
                assert 0 < found["coverage"] <= 1 and 0 < found["popularity"] <= 1
    assert len(report["figures"]["all"]["with"]["live"]["recall"]["seeds"]) == 2
    against_best = report["gates"][:8]
    assert [gate["passed"] for gate in against_best] == [
        each["difference"]["value"] >= 0 for each in report["differences"]
    ]
    assert report["passed"] == (False not in [gate["passed"] for gate in report["gates"]])
    assert report["figures"]["all"]["with"]["vstan"]["recall"]["value"] > 0.5
    json.dumps(report, allow_nan=False)


def test_leaving_one_out_passes_the_deletion_test(report: dict[str, Any]) -> None:
    reasons = report["reasons"]
    assert reasons["items"] > 100
    assert reasons["passed"]["leave_one_out"] == reasons["passed"]["served"] == 1 > reasons["passed"]["random"]


def test_the_report_as_a_page_and_as_tables(report: dict[str, Any], capsys: Any) -> None:
    page = sessions_page(report)
    assert "GRU4Rec beside V-STAN" in page and "papers&#39; protocol" in page and "<svg" in page
    assert "drawn by the seed" in page and "not measured: --benchmarks" in page
    print_sessions(report)
    assert "best baseline" in capsys.readouterr().out


def test_the_evaluation_command_writes_the_report(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobs.sessions.evaluate.SASREC", TINY["sasrec"])
    monkeypatch.setattr("jobs.sessions.evaluate.TWO_TOWER", TINY["two_tower"])
    monkeypatch.setattr("jobs.sessions.cold_start.ColdTrial", lambda: SMALL_SHOP)
    out = tmp_path / "report"
    changes = [part for change in FEW for part in ("--set", change)]
    arguments = ["sessions", "--data", str(file), "--seeds", "1", "--report", str(out), "--json", "-", *changes]
    result = CliRunner().invoke(evaluate, arguments)
    told = json.loads(result.stdout)
    assert result.exit_code == (0 if told["passed"] else 1)
    assert json.loads((out / "report.json").read_text()) == told and "<svg" in (out / "index.html").read_text()


def test_a_nightly_candidate_is_judged_on_the_last_day_and_takes_over(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    store = own_store(tmp_path, monkeypatch)
    good = replace(with_overrides(TINY["gru4rec"], ["memory=0.9"]), data=str(file))
    runs = tmp_path / "runs"
    train(good, store=tmp_path / "store", runs=runs)
    gate = ["models", "gate", "session-gru4rec@candidate", "--data", str(file), "--min-matches", "20"]
    slow = ["--max-slowdown", "100"]
    judged_alone = judge_sessions(store, "session-gru4rec@1", str(file), bounds=Bounds(matches=20))
    against_baseline = [reason for reason in judged_alone.verdict.reasons if "V-STAN" in reason.criterion]
    assert len(against_baseline) == 4 and not judged_alone.verdict.against
    assert main([*gate, "--json", *slow]) == (0 if judged_alone.verdict.passed else 4)
    told = json.loads(capsys.readouterr().out)
    assert told["verdict"] == store.verdict("session-gru4rec", 1).to_json()
    store.set_alias("session-gru4rec", "live", 1)
    train(with_overrides(good, ["encoder.dim=1", "memory=0", "optim.epochs=1"]), store=tmp_path / "store", runs=runs)
    assert main([*gate, "--promote", *slow]) == 4
    assert "minus that of the live model" in capsys.readouterr().out
    assert store.alias_state("session-gru4rec").version == 1


def test_nobody_is_judged_on_what_it_learned_from_nor_on_a_handful(file: Path, tmp_path: Path) -> None:
    recipe = replace(TINY["gru4rec"], data=str(file), validation=0.0)
    result = train(recipe, store=tmp_path / "store", runs=tmp_path / "runs")
    store, mine = ModelStore(tmp_path / "store"), result.manifest.reference
    verdict = judge_sessions(store, mine, str(file), bounds=Bounds(matches=20)).verdict
    held = split_last_day(load_clicks(str(file))).held_out.sessions
    assert not verdict.passed and len(verdict.reasons) == 2
    assert verdict.reasons[1].figure == held and "learned from" in verdict.reasons[1].criterion
    assert not judge_sessions(store, mine, str(file), bounds=Bounds(matches=10_000)).verdict.reasons[0].passed
