"""The store's routes and streams: what they tell, what they refuse, who may change the plan, who is written down."""

import asyncio
import json
import time
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve.gateway.app import create_app
from serve.gateway.audit import AuditLog, AuditUnwritable
from serve.gateway.hub import Hub
from serve.gateway.pipelines import Pipelines
from serve.gateway.position import Mark, StorePosition
from serve.gateway.rows import report_rows
from serve.gateway.run import Gateway
from serve.gateway.settings import GatewaySettings
from serve.gateway.store.board import TOPICS, StoreBoard
from serve.gateway.store.looks import Looks
from serve.gateway.store.rows import Correction, Seen, metric_rows, sighting_rows
from serve.gateway.store.schemas import AlertEntry, Counts, Flows, HeatMap, Plan, SeenPerson, StoreState
from serve.gateway.store.service import StoreFiles, StoreService
from serve.gateway.store.streams import store_stream
from serve.gateway.testing import RowLog, frame_of, ready_board, status_row
from serve.gateway.tokens import TokenBook, mint, utc_now
from streaming.store.plan import PlanProblem
from streaming.store.plan_file import read_plan, to_toml
from tests.store_site import alert, configured, table
from tests.waiting import PATIENCE_S

T0 = 1_700_000_000_000


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


pytestmark = pytest.mark.anyio


@pytest.fixture
def settings(tmp_path: Path) -> GatewaySettings:
    (tmp_path / "store.toml").write_text(to_toml(table()))
    (tmp_path / "index.html").write_text("<title>built</title>")
    return GatewaySettings(pages=tmp_path, audit=tmp_path / "audit.jsonl", ready_wait_s=0.1, people_interval_s=0.001)


def metric(zone: str, window: int, offset: int, kind: str = "area", **changed):
    """A row as the board keeps it; windows are of 10 s."""
    numbers = ("people", "occupancy_max", "occupancy_end", "entered", "left", "crossed_in", "crossed_out")
    row = dict.fromkeys(numbers, 0) | {
        "zone_id": zone, "kind": kind, "window_start_ms": T0 + 10_000 * window,
        "window_end_ms": T0 + 10_000 * (window + 1), "emit_time_ms": T0 + 10_000 * (window + 1), "revision": 0,
        "occupancy_mean": 0.0, "dwell_mean_s": None, "dwell_max_s": None, "longest_s": None,
        "labels": [], "counts": [], "cells": [], "cell_s": [],
    }  # fmt: skip
    frame = pl.DataFrame([row | changed], infer_schema_length=None).with_columns(
        pl.col("window_start_ms", "window_end_ms", "emit_time_ms").cast(pl.Datetime("ms", "UTC"))
    )
    return metric_rows(frame, 0, np.array([offset]))[0]


def told(offset: int, **changed) -> tuple[Mark, AlertEntry]:
    return Mark(1, offset), AlertEntry(id=f"1-{offset}", **alert(event_time_ms=T0) | changed)


def seen(camera: str, captured_ms: int, *people: SeenPerson, frame: int = 0) -> Seen:
    return Seen(camera, captured_ms, frame, covered=False, people=people)


def somebody(track: int = 1, person: str | None = "p1", box=(10.0, 10.0, 50.0, 90.0)) -> SeenPerson:
    return SeenPerson(track_id=track, person_id=person, link_score=0.9, box=box, feet=(1.0, 2.0))


@pytest.fixture
def plan_path(tmp_path: Path) -> Path:
    return tmp_path / "store.toml"


@pytest.fixture
def pipelines() -> Pipelines:
    return Pipelines(silent_s=10, stuck_s=15)


@pytest.fixture
def service(settings, pipelines, tmp_path) -> StoreService:
    made = StoreService(settings, StoreFiles(tmp_path / "store.toml", configured), pipelines, None, T0)
    for topic in TOPICS:
        made.board.broker.read(topic, T0)
        made.board.broker.caught_up(topic)
    return made


