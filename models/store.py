"""The model store: trained versions in a folder, immutable and checked, and aliases that move.

    ROOT/tsstn-lol/3/weights.safetensors      tensors
    ROOT/tsstn-lol/3/config.json              architecture and sizes, read by models._registry
    ROOT/tsstn-lol/3/metrics.json             figures from training
    ROOT/tsstn-lol/3/training_matches.u64     marks of the matches that it learned from; older versions lack it
    ROOT/tsstn-lol/3/manifest.json            what it is, and the sha256 of each file above
    ROOT/tsstn-lol/aliases/live               the text "3"

A version is written beside its place and moved there in one rename, so a reader sees all of it or nothing; it is never
changed afterwards. Nothing is ever unpickled. A store reads from several roots, the first that has a version or an
alias wins; it writes to the first. The weights that ship with the project are the last root.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from models._registry import build_model
from models.tsstn import TSSTN

SHIPPED = Path(__file__).parent / "shipped"
"""Weights that come with the project, read only."""

WEIGHTS, CONFIG, METRICS, MANIFEST = "weights.safetensors", "config.json", "metrics.json", "manifest.json"
TRAINING_MATCHES = "training_matches.u64"
_CHECKED = (WEIGHTS, CONFIG, METRICS)
_MARK = np.dtype("<u8")
_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_VERSION = re.compile(r"[1-9][0-9]{0,8}")
_LONGEST_NAME = 100
_HASH_SHOWN = 12
_JSON_KINDS = {str: "text", int: "a whole number", dict: "an object"}


class ModelNotFoundError(LookupError):
    """No such model, version or alias."""


class BadReference(ValueError):
    """What is no name, alias or version at all."""


class BrokenModelError(ValueError):
    """A stored version is incomplete, altered or not of this format."""


@dataclass(frozen=True)
class Manifest:
    """What a version is and where it comes from; `sha256` maps each other file of the version to its digest."""

    name: str
    version: int
    title: str
    trained_on: str
    data_fingerprint: str
    code_version: str
    created: str
    sha256: dict[str, str]


@dataclass(frozen=True)
class StoredModel:
    """A version that has passed every check."""

    manifest: Manifest
    config: dict[str, Any]
    metrics: dict[str, Any]
    weights: dict[str, Tensor]
    path: Path
    training_matches: npt.NDArray[np.uint64]
    """Rising marks of the matches that it learned from (`jobs.overlap`); empty where the version does not say."""

    @property
    def name(self) -> str:
        """What the model is called, such as tsstn-lol."""
        return self.manifest.name

    @property
    def version(self) -> str:
        """Its number, as text."""
        return str(self.manifest.version)

    @property
    def weight_hash(self) -> str:
        """First 12 hex digits of the weights' sha256."""
        return self.manifest.sha256[WEIGHTS][:_HASH_SHOWN]

    def build(self) -> TSSTN:
        """The network with these weights, in evaluation mode.

        Raises:
            BrokenModelError: the weights do not fit the config.
        """
        try:
            model = build_model(self.config)
            model.load_state_dict(self.weights)
            for name, values in self.weights.items():
                if not values.isfinite().all() and name != "scale.scale":  # where NaN marks what training never saw
                    raise ValueError(f"{name} has values that are not finite")
        except (ValueError, RuntimeError, TypeError, OverflowError) as error:
            reason = " ".join(str(error).split())
            raise BrokenModelError(f"{self.path}: {WEIGHTS} and {CONFIG} do not fit: {reason}") from error
        return model.eval()


@dataclass(frozen=True)
class Listing:
    """One line of `ModelStore.list`."""

    name: str
    version: int
    aliases: tuple[str, ...]
    title: str
    trained_on: str
    created: str
    path: Path


