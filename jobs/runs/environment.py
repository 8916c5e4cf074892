"""Where a training runs: versions, commit, machine."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
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


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:  # ours, where it runs from a folder that was never installed
        return "source"
