"""The files of a version, its manifest, and reading any of them without believing it.

ROOT/NAME/VERSION/weights.safetensors      tensors
ROOT/NAME/VERSION/config.json              architecture and sizes, read by models._registry
ROOT/NAME/VERSION/metrics.json             figures from training
ROOT/NAME/VERSION/training_matches.u64     marks of the matches that it learned from; only where it says so
ROOT/NAME/VERSION/manifest.json            what it is, where it comes from, and the sha256 of each file above
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import Any

from models.store.errors import BrokenModelError
from models.store.names import is_version
from models.store.roots import Root

WEIGHTS, CONFIG, METRICS, MANIFEST = "weights.safetensors", "config.json", "metrics.json", "manifest.json"
TRAINING_MATCHES = "training_matches.u64"

LIMITS_BYTES = {
    WEIGHTS: 16 << 30,
    CONFIG: 4 << 20,
    METRICS: 64 << 20,
    TRAINING_MATCHES: 1 << 30,
    MANIFEST: 4 << 20,
}
"""How large each file may be; no more than that is ever read."""

_ALWAYS = (WEIGHTS, CONFIG, METRICS)
_JSON_KINDS = {str: "text", int: "a whole number", dict: "an object"}


@dataclass(frozen=True)
class Manifest:
    """What a version is and where it comes from.

    Attributes:
        sha256: digest of each other file of the version.
        parent: "NAME@VERSION" that it was trained from or is to replace; "" for none, and in older versions.
        recipe: {"name": of the recipe, "config": all its fields}; empty where unknown.
        commit: the code that trained it: a git commit, else a version of this project; "" where unknown.
    """

    name: str
    version: int
    title: str
    trained_on: str
    data_fingerprint: str
    code_version: str
    created: str
    sha256: dict[str, str]
    parent: str = ""
    recipe: dict[str, Any] = field(default_factory=dict)
    commit: str = ""

    @property
    def reference(self) -> str:
        """NAME@VERSION."""
        return f"{self.name}@{self.version}"


_KINDS: dict[str, type] = {
    f.name: {"version": int, "sha256": dict, "recipe": dict}.get(f.name, str) for f in fields(Manifest)
}
_OLDEST = {f.name for f in fields(Manifest) if f.default is MISSING and f.default_factory is MISSING}


def numbers(root: Root, name: str) -> tuple[int, ...]:
    """Numbers that are taken in a root, by whole versions and by half-written ones; rising."""
    return tuple(sorted(int(child) for child in root.children(name) if is_version(child)))


def is_whole(root: Root, name: str, version: int) -> bool:
    """Has its manifest, which is written last?"""
    return MANIFEST in root.children(f"{name}/{version}")


def read_manifest(root: Root, name: str, version: int) -> Manifest:
    """The manifest of a version that is there.

    Raises:
        BrokenModelError: it is missing, no manifest, or that of another version.
    """
    path = f"{name}/{version}/{MANIFEST}"
    place = root.at(path)
    try:
        data = root.read(path, LIMITS_BYTES[MANIFEST])
    except FileNotFoundError as error:
        raise BrokenModelError(
            f"{place} is missing: the version is incomplete: it is still being written, or its writing was cut off; "
            "train it again"
        ) from error
    raw = from_json(place, data)
    if not _OLDEST <= set(raw) <= set(_KINDS):
        raise BrokenModelError(f"{place}: keys {sorted(raw)} instead of {sorted(_KINDS)}")
    for key, value in raw.items():
        if type(value) is not _KINDS[key]:
            raise BrokenModelError(f"{place}: {key} must be {_JSON_KINDS[_KINDS[key]]}, not {str(value)[:40]!r}")
    manifest = Manifest(**raw)
    if (manifest.name, manifest.version) != (name, version):
        raise BrokenModelError(f"{place}: says {manifest.reference}, but lies at {name}@{version}")
    if set(manifest.sha256) - {TRAINING_MATCHES} != set(_ALWAYS):
        raise BrokenModelError(
            f"{place}: sha256 must list exactly {', '.join(_ALWAYS)}, and {TRAINING_MATCHES} where there is one"
        )
    return manifest


def read_checked(root: Root, manifest: Manifest, file: str) -> bytes:
    """One of the files that a manifest lists.

    Raises:
        BrokenModelError: it is missing, too large, or not the file that was saved.
    """
    path = f"{manifest.name}/{manifest.version}/{file}"
    try:
        data = root.read(path, LIMITS_BYTES[file])
    except FileNotFoundError as error:
        raise BrokenModelError(f"{root.at(path)} is missing: the version is incomplete, train it again") from error
    if hashlib.sha256(data).hexdigest() != manifest.sha256[file]:
        raise BrokenModelError(
            f"{root.at(path)} is not the file that was saved (sha256 differs): restore it or train again"
        )
    return data


def to_json(value: Mapping[str, Any]) -> bytes:
    """As this store writes it.

    Raises:
        ValueError, TypeError: no JSON value; NaN is none.
    """
    return (json.dumps(value, indent=2, allow_nan=False) + "\n").encode()


def from_json(place: str, data: bytes) -> dict[str, Any]:
    """The object in a file.

    Raises:
        BrokenModelError: it holds anything else.
    """
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise BrokenModelError(f"{place}: not JSON: {error}") from error
    if not isinstance(value, dict):
        raise BrokenModelError(f"{place}: must hold a JSON object")
    return value
