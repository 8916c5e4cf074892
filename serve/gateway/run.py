"""The gateway as a process: sockets, signals, and an end that keeps no client waiting."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import ssl
import threading
from collections.abc import Callable, Iterator

import uvicorn

from serve.gateway.app import create_app
from serve.gateway.board import Board
from serve.gateway.connections import BoundedHeads
from serve.gateway.hub import Hub
from serve.gateway.origins import is_loopback
from serve.gateway.reader import Feeds, followers
from serve.gateway.settings import GatewaySettings
from serve.gateway.shop.service import ShopService
from serve.gateway.shop.streams import shop_followers, shop_ticks
from serve.gateway.store.service import StoreFiles, StoreService
from serve.gateway.store.streams import store_followers, store_ticks
from serve.gateway.streams import now_ms
from serve.gateway.tls import tls_context

_GRACE_S = 3  # for answers under way; streams end by themselves at once
_TICK_S = 1.0

logger = logging.getLogger(__name__)


class AddressTaken(OSError):
    """The gateway cannot listen where it should."""


class Unguarded(ValueError):
    """The gateway would be open to everybody who reaches it, and nobody said that it should."""


class Gateway:
    """One gateway. `serve` blocks until `stop`, SIGINT or SIGTERM; `stop` may come from any thread."""

    def __init__(
        self,
        feeds: Feeds,
        settings: GatewaySettings,
        on_listening: Callable[[str], None] | None = None,
        store: StoreFiles | None = None,
    ) -> None:
        self._feeds, self._settings, self._on_listening = feeds, settings, on_listening
        self._files = store
        self._stopped = threading.Event()
        self._server: _Server | None = None

    def serve(self) -> None:
        """Listen, read and answer.

        Raises:
            AddressTaken: the address cannot be listened on; the message names it and the remedy.
            Unguarded: others than this machine could ask, and there are neither tokens nor leave.
            BadTokenFile: the file of tokens cannot be used.
            TlsProblem: the certificate or its key cannot be used.
            PlanProblem: the plan of the store cannot be used.
        """
        listener = _listen(self._settings.host, self._settings.port)
        with listener:
            _check_exposure(self._settings, listener.getsockname()[0])
            asyncio.run(self._serve(listener))

    def stop(self) -> None:
        """End `serve` soon; before it, keep it from starting."""
        self._stopped.set()
        if (server := self._server) is not None:
            server.should_exit = True

    async def _serve(self, listener: socket.socket) -> None:
        board = Board(self._settings, now_ms())
        hub = Hub(self._settings.max_streams, self._settings.max_streams_per_client)
        store, shop = self._store(board), self._shop(board)
        config = uvicorn.Config(
            create_app(board, hub, self._settings, store, shop),
            http=BoundedHeads,
            ssl_context_factory=_tls(self._settings),
            proxy_headers=self._settings.trusted_proxies is not None,
            forwarded_allow_ips=self._settings.trusted_proxies,
            lifespan="off",
            ws="websockets-sansio",
            ws_max_size=64 * 1024,  # clients have nothing to say
            log_config=None,
            access_log=False,  # it would write down addresses with their tokens
            server_header=False,
            timeout_graceful_shutdown=_GRACE_S,
        )
        self._server = server = _Server(config, hub, lambda: self._listening(listener))
        server.should_exit = self._stopped.is_set()
        with _signals(self.stop):
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(follower.run()) for follower in followers(self._feeds, board, hub)]
                tasks.append(group.create_task(_tick(board, hub)))
                if store is not None and self._feeds.store is not None:
                    reading = store_followers(self._feeds.store, store, hub)
                    tasks += [group.create_task(follower.run()) for follower in reading]
                    tasks.append(group.create_task(store_ticks(store)))
                if shop is not None and self._feeds.shop is not None:
                    reading = shop_followers(self._feeds.shop, shop, hub)
                    tasks += [group.create_task(follower.run()) for follower in reading]
                    tasks.append(group.create_task(shop_ticks(shop)))
                await server.serve(sockets=[listener])
                for task in tasks:
                    task.cancel()

    def _store(self, board: Board) -> StoreService | None:
        if self._feeds.store is None or self._files is None:
            return None
        return StoreService(self._settings, self._files, board.pipelines, self._feeds.store.frames, now_ms())

    def _shop(self, board: Board) -> ShopService | None:
        if self._feeds.shop is None or not self._settings.shop:
            return None
        return ShopService(self._settings, self._feeds.shop, board.pipelines, now_ms())

    def _listening(self, listener: socket.socket) -> None:
        host, port = listener.getsockname()[:2]
        scheme = "http" if self._settings.tls_cert is None else "https"
        address = f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"
        logger.info("the gateway listens on %s", address)
        if self._on_listening is not None:
            self._on_listening(address)


def serve_gateway(
    feeds: Feeds,
    settings: GatewaySettings,
    on_listening: Callable[[str], None] | None = None,
    store: StoreFiles | None = None,
) -> None:
    """Run a gateway until SIGINT or SIGTERM; `on_listening` is told its address, such as http://127.0.0.1:8600."""
    Gateway(feeds, settings, on_listening, store).serve()


class _Server(uvicorn.Server):
    """uvicorn's server, which lets the streams end before it waits for them, and leaves signals to us."""

    def __init__(self, config: uvicorn.Config, hub: Hub, on_listening: Callable[[], None]) -> None:
        super().__init__(config)
        self._hub, self._on_listening = hub, on_listening

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._on_listening()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._hub.close()
        await super().shutdown(sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        # uvicorn would raise a caught signal again before the readers are closed.
        yield


async def _tick(board: Board, hub: Hub) -> None:
    """Time passes, for matches of which nothing is heard as well."""
    broker = board.broker.state()
    while True:
        hub.ring(board.tick(now_ms()))
        if broker != (broker := board.broker.state()):
            hub.ring_all()
        await asyncio.sleep(_TICK_S)


@contextlib.contextmanager
def _signals(stop: Callable[[], None]) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)
    try:
        yield
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


def _check_exposure(settings: GatewaySettings, address: str) -> None:
    if is_loopback(f"[{address}]" if ":" in address else address):
        return
    if settings.tokens is None and not settings.open:
        raise Unguarded(
            f"gateway.host {settings.host} lets other machines in, and there are no tokens: make one with "
            "`sightline tokens create` and set gateway.tokens, or set gateway.open = true to let everybody in"
        )
    if settings.tokens is not None and settings.tls_cert is None and settings.trusted_proxies is None:
        logger.warning("tokens travel unencrypted on %s: set gateway.tls_cert and gateway.tls_key", settings.host)


def _tls(settings: GatewaySettings) -> Callable[..., ssl.SSLContext] | None:
    if settings.tls_cert is None or settings.tls_key is None:
        return None
    context = tls_context(settings.tls_cert, settings.tls_key)
    return lambda *_: context


def _listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=1024)
    except OSError as error:
        # `socket` adds to the system's words; a name that is not found has no system number.
        number = error.errno or 0
        why = os.strerror(number) if number > 0 else error.strerror or str(error)
        raise AddressTaken(f"cannot listen on {host}:{port}: {why}; choose another port, or 0 for a free one") from None