@asynccontextmanager
async def client_of(service: StoreService | None, settings: GatewaySettings, **options):
    app = create_app(ready_board(settings), Hub(settings.max_streams), settings, service)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost", **options) as client:
        yield client


def filled(service: StoreService) -> StoreService:
    """Two minutes: three in the store; one visit came, one path was walked, heat in two cells."""
    rows = []
    for window in range(12):
        rows.append(metric("store", window, 4 * window, "store", occupancy_mean=3.0, occupancy_end=3, entered=1))
        rows.append(metric("queue-1", window, 4 * window + 1, "queue", occupancy_mean=1.0, occupancy_max=window))
        rows.append(metric("heat", window, 4 * window + 2, "heat", cells=[0, 21], cell_s=[1.0, 2.5]))
        path = {"labels": ["entrance>aisle-1>queue-1"], "counts": [2]}
        rows.append(metric("paths", window, 4 * window + 3, "paths", **path))
    service.board.apply_metrics(rows)
    service.board.apply_alerts([told(0), told(1, state="cleared")])
    service.board.apply_sightings([seen("cam-01", T0, somebody())], T0)
    return service


async def test_the_store_now(service, settings) -> None:
    async with client_of(filled(service), settings) as client:
        state = StoreState.model_validate_json((await client.get("/api/v1/store")).content)
    assert {place.zone_id: place.occupancy_end for place in state.places} == {"store": 3, "queue-1": 0}
    assert [entry.state for entry in state.alerts] == ["cleared", "raised"]
    assert state.last_id == "0-47.1-1" and state.views[0].people[0].person_id == "p1"
    assert [camera.name for camera in state.cameras] == ["cam-01", "cam-02"]
    assert state.cameras[0].size == (640, 360)


async def test_counts_heat_and_flows_are_sums_of_windows(service, settings) -> None:
    async with client_of(filled(service), settings) as client:
        asked = await client.get("/api/v1/store/counts", params={"zone": "queue-1", "step_s": 60})
        counts = Counts.model_validate_json(asked.content)
        heat = HeatMap.model_validate_json((await client.get("/api/v1/store/heat")).content)
        flows = Flows.model_validate_json((await client.get("/api/v1/store/flows?minutes=1")).content)
    assert [(point.occupancy_mean, point.occupancy_max) for point in counts.points] == [(1.0, 3), (1.0, 9), (1.0, 11)]
    assert dict(zip(heat.cells, heat.seconds, strict=True)) == {0: 12.0, 21: 30.0}
    assert (flows.visits, [path.zones for path in flows.paths]) == (12, [["entrance", "aisle-1", "queue-1"]])
    assert {(flow.origin, flow.target): flow.visits for flow in flows.flows} == {
        ("entrance", "aisle-1"): 12, ("aisle-1", "queue-1"): 12,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("path", "code", "detail"),
    [
        ("/api/v1/store/counts?zone=nowhere", 404, "no place 'nowhere'"),
        ("/api/v1/store/counts?step_s=1", 400, "step_s: Input should be greater than or equal to 10"),
        ("/api/v1/store/heat?minutes=0", 400, "minutes: Input should be greater"),
        ("/api/v1/store/events?last_id=oops", 400, "last id 'oops' is not a position such as 0-45_2-7.1-3"),
        ("/api/v1/store/cameras/none/frame", 404, "no camera 'none'"),
        (
            "/api/v1/store/cameras/cam-01/frame",
            403,
            "frames of camera cam-01 are not shown: gateway.show_frames is off",
        ),
    ],
)
async def test_refusals_are_one_line_of_json(service, settings, path, code, detail) -> None:
    async with client_of(service, settings) as client:
        response = await client.get(path)
    assert response.status_code == code and detail in response.json()["detail"]


