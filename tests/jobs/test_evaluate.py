"""Evaluation: figures beside baselines, on splits that leak nothing."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from jobs import cli
from jobs.afterwards import averaged, smoothed
from jobs.baselines import (
    BoostedTrees,
    GoldSign,
    MinuteRegression,
    NetworkBaseline,
    PooledRegression,
    baselines_for,
    hidden,
)
from jobs.datasets import MatchSet, frame_outcomes, load_matches
from jobs.errors import UsageProblem
from jobs.evaluate import evaluate_win
from jobs.intervals import MEASURES
from jobs.report.card import model_card
from jobs.report.page import facts
from models.store import ModelNotFoundError

SOURCE = "simulator:lol?matches=60&seed=5"
QUICK = ("gold_sign", "logistic_per_minute_form")


def match_set(gold: list[list[float]], won: list[int]) -> MatchSet:
    """Matches of LoL in 2016 that have gold alone, a frame a minute."""
    count, frames = len(gold), len(gold[0])
    features = torch.full((count, frames, 13), torch.nan)
    features[..., 0] = torch.tensor(gold)
    return MatchSet(
        title="lol",
        source="by hand",
        match_ids=tuple(f"m{i}" for i in range(count)),
        features=features,
        clock_s=(60.0 * torch.arange(frames)).expand(count, frames).contiguous(),
        mask=torch.ones(count, frames, dtype=torch.bool),
        won=torch.tensor(won, dtype=torch.float32),
        year=torch.full((count,), 2016),
    )


def test_gold_sign_is_as_sure_as_the_leader_was_right() -> None:
    # leader right in 3 of 4 frames with a lead
    train = match_set([[0.0, 5.0], [-3.0, -1.0], [0.0, 9.0]], [1, 0, 0])
    probs = GoldSign().fit(train).probs(match_set([[7.0, -7.0, 0.0]], [1]))
    assert probs.tolist() == pytest.approx([0.75, 0.25, 0.5])


def test_minute_regression_has_another_slope_in_every_minute() -> None:
    rng = np.random.default_rng(0)
    lead = rng.normal(size=(400, 2))
    won = (lead[:, 1] > 0).astype(int)  # minute 1 tells all, minute 0 nothing
    train = match_set(lead.tolist(), won.tolist())
    probs = MinuteRegression(["gold"]).fit(train).probs(match_set([[1.0, 1.0]], [1]))
    assert abs(probs[0] - won.mean()) < 0.1 and probs[1] > 0.95


def test_a_minute_that_training_never_saw_uses_the_last_one_it_did() -> None:
    train = match_set([[1.0], [-1.0]] * 100, [1, 0] * 100)
    probs = MinuteRegression(["gold"]).fit(train).probs(match_set([[1.0] * 50], [1]))
    assert probs[0] > 0.9 and probs[49] == pytest.approx(probs[0])


def test_smoothed_log_odds_go_half_the_way_in_a_half_life() -> None:
    probs = 1 / (1 + np.exp(-np.array([0.0, 2.0, 4.0, 1.0, 3.0])))
    matches = match_set([[0.0] * 3] * 2, [1, 0])
    mask = torch.tensor([[True, True, True], [True, True, False]])
    clock_s = torch.tensor([[0.0, 60.0, 180.0], [0.0, 60.0, 0.0]])
    probs = smoothed(replace(matches, mask=mask, clock_s=clock_s), probs, half_life_s=60.0)
    # After a minute half of what was is left, after two a quarter; a match knows nothing of the one before it.
    assert np.log(probs / (1 - probs)).tolist() == pytest.approx([0.0, 1.0, 3.25, 1.0, 2.0])


def test_models_that_contradict_each_other_average_to_a_half() -> None:
    probs = averaged([np.array([0.9, 0.5]), np.array([0.1, 0.5])])
    assert probs.tolist() == pytest.approx([0.5, 0.5])
    assert averaged([np.array([0.8]), np.array([0.5])])[0] == pytest.approx(2 / 3)  # odds 4 and 1: 2 between them


@pytest.mark.parametrize("predictor", [PooledRegression(["gold"]), BoostedTrees(["gold"]), MinuteRegression(["gold"])])
def test_one_outcome_only_teaches_nothing(predictor: PooledRegression | BoostedTrees | MinuteRegression) -> None:
    probs = predictor.fit(match_set([[1.0], [2.0]], [1, 1])).probs(match_set([[5.0]], [1]))
    assert probs.tolist() == [0.5]


def test_boosted_trees_learn_a_lead() -> None:
    lead = np.random.default_rng(0).normal(size=(300, 3))
    lead += np.where(lead[:, :1] > 0, 1, -1)
    train = match_set(lead.tolist(), (lead[:, 0] > 0).astype(int).tolist())
    probs = BoostedTrees(["gold"]).fit(train).probs(match_set([[2.0, 2.0, 2.0], [-2.0, -2.0, -2.0]], [1, 0]))
    assert (probs[:3] > 0.8).all() and (probs[3:] < 0.2).all()


def test_a_network_learns_a_lead_and_is_the_same_for_the_same_seed() -> None:
    lead = np.random.default_rng(0).normal(size=(600, 1)).repeat(3, axis=1)
    train = match_set(lead.tolist(), (lead[:, 0] > 0).astype(int).tolist())
    judged = match_set([[2.0, 2.0, 2.0], [-2.0, -2.0, -2.0]], [1, 0])
    first, again = (NetworkBaseline("mlp").fit(train).probs(judged) for _ in range(2))
    assert first[0] > 0.8 and first[3] < 0.2 and np.array_equal(first, again)


def test_baselines_are_those_that_the_feed_has_features_for() -> None:
    names = [baseline.name for baseline in baselines_for(match_set([[1.0]], [1]))]
    assert names == [
        "gold_sign", "logistic", "logistic_per_minute", "boosted_trees", "mlp", "gru", "lstm", "transformer",
        "tsstn_no_temporal", "tsstn_no_spatial",
    ]  # fmt: skip
    with_form = {baseline.name for baseline in baselines_for(load_matches(SOURCE))}
    assert with_form == {*names, "logistic_per_minute_form", "tsstn_no_form"}


def test_a_hidden_feature_is_not_known() -> None:
    matches = load_matches(SOURCE)
    without = hidden(matches, ["form"])
    form = matches.spec.features.index("form")
    assert without.features[..., form].isnan().all()
    assert torch.equal(without.features[..., 0].nan_to_num(), matches.features[..., 0].nan_to_num())


def test_outcomes_are_repeated_on_every_real_frame() -> None:
    matches = match_set([[1.0, 2.0], [1.0, 2.0]], [1, 0])
    matches.mask[1, 1] = False
    assert frame_outcomes(matches).tolist() == [1.0, 1.0, 0.0]


def test_the_shipped_model_is_better_than_a_coin_on_simulated_matches() -> None:
    said: list[str] = []
    report = evaluate_win("tsstn@live", SOURCE, baselines=QUICK, on_step=said.append)
    assert report["model"]["name"] == "tsstn-lol" and report["model"]["trained_on"].startswith("simulator")
    assert report["data"]["matches"] == 60 and report["data"]["skipped"] == []
    assert report["baselines_learned_from"] == "the other folds of 5, by match"
    assert list(report["overall"]) == list(report["predictors"]) == ["tsstn", *QUICK]
    assert all(set(figures) == set(MEASURES) for figures in report["overall"].values())
    assert report["overall"]["tsstn"]["log_loss"] < 0.6
    assert sum(bucket["frames"] for bucket in report["buckets"]) == report["data"]["frames"]
    assert sum(row["frames"] for row in report["reliability"]["tsstn"]) == report["data"]["frames"]
    for name in report["overall"]:
        low, high = report["intervals"][name]["log_loss"]
        assert low < report["overall"][name]["log_loss"] < high
    assert set(report["differences"]) == set(QUICK)
    assert said[-1].startswith("10/10 ")
    json.dumps(report, allow_nan=False)


def test_baselines_learn_from_the_past_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    both = match_set([[5.0, 5.0]] * 10, [1] * 6 + [0] * 4)
    both.year[:6] = 2015
    monkeypatch.setattr("jobs.datasets.load_matches", lambda source, title: both)
    report = evaluate_win("tsstn@live", "by hand", since=2016, baselines=["gold_sign"])
    assert report["baselines_learned_from"] == "6 matches until 2015"
    assert report["data"]["matches"] == 4
    assert report["overall"]["gold_sign"]["accuracy"] == 0.0  # in the past the leader always won
    assert report["overall"]["tsstn"]["auc"] is None and report["intervals"]["tsstn"]["auc"] is None


def test_too_few_matches_for_folds_have_no_baselines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobs.datasets.load_matches", lambda source, title: match_set([[1.0, 2.0]], [1]))
    report = evaluate_win("tsstn@live", "by hand")
    assert set(report["overall"]) == {"tsstn"} and "too few" in report["baselines_learned_from"]


def test_without_baselines_nothing_is_said_of_them() -> None:
    said: list[str] = []
    report = evaluate_win("tsstn@live", SOURCE, baselines=[], on_step=said.append)
    assert report["baselines_learned_from"] is None and "baseline" not in "".join(said)
    assert "No baseline was asked for." in model_card(report)
    assert not any("aseline" in fact for fact in facts(report))


def test_a_model_of_another_title_is_refused() -> None:
    with pytest.raises(UsageProblem, match=r"tsstn-hok@live is for hok, but .* holds lol"):
        evaluate_win("tsstn-hok@live", SOURCE)


def test_a_missing_model_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError, match="sightline train win-tsstn"):
        evaluate_win("mine@live", "never read", store=tmp_path)


def test_an_unknown_baseline_is_named() -> None:
    with pytest.raises(UsageProblem, match="no baseline named 'oracle'; there are: gold_sign"):
        evaluate_win("tsstn@live", SOURCE, baselines=["oracle"])


@pytest.fixture
def quiet_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SIGHTLINE_HOME", str(tmp_path / "home"))
    return tmp_path


def test_the_command_writes_page_card_and_figures(quiet_home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = [f"--data={SOURCE}", "--baselines=gold_sign", "--workers=0"]
    assert cli.main(["evaluate", "win", *told, "--report=out", "--card=out/card.md", "--json=figures.json"]) == 0
    report = json.loads((quiet_home / "figures.json").read_text())
    shown = capsys.readouterr().out
    assert f"{report['overall']['tsstn']['log_loss']:.4f}" in shown and "minutes" in shown
    assert json.loads((quiet_home / "out" / "report.json").read_text()) == report
    page = (quiet_home / "out" / "index.html").read_text()
    assert page.count("<svg") == 4 and f"{report['overall']['gold_sign']['log_loss']:.4f}" in page
    assert f"{report['overall']['tsstn']['ece']:.4f}" in (quiet_home / "out" / "card.md").read_text()
    assert sorted(path.name for path in (quiet_home / "out").iterdir()) == ["card.md", "index.html", "report.json"]
    assert cli.main(["evaluate", "win", *told, "--json=-"]) == 0
    assert json.loads(capsys.readouterr().out)["overall"] == report["overall"]


def test_bad_data_is_one_line_and_exit_code_2(quiet_home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = quiet_home / "broken.parquet"
    file.write_bytes(b"PAR1 no more")
    assert cli.main(["evaluate", "win", f"--data={file}", "--json=out.json"]) == 2
    said = capsys.readouterr().err.splitlines()
    assert said[-1].startswith("sightline: ") and "broken.parquet" in said[-1]
    assert not (quiet_home / "out.json").exists()


@pytest.mark.data
@pytest.mark.parametrize("name", ["dota2_pro_2018_objectives.parquet", "riot_timelines"])
def test_every_replay_format_can_be_judged(data_dir: Path, tmp_path: Path, name: str) -> None:
    report = evaluate_win("tsstn@live", str(data_dir / "moba" / name), store=tmp_path, baselines=["gold_sign"])
    assert report["overall"]["tsstn"]["log_loss"] > 0
    assert any("ARAM" in said or "map" in said for said in report["data"]["skipped"]) == (name == "riot_timelines")


@pytest.mark.data
def test_real_matches_have_the_figures_that_the_data_is_known_for(data_dir: Path) -> None:
    """Per-minute regression on 2016, as the architecture notes measured it: other figures mean another split."""
    everything = load_matches(str(data_dir / "moba" / "lol_pro_2014_2016_gold.parquet"))
    train, judged = everything.of_years(until=2015), everything.of_years(since=2016)
    from models.metrics import log_loss

    nats = log_loss(MinuteRegression(["gold"]).fit(train).probs(judged), frame_outcomes(judged))
    assert nats == pytest.approx(0.519, abs=0.002)
    nats = log_loss(MinuteRegression(["gold", "form"]).fit(train).probs(judged), frame_outcomes(judged))
    assert nats == pytest.approx(0.490, abs=0.003)
