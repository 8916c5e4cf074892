"""`sightline demo --loop`, as a person watches it: broker, Ray, pipeline, scheduler, and the training as a Ray job."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from jobs.loop.story import STEPS

pytestmark = [pytest.mark.kafka, pytest.mark.ray, pytest.mark.long]

ROOT = Path(__file__).parents[2]


def test_a_model_that_a_patch_made_wrong_is_replaced_without_a_gap(tmp_path: Path) -> None:
    """In memory, and in seconds: tests/jobs/test_loop_story.py."""
    done = subprocess.run(
        [sys.executable, "-m", "jobs.cli", "demo", "--loop", "--port", "0", "--json"],
        cwd=ROOT,
        env={**os.environ, "SIGHTLINE_HOME": str(tmp_path / "home"), "SIGHTLINE_CONFIG": ""},
        capture_output=True,
        text=True,
        timeout=850,
    )
    assert done.stdout, done.stderr[-4_000:]
    told = json.loads(done.stdout)
    assert done.returncode == 0 and told["passed"], told
    assert [step["step"] for step in told["steps"]] == list(STEPS)
    assert told["frames"] == told["answers"] > 10_000 and not told["missing"] and not told["doubled"]
    assert all(len(versions) == 2 for versions in told["versions_by_partition"].values())
    assert told["demo"]["dead_letters"] == 0
    assert not list((tmp_path / "home").glob("demo-*")), "nothing is left"
