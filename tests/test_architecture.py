"""The rules that a person would otherwise have to watch: who imports whom, style, types, and what never to use."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("streaming", "models", "serve", "jobs")
TREES = (*PACKAGES, "tests", "deploy")
SKIPPED = {"node_modules", "__pycache__", "dist"}
BIN = Path(sys.executable).parent


def sources(*suffixes: str, trees: tuple[str, ...] = TREES) -> list[Path]:
    """Files of ours with these endings; never what a tool made."""
    found = (path for tree in trees for path in (ROOT / tree).rglob("*") if path.suffix in suffixes)
    return sorted(path for path in found if not SKIPPED & set(path.parts))


def run(*command: str) -> None:
    done = subprocess.run([str(BIN / command[0]), *command[1:]], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}:\n{done.stdout}{done.stderr}"


def lines_that_match(pattern: str, files: list[Path]) -> list[str]:
    rule = re.compile(pattern)
    return [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in files
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if rule.search(line)
    ]


def test_the_packages_import_only_downwards() -> None:
    run("lint-imports")


def test_streaming_knows_nothing_of_ray_serve() -> None:
    """The import contracts name whole packages outside ours only; this is a part of one."""
    assert lines_that_match(r"\bray\.serve\b|from ray import .*\bserve\b", sources(".py", trees=("streaming",))) == []


def test_style() -> None:
    run("ruff", "check", ".")


def test_format() -> None:
    run("ruff", "format", "--check", ".")


@pytest.mark.long  # `make lint` does it as well
def test_types() -> None:
    run("mypy")


def test_commands_answer_through_their_console_and_not_by_print() -> None:
    assert lines_that_match(r"(?<![\w.\"'`=])print\(", sources(".py", trees=PACKAGES)) == []


def test_no_package_index_is_written_down() -> None:
    files = [ROOT / name for name in ("pyproject.toml", "requirements.lock", "Makefile", ".pre-commit-config.yaml")]
    files += sources(".py", ".toml", ".json", ".yaml", ".yml", ".npmrc", trees=("serve", "deploy", "streaming", "jobs"))
    ways = (
        r"--(extra-)?index-url|--find-links|--trusted-host|files\.pythonhosted|pypi\.org|registry\.npmjs|\"resolved\":"
    )
    assert lines_that_match(ways, [path for path in files if path.is_file()]) == []


def test_no_file_grows_beyond_what_one_reads_in_a_sitting() -> None:
    long = {str(path.relative_to(ROOT)): n for path in sources(".py", ".ts") if (n := _lines(path)) > 600}
    assert long == {}


def test_every_test_file_has_a_name_of_its_own() -> None:
    names = [path.name for path in sources(".py", trees=("tests",)) if path.name.startswith("test_")]
    assert sorted(names) == sorted(set(names))


def _lines(path: Path) -> int:
    return path.read_text(encoding="utf-8").count("\n")
