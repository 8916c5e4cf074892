"""What a store's pipelines are made of: the file of its zones and rules, its cameras, and the model of its people.

The file is that of `streaming.store.plan_file`, which the gateway shows and changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from jobs.errors import SettingsError, UsageProblem

if TYPE_CHECKING:
    from jobs.settings import Settings
    from streaming.cameras.definition import Camera
    from streaming.features.persons import Detect
    from streaming.identities import Appearance
    from streaming.pipeline import Pipeline
    from streaming.pipelines.person_sightings import Embed, ReleasedEmbed, Store
    from streaming.privacy.folder import KeyFolder
    from streaming.privacy.keyring import Retention
    from streaming.store.plan import StorePlan
    from streaming.store.rules import Rule


def read_store(settings: Settings) -> tuple[StorePlan, tuple[Rule, ...]]:
    """Zones and rules of the file that the settings name.

    Raises:
        SettingsError: none is named.
        UsageProblem: it cannot be read, or says what cannot be.
    """
    from streaming.store.plan import PlanProblem
    from streaming.store.plan_file import read_plan

    path = settings.store.plan
    if path is None:
        raise SettingsError(
            "store.plan is not set: name the file of the store's cameras, zones and rules, such as --set "
            "store.plan=store.toml; deploy/store.example.toml is one"
        )
    try:
        stored = read_plan(path)
    except PlanProblem as problem:
        raise UsageProblem(f"store.plan: {problem}") from None
    return stored.plan, stored.rules


@dataclass(frozen=True)
class PersonModel:
    """The embedding by which people are told apart."""

    exact: str  # NAME@VERSION
    dimensions: int
    appearance: Appearance  # what its looks say


def person_model(settings: Settings) -> PersonModel:
    """What `store.embedding` means now.

    Raises:
        ModelNotFoundError, BrokenModelError: there is no such model, or it embeds no people.
    """
    from serve.predictors.reid import appearance_of, load_reid_predictor

    predictor = load_reid_predictor(settings.models.store_roots, settings.store.embedding)
    info = predictor.info
    return PersonModel(f"{info.name}@{info.version}", info.dimensions, appearance_of(predictor))


def sightings_with(embed: Embed | ReleasedEmbed, model: PersonModel, settings: Settings) -> Pipeline:
    """The pipeline of sightings by this model, with the cameras of `cameras.toml`."""
    from streaming.privacy.folder import KeyFolder

    cameras = cameras_of(settings)
    return _sightings(embed, model, settings, cameras, KeyFolder(settings.keys_folder, retention_of(cameras)))


def replayed_sightings(settings: Settings) -> Pipeline:
    """The pipeline by a model that stays as it is, loaded.

    It seals nothing: its state goes with the process. And its tracks, which count from 1 again, must not be taken for
    live ones whose keys are destroyed.

    Raises:
        ModelNotFoundError, BrokenModelError: there is no such model, or it embeds no people.
        BadCameraFile, BadDetector: as they say.
    """
    from serve.reid import LocalEmbed
    from streaming.topics import PERSON_SIGHTINGS

    model, store, cameras = person_model(settings), settings.models.store, cameras_of(settings)
    embed = LocalEmbed(store, model.exact, dimensions=model.dimensions, store_must_exist=Path(store).is_dir())
    embed.describe()
    pipeline = _sightings(embed, model, settings, cameras, keys=None)
    return replace(pipeline, sink=retention_of(cameras).bounded(PERSON_SIGHTINGS))


def _sightings(
    embed: Embed | ReleasedEmbed,
    model: PersonModel,
    settings: Settings,
    cameras: Sequence[Camera],
    keys: KeyFolder | None,
) -> Pipeline:
    from streaming.pipelines.person_sightings import person_sightings

    return person_sightings(
        embed,
        model.dimensions,
        store=store_of(cameras),
        detect=detector(settings),
        appearance=model.appearance,
        keys=keys,
        max_age_s=settings.store.max_age_s,
    )


def cameras_of(settings: Settings) -> Sequence[Camera]:
    """Of `cameras.toml`; none where it is not named. Raises BadCameraFile: as `read_cameras`."""
    from jobs.camera_book import read_cameras

    path = settings.store.cameras
    return read_cameras(path) if path is not None else ()


def detector(settings: Settings) -> Detect:
    """What finds people in frames whose camera has not.

    Raises:
        BadDetector: the file that the settings name is not there, or holds no network of that layout.
    """
    import numpy as np

    from streaming.features.onnx_detectors import LAYOUTS, OnnxPersonDetector
    from streaming.features.person_detectors import HogPersonDetector

    chosen = settings.store
    if chosen.detector is None:
        return HogPersonDetector()
    layout = LAYOUTS[chosen.detector_layout]
    if chosen.detector_side_px is not None:
        layout = replace(layout, side_px=chosen.detector_side_px)
    found = OnnxPersonDetector(chosen.detector, layout, person=chosen.detector_person)
    found([np.zeros((32, 32, 3), np.uint8)])  # a file that will not do is said now
    return found


def store_of(cameras: Sequence[Camera]) -> Store:
    """What the cameras say of the store: those that are calibrated, and which of them see the same floor."""
    from streaming.features.floor import FloorView, overlapping
    from streaming.pipelines.person_sightings import Store

    views = {
        camera.id: FloorView(camera.homography, *camera.size)
        for camera in cameras
        if camera.homography is not None and camera.size is not None
    }
    return Store(views, overlapping(views))


def retention_of(cameras: Sequence[Camera]) -> Retention:
    """How long what is learnt from each may be kept."""
    from streaming.privacy.keyring import Retention

    return Retention({camera.id: camera.retention_days for camera in cameras})


def camera_file(settings: Settings, settings_file: Path | None) -> Path:
    """Where the cameras stand: as the settings say, else beside their file."""
    from jobs.camera_book import FILE

    return settings.store.cameras or (settings_file.parent if settings_file is not None else Path()) / FILE
