"""Training: recipes, the loop, the command."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs import fit_tsstn
from jobs.datasets import load_matches, split_by_match
from jobs.errors import Exit, UsageProblem
from jobs.fit_tsstn import calibrate, estimates, fit, frame_metrics
from jobs.recipes.overrides import with_overrides
from jobs.recipes.win_tsstn import Thinning, WinTSSTN
from jobs.thinning import FeaturePlan, thin
from jobs.train import main, train
from models.store import SHIPPED, ModelStore

SOURCE = "simulator:lol?matches=60&seed=3"
SMALL = with_overrides(
    WinTSSTN(data=SOURCE),
    ["optim.epochs=3", "optim.batch_matches=16", "sizes.hidden=8", "sizes.state=8", "scaling.workers=0"],
)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Runs are kept there."""
    monkeypatch.setenv("SIGHTLINE_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


GROUPS = {"gold": ("gold", "xp"), "kill": ("kills",), "form": ("form",)}


def test_an_override_changes_one_field_and_keeps_its_type() -> None:
    recipe = with_overrides(WinTSSTN(data="x"), ["optim.lr=1e-4", "seed=7", "loss.per_match=true", "title=lol"])
    assert (recipe.optim.lr, recipe.seed, recipe.loss.per_match, recipe.title) == (1e-4, 7, True, "lol")
    assert recipe.optim.epochs == WinTSSTN(data="x").optim.epochs


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("optim.lr", "write it as path.to.field=value"),
        ("optim.learning_rate=1", "no field 'learning_rate'; there are lr"),
        ("optim=1", "set one of optim.lr"),
        ("seed.x=1", "seed has no fields"),
        ("seed=many", "'many' is not a int"),
        ("loss.per_match=1", "write true or false"),
    ],
)
def test_a_wrong_override_says_what_would_be_right(assignment: str, message: str) -> None:
    with pytest.raises(UsageProblem, match=message):
        with_overrides(WinTSSTN(data="x"), [assignment])


@given(seed=st.integers(0, 10_000))
@settings(max_examples=30)
def test_thinning_only_hides_and_never_hides_all_that_a_match_knew(seed: int) -> None:
    chance = torch.Generator().manual_seed(seed)
    features = torch.randn(8, 3, 4, generator=chance)
    features[:4, :, 2:] = torch.nan  # a feed of gold alone
    thinned = thin(features, FeaturePlan.of(GROUPS), Thinning(some=0.5, one=0.5, late=0.0), chance)
    kept = ~thinned.isnan()
    assert torch.equal(thinned[kept], features[kept])
    assert kept.any(dim=(1, 2)).all()


def test_thinning_makes_every_kind_of_poor_feed() -> None:
    chance = torch.Generator().manual_seed(0)
    thinned = thin(torch.ones(2000, 1, 4), FeaturePlan.of(GROUPS), Thinning(some=0.5, one=0.25, late=0.0), chance)
    patterns = {tuple(row) for row in thinned[:, 0].isnan().logical_not().int().tolist()}
    gold_only, xp_only, gold_and_form, full = (1, 0, 0, 0), (0, 1, 0, 0), (1, 0, 0, 1), (1, 1, 1, 1)
    assert {gold_only, xp_only, gold_and_form, full} <= patterns


def test_thinning_leaves_any_one_feature_of_a_group_that_the_match_knows() -> None:
    features = torch.ones(2000, 1, 4)
    features[:, :, 0] = torch.nan  # a feed without gold itself may have what stands beside it
    chance = torch.Generator().manual_seed(0)
    thinned = thin(features, FeaturePlan.of(GROUPS), Thinning(some=0.0, one=1.0, late=0.0), chance)
    patterns = {tuple(row) for row in thinned[:, 0].isnan().logical_not().int().tolist()}
    assert {(0, 1, 0, 0), (0, 1, 0, 1)} <= patterns
    assert (0, 1, 1, 1) not in patterns, "nothing but the first feature was looked for, and the whole match kept"


def test_training_learns_stops_and_repeats_itself() -> None:
    split = split_by_match(load_matches(SOURCE), share=0.25, seed=0)
    recipe = with_overrides(SMALL, ["optim.epochs=6", "optim.lr=1e-2"])
    seen: list[int] = []
    fitted = fit(split.train, split.held_out, recipe, on_epoch=lambda report: seen.append(report.epoch))
    assert seen == [report.epoch for report in fitted.reports]
    assert fitted.best.validation["log_loss"] == min(report.validation["log_loss"] for report in fitted.reports)
    model = recipe.sizes.build("lol").build()
    model.load_state_dict(fitted.weights)
    assert frame_metrics(model, split.held_out) == fitted.best.validation
    assert fitted.best.validation["log_loss"] < 0.67  # ln 2 = .693 knows nothing
    again = fit(split.train, split.held_out, recipe)
    assert all(torch.equal(again.weights[name], value) for name, value in fitted.weights.items())