async def test_without_a_plan_there_is_no_store(settings) -> None:
    async with client_of(None, settings) as client:
        for path in ("", "/events", "/plan", "/counts", "/heat", "/flows"):
            response = await client.get("/api/v1/store" + path)
            assert response.status_code == 404 and "store.plan" in response.json()["detail"]


async def test_a_corrected_window_replaces_the_one_before_and_an_older_revision_does_not(service) -> None:
    board = service.board
    board.apply_metrics([metric("store", 0, 0, entered=5), metric("store", 0, 1, revision=2, entered=3)])
    board.apply_metrics([metric("store", 0, 2, revision=1, entered=4)])
    assert [place.entered for place in board.newest(["store"])] == [3]
    assert [message.data.revision for message in board.after(StorePosition(), 10)] == [2]


async def test_rows_read_again_change_nothing(service) -> None:
    rows = [metric("store", 0, 7, entered=5)]
    service.board.apply_metrics(rows)
    service.board.apply_metrics([metric("store", 0, 7, entered=9)])
    assert service.board.newest(["store"])[0].entered == 5


async def test_what_is_kept_is_bounded_and_the_oldest_goes_first(settings) -> None:
    board = StoreBoard(settings.model_copy(update={"max_store_rows": 10, "max_store_alerts": 3}), T0)
    board.apply_metrics([metric("store", window, window) for window in range(25)])
    board.apply_alerts([told(offset) for offset in range(8)])
    assert [row.start_ms for row in board.rows("store", 0)] == [T0 + 10_000 * window for window in range(15, 25)]
    assert [entry.id for entry in board.alerts(10)] == ["1-7", "1-6", "1-5"]
    assert "older than what is kept" in board.missed(StorePosition.parse("0-3.1-7"))
    assert board.missed(StorePosition.parse("0-14.1-4")) is None
    board.tick(T0 + 10**9)
    assert list(board.rows("store", 0)) == []


async def test_an_identity_that_is_corrected_has_its_new_name_at_once(service) -> None:
    board = service.board
    board.apply_sightings([seen("a", T0, somebody(1, "p1")), seen("b", T0, somebody(1, "p1"))], T0)
    board.apply_sightings([Correction("p1", "p2", "a", 1)], T0)
    assert {name: view.people[0].person_id for name, view in board.views.items()} == {"a": "p2", "b": "p1"}
    board.apply_sightings([Correction("p1", "p3", None, None)], T0)
    assert board.views["b"].people[0].person_id == "p3"


async def test_a_frame_that_is_told_twice_holds_everybody_once_and_an_older_one_nobody(service) -> None:
    board = service.board
    board.apply_sightings([seen("a", T0, somebody(1)), seen("a", T0, somebody(2)), seen("a", T0, somebody(1))], T0)
    assert [person.track_id for person in board.views["a"].people] == [1, 2]
    board.apply_sightings([seen("a", T0 - 1)], T0)
    assert len(board.views["a"].people) == 2
    board.apply_sightings([seen("a", T0 - 60_000)], T0 + 60_000)  # its clock was set back
    assert board.views["a"].people == []


SIGHTING = {
    "camera_id": "a", "captured_ms": T0, "frame": 1, "track_id": 1, "x0_px": 1.0, "y0_px": 1.0, "x1_px": 5.0,
    "y1_px": 9.0, "x_m": None, "y_m": None, "person_id": None, "link_score": None, "corrects_person_id": None,
    "covered": False,
}  # fmt: skip


def sightings_of(*rows: dict) -> list[Seen | Correction]:
    frame = pl.DataFrame(list(rows), infer_schema_length=None)
    times = [name for name in ("captured_ms", "corrects_from_ms") if name in frame.columns]
    return sighting_rows(frame.with_columns(pl.col(times).cast(pl.Datetime("ms", "UTC"))))


def test_sightings_that_cannot_be_are_nobody() -> None:
    bad = [{"x1_px": 1.0}, {"y0_px": float("nan")}, {"x0_px": None}, {"person_id": "p" * 129}, {"track_id": None}]
    (told_seen,) = sightings_of(SIGHTING, *(SIGHTING | change for change in bad))
    assert isinstance(told_seen, Seen) and len(told_seen.people) == 1


