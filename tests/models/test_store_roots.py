"""Where a store may lie: one contract for folders and URLs, and a store over each of them."""

from __future__ import annotations

import functools
import hashlib
import http.server
import json
import os
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from models.store import BadReference, BrokenModelError, ModelNotFoundError, ModelStore, StoreUnavailableError
from models.store.roots import Root, open_root
from tests.stored_models import save_small
from tests.waiting import PATIENCE_S


@pytest.fixture(params=["folder", "file", "memory"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "memory":
        url = f"memory://models-{uuid.uuid4().hex}"
        yield url
        fsspec.filesystem("memory").rm(url, recursive=True)
    else:
        folder = tmp_path / "store"
        folder.mkdir()
        yield str(folder) if request.param == "folder" else f"file://{folder}"


@pytest.fixture
def root(place: str) -> Root:
    root = open_root(place)
    root.create("here", b"")
    return root


def test_a_file_is_created_once(root: Root) -> None:
    root.create("a/b/c", b"first")
    with pytest.raises(FileExistsError):
        root.create("a/b/c", b"second")
    assert root.read("a/b/c", 5) == b"first"
    assert root.children("a") == ("b",) and root.children("a/b") == ("c",), "and no draft is left"


def test_a_file_is_replaced(root: Root) -> None:
    for data in (b"first", b"second", b""):
        root.replace("a/b", data)
        assert root.read("a/b", 10) == data and root.children("a") == ("b",)


def test_no_more_is_read_than_the_reader_bears(root: Root) -> None:
    root.create("a", b"12345")
    assert root.read("a", 5) == b"12345"
    with pytest.raises(BrokenModelError, match=r"/a is larger than the 4 bytes"):
        root.read("a", 4)


def test_what_is_not_there_is_not_there(root: Root) -> None:
    root.create("a/b", b"")
    for path in ("c", "a", "a/c"):
        with pytest.raises(FileNotFoundError):
            root.read(path, 10)
    assert root.children("c") == () and root.untouched_s("c") is None
    root.delete("c")


def test_a_folder_is_deleted_whole(root: Root) -> None:
    for path in ("a/b", "a/c/d", "e"):
        root.create(path, b"")
    root.delete("a")
    assert root.children("a") == () == root.children("a/c") and root.read("e", 1) == b""
    root.delete("e")
    assert set(root.children("")) == {"here"}


def test_a_folder_is_as_old_as_its_youngest_file(tmp_path: Path) -> None:
    root = open_root(tmp_path)
    root.create("a/old", b"")
    root.create("a/b/young", b"")
    for path in ("a/b/young", "a/b", "a/old", "a"):
        age_s = 10 if path == "a/b/young" else 5000
        os.utime(tmp_path / path, (time.time() - age_s,) * 2)
    assert root.untouched_s("a/old") == pytest.approx(5000, abs=100)
    assert root.untouched_s("a") == pytest.approx(10, abs=100)


def test_a_url_tells_the_age_of_what_it_knows() -> None:
    root = open_root(f"memory://{uuid.uuid4().hex}")
    root.create("a/b", b"")
    age_s = root.untouched_s("a")
    assert age_s is not None and -1 < age_s < 300


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("nowhere://x", "nowhere://x: cannot be a model store here: .*nowhere"),
        ("s3::memory://x", "leave out the part before '::'"),
        ("ftp://me:hunter2@host/x", r"^ftp://host/x: must be without user and password.*FSSPEC_FTP_"),
    ],
)
def test_a_url_that_leads_nowhere_is_named(url: str, said: str) -> None:
    with pytest.raises(BadReference, match=said) as told:
        ModelStore(url)
    assert "hunter2" not in str(told.value)


def test_a_driver_that_is_not_installed_is_named() -> None:
    if "s3fs" in sys.modules or _installed("s3fs"):
        pytest.skip("s3fs is here")
    with pytest.raises(BadReference, match=r"s3://bucket/models: .*nstall s3fs"):
        ModelStore("s3://bucket/models")


def _installed(name: str) -> bool:
    from importlib.util import find_spec

    return find_spec(name) is not None


def test_a_store_works_the_same_everywhere(place: str) -> None:
    store = ModelStore(place)
    assert store.names() == () and store.alias_state("m") is None
    store.prepare("m")
    first, second = save_small(store, seed=1), save_small(store, seed=2, parent="m@1")
    assert (first.version, second.version, second.parent) == (1, 2, "m@1")
    store.set_alias("m", "live", 1)
    store.set_alias("m", "live", 2)
    again = ModelStore(place)  # nothing is remembered in the object
    assert again.resolve("m@live") == ("m", 2) and [move.before for move in again.history("m")] == [None, 1]
    stored = again.load("m@live")
    assert stored.manifest == second and stored.path.endswith("/m/2")
    assert stored.weight_hash != again.load("m@1").weight_hash
    assert [(line.version, line.aliases) for line in again.list()] == [(1, ()), (2, ("live",))]
    with pytest.raises(ModelNotFoundError, match=r"no model m@3 in .*there: m@1, m@2"):
        again.load("m@3")


@pytest.mark.parametrize("file", ["weights.safetensors", "config.json", "metrics.json", "manifest.json"])
def test_a_version_at_a_url_is_checked_the_same(file: str) -> None:
    store = ModelStore(url := f"memory://{uuid.uuid4().hex}")
    save_small(store)
    files = fsspec.filesystem("memory")
    whole = files.cat_file(f"{url}/m/1/{file}")
    for data in (whole[:-3], bytes([whole[0] ^ 1]) + whole[1:]):
        files.pipe_file(f"{url}/m/1/{file}", data)
        with pytest.raises(BrokenModelError, match=rf"m/1/{file}"):
            store.load("m@1")
    files.rm(f"{url}/m/1/{file}")
    with pytest.raises(BrokenModelError, match=rf"{file} is missing"):
        store.load("m@1")


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *words: object) -> None:
        pass


