"""AS-GAN and AIFL through the training command, the store and the evaluation, on very few and very small dolls."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from jobs.checkpoints import Checkpoints
from jobs.commands.evaluate import evaluate
from jobs.errors import UsageProblem
from jobs.recipes.aifl_study import BASELINE, ORACLE, WORDS, AIFLStudy, chosen_rows, rows_of
from jobs.recipes.as_gan import AS_GAN, ASGANRecipe
from jobs.recipes.overrides import with_overrides
from jobs.recipes.reid import ReID
from jobs.recipes.reid_aifl import JITTER, REID_AIFL, ReIDAIFL
from jobs.reid.aifl_evaluate import evaluate_aifl
from jobs.reid.aifl_gates import gates_of
from jobs.reid.aifl_learner import AIFLLearner
from jobs.reid.aifl_real import evaluate_on_real
from jobs.reid.aifl_trial import People, SimulatedDresser, people_of, trained_row
from jobs.reid.as_gan_step import GANStep
from jobs.reid.crops import CropSet
from jobs.reid.dolls import Dolls, doll_crops
from jobs.reid.fit import fit
from jobs.reid.fit_as_gan import GANEpoch, fit_as_gan, partners, rate_at
from jobs.reid.fit_stargan import fit_stargan, repainted
from jobs.reid.redress import ASGANDresser, JitterDresser, Redressed, redressed_set, wearers_of
from jobs.report.aifl import FIGURES, aifl_page, print_aifl
from jobs.train import RECIPES, resume, train
from models.aifl import Pair
from models.as_gan import ASGAN, ASGANConfig
from models.bnneck import PersonEmbedder
from models.store import ModelStore

SIZE = {"height_px": 32, "width_px": 16}
NETWORK = [f"network.{name}={value}" for name, value in SIZE.items()]
GAN_SIZE = ["network.width=2", "network.dim=8", "network.hidden=8", "network.bank=16", "discriminator_width=2"]
GAN_STEPS = ["optim.batch=4", "optim.steps=6", "optim.report_every=2", "optim.penalty_every=2", "optim.cycle_from=0.3"]
GAN = with_overrides(AS_GAN, [*NETWORK, *GAN_SIZE, *GAN_STEPS])
AIFL_SIZE = [
    "network.width=2",
    "network.dim=8",
    "batch.people=3",
    "batch.images=2",
    "augmentation.pad_px=1",
    "validation=0",
]
AIFL_EPOCHS = ["optim.epochs=3", "redressing.enters_after=1", "redressing.full_after=2", "aifl.memory=8"]
AIFL = with_overrides(REID_AIFL, [*NETWORK, *AIFL_SIZE, *AIFL_EPOCHS])
FEW = Dolls(people=4, cameras=2, images=2)
DATA = FEW.source


@pytest.fixture(scope="module")
def dolls() -> CropSet:
    return doll_crops(FEW, **SIZE)


@pytest.fixture(scope="module")
def gan(dolls: CropSet) -> ASGAN:
    return fit_as_gan(dolls, GAN).model()


@pytest.fixture
def dresser(gan: ASGAN) -> ASGANDresser:
    return ASGANDresser(gan, **SIZE)


def test_every_recipe_makes_sense_and_says_its_weights() -> None:
    for name, recipe in RECIPES.items():
        if isinstance(recipe, ASGANRecipe | ReIDAIFL):
            replace(recipe, data="x").check()
            assert "loss" in asdict(recipe), name
    AIFLStudy().check()


def test_training_stores_an_as_gan_with_its_bank_and_aifl_finds_it(tmp_path: Path) -> None:
    where = {"store": tmp_path / "store", "runs": tmp_path / "runs"}
    told: list[str] = []
    made = train(replace(GAN, data=DATA), **where, on_step=told.append)
    stored = ModelStore(tmp_path / "store").load("as-gan@candidate").build()
    assert isinstance(stored, ASGAN) and int(stored.bank_size) == 16
    assert made.manifest.title == "apparel" and made.best.epoch == 3
    assert any("no embedding watches" in line for line in told)
    strangers = "simulator:dolls?people=2&first=9&cameras=2&images=1"
    found = train(replace(AIFL, data=DATA, unlabelled=strangers), **where)
    embedder = ModelStore(tmp_path / "store").load("reid-aifl@candidate").build()
    assert isinstance(embedder, PersonEmbedder) and found.manifest.recipe["name"] == "reid-aifl"
    watched = train(replace(GAN, data=DATA, identity="reid-aifl@candidate"), **where)
    last = watched.reports[-1]
    assert isinstance(last, GANEpoch)
    assert set(last.terms) >= {"identity_keep", "cycle", "adversarial", "embedding_recovery", "mask_budget"}


def test_a_model_that_dresses_nobody_is_refused(tmp_path: Path) -> None:
    where = {"store": tmp_path / "store", "runs": tmp_path / "runs"}
    train(replace(GAN, data=DATA), **where)
    with pytest.raises(UsageProblem, match="identity=as-gan@candidate: is no person embedding"):
        train(replace(GAN, data=DATA, identity="as-gan@candidate"), **where)
    larger = with_overrides(AIFL, ["network.height_px=64"])
    with pytest.raises(UsageProblem, match="32 × 16 px, the network of 64 × 16: train one of the same size"):
        train(replace(larger, data=DATA), **where)
    train(replace(AIFL, data=DATA), **where)
    with pytest.raises(UsageProblem, match="is no AS-GAN; train one with"):
        train(replace(with_overrides(AIFL, ["redressing.model=reid-aifl@candidate"]), data=DATA), **where)


@pytest.mark.parametrize("recipe", [GAN, AIFL], ids=["as-gan", "reid-aifl"])
def test_a_run_that_was_cut_short_ends_with_the_same_weights(recipe: ASGANRecipe | ReIDAIFL, tmp_path: Path) -> None:
    where = {"store": tmp_path / "store", "runs": tmp_path / "runs"}
    if isinstance(recipe, ReIDAIFL):
        train(replace(GAN, data=DATA), **where)
        recipe = replace(recipe, unlabelled="simulator:dolls?people=2&first=9&cameras=2&images=1")
    whole = train(replace(recipe, data=DATA), **where)

    def cut(report: object) -> None:
        if report.epoch == 2:  # type: ignore[attr-defined] # a report
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(replace(recipe, data=DATA), **where, on_epoch=cut)
    short = next(path.name for path in (tmp_path / "runs").iterdir() if (path / "checkpoint.safetensors").exists())
    epochs: list[int] = []
    gone_on = resume(short, runs=tmp_path / "runs", on_epoch=lambda report: epochs.append(report.epoch))
    assert epochs == [3]
    store = ModelStore(tmp_path / "store")
    first, second = (store.load(each.manifest.reference).weights for each in (whole, gone_on))
    assert first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_a_term_that_is_no_number_stops_with_the_step_and_the_term(
    dolls: CropSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, calls = GANStep.generator_terms, []

    def broken(self: GANStep, *args: object, **kwargs: object) -> object:
        terms, made = plain(self, *args, **kwargs)  # type: ignore[arg-type] # as they come
        calls.append(1)
        if len(calls) == 4:
            terms.plain["structure_keep"] = terms.plain["structure_keep"] * torch.nan
        return terms, made

    checkpoints = Checkpoints(tmp_path, "dolls")
    with monkeypatch.context() as patched:
        patched.setattr(GANStep, "generator_terms", broken)
        with pytest.raises(
            UsageProblem, match="step 3: structure_keep is not finite; the checkpoint of step 2 is kept"
        ):
            fit_as_gan(dolls, GAN, checkpoints=checkpoints)
    gone_on = fit_as_gan(dolls, GAN, checkpoints=checkpoints)
    assert [report.epoch for report in gone_on.reports] == [1, 2, 3]
    whole = fit_as_gan(dolls, GAN)
    assert all(torch.equal(value, whole.weights[name]) for name, value in gone_on.weights.items())


def test_a_gradient_that_is_no_number_stops_before_it_is_taken(dolls: CropSet) -> None:
    with pytest.raises(UsageProblem, match=r"step \d: .* is not finite; nothing is kept; lower optim.lr"):
        fit_as_gan(dolls, with_overrides(GAN, ["loss.embedding_recovery=1e38", "optim.report_every=6"]))


def test_switched_off_terms_are_not_computed(dolls: CropSet) -> None:
    names = {"self_reconstruction", "same_identity_reconstruction", "apparel_contrast", "mask_affinity"}
    off = [*(f"loss.{name}=0" for name in names), "loss.cycle=0", "optim.steps=2"]
    assert not {"cycle", *names} & set(fit_as_gan(dolls, with_overrides(GAN, off)).best.terms)
    on = fit_as_gan(dolls, with_overrides(GAN, ["loss.self_reconstruction=5", "optim.steps=2"])).best.terms
    assert names <= set(on)


@pytest.mark.parametrize(
    "crops",
    [
        Dolls(people=1, cameras=2, images=2),
        Dolls(people=5, cameras=1, images=1),
        Dolls(people=2, cameras=1, images=1),
    ],
    ids=["one identity only", "one image of each", "fewer than a batch"],
)
def test_the_as_gan_needs_no_identities(crops: Dolls) -> None:
    fitted = fit_as_gan(doll_crops(crops, **SIZE), GAN)
    assert all(torch.isfinite(value).all() for value in fitted.weights.values() if value.is_floating_point())


def test_grey_crops_are_learned_from_without_a_stumble(dolls: CropSet) -> None:
    grey = CropSet("grey", torch.full_like(dolls.images, 128), dolls.identity, dolls.camera)
    assert np.isfinite(fit_as_gan(grey, GAN).best.train_loss)
    with pytest.raises(UsageProblem, match=r"1 crop\(s\); nobody can wear what another wears"):
        fit_as_gan(dolls.take(np.array([0])), GAN)


def test_partners_wear_the_same() -> None:
    crops = doll_crops(Dolls(people=2, outfits=2, cameras=1, images=2), **SIZE)
    rows = np.arange(8)
    assert partners(crops, rows, np.random.default_rng(0)).tolist() == [1, 0, 3, 2, 5, 4, 7, 6]
    alone = crops.take(np.array([0, 2, 4]))
    assert partners(alone, np.arange(3), np.random.default_rng(0)).tolist() == [0, 1, 2]


def test_rates_stay_and_then_fall_to_nothing() -> None:
    optim = with_overrides(GAN, ["optim.steps=100", "optim.decay=0.4"]).optim
    assert [rate_at(step, optim) for step in (0, 59, 60, 80, 100)] == pytest.approx([1, 1, 1, 0.5, 0])


def test_no_strangers_and_one_image_of_each_are_enough_for_aifl(dresser: ASGANDresser) -> None:
    alone = doll_crops(Dolls(people=4, cameras=1, images=1), **SIZE)

    def learner(train: CropSet) -> AIFLLearner:
        return AIFLLearner(train, train.images[:0], AIFL, dresser)

    fitted = fit(alone, alone.of([]), AIFL, learner=learner)
    assert len(fitted.reports) == 3 and all(np.isfinite(each.train_loss) for each in fitted.reports)


def test_one_identity_only_teaches_nothing_and_says_so(tmp_path: Path) -> None:
    where = {"store": tmp_path / "store", "runs": tmp_path / "runs"}
    train(replace(GAN, data=DATA), **where)
    with pytest.raises(UsageProblem, match="1 people, of whom 0 are held out, leave fewer than 2"):
        train(replace(AIFL, data="simulator:dolls?people=1"), **where)


def test_dressers_leave_people_who_they_are(dolls: CropSet, dresser: ASGANDresser) -> None:
    chance = torch.Generator().manual_seed(0)
    for each in (dresser, JitterDresser(dresser, 0.5)):
        made = each.dressed(dolls.images, chance)
        assert made.images.shape == dolls.images.shape and made.images.dtype == torch.uint8
        assert made.apparel.shape == (len(dolls), 8) and not torch.equal(made.images, dolls.images)
    anew = redressed_set(dolls, dresser, seed=1)
    assert anew.identity is dolls.identity and anew.clothes is None
    assert torch.equal(anew.images, redressed_set(dolls, dresser, seed=1).images)
    assert len(dresser.worn(dolls.images[:0])) == 0


def test_the_simulator_dresses_the_very_same_pictures(dolls: CropSet, dresser: ASGANDresser) -> None:
    simulated = SimulatedDresser(dresser, (replace(FEW, first=9), FEW), **SIZE)
    made = simulated.dressed(dolls.images[[5, 2]], torch.Generator().manual_seed(0))
    lent = torch.stack([doll_crops(replace(FEW, lent=places), **SIZE).images for places in range(1, 8)])
    for image, row in zip(made.images, (5, 2), strict=True):
        assert any(torch.equal(image, other) for other in lent[:, row])
    torch.testing.assert_close(made.apparel, dresser.worn(made.images))


class Numbered:
    """Changes no picture, and gives clothes a number by which they are known again."""

    def worn(self, images: torch.Tensor) -> torch.Tensor:
        return torch.zeros(len(images), 1)

    def dressed(self, images: torch.Tensor, chance: torch.Generator, who: torch.Tensor | None = None) -> Redressed:
        wearers, place = wearers_of(images, who)
        return Redressed(images, torch.rand(wearers, 1, generator=chance)[place])


@pytest.mark.parametrize(("copies", "kinds"), [(0, 12), (3, 3)])
def test_other_clothes_are_of_the_same_rows_and_no_more_than_the_copies(
    dolls: CropSet, copies: int, kinds: int
) -> None:
    recipe = with_overrides(AIFL, [f"redressing.copies={copies}", "augmentation.pad_px=0", "augmentation.flip=0"])
    learner = AIFLLearner(dolls, dolls.images[:0], recipe, Numbered())
    seen: list[Pair] = []

    class Looks(torch.nn.Module):
        def forward(self, pair: Pair, *rest: object, **ramp: float) -> dict[str, torch.Tensor]:
            seen.append(pair)
            return {"nothing": torch.zeros(())}

    learner.aifl = Looks()  # type: ignore[assignment] # in place of the losses
    learner.begin(3)
    rows, chance = np.array([1, 4, 9, 6]), torch.Generator().manual_seed(0)
    for _ in range(12):
        learner.loss_of(rows, chance)
    assert all(torch.equal(pair.dressed, dolls.images[torch.from_numpy(rows)] / 255) for pair in seen)
    assert len({float(pair.dressed_apparel[3]) for pair in seen}) == kinds


def test_a_person_wears_one_outfit_in_all_of_their_pictures(dolls: CropSet, dresser: ASGANDresser) -> None:
    who = torch.from_numpy(dolls.identity)
    alike = dresser.dressed(dolls.images, torch.Generator().manual_seed(0), who).apparel
    assert [len(torch.unique(alike[who == person], dim=0)) for person in who.unique()] == [1] * 4
    assert len(torch.unique(alike, dim=0)) > 1
    by_itself = dresser.dressed(dolls.images, torch.Generator().manual_seed(0)).apparel
    assert len(torch.unique(by_itself, dim=0)) > 4
    assert not torch.equal(alike, by_itself)


def test_the_simulator_lends_a_person_one_outfit_for_all_of_their_pictures(
    dolls: CropSet, dresser: ASGANDresser
) -> None:
    simulated, who = SimulatedDresser(dresser, (FEW,), **SIZE), torch.from_numpy(dolls.identity)
    made = simulated.dressed(dolls.images, torch.Generator().manual_seed(0), who).images
    lent = torch.stack([doll_crops(replace(FEW, lent=places), **SIZE).images for places in range(1, 8)])
    fits = (lent == made).flatten(2).all(dim=2)  # (lenders, N)
    assert all(bool(fits[:, who == person].all(dim=1).any()) for person in who.unique())


def test_a_generator_in_half_precision_paints_the_same_within_a_shade(gan: ASGAN, dolls: CropSet) -> None:
    whole, half = (ASGANDresser(gan, **SIZE, dtype=dtype) for dtype in (torch.float32, torch.bfloat16))
    worn = whole.worn(dolls.images).flip(0)
    apart = (whole.as_asked(dolls.images, worn).int() - half.as_asked(dolls.images, worn).int()).abs()
    assert 0 < apart.float().mean() < 2 and apart.max() < 40


def test_a_stargan_of_the_same_crops_repaints_them(dolls: CropSet) -> None:
    star = fit_stargan(dolls, GAN, groups=3)
    made = repainted(star, dolls, seed=0)
    assert made.shape == dolls.images.shape and made.dtype == torch.uint8
    again = repainted(fit_stargan(dolls, GAN, groups=3), dolls, seed=0)
    assert torch.equal(made, again) and not torch.equal(made, repainted(star, dolls, seed=1))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("redressing.by=paint", "redressing.by=paint: must be as-gan or jitter"),
        ("aifl.invariance=-1", "aifl.invariance=-1.0: must be a finite number"),
        ("aifl.memory=0", "aifl.memory=0"),
        ("redressing.copies=-1", "redressing.copies=-1: must not be below 0"),
        ("redressing.share=2", "redressing.share=2.0: must lie between"),
        ("redressing.enters_after=9", "must be at least 0 and not above full_after"),
        ("loss.triplet=0.5", "loss: is of the baseline; set the weights of aifl"),
    ],
)
def test_a_recipe_that_makes_no_sense_is_refused(change: str, message: str) -> None:
    with pytest.raises(UsageProblem, match=message):
        with_overrides(AIFL, [change]).check()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("optim.batch=1", "optim.batch=1: must be at least 2"),
        ("optim.lr=inf", "optim.lr=inf: must be a finite number"),
        ("loss.mask_share=2", "loss.mask_share=2.0: must lie between"),
        ("scales=4", "scales=4: too many for 16 px"),
        ("device=tpu", "device=tpu: must be cpu or cuda"),
    ],
)
def test_an_as_gan_that_makes_no_sense_is_refused(change: str, message: str) -> None:
    with pytest.raises(UsageProblem, match=message):
        with_overrides(GAN, [change]).check()


STUDY = replace(
    AIFLStudy(gan=GAN, aifl=AIFL), people=4, strangers=2, judged=4, images=2, cameras=2, groups=3, baseline_epochs=3
)


def test_people_of_a_study_never_meet() -> None:
    parts = [STUDY.learned_from(0), STUDY.unknown(0), replace(STUDY, part="choose").judged_on(0), STUDY.judged_on(0)]
    people = [set(range(each.first, each.first + each.people)) for each in parts]
    assert sum(map(len, people)) == len(set().union(*people)) == 14


def test_rows_differ_in_what_they_say_and_in_nothing_else() -> None:
    rows = rows_of(STUDY)
    base = rows[BASELINE]
    for row in rows.values():
        same = ("network", "precision", "batch", "optim", "augmentation")
        assert all(getattr(row, name) == getattr(base, name) for name in same)
    assert base.loss == STUDY.baseline_loss
    assert rows["no-triplets"] == replace(AIFL, aifl=replace(AIFL.aifl, triplet=0.0))
    assert rows["jitter"] == replace(AIFL, redressing=replace(AIFL.redressing, by=JITTER))
    assert rows[ORACLE] == AIFL and set(rows) == set(WORDS)


def test_rows_are_chosen_by_name_beside_those_of_the_gates() -> None:
    assert set(chosen_rows(STUDY, ())) == {BASELINE, "jitter", "aifl"}
    assert set(chosen_rows(STUDY, ["no-triplets"])) == {BASELINE, "jitter", "aifl", "no-triplets"}
    assert set(chosen_rows(STUDY, ["all"])) == set(WORDS)
    with pytest.raises(UsageProblem, match="--rows no-clothes: no such row; there are all, augmentation, no-invari"):
        chosen_rows(STUDY, ["no-clothes"])


def test_rows_begin_with_the_baseline_or_with_fresh_weights(gan: ASGAN, tmp_path: Path) -> None:
    people = people_of(STUDY, 0)
    rows = rows_of(STUDY)
    baseline, _ = trained_row(BASELINE, rows[BASELINE], STUDY, people, 0, None, tmp_path, lambda report: None)
    still = with_overrides(rows["aifl"], ["optim.lr=0", "optim.lr_end=0", "optim.weight_decay=0"])
    for begins in (True, False):
        study = replace(STUDY, from_baseline=begins)
        model, _ = trained_row("aifl", still, study, people, 0, (baseline, gan), tmp_path, lambda report: None)
        pairs = zip(model.parameters(), baseline.parameters(), strict=True)
        assert all(torch.equal(own, other) for own, other in pairs) == begins


def test_gates_are_of_means_and_differences_of_pairs() -> None:
    def run(changed: float, same: float, apparel: float) -> dict[str, float]:
        figures = {"changed_clothes_rank1": changed, "same_clothes_rank1": same, "redressed_drop": same - changed}
        return {**figures, "probe_apparel": apparel, "probe_identity": 0.5}

    found = {
        "baseline": [run(0.1, 0.9, 0.8), run(0.3, 0.9, 0.8)],
        "jitter": [run(0.2, 0.9, 0.8), run(0.2, 0.9, 0.8)],
        "aifl": [run(0.3, 0.9, 0.4), run(0.4, 0.88, 0.4)],
    }
    check = {"obedience": 0.9, "obedience_5th_percentile": 0.5, "histogram_agrees_with_donor": 0.7}
    gates = gates_of(
        found, [{**check, "locality": 0.01, "identity_agreement": 0.95, "frechet": 1.0, "frechet_of_stargan": 2.0}] * 2
    )
    by = {gate["name"]: gate for gate in gates}
    assert by["baseline, changed clothes, rank-1"]["got"] == "0.200 ± 0.141"
    assert by["AIFL over the baseline, changed clothes"]["got"] == "0.150 ± 0.071"
    passed = [gate["passed"] for gate in gates]
    assert passed == [True, True, True, False, False, True, True, True, False, True, True, True, True, None]
    below = {"value": -0.05, "low": -0.09, "high": -0.01}
    for high, verdict in ((-0.01, False), (0.0, True)):
        real = {"above_baseline": {"usual": {"map": below | {"high": high}}}}
        star, last = gates_of(found, [{**check, "locality": 0.01, "identity_agreement": 0.95}] * 2, real)[-2:]
        assert (star["got"], star["passed"]) == ("not run", None)
        assert last["passed"] is verdict and last["got"].startswith("-0.050 (-0.090 to ")


@pytest.mark.long
def test_the_command_writes_page_pictures_and_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGHTLINE_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("jobs.recipes.aifl_study.AIFLStudy", lambda: STUDY)
    options = ["aifl", "--seeds", "1", "--rows", "all", "--report", str(tmp_path / "report"), "--json", "-"]
    done = CliRunner().invoke(evaluate, options)
    assert done.exit_code in (0, 1), done.output
    figures = json.loads((tmp_path / "report" / "report.json").read_text())
    assert json.loads(done.stdout) == figures
    assert set(figures["figures"]) == set(rows_of(STUDY))
    page = (tmp_path / "report" / "index.html").read_text()
    assert page.count("data:image/png;base64,") == 3 and "One seed says nothing of the spread" in page
    assert {path.name for path in (tmp_path / "report").glob("*.png")} == {"dolls.png", "dressed.png", "wardrobe.png"}
    assert done.exit_code == int(any(gate["passed"] is False for gate in figures["gates"]))


def test_a_study_is_gone_on_with_and_two_seeds_have_a_spread(tmp_path: Path) -> None:
    first = evaluate_aifl(STUDY, work=tmp_path, seeds=1)
    steps: list[str] = []
    epochs: list[int] = []
    report = evaluate_aifl(
        STUDY, work=tmp_path, seeds=2, on_step=steps.append, on_epoch=lambda each: epochs.append(each.epoch)
    )
    assert len(steps) == 10 and epochs == [1, 2, 3] * 4, "the second seed alone is trained"
    figure = report["figures"]["aifl"]["changed_clothes_rank1"]
    assert figure["each"][0] == first["figures"]["aifl"]["changed_clothes_rank1"]["mean"]
    assert figure["mean"] == pytest.approx(np.mean(figure["each"]), abs=1e-4)
    print_aifl(report)
    page = aifl_page(report, {})
    assert "2 seeds, each with its own dolls" in page
    assert page.count("not run") == len(WORDS) - 3 + 1, "rows that were not trained, and a gate"
    broken = next(tmp_path.glob("aifl-*/weights.safetensors"))
    broken.write_bytes(b"half")
    with pytest.raises(UsageProblem, match="not what a training left"):
        evaluate_aifl(STUDY, work=tmp_path, seeds=2)


def test_on_real_crops_nobody_is_judged_who_was_learned_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = replace(STUDY, real_epochs=1)
    met: list[tuple[set[int], set[int]]] = []

    def watched(row: str, recipe: ReID, study: AIFLStudy, people: People, *rest: object) -> object:
        assert recipe.optim.epochs == 1
        met.append((set(people.train.people.tolist()), set(people.judged.people.tolist())))
        return trained_row(row, recipe, study, people, *rest)  # type: ignore[arg-type] # as they come

    monkeypatch.setattr("jobs.reid.aifl_real.trained_row", watched)
    found = evaluate_on_real(study, "simulator:dolls?people=6&cameras=2&images=2", work=tmp_path, folds=2)
    assert all(not learned & judged and len(learned | judged) == 6 for learned, judged in met)
    assert set.union(*(judged for _, judged in met)) == set(range(6)) and len(met) == 4
    apart = found["above_baseline"]["usual"]["map"]
    gap = found["figures"]["aifl"]["usual"]["map"]["value"] - found["figures"][BASELINE]["usual"]["map"]["value"]
    assert apart["value"] == pytest.approx(gap, abs=2e-4) and apart["low"] <= apart["value"] <= apart["high"]
    run = {"mean": 0.5, "sd": 0.0, "each": [0.5]}
    rows = {row: {figure: run for figure in FIGURES} for row in (BASELINE, "jitter", "aifl")}
    report = {"study": asdict(study), "seeds": 1, "rows": WORDS, "figures": rows, "gan": {}, "gates": [], "real": found}
    page = " ".join(aifl_page(report, {}).split())
    assert "6 people in 2 folds, 1 epochs" in page and "AIFL above the baseline" in page


def test_a_study_of_two_sizes_is_refused(tmp_path: Path) -> None:
    gan = replace(GAN, network=ASGANConfig(height_px=64, width_px=32))
    with pytest.raises(UsageProblem, match="height_px and width_px must be the same"):
        evaluate_aifl(replace(STUDY, gan=gan), work=tmp_path)
    with pytest.raises(UsageProblem, match="part=all: must be choose or report"):
        evaluate_aifl(replace(STUDY, part="all"), work=tmp_path)
