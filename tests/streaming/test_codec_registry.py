"""Where schemas come from: the packaged ones, and a registry that may be away, slow or not a registry at all."""

from __future__ import annotations

import json
import pickle
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import streaming
from streaming.codec import (
    ConfluentRegistry,
    Decoder,
    Encoder,
    PackagedRegistry,
    RegistryUnavailable,
    Schema,
    UnknownSchema,
    UnusableSchema,
    load_schema,
)
from streaming.codec._schema import parse
from streaming.codec.registry import packaged_ids
from streaming.records import Records
from streaming.topics import TOPICS
from tests.waiting import PATIENCE_S

SCHEMA: Schema = {"type": "record", "name": "R", "fields": [{"name": "x", "type": "int"}]}
FOLDER = Path(streaming.__path__[0]) / "schemas"


# --- packaged -----------------------------------------------------------------------------------------------------


def test_every_packaged_schema_has_one_id_and_is_usable() -> None:
    files = sorted(str(path.relative_to(FOLDER).with_suffix("")) for path in FOLDER.rglob("*.avsc"))
    assert sorted(packaged_ids().values()) == files
    for schema_id, name in packaged_ids().items():
        assert 0 < schema_id < 1 << 30  # above are the changelogs' own
        assert PackagedRegistry().id_of(name) == schema_id
        assert PackagedRegistry().schema(schema_id) == load_schema(name)
        parse(load_schema(name))


def test_ids_once_given_stay() -> None:
    assert packaged_ids() == {
        1: "match-events",
        2: "match-insights",
        3: "past/pipeline-status-3",
        4: "past/pipeline-status-4",
        5: "pipeline-status",
        6: "control",
        7: "camera-frames",
        8: "past/person-sightings-8",
        9: "store-metrics",
        10: "store-alerts",
        11: "user-sessions",
        12: "item-catalogue",
        13: "session-recommendations",
        14: "past/person-sightings-14",
        15: "person-sightings",
    }


def test_every_topic_with_a_schema_finds_it() -> None:
    for topic in TOPICS:
        if topic.schema is not None:
            names = [field["name"] for field in load_schema(topic.schema)["fields"]]
            assert topic.key in names
            assert topic.event_time in names


def test_a_schema_of_ones_own_goes_by_the_path_of_its_file(tmp_path: Path) -> None:
    own = tmp_path / "mine.avsc"
    own.write_text(json.dumps(SCHEMA))
    assert load_schema(str(own)) == SCHEMA
    with pytest.raises(UnknownSchema, match=r"other\.avsc"):
        load_schema(str(tmp_path / "other.avsc"))


def test_what_is_not_packaged_is_unknown() -> None:
    with pytest.raises(UnknownSchema, match="'nothing'"):
        load_schema("nothing")
    with pytest.raises(UnknownSchema, match="known are"):
        PackagedRegistry().id_of("nothing")
    with pytest.raises(UnknownSchema, match="no packaged schema has the id 99"):
        PackagedRegistry().schema(99)


# --- by address ---------------------------------------------------------------------------------------------------

Answer = tuple[int, bytes]


class Server:
    """A small registry; `broken` answers in its place."""

    def __init__(self) -> None:
        self.schemas: dict[int, str] = {}
        self.asked: list[str] = []
        self.authorization: list[str | None] = []
        self.broken: Callable[[], Answer] | None = None
        self.extra: dict[str, Any] = {}

    def answer(self, method: str, path: str, body: dict[str, Any]) -> Answer:
        if self.broken is not None:
            return self.broken()
        if method == "GET":
            text = self.schemas.get(int(path.rpartition("/")[2]))
            return says(40403, "Schema not found") if text is None else reply({"schema": text, **self.extra})
        known = next((i for i, text in self.schemas.items() if text == body["schema"]), None)
        if not path.endswith("/versions"):
            return says(40401, "Subject not found") if known is None else reply({"id": known, "version": 1})
        if known is None:
            known = len(self.schemas) + 10
            self.schemas[known] = body["schema"]
        return reply({"id": known})


def reply(answer: Any, status: int = 200) -> Answer:
    return status, json.dumps(answer).encode()


def says(code: int, message: str, status: int = 404) -> Answer:
    return reply({"error_code": code, "message": message}, status)


@pytest.fixture
def server() -> Iterator[tuple[Server, str]]:
    registry = Server()

    class Handler(BaseHTTPRequestHandler):
        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            registry.asked.append(f"{self.command} {self.path}")
            registry.authorization.append(self.headers.get("Authorization"))
            status, answer = registry.answer(self.command, self.path, json.loads(body or b"{}"))
            self.send_response(status)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            try:
                self.wfile.write(answer)
            except OSError:  # the client hung up, which some tests want
                self.close_connection = True

        do_GET = do_POST = handle_any  # noqa: N815 - the names that http.server looks for

        def log_message(self, *args: object) -> None: ...

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield registry, f"http://127.0.0.1:{http.server_port}"
    http.shutdown()
    thread.join()
    http.server_close()


def test_a_schema_is_registered_once_and_read_back_by_id(server: tuple[Server, str]) -> None:
    registry, url = server
    client = ConfluentRegistry(url)
    assert client.register("a/b-value", SCHEMA) == 10
    assert client.register("a/b-value", SCHEMA) == 10
    assert registry.asked == ["POST /subjects/a%2Fb-value", "POST /subjects/a%2Fb-value/versions"]
    other = ConfluentRegistry(url + "/")
    assert [other.schema(10), other.schema(10)] == [SCHEMA, SCHEMA]
    assert other.register("a/b-value", SCHEMA) == 10  # looked up, not registered anew
    assert registry.asked[2:] == ["GET /schemas/ids/10", "POST /subjects/a%2Fb-value"]


