"""The embedded broker's jar files: fetched once, checked against `jars.lock` at every start.

The lock names each artifact and the sha256 of its jar, so what runs is what was tested, wherever it was fetched from.
For another Kafka: `python -m streaming.kafka.jars VERSION > jars.lock`, then put that in place of the one here.
"""

from __future__ import annotations

import hashlib
import sys
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

_FETCHES_AT_ONCE = 6
_TIMEOUT_S = 30

Progress = Callable[[str], None]


class BrokerError(RuntimeError):
    """The embedded broker cannot do what was asked; the message is one line with cause and remedy."""


@dataclass(frozen=True, slots=True)
class Jar:
    """One artifact of the lock."""

    group: str
    artifact: str
    version: str
    sha256: str

    @property
    def file_name(self) -> str:
        """What the artifact's file is called everywhere."""
        return f"{self.artifact}-{self.version}.jar"

    @property
    def coordinate(self) -> str:
        """`group:artifact:version`."""
        return f"{self.group}:{self.artifact}:{self.version}"

    def path(self, folder: Path) -> Path:
        """Where the jar lies below `folder`, as in any Maven repository."""
        return folder.joinpath(*self.group.split("."), self.artifact, self.version, self.file_name)

    def is_intact(self, folder: Path) -> bool:
        """Whether the file is there, whole and unaltered."""
        try:
            with self.path(folder).open("rb") as jar:
                return hashlib.file_digest(jar, "sha256").hexdigest() == self.sha256
        except FileNotFoundError:
            return False


def locked_jars() -> list[Jar]:
    """Every jar of the class path, in the order of `jars.lock`."""
    jars = []
    for line in files(__package__).joinpath("jars.lock").read_text("utf-8").splitlines():
        if line and not line.startswith("#"):
            coordinate, sha256 = line.split()
            group, artifact, version = coordinate.split(":")
            jars.append(Jar(group, artifact, version, sha256))
    return jars


def class_path(folder: Path, on_progress: Progress, jars: Sequence[Jar] | None = None) -> str:
    """The verified class path; jars that are missing or altered are fetched (again) into `folder`.

    Raises:
        BrokerError: a jar cannot be fetched or does not match the lock.
    """
    jars = locked_jars() if jars is None else jars
    with ThreadPoolExecutor(2) as pool:  # sha256 runs outside the interpreter lock
        intact = list(pool.map(lambda jar: jar.is_intact(folder), jars))
    wanted = [jar for jar, good in zip(jars, intact, strict=True) if not good]
    if wanted:
        _fetch(wanted, folder, on_progress)
    return ":".join(str(jar.path(folder)) for jar in jars)


def _fetch(wanted: Sequence[Jar], folder: Path, on_progress: Progress) -> None:
    context = _context(folder)
    with ThreadPoolExecutor(_FETCHES_AT_ONCE) as pool:
        tasks = {pool.submit(_fetch_one, context, jar, folder): jar for jar in wanted}
        try:
            for done, task in enumerate(as_completed(tasks), 1):
                try:
                    task.result()
                except BrokerError:
                    raise
                except Exception as error:  # the resolver raises whatever its HTTP library and the disk raise
                    raise BrokerError(_why_not_fetched(tasks[task], folder, error)) from error
                on_progress(f"fetched {done} of {len(tasks)} Kafka jars")
        except BaseException:  # also of `on_progress`, which is how a caller gives up
            pool.shutdown(cancel_futures=True)
            raise


def _fetch_one(context: Any, jar: Jar, folder: Path) -> None:
    path = jar.path(folder)
    path.unlink(missing_ok=True)  # the resolver takes what lies there for the artifact, whatever it is
    context.project(jar.group, jar.artifact).at_version(jar.version).artifact().resolve()
    if not jar.is_intact(folder):
        path.unlink(missing_ok=True)
        raise BrokerError(f"{jar.file_name} was fetched, but its checksum is not the one in jars.lock: not using it")


def _why_not_fetched(jar: Jar, folder: Path, error: Exception) -> str:
    if isinstance(error, PermissionError) or getattr(error, "errno", None) in (28, 30):  # no space, read-only
        return f"cannot write {jar.path(folder)}: {error.args[-1]}; free some space or choose another folder"
    reason = str(error).splitlines()[0][:120] if str(error) else type(error).__name__
    return (
        f"cannot fetch {jar.coordinate} ({reason}); the first start of the embedded Kafka needs a network: "
        f"connect once, or copy the folder {folder} from a machine that has it"
    )


def _context(folder: Path) -> Any:
    """The artifact resolver over `folder`; where it fetches from is its own configuration, not ours."""
    from jgo.config import GlobalSettings
    from jgo.maven import MavenContext

    mirrors = GlobalSettings.load().repositories
    return MavenContext(repo_cache=folder, remote_repos=dict(mirrors) if mirrors else None, timeout=_TIMEOUT_S)


def _lock_lines(version: str) -> list[str]:
    """Resolve Kafka `version` with all its run-time dependencies and hash every jar."""
    with tempfile.TemporaryDirectory() as scratch:
        context = _context(Path(scratch))
        roots = [
            context.create_dependency(f"org.apache.kafka:kafka_2.13:{version}"),
            context.create_dependency(
                "org.slf4j:slf4j-simple:1.7.36"
            ),  # the log goes to standard error, nothing to configure
        ]
        inputs, transitive = context.resolver.resolve(roots)
        lines = []
        for dependency in [*inputs, *transitive]:
            digest = hashlib.sha256(dependency.artifact.resolve().read_bytes()).hexdigest()
            lines.append(f"{dependency.groupId}:{dependency.artifactId}:{dependency.version} {digest}")
    return [f"# Kafka {version} with its run-time dependencies: group:artifact:version sha256", *sorted(set(lines))]


if __name__ == "__main__":
    sys.stdout.write("\n".join(_lock_lines(sys.argv[1])) + "\n")