def test_boxes_that_cannot_be_are_none_and_stand_with_their_frame_whoever_was_confirmed_in_it() -> None:
    good, flat, nowhere = [1.0, 2.0, 3.0, 4.0], [1.0, 2.0, 1.0, 4.0], [1.0, 2.0, float("nan"), 4.0]
    first = SIGHTING | {"found_px": [*good, *flat, *nowhere, 5.0]}
    (told_seen,) = sightings_of(first, SIGHTING | {"track_id": 2, "found_px": None})
    assert isinstance(told_seen, Seen) and told_seen.found == (tuple(good),) and len(told_seen.people) == 2


def test_a_correction_moves_a_person_or_a_track_and_may_be_about_nobody() -> None:
    nobody = {"track_id": None, "corrects_from_ms": None}
    merge = SIGHTING | nobody | {"corrects_person_id": "p1", "person_id": "p2"}
    first = SIGHTING | {"corrects_from_ms": T0, "person_id": "p2"}
    back = SIGHTING | {"corrects_from_ms": T0, "corrects_person_id": "p1"}
    half = SIGHTING | nobody | {"corrects_person_id": "p1"}
    assert sightings_of(merge, first, back, half) == [
        Correction("p1", "p2", None, None), Correction(None, "p2", "a", 1), Correction("p1", None, "a", 1),
    ]  # fmt: skip


def test_sightings_say_which_embedding_tells_people_apart(service) -> None:
    service.board.apply_sightings(sightings_of(SIGHTING | {"model_name": "reid-osnet", "model_version": "3"}), T0)
    assert service.trust(T0).embedding == "reid-osnet 3"


marks = st.dictionaries(st.integers(0, 9), st.integers(0, 10**6), max_size=5)


@given(marks, marks)
def test_a_position_reads_back_as_written(metrics: dict[int, int], alerts: dict[int, int]) -> None:
    position = StorePosition()
    for partition, offset in metrics.items():
        position = position.after_metric(Mark(partition, offset))
    for partition, offset in alerts.items():
        position = position.after_alert(Mark(partition, offset))
    assert StorePosition.parse(str(position)) == position
    assert all(position.metric_of(partition) == offset for partition, offset in metrics.items())
    assert not position.beyond(position)


@given(st.data())
def test_a_client_that_breaks_off_anywhere_gets_each_row_once(data) -> None:
    settings = GatewaySettings()
    board, got, position = StoreBoard(settings, T0), [], StorePosition()
    offset = 0
    for _ in range(data.draw(st.integers(1, 6))):
        rows = []
        for _ in range(data.draw(st.integers(0, 5))):
            rows.append(metric("store", offset, offset))
            offset += 1
        board.apply_metrics(rows)
        limit = data.draw(st.integers(1, 4))
        while messages := board.after(position, limit):
            taken = messages[: data.draw(st.integers(1, len(messages)))]
            got += [message.data.id for message in taken]
            position = StorePosition.parse(str(taken[-1].position))
    assert got == [f"0-{number}" for number in range(offset)]


async def events(service: StoreService, hub: Hub, position: StorePosition, count: int) -> list:
    stream, got = store_stream(service, hub, position), []
    async with asyncio.timeout(PATIENCE_S):
        async for message in stream:
            if message is not None:
                got.append(message)
            if len(got) >= count:
                break
    await stream.aclose()
    return got


async def test_a_stream_tells_what_was_missed_then_people_then_how_far_to_trust_it(service) -> None:
    got = await events(filled(service), Hub(10), StorePosition.parse("0-45.1-0"), 5)
    assert [message.event for message in got] == ["metric", "metric", "alert", "people", "state"]
    assert str(got[2].position) == "0-47.1-1"


