"""The pipelines that `sightline run` knows, and what each is made of: its definition, its model, how much it may hold.

A model answers on Ray Serve for the micro-batch runner, and in the worker's own process for the continuous one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from jobs.errors import UsageProblem
from streaming.topics import is_shadow

if TYPE_CHECKING:
    from jobs.settings import Settings
    from serve.app import AppKeeper, ReplicaApp
    from serve.releases import Following
    from streaming.insights.narrator import Narrator
    from streaming.kafka.settings import KafkaSettings
    from streaming.pipeline import Pipeline
    from streaming.pipelines.win_prediction import Arrays, Prediction

    Matches = Following[Arrays, Prediction]

WIN_PREDICTION, PERSON_SIGHTINGS = "win-prediction", "person-sightings"
STORE_METRICS, STORE_ALERTS = "store-metrics", "store-alerts"
RECOMMENDATIONS = "recommendations"
PIPELINES = (WIN_PREDICTION, PERSON_SIGHTINGS, STORE_METRICS, STORE_ALERTS, RECOMMENDATIONS)
SHADOWED = (WIN_PREDICTION,)
"""Those that a candidate may answer beside."""

_UNANSWERED_BATCHES = 4

Described = list[dict[str, Any]]
"""Every model: title, name, version, weight_hash, trained_on."""


def nothing() -> None:
    """To close where nothing is open."""


def no_models() -> Described:
    """Of a pipeline without."""
    return []


@dataclass(frozen=True)
class Served:
    """A pipeline whose model, if it has one, answers on Ray Serve."""

    pipeline: Pipeline
    app: ReplicaApp | None = None
    keeper: AppKeeper | None = None  # of the app
    describe: Callable[[], Described] = no_models
    close: Callable[[], None] = nothing


@dataclass(frozen=True)
class Local:
    """A pipeline whose model, if it has one, answers in the process that asks."""

    pipeline: Pipeline
    load: Callable[[], Described] = no_models  # raises what keeps a model from being loaded
    describe: Callable[[], Described] = no_models
    close: Callable[[], None] = nothing


@dataclass(frozen=True)
class Holding:
    """How many records of its source a pipeline may hold."""

    batch: int
    unanswered: int


def served(name: str, settings: Settings, on_failure: Callable[[], None]) -> Served:
    """The pipeline of this name, or the shadow. Nothing is started.

    Args:
        name: of `PIPELINES`, or the shadow of one.
        settings: its models and files among them.
        on_failure: called when its model is given up.

    Raises:
        UsageProblem, SettingsError: a file that the pipeline needs is not named, or cannot be used.
        ModelNotFoundError, BrokenModelError: there is no such model.
    """
    from serve.app import AppKeeper, app_name

    if name in (STORE_METRICS, STORE_ALERTS):
        return Served(of_store(name, settings))
    kafka, section = settings.kafka.connection(), settings.serve
    app: ReplicaApp
    known = app_name(name, kafka.bootstrap_servers)
    scale: dict[str, Any] = {
        "replicas": section.min_replicas or section.replicas,
        "gpus_per_replica": section.gpus_per_replica,
    }
    if name == PERSON_SIGHTINGS:
        from jobs.store import person_model, sightings_with
        from serve.reid import FollowedEmbed, ReIDApp, ServeEmbed

        model, reference = person_model(settings), settings.store.embedding
        app = ReIDApp(known, reference, settings.models.store, dimensions=model.dimensions, **scale)
        keeper = AppKeeper(app, on_failure=on_failure)
        embed = ServeEmbed(keeper.loading)
        followed = FollowedEmbed(embed, settings.models.store_roots, reference, hints=_hints(kafka))
        return Served(sightings_with(followed, model, settings), app, keeper, embed.describe, followed.close)
    from serve.releases import Following

    if name == RECOMMENDATIONS:
        from jobs.shop import by_content_of, catalogue_of, recommendations_with
        from serve.session import ServeRecommend, SessionApp

        catalogue, models = catalogue_of(settings), settings.shop.recommenders
        content = by_content_of(settings, catalogue)
        app = SessionApp(known, models, settings.models.store, by_content=content, replicas=scale["replicas"])
        keeper = AppKeeper(app, on_failure=on_failure)
        recommend = ServeRecommend(keeper.loading, max_batch=section.max_batch)
        shop, offered = recommendations_with(recommend, catalogue, settings, _hints(kafka))
        return Served(shop, app, keeper, recommend.describe, _all(offered.close, catalogue.close))
    from serve.win import ServePredict
    from serve.win_app import WinApp

    app = WinApp(known, settings.models.titles, settings.models.store, **scale)
    keeper = AppKeeper(app, on_failure=on_failure)
    predict = ServePredict(keeper.loading, max_batch=section.max_batch)
    following = Following(predict, settings.models.store_roots, settings.models.titles, hints=_hints(kafka))
    return Served(_of_matches(name, following, settings), app, keeper, predict.describe, following.close)


def local(name: str, settings: Settings) -> Local:
    """As `served`, with the model where it is asked."""
    if name in (STORE_METRICS, STORE_ALERTS):
        return Local(of_store(name, settings))
    store = settings.models.store
    if name == PERSON_SIGHTINGS:
        from jobs.store import person_model, sightings_with
        from serve.reid import FollowedEmbed, LocalEmbed

        model, reference = person_model(settings), settings.store.embedding
        there, hints = Path(store).is_dir(), _hints(settings.kafka.connection())
        embed = LocalEmbed(store, reference, dimensions=model.dimensions, store_must_exist=there)
        followed = FollowedEmbed(embed, settings.models.store_roots, reference, hints=hints)
        return Local(sightings_with(followed, model, settings), embed.describe, followed.describe, followed.close)
    from serve.releases import Following

    hints = _hints(settings.kafka.connection())
    if name == RECOMMENDATIONS:
        from jobs.shop import by_content_of, catalogue_of, recommendations_with
        from serve.session import LocalRecommend

        catalogue, models = catalogue_of(settings), settings.shop.recommenders
        content, there = by_content_of(settings, catalogue), Path(store).is_dir()
        recommend = LocalRecommend(store, models, by_content=content, store_must_exist=there, fall_back=True)
        shop, offered = recommendations_with(recommend, catalogue, settings, hints)
        return Local(shop, recommend.describe, offered.describe, _all(offered.close, catalogue.close))
    from serve.win import LocalPredict

    predict = LocalPredict(store, settings.models.titles, store_must_exist=Path(store).is_dir(), fall_back=True)
    following = Following(predict, settings.models.store_roots, settings.models.titles, hints=hints)
    return Local(_of_matches(name, following, settings), predict.describe, following.describe, following.close)


def of_store(name: str, settings: Settings) -> Pipeline:
    """Counts or alerts by the file that the settings name; raises as `jobs.store.read_store`."""
    from jobs.store import read_store
    from streaming.pipelines.store_alerts import store_alerts
    from streaming.pipelines.store_metrics import store_metrics

    plan, rules = read_store(settings)
    return store_metrics(plan) if name == STORE_METRICS else store_alerts(plan, rules)


def outline(name: str) -> Pipeline:
    """The pipeline of this name, or the shadow, to be read and not run: source, sink, name."""
    from streaming.pipelines.person_sightings import person_sightings
    from streaming.pipelines.store_alerts import store_alerts
    from streaming.pipelines.store_metrics import store_metrics
    from streaming.store.plan import Camera, StorePlan

    if name == PERSON_SIGHTINGS:
        return person_sightings(_never_asked, 1)
    empty = StorePlan((Camera("any"),))
    if name == STORE_METRICS:
        return store_metrics(empty)
    if name == RECOMMENDATIONS:
        from streaming.pipelines.recommendations import recommendations
        from streaming.sessions.settings import LIVE

        return recommendations({LIVE: _never_asked}, None)  # type: ignore[arg-type, dict-item]
    return store_alerts(empty, ()) if name == STORE_ALERTS else definition_of(name)(_never_asked, None)  # type: ignore[arg-type]


def definition_of(name: str) -> Callable[[Matches, Narrator | None], Pipeline]:
    """Win prediction, or its shadow, given its models and its words."""
    from streaming.pipelines.win_prediction import win_prediction, win_prediction_shadow

    return win_prediction_shadow if is_shadow(name) else win_prediction


def holding(pipeline: Pipeline, settings: Settings) -> Holding:
    """How much a run may hold: by records, and of frames by far fewer of them, because they are large.

    A frame travels as its JPEG (at most `kafka.max_record_bytes`), is decoded with three others at a time (25 MB at
    1080p), and goes on as crops of at most 1.5 MB (`streaming.pipelines.person_sightings`); four batches are read and
    not committed. Of 32 frames a batch that is 192 MB of crops at the very most, and 12 MB where four people are in
    each.
    """
    from streaming.topics import CAMERA_FRAMES

    section = settings.pipeline
    if pipeline.source == CAMERA_FRAMES:
        frames = min(settings.store.max_batch_frames, section.max_batch_records)
        return Holding(frames, _UNANSWERED_BATCHES * frames)
    return Holding(section.max_batch_records, section.max_unanswered_records)


def require_shadow(name: str) -> None:
    """Raises UsageProblem for a pipeline that no candidate may answer beside."""
    if name not in SHADOWED:
        raise UsageProblem(f"--shadow: {name} has none; there is one of: {', '.join(SHADOWED)}")


def _of_matches(name: str, following: Matches, settings: Settings) -> Pipeline:
    from streaming.insights.narrator import Narrator

    return definition_of(name)(following, Narrator(settings.insights.wording))


def _all(*closes: Callable[[], None]) -> Callable[[], None]:
    def close() -> None:
        for each in closes:
            each()

    return close


def _hints(kafka: KafkaSettings) -> Any:
    from jobs.control import follow_control

    return partial(follow_control, kafka)


def _never_asked(*_: object) -> NoReturn:
    raise AssertionError("a definition is only read")
