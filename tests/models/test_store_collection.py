"""What of old versions goes, and what never does."""

from __future__ import annotations

import os
import time
import uuid
from pathlib import Path

import pytest

from models.store import SHIPPED, BadReference, ModelStore, collect_garbage, promote, rollback
from tests.stored_models import save_small, verdict


def filled(place: Path | str, versions: int) -> ModelStore:
    store = ModelStore(place)
    for seed in range(versions):
        save_small(store, seed=seed)
    return store


@pytest.mark.parametrize("kind", ["folder", "memory"])
def test_the_newest_stay_and_the_rest_goes(kind: str, tmp_path: Path) -> None:
    store = filled(tmp_path if kind == "folder" else f"memory://{uuid.uuid4().hex}", 5)
    store.record_verdict("m", 1, verdict())
    save_small(store, name="other")
    tried = collect_garbage(store, "m", keep=2, dry_run=True)
    assert store.versions("m") == (1, 2, 3, 4, 5)
    done = collect_garbage(store, "m", keep=2)
    assert done == tried and done.deleted == ("m@1", "m@2", "m@3") and done.kept == {} and done.drafts == ()
    assert store.versions("m") == (4, 5) and store.versions("other") == (1,) and store.verdict("m", 1) is None
    assert save_small(store).version == 6, "numbers are not given twice"
    assert collect_garbage(store, "m", keep=9).deleted == ()


def test_what_an_alias_means_or_meant_before_stays(tmp_path: Path) -> None:
    store = filled(tmp_path, 7)
    store.set_alias("m", "live", 1)
    for version in (2, 3, 4):
        promote(store, f"m@{version}", verdict=verdict(against=f"m@{version - 1}"))
    rollback(store, "m")  # live means 3, meant 4, and would mean 2
    store.set_alias("m", "candidate", 5)
    done = collect_garbage(store, "m", keep=1, pinned={"m@6", "n@1"})
    assert done.deleted == ("m@1",)
    assert done.kept == {
        "m@2": "live meant it before",
        "m@3": "live means it",
        "m@4": "live meant it before",
        "m@5": "candidate means it",
        "m@6": "the settings name it",
    }
    assert store.versions("m") == (2, 3, 4, 5, 6, 7)
    assert rollback(store, "m").version == 2


def test_models_that_ship_stay(tmp_path: Path) -> None:
    shipped, own = filled(tmp_path / "shipped", 3), tmp_path / "own"
    store = ModelStore(own, tmp_path / "shipped")
    save_small(store)
    assert collect_garbage(store, "m", keep=1).deleted == () and shipped.versions("m") == (1, 2, 3)
    with pytest.raises(BadReference, match="the models that ship"):
        collect_garbage(ModelStore(SHIPPED), "tsstn-lol", keep=1)
    with pytest.raises(ValueError, match="keep must be at least 1"):
        collect_garbage(store, "m", keep=0)


def test_drafts_go_once_they_are_a_day_old(tmp_path: Path) -> None:
    store = filled(tmp_path, 2)
    store.set_alias("m", "live", 1)
    folder = tmp_path / "m"
    (folder / "3").mkdir()
    drafts = [
        folder / "3" / "config.json",
        folder / ".draft-a",
        folder / "1" / ".draft-b",
        folder / "history/live/.draft-c",
    ]
    for draft in drafts:
        draft.write_text("cut off")
    assert collect_garbage(store, "m", keep=9).drafts == ()
    yesterday = time.time() - 25 * 3600
    for path in (*drafts, folder / "3"):
        os.utime(path, (yesterday, yesterday))
    tried = collect_garbage(store, "m", keep=9, dry_run=True)
    assert all(draft.exists() for draft in drafts)
    done = collect_garbage(store, "m", keep=9)
    assert set(done.drafts) == {str(folder / "3"), *map(str, drafts[1:])} == set(tried.drafts)
    assert not any(draft.exists() for draft in drafts) and not (folder / "3").exists()
    assert store.versions("m") == (1, 2) and store.load("m@live").version == "1"
