"""The model store: immutable versions, aliases that move, nothing believed unchecked."""

from __future__ import annotations

import json
import os
import pickle
from datetime import UTC, datetime
from pathlib import Path

import pytest
import torch

from models._registry import config_to_json
from models.store import BadReference, BrokenModelError, Manifest, ModelNotFoundError, ModelStore
from models.tsstn import TSSTN, TSSTNConfig

CONFIG = TSSTNConfig(groups=(("gold", ("gold",)),), hidden=3, state=2)


def save(store: ModelStore, name: str = "tsstn-lol", seed: int = 0) -> tuple[Manifest, TSSTN]:
    torch.manual_seed(seed)
    model = CONFIG.build()
    manifest = store.save(
        name,
        model,
        config_to_json(CONFIG),
        metrics={"log_loss": 0.5},
        title="lol",
        trained_on="three matches",
        data_fingerprint="abc",
        code_version="0.1.0",
        created=datetime(2026, 1, 2, tzinfo=UTC),
    )
    return manifest, model


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    return ModelStore(tmp_path / "mine", tmp_path / "shipped")


def test_what_was_saved_comes_back(store: ModelStore) -> None:
    manifest, model = save(store)
    stored = store.load("tsstn-lol@1")
    assert stored.manifest == manifest and stored.metrics == {"log_loss": 0.5}
    assert manifest.created == "2026-01-02T00:00:00+00:00"
    assert stored.weight_hash == manifest.sha256["weights.safetensors"][:12] and len(stored.weight_hash) == 12
    for name, value in stored.build().state_dict().items():
        assert torch.equal(value, model.state_dict()[name])


def test_versions_count_up_and_aliases_move(store: ModelStore) -> None:
    for seed in range(2):
        save(store, seed=seed)
    store.set_alias("tsstn-lol", "live", 1)
    assert store.resolve("tsstn-lol") == store.resolve("tsstn-lol@live") == ("tsstn-lol", 1)
    store.set_alias("tsstn-lol", "live", 2)
    assert store.resolve("tsstn-lol@live") == ("tsstn-lol", 2)
    assert [(line.version, line.aliases) for line in store.list()] == [(1, ()), (2, ("live",))]


def test_own_models_hide_shipped_ones_and_never_share_a_number(tmp_path: Path) -> None:
    shipped = ModelStore(tmp_path / "shipped")
    save(shipped)
    shipped.set_alias("tsstn-lol", "live", 1)
    both = ModelStore(tmp_path / "mine", tmp_path / "shipped")
    assert both.load("tsstn-lol").path == str(tmp_path / "shipped" / "tsstn-lol" / "1")
    manifest, _ = save(both, seed=1)
    assert manifest.version == 2
    both.set_alias("tsstn-lol", "live", 2)
    assert both.load("tsstn-lol").path == str(tmp_path / "mine" / "tsstn-lol" / "2")
    both.set_alias("tsstn-lol", "live", 1)  # back to the shipped one
    assert both.load("tsstn-lol").path == str(tmp_path / "shipped" / "tsstn-lol" / "1")
    assert not (tmp_path / "shipped" / "tsstn-lol" / "2").exists()


@pytest.mark.parametrize("ref", ["tsstn-lol", "tsstn-lol@live", "tsstn-lol@7", "nobody@1"])
def test_a_missing_model_says_how_to_get_one(store: ModelStore, ref: str) -> None:
    save(store)
    with pytest.raises(ModelNotFoundError, match=r"there: tsstn-lol.*sightline train win-tsstn --data PATH"):
        store.load(ref)


def test_an_alias_to_a_version_that_is_not_there_is_refused(store: ModelStore) -> None:
    save(store)
    with pytest.raises(ModelNotFoundError, match="tsstn-lol@2"):
        store.set_alias("tsstn-lol", "live", 2)


