"""`sightline retrain`: three commands that exist, in their order, and what is held back is what the gate gets."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from jobs.cli import main
from jobs.commands.schedule import _check_words
from jobs.errors import Exit
from jobs.retrain import Retraining, commands, retrain

WHAT = Retraining("hok", "0:5", "latest", 0.4, 150, promote=True, workers=0, changes=("optim.epochs=2",))


def test_every_command_is_one_that_there_is(tmp_path: Path) -> None:
    found = commands(WHAT, tmp_path / "set")
    assert [command[:2] for command in found] == [("dataset", "build"), ("train", "win-tsstn"), ("models", "gate")]
    for command in (*found, *commands(Retraining("lol"), tmp_path / "set")):
        _check_words(command)  # as the scheduler reads it: unknown options are refused
    assert "--promote" in found[2] and "--promote" not in commands(Retraining("lol"), tmp_path)[2]


@pytest.mark.parametrize("fails", range(4))
def test_the_first_that_does_not_end_well_ends_it_all(tmp_path: Path, fails: int) -> None:
    ran: list[str] = []
    said: list[str] = []

    def run(command: Sequence[str]) -> int:
        ran.append(command[0])
        (tmp_path / "set").mkdir(exist_ok=True)
        return 4 if len(ran) == fails else 0

    assert retrain(WHAT, tmp_path / "set", run=run, say=said.append, keep=False) == (4 if fails else 0)
    assert ran == ["dataset", "train", "models"][: fails or 3] and len(said) == len(ran)
    assert not (tmp_path / "set").exists(), "nothing is left, however it ends"


def test_a_set_that_was_asked_for_stays(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    retrain(WHAT, tmp_path / "set", run=lambda command: 0, say=lambda words: None, keep=True)
    assert (tmp_path / "set").exists()


def test_the_command_says_what_it_would_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["retrain", "hok", "--out", "here", "--patch", "latest", "--dry-run"]) == Exit.OK
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in lines] == ["dataset", "train", "models"]
    assert all("=here" in line for line in lines) and not Path("here").exists()
    assert main(["retrain", "chess"]) == main(["retrain", "hok", "--hold-back", "1"]) == Exit.BAD_INPUT


def test_the_gate_judges_on_what_training_has_held_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SIGHTLINE_HOME", str(tmp_path))
    data = "--data=simulator:hok?matches=20&seed=1"
    small = ("--workers=0", "--set=optim.epochs=1", "--set=sizes.hidden=4", "--set=hold_back=0.3")
    assert main(["train", "win-tsstn", data, *small]) == Exit.OK

    def learned_from(share: str) -> tuple[float, float]:
        capsys.readouterr()
        command = ["models", "gate", "tsstn-hok@candidate", data, "--min-matches=2", f"--latest={share}", "--json"]
        assert main(command) in (Exit.OK, Exit.REFUSED)
        told = json.loads(capsys.readouterr().out)
        matches, learned = told["verdict"]["reasons"][:2]
        return matches["figure"], learned["figure"]

    assert learned_from("0.3") == (6, 0)
    assert learned_from("0.5") == (10, pytest.approx(4, abs=1))  # one of fourteen is held out to watch
