"""A made-up store from end to end: its cameras' processes, Kafka, sightings by Ray Data and Serve and then by a worker,
and what the store counts of them."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
import simplejpeg

from jobs import run
from jobs.camera_book import MODE, to_toml
from jobs.files import write_text
from jobs.pipelines import local
from jobs.run_continuous import make_worker
from jobs.settings import Settings, load_settings
from streaming import topics
from streaming.cameras.capture import CameraProcess, CaptureConfig
from streaming.cameras.definition import Camera
from streaming.cameras.opening import source_of
from streaming.cameras.publishing import KafkaFrames
from streaming.cameras.record import FrameEncoder
from streaming.codec import Decoder, PackagedRegistry
from streaming.kafka.admin import ensure_topics, read_all
from streaming.kafka.broker import EmbeddedBroker
from streaming.kafka.publisher import Publisher
from streaming.kafka.settings import KafkaSettings
from streaming.kafka.source import KafkaSource
from streaming.runners.progress import Progress
from streaming.simulators.store.frames import FramePainter
from streaming.simulators.store.identities import draw_identities
from streaming.simulators.store.outfits import draw_outfits
from streaming.simulators.store.presets import store
from streaming.simulators.store.sightings import sightings
from streaming.simulators.store.walks import walk
from streaming.topics import Topic, identity
from tests.visible import until_visible
from tests.waiting import PATIENCE_S, wait_until

pytestmark = [
    pytest.mark.ray,
    pytest.mark.usefixtures("own_ray"),
    pytest.mark.kafka,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # Ray Data reads deprecated settings of its own
]

FPS, FRAMES, BEGIN_S = 5, 30, 40
MADE = store(2, size_px=(320, 180))


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaSettings]:
    """A broker of its own: the pipelines' topics have fixed names."""
    broker = EmbeddedBroker(Path(tmp_path_factory.mktemp("kafka")))
    try:
        settings = KafkaSettings(str(broker.start(timeout_s=PATIENCE_S).bootstrap_servers))
        ensure_topics(settings, topics.TOPICS)
        yield settings
    finally:
        broker.stop()


