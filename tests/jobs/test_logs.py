"""Log lines: one JSON object each, and no secret in any."""

import json
import logging
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.logs import STRUCK_OUT, JsonLines
from jobs.settings import load_settings

TOKEN = "sl_" + "aB3-_" * 8 + "xyz"


def written(message: object, *args: object, secrets: tuple[str, ...] = (), **extra: object) -> str:
    record = logging.LogRecord("x", logging.INFO, "x.py", 1, message, args, None)
    vars(record).update(extra)
    return JsonLines(secrets).format(record)


def test_what_is_no_secret_stays() -> None:
    line = json.loads(written("committed %d at http://broker:8081/x", 3, ranges=["match.events/0[1,2)"]))
    assert (line["message"], line["ranges"]) == ("committed 3 at http://broker:8081/x", ["match.events/0[1,2)"])
    assert json.loads(written("who may: authorization is needed"))["message"] == "who may: authorization is needed"


@pytest.mark.parametrize(
    ("message", "secret"),
    [
        (f"GET /overlay/m1?token={TOKEN}&w=1", TOKEN),
        (f"< Authorization: Bearer {TOKEN}", TOKEN),
        ("Authorization: Basic bWU6aHVudGVyMg==", "bWU6aHVudGVyMg"),
        ("{'authorization': 'Bearer abc.def'}", "abc.def"),
        ("[(b'authorization', b'Bearer abc.def')]", "abc.def"),
        ('{"authorization": "Bearer abc.def"}', "abc.def"),
        ("no registry at https://me:hunter2@registry:8081/x", "hunter2"),
    ],
)
def test_credentials_are_struck_out_wherever_they_stand(message, secret) -> None:
    for line in (written(message), written("%s", message), written("x", extra={"deep": [message]})):
        assert secret not in line and STRUCK_OUT in line
        json.loads(line)


def test_a_trace_is_no_way_round() -> None:
    try:
        raise ValueError(f"bad login hunter2 {TOKEN}")
    except ValueError:
        record = logging.LogRecord("x", logging.ERROR, "x.py", 1, "failed", (), sys.exc_info())
    line = JsonLines(["hunter2"]).format(record)
    assert "ValueError" in line and "hunter2" not in line and TOKEN not in line


@given(st.text(min_size=4, max_size=30), st.text(max_size=10), st.text(max_size=10))
def test_a_known_secret_is_struck_out_whatever_it_is_made_of(secret, before, after) -> None:
    for message in (f"{before}{secret}{after}", f"bad login {secret!r}", json.dumps({"password": secret})):
        told = json.loads(written("%s", message, secrets=(secret,)))["message"]
        assert not [piece for piece in told.split(STRUCK_OUT) if secret in piece]


def test_the_settings_name_their_secrets(monkeypatch, tmp_path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SIGHTLINE_KAFKA__SASL_PASSWORD", "hunter2")
    monkeypatch.setenv("SIGHTLINE_REGISTRY__AUTH", "me:hunter3")
    assert sorted(load_settings().settings.secrets()) == ["hunter2", "me:hunter3"]
