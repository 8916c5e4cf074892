"""Which commit of the code runs, where git knows it."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

import jobs.commit
from jobs.commit import code_commit

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="there is no git here")


def git(folder: Path, *arguments: str) -> str:
    who = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", "-C", str(folder), *who, *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_the_commit_is_that_of_this_very_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "jobs" / "commit.py"
    file.parent.mkdir()
    file.write_text("code")
    monkeypatch.setattr(jobs.commit, "__file__", str(file))
    assert code_commit() == "", "in no repository"
    git(tmp_path, "init", "-q")
    (tmp_path / "other").write_text("")
    git(tmp_path, "add", "other")
    git(tmp_path, "commit", "-qm", "one")
    assert code_commit() == "", "in somebody's repository, but not of it"
    git(tmp_path, "add", "jobs")
    git(tmp_path, "commit", "-qm", "two")
    assert code_commit() == git(tmp_path, "rev-parse", "HEAD") and re.fullmatch("[0-9a-f]{40}", code_commit())
    git(tmp_path, "tag", "v1")
    assert code_commit() == git(tmp_path, "rev-parse", "HEAD")
    file.write_text("changed")
    assert code_commit() == git(tmp_path, "rev-parse", "HEAD") + "-dirty"


def test_a_machine_without_git_knows_no_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert code_commit() == ""
