"""Where a training runs: versions, commit, machine."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from jobs.commit import code_commit

_PACKAGES = ("sightline", "torch", "ray", "numpy", "polars", "safetensors")


def environment() -> dict[str, Any]:
    """JSON values, nothing secret: no environment variable is among them."""
    import torch

    return {
        "commit": code_commit(),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in _PACKAGES},
        "machine": platform.node(),
        "platform": platform.platform(),
        "cores": os.cpu_count(),
        "gpus": [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())],
        "folder": os.getcwd(),
    }


def machine_words() -> str:
    """Cores, processor and memory, as a report names them."""
    memory_gb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    try:
        told = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:  # no Linux
        told = []
    names = [line.partition(": ")[2] for line in told if line.startswith("model name")]
    return f"{os.cpu_count()} cores ({names[0] if names else platform.processor()}), {memory_gb:.0f} GiB"


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:  # ours, where it runs from a folder that was never installed
        return "source"