async def test_a_position_of_another_kafka_is_told_to_begin_anew(service) -> None:
    got = await events(filled(service), Hub(10), StorePosition.parse("0-9999"), 2)
    assert got[0].event == "resync" and "load the store again" in got[0].data.reason
    assert got[1].event == "people", "what is kept is not sent again"


async def test_a_stream_hears_of_what_comes_later(service) -> None:
    hub = Hub(10)
    following = asyncio.create_task(events(filled(service), hub, service.board.position, 3))
    await asyncio.sleep(0)
    for bell in service.board.apply_metrics([metric("store", 20, 60)]):
        hub.ring_one(bell)
    assert "metric" in [message.event for message in await following]


async def test_the_plan_is_written_by_whoever_read_it_last_and_counted_by_who_starts_after(
    service, settings, pipelines, plan_path
) -> None:
    async with client_of(service, settings) as client:
        read = await client.get("/api/v1/store/plan")
        plan = Plan.model_validate_json(read.content)
        assert read.headers["etag"] == f'"{plan.etag}"'
        zone = {"name": "fruit", "polygon": [[1, 1], [3, 1], [3, 3]]}
        changed = plan.plan | {"zone": [*plan.plan["zone"], zone]}
        put = await client.put("/api/v1/store/plan", json=changed, headers={"if-match": read.headers["etag"]})
        assert put.status_code == 200 and put.headers["etag"] != read.headers["etag"]
        assert read_plan(plan_path).plan.zone[-1].name == "fruit"
        late = await client.put("/api/v1/store/plan", json=plan.plan, headers={"if-match": read.headers["etag"]})
        assert late.status_code == 412 and "load it again" in late.json()["detail"]
        assert (await client.put("/api/v1/store/plan", json=plan.plan)).status_code == 428
    later_ms = time.time_ns() // 1_000_000 + 60_000
    started = {"store-metrics": T0, "store-alerts": later_ms}
    pipelines.apply(
        report_rows(
            frame_of(
                [
                    status_row(T0, started_ms=at, source_topic="person.sightings", pipeline=name)
                    for name, at in started.items()
                ]
            )
        )
    )
    assert service.trust(T0).stale == ["store-metrics"]


@pytest.mark.parametrize(
    ("body", "thing", "detail"),
    [
        (b"{", None, "no JSON"),
        (b"[" * 60_000, None, "no JSON"),
        (b'{"time_zone": "\\ud800"}', None, "no JSON"),
        (b'{"leave_s": NaN, "camera": [{"name": "a"}]}', None, "leave_s is nan"),
        (b"[]", None, "not a table"),
        ({"zone": [{"name": "x", "polygon": [[0, 0], [1, 1], [1, 0], [0, 1]]}], "rule": []}, "x", "crosses itself"),
        ({"zone": [{"name": "a b", "polygon": [[0, 0], [1, "1"]]}], "rule": []}, "a b", "not a number"),
        ({"zone": []}, "queue-is-long", "there is no zone 'queue-1'"),
        ({"line": [{"name": "door", "start": [1, 1], "end": [1, 1]}]}, "door", "the same point"),
        ({"line": [{"name": "store", "start": [1, 1], "end": [1, 2]}]}, "store", "it is reserved"),
        ({"leave_s": -1}, None, "leave_s is -1"),
    ],
)
async def test_what_is_no_plan_is_refused_beside_the_shape(service, settings, plan_path, body, thing, detail) -> None:
    before = plan_path.read_bytes()
    content = body if isinstance(body, bytes) else json.dumps(table() | body).encode()
    async with client_of(service, settings) as client:
        refused = await client.put(
            "/api/v1/store/plan", content=content, headers={"if-match": service.plan.stored().etag}
        )
    assert refused.status_code == 400
    assert refused.json()["thing"] == thing and detail in refused.json()["detail"]
    assert plan_path.read_bytes() == before


