"""Nothing that comes from outside is ever unpickled, evaluated, imported by name or given to a shell: read from the
syntax of every module, so that no spelling of an import hides it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("streaming", "models", "serve", "jobs")

MODULES = {
    "pickle", "_pickle", "cPickle", "cloudpickle", "dill", "joblib", "marshal", "shelve", "jsonpickle", "pickle5",
    "code", "codeop", "runpy", "imp", "pty", "commands",
}  # fmt: skip
NAMES = {"eval", "exec", "compile", "__import__", "execfile"}
CALLS = {
    "os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput", "yaml.load", "yaml.unsafe_load",
    "yaml.full_load", "yaml.load_all", "yaml.full_load_all", "torch.load", "torch.jit.load", "torch.hub.load",
    "pandas.read_pickle", "importlib.import_module", "builtins.eval", "builtins.exec", "builtins.__import__",
    "pyarrow.deserialize", "polars.DataFrame.deserialize", "polars.LazyFrame.deserialize", "polars.Expr.deserialize",
    "ray.cloudpickle.loads", "asyncio.create_subprocess_shell", "ssl._create_unverified_context",
}  # fmt: skip
ARGUMENTS = {("shell", True), ("allow_pickle", True), ("weights_only", False), ("verify", False)}

ALLOWED: dict[str, str] = {}
"""`FILE: WHAT` → why it cannot touch anything from outside. There is none; an entry that is not needed fails."""


def modules() -> list[Path]:
    return sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


def unsafe(source: str) -> Iterator[str]:
    """What a module does that is not safe on foreign data."""
    tree = ast.parse(source)
    aliases: dict[str, str] = {}  # local name → what it stands for
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                aliases[alias.asname or alias.name.split(".")[0]] = (
                    alias.name if alias.asname else alias.name.split(".")[0]
                )
                if alias.name.split(".")[0] in MODULES or "cloudpickle" in alias.name.split("."):
                    yield f"import {alias.name}"
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            for alias in node.names:
                full = f"{module}.{alias.name}"
                aliases[alias.asname or alias.name] = full
                if module.split(".")[0] in MODULES or {"cloudpickle", "pickle"} & set(full.split(".")):
                    yield f"import {full}"
                elif full in CALLS:
                    yield full
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id in NAMES and node.id not in aliases:
            yield node.id  # named at all: it could be called under another name
        elif isinstance(node, ast.Attribute) and (name := _dotted(node, aliases)) in CALLS:
            yield name
        elif isinstance(node, ast.Call):
            for keyword in node.keywords:
                if isinstance(keyword.value, ast.Constant) and (keyword.arg, keyword.value.value) in ARGUMENTS:
                    yield f"{keyword.arg}={keyword.value.value}"


def _dotted(node: ast.expr, aliases: dict[str, str]) -> str:
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value, aliases)}.{node.attr}"
    return aliases.get(node.id, node.id) if isinstance(node, ast.Name) else "?"


def test_nothing_foreign_is_ever_unpickled_or_run() -> None:
    assert len(modules()) > 100  # it looks where the code is
    found = {
        f"{path.relative_to(ROOT)}: {what}" for path in modules() for what in unsafe(path.read_text(encoding="utf-8"))
    }
    assert found - ALLOWED.keys() == set()
    assert ALLOWED.keys() - found == set(), "no longer needed"


@pytest.mark.parametrize(
    "source",
    [
        "import pickle", "import pickle as p", "from pickle import loads", "import ray.cloudpickle",
        "from ray import cloudpickle", "import os.path, marshal", "eval('1')", "run = exec", "__import__(name)",
        "import torch\ntorch.load(path)", "import torch as t\nt.load(path)", "from torch import load\nload(path)",
        "import numpy as np\nnp.load(path, allow_pickle=True)", "import subprocess\nsubprocess.run(line, shell=True)",
        "from os import system", "import os\nrun = os.system", "import yaml\nyaml.load(text)",
        "import importlib\nimportlib.import_module(name)", "from importlib import import_module as i",
        "def f():\n    import dill", "import polars as pl\npl.Expr.deserialize(b)", "client(verify=False)",
    ],
)  # fmt: skip
def test_the_scan_sees(source: str) -> None:
    assert list(unsafe(source)) != []


@pytest.mark.parametrize(
    "source",
    [
        "model.eval()", "import re\nre.compile('x')", "import numpy as np\nnp.load(path)", "pickle = 1",
        "import subprocess\nsubprocess.run(['a'], shell=False)", "import json\njson.load(f)",
        "import yaml\nyaml.safe_load(f)",
        "import torch\ntorch.compile(model)", "'eval(this)'", "import importlib.util\nimportlib.util.find_spec('x')",
    ],
)  # fmt: skip
def test_the_scan_lets_be(source: str) -> None:
    assert list(unsafe(source)) == []