def test_training_stops_when_it_stops_getting_better() -> None:
    split = split_by_match(load_matches(SOURCE), share=0.25, seed=0)
    still = ["optim.lr=0.0", "optim.lr_end=0.0", "optim.epochs=9", "optim.patience=2"]
    recipe = with_overrides(SMALL, [*still, "optim.early_stop=true"])
    assert [report.best_epoch for report in fit(split.train, split.held_out, recipe).reports] == [1, 1, 1]


@pytest.mark.parametrize("changes", [(), ("two_stage=true", "loss.per_match=true")])
def test_a_batch_learned_from_in_pieces_gives_the_same_weights(changes: tuple[str, ...]) -> None:
    split = split_by_match(load_matches(SOURCE), share=0.25, seed=0)  # 45 to learn from: the last batch has 13
    whole = with_overrides(SMALL, changes)
    pieces = with_overrides(whole, ["optim.accumulate=3"])
    one, three = fit(split.train, split.held_out, whole), fit(split.train, split.held_out, pieces)
    for name, value in one.weights.items():
        assert (three.weights[name] - value).abs().max() <= 1e-5, name
    for mine, theirs in zip(one.reports, three.reports, strict=True):
        assert theirs.train_loss == pytest.approx(mine.train_loss, abs=1e-5)


def test_more_pieces_than_matches_are_one_match_each() -> None:
    split = split_by_match(load_matches(SOURCE), share=0.25, seed=0)
    singly = with_overrides(SMALL, ["optim.accumulate=1000", "optim.epochs=1"])
    one = fit(split.train, split.held_out, with_overrides(SMALL, ["optim.epochs=1"]))
    assert fit(split.train, split.held_out, singly).reports[0].train_loss == pytest.approx(
        one.reports[0].train_loss, abs=1e-5
    )


def test_half_precision_learns_as_well_and_leaves_whole_weights() -> None:
    split = split_by_match(load_matches(SOURCE), share=0.25, seed=0)
    whole, half = SMALL, with_overrides(SMALL, ["optim.bf16=true"])
    one, other = fit(split.train, split.held_out, whole), fit(split.train, split.held_out, half)
    assert {value.dtype for value in other.weights.values() if value.is_floating_point()} == {torch.float32}
    assert any(not torch.equal(other.weights[name], value) for name, value in one.weights.items())
    assert other.best.validation["log_loss"] == pytest.approx(one.best.validation["log_loss"], abs=0.02)


def test_two_stages_hold_the_scores_while_their_weights_are_learned() -> None:
    split = split_by_match(load_matches(SOURCE), share=0.25, seed=0)
    recipe = replace(SMALL, two_stage=True)
    states: list[dict[str, torch.Tensor]] = []
    original = fit_tsstn._copied  # noqa: SLF001 - what lies between the stages is shown nowhere else
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fit_tsstn, "_copied", lambda model: states.append(original(model)) or states[-1])
        fitted = fit(split.train, split.held_out, recipe)
    assert [report.epoch for report in fitted.reports] == [1, 2, 3, 4, 5, 6]
    assert fitted.best.epoch > 3
    fresh, last_of_scores = states[0], states[3]
    for name, value in fitted.weights.items():
        if name.startswith("spatial"):
            assert not torch.equal(value, fresh[name]), name
            assert any(torch.equal(value, state[name]) for state in states[1:4]), name
        elif name.startswith(("temporal.gru", "home")):
            assert torch.equal(last_of_scores[name], fresh[name]), name
            assert not torch.equal(value, fresh[name]), name


def test_calibration_finds_the_temperature_that_the_answers_lack() -> None:
    matches = load_matches(SOURCE)
    torch.manual_seed(0)
    model = SMALL.sizes.build("lol").build().eval()
    _, estimate = next(estimates(model, matches))
    odds = estimate.logits / 2  # the truth, as far as this test goes: the model is twice too sure
    drawn = torch.rand(200, generator=torch.Generator().manual_seed(1))
    position = torch.arange(200) % len(matches)
    many = matches.take(position)
    steady = replace(many, won=(drawn < odds[position, 5].sigmoid()).float())
    before = frame_metrics(model, steady)["log_loss"]
    calibrate(model, steady, stiffness=0.0)
    assert frame_metrics(model, steady)["log_loss"] < before
    assert model.temperature[0] < 0.9
    calibrate(model, steady, stiffness=1e6)
    torch.testing.assert_close(model.temperature, torch.ones(5), atol=1e-3, rtol=0)


def test_a_model_learns_the_heroes_of_its_training_matches() -> None:
    matches = load_matches("simulator:dota2?matches=40&seed=3")
    named = replace(matches, heroes=tuple((("Axe",), ("Zeus/mage",)) for _ in matches.match_ids))
    split = split_by_match(named, share=0.25, seed=0)
    recipe = replace(SMALL, sizes=replace(SMALL.sizes, hero_dim=2))
    fitted = fit(split.train, split.held_out, recipe)
    assert fitted.config.heroes == (("axe", ""), ("zeus", "mage"))
    assert frame_metrics(fitted.model(), split.held_out) == fitted.best.validation
    assert fit(*split_by_match(matches, share=0.25, seed=0), recipe).config.hero_dim == 0  # nobody names heroes there


