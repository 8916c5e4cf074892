"""`sightline shop`: a request reaches every partition, and a report says what the records say."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from jobs import cli
from jobs.errors import Exit
from streaming.codec import Decoder, PackagedRegistry
from streaming.kafka.admin import ensure_topics, read_all
from streaming.kafka.publisher import Publisher
from streaming.kafka.settings import KafkaSettings
from streaming.pipelines.recommendations import recommendations
from streaming.records import Records
from streaming.sessions.settings import Offer
from streaming.simulators.shop import item_records, make_goods, make_shoppers, reactions, visits
from streaming.testing import MemoryLog
from streaming.topics import SESSION_RECOMMENDATIONS, USER_SESSIONS
from tests.pipelines_on_log import OnLog
from tests.shop_feed import Fixed, apply, catalogue_of, event_records, item_values
from tests.waiting import PATIENCE_S

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs `sightline shop …` in an empty folder: (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SIGHTLINE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("SIGHTLINE_CONFIG", "")

    def command(*arguments: str) -> tuple[int, str, str]:
        code = cli.main(["shop", *arguments])
        told = capsys.readouterr()
        return code, told.out, told.err

    return command


def write(kafka: str, topic: str, records: Records) -> None:
    publisher = Publisher(KafkaSettings(kafka), max_block_s=PATIENCE_S)
    publisher.send(topic, records.keys.to_pylist(), records.values.to_pylist(), time.time_ns() // 1_000_000)
    assert publisher.flush(PATIENCE_S) and not publisher.failed
    publisher.close()


@pytest.mark.kafka
def test_a_request_reaches_every_partition(run: Run, kafka: str) -> None:
    ensure_topics(KafkaSettings(kafka), [USER_SESSIONS])
    code, out, err = run("forget", "u000017", "--brokers", kafka, "--json")
    assert code == Exit.OK, err
    decoder = Decoder("user-sessions", PackagedRegistry())
    parts = [decoder.decode(part).frame for part in read_all(KafkaSettings(kafka), USER_SESSIONS.name).values()]
    told = [part.filter(kind="forget", user_id="u000017")["session_id"].to_list() for part in parts]
    assert told == [[json.loads(out)["request"]]] * USER_SESSIONS.partitions


@pytest.mark.kafka
def test_a_report_says_what_was_clicked(run: Run, kafka: str) -> None:
    ensure_topics(KafkaSettings(kafka), [USER_SESSIONS, SESSION_RECOMMENDATIONS])
    code, out, err = run("report", "--brokers", kafka)
    assert (code, out) == (Exit.OK, "") and "no answer of the last 24h was shown" in err

    goods = make_goods(60, categories=6, seed=1)
    shoppers = make_shoppers(goods, 40, seed=1)
    made, catalogue, log = visits(goods, shoppers, sessions=60, seed=1), catalogue_of(), MemoryLog()
    apply(catalogue, item_values(item_records(goods)))
    log.create(USER_SESSIONS.name, 1)
    log.append(USER_SESSIONS.name, event_records(made.events))
    pipeline = recommendations({"live": Fixed(*goods.ids[:10])}, catalogue, Offer(places=4, candidates=10, explore=0.3))
    answers = Records.joined(OnLog(pipeline, log, 0).run().answers())
    frame = Decoder("session-recommendations", PackagedRegistry()).decode(answers).frame
    back = reactions(goods, shoppers, frame, made.truth, seed=1)
    write(kafka, SESSION_RECOMMENDATIONS.name, answers)
    write(kafka, USER_SESSIONS.name, event_records(back))

    code, out, err = run("report", "--brokers", kafka, "--json")
    assert code == Exit.OK, err
    (arm,) = json.loads(out)
    assert (arm["arm"], arm["answers"]) == ("", back.filter(kind="impression").height)
    assert arm["clicks"] == back.filter(kind="view").height > 20
    assert arm["shown"]["value"] == pytest.approx(arm["clicks"] / arm["answers"])
    _, out, _ = run("report", "--brokers", kafka)
    assert "ranking alone" in out and f"{arm['clicks']:,}" in out


def test_a_duration_that_is_none_is_refused(run: Run) -> None:
    code, _, err = run("report", "--since", "yesterday", "--brokers", "127.0.0.1:1")
    assert code == Exit.BAD_INPUT and "'yesterday' is not a duration" in err
