"""Which version and which commit of the code is running."""

from __future__ import annotations

import subprocess
from pathlib import Path

_LONGEST_S = 10.0


def code_version() -> str:
    """Version of this project; "source" where it runs from a folder that was never installed."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("sightline")
    except PackageNotFoundError:
        return "source"


def code_commit() -> str:
    """The git commit of this very code, with "-dirty" where files differ from it; "" where git does not know the code,
    as in an installed package or a cluster's copy of a folder."""
    here = Path(__file__).resolve()
    # A package that merely lies inside somebody's repository is not of its commits.
    if _git(here.parent, "ls-files", "--error-unmatch", here.name) is None:
        return ""
    return _git(here.parent, "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*") or ""


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(  # nosec B603 B607  # reads what git knows; whichever git the machine has
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=_LONGEST_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):  # there is no git here
        return None
    return done.stdout.strip() if done.returncode == 0 else None
