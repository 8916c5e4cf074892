"""What AIFL does on crops of real people, beside its own baseline, fold by fold of people.

Who is judged is seen by nobody before: neither by the embedding nor by the AS-GAN of the fold. Clothes that such crops
tell nothing of are not asked for; the usual rule and that across cameras are all there is to judge by.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from jobs.intervals import RESAMPLES
from jobs.recipes.aifl_study import BASELINE, WHOLE, AIFLStudy, rows_of
from jobs.reid.aifl_trial import People, trained_gan, trained_row
from jobs.reid.crops import load_crops
from jobs.reid.evaluate import person_folds
from jobs.reid.intervals import RULES, Fold, above, figures_of
from jobs.reid.judge import judged_by
from jobs.task import OnEpoch
from models.embedding import embed

FOLDS = 3


def evaluate_on_real(
    study: AIFLStudy,
    data: str,
    *,
    work: Path,
    folds: int = FOLDS,
    resamples: int = RESAMPLES,
    on_step: Callable[[str], None] = lambda words: None,
    on_epoch: OnEpoch = lambda report: None,
) -> dict[str, Any]:
    """Figures of baseline and AIFL, and how far the one is above the other, as JSON values.

    Args:
        study: whose recipes are trained, for `real_epochs`, with the study's first seed.
        data: as of `jobs.reid.crops.load_crops`.
        work: folder for trainings that are done or begun.
        folds: of people.
        resamples: of the people, for the intervals.
        on_step: told what begins, in words.
        on_epoch: told after every epoch.

    Raises:
        UsageProblem: the crops cannot be used, or are of too few people.
        CheckpointError: as of the trainings.
    """
    study = _for_real(study)
    network, seed = study.aifl.network, study.first_seed
    crops = load_crops(data, height_px=network.height_px, width_px=network.width_px)
    recipes, done = rows_of(study), []
    for number, people in enumerate(person_folds(crops, folds=folds, seed=seed), start=1):
        own, others = crops.of(people), [each for each in crops.people if each not in people]
        meet = People(crops.of(others), crops.of([]), own, own)
        on_step(f"{crops.source}, fold {number} of {folds}: baseline, AS-GAN, AIFL")
        baseline, _ = trained_row(BASELINE, recipes[BASELINE], study, meet, seed, None, work, on_epoch)
        gan, _ = trained_gan(study, meet, seed, baseline, work, on_epoch)
        aifl, _ = trained_row(WHOLE, recipes[WHOLE], study, meet, seed, (baseline, gan), work, on_epoch)
        images = own.images.numpy()
        found = {BASELINE: judged_by(embed(baseline, images), own), WHOLE: judged_by(embed(aifl, images), own)}
        done.append(Fold(own, found, {}))
    return {
        "source": crops.source,
        "fingerprint": crops.fingerprint,
        "people": len(crops.people),
        "images": len(crops),
        "folds": folds,
        "epochs": study.real_epochs,
        "figures": {row: {rule: figures_of(done, row, rule, resamples) for rule in RULES} for row in (BASELINE, WHOLE)},
        "above_baseline": {rule: above(done, WHOLE, BASELINE, rule, resamples) for rule in RULES},
    }


def _for_real(study: AIFLStudy) -> AIFLStudy:
    """A few hundred crops make short epochs: more of them, and x̃ enters over as large a share."""
    whole, epochs = study.aifl, study.real_epochs
    stretch = epochs / whole.optim.epochs
    how = whole.redressing
    how = replace(how, enters_after=round(how.enters_after * stretch), full_after=round(how.full_after * stretch))
    aifl = replace(whole, optim=replace(whole.optim, epochs=epochs), redressing=how)
    return replace(study, aifl=aifl, baseline_epochs=epochs)
