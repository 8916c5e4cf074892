"""Evaluation: figures beside baselines, on splits that leak nothing."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from jobs.baselines import GoldSign, MinuteRegression, baselines_for, frame_outcomes
from jobs.datasets import MatchSet, load_matches
from jobs.errors import UsageProblem
from jobs.evaluate import MEASURES, evaluate_main, evaluate_win
from models.store import ModelNotFoundError

SOURCE = "simulator:lol?matches=60&seed=5"


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


def test_baselines_are_those_that_the_feed_has_features_for() -> None:
    matches = match_set([[1.0]], [1])
    assert [baseline.name for baseline in baselines_for(matches)] == ["gold_sign", "minute_regression_gold"]
    assert "minute_regression_gold_form" in [baseline.name for baseline in baselines_for(load_matches(SOURCE))]


def test_outcomes_are_repeated_on_every_real_frame() -> None:
    matches = match_set([[1.0, 2.0], [1.0, 2.0]], [1, 0])
    matches.mask[1, 1] = False
    assert frame_outcomes(matches).tolist() == [1.0, 1.0, 0.0]


def test_the_shipped_model_is_better_than_a_coin_on_simulated_matches() -> None:
    report = evaluate_win("tsstn@live", SOURCE)
    assert report["model"]["name"] == "tsstn-lol" and report["model"]["trained_on"].startswith("simulator")
    assert report["data"]["matches"] == 60
    assert report["baselines_learned_from"] == "the other folds of 5, by match"
    assert set(report["overall"]) == {
        "tsstn",
        "gold_sign",
        "minute_regression_gold",
        "minute_regression_gold_form",
    }
    assert all(set(figures) == set(MEASURES) for figures in report["overall"].values())
    assert report["overall"]["tsstn"]["log_loss"] < 0.6
    assert sum(bucket["frames"] for bucket in report["buckets"]) == report["data"]["frames"]
    json.dumps(report, allow_nan=False)


def test_baselines_learn_from_the_past_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    both = match_set([[5.0, 5.0]] * 10, [1] * 6 + [0] * 4)
    both.year[:6] = 2015
    monkeypatch.setattr("jobs.datasets.load_matches", lambda source, title: both)
    report = evaluate_win("tsstn@live", "by hand", since=2016)
    assert report["baselines_learned_from"] == "6 matches until 2015"
    assert report["data"]["matches"] == 4
    assert report["overall"]["gold_sign"]["accuracy"] == 0.0  # in the past the leader always won
    assert report["overall"]["tsstn"]["auc"] is None


def test_too_few_matches_for_folds_have_no_baselines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobs.datasets.load_matches", lambda source, title: match_set([[1.0, 2.0]], [1]))
    report = evaluate_win("tsstn@live", "by hand")
    assert set(report["overall"]) == {"tsstn"} and "too few" in report["baselines_learned_from"]


def test_a_model_of_another_title_is_refused() -> None:
    with pytest.raises(UsageProblem, match=r"tsstn-hok@live is for hok, but .* holds lol"):
        evaluate_win("tsstn-hok@live", SOURCE)


def test_a_missing_model_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError, match="sightline train win-tsstn"):
        evaluate_win("mine@live", SOURCE, store=tmp_path)


def test_the_command_writes_all_figures_and_prints_tables(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "figures.json"
    assert evaluate_main(["win", f"--data={SOURCE}", f"--store={tmp_path}", f"--json={file}"]) == 0
    report = json.loads(file.read_text())
    shown = capsys.readouterr().out
    assert f"{report['overall']['tsstn']['log_loss']:.4f}" in shown and "minutes" in shown
    assert evaluate_main(["win", f"--data={SOURCE}", f"--store={tmp_path}", "--json=-"]) == 0
    assert json.loads(capsys.readouterr().out)["overall"] == report["overall"]


def test_bad_data_is_one_line_and_exit_code_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "broken.parquet"
    file.write_bytes(b"PAR1 no more")
    assert evaluate_main(["win", f"--data={file}", f"--store={tmp_path}", f"--json={tmp_path / 'out.json'}"]) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line]
    assert line.startswith("error: ") and "broken.parquet" in line
    assert not (tmp_path / "out.json").exists()


@pytest.mark.data
def test_real_matches_meet_the_gate(data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = data_dir / "moba" / "lol_pro_2014_2016_gold.parquet"
    assert evaluate_main(["gate-lol", f"--data={table}", "--json=-"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["data"]["matches"], report["data"]["frames"]) == (2494, 92_378)
    assert report["passed"]
    assert report["overall"]["tsstn"]["log_loss"] <= 0.500 and report["overall"]["tsstn"]["accuracy"] >= 0.745


@pytest.mark.data
@pytest.mark.parametrize("name", ["dota2_pro_2018_objectives.parquet", "riot_timelines"])
def test_every_replay_format_can_be_judged(data_dir: Path, tmp_path: Path, name: str) -> None:
    report = evaluate_win("tsstn@live", str(data_dir / "moba" / name), store=tmp_path)
    assert report["overall"]["tsstn"]["log_loss"] > 0
