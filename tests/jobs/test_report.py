"""Pages, cards and tables say what the figures say."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jobs.evaluate import data_facts, figures
from jobs.files import write_json, write_text
from jobs.gate_row import gate_row
from jobs.report import plots
from jobs.report.card import model_card
from jobs.report.page import evaluation_page
from jobs.report.reproduced import BEGIN, END, gate_lines, has_markers, reproduced_page, rewrite_readme
from jobs.report.tables import gates_table
from jobs.reproduce import MOST_FALL, gates


def frames_of(matches: int, frames: int, seed: int = 0) -> Any:
    import torch

    from jobs.datasets import MatchSet

    chance = torch.Generator().manual_seed(seed)
    return MatchSet(
        title="lol",
        source="by <hand>",
        match_ids=tuple(f"m{i}" for i in range(matches)),
        features=torch.randn(matches, frames, 13, generator=chance),
        clock_s=(60.0 * torch.arange(frames)).expand(matches, frames).contiguous(),
        mask=torch.ones(matches, frames, dtype=torch.bool),
        won=(torch.rand(matches, generator=chance) < 0.5).float(),
        year=torch.full((matches,), 2016),
        skipped=("left out cut.parquet",),
    )


@pytest.fixture(scope="module")
def report() -> dict[str, Any]:
    judged = frames_of(40, 12)
    chance = np.random.default_rng(0)
    won = judged.won[:, None].expand_as(judged.mask)[judged.mask].numpy()
    probs = {
        name: np.clip(0.5 + size * (2 * won - 1) + chance.normal(0, 0.2, len(won)), 0.02, 0.98)
        for name, size in (("tsstn", 0.2), ("gold_sign", 0.1), ("gru", 0.19))
    }
    model = {
        "name": "tsstn-lol", "version": "3", "weight_hash": "0123456789ab", "title": "lol", "parameters": 12345,
        "trained_on": "simulator lol, 40 matches", "data_fingerprint": "f00d", "code_version": "0.1.0",
        "created": "2026-01-01T00:00:00+00:00", "training_matches_known": True,
        "training": {"validation": {"log_loss": 0.4711, "accuracy": 0.75}, "validation_matches": 6},
    }  # fmt: skip
    return {
        "model": model,
        "data": data_facts(judged) | {"since": 2016, "until": None},
        "baselines_learned_from": "6 matches until 2015",
        "predictors": {"tsstn": "TSSTN", "gold_sign": "who has more gold", "gru": "GRU"},
        **figures(judged, probs, reference="tsstn", resamples=100),
        "clock_parts": [
            {"from_min": 0, "frames": 200, "accuracy": 0.7},
            {"from_min": 5, "frames": 280, "accuracy": 0.8},
        ],
        "seconds": 1.0,
    }


def reproduced(report: dict[str, Any]) -> dict[str, Any]:
    curve = {"at": [0.8, 0.9], "intervals": [[0.7, 0.9], [0.8, 1.0]], "area": 0.85, "area_interval": [0.8, 0.9]}
    row = {
        "method": "own",
        "fidelity": curve,
        "removal": curve,
        "behind_best": [0.0, 0.0],
        "cost": 1.0,
        "frames": 9,
        "matches": 3,
    }
    figures = {"log_loss": 0.5, "accuracy": 0.75, "ece": 0.02, "log_loss_by_run": [0.49, 0.51]}
    choices = {
        "learned_from": [9], "matches": 3, "runs": 2, "same_matches": True,
        "rows": [{"name": "default", "words": "as it is", "difference": None, **figures},
                 {"name": "ensemble", "words": "mean", "difference": [-0.01, -0.02, 0.01], **figures}],
    }  # fmt: skip
    made: dict[str, Any] = {
        "lol": report,
        "dota2": report,
        "choices": {"lol": choices, "dota2": choices},
        "fidelity": {"rows": [row, {**row, "method": "random"}], "own": "own",
                     "gate": {"k": 3, "behind_best": 0.0, "cost": 1.0, "passed": True}},
        "simulator": {"hok": {"learned_from": "simulator", "weights": 0.9, "contributions": 0.95, "minutes": 30,
                              "matches": 9}},
        "seconds": 600.0,
    }  # fmt: skip
    return made | {"gates": gates(made)}


def test_the_page_has_every_figure_and_loads_nothing(report: dict[str, Any]) -> None:
    page = evaluation_page(report)
    for name in report["overall"]:
        assert f"{report['overall'][name]['log_loss']:.4f}" in page and report["predictors"][name] in page
    assert "by &lt;hand&gt;" in page and "<hand>" not in page
    assert "Left out cut.parquet." in page
    assert page.count("<svg") == 4
    assert not re.findall(r'(?:src|href)="(?!#)[^"]+"', page) and "@import" not in page and "url(http" not in page


def test_charts_wear_the_colours_of_the_page(report: dict[str, Any]) -> None:
    svg = plots.by_clock(report, "log_loss", ["tsstn", "gru"])
    assert "var(--a)" in svg and "var(--b)" in svg and "GRU" in svg
    assert not re.search(r"#0[1-7]0[1-7]0[1-7]\b", svg)


def test_the_same_report_gives_the_same_page(report: dict[str, Any]) -> None:
    assert evaluation_page(report) == evaluation_page(report)


def test_the_card_is_made_of_the_figures(report: dict[str, Any]) -> None:
    card = model_card(report)
    figures_of = report["overall"]["tsstn"]
    for said in (
        f"{figures_of['log_loss']:.4f}",
        f"{figures_of['ece']:.4f}",
        "12,345 parameters",
        "0123456789ab",
        "0.4711",
    ):
        assert said in card
    for heading in ("## Data", "## Figures", "## Limits", "## Ethics"):
        assert heading in card
    assert "simulated matches only" in card and "Left out cut.parquet." in card
    assert "GRU" in card  # the best of the others


def test_gates_are_checked_against_the_figures(report: dict[str, Any]) -> None:
    found = {gate["name"]: gate for gate in gates(reproduced(report))}
    figures_of = report["overall"]["tsstn"]
    assert found["LoL log-loss"]["passed"] == (figures_of["log_loss"] <= 0.488)
    assert found["LoL ECE"]["got"] == f"{figures_of['ece']:.4f}"
    assert found["simulator: Spearman of weights and truth"]["passed"]
    fallen = {**report, "clock_parts": [{"accuracy": 0.8}, {"accuracy": 0.8 - 2 * MOST_FALL}]}
    lines = gate_lines(gates(reproduced(fallen)))
    assert any(line.startswith("MISSED  LoL accuracy over") for line in lines)


@pytest.mark.parametrize(("passed", "said"), [(True, "passed"), (False, "MISSED"), (None, "")])
def test_the_terminal_says_of_each_gate_what_was_found(passed: bool | None, said: str) -> None:
    columns = gates_table([gate_row("recall", "≥ .5", ".48", passed)]).columns
    assert [list(column.cells) for column in columns] == [["recall"], ["≥ .5"], [".48"], [said]]


def test_a_rival_must_be_better_beyond_its_interval_to_count(report: dict[str, Any]) -> None:
    def passed(difference: list[float]) -> bool:
        differences = {name: {"log_loss": difference} for name in report["differences"]}
        found = {gate["name"]: gate for gate in gates(reproduced({**report, "differences": differences}))}
        return bool(found["LoL: no baseline better beyond its interval"]["passed"])

    assert passed([-0.01, -0.03, 0.01]) and not passed([-0.02, -0.03, -0.01])


def test_the_readme_gets_the_table_between_its_markers(report: dict[str, Any], tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    assert has_markers(readme) and not has_markers(tmp_path / "gone.md")
    rewrite_readme(readme, reproduced(report))
    text = readme.read_text()
    assert text.startswith(f"before\n{BEGIN}\n") and text.endswith(f"{END}\nafter\n") and "\nold\n" not in text
    assert "| who has more gold |" in text and "Dota 2, professional matches" in text and "gates passed" in text
    (tmp_path / "bare.md").write_text(END + BEGIN)
    with pytest.raises(ValueError, match="no line <!-- evaluation"):
        rewrite_readme(tmp_path / "bare.md", reproduced(report))


def test_the_page_of_all_tables_has_all_sections(report: dict[str, Any]) -> None:
    page = reproduced_page(reproduced(report))
    for heading in ("Gates", "League of Legends", "Dota 2", "What each choice is worth", "Are the reasons true?"):
        assert heading in page
    assert page.count("<svg") == 10 and "Spearman 0.900" in page


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    write_text(file, "old")
    with pytest.raises(ValueError):
        write_json(file, {"value": float("nan")})
    assert file.read_text() == "old" and list(tmp_path.iterdir()) == [file]
