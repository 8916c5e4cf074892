"""The command line: help, suggestions, exit codes, one-line errors, and nothing heavy imported for them."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from rich.text import Text

from jobs import camera_book, cli, demo
from jobs.commands.console import seconds, writable_file
from jobs.errors import Exit, SettingsError, UsageProblem, meaning
from jobs.files import write_text
from jobs.settings import Settings
from jobs.store_demo import demo as store_demo
from models.store import ModelNotFoundError
from serve.app import DeploymentFailed
from serve.gateway.store.service import StoreFiles
from streaming import topics
from streaming.cameras.definition import Camera
from streaming.importers.problem import ImportProblem
from streaming.kafka.admin import TopicMissing
from streaming.kafka.jars import BrokerError
from streaming.transport import Fenced, TransportUnavailable

Run = Callable[..., tuple[int, str, str]]


def leaves(command: Any, path: list[str]) -> list[list[str]]:
    inner = getattr(command, "commands", None)
    return [path] if inner is None else [leaf for name in inner for leaf in leaves(inner[name], [*path, name])]


COMMANDS = leaves(typer.main.get_command(cli.app), [])


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs `sightline …` here, in an empty folder and with a home of its own: (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SIGHTLINE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("SIGHTLINE_CONFIG", "")  # none; set here, because --config sets it and it must be restored

    def sightline(*arguments: str) -> tuple[int, str, str]:
        code = cli.main(list(arguments))
        told = capsys.readouterr()
        return code, told.out, told.err

    return sightline


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_has_help_with_an_example(run: Run, command: list[str]) -> None:
    code, out, _ = run(*command, "--help")
    assert command and code == Exit.OK
    assert f"Example: sightline {' '.join(command)}" in " ".join(out.split())


def every(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    yield path, command
    for name, inner in getattr(command, "commands", {}).items():
        yield from every(inner, (*path, name))


def test_no_help_loses_a_word_to_markup() -> None:
    """What stands in brackets is taken for a style where it is not escaped, and vanishes."""
    for path, command in every(typer.main.get_command(cli.app)):
        own = [command.help, command.epilog, *(getattr(each, "help", None) for each in command.params)]
        for text in filter(None, own):
            assert Text.from_markup(text).plain == text.replace(r"\[", "["), (path, text)


def test_help_names_the_table_of_a_schedule(run: Run) -> None:
    for command in (["schedule"], ["schedule", "next"]):
        assert "[schedule.NAME]" in run(*command, "--help")[1]


def test_help_says_what_exit_codes_mean(run: Run) -> None:
    out = " ".join(run("--help")[1].split())
    assert "Exit codes: 0 done; 1 failed; 2 bad input" in out and "130 interrupted" in out


def test_help_is_quick_because_nothing_heavy_is_imported() -> None:
    script = "import sys; from jobs.cli import main; main(['--help']); print(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    heavy = {"ray", "torch", "polars", "numpy", "pydantic", "pyarrow", "kafka", "fastapi", "sklearn", "psutil"}
    modules = set(done.stderr.split())
    assert heavy & modules == set()
    assert len(modules) < 500  # seconds hang on the machine, and they are spent on these: 360 of them


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["dmeo"], "Did you mean 'demo'?"),
        (["kafka", "strat"], "'start'"),
        (["demo", "--sped", "3"], "--speed"),
        (["demo", "--port", "abc"], "'--port'"),
        (["demo", "--port", "70000"], "65535"),
        (["demo", "--for", "soon"], "'soon' is not a duration; write 60s, 5m or 1h30m"),
        (["demo", "--speed", "0"], "--speed 0: must be above 0"),
        (["demo", "--title", "chess"], "--title chess: unknown; there are: dota2, hok, lol"),
        (["demo", "--report", "gone/report.json"], "there is no folder gone; make it first"),
        (["run"], "Missing argument"),
        (["soak"], "--hours"),
        (["soak", "--hours", "0"], "--hours 0: must be above 0"),
        (["soak", "--hours", "1", "--events-per-s", "1e9"], "--events-per-s 1e+09: must be above 0"),
        (["soak", "--hours", "1", "--report", "gone/soak.json"], "there is no folder gone; make it first"),
        (["run", "win-predicton"], "did you mean win-prediction?"),
        (["run", "win-prediction"], "sightline kafka start"),
        (["replay", "win-predicton", "--to-topic", "again"], "did you mean win-prediction?"),
        (["replay", "win-prediction"], "say where the answers go: --to-topic TOPIC or --parquet FILE, one of them"),
        (["replay", "win-prediction", "--to-topic", "again", "--parquet", "a.parquet"], "or --parquet FILE, one of"),
        (["replay", "win-prediction", "--parquet", "gone/a.parquet"], "--parquet gone/a.parquet: there is no folder"),
        (["replay", "win-prediction", "--to-topic", "again"], "sightline kafka start"),
        (["replay", "store-metrics", "--to-topic", "again", "--brokers", "127.0.0.1:9"], "store.plan is not set"),
        (["topics", "acls", "win-predicton"], "did you mean win-prediction?"),
        (["topics", "acls", "win-prediction", "--apply"], "sightline kafka start"),
        (["topics", "acls", "win-prediction", "--role", "king"], "--role king: unknown; there are: run, gateway"),
        (["topics", "acls", "win-prediction", "--role", "webhook"], "--role webhook: has nothing to do with win-pred"),
        (["topics", "acls", "win-prediction", "--principal", "me"], "--principal me: write User:NAME"),
        (["topics", "acls", "win-prediction", "--principal", "run=me"], "--principal run=me: write User:NAME"),
        (["topics", "acls", "win-prediction", "--json", "--shell"], "--shell and --json"),
        (["run", "win-prediction", "--brokers", "nonsense"], "kafka.bootstrap_servers: 'nonsense' is not HOST:PORT"),
        (["alerts", "forward"], "sightline kafka start"),
        (["alerts", "forward", "--url", "ftp://x"], "alerts.url: must be http://… or https://…"),
        (["demo", "--any-map"], "--any-map is about --replay PATH"),
        (["config", "--set", "pipeline.group=mine"], "--set pipeline.group: no such setting"),
        (["demo", "--loop"], "--loop sends the folder of Sightline along with its jobs: start it in "),
        (["demo", "--loop", "--speed", "3"], "--loop is one scenario: give no option but --report"),
        (["demo", "--json"], "--json is about --loop, --store and --shop"),
        (["demo", "--shop", "--matches", "3"], "--shop has no matches: leave out --matches"),
        (["demo", "--shop", "--store"], "--shop has no matches: leave out"),
        (["demo", "--shop", "--replay", "a.txt", "--replay", "b.txt"], "--shop replays one file of clicks"),
        (["demo", "--shop", "--replay", "gone.txt"], "gone.txt: cannot be read: No such file"),
        (["demo", "--store", "--speed", "3"], "--store has no matches: leave out --speed"),
        (["demo", "--store", "--loop"], "--store has no matches: leave out"),
        (["demo", "--replay", "a.json", "--replay", "b.json"], "--replay is one PATH of matches"),
        (["demo", "--store", "--replay", "gone.mp4"], "gone.mp4: No such file"),
        (["train", "win-tsst", "--data", "x"], "no recipe 'win-tsst'; there are: as-gan, as-gan-full, reid-aifl, "),
        (["evaluate", "winn"], "No such command 'winn'"),
        (["config", "--set", "kafka"], "--set kafka: write NAME=VALUE"),
        (["config", "--set", "kafka.prt=1"], "--set kafka.prt: no such setting; did you mean kafka.port?"),
        (["--config", "gone.toml", "config"], "gone.toml: no such settings file"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_one_line_and_exit_code_2(run: Run, arguments: list[str], said: str) -> None:
    code, out, err = run(*arguments)
    assert (code, out) == (Exit.BAD_INPUT, "")
    assert err.startswith("sightline: ") and err.count("\n") == 1 and said in err


def test_acls_are_for_whoever_plays_the_role(run: Run) -> None:
    code, out, _ = run("topics", "acls", "win-prediction", "--json")
    assert code == Exit.OK
    assert {entry["principal"] for entry in json.loads(out)} == {
        f"User:sightline-{role}" for role in ("run", "gateway", "feed", "operator")
    }
    named = ["--principal", "User:CN=all", "--principal", "feed=User:CN=feed,O=A"]
    _, out, _ = run("topics", "acls", "win-prediction", "--role", "feed", "--role", "gateway", *named, "--json")
    assert {(entry["role"], entry["principal"]) for entry in json.loads(out)} == {
        ("feed", "User:CN=feed,O=A"),
        ("gateway", "User:CN=all"),
    }
    _, out, _ = run("topics", "acls", "win-prediction", "--role", "feed", "--shell")
    line = "kafka-acls.sh --bootstrap-server HOST:PORT --add --allow-principal User:sightline-feed --operation Write "
    assert out == f"{line}--topic match.events\n"


def test_config_prints_values_and_origins(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGHTLINE_KAFKA__SASL_PASSWORD", "hunter2")
    code, out, _ = run("config", "--json", "--set", "kafka.port=9099")
    told = json.loads(out)
    assert code == Exit.OK and "hunter2" not in out
    assert told["settings"]["kafka"]["port"] == 9099
    assert told["origins"]["kafka.port"] == "--set kafka.port"
    assert told["origins"]["gateway.host"] == "default"
    table = run("config")[1]
    assert "hunter2" not in table
    [line] = [line.split() for line in table.splitlines() if line.startswith("kafka.sasl_password")]
    assert line == ["kafka.sasl_password", "**********", "SIGHTLINE_KAFKA__SASL_PASSWORD"]


def test_the_settings_file_holds_for_child_processes_too(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.toml").write_text("[kafka]\nport = 7\n", encoding="utf-8")
    assert run("--config", "mine.toml", "config")[0] == Exit.OK
    assert os.environ["SIGHTLINE_CONFIG"] == str(tmp_path / "mine.toml")


def test_version(run: Run) -> None:
    assert run("version")[1].startswith("sightline ")
    assert set(json.loads(run("version", "--json")[1])) == {
        "sightline",
        "python",
        "ray",
        "kafka-python",
        "polars",
        "torch",
    }


def test_kafka_status_without_a_broker_is_exit_code_3(run: Run, tmp_path: Path) -> None:
    code, out, _ = run("kafka", "status")
    assert code == Exit.UNAVAILABLE and "sightline kafka start" in out
    code, out, _ = run("kafka", "status", "--json")
    assert code == Exit.UNAVAILABLE and json.loads(out)["running"] is False
    assert run("kafka", "stop")[:2] == (Exit.OK, "Kafka was not running\n")


@pytest.mark.kafka
def test_topics_are_made_once_and_listed(run: Run, kafka: str) -> None:
    brokers = ("--set", f"kafka.bootstrap_servers={kafka}")
    assert run("topics", "create", *brokers)[0] == Exit.OK
    code, out, _ = run("topics", "create", "--json", *brokers)
    assert code == Exit.OK and json.loads(out)["created"] == []
    listed = {line["topic"]: line for line in json.loads(run("topics", "ls", "--json", *brokers)[1])}
    assert listed["match.events"]["exists"] and listed["match.events"]["partitions"] == 4
    assert "match.events" in run("topics", "ls", *brokers)[1]


@pytest.mark.kafka
def test_a_topic_of_another_size_is_said_and_used(run: Run, kafka: str, monkeypatch: pytest.MonkeyPatch) -> None:
    brokers = ("--set", f"kafka.bootstrap_servers={kafka}")
    assert run("topics", "create", *brokers)[0] == Exit.OK
    larger = dataclasses.replace(topics.MATCH_EVENTS, partitions=12)
    monkeypatch.setattr(topics, "TOPICS", (larger,))
    code, _, err = run("topics", "create", *brokers)
    assert code == Exit.OK
    assert "topic match.events has 4 partitions instead of 12; it is used as it is" in err


def test_a_broker_that_is_away_is_exit_code_3(run: Run) -> None:
    code, _, err = run("topics", "create", "--set", "kafka.bootstrap_servers=127.0.0.1:9")
    assert code == Exit.UNAVAILABLE and "127.0.0.1:9" in err and err.count("\n") == 1


def test_models_are_listed_and_a_missing_one_says_how_to_get_one(run: Run) -> None:
    assert isinstance(json.loads(run("models", "ls", "--json")[1]), list)
    code, _, err = run("models", "show", "chess@live")
    assert code == Exit.UNAVAILABLE and "sightline train" in err


def test_the_gateway_knows_the_cameras_that_the_settings_name_and_outlives_their_file(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[StoreFiles] = []
    monkeypatch.setattr("serve.gateway.run.serve_gateway", lambda feeds, settings, ready, files: found.append(files))
    door = Camera(id="door", source="clip.mp4", purpose="count visitors", retention_days=2)
    write_text(tmp_path / "elsewhere.toml", camera_book.to_toml([door]), camera_book.MODE)
    plan = tmp_path / "plan.toml"
    changes = (f"store.plan={plan}", "store.cameras=elsewhere.toml", "gateway.show_frames=true")
    line = [word for change in changes for word in ("--set", change)]
    assert run("gateway", "--brokers", "127.0.0.1:9", *line)[0] == Exit.OK
    (files,) = found
    assert files.plan == plan and [camera.id for camera in files.cameras()] == ["door"]
    (tmp_path / "elsewhere.toml").chmod(0o644)
    assert files.cameras() == (), "no purpose is stated, and so no picture is shown"


def test_demo_hands_on_what_was_asked_for(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[demo.DemoOptions] = []
    ports: list[int] = []

    def note(options: demo.DemoOptions, settings: Settings, say: object) -> None:
        asked.append(options)
        ports.append(settings.gateway.port)

    monkeypatch.setattr(demo, "run_demo", note)
    line = ["demo", "--for", "1m30s", "--report", "r.json", "--port", "0", "--speed", "60", "--matches", "2"]
    assert run(*line, "--title", "lol")[0] == Exit.OK
    assert run("demo")[0] == Exit.OK
    assert run("demo", "--set", "gateway.port=9000", "--replay", "t.json", "--any-map")[0] == Exit.OK
    full, plain, replay = asked
    assert (full.duration_s, full.report, full.speed, full.matches, full.titles) == (
        90.0, Path("r.json"), 60.0, 2, ("lol",),
    )  # fmt: skip
    assert plain == demo.DemoOptions()
    assert (replay.replay, replay.any_map) == (Path("t.json"), True)
    assert ports == [0, 8600, 9000]


def test_the_demo_of_a_store_hands_on_what_was_asked_for_and_writes_stdout_once(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[store_demo.StoreDemoOptions] = []

    def note(options: store_demo.StoreDemoOptions, settings: Settings, say: object) -> dict[str, str]:
        asked.append(options)
        return {"source": "made-up store"}

    monkeypatch.setattr(store_demo, "run_store_demo", note)
    code, out, _ = run("demo", "--store", "--for", "60s", "--replay", "a.mp4", "--replay", "b.mp4", "--json")
    assert (code, json.loads(out)) == (Exit.OK, {"source": "made-up store"})
    assert "before anything was sent" in run("demo", "--store")[1]
    assert run("demo", "--store", "--report", "-") == (Exit.OK, "", "")
    clips, plain, _ = asked
    assert clips == store_demo.StoreDemoOptions(60.0, None, (Path("a.mp4"), Path("b.mp4")))
    assert plain == store_demo.StoreDemoOptions()


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (UsageProblem("write it so"), Exit.BAD_INPUT, "write it so"),
        (SettingsError("kafka.port: wrong"), Exit.BAD_INPUT, "kafka.port: wrong"),
        (ImportProblem(Path("a.json"), "line 3", "no clock", "mend"), Exit.BAD_INPUT, "a.json, line 3: no clock; mend"),
        (BrokerError("port 9092 is taken"), Exit.UNAVAILABLE, "port 9092 is taken"),
        (TopicMissing("no topic"), Exit.UNAVAILABLE, "no topic"),
        (DeploymentFailed("no device"), Exit.FAILED, "no device"),
        (TransportUnavailable("away"), Exit.UNAVAILABLE, "away"),
        (Fenced("taken over"), Exit.FAILED, "taken over"),
        (ModelNotFoundError("no model"), Exit.UNAVAILABLE, "no model"),
        (FileNotFoundError(2, "No such file", "x.json"), Exit.BAD_INPUT, "x.json: no such file"),
        (KeyboardInterrupt(), Exit.INTERRUPTED, "interrupted"),
        (KeyError("lol"), Exit.FAILED, "KeyError: lol (--debug shows where)"),
        (RuntimeError("two\nlines"), Exit.FAILED, "RuntimeError: two lines (--debug shows where)"),
    ],
)  # fmt: skip
def test_what_an_error_means(error: BaseException, code: Exit, said: str) -> None:
    assert meaning(error) == (said, code)


def test_an_error_of_a_command_has_no_traceback_unless_asked_for(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def break_down(*_: object) -> None:
        raise BrokerError("the disk is full")

    monkeypatch.setattr(demo, "run_demo", break_down)
    assert run("demo") == (Exit.UNAVAILABLE, "", "sightline: the disk is full\n")
    with pytest.raises(BrokerError):
        run("--debug", "demo")


def test_version_as_an_option_is_the_command(run: Run) -> None:
    assert run("--version") == run("version")
    assert run("--version")[1].startswith("sightline ")


def test_interrupted_is_130(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(demo, "run_demo", interrupted)
    assert run("demo")[0] == Exit.INTERRUPTED


@pytest.mark.parametrize(
    ("text", "expected"), [("90", 90.0), ("60s", 60.0), ("5m", 300.0), ("1.5h", 5400.0), ("1h30m", 5400.0)]
)
def test_durations(text: str, expected: float) -> None:
    assert seconds(text) == expected


@pytest.mark.parametrize("text", ["", "s", "5x", "-5s", "0s", "5 m", "1h30", "1e3"])
def test_no_durations(text: str) -> None:
    with pytest.raises(UsageProblem, match="is not a duration"):
        seconds(text)


def test_a_result_file_must_have_a_place(tmp_path: Path) -> None:
    writable_file(None, "--report")
    writable_file(Path("-"), "--report")
    writable_file(tmp_path / "new.json", "--report")
    with pytest.raises(UsageProblem, match="is a folder"):
        writable_file(tmp_path, "--report")