class ModelStore:
    """Versions under one or more roots. The first root is written to and need not exist yet."""

    def __init__(self, *roots: Path | str) -> None:
        if not roots:
            raise ValueError("a model store needs at least one root folder")
        self.roots = tuple(Path(root) for root in roots)

    def save(
        self,
        name: str,
        model: TSSTN,
        config: Mapping[str, Any],
        *,
        metrics: Mapping[str, Any],
        title: str,
        trained_on: str,
        data_fingerprint: str,
        code_version: str,
        created: datetime | None = None,
        training_matches: npt.NDArray[np.uint64] | None = None,
    ) -> Manifest:
        """Store a new version, numbered one above the highest of that name in any root.

        Args:
            name: lower-case letters, digits and single hyphens.
            model: the network, on any device.
            config: what `build_model` needs to make such a network again.
            metrics: figures to keep with it, JSON values.
            title: game that it is for.
            trained_on: in words, shown to viewers, such as "simulator lol, 4,000 matches, seed 7".
            data_fingerprint: digest of the training data.
            code_version: version of this project.
            created: now, unless given (UTC).
            training_matches: marks of the matches that it learned from, any shape (`jobs.datasets.MatchSet.marks`),
                so that nobody judges it on them by mistake.
        """
        folder = self.roots[0] / _checked_name(name)
        contents = {
            WEIGHTS: save_tensors(
                {key: value.detach().cpu().contiguous() for key, value in model.state_dict().items()}
            ),
            CONFIG: _to_json(config),
            METRICS: _to_json(metrics),
        }
        if training_matches is not None:
            contents[TRAINING_MATCHES] = np.unique(training_matches).astype(_MARK).tobytes()
        folder.mkdir(parents=True, exist_ok=True)
        manifest = Manifest(
            name=name,
            version=max(self.versions(name), default=0) + 1,
            title=title,
            trained_on=trained_on,
            data_fingerprint=data_fingerprint,
            code_version=code_version,
            created=(created or datetime.now(UTC)).isoformat(timespec="seconds"),
            sha256={file: hashlib.sha256(data).hexdigest() for file, data in contents.items()},
        )
        contents[MANIFEST] = _to_json(asdict(manifest))
        draft = Path(tempfile.mkdtemp(prefix=".draft-", dir=folder))
        try:
            draft.chmod(0o755)
            for file, data in contents.items():
                _write_synced(draft / file, data)
            draft.rename(folder / str(manifest.version))
        except BaseException:
            shutil.rmtree(draft, ignore_errors=True)
            raise
        return manifest

    def load(self, ref: str) -> StoredModel:
        """Read and check the version that `ref` means: "NAME@VERSION", "NAME@ALIAS", or "NAME" for NAME@live.

        Raises:
            ModelNotFoundError: there is none; the message says how to get one.
            BrokenModelError: a file is missing, altered or unreadable; the message names it.
        """
        name, version, root = self._resolve(ref)
        path = self._find(name, version, root)
        manifest = _read_manifest(path, name, version)
        contents = {file: _read_checked(path / file, digest) for file, digest in manifest.sha256.items()}
        try:
            weights = load_tensors(contents[WEIGHTS])
        except (SafetensorError, KeyError) as error:  # KeyError: a kind of number that torch does not know
            raise BrokenModelError(f"{path / WEIGHTS}: not a safetensors file: {error}") from error
        config, metrics = (_from_json(path / file, contents[file]) for file in (CONFIG, METRICS))
        marks = contents.get(TRAINING_MATCHES, b"")
        if len(marks) % _MARK.itemsize:
            raise BrokenModelError(f"{path / TRAINING_MATCHES}: {len(marks)} bytes are no whole number of marks")
        return StoredModel(manifest, config, metrics, weights, path, np.frombuffer(marks, _MARK).astype(np.uint64))

    def resolve(self, ref: str) -> tuple[str, int]:
        """Name and version number that a reference means now."""
        name, version, _ = self._resolve(ref)
        return name, version

    def _resolve(self, ref: str) -> tuple[str, int, Path | None]:
        """Name, version number, and for an alias the root that has it: there the version is looked for first."""
        name, _, rest = ref.partition("@")
        _checked_name(name)
        if _VERSION.fullmatch(rest):
            return name, int(rest), None
        alias = _checked_name(rest or "live")
        for root in self.roots:
            file = root / name / "aliases" / alias
            if file.is_file():
                text = file.read_bytes()[:80].decode(errors="replace").strip()
                if not _VERSION.fullmatch(text):
                    raise BrokenModelError(f"{file}: holds {text!r} instead of a version number")
                return name, int(text), root
        raise self._missing(name, f"{name}@{alias}")

    def set_alias(self, name: str, alias: str, version: int) -> None:
        """Let NAME@ALIAS mean this version from now on; readers see the old one or the new one."""
        self._find(_checked_name(name), version)
        file = self.roots[0] / name / "aliases" / _checked_name(alias)
        file.parent.mkdir(parents=True, exist_ok=True)
        descriptor, draft = tempfile.mkstemp(prefix=".draft-", dir=file.parent)
        os.close(descriptor)
        _write_synced(Path(draft), f"{version}\n".encode())
        os.chmod(draft, 0o644)
        os.replace(draft, file)

    def prepare(self, name: str, alias: str | None = None) -> None:
        """Make the model's folder, so that what would keep it from being saved is known before hours of training.

        Raises:
            BadReference: the name or the alias.
            OSError: the folder cannot be made, or not written to.
        """
        folder = self.roots[0] / _checked_name(name)
        if alias is not None:
            _checked_name(alias)
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass

    def versions(self, name: str) -> tuple[int, ...]:
        """Version numbers of a name, rising, from all roots; empty for an unknown name."""
        found = {
            int(path.name)
            for root in self.roots
            if (root / name).is_dir()
            for path in (root / name).iterdir()
            if _VERSION.fullmatch(path.name)
        }
        return tuple(sorted(found))

    def names(self) -> tuple[str, ...]:
        """Names of all models that have a version."""
        for root in self.roots:
            if root.exists() and not root.is_dir():
                raise BrokenModelError(f"{root} is a file, no model store; set models.store to a folder")
        found = {path.name for root in self.roots if root.is_dir() for path in root.iterdir()}
        return tuple(sorted(name for name in found if _NAME.fullmatch(name) and self.versions(name)))

    def list(self) -> tuple[Listing, ...]:
        """Every version with the aliases that point at it; only manifests are read.

        Raises:
            BrokenModelError: a manifest is missing or unreadable.
        """
        lines = []
        for name in self.names():
            aliases = self._aliases(name)
            for version in self.versions(name):
                path = self._find(name, version)
                manifest = _read_manifest(path, name, version)
                here = tuple(alias for alias, target in aliases.items() if target == version)
                lines.append(Listing(name, version, here, manifest.title, manifest.trained_on, manifest.created, path))
        return tuple(lines)

    def _aliases(self, name: str) -> dict[str, int]:
        files = {
            file.name
            for root in self.roots
            for file in (root / name / "aliases").glob("*")
            if _NAME.fullmatch(file.name)
        }
        return {alias: self.resolve(f"{name}@{alias}")[1] for alias in sorted(files)}

    def _find(self, name: str, version: int, first: Path | None = None) -> Path:
        for root in self.roots if first is None else (first, *self.roots):
            if (root / name / str(version)).is_dir():
                return root / name / str(version)
        raise self._missing(name, f"{name}@{version}")

    def _missing(self, name: str, wanted: str) -> ModelNotFoundError:
        known = ", ".join(f"{name}@{version}" for version in self.versions(name)) or ", ".join(self.names()) or "none"
        places = ", ".join(str(root) for root in self.roots)
        return ModelNotFoundError(
            f"no model {wanted} in {places} (there: {known}); "
            f"make one with: sightline train win-tsstn --data PATH --name {name} --alias live"
        )