def test_train_stores_a_version_that_says_where_it_comes_from(tmp_path: Path) -> None:
    result = train(SMALL, store=tmp_path, runs=tmp_path / "runs", name="mine")
    stored = ModelStore(tmp_path).load("mine@candidate")
    assert stored.manifest == result.manifest and stored.version == "1"
    assert stored.manifest.title == "lol"
    assert stored.manifest.trained_on == "simulator lol, 60 matches, seed 3"
    assert stored.manifest.data_fingerprint == load_matches(SOURCE).fingerprint
    assert stored.metrics["best_epoch"] == result.best.epoch
    assert stored.metrics["recipe"]["optim"]["epochs"] == 3
    assert stored.build().config == SMALL.sizes.build("lol")


@pytest.mark.long
@pytest.mark.ray
@pytest.mark.filterwarnings("ignore::DeprecationWarning:ray")  # Ray warns of its own defaults
def test_a_ray_train_worker_gives_the_same_weights_as_this_process(tmp_path: Path) -> None:
    epochs: list[int] = []
    recipe = replace(SMALL, scaling=replace(SMALL.scaling, workers=1))
    ours = train(SMALL, store=tmp_path / "here", runs=tmp_path / "runs")
    theirs = train(
        recipe, store=tmp_path / "ray", runs=tmp_path / "runs", on_epoch=lambda report: epochs.append(report.epoch)
    )
    assert epochs == [1, 2, 3]
    assert theirs.manifest.sha256["weights.safetensors"] == ours.manifest.sha256["weights.safetensors"]


ARGUMENTS = [
    "win-tsstn",
    f"--data={SOURCE}",
    "--name=mine",
    "--workers=0",
    "--set=optim.epochs=1",
    "--set=sizes.hidden=4",
]


def test_the_command_trains_and_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*ARGUMENTS, f"--store={tmp_path}"]) == 0
    words = capsys.readouterr().err
    assert "epoch 1/1: loss" in words and "stored mine@1" in words and "mine@candidate now means it" in words
    assert "sightline models gate mine@candidate --data PATH --promote" in words
    assert list(ModelStore(tmp_path).aliases("mine")) == ["candidate"], "nothing goes on air by itself"


def test_a_new_model_goes_on_air_only_by_force_which_is_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    on_air = [*ARGUMENTS, f"--store={tmp_path}", "--alias=live"]
    assert main(on_air) == main([*on_air, "--force"]) == main([*on_air, "--reason=none"]) == Exit.BAD_INPUT
    words = capsys.readouterr().err
    assert "--alias live: no gate can have judged" in words and "models gate mine@candidate --data PATH" in words
    assert words.count("--force: say why with --reason") == 2 and "epoch" not in words
    assert not (tmp_path / "mine").exists() and not (tmp_path / "home").exists(), "and nothing was begun"
    assert main([*on_air, "--force", "--reason=the first of its name"]) == Exit.OK
    (move,) = ModelStore(tmp_path).history("mine", "live")
    assert move.forced and move.why == "the first of its name (against the gate: no gate has judged it)"


def test_the_command_tells_other_programs_what_it_stored(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*ARGUMENTS, f"--store={tmp_path}", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["name"], told["version"], told["store"]) == ("mine", 1, str(tmp_path))
    assert told["metrics"] == ModelStore(tmp_path).load("mine@1").metrics


def test_a_dry_run_prints_the_recipe_and_does_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*ARGUMENTS, f"--store={tmp_path / 'store'}", "--dry-run"]) == 0
    assert "epochs=1" in capsys.readouterr().out
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data=nowhere.parquet"], "nowhere.parquet"),
        ([f"--data={SOURCE}", "--set=optim.epoch=1"], "no field 'epoch'"),
        ([f"--data={SOURCE}", "--until=1999"], "its years: 2024"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    store = tmp_path / "store"
    assert main(["win-tsstn", "--workers=0", f"--store={store}", *arguments]) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("sightline: ")]
    assert message in line
    assert not store.exists()


def test_a_model_of_a_shipped_name_takes_the_next_number_so_that_the_shipped_one_stays_itself(tmp_path: Path) -> None:
    arguments = [argument for argument in ARGUMENTS if argument != "--name=mine"]
    assert main([*arguments, f"--store={tmp_path}"]) == 0
    newest = max(ModelStore(SHIPPED).versions("tsstn-lol"))
    assert ModelStore(tmp_path).versions("tsstn-lol") == (newest + 1,)
    assert ModelStore(tmp_path, SHIPPED).resolve("tsstn-lol@live") == ModelStore(SHIPPED).resolve("tsstn-lol@live")
