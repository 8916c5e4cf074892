"""Judge a recipe of people on people it has not learned from: the library of `sightline evaluate reid`.

    report = evaluate_reid(replace(OSNET, data="pku.parquet"), folds=5, work=Path("work"))
    report["figures"]["trained"]["across"]["map"]["value"]

People are dealt into folds. Of each fold every crop is a query against all crops of the fold, and the network that
answers has learned from the other folds alone, for a number of epochs that is set beforehand. Beside it stand the same
network with fresh weights and a colour histogram, on the same queries and galleries. A fold that is done is kept in the
working folder and not trained again; one that was cut short goes on from its last epoch. A report is plain JSON values.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError
from safetensors.numpy import load, save

from jobs.checkpoints import Checkpoints
from jobs.errors import UsageProblem
from jobs.files import draft_of
from jobs.intervals import RESAMPLES
from jobs.recipes.reid import ReID
from jobs.reid.crops import CropSet, load_crops
from jobs.reid.fit import ReIDEpoch, fit
from jobs.reid.histogram import STRIPES, histogram_embeddings
from jobs.reid.intervals import RULES, Fold, above, figures_of
from jobs.reid.judge import judged, judged_by
from jobs.reid.task import subject
from models.embedding import embed
from models.k_reciprocal import re_ranked_among

Floats = npt.NDArray[np.float32]

TRAINED, RE_RANKED, UNTRAINED, HISTOGRAM = "trained", "re_ranked", "untrained", "histogram"


def evaluate_reid(
    recipe: ReID,
    *,
    work: Path,
    folds: int = 5,
    resamples: int = RESAMPLES,
    on_step: Callable[[str], None] = lambda words: None,
    on_epoch: Callable[[ReIDEpoch], None] = lambda report: None,
) -> dict[str, Any]:
    """The report of one recipe, as JSON values.

    Args:
        recipe: with its data. Nobody is held out to watch: what is judged is never looked at before.
        work: folder for folds that are done or begun; need not exist.
        folds: at least 2, of at least 2 people each.
        resamples: of the people, for the intervals.
        on_step: told what begins and what is done, in words.
        on_epoch: told after every epoch.

    Raises:
        UsageProblem: the recipe or the data cannot be used.
        CheckpointError: there is no room for a checkpoint, or the one that is there cannot be used.
    """
    started = time.monotonic()
    optim = replace(recipe.optim, early_stop=False)
    recipe = replace(recipe, validation=0.0, optim=optim)
    recipe.check()
    network = recipe.network
    on_step(f"reading {recipe.data}")
    crops = load_crops(recipe.data, height_px=network.height_px, width_px=network.width_px)
    if crops.cameras < 2:
        raise UsageProblem(f"{crops.source}: has one camera only, and nobody can be found again across cameras")
    parts = person_folds(crops, folds=folds, seed=recipe.seed)
    work.mkdir(parents=True, exist_ok=True)
    done = []
    for number, people in enumerate(parts, start=1):
        on_step(f"fold {number} of {folds}: {len(people)} people to judge, {len(crops.people) - len(people)} to learn")
        done.append(_fold(recipe, crops, people, work, on_epoch))
    figures = {row: {rule: figures_of(done, row, rule, resamples) for rule in RULES} for row in done[0].found}
    return {
        "data": {
            "source": crops.source,
            "fingerprint": crops.fingerprint,
            "people": len(crops.people),
            "images": len(crops),
            "cameras": crops.cameras,
        },
        "recipe": asdict(recipe),
        "parameters": sum(each.numel() for each in network.build().parameters()),
        "folds": [
            {"people": len(fold.crops.people), "images": len(fold.crops), **fold.training, "map": _maps(fold)}
            for fold in done
        ],
        "rows": {
            TRAINED: "trained on the other folds",
            RE_RANKED: "the same, re-ranked (k-reciprocal)",
            UNTRAINED: "the same network, untrained",
            HISTOGRAM: f"colour histogram, HSV of {STRIPES} stripes",
        },
        "resamples": resamples,
        "figures": figures,
        "above_histogram": {
            row: {rule: above(done, row, HISTOGRAM, rule, resamples) for rule in RULES}
            for row in figures
            if row != HISTOGRAM
        },
        "seconds": round(time.monotonic() - started, 1),
    }


def person_folds(crops: CropSet, *, folds: int, seed: int) -> list[npt.NDArray[np.int64]]:
    """Identities of each fold: everybody in exactly one, the sizes apart by one at most.

    Raises:
        UsageProblem: fewer than 2 folds, or fewer than 2 people to a fold.
    """
    people = crops.people
    if folds < 2 or len(people) < 2 * folds:
        raise UsageProblem(
            f"{folds} folds of {len(people)} people: at least 2 folds, of at least 2 people each, are needed"
        )
    return np.array_split(np.random.default_rng(seed).permutation(people), folds)


def _fold(
    recipe: ReID,
    crops: CropSet,
    people: npt.NDArray[np.int64],
    work: Path,
    on_epoch: Callable[[ReIDEpoch], None],
) -> Fold:
    own, others = crops.of(people), crops.of(np.setdiff1d(crops.people, people))
    images = own.images.numpy()
    trained, training = _trained(recipe, others, own, work, on_epoch)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        untrained = embed(recipe.network.build(), images)
    found = {
        TRAINED: judged_by(trained, own),
        RE_RANKED: judged(own, re_ranked_among(trained)),
        UNTRAINED: judged_by(untrained, own),
        HISTOGRAM: judged_by(histogram_embeddings(images), own),
    }
    return Fold(own, found, training)


def _trained(
    recipe: ReID, others: CropSet, own: CropSet, work: Path, on_epoch: Callable[[ReIDEpoch], None]
) -> tuple[Floats, dict[str, Any]]:
    """Embeddings of the fold's own crops, and how the training went; from the working folder where they are there."""
    digest = hashlib.sha256(f"{subject(recipe, others)} {own.fingerprint}".encode()).hexdigest()
    folder = work / digest[:16]
    folder.mkdir(exist_ok=True)
    file = folder / "embeddings.safetensors"
    if file.exists():
        return _kept(file, len(own))
    checkpoints = Checkpoints(folder, digest)
    fitted = fit(others, others.of([]), recipe, on_epoch=on_epoch, checkpoints=checkpoints)
    last = fitted.reports[-1]
    embeddings = embed(fitted.model(), own.images.numpy())
    facts = np.array([last.epoch, last.train_loss, last.elapsed_s])
    with draft_of(file) as draft:
        draft.write_bytes(save({"embeddings": embeddings, "training": facts}))
    checkpoints.forget()
    return _kept(file, len(own))


def _kept(file: Path, rows: int) -> tuple[Floats, dict[str, Any]]:
    try:
        kept = load(file.read_bytes())
        embeddings, (epochs, loss, seconds) = kept["embeddings"], kept["training"].tolist()
        if len(embeddings) != rows:
            raise ValueError(f"{len(embeddings)} embeddings, not {rows}")
    except (SafetensorError, KeyError, ValueError) as error:
        raise UsageProblem(f"{file}: not what a fold left ({error}); remove it") from None
    return embeddings, {"epochs": int(epochs), "train_loss": round(loss, 4), "train_s": round(seconds, 1)}


def _maps(fold: Fold) -> dict[str, dict[str, float]]:
    return {
        row: {rule: round(getattr(found, rule).mean_average_precision, 4) for rule in RULES}
        for row, found in fold.found.items()
    }