def _checked_name(name: str) -> str:
    """Names become folders: nothing but letters, digits and hyphens gets through."""
    if not _NAME.fullmatch(name) or len(name) > _LONGEST_NAME:
        raise BadReference(
            f"bad model name or alias {name[:_LONGEST_NAME]!r}: use lower-case letters, digits and single hyphens, "
            f"at most {_LONGEST_NAME}"
        )
    return name


def _read_manifest(path: Path, name: str, version: int) -> Manifest:
    file = path / MANIFEST
    try:
        raw = _from_json(file, file.read_bytes())
    except (FileNotFoundError, IsADirectoryError) as error:
        raise BrokenModelError(f"{file} is missing: the version is incomplete, train it again") from error
    wanted = {field.name for field in fields(Manifest)}
    if set(raw) != wanted:
        raise BrokenModelError(f"{file}: keys {sorted(raw)} instead of {sorted(wanted)}")
    for field in fields(Manifest):
        kind = {"version": int, "sha256": dict}.get(field.name, str)
        if type(raw[field.name]) is not kind:
            raise BrokenModelError(
                f"{file}: {field.name} must be {_JSON_KINDS[kind]}, not {str(raw[field.name])[:40]!r}"
            )
    manifest = Manifest(**raw)
    if (manifest.name, manifest.version) != (name, version):
        raise BrokenModelError(f"{file}: says {manifest.name}@{manifest.version}, but lies at {name}@{version}")
    if set(manifest.sha256) - {TRAINING_MATCHES} != set(_CHECKED):
        raise BrokenModelError(
            f"{file}: sha256 must list exactly {', '.join(_CHECKED)}, and {TRAINING_MATCHES} where there is one"
        )
    return manifest


def _read_checked(file: Path, digest: str) -> bytes:
    try:
        data = file.read_bytes()
    except (FileNotFoundError, IsADirectoryError) as error:
        raise BrokenModelError(f"{file} is missing: the version is incomplete, train it again") from error
    if hashlib.sha256(data).hexdigest() != digest:
        raise BrokenModelError(f"{file} is not the file that was saved (sha256 differs): restore it or train again")
    return data


def _write_synced(file: Path, data: bytes) -> None:
    with file.open("wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())


def _to_json(value: Mapping[str, Any]) -> bytes:
    return (json.dumps(value, indent=2, allow_nan=False) + "\n").encode()


def _from_json(file: Path, data: bytes) -> dict[str, Any]:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise BrokenModelError(f"{file}: not JSON: {error}") from error
    if not isinstance(value, dict):
        raise BrokenModelError(f"{file}: must hold a JSON object")
    return value
