"""`sightline demo`, `sightline run` and `sightline gateway`: what keeps running until it is stopped."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobs.commands.console import (
    AsJson,
    Assignments,
    Brokers,
    emit_json,
    emit_table,
    kafka_settings,
    known_pipeline,
    loaded,
    pipeline_settings,
    say,
    seconds,
    writable_file,
)
from jobs.errors import Exit, UsageProblem

if TYPE_CHECKING:
    from jobs.settings import Settings
    from streaming.cameras.definition import Camera

log = logging.getLogger(__name__)

_CONNECT_S = 2.0  # a shopper waits for it


def demo(
    duration: Annotated[
        str | None, typer.Option("--for", metavar="DURATION", help="Stop after 60s, 5m, …; default: at Ctrl-C.")
    ] = None,
    report: Annotated[Path | None, typer.Option(help="Write the measured figures here as JSON; - for stdout.")] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Of the pages; 0 takes a free one. Default: 8600.")
    ] = None,
    replay: Annotated[
        list[Path] | None,
        typer.Option(
            help="Real matches: a Riot timeline, OpenDota tables, a per-minute gold table. With --store: a clip, each "
            "a camera; repeatable. With --shop: clicks as of yoochoose or Diginetica, whose last day is streamed."
        ),
    ] = None,
    any_map: Annotated[
        bool, typer.Option("--any-map", help="With --replay: Riot timelines of other maps than Summoner's Rift, too.")
    ] = False,
    speed: Annotated[float | None, typer.Option(help="Seconds of game, or of the shop, per second.")] = None,
    matches: Annotated[int | None, typer.Option(min=1, help="Matches on air at a time; default 8.")] = None,
    title: Annotated[
        list[str] | None, typer.Option(help="Simulate only this title: lol, dota2, hok. Repeatable.")
    ] = None,
    loop: Annotated[
        bool,
        typer.Option(
            "--loop",
            help="Show how a model is replaced: a patch, drift, training as a Ray job, gate, swap. Some minutes; exit "
            "code 1 where a step does not come, or an answer is missing or doubled.",
        ),
    ] = False,
    store: Annotated[
        bool, typer.Option("--store", help="Show a store instead of matches: cameras, who is where, counts, alerts.")
    ] = False,
    shop: Annotated[
        bool,
        typer.Option(
            "--shop",
            help="Show a shop instead of matches: shoppers, what each is offered and why. Exit code 1 where a view has "
            "no answer or two, an item no reason, or one was offered that could not be had.",
        ),
    ] = False,
    as_json: AsJson = False,
    assignments: Assignments = None,
) -> None:
    """Show it all on this machine: broker, Ray, model, pipeline and pages, with matches, a store or a shop to watch.

    Nothing is left running when it ends. It has a Kafka, a Ray and schemas of its own: what is set about real ones does
    not count here.

    Example: sightline demo --replay timeline.json --speed 60
    """
    from jobs.demo import DemoOptions, run_demo
    from streaming.features.catalogue import titles

    unknown = [name for name in title or () if name not in titles()]
    if unknown:
        raise UsageProblem(f"--title {unknown[0]}: unknown; there are: {', '.join(titles())}")
    if speed is not None and not 0.0 < speed <= 10_000.0:
        raise UsageProblem(f"--speed {speed:g}: must be above 0 and at most 10000")
    if any_map and replay is None:
        raise UsageProblem("--any-map is about --replay PATH: give both, or neither")
    writable_file(report, "--report")
    if as_json and not (loop or store or shop):
        raise UsageProblem("--json is about --loop, --store and --shop; other figures are written with --report")
    of_matches = any(each is not None for each in (speed, matches, title)) or any_map
    if shop:
        if matches is not None or title is not None or any_map or loop or store:
            raise UsageProblem("--shop has no matches: leave out --matches, --title, --any-map, --loop and --store")
        if len(replay or ()) > 1:
            raise UsageProblem("--shop replays one file of clicks, or a folder of them: give one --replay")
        shown_s = seconds(duration) if duration else None
        settings = loaded(assignments, {"gateway.port": (port, "--port")}).settings
        _shop(shown_s, report, replay[0] if replay else None, speed, as_json, settings)
        return
    if store:
        if of_matches or loop:
            raise UsageProblem("--store has no matches: leave out --speed, --matches, --title, --any-map and --loop")
        shown_s = seconds(duration) if duration else None
        settings = loaded(assignments, {"gateway.port": (port, "--port")}).settings
        _store(shown_s, report, replay or [], as_json, settings)
        return
    if loop:
        if of_matches or duration is not None or replay is not None:
            raise UsageProblem("--loop is one scenario: give no option but --report, --json, --port and --set")
        _loop(report, as_json, loaded(assignments, {"gateway.port": (port, "--port")}).settings)
        return
    if len(replay or ()) > 1:
        raise UsageProblem("--replay is one PATH of matches, which may be a folder; with --store it is repeatable")
    given: dict[str, Any] = {"duration_s": seconds(duration) if duration else None, "speed": speed, "matches": matches}
    given |= {"titles": tuple(title) if title else None}
    chosen = {name: value for name, value in given.items() if value is not None}
    options = replace(DemoOptions(report=report, replay=replay[0] if replay else None, any_map=any_map), **chosen)
    run_demo(options, loaded(assignments, {"gateway.port": (port, "--port")}).settings, say)


def _store(
    duration_s: float | None, report: Path | None, replay: list[Path], as_json: bool, settings: Settings
) -> None:
    from jobs.store_demo.demo import StoreDemoOptions, run_store_demo
    from jobs.store_demo.report import table

    found = run_store_demo(StoreDemoOptions(duration_s, report, tuple(replay)), settings, say)
    if str(report) == "-":  # where the same is written already
        return
    if as_json:
        emit_json(found)
    else:
        emit_table(("", ""), table(found))


def _shop(
    duration_s: float | None,
    report: Path | None,
    replay: Path | None,
    speed: float | None,
    as_json: bool,
    settings: Settings,
) -> None:
    from jobs.shop_demo.demo import ShopDemoOptions, run_shop_demo
    from jobs.shop_demo.report import kept, table

    found = run_shop_demo(ShopDemoOptions(duration_s, report, replay, speed), settings, say)
    if str(report) != "-":  # where the same is written already
        if as_json:
            emit_json(found)
        else:
            emit_table(("", ""), table(found))
    if not kept(found):
        raise typer.Exit(Exit.FAILED)


def _loop(report: Path | None, as_json: bool, settings: Settings) -> None:
    from jobs.loop.demo import LoopOptions, run_loop
    from jobs.loop.report import table

    found = run_loop(LoopOptions(report=report), settings, say)
    if as_json:
        emit_json(found)
    else:
        emit_table(("", ""), table(found))
    if not found["passed"]:
        raise typer.Exit(Exit.FAILED)


def run(
    pipeline: Annotated[
        str, typer.Argument(help="win-prediction, person-sightings, store-metrics, store-alerts or recommendations.")
    ],
    ray_address: Annotated[str | None, typer.Option(help="Of a running Ray cluster; RAY_ADDRESS does as well.")] = None,
    brokers: Brokers = None,
    runner: Annotated[
        str | None, typer.Option(help="micro_batch (default; Ray Data and Serve) or continuous (milliseconds).")
    ] = None,
    shadow: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            help="NAME@ALIAS or NAME@VERSION of a candidate: answer by it beside the pipeline that runs, into a topic "
            "of its own, for `sightline models shadow`.",
        ),
    ] = None,
    assignments: Assignments = None,
) -> None:
    """Run a pipeline on your Kafka and Ray until SIGTERM or Ctrl-C; nothing is left half done.

    person-sightings makes sightings of people of camera frames; store-metrics and store-alerts count and watch by them,
    as the file of store.plan says. recommendations answers every view of a shopper's session with what to offer next.

    A shadow has its own group, state and topic: the pipeline that runs does not notice it, where machines have room for
    both. It begins at the earliest event that is still there.

    Example: sightline run win-prediction --brokers broker:9092 --ray-address auto
    """
    from jobs.logs import log_as_json
    from jobs.run import run_pipeline

    known_pipeline(pipeline)
    given = {
        "ray.address": (ray_address, "--ray-address"),
        "pipeline.runner": (runner, "--runner"),
    }
    settings = pipeline_settings(assignments, brokers, given)
    settings.kafka.connection()  # an address that is not set is said at once, not after Ray has started
    log_as_json(secrets=settings.secrets())
    run_pipeline(pipeline, settings, shadow)


def gateway(
    host: Annotated[
        str | None, typer.Option(help="Address to listen on; for others than this machine with tokens or gateway.open.")
    ] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="0 takes a free one.")] = None,
    brokers: Brokers = None,
    as_json: AsJson = False,
    assignments: Assignments = None,
) -> None:
    """Serve the pages, the interface for programs, and /metrics, until Ctrl-C.

    Example: sightline gateway --port 8600
    """
    from jobs.camera_book import BadCameraFile, read_cameras
    from jobs.logs import log_as_json
    from jobs.store import camera_file
    from serve.gateway.reader import Feed, Feeds, ShopFeeds, StoreFeeds
    from serve.gateway.run import serve_gateway
    from serve.gateway.store.service import StoreFiles
    from streaming.codec import Decoder
    from streaming.kafka.publisher import Publisher
    from streaming.kafka.source import KafkaSource
    from streaming.sessions.publishing import KafkaEvents
    from streaming.topics import (
        CAMERA_FRAMES,
        ITEM_CATALOGUE,
        MATCH_EVENTS,
        MATCH_INSIGHTS,
        PERSON_SIGHTINGS,
        PIPELINE_STATUS,
        SESSION_RECOMMENDATIONS,
        STORE_ALERTS,
        STORE_METRICS,
        USER_SESSIONS,
        Topic,
    )

    given = {
        "gateway.host": (host, "--host"),
        "gateway.port": (port, "--port"),
    }
    settings = kafka_settings(assignments, brokers, given)
    log_as_json(secrets=settings.secrets())

    kafka, registry = settings.kafka.connection(), settings.registry.open()

    def feed(topic: Topic) -> Feed:
        assert topic.schema is not None
        return Feed(KafkaSource(kafka, topic.name, ""), Decoder(topic.schema, registry).decode)

    def ready(url: str) -> None:
        if as_json:
            emit_json({"url": url})
        else:
            typer.echo(url)
        if settings.gateway.ready_file is not None:
            settings.gateway.ready_file.write_text(url, encoding="utf-8")

    store, files = None, None
    if settings.store.plan is not None:
        frames = feed(CAMERA_FRAMES) if settings.gateway.show_frames else None
        store = StoreFeeds(feed(STORE_METRICS), feed(STORE_ALERTS), feed(PERSON_SIGHTINGS), frames)
        book = camera_file(settings, loaded(assignments).file)

        def cameras() -> Sequence[Camera]:
            try:
                return read_cameras(book)
            except BadCameraFile as wrong:  # whose cameras state no purpose now: no picture, but all else goes on
                log.error("%s", wrong)
                return ()

        files = StoreFiles(settings.store.plan, cameras)
    with ExitStack() as undo:
        shop = None
        if settings.gateway.shop:
            publisher = undo.enter_context(closing(Publisher(kafka, max_block_s=_CONNECT_S)))
            catalogue = KafkaSource(kafka, ITEM_CATALOGUE.name, "")
            answers, shoppers = feed(SESSION_RECOMMENDATIONS), feed(USER_SESSIONS)
            shop = ShopFeeds(catalogue, answers, shoppers, registry, KafkaEvents(publisher))
        feeds = Feeds(feed(MATCH_INSIGHTS), feed(MATCH_EVENTS), feed(PIPELINE_STATUS), store, shop)
        serve_gateway(feeds, settings.gateway, ready, files)
