"""The store itself: what is there, reading a version, writing one, and moving aliases."""

from __future__ import annotations

import getpass
import hashlib
import platform
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from models.store import stored
from models.store.aliases import PROMOTE, AliasLog, AliasMove, AliasState, aliases_of, shortened
from models.store.errors import BrokenModelError, ModelNotFoundError
from models.store.manifest import (
    CONFIG,
    MANIFEST,
    METRICS,
    TRAINING_MATCHES,
    WEIGHTS,
    Manifest,
    from_json,
    is_whole,
    numbers,
    read_manifest,
    to_json,
)
from models.store.names import LIVE, checked_name, exact, is_name, is_version
from models.store.roots import DRAFT, Root, open_root
from models.verdict import BadVerdict, Verdict

if TYPE_CHECKING:
    from torch import nn

SHIPPED = Path(__file__).parent.parent / "shipped"
"""Weights that come with the project, read only."""

_LONGEST_VERDICT_BYTES = 4 << 20
_OF_SESSIONS = ("session-gru4rec", "session-sasrec", "session-two-tower")
"""Names of recipes and, by default, of their models."""


@dataclass(frozen=True)
class Listing:
    """One line of `ModelStore.list`."""

    name: str
    version: int
    aliases: tuple[str, ...]
    title: str
    trained_on: str
    created: str
    path: str