async def test_the_plan_is_changed_by_admins_of_stores_alone(service, settings, tmp_path) -> None:
    book, written = TokenBook(), {}
    for scope in ("stores:read", "stores:admin", "ops:admin"):
        written[scope], kept = mint(scope.replace(":", "-"), [scope], utc_now())
        book = book.with_token(kept)
    path = tmp_path / "tokens.json"
    path.write_text(book.model_dump_json())
    path.chmod(0o600)
    async with client_of(service, settings.model_copy(update={"tokens": path})) as client:
        codes = {}
        for scope, token in written.items():
            headers = {"authorization": f"Bearer {token}", "if-match": service.plan.stored().etag}
            codes[scope] = (await client.put("/api/v1/store/plan", json=table(leave_s=3), headers=headers)).status_code
    assert codes == {"stores:read": 403, "stores:admin": 200, "ops:admin": 403}


async def test_a_plan_edited_by_hand_is_seen_and_a_broken_one_is_not(service, plan_path) -> None:
    before = service.plan.stored()
    plan_path.write_text("zone = [")
    assert service.plan.stored() == before
    plan_path.write_text(to_toml(table(leave_s=4)))
    assert service.plan.stored().plan.leave_s == 4


def test_counts_that_fall_behind_are_called_delayed_though_alerts_do_not(service, pipelines) -> None:
    now_ms = T0 + 60_000
    lags = {"store-metrics": 20.0, "store-alerts": 0.0}
    pipelines.apply(
        report_rows(
            frame_of(
                [
                    status_row(now_ms, source_topic="person.sightings", pipeline=name, lag_s=lag_s)
                    for name, lag_s in lags.items()
                ]
            )
        )
    )
    trust = service.trust(now_ms)
    assert (trust.state, trust.delay_s) == ("delayed", 20.0)


def test_a_gateway_does_not_start_without_the_plan_that_it_is_told_of(settings, tmp_path) -> None:
    gateway = Gateway(
        RowLog().feeds(), settings.model_copy(update={"port": 0}), store=StoreFiles(tmp_path / "none.toml")
    )
    with pytest.raises(PlanProblem, match=r"none\.toml: no such file or directory; write the plan of your store there"):
        gateway.serve()


async def test_looks_at_people_are_written_down_once_while_they_last(service, settings, tmp_path) -> None:
    async with client_of(service, settings) as client:
        for _ in range(3):
            assert (await client.get("/api/v1/store")).status_code == 200
        await client.get("/api/v1/store/counts")
    lines = [json.loads(line) for line in (tmp_path / "audit.jsonl").read_text().splitlines()]
    assert [(line["who"], line["what"]) for line in lines] == [("127.0.0.1", "people of the store")]
    assert abs(lines[0]["at_ms"] / 1000 - time.time()) < 300
    assert (tmp_path / "audit.jsonl").stat().st_mode & 0o777 == 0o600


async def test_who_cannot_be_written_down_sees_nobody(service, settings, tmp_path) -> None:
    (tmp_path / "audit.jsonl").mkdir()
    async with client_of(service, settings) as client:
        refused = await client.get("/api/v1/store")
        assert refused.status_code == 503 and "must be written down first" in refused.json()["detail"]
        assert (await client.get("/api/v1/store/counts")).status_code == 200, "counts are about nobody"
    with pytest.raises(AuditUnwritable):
        AuditLog(tmp_path / "none" / "audit.jsonl").looked("a", "b", T0)


def test_a_look_that_ends_or_lasts_long_is_told_again() -> None:
    lines: list[tuple[str, str, int]] = []
    looks = Looks(lambda *line: lines.append(line), quiet_s=60, again_s=600)
    for second in range(0, 1260, 30):
        looks.looks("ann", "camera door", second * 1000)
    looks.looks("bob", "camera door", 0)
    looks.looks("ann", "camera door", 1_400_000)
    assert [(who, at // 1000) for who, _, at in lines] == [("ann", 0), ("ann", 630), ("bob", 0), ("ann", 1400)]
