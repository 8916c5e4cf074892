"""What of a model's old versions, and of what was cut off while it was written, can go."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from models.store.aliases import meanings
from models.store.errors import BadReference
from models.store.manifest import MANIFEST, is_whole, numbers
from models.store.names import checked_name
from models.store.roots import DRAFT, Root
from models.store.store import SHIPPED, ModelStore

DRAFTS_KEPT_S = 24 * 3600.0
"""Nobody writes one version for so long."""


@dataclass(frozen=True)
class Collected:
    """What went, or would go.

    Attributes:
        deleted: NAME@VERSION of each.
        kept: NAME@VERSION → why it stays, of those that are old enough to go.
        drafts: places of what was half written.
    """

    deleted: tuple[str, ...]
    kept: dict[str, str]
    drafts: tuple[str, ...]


def collect_garbage(
    store: ModelStore, name: str, *, keep: int, pinned: Collection[str] = (), dry_run: bool = False
) -> Collected:
    """Delete all versions of a model in the store's own root but the newest, and drafts older than a day.

    What an alias means, has meant before its last move, or would mean after a rollback stays. An alias that is moved to
    an old version in the very moment of its deletion is the one case that nothing guards.

    Args:
        store: its own root is looked at, no other.
        name: of the model.
        keep: how many of the newest stay, at least 1: numbers are never given twice.
        pinned: references "NAME@VERSION" that somebody uses without an alias.
        dry_run: only say what would go.

    Raises:
        BadReference: the name, or the store's own root is that of the models that ship.
        ValueError: keep is below 1.
    """
    if keep < 1:
        raise ValueError(f"keep must be at least 1, not {keep}: the newest version keeps its number from another")
    if Path(str(store.own)).resolve() == SHIPPED.resolve():
        raise BadReference(f"{store.own} holds the models that ship with Sightline: none of them goes")
    own = store.own
    whole = [number for number in numbers(own, checked_name(name)) if is_whole(own, name, number)]
    deleted, kept = [], {}
    for version in whole[:-keep]:
        ref = f"{name}@{version}"
        why = "the settings name it" if ref in pinned else _needed(store, name).get(version, "")  # asked anew each time
        if why:
            kept[ref] = why
            continue
        deleted.append(ref)
        if not dry_run:
            own.delete(f"{name}/{version}/{MANIFEST}")  # first, so that nobody finds a version that lacks a part
            own.delete(f"{name}/{version}")
            own.delete(f"{name}/verdicts/{version}.json")
    drafts = [path for path in _drafts(own, name) if (own.untouched_s(path) or 0.0) > DRAFTS_KEPT_S]
    if not dry_run:
        for path in drafts:
            own.delete(path)
    return Collected(tuple(deleted), kept, tuple(own.at(path) for path in drafts))


def _needed(store: ModelStore, name: str) -> dict[int, str]:
    """Versions that an alias needs, and what for."""
    needed: dict[int, str] = {}
    for alias, state in store.aliases(name).items():
        history = store.history(name, alias)
        for before in (history[-1].before if history else None, *meanings(history)[-2:-1]):
            if before is not None:
                needed.setdefault(before, f"{alias} meant it before")
        needed[state.version] = f"{alias} means it"
    return needed


def _drafts(root: Root, name: str) -> list[str]:
    """Versions without a manifest, and files that were never put in their place."""
    versions = {f"{name}/{number}": is_whole(root, name, number) for number in numbers(root, name)}
    begun = [path for path, whole in versions.items() if not whole]
    logs = [f"{name}/history/{alias}" for alias in root.children(f"{name}/history")]
    folders = [name, f"{name}/aliases", f"{name}/verdicts", *logs, *(path for path, whole in versions.items() if whole)]
    left = [f"{folder}/{child}" for folder in folders for child in root.children(folder) if child.startswith(DRAFT)]
    return begun + left
