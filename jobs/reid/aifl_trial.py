"""One row of the study of AIFL trained for one seed, and the AS-GAN that it needs: kept in a folder, gone on with."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from jobs.checkpoints import Checkpoints
from jobs.errors import UsageProblem
from jobs.files import draft_of
from jobs.recipes.aifl_study import BASELINE, ORACLE, AIFLStudy, rows_of
from jobs.recipes.reid import ReID
from jobs.recipes.reid_aifl import JITTER, ReIDAIFL
from jobs.reid.aifl_learner import AIFLLearner
from jobs.reid.crops import CropSet
from jobs.reid.dolls import Dolls, doll_crops
from jobs.reid.fit import fit
from jobs.reid.fit_as_gan import fit_as_gan, what_decides
from jobs.reid.fit_stargan import fit_stargan
from jobs.reid.learner import Learner, computing_in
from jobs.reid.redress import ASGANDresser, Dresser, JitterDresser, Redressed, wearers_of
from jobs.task import OnEpoch
from models.as_gan import ASGAN
from models.bnneck import PersonEmbedder
from models.stargan import StarGAN, StarGANConfig

_LENDERS = 8  # whose clothes a doll can be seen in, itself the first


class People(NamedTuple):
    """The crops of a seed."""

    train: CropSet
    strangers: CropSet
    judged: CropSet
    otherwise: CropSet  # those who are judged, in the same pictures in other clothes


def people_of(study: AIFLStudy, seed: int) -> People:
    """Drawn, of the study's size.

    Raises:
        UsageProblem: numbers of dolls that make no sense.
    """
    size = {"height_px": study.aifl.network.height_px, "width_px": study.aifl.network.width_px}
    judged = study.judged_on(seed)
    return People(
        doll_crops(study.learned_from(seed), **size),
        doll_crops(study.unknown(seed), **size),
        doll_crops(judged, **size),
        doll_crops(replace(judged, first_outfit=study.outfits), **size),
    )


class SimulatedDresser:
    """By the simulator: the same pictures in what other dolls of the set wear.

    Of a wardrobe of one's own a network would learn which few outfits are whose, and no more than that.
    """

    def __init__(self, encoder: ASGANDresser, dolls: tuple[Dolls, ...], *, height_px: int, width_px: int) -> None:
        self._encoder = encoder
        self._place: dict[bytes, tuple[int, int]] = {}
        self._others: list[Tensor] = []  # of each set of dolls: (lenders, N, 3, H, W)
        for number, each in enumerate(dolls):
            worn = [
                doll_crops(replace(each, lent=lent), height_px=height_px, width_px=width_px).images
                for lent in range(_LENDERS)
            ]
            self._others.append(torch.stack(worn))
            self._place |= {image.numpy().tobytes(): (number, row) for row, image in enumerate(worn[0])}

    def worn(self, images: Tensor) -> Tensor:
        """As the encoder sees it."""
        return self._encoder.worn(images)

    def dressed(self, images: Tensor, chance: torch.Generator, who: Tensor | None = None) -> Redressed:
        """Crops that were drawn by these dolls, in any other clothes than their own."""
        wearers, place = wearers_of(images, who)
        lender = torch.randint(1, _LENDERS, (wearers,), generator=chance)[place].tolist()
        places = [self._place[image.numpy().tobytes()] for image in images]
        made = torch.stack([self._others[n][o, row] for o, (n, row) in zip(lender, places, strict=True)])
        return Redressed(made, self.worn(made))


def trained_gan(
    study: AIFLStudy, people: People, seed: int, identity: PersonEmbedder, work: Path, on_epoch: OnEpoch
) -> tuple[ASGAN, dict[str, float]]:
    """The AS-GAN of a seed, from those who are learned from, and how its training went.

    Raises:
        UsageProblem, CheckpointError: as of `fit_as_gan`.
    """
    recipe = replace(study.gan, seed=seed)
    folder, digest = _folder(work, "gan", _decides_gan(study, people, seed))

    def fitted() -> tuple[nn.Module, dict[str, float]]:
        began = time.monotonic()
        found = fit_as_gan(
            people.train, recipe, identity=identity, on_epoch=on_epoch, checkpoints=Checkpoints(folder, digest)
        )
        return found.model(), {"train_s": time.monotonic() - began, **found.best.terms}

    model = recipe.network.build()
    facts = _kept(folder, model, fitted)
    return model.eval(), facts


def trained_stargan(study: AIFLStudy, people: People, seed: int, work: Path) -> StarGAN:
    """The StarGAN that the AS-GAN of a seed is compared with.

    Raises:
        UsageProblem: as of `fit_stargan`.
    """
    recipe = replace(study.gan, seed=seed)
    folder, _ = _folder(work, "stargan", [what_decides(recipe), study.groups, people.train.fingerprint])

    def fitted() -> tuple[nn.Module, dict[str, float]]:
        began = time.monotonic()
        found = fit_stargan(people.train, recipe, groups=study.groups)
        return found, {"train_s": time.monotonic() - began}

    width, blocks = 2 * recipe.network.width, recipe.network.blocks
    model = StarGANConfig(study.groups, width, blocks).build()
    _kept(folder, model, fitted)
    return model.eval()


def trained_row(
    row: str,
    recipe: ReID,
    study: AIFLStudy,
    people: People,
    seed: int,
    begun: tuple[PersonEmbedder, ASGAN] | None,
    work: Path,
    on_epoch: OnEpoch,
) -> tuple[PersonEmbedder, dict[str, float]]:
    """The embedding of a row for a seed, and how its training went.

    Args:
        row: its name.
        recipe: of `rows_of`.
        study: of which it is a row.
        people: of the seed.
        seed: of everything.
        begun: the baseline and the AS-GAN of the seed; None for the baseline itself.
        work: folder of all trainings.
        on_epoch: told after every epoch.

    Raises:
        UsageProblem, CheckpointError: as of `fit`.
    """
    recipe = replace(recipe, seed=seed)
    told: list[Any] = [row == ORACLE, asdict(recipe), people.train.fingerprint]
    if begun is not None:
        told += [_decides_gan(study, people, seed), people.strangers.fingerprint, study.from_baseline]
    folder, digest = _folder(work, row, told)

    def fitted() -> tuple[nn.Module, dict[str, float]]:
        learner: Callable[[CropSet], Learner] | None = None
        if isinstance(recipe, ReIDAIFL):
            assert begun is not None  # of every row but the baseline
            baseline, gan = begun
            dresser = _dresser(row, recipe, study, gan, seed)
            settled = recipe

            def aifl(train: CropSet) -> Learner:
                made = AIFLLearner(train, people.strangers.images, settled, dresser)
                if study.from_baseline:
                    made.embedder.load_state_dict(baseline.state_dict())
                return made

            learner = aifl
        began = time.monotonic()
        nobody = people.train.of([])
        found = fit(
            people.train, nobody, recipe, learner=learner, on_epoch=on_epoch, checkpoints=Checkpoints(folder, digest)
        )
        return found.model(), {"train_s": time.monotonic() - began, "train_loss": found.best.train_loss}

    model = recipe.network.build()
    facts = _kept(folder, model, fitted)
    return model.eval(), facts


def _dresser(row: str, recipe: ReIDAIFL, study: AIFLStudy, gan: ASGAN, seed: int) -> Dresser:
    size = {"height_px": recipe.network.height_px, "width_px": recipe.network.width_px}
    by_gan = ASGANDresser(gan, **size, device=recipe.device, dtype=computing_in(recipe))
    if row == ORACLE:
        return SimulatedDresser(by_gan, (study.learned_from(seed), study.unknown(seed)), **size)
    return JitterDresser(by_gan, recipe.redressing.jitter) if recipe.redressing.by == JITTER else by_gan


def _decides_gan(study: AIFLStudy, people: People, seed: int) -> list[Any]:
    """What decides the weights of the AS-GAN: its recipe, and that of the baseline whose view of a head it keeps."""
    baseline = replace(rows_of(study)[BASELINE], seed=seed)
    return [what_decides(replace(study.gan, seed=seed)), asdict(baseline), people.train.fingerprint]


def _folder(work: Path, name: str, told: Any) -> tuple[Path, str]:
    digest = hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()
    folder = work / f"{name}-{digest[:16]}"
    folder.mkdir(parents=True, exist_ok=True)
    return folder, digest


def _kept(folder: Path, model: nn.Module, fitted: Callable[[], tuple[nn.Module, dict[str, float]]]) -> dict[str, float]:
    """Fill the model with the weights that are there, or with what is trained now; how the training went."""
    file, facts_file = folder / "weights.safetensors", folder / "facts.json"
    if not file.exists():
        found, facts = fitted()
        facts_file.write_text(json.dumps(facts))
        with draft_of(file) as draft:
            draft.write_bytes(save({name: value.contiguous() for name, value in found.state_dict().items()}))
        (folder / "checkpoint.safetensors").unlink(missing_ok=True)
    try:
        model.load_state_dict(load(file.read_bytes()))
        told: dict[str, float] = json.loads(facts_file.read_text())
    except (SafetensorError, RuntimeError, ValueError, OSError) as error:
        raise UsageProblem(f"{folder}: not what a training left ({error}); remove it") from None
    return told