@pytest.fixture(scope="module")
def cameras(tmp_path_factory: pytest.TempPathFactory) -> list[Camera]:
    """The store's cameras, each with a recording of what it saw: pictures, and boxes as a smart camera sends them."""
    folder = tmp_path_factory.mktemp("cameras")
    traffic = replace(MADE.traffic, duration_s=60.0, arrivals_per_min=12.0)
    walks = walk(MADE.plan, traffic, seed=3)
    people, outfits = draw_identities(traffic.people, seed=3), draw_outfits(len(walks.visits), seed=3)
    seen = sightings(MADE.plan, MADE.cameras, people, walks.positions, fps=FPS).filter(pl.col("visible_share") > 0.3)
    made = []
    for camera in MADE.cameras:
        painter, path = FramePainter(MADE.plan, camera, people, outfits), folder / f"{camera.camera_id}.jsonl"
        with path.open("w") as lines:
            for number in range(BEGIN_S * FPS, BEGIN_S * FPS + FRAMES):
                image = painter.draw(walks.positions.filter(step=number * 10 // FPS), number)
                mine = seen.filter(camera_id=camera.camera_id, frame=number)
                boxes = mine.select("x0_px", "y0_px", "x1_px", "y1_px").rows()
                line = {"width": camera.width_px, "height": camera.height_px}
                line |= {"detections": [{"box": list(box), "score": 0.9} for box in boxes]}
                lines.write(
                    json.dumps(line | {"jpeg": base64.b64encode(simplejpeg.encode_jpeg(image)).decode()}) + "\n"
                )
        homography = tuple(tuple(row) for row in camera.homography.tolist())
        known = {"purpose": "test", "retention_days": 1, "size": (camera.width_px, camera.height_px)}
        made.append(Camera(id=camera.camera_id, source=str(path), fps=FPS, homography=homography, **known))
    return made


@pytest.fixture(scope="module")
def settings(kafka: KafkaSettings, cameras: list[Camera], tmp_path_factory: pytest.TempPathFactory) -> Settings:
    folder = tmp_path_factory.mktemp("settings")
    write_text(folder / "cameras.toml", to_toml(cameras), MODE)
    (folder / "store.toml").write_text(plan_file())
    given = {
        "home": str(folder),
        "kafka.bootstrap_servers": kafka.bootstrap_servers,
        "models.store": str(folder / "models"),
        "store.cameras": str(folder / "cameras.toml"),
        "store.plan": str(folder / "store.toml"),
        "store.max_age_s": 3600,
    }
    return load_settings({name: (value, "--set") for name, value in given.items()}).settings


def plan_file() -> str:
    named = "".join(f'[[camera]]\nname = "{camera.camera_id}"\n' for camera in MADE.cameras)
    return f"{named}[floor]\nwidth_m = {MADE.plan.width_m}\ndepth_m = {MADE.plan.depth_m}\n"


def filmed(cameras: list[Camera], kafka: KafkaSettings) -> None:
    """Every camera's process from the beginning to the end of its recording."""
    with closing(Publisher(kafka)) as publisher:
        made = [
            CameraProcess(
                camera,
                source_of(camera.source, camera.fps),
                FrameEncoder(camera, PackagedRegistry(), kafka.max_record_bytes),
                KafkaFrames(publisher),
                threading.Event(),
                config=CaptureConfig(buffer_frames=FRAMES),
            )
            for camera in cameras
        ]
        threads = [threading.Thread(target=process.run) for process in made]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE_S)
    assert [process.status.sent for process in made] == [FRAMES] * len(cameras)


@contextmanager
def running(
    work: threading.Thread, stop: threading.Event, kafka: KafkaSettings, pipeline: str, source: Topic
) -> Iterator[None]:
    """Until all that lies on the source at the end is answered."""
    work.start()
    try:
        yield
        with closing(KafkaSource(kafka, source.name, identity(pipeline))) as asked:
            wait_until(lambda: asked.committed() == asked.end_offsets() or not work.is_alive(), PATIENCE_S)
            assert asked.committed() == asked.end_offsets()
    finally:
        stop.set()
        work.join(PATIENCE_S)
    assert not work.is_alive()


def read(kafka: KafkaSettings, topic: Topic) -> pl.DataFrame:
    until_visible(kafka, topic.name)
    decoder = Decoder(topic.schema or "", PackagedRegistry())
    return pl.concat([decoder.decode(part).frame for part in read_all(kafka, topic.name).values() if len(part)])


def test_frames_become_sightings_and_sightings_become_figures(
    kafka: KafkaSettings, cameras: list[Camera], settings: Settings
) -> None:
    stopping = threading.Event()
    served = threading.Thread(
        target=run._run_by_micro_batch,  # noqa: SLF001 - what `sightline run` does once Ray is there
        args=("person-sightings", settings, stopping),
        kwargs={"shared": True},
    )
    with running(served, stopping, kafka, "person-sightings", topics.CAMERA_FRAMES):
        filmed(cameras, kafka)
    by_serve = read(kafka, topics.PERSON_SIGHTINGS).height

    def work(name: str) -> tuple[threading.Thread, threading.Event]:
        """The same pipeline by a worker, which goes on from what is committed."""
        worker, stop = make_worker(local(name, settings).pipeline, settings, kafka)(0, Progress(0)), threading.Event()
        threading.Thread(target=lambda: (stop.wait(), worker.stop()), daemon=True).start()
        return threading.Thread(target=worker.run), stop

    with running(*work("person-sightings"), kafka, "person-sightings", topics.CAMERA_FRAMES):
        filmed(cameras, kafka)
    ensure_topics(kafka, [topics.state_topic("store-metrics")])
    with running(*work("store-metrics"), kafka, "store-metrics", topics.PERSON_SIGHTINGS):
        pass

    told = read(kafka, topics.PERSON_SIGHTINGS)
    sighted = told.filter(pl.col("corrects_from_ms").is_null())
    answered = sighted.select("source_partition", "source_offset").unique()
    assert answered.height == 2 * FRAMES * len(cameras), "every frame is answered"
    once = ("source_partition", "source_offset", "frame", "track_id")  # what is told late has its own frame
    assert not sighted.select(once).is_duplicated().any(), "and once"
    assert told.height > by_serve > FRAMES
    assert sighted["model_name"].unique().to_list() == ["reid-small"]  # what a tick decides is of no frame
    assert sighted["weight_hash"].n_unique() == 1
    people = sighted.drop_nulls("person_id")
    assert people["person_id"].n_unique() >= 2
    assert people["x_m"].is_between(0, MADE.plan.width_m).mean() > 0.9

    counted = read(kafka, topics.STORE_METRICS).filter(zone_id="store")
    latest = counted.sort("revision").unique("window_start_ms", keep="last")
    assert latest["people"].max() >= 2
    assert set(latest["source_topic"]) == {"person.sightings"}
