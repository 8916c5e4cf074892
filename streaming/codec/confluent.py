"""A schema registry that speaks Confluent's REST API (Confluent, Karapace, Apicurio, Redpanda)."""

from __future__ import annotations

import json
import ssl
import time
from collections.abc import Callable, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from streaming.codec._schema import Schema, UnusableSchema
from streaming.codec.registry import RegistryUnavailable, UnknownSchema, load_schema
from streaming.topics import TOPICS

if TYPE_CHECKING:
    import httpx

_CONTENT_TYPE = "application/vnd.schemaregistry.v1+json"
_MAX_ANSWER_BYTES = 2 << 20
_UNKNOWN_FOR_S = 30.0
_UNKNOWN_KEPT = 1024
_NOT_FOUND = (40401, 40402, 40403)  # subject, version, schema


@cache
def _trusted() -> ssl.SSLContext:
    """The certificates that are trusted: reading them takes ten times as long as an answer, and noise on a topic asks
    for many schemas."""
    import httpx  # here and below: only runs with a registry of their own need it

    return httpx.create_ssl_context()


class ConfluentRegistry:
    """Asks once per id and keeps the answer for ever; that an id is unknown it keeps for half a minute.

    Packaged schemas are registered on first use, under the subject `TOPIC-value` of the topic that carries them.
    """

    def __init__(
        self,
        url: str,
        *,
        user: str | None = None,
        password: str = "",
        timeout_s: float = 5.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._url = url.rstrip("/")
        self._auth = None if user is None else (user, password)
        self._timeout_s = timeout_s
        self._clock = clock
        self._schemas: dict[int, Schema] = {}
        self._ids: dict[tuple[str, str], int] = {}
        self._unknown_until: dict[int, float] = {}

    def __repr__(self) -> str:
        return f"ConfluentRegistry({self._url!r})"  # without the password

    def schema(self, schema_id: int) -> Schema:
        """The schema of this id. Raises `UnknownSchema`, `UnusableSchema` and `RegistryUnavailable`."""
        known = self._schemas.get(schema_id)
        if known is not None:
            return known
        if self._unknown_until.get(schema_id, 0.0) > self._clock():
            raise UnknownSchema(f"{self._url} has no schema {schema_id}")
        try:
            answer = self._ask("GET", f"/schemas/ids/{schema_id}")
        except UnknownSchema:
            if len(self._unknown_until) >= _UNKNOWN_KEPT:
                self._unknown_until.clear()
            self._unknown_until[schema_id] = self._clock() + _UNKNOWN_FOR_S
            raise
        schema = self._parse(answer, schema_id)
        self._schemas[schema_id] = schema
        return schema

    def id_of(self, schema_name: str) -> int:
        """The id of a packaged schema, registered if it is not. Raises `UnknownSchema` and `RegistryUnavailable`."""
        own = schema_name.removesuffix(".avsc").rpartition("/")[2]
        subject = next((f"{topic.name}-value" for topic in TOPICS if topic.schema == schema_name), own)
        return self.register(subject, load_schema(schema_name))

    def register(self, subject: str, schema: Schema) -> int:
        """The id of this schema under this subject; a schema already there keeps its id.

        Raises `RegistryUnavailable`, and `ValueError` when the registry refuses the schema, say as incompatible.
        """
        text = json.dumps(schema)
        known = self._ids.get((subject, text))
        if known is not None:
            return known
        path = f"/subjects/{quote(subject, safe='')}"
        try:
            answer = self._ask("POST", path, {"schema": text})
        except UnknownSchema:
            answer = self._ask("POST", f"{path}/versions", {"schema": text})
        schema_id = answer.get("id")
        if not isinstance(schema_id, int) or isinstance(schema_id, bool) or not 0 <= schema_id < 1 << 31:
            raise RegistryUnavailable(f"{self._url} answered with the id {schema_id!r}; is it a schema registry?")
        self._ids[subject, text] = schema_id
        self._schemas.setdefault(schema_id, schema)
        return schema_id

    def _parse(self, answer: Mapping[str, Any], schema_id: int) -> Schema:
        kind = answer.get("schemaType", "AVRO")
        if kind != "AVRO" or answer.get("references"):
            raise UnusableSchema(f"{kind} schema, or one with references, where plain Avro is read")
        try:
            schema = json.loads(answer["schema"])
        except (KeyError, TypeError, ValueError, RecursionError) as error:
            raise RegistryUnavailable(f"{self._url} answered for schema {schema_id} without a schema") from error
        return schema if isinstance(schema, dict) else {"type": schema}

    def _ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Mapping[str, Any]:
        """The JSON object that the registry answers with."""
        import httpx

        headers = {"Accept": f"{_CONTENT_TYPE}, application/json", "Content-Type": _CONTENT_TYPE}
        deadline = time.monotonic() + 2 * self._timeout_s  # httpx's time-outs are per read, not for the whole answer
        try:
            with (
                httpx.Client(auth=self._auth, timeout=self._timeout_s, verify=_trusted()) as client,
                client.stream(method, self._url + path, json=body, headers=headers) as response,
            ):
                text = self._read(response, deadline)
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            raise RegistryUnavailable(f"{self._url} does not answer: {type(error).__name__}: {error}") from error
        try:
            answer = json.loads(text)
        except (ValueError, RecursionError) as error:
            status = response.status_code
            raise RegistryUnavailable(f"{self._url}{path} answered {status} without JSON; is it a registry?") from error
        if not isinstance(answer, dict):
            raise RegistryUnavailable(f"{self._url}{path} did not answer with a JSON object; is it a schema registry?")
        return self._judge(response.status_code, path, answer)

    def _read(self, response: httpx.Response, deadline: float) -> bytes:
        chunks: list[bytes] = []
        size = 0
        for chunk in response.iter_bytes():
            chunks.append(chunk)
            size += len(chunk)
            if size > _MAX_ANSWER_BYTES:
                raise RegistryUnavailable(f"{self._url} answered with more than {_MAX_ANSWER_BYTES} bytes")
            if time.monotonic() > deadline:
                raise RegistryUnavailable(f"{self._url} takes longer than {2 * self._timeout_s:g} s to answer")
        return b"".join(chunks)

    def _judge(self, status: int, path: str, answer: dict[str, Any]) -> Mapping[str, Any]:
        said = answer.get("message", "no message")
        if status == 200:
            return answer
        if status == 404 and answer.get("error_code") in _NOT_FOUND:
            raise UnknownSchema(f"{self._url}{path}: {said}")
        if status in (409, 422):
            raise ValueError(f"{self._url}{path} refuses the schema: {said}")
        raise RegistryUnavailable(f"{self._url}{path} answered {status}: {said}")
