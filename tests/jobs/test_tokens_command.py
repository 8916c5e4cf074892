"""`sightline tokens`: what it writes, what it prints, and how it refuses."""

import json
import stat
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from jobs import cli
from jobs.errors import Exit
from serve.gateway.token_file import read_tokens
from serve.gateway.tokens import utc_now

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SIGHTLINE_CONFIG", "")
    monkeypatch.setenv("SIGHTLINE_GATEWAY__TOKENS", str(tmp_path / "tokens.json"))
    return tmp_path / "tokens.json"


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], file: Path) -> Run:
    def sightline(*arguments: str) -> tuple[int, str, str]:
        code = cli.main(["tokens", *arguments])
        told = capsys.readouterr()
        return code, told.out, told.err

    return sightline


def test_a_token_from_its_making_to_its_end(run: Run, file: Path) -> None:
    code, out, err = run("create", "studio-1", "--match", "LCK/*", "--days", "30")
    written = out.strip()
    assert code == Exit.OK and written not in err and "shown only here" in err
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert written not in file.read_text() and written[3:] not in file.read_text()
    token = read_tokens(file).find(written, utc_now())
    assert token is not None and (token.scopes, token.matches) == (("matches:read",), ("LCK/*",))
    assert token.expires is not None and (token.expires - token.created).days == 30
    run("create", "grafana", "--scope", "ops:read", "--scope", "ops:admin")
    _, out, _ = run("ls")
    assert "studio-1" in out and "ops:read ops:admin" in out and token.sha256 not in out
    assert run("revoke", "studio-1")[0] == Exit.OK
    assert read_tokens(file).find(written, utc_now()) is None
    assert [token["name"] for token in json.loads(run("ls", "--json")[1])] == ["grafana"]
    assert [path.name for path in file.parent.iterdir()] == ["tokens.json"]


def test_json_has_the_text_once_and_never_the_hash(run: Run) -> None:
    made = json.loads(run("create", "studio", "--json")[1])
    assert made["token"].startswith("sl_") and made["scopes"] == ["matches:read"] and "sha256" not in made
    (listed,) = json.loads(run("ls", "--json")[1])
    assert listed["expired"] is False and "token" not in listed and "sha256" not in listed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("create", "studio"), "there is a token 'studio' already: revoke it first"),
        (("create", "a b"), "'a b': name: String should match"),
        (("create", "x", "--scope", "all"), "--scope all: unknown; there are: matches:read, stores:read"),
        (("create", "x", "--match", ""), "'x': matches: String should have at least 1"),
        (("revoke", "studi"), "no token 'studi'; did you mean studio?"),
        (("revoke", "qqqq"), "no token 'qqqq'; `sightline tokens ls` has those there are"),
        (("ls", "--set", "gateway.tokens=none/tokens.json"), "none/tokens.json: no such file"),
        (("create", "x", "--set", "gateway.tokens=none/tokens.json"), "there is no folder none; make it first"),
    ],
)
def test_mistakes(run: Run, file: Path, arguments: tuple[str, ...], message: str) -> None:
    run("create", "studio")
    before = file.read_bytes()
    code, out, err = run(*arguments)
    assert code == Exit.BAD_INPUT and out == "" and message in err and err.count("\n") == 1
    assert file.read_bytes() == before


def test_without_the_setting_it_says_where_to_set_it(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SIGHTLINE_GATEWAY__TOKENS")
    code, _, err = run("create", "studio")
    assert code == Exit.BAD_INPUT and "gateway.tokens is not set" in err and "SIGHTLINE_GATEWAY__TOKENS" in err


def test_a_file_that_others_can_read_is_not_added_to(run: Run, file: Path) -> None:
    run("create", "studio")
    file.chmod(0o644)
    code, _, err = run("create", "other")
    assert code == Exit.BAD_INPUT and f"chmod 600 {file}" in err


def test_two_at_the_same_time_lose_nothing(run: Run, file: Path) -> None:
    threads = [threading.Thread(target=cli.main, args=(["tokens", "create", f"t{number}"],)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(token.name for token in read_tokens(file).tokens) == [f"t{number}" for number in range(8)]


def test_the_gateway_refuses_what_it_must_before_it_asks_for_kafka(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("jobs.logs.log_as_json", lambda **_: None)
    for options, message in (
        (("--host", "0.0.0.0"), "gateway.host 0.0.0.0 lets other machines in, and there are no tokens"),
        (("--set", "gateway.tokens=none.json"), "none.json: no such file"),
        (("--set", "gateway.tls_cert=a.pem", "--set", "gateway.tls_key=a.key"), "gateway.tls_cert a.pem: no such file"),
        (("--set", "gateway.tls_cert=a.pem"), "tls_cert and tls_key go together: set both, or neither"),
        (("--set", "gateway.cors_origins=studio.example"), "'studio.example' is not an origin such as https://"),
    ):
        code = cli.main(["gateway", "--brokers", "127.0.0.1:9", "--port", "0", *options])
        assert code == Exit.BAD_INPUT and message in capsys.readouterr().err