@pytest.mark.parametrize("name", ["../evil", "a/b", "", "Upper", "a--b", ".", "x.y"])
def test_a_name_cannot_leave_its_folder(store: ModelStore, name: str) -> None:
    with pytest.raises(ValueError, match="bad model name"):
        save(store, name)
    with pytest.raises(ValueError, match="bad model name"):
        store.load(f"{name}@1")
    save(store)
    with pytest.raises(ValueError, match="bad model name or alias"):
        store.set_alias("tsstn-lol", name, 1)


@pytest.mark.parametrize("file", ["weights.safetensors", "config.json", "metrics.json"])
def test_a_tampered_file_is_named(store: ModelStore, tmp_path: Path, file: str) -> None:
    save(store)
    path = tmp_path / "mine" / "tsstn-lol" / "1" / file
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(BrokenModelError, match=rf"{file} is not the file that was saved"):
        store.load("tsstn-lol@1")


@pytest.mark.parametrize("file", ["weights.safetensors", "config.json", "metrics.json", "manifest.json"])
def test_a_missing_file_is_named(store: ModelStore, tmp_path: Path, file: str) -> None:
    save(store)
    (tmp_path / "mine" / "tsstn-lol" / "1" / file).unlink()
    with pytest.raises(BrokenModelError, match=rf"{file} is missing"):
        store.load("tsstn-lol@1")


