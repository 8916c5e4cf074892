"""The connections of one kafka-python client, made to heed a refusal.

kafka-python 3.0.12 (pinned) drops what a broker says just before it hangs up, which is how a wrong password is
answered, and would log in with it for ever. Its own memory of refusals is filled where they are not raised.
"""
# ruff: noqa: SLF001

from __future__ import annotations

from typing import Any

from kafka.net.compat import KafkaNetClient

from streaming.kafka.denied import DENIALS

_METADATA_PAUSE_MS = 20  # between two looks at the cluster: 100 unless set, and each client begins with two


class Connections(KafkaNetClient):  # type: ignore[misc]  # kafka-python has no types
    """A node that did not let us in is not asked again: whoever needs it gets the error."""

    def __init__(self, **config: Any) -> None:
        super().__init__(**config)
        self.cluster.config["retry_backoff_ms"] = _METADATA_PAUSE_MS
        self._refusals: dict[Any, Exception] = {}  # by node
        manager = self._manager
        self._connect, manager.get_connection = manager.get_connection, self._connection
        self._build, manager._build_transport = manager._build_transport, self._transport

    def _connection(self, node: Any, *arguments: Any, **options: Any) -> Any:
        if node in self._refusals:
            raise self._refusals[node]
        connection = self._connect(node, *arguments, **options)
        if not connection.init_future.is_done:
            connection.init_future.add_errback(lambda error: self._note(node, error))
        return connection

    def _note(self, node: Any, error: Exception) -> None:
        if isinstance(error, DENIALS):
            self._refusals[node] = error

    async def _transport(self, *arguments: Any, **options: Any) -> Any:
        transport = await self._build(*arguments, **options)
        receive = transport._sock_recv

        def hear_out() -> tuple[bytes, Exception | None]:
            data, error = receive()
            return data, None if data else error  # an error comes again with the next call

        transport._sock_recv = hear_out
        return transport
