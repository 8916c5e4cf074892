"""`make audit`: bandit over our packages, pip-audit over the pinned ones. It exits with 1 where either finds anything.

    python deploy/audit.py     from the root of the project, with the Python of `.audit`

The service that knows the vulnerabilities may be out of reach, or know nothing of what it is asked: that is said, and
what it did not look at counts as not audited, never as sound.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

PACKAGES = ("streaming", "models", "serve", "jobs")
LOCK = "requirements.lock"
_TIMEOUT_S = 300


def main() -> int:
    """Both, whatever the first says."""
    sound = bandit()
    return 0 if pip_audit() and sound else 1


def bandit() -> bool:
    """Whether our own code is without findings."""
    done = _run("bandit", "--quiet", "--recursive", *PACKAGES, "--configfile", "pyproject.toml")
    say(done.stdout.strip() or f"bandit: nothing found in {', '.join(PACKAGES)}")
    if done.returncode not in (0, 1):
        say(f"bandit: failed: {_last_line(done.stderr)}")
    return done.returncode == 0


def pip_audit() -> bool:
    """Whether no pinned package is known to be vulnerable. Unknown is not a finding."""
    try:
        done = _run("pip_audit", "--requirement", LOCK, "--disable-pip", "--require-hashes", "--format", "json")
        told: dict[str, Any] = json.loads(done.stdout)
    except (subprocess.TimeoutExpired, ValueError) as problem:
        why = f"no answer within {_TIMEOUT_S} s" if isinstance(problem, subprocess.TimeoutExpired) else done.stderr
        say(f"pip-audit: not done, {LOCK} is not audited: {_last_line(why)}")
        return True
    packages = told["dependencies"]
    found = [(package, vulnerability) for package in packages for vulnerability in package.get("vulns", ())]
    for package, vulnerability in found:
        remedy = ", ".join(vulnerability["fix_versions"]) or "no release that mends it"
        say(f"pip-audit: {package['name']} {package['version']}: {vulnerability['id']}: {remedy}")
    unknown = [package for package in packages if "skip_reason" in package]
    known = len(packages) - len(unknown)
    say(f"pip-audit: {known} of {len(packages)} packages of {LOCK} audited, {len(found)} findings")
    if unknown:
        say(f"pip-audit: {len(unknown)} NOT audited, such as {unknown[0]['name']}: {unknown[0]['skip_reason']}")
    return not found


def say(words: str) -> None:
    """For the person at the prompt."""
    sys.stdout.write(f"{words}\n")


def _run(*module: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", *module]
    return subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["it said nothing"])[-1]


if __name__ == "__main__":
    sys.exit(main())
