"""Judge AIFL on paper dolls who change clothes: the library of `sightline evaluate aifl`.

    report = evaluate_aifl(AIFLStudy(), seeds=3, work=Path("work"))
    report["figures"]["aifl"]["changed_clothes_rank1"]["mean"]

Of every seed a baseline learns people in one outfit each, an AS-GAN learns to dress them anew, and AIFL learns from
both; all are judged on people whom none of them has seen, in several outfits. What is trained is kept in the working
folder, and a run that was cut short goes on. A report is plain JSON values.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from jobs.recipes.aifl_study import BASELINE, WORDS, AIFLStudy, chosen_rows
from jobs.reid.aifl_gates import gates_of
from jobs.reid.aifl_real import evaluate_on_real
from jobs.reid.aifl_trial import People, people_of, trained_gan, trained_row, trained_stargan
from jobs.reid.as_gan_checks import frechet_between, gan_checks
from jobs.reid.fit_stargan import repainted
from jobs.reid.protocols import PROTOCOLS, SAME, judged_among_look_alikes, judged_under
from jobs.reid.redress import ASGANDresser
from jobs.task import OnEpoch
from models.as_gan import ASGAN
from models.bnneck import PersonEmbedder
from models.embedding import embed
from models.metrics.probe import linear_probe
from models.wardrobe import wardrobe

Floats = npt.NDArray[np.float32]


def evaluate_aifl(
    study: AIFLStudy,
    *,
    work: Path,
    seeds: int = 3,
    rows: Sequence[str] = (),
    real: str = "",
    on_step: Callable[[str], None] = lambda words: None,
    on_epoch: OnEpoch = lambda report: None,
    on_seed: Callable[[int, ASGAN, People], None] = lambda seed, gan, people: None,
) -> dict[str, Any]:
    """The report, as JSON values.

    Args:
        study: what is trained and judged.
        work: folder for trainings that are done or begun; need not exist.
        seeds: how many, from the study's first; at least 1.
        rows: to be trained besides baseline, colour jitter and AIFL, of `jobs.recipes.aifl_study.WORDS`, or "all".
        real: crops of real people, on which AIFL and its baseline are judged fold by fold; empty: not run.
        on_step: told what begins, in words.
        on_epoch: told after every epoch.
        on_seed: given the AS-GAN and the people of every seed, for pictures.

    Raises:
        UsageProblem: the study makes no sense, there is no such row, or the crops cannot be used.
        CheckpointError: as of the trainings.
    """
    began = time.monotonic()
    study.check()
    recipes = chosen_rows(study, rows)
    found: dict[str, list[dict[str, float]]] = {row: [] for row in recipes}
    checks: list[dict[str, float]] = []
    for seed in range(study.first_seed, study.first_seed + seeds):
        people = people_of(study, seed)
        on_step(f"seed {seed}: baseline")
        baseline, facts = trained_row(BASELINE, recipes[BASELINE], study, people, seed, None, work, on_epoch)
        on_step(f"seed {seed}: AS-GAN")
        gan, gan_facts = trained_gan(study, people, seed, baseline, work, on_epoch)
        on_seed(seed, gan, people)
        checks.append({**gan_checks(gan, baseline, people.judged, people.otherwise, people.train), **_s(gan_facts)})
        if study.stargan:
            on_step(f"seed {seed}: StarGAN, to compare")
            star = repainted(trained_stargan(study, people, seed, work), people.judged, seed=0)
            checks[-1]["frechet_of_stargan"] = frechet_between(baseline, people.judged.images, star)
        for row, recipe in recipes.items():
            model = baseline
            if row != BASELINE:
                on_step(f"seed {seed}: {WORDS[row]}")
                model, facts = trained_row(row, recipe, study, people, seed, (baseline, gan), work, on_epoch)
            found[row].append({**row_figures(model, gan, people, groups=study.groups), **_s(facts)})
    figures = {row: _spread(each) for row, each in found.items()}
    gan_figures = _spread(checks)
    on_real = evaluate_on_real(study, real, work=work, on_step=on_step, on_epoch=on_epoch) if real else None
    return {
        "study": asdict(study),
        "seeds": seeds,
        "rows": WORDS,
        "figures": figures,
        "gan": gan_figures,
        "real": on_real,
        "gates": gates_of(found, checks, on_real),
        "seconds": round(time.monotonic() - began, 1),
    }


def row_figures(model: PersonEmbedder, gan: ASGAN, people: People, *, groups: int) -> dict[str, float]:
    """Every figure of one embedding on the people of one seed, by name; shares of 1."""
    judged = people.judged
    dresser = ASGANDresser(gan, height_px=model.height_px, width_px=model.width_px)
    own = embed(model, judged.images.numpy())
    figures: dict[str, float] = {}
    for protocol in PROTOCOLS:
        found = judged_under(protocol, judged, judged, own, own)
        figures |= {f"{protocol}_rank1": found.cmc(1), f"{protocol}_map": found.mean_average_precision}
    worn = dresser.worn(judged.images)
    # A query dressed anew: its right images are those that were right before, in the clothes that it wore.
    donors = dresser.worn(people.train.images)
    chance = np.random.default_rng(0)
    asked = donors[chance.integers(len(donors), size=len(judged))]
    anew = embed(model, dresser.as_asked(judged.images, asked).numpy())
    truly = embed(model, people.otherwise.images.numpy())
    for name, query in (("redressed", anew), ("redressed_by_simulator", truly)):
        figures[f"{name}_rank1"] = judged_under(SAME, judged, judged, query, own).cmc(1)
        figures[f"{name}_drop"] = figures[f"{SAME}_rank1"] - figures[f"{name}_rank1"]
    apparel = (worn / np.sqrt(2)).numpy()  # two halves of length 1
    figures["look_alike_rank1"] = judged_among_look_alikes(judged, judged, own, own, (apparel, apparel)).cmc(1)
    figures |= probes(own, people, wardrobe(worn, groups).group.numpy())
    return figures


def probes(features: Floats, people: People, clothes_group: npt.NDArray[np.int64]) -> dict[str, float]:
    """How well clothes and people are told from a feature by a line: clothes of people, people in cameras, not met."""
    judged = people.judged
    half_of_people = np.isin(judged.identity, judged.people[1::2])
    half_of_cameras = np.isin(judged.camera, np.unique(judged.camera)[1::2])
    return {
        "probe_apparel": linear_probe(features, clothes_group, half_of_people),
        "probe_identity": linear_probe(features, judged.identity, half_of_cameras),
    }


def _spread(runs: list[dict[str, float]]) -> dict[str, dict[str, Any]]:
    """Mean, standard deviation over seeds (0 of one), and each."""
    return {
        name: {
            "mean": round(float(np.mean([run[name] for run in runs])), 4),
            "sd": round(float(np.std([run[name] for run in runs], ddof=1)) if len(runs) > 1 else 0.0, 4),
            "each": [round(run[name], 4) for run in runs],
        }
        for name in runs[0]
    }


def _s(facts: dict[str, float]) -> dict[str, float]:
    return {"train_s": facts["train_s"]}
