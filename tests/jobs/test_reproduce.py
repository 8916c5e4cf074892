"""Every table in one go, on sets small enough for a test."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from jobs import reproduce as module
from jobs.agreement import importance_agreement, spearman
from jobs.baselines import CLASSICAL, baselines_for
from jobs.choices import design_choices
from jobs.datasets import MatchSet, load_matches
from jobs.errors import UsageProblem
from jobs.recipes.win_tsstn import ModelSizes, Optim, Scaling, WinTSSTN

RECIPE = WinTSSTN(data="", sizes=ModelSizes(hidden=4, state=4), optim=Optim(epochs=1), scaling=Scaling(workers=0))


def test_a_missing_table_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageProblem, match=r"no lol_pro_2014_2016_gold.parquet there or in its folder moba"):
        module.reproduce(tmp_path, workers=0, on_step=lambda words: None)


def test_ranks_agree_or_not() -> None:
    a = np.array([1.0, 2.0, 3.0, 4.0])
    assert spearman(a, a**3) == pytest.approx(1.0) and spearman(a, -a) == pytest.approx(-1.0)
    assert spearman(a, np.array([1.0, 1.0, 2.0, 2.0])) == pytest.approx(0.8944, abs=1e-4)


def test_agreement_is_a_rank_correlation_over_minutes_and_groups() -> None:
    found = importance_agreement(RECIPE.sizes.build("lol").build().eval(), "lol", matches=60, seed=3)
    assert -1 <= found.weights <= 1 and -1 <= found.contributions <= 1
    assert found.minutes > 10 and found.matches == 60


def test_all_tables_come_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in (module.LOL_TABLE, module.DOTA2_TABLE):
        (tmp_path / name).write_bytes(b"-")

    def load(source: str, title: str | None = None) -> MatchSet:
        if source.startswith("simulator:"):
            return load_matches(source)
        found = load_matches(f"simulator:{'dota2' if 'dota2' in source else 'lol'}?matches=16&seed=2")
        found.year[:8] = module.LOL_SINCE - 1
        found.year[8:] = module.LOL_SINCE
        return found

    monkeypatch.setattr("jobs.datasets.load_matches", load)
    monkeypatch.setattr("jobs.splits.FOLDS", 2)
    monkeypatch.setattr(module, "FIDELITY_FRAMES", 6)
    monkeypatch.setattr(module, "SIMULATED_MATCHES", 20)
    monkeypatch.setattr(
        "jobs.baselines.baselines_for",
        lambda matches, names=CLASSICAL[:3], recipe=None: baselines_for(matches, CLASSICAL[:3], recipe),
    )
    monkeypatch.setattr("jobs.choices.design_choices", lambda recipe, heroes: design_choices(recipe, heroes=heroes)[:2])
    monkeypatch.setattr("jobs.recipes.win_tsstn.SIMULATED", RECIPE)
    said: list[str] = []
    report = module.reproduce(tmp_path, workers=0, on_step=said.append, recipe=RECIPE)
    json.dumps(report, allow_nan=False)
    assert list(report["lol"]["overall"]) == ["tsstn", *CLASSICAL[:3]] == list(report["dota2"]["overall"])
    assert (report["lol"]["data"]["matches"], report["dota2"]["data"]["matches"]) == (8, 16)
    assert len(report["gates"]) == 10 and report["passed"] == all(gate["passed"] for gate in report["gates"])
    assert [row["name"] for row in report["choices"]["lol"]["rows"]] == [
        "default", "temporal_table", "smoothed", "ensemble",
    ]  # fmt: skip
    assert [row["name"] for row in report["choices"]["dota2"]["rows"]] == ["default", "temporal_table", "smoothed"]
    assert set(report["simulator"]) == {"lol", "dota2", "hok"}
    assert report["fidelity"]["rows"] and said[-1].startswith("28/28 ")
