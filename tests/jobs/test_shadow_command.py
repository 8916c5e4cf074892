"""`sightline models shadow` over answers that lie on a real Kafka; and which models a shadow may have."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from jobs import cli
from jobs.errors import Exit, UsageProblem
from jobs.settings import load_settings
from jobs.shadow.candidate import shadowed
from models.store import SHIPPED, ModelNotFoundError, ModelStore
from streaming.codec import Encoder, PackagedRegistry, load_schema
from streaming.kafka.admin import ensure_topics
from streaming.kafka.publisher import Publisher
from streaming.kafka.settings import KafkaSettings
from streaming.topics import MATCH_INSIGHTS, MATCH_INSIGHTS_SHADOW, Topic
from tests.stored_models import save_small
from tests.waiting import PATIENCE_S

Run = Callable[..., tuple[int, str, str]]

NOON_MS = 1_763_812_800_000  # 2025-11-22T12:00
MINUTE_MS = 60_000
_EMPTY: dict[str, Any] = {"string": "", "int": 0, "long": 0, "double": 0.0, "float": 0.0, "boolean": False}


def rows_of(*answers: dict[str, Any]) -> pl.DataFrame:
    """Answers whole, of which only these columns matter."""
    schema = load_schema("match-insights")
    kinds = {field["name"]: field["type"] for field in schema["fields"]}
    empty = {name: _EMPTY.get(kind) if isinstance(kind, str) else None for name, kind in kinds.items()}
    times = [name for name, kind in kinds.items() if isinstance(kind, dict)]
    whole = [{**empty, **dict.fromkeys(times, NOON_MS), **answer} for answer in answers]
    ints = [name for name, kind in kinds.items() if kind == "int"]
    floats = [name for name, kind in kinds.items() if kind == "float"]
    return pl.DataFrame(whole, infer_schema_length=None).with_columns(
        pl.col(times).cast(pl.Datetime("ms", "UTC")),
        pl.col(ints).cast(pl.Int32),
        pl.col(floats).cast(pl.Float32),
        pl.col("winner", "commentary_en", "commentary_zh").cast(pl.String),
    )


def answer(offset: int, p: float, version: int, **other: Any) -> dict[str, Any]:
    return {
        "match_id": "LCK/1", "title": "lol", "clock_s": 90.0, "status": "live", "p": p, "source_offset": offset,
        "ingest_time_ms": NOON_MS + offset * MINUTE_MS, "source_topic": "match.events",
        "model_name": "tsstn-lol", "model_version": str(version), "weight_hash": f"hash {version}", **other,
    }  # fmt: skip


def publish(kafka: KafkaSettings, topic: Topic, rows: pl.DataFrame) -> None:
    encoder = Encoder(load_schema("match-insights"), PackagedRegistry().id_of("match-insights"))
    with closing(Publisher(kafka)) as publisher:
        for row, value in zip(rows.iter_rows(named=True), encoder.encode(rows).to_pylist(), strict=True):
            at_ms = int(row["ingest_time_ms"].timestamp() * 1e3) + 200
            publisher.send(topic.name, [row["match_id"].encode()], [value], at_ms)
        assert publisher.flush(PATIENCE_S)
        assert publisher.failed == 0


@pytest.fixture(scope="module")
def world(kafka: str) -> KafkaSettings:
    """A match of three frames, of which the shadow has the first two, a minute apart each, and its end."""
    settings = KafkaSettings(kafka)
    ensure_topics(settings, [MATCH_INSIGHTS, MATCH_INSIGHTS_SHADOW])
    ended = {"status": "ended", "winner": "B"}
    live = [answer(0, 0.5, 4), answer(1, 0.5, 4), answer(2, 0.6, 4), answer(3, 0.1, 4, **ended)]
    publish(settings, MATCH_INSIGHTS, rows_of(*live))
    publish(
        settings, MATCH_INSIGHTS_SHADOW, rows_of(answer(0, 0.25, 5), answer(1, 0.48, 5), answer(3, 0.1, 5, **ended))
    )
    return settings


@pytest.fixture
def run(
    world: KafkaSettings, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Run:
    """Runs `sightline models shadow …` in an empty folder: (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SIGHTLINE_CONFIG", "")
    monkeypatch.setenv("SIGHTLINE_MODELS__STORE", str(tmp_path / "store"))

    def compared(*arguments: str) -> tuple[int, str, str]:
        code = cli.main(["models", "shadow", "--brokers", world.bootstrap_servers, *arguments])
        told = capsys.readouterr()
        return code, told.out, told.err

    return compared


@pytest.mark.kafka
def test_it_tells_how_far_apart_the_two_are_and_who_was_right(run: Run) -> None:
    code, out, err = run("--json")
    assert code == Exit.OK, err
    told = json.loads(out)
    (pair,) = told["pairs"]
    assert (pair["live"], pair["shadow"], pair["frames"], pair["matches"]) == ("tsstn-lol@4", "tsstn-lol@5", 2, 1)
    assert (pair["mean_abs"], pair["beyond"]) == pytest.approx((0.135, 0.5))
    assert (told["live"]["answers"], told["shadow"]["answers"], told["live_only"]) == (4, 3, 1)
    assert [(x["match_id"], x["shadow_p"], x["source_offset"]) for x in pair["largest"]] == [("LCK/1", 0.25, 0)]
    outcome = pair["outcome"]
    assert outcome["live_log_loss"] == pytest.approx(np.log(2))
    assert outcome["shadow_log_loss"] == pytest.approx(-(np.log(0.75) + np.log(0.52)) / 2)
    code, out, err = run()
    text = " ".join(out.split())
    assert code == Exit.OK and "lol tsstn-lol@4 tsstn-lol@5 2 1 0.1350 50.0% 1 0.6931" in text
    assert "LCK/1 1:30 0.500 0.250 -0.250 match.events/0/0" in text
    assert "Live answers without one in shadow: 1." in text


@pytest.mark.kafka
def test_a_while_of_it_and_a_page(run: Run, tmp_path: Path) -> None:
    at = [datetime.fromtimestamp((NOON_MS + n * MINUTE_MS) / 1e3, UTC).isoformat() for n in (1, 2)]
    code, out, err = run("tsstn-lol", "--from", at[0], "--to", at[1], "--report", "page", "--json")
    assert code == Exit.OK, err
    told = json.loads(out)
    assert (told["since"], told["until"]) == tuple(at)
    (pair,) = told["pairs"]
    assert (pair["frames"], pair["mean_abs"], pair["outcome"]) == (1, pytest.approx(0.02), None)
    assert json.loads((tmp_path / "page" / "report.json").read_text()) == told
    page = (tmp_path / "page" / "index.html").read_text()
    assert "tsstn-lol@5 in the shadow of tsstn-lol@4" in page and "<td>0.0200</td>" in page
    assert "<td>match.events/0/1</td>" in page


@pytest.mark.kafka
def test_of_another_model_than_was_in_shadow_nothing_is_told(run: Run) -> None:
    code, out, _ = run("tsstn-lol@4", "--json")  # which ships
    assert (code, json.loads(out)["pairs"]) == (Exit.OK, [])


@pytest.mark.kafka
@pytest.mark.parametrize(
    ("code", "said", "arguments"),
    [
        (Exit.BAD_INPUT, "no answers to events of this time; `sightline run win-prediction", ("--from", "2100-01-01")),
        (Exit.BAD_INPUT, "--to 0:1: write a time, such as", ("--to", "0:1")),
        (Exit.BAD_INPUT, "--from soon: write a time", ("--from", "soon")),
        (Exit.UNAVAILABLE, "no model tsstn-lol@candidate", ("tsstn-lol@candidate",)),
    ],
)  # fmt: skip
def test_what_cannot_be_compared_is_one_line(run: Run, code: Exit, said: str, arguments: tuple[str, ...]) -> None:
    got, out, err = run(*arguments)
    assert (got, out) == (code, "")
    assert said in err and err.count("\n") == 1


def test_a_candidate_takes_the_place_of_its_title_and_no_other(tmp_path: Path) -> None:
    store = ModelStore(tmp_path)
    save_small(store, name="tsstn-lol", title="lol")
    save_small(store, name="chess", title="chess")
    titles = {"lol": "tsstn-lol", "dota2": "tsstn-dota2@live", "hok": "tsstn-hok@live"}
    settings = load_settings({"models.store": (str(tmp_path), "--set"), "models.titles": (titles, "--set")}).settings
    assert shadowed(settings, "tsstn-lol@1").models.titles == {**titles, "lol": "tsstn-lol@1"}
    assert settings.models.titles == titles
    shipped = "tsstn-dota2@{}".format(ModelStore(SHIPPED).resolve("tsstn-dota2")[1])
    assert shadowed(settings, shipped).models.titles == {**titles, "dota2": shipped}
    with pytest.raises(UsageProblem, match="is for chess, and the pipeline answers dota2, hok, lol"):
        shadowed(settings, "chess@1")
    with pytest.raises(UsageProblem, match="tsstn-dota2: answers dota2 live"):
        shadowed(settings, "tsstn-dota2")
    for missing in ("tsstn-lol@candidate", "tsstn-lol@9"):
        with pytest.raises(ModelNotFoundError, match=f"no model {missing}"):
            shadowed(settings, missing)