def test_packaged_schemas_go_under_the_subject_of_their_topic(server: tuple[Server, str]) -> None:
    registry, url = server
    schema_id = ConfluentRegistry(url).id_of("match-events")
    assert registry.asked[-1] == "POST /subjects/match.events-value/versions"
    assert json.loads(registry.schemas[schema_id]) == load_schema("match-events")


def test_a_decoder_reads_what_another_registered(server: tuple[Server, str]) -> None:
    _, url = server
    schema_id = ConfluentRegistry(url).register("s", SCHEMA)
    values = Encoder(SCHEMA, schema_id).encode(pl.DataFrame({"x": [1, 2]}))
    decoder = pickle.loads(pickle.dumps(Decoder(SCHEMA, ConfluentRegistry(url))))  # noqa: S301 - our own bytes
    poll = Records.of([None] * 3, [*values.to_pylist(), b"\x00\x00\x00\x00\x63\x02"])
    decoded = decoder.decode(poll)
    assert decoded.frame["x"].to_list() == [1, 2]
    assert [(b.row, b.schema_id, b.error) for b in decoded.bad] == [(2, 99, "UnknownSchema")]


def test_an_unknown_id_is_asked_for_again_after_a_while(server: tuple[Server, str]) -> None:
    registry, url = server
    now = 100.0
    client = ConfluentRegistry(url, clock=lambda: now)
    for _ in range(3):
        with pytest.raises(UnknownSchema, match=r"no schema 5|not found"):
            client.schema(5)
    assert len(registry.asked) == 1
    registry.schemas[5] = json.dumps(SCHEMA)
    now += 31.0
    assert client.schema(5) == SCHEMA


def test_the_password_is_sent_and_not_shown(server: tuple[Server, str]) -> None:
    registry, url = server
    registry.schemas[5] = json.dumps(SCHEMA)
    client = ConfluentRegistry(url, user="me", password="secret")
    client.schema(5)
    assert registry.authorization == ["Basic bWU6c2VjcmV0"]
    assert "secret" not in repr(client)


@pytest.mark.parametrize(
    "broken",
    [
        says(50001, "Error in the backend data store", 500),
        says(50003, "Leader not known", 503),
        says(40101, "Unauthorized", 401),
        reply({"message": "no such page"}, 404),  # a web server, but no registry
        (404, b"<html>not found</html>"),
        (200, b"<html>welcome</html>"),
        (200, b"[1, 2]"),
        (200, b"{}"),
        (200, b'{"schema": "{not json"}'),
        (200, b'{"schema": 5}'),
        (200, b"[" * 100_000),
        (200, b'{"schema": "' + b"x" * (3 << 20) + b'"}'),
        (302, b""),
    ],
    ids=range(13),
)
def test_whatever_is_not_a_registrys_answer_is_no_records_fault(server: tuple[Server, str], broken: Answer) -> None:
    registry, url = server
    registry.broken = lambda: broken
    decoder = Decoder(SCHEMA, ConfluentRegistry(url))
    poll = Records.of([None], [b"\x00\x00\x00\x00\x05\x02"])
    with pytest.raises(RegistryUnavailable, match=r"127\.0\.0\.1"):
        decoder.decode(poll)
    registry.broken = None
    registry.schemas[5] = json.dumps(SCHEMA)
    assert decoder.decode(poll).frame["x"].to_list() == [1]


def test_an_answer_without_end_is_cut_off(server: tuple[Server, str]) -> None:
    registry, url = server
    registry.broken = lambda: (200, json.dumps({"schema": json.dumps(SCHEMA), "more": "x" * (3 << 20)}).encode())
    with pytest.raises(RegistryUnavailable, match="more than 2097152 bytes"):
        ConfluentRegistry(url).schema(5)


def test_a_registry_that_is_not_there_or_too_slow(server: tuple[Server, str]) -> None:
    registry, url = server
    done = threading.Event()

    def slow() -> Answer:
        done.wait(PATIENCE_S)
        return reply({"schema": json.dumps(SCHEMA)})

    registry.broken = slow
    with pytest.raises(RegistryUnavailable, match="ReadTimeout"):
        ConfluentRegistry(url, timeout_s=0.1).schema(5)
    done.set()
    with pytest.raises(RegistryUnavailable, match="ConnectError"):
        ConfluentRegistry("http://127.0.0.1:1").schema(5)
    with pytest.raises(RegistryUnavailable):
        ConfluentRegistry("nonsense").schema(5)


def test_schemas_that_are_not_plain_avro_make_their_records_bad(server: tuple[Server, str]) -> None:
    registry, url = server
    registry.schemas[5] = "syntax = 'proto3';"
    registry.extra = {"schemaType": "PROTOBUF"}
    with pytest.raises(UnusableSchema, match="PROTOBUF"):
        ConfluentRegistry(url).schema(5)
    decoded = Decoder(SCHEMA, ConfluentRegistry(url)).decode(Records.of([None], [b"\x00\x00\x00\x00\x05\x02"]))
    assert decoded.bad[0].error == "UnusableSchema"


def test_a_refused_schema_says_why(server: tuple[Server, str]) -> None:
    registry, url = server
    registry.broken = lambda: says(409, "Schema being registered is incompatible", 409)
    with pytest.raises(ValueError, match="refuses the schema: Schema being registered is incompatible"):
        ConfluentRegistry(url).register("s", SCHEMA)