class ModelStore:
    """Versions under one or more roots, folders or URLs. The first root is written to and need not exist yet.

    All methods raise StoreUnavailableError where a URL does not answer.
    """

    def __init__(self, *roots: Path | str) -> None:
        """Raises BadReference where a root is a URL that nothing here can reach."""
        if not roots:
            raise ValueError("a model store needs at least one root folder")
        self.roots: tuple[Root, ...] = tuple(open_root(root) for root in roots)

    @property
    def own(self) -> Root:
        """The root that is written to."""
        return self.roots[0]

    def save(
        self,
        name: str,
        model: nn.Module,
        config: Mapping[str, Any],
        *,
        metrics: Mapping[str, Any],
        title: str,
        trained_on: str,
        data_fingerprint: str,
        code_version: str,
        created: datetime | None = None,
        training_matches: npt.NDArray[np.uint64] | None = None,
        parent: str = "",
        recipe: Mapping[str, Any] | None = None,
        commit: str = "",
    ) -> Manifest:
        """Store a new version, numbered one above the highest of that name in any root.

        The first file of a version claims its number, its manifest comes last: two who save at once get two numbers,
        and what is half written is no version to anybody.

        Args:
            name: lower-case letters, digits and single hyphens.
            model: the network, on any device, of an architecture in `models._registry`.
            config: what `build_model` needs to make such a network again.
            metrics: figures to keep with it, JSON values.
            title: game that it is for.
            trained_on: in words, shown to viewers, such as "simulator lol, 4,000 matches, seed 7".
            data_fingerprint: digest of the training data.
            code_version: version of this project.
            created: now, unless given (UTC).
            training_matches: marks of the matches that it learned from, any shape (`jobs.datasets.MatchSet.marks`),
                so that nobody judges it on them by mistake.
            parent: as of `Manifest`.
            recipe: as of `Manifest`.
            commit: as of `Manifest`.

        Raises:
            BadReference: the name or the parent.
            ValueError: config, metrics or recipe hold what JSON cannot.
        """
        checked_name(name)
        if parent:
            exact(parent)
        contents = {CONFIG: to_json(config), METRICS: to_json(metrics), WEIGHTS: stored.weights_file(model)}
        if training_matches is not None:
            contents[TRAINING_MATCHES] = stored.marks_file(training_matches)
        digests = {file: hashlib.sha256(data).hexdigest() for file, data in contents.items()}
        to_json(lineage := dict(recipe or {}))
        version = self._claim(name, contents.pop(CONFIG))
        manifest = Manifest(
            name=name,
            version=version,
            title=title,
            trained_on=trained_on,
            data_fingerprint=data_fingerprint,
            code_version=code_version,
            created=(created or datetime.now(UTC)).isoformat(timespec="seconds"),
            sha256=digests,
            parent=parent,
            recipe=lineage,
            commit=commit,
        )
        try:
            for file, data in {**contents, MANIFEST: to_json(asdict(manifest))}.items():
                self.own.create(f"{name}/{version}/{file}", data)
        except BaseException:
            self.own.delete(f"{name}/{version}")
            raise
        return manifest

    def load(self, ref: str) -> stored.StoredModel:
        """Read and check the version that `ref` means: "NAME@VERSION", "NAME@ALIAS", or "NAME" for NAME@live.

        Raises:
            ModelNotFoundError: there is none; the message says how to get one.
            BrokenModelError: a file is missing, altered or unreadable; the message names it.
        """
        name, version, root = self._resolve(ref)
        return stored.read_version(self._find(name, version, root), name, version)

    def check(self, ref: str) -> None:
        """See that every file of the version that `ref` means is the one that was saved: much quicker than `load`, as
        torch is not needed.

        Raises:
            ModelNotFoundError, BrokenModelError: as `load`.
        """
        name, version, root = self._resolve(ref)
        stored.read_files(self._find(name, version, root), name, version)

    def resolve(self, ref: str) -> tuple[str, int]:
        """Name and version number that a reference means now."""
        name, version, _ = self._resolve(ref)
        return name, version

    def manifest(self, name: str, version: int) -> Manifest:
        """Of one version; its other files are not looked at."""
        return read_manifest(self._find(checked_name(name), version), name, version)

    def alias_state(self, name: str, alias: str = LIVE) -> AliasState | None:
        """What NAME@ALIAS means now, from the first root that knows it; None for no such alias.

        Cheap enough to be asked every second: a folder is listed and one small file read, and torch is not needed.
        Unequal states mean that the alias has moved, even if it means the same version again.
        """
        known = self._known(checked_name(name), alias)
        return None if known is None else known[1]

    def aliases(self, name: str) -> dict[str, AliasState]:
        """All aliases of a model, by name."""
        checked_name(name)
        known = sorted({alias for root in self.roots for alias in aliases_of(root, name)})
        return {alias: state for alias in known if (state := self.alias_state(name, alias))}

    def history(self, name: str, alias: str = LIVE) -> tuple[AliasMove, ...]:
        """The moves of an alias in the store's own root, the first one first."""
        return AliasLog(self.own, checked_name(name), alias).history()

    def set_alias(self, name: str, alias: str, version: int, *, who: str = "", why: str = "") -> AliasMove:
        """Let NAME@ALIAS mean this version from now on; readers see the old one or the new one.

        Raises:
            ModelNotFoundError, BrokenModelError: there is no such version, or not all of it.
            AliasMovedError: somebody else moved the alias in the same moment.
        """
        return self.move_alias(name, alias, version, seen=self.alias_state(name, alias), who=who, why=why)

    def move_alias(
        self,
        name: str,
        alias: str,
        version: int,
        *,
        seen: AliasState | None,
        kind: str = PROMOTE,
        who: str = "",
        why: str = "",
        forced: bool = False,
    ) -> AliasMove:
        """Move an alias, if it still is as it was `seen` when the move was decided. Nothing else is asked here: who may
        move what is said in `models.store.promotion`.

        Args:
            name: of the model.
            alias: of it.
            version: that it is to mean.
            seen: `alias_state` when the move was decided.
            kind: as of `AliasMove`.
            who: did it; by default the user of this process and the machine.
            why: in words.
            forced: as of `AliasMove`.

        Raises:
            ModelNotFoundError, BrokenModelError: there is no such version, or not all of it.
            AliasMovedError: somebody else has moved it since.
        """
        self.manifest(name, version)
        before = None if seen is None else seen.version
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        move = AliasMove(kind, version, before, shortened(who) or this_user(), now, shortened(why), forced)
        mine = seen is not None and seen.root == str(self.own)
        AliasLog(self.own, name, alias).append(move, seen_moves=seen.moves if seen is not None and mine else 0)
        return move

    def record_verdict(self, name: str, version: int, verdict: Verdict) -> None:
        """Keep a gate's verdict beside a version, in place of an earlier one; the version itself stays as it is.

        Raises:
            ModelNotFoundError, BrokenModelError: there is no such version, or not all of it.
        """
        self.manifest(name, version)
        self.own.replace(_verdict_path(name, version), to_json(verdict.to_json()))

    def verdict(self, name: str, version: int) -> Verdict | None:
        """The last verdict on a version; None where no gate has looked at it.

        Raises:
            BrokenModelError: what is kept there is no verdict.
        """
        path = _verdict_path(checked_name(name), version)
        for root in self.roots:
            try:
                return Verdict.from_json(from_json(root.at(path), root.read(path, _LONGEST_VERDICT_BYTES)))
            except FileNotFoundError:
                continue
            except BadVerdict as error:
                raise BrokenModelError(f"{root.at(path)}: {error}; judge the version again") from error
        return None

    def prepare(self, name: str, alias: str | None = None) -> None:
        """Write and delete a file where the model will be, so that what would keep it from being saved is known before
        hours of training.

        Raises:
            BadReference: the name or the alias.
            OSError: the folder cannot be made, or not written to.
        """
        checked_name(name)
        if alias is not None:
            checked_name(alias)
        probe = f"{name}/{DRAFT}{uuid.uuid4().hex}"
        self.own.create(probe, b"")
        self.own.delete(probe)

    def versions(self, name: str) -> tuple[int, ...]:
        """Version numbers of a name, rising, from all roots; empty for an unknown name."""
        checked_name(name)
        found = {number for root in self.roots for number in numbers(root, name) if is_whole(root, name, number)}
        return tuple(sorted(found))

    def names(self) -> tuple[str, ...]:
        """Names of all models that have a version."""
        found = {child for root in self.roots for child in root.children("")}
        return tuple(sorted(name for name in found if is_name(name) and self.versions(name)))

    def list(self) -> tuple[Listing, ...]:
        """Every version with the aliases that point at it; only manifests are read.

        Raises:
            BrokenModelError: a manifest is unreadable.
        """
        lines = []
        for name in self.names():
            aliases = self.aliases(name)
            for version in self.versions(name):
                root = self._find(name, version)
                manifest = read_manifest(root, name, version)
                here = tuple(alias for alias, state in aliases.items() if state.version == version)
                path = root.at(f"{name}/{version}")
                lines.append(Listing(name, version, here, manifest.title, manifest.trained_on, manifest.created, path))
        return tuple(lines)

    def _claim(self, name: str, config: bytes) -> int:
        """The number of a new version, claimed by its first file."""
        version = max((number for root in self.roots for number in numbers(root, name)), default=0) + 1
        while True:
            try:
                self.own.create(f"{name}/{version}/{CONFIG}", config)
                return version
            except FileExistsError:  # somebody else saves at the same time
                version += 1

    def _resolve(self, ref: str) -> tuple[str, int, Root | None]:
        """Name, version number, and for an alias the root that has it: there the version is looked for first."""
        name, _, rest = ref.partition("@")
        checked_name(name)
        if is_version(rest):
            return name, int(rest), None
        alias = rest or LIVE
        if (known := self._known(name, alias)) is None:
            raise self._missing(name, f"{name}@{alias}")
        root, state = known
        return name, state.version, root

    def _known(self, name: str, alias: str) -> tuple[Root, AliasState] | None:
        """The first root that has an alias, and what it means there."""
        return next(((root, state) for root in self.roots if (state := AliasLog(root, name, alias).state())), None)

    def _find(self, name: str, version: int, first: Root | None = None) -> Root:
        """The root that has a version, else the one that has a part of it."""
        roots = self.roots if first is None else (first, *self.roots)
        for there in (is_whole, _is_begun):
            for root in roots:
                if there(root, name, version):
                    return root
        raise self._missing(name, f"{name}@{version}")

    def _missing(self, name: str, wanted: str) -> ModelNotFoundError:
        known = ", ".join(f"{name}@{version}" for version in self.versions(name)) or ", ".join(self.names()) or "none"
        places = ", ".join(str(root) for root in self.roots)
        if name.startswith("reid-"):
            remedy = f"sightline train reid-osnet --data CROPS --name {name} --alias live --force --reason TEXT"
        else:
            recipe = next((each for each in _OF_SESSIONS if name.startswith(each)), "win-tsstn")
            remedy = (
                f"sightline train {recipe} --data PATH --name {name}; then "
                f"sightline models gate {name}@candidate --data PATH --promote lets it on air"
            )
        return ModelNotFoundError(f"no model {wanted} in {places} (there: {known}); make one with: {remedy}")


def this_user() -> str:
    """USER@MACHINE of this process."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError):
        user = "unknown"
    return f"{user}@{platform.node()}"


def _is_begun(root: Root, name: str, version: int) -> bool:
    return version in numbers(root, name)


def _verdict_path(name: str, version: int) -> str:
    return f"{name}/verdicts/{version}.json"