def rewrite_manifest(path: Path, **changes: object) -> None:
    raw = json.loads((path / "manifest.json").read_text())
    (path / "manifest.json").write_text(json.dumps({**raw, **changes}))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"version": 2}, "says tsstn-lol@2, but lies at tsstn-lol@1"),
        ({"extra": 1}, "keys"),
        ({"sha256": {}}, "sha256 must list exactly"),
        ({"sha256": "abc"}, "sha256 must be an object, not 'abc'"),
        ({"version": 1.0}, "version must be a whole number, not '1.0'"),
        ({"title": None}, "title must be text, not 'None'"),
    ],
)
def test_a_wrong_manifest_is_refused(
    store: ModelStore, tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    save(store)
    rewrite_manifest(tmp_path / "mine" / "tsstn-lol" / "1", **changes)
    with pytest.raises(BrokenModelError, match=message):
        store.load("tsstn-lol@1")


def test_a_store_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("")
    with pytest.raises(BrokenModelError, match="store is a file, no model store"):
        ModelStore(tmp_path / "store").list()


def test_a_manifest_that_is_not_json_is_refused(store: ModelStore, tmp_path: Path) -> None:
    save(store)
    (tmp_path / "mine" / "tsstn-lol" / "1" / "manifest.json").write_text('{"name": ')
    with pytest.raises(BrokenModelError, match=r"manifest.json: not JSON"):
        store.list()


def test_pickled_weights_are_refused_even_with_a_right_digest(store: ModelStore, tmp_path: Path) -> None:
    import hashlib

    save(store)
    path = tmp_path / "mine" / "tsstn-lol" / "1"
    evil = pickle.dumps({"scale.scale": [1.0]})
    (path / "weights.safetensors").write_bytes(evil)
    digests = json.loads((path / "manifest.json").read_text())["sha256"]
    rewrite_manifest(path, sha256={**digests, "weights.safetensors": hashlib.sha256(evil).hexdigest()})
    with pytest.raises(BrokenModelError, match="not a safetensors file"):
        store.load("tsstn-lol@1")


def test_a_failed_save_leaves_nothing(store: ModelStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Path] = []

    def disk_is_full(draft: Path, target: Path) -> None:
        made.append(target)
        if target.name == "manifest.json":
            raise OSError(28, "No space left on device")
        target.write_bytes(Path(draft).read_bytes())

    monkeypatch.setattr(os, "link", disk_is_full)
    with pytest.raises(OSError, match="No space left"):
        save(store)
    assert list((tmp_path / "mine" / "tsstn-lol").iterdir()) == []
    assert store.names() == () and len(made) == 4


def test_a_draft_of_a_killed_save_is_not_seen(store: ModelStore, tmp_path: Path) -> None:
    save(store)
    (tmp_path / "mine" / "tsstn-lol" / "2").mkdir()
    (tmp_path / "mine" / "tsstn-lol" / "2" / "config.json").write_text("{}")
    assert store.versions("tsstn-lol") == (1,) and len(store.list()) == 1
    with pytest.raises(BrokenModelError, match=r"2/manifest.json is missing: the version is incomplete: .*cut off"):
        store.load("tsstn-lol@2")
    with pytest.raises(BrokenModelError, match=r"manifest.json is missing"):
        store.set_alias("tsstn-lol", "live", 2)
    assert save(store)[0].version == 3, "a number that was taken is not given again"


def test_weights_that_do_not_fit_their_config_are_refused(store: ModelStore) -> None:
    torch.manual_seed(0)
    other = TSSTNConfig(groups=CONFIG.groups, hidden=4, state=2)
    manifest = store.save(
        "tsstn-lol", CONFIG.build(), config_to_json(other), metrics={}, title="lol", trained_on="", data_fingerprint="",
        code_version="",
    )  # fmt: skip
    with pytest.raises(BrokenModelError, match="do not fit"):
        store.load(f"tsstn-lol@{manifest.version}").build()


def test_an_alias_file_with_other_text_is_refused(store: ModelStore, tmp_path: Path) -> None:
    save(store)
    (tmp_path / "mine" / "tsstn-lol" / "aliases").mkdir()
    (tmp_path / "mine" / "tsstn-lol" / "aliases" / "live").write_text("latest")
    with pytest.raises(BrokenModelError, match="'latest' instead of a version number"):
        store.load("tsstn-lol@live")


@pytest.mark.parametrize("text", [b"\xff\xff", b"9" * 5000, "\u0662".encode(), b"0"])
def test_an_alias_file_of_strange_bytes_is_named(store: ModelStore, tmp_path: Path, text: bytes) -> None:
    save(store)
    (tmp_path / "mine" / "tsstn-lol" / "aliases").mkdir()
    (tmp_path / "mine" / "tsstn-lol" / "aliases" / "live").write_bytes(text)
    with pytest.raises(BrokenModelError, match=r"live(: holds .* instead of a version number| is larger than)"):
        store.list()


def test_weights_that_are_no_numbers_are_refused(store: ModelStore) -> None:
    model = CONFIG.build()
    with torch.no_grad():
        next(model.spatial.parameters()).fill_(torch.nan)
    store.save(
        "tsstn-lol", model, config_to_json(CONFIG), metrics={}, title="lol", trained_on="", data_fingerprint="",
        code_version="",
    )  # fmt: skip
    with pytest.raises(BrokenModelError, match="not finite"):
        store.load("tsstn-lol@1").build()


def test_what_would_keep_a_model_from_being_saved_is_known_before_training(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(NotADirectoryError):
        ModelStore(tmp_path / "file").prepare("tsstn-lol")
    store = ModelStore(tmp_path / "mine")
    for name, alias in (("Bad Name", None), ("tsstn-lol", "Bad Alias"), ("a" * 300, None)):
        with pytest.raises(BadReference, match="bad model name or alias"):
            store.prepare(name, alias)
    assert not (tmp_path / "mine").exists()
    store.prepare("tsstn-lol", "live")
    assert store.list() == () and list((tmp_path / "mine" / "tsstn-lol").iterdir()) == []


def test_an_alias_means_the_version_of_its_own_root_and_new_versions_count_those_of_all(tmp_path: Path) -> None:
    shipped = ModelStore(tmp_path / "shipped")
    first = save(shipped, "m")[0]
    shipped.set_alias("m", "live", first.version)
    alone = save(ModelStore(tmp_path / "own"), "m")[0]
    assert (first.version, alone.version) == (1, 1), "as was stored before all roots counted"
    both = ModelStore(tmp_path / "own", tmp_path / "shipped")
    assert both.load("m@live").path == str(tmp_path / "shipped" / "m" / "1")
    assert save(both, "m")[0].version == 2