@pytest.fixture
def served(tmp_path: Path) -> Iterator[str]:
    """A web server over a folder: a real place on the network, which cannot be written to."""
    handler = functools.partial(_Quiet, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_store_is_read_through_a_web_server(served: str, tmp_path: Path) -> None:
    local, remote = ModelStore(tmp_path), ModelStore(served)
    save_small(local)
    local.set_alias("m", "live", 1)
    assert remote.names() == ("m",) and remote.versions("m") == (1,)
    assert remote.alias_state("m") is not None
    assert remote.load("m@live").weight_hash == local.load("m@live").weight_hash
    with pytest.raises(StoreUnavailableError, match=r"http://127.*/m/2/config.json: .*501"):
        save_small(remote)
    local.set_alias("m", "live", 1)
    state = remote.alias_state("m")
    assert state is not None and state.moves == 2, "what it said before is not remembered"


def test_a_place_that_does_not_answer_is_not_taken_for_an_empty_one(tmp_path: Path) -> None:
    store = ModelStore("http://127.0.0.1:9", tmp_path)  # the discard port: nobody listens
    save_small(ModelStore(tmp_path))
    with pytest.raises(StoreUnavailableError, match=r"http://127.0.0.1:9/m/"):
        store.load("m@live")
    with pytest.raises(StoreUnavailableError, match=r"http://127.0.0.1:9/m/1"):
        store.load("m@1")


def test_whoever_only_watches_an_alias_needs_no_torch(tmp_path: Path) -> None:
    store = ModelStore(tmp_path)
    save_small(store)
    store.set_alias("m", "live", 1)
    watch = "import sys; from models.store import ModelStore; print(ModelStore(sys.argv[1]).alias_state('m').version)"
    script = f"{watch}; assert 'torch' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "1\n"), done.stderr


def test_an_old_manifest_without_lineage_is_read(tmp_path: Path) -> None:
    store = ModelStore(tmp_path)
    save_small(store, parent="m@7", recipe={"name": "r", "config": {"lr": 1}}, commit="c0ffee")
    file = tmp_path / "m" / "1" / "manifest.json"
    raw = json.loads(file.read_text())
    manifest = store.load("m@1").manifest
    assert (manifest.parent, manifest.recipe, manifest.commit) == ("m@7", {"name": "r", "config": {"lr": 1}}, "c0ffee")
    file.write_text(json.dumps({key: raw[key] for key in raw if key not in ("parent", "recipe", "commit")}))
    manifest = store.load("m@1").manifest
    assert (manifest.parent, manifest.recipe, manifest.commit) == ("", {}, "")
    file.write_text(json.dumps({key: raw[key] for key in raw if key != "title"}))
    with pytest.raises(BrokenModelError, match=r"keys .* instead of"):
        store.load("m@1")
    file.write_text(json.dumps({**raw, "recipe": []}))
    with pytest.raises(BrokenModelError, match=r"recipe must be an object, not '\[\]'"):
        store.load("m@1")


def test_a_parent_that_is_no_version_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(BadReference, match="names no version"):
        save_small(ModelStore(tmp_path), parent="m@live")
    assert list(tmp_path.iterdir()) == []


def test_weights_that_claim_terabytes_cost_nothing(tmp_path: Path) -> None:
    """With a digest that is right, so that only the header itself can give the lie away."""
    store = ModelStore(tmp_path)
    save_small(store)
    folder = tmp_path / "m" / "1"
    size = 1 << 42
    header = json.dumps({"w": {"dtype": "F32", "shape": [size // 4], "data_offsets": [0, size]}}).encode()
    for data in (len(header).to_bytes(8, "little") + header, (1 << 60).to_bytes(8, "little") + header):
        (folder / "weights.safetensors").write_bytes(data)
        raw = json.loads((folder / "manifest.json").read_text())
        raw["sha256"]["weights.safetensors"] = hashlib.sha256(data).hexdigest()
        (folder / "manifest.json").write_text(json.dumps(raw))
        with pytest.raises(BrokenModelError, match=r"weights.safetensors: not a safetensors file"):
            store.load("m@1")


def test_a_file_that_is_larger_than_any_can_be_is_not_read(tmp_path: Path) -> None:
    store = ModelStore(tmp_path)
    save_small(store)
    with (tmp_path / "m" / "1" / "config.json").open("r+b") as file:
        file.truncate(1 << 42)  # a hole: no disk is used
    with pytest.raises(BrokenModelError, match=r"config.json is larger than the 4,194,304 bytes"):
        store.load("m@1")


def test_a_file_in_the_place_of_a_folder_is_no_model(tmp_path: Path) -> None:
    store = ModelStore(tmp_path)
    (tmp_path / "m").write_text("in the way")
    assert store.names() == () and store.alias_state("m") is None
    for ref in ("m@1", "m@live"):
        with pytest.raises(ModelNotFoundError):
            store.load(ref)


def test_two_who_save_at_once_get_two_numbers(tmp_path: Path) -> None:
    store = ModelStore(tmp_path)
    told: list[int] = []
    begin = threading.Barrier(4)

    def save() -> None:
        begin.wait(PATIENCE_S)
        told.extend(save_small(store).version for _ in range(3))

    threads = [threading.Thread(target=save) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert sorted(told) == list(range(1, 13)) == list(store.versions("m"))
    for version in told:
        store.load(f"m@{version}")
