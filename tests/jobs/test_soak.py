"""A soak: what its samples say, and what is sampled of real processes and a real status topic."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from jobs import demo, soak
from jobs.commands import soak as command
from jobs.demo import Parts
from jobs.demo_parts import DemoFailed
from jobs.settings import Settings
from jobs.soak import Samples, sampling, usage
from jobs.soak_report import NOT_JUDGED, conclusion, plot, report, rows
from jobs.status import STATUS_SCHEMA
from streaming.codec import Encoder, PackagedRegistry, load_schema
from streaming.kafka.admin import ensure_topics
from streaming.kafka.publisher import Publisher
from streaming.kafka.settings import KafkaSettings
from streaming.topics import PIPELINE_STATUS
from tests.waiting import PATIENCE_S, wait_until

HOUR_S, PERIOD_S, EPOCH_S = 3600.0, 10.0, 120.0


def measured(hours: float = 1.0, leak_mb_per_h: float = 0.0) -> Samples:
    """A start that grows for ten minutes, then noise, and a leak in the gateway."""
    chance = np.random.default_rng(3)
    samples = Samples(totals={"events": 9_000, "answers": 3_000, "dead_letters": 0})
    for at_s in np.arange(PERIOD_S, hours * HOUR_S + 1, PERIOD_S):
        warm = 100.0 * min(at_s / 600.0, 1.0)
        values = {f"memory_mb.{name}": 300.0 + warm + chance.normal(0, 2) for name in ("pipeline", "ray", "broker")}
        values["memory_mb.gateway"] = 100.0 + chance.normal(0, 1) + leak_mb_per_h * at_s / HOUR_S
        samples.add(float(at_s), values | {"handles.ray": 120.0, "threads.ray": 80.0, "lag_s": chance.uniform(0, 0.1)})
    return samples


def judged(samples: Samples, failure: str = "") -> dict[str, Any]:
    return report(samples, failure, hours_wanted=1.0, events_per_s=50.0, epoch_s=EPOCH_S)


def test_growth_at_the_start_is_none_and_nothing_else_grows() -> None:
    found = judged(measured())
    assert found["passed"]
    assert conclusion(found) == "1 h: nothing grows, nothing failed"
    assert (found["warm_up_s"], found["block_s"], found["samples"]) == (900, 225, 360)
    verdicts = {name: x["verdict"] for name, x in found["series"].items()}
    assert verdicts.pop("memory_mb.broker") is None
    assert set(verdicts.values()) == {"flat"}
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_a_leak_is_named_with_its_slope() -> None:
    found = judged(measured(leak_mb_per_h=25.0))
    assert not found["passed"]
    assert conclusion(found) == "1 h: grows: memory_mb.gateway"
    leak = found["series"]["memory_mb.gateway"]
    assert leak["interval_per_h"][0] < 25.0 < leak["interval_per_h"][1]
    assert leak["slope_per_h"] == pytest.approx(25.0, abs=1.5)
    assert found["series"]["memory_mb.ray"]["verdict"] == "flat"


def test_what_is_too_short_is_unclear_and_has_not_passed() -> None:
    found = judged(measured(hours=0.02))
    assert not found["passed"]
    assert "unclear, run it longer: handles.ray, lag_s, memory_mb.gateway" in conclusion(found)
    assert "grows" not in conclusion(found)
    assert not judged(Samples())["passed"]
    assert "nothing was measured" in conclusion(judged(Samples()))


def test_errors_dead_letters_and_an_early_end_fail_it() -> None:
    for fault, change in {
        "the gateway ended": {},
        "1,234 dead letters": {"totals": {"answers": 1, "dead_letters": 1_234}},
        "a model is away": {"errors": ["a model is away"]},
    }.items():
        samples = measured()
        for name, value in change.items():
            setattr(samples, name, value)
        found = judged(samples, fault if not change else "")
        assert not found["passed"]
        assert found["faults"] == [fault]
        assert fault in conclusion(found)


def test_a_series_that_comes_late_or_goes_is_missing_there() -> None:
    samples = Samples()
    samples.add(1.0, {"a": 1.0})
    samples.add(2.0, {"b": 2.0})
    times, columns = samples.after(0.0)
    assert times.tolist() == [1.0, 2.0]
    assert np.isnan(columns["a"][1]) and np.isnan(columns["b"][0])
    assert samples.as_json() == {"times_s": [1.0, 2.0], "a": [1.0, None], "b": [None, 2.0]}
    assert samples.after(1.5)[1]["b"].tolist() == [2.0]


def test_every_series_has_a_row_and_a_line_in_the_plot(tmp_path: Path) -> None:
    samples = measured()
    found = judged(samples)
    table = {name: rest for name, *rest in rows(found)}
    assert table.keys() == samples.series.keys()
    assert table["handles.ray"] == ["120 → 120", "+0.00 (+0.00 to +0.00)", "2", "flat"]
    assert table["memory_mb.broker"][-1] == f"not judged: {NOT_JUDGED['memory_mb.broker']}"
    plot(samples, found, tmp_path / "soak.svg")
    assert "</svg>" in (tmp_path / "soak.svg").read_text()


def test_usage_is_of_the_processes_that_live() -> None:
    found = usage({"pipeline": os.getpid(), "gateway": 2**22 + 1})
    assert found["memory_mb.pipeline"] > 10.0
    assert found["threads.pipeline"] >= 1 and found["handles.pipeline"] >= 3
    assert not [name for name in found if name.endswith("gateway")]


def test_the_load_is_what_was_asked_for() -> None:
    assert soak.matches_for(0.001) == 1
    assert soak.matches_for(200.0) == pytest.approx(4 * soak.matches_for(50.0), rel=0.05)


def test_a_part_that_ends_by_itself_ends_the_soak_with_what_was_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(options: Any, settings: Settings, say: Any, watched: Any) -> None:
        assert (options.duration_s, settings.gateway.max_matches) == (7200.0, 100)
        raise DemoFailed("the gateway ended by itself")

    monkeypatch.setattr(demo, "run_demo", broken)
    with pytest.raises(DemoFailed):  # before there is anything to report
        soak.soak(2.0, 1.0, Settings(), lambda words: None)
    monkeypatch.setattr(soak, "Samples", measured)
    samples, failure = soak.soak(2.0, 1.0, Settings(), lambda words: None)
    assert (len(samples.times_s), failure) == (360, "the gateway ended by itself")


def test_the_command_writes_figures_and_plot_and_fails_when_something_grows(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    from jobs.cli import main

    monkeypatch.chdir(tmp_path)
    for leak_mb_per_h, code in ((0.0, 0), (25.0, 1)):
        monkeypatch.setattr(soak, "soak", lambda *_, leak=leak_mb_per_h: (measured(leak_mb_per_h=leak), ""))
        assert main(["soak", "--hours", "1", "--report", "soak.json"]) == code
        written = json.loads(Path("soak.json").read_text())
        assert written["passed"] is (code == 0)
        assert len(written["measured"]["times_s"]) == len(written["measured"]["lag_s"]) == 360
        assert Path("soak.svg").exists()
        told = capsys.readouterr()
        assert ("grows" in told.out) == (code == 1) and "memory_mb.gateway" in told.out
    assert command.soak.__doc__ is not None


@pytest.mark.kafka
def test_lag_totals_and_errors_are_read_from_the_status_topic(kafka: str) -> None:
    settings = KafkaSettings(kafka)
    ensure_topics(settings, [PIPELINE_STATUS])
    encoder = Encoder(load_schema("pipeline-status"), PackagedRegistry().id_of("pipeline-status"))
    row: dict[str, Any] = {name: {pl.String: "", pl.Float64: 0.0}.get(type(t), 0) for name, t in STATUS_SCHEMA.items()}
    row |= {name: [] for name, t in STATUS_SCHEMA.items() if isinstance(t, pl.List)}
    row |= {"time_ms": time.time_ns() // 1_000_000, "started_ms": 0}
    before = row | {"errors": ["waits for a model"]}
    row |= {"lag_s": 0.25, "answers_per_s": 12.0, "events_total": 30, "answers_total": 10, "dead_letters_total": 2}
    row |= {"errors": ["newer", "older", "waits for a model"]}
    starting, running = encoder.encode(pl.DataFrame([before, row], schema=STATUS_SCHEMA)).to_pylist()
    samples, said, publisher = Samples(), list[str](), Publisher(settings)

    def tell(word: bytes) -> None:
        publisher.send(PIPELINE_STATUS.name, [b"win-prediction"], [word])
        assert publisher.flush(PATIENCE_S)

    with sampling(Parts(settings, {"pipeline": os.getpid()}), samples, said.append, period_s=0.05):
        # Wherever it begins to read, what it hears first is a pipeline that waits for its model.
        wait_until(lambda: tell(starting) or samples.totals, otherwise=lambda: str(samples))
        wait_until(lambda: tell(running) or len(samples.times_s) >= 3, otherwise=lambda: str(samples))
    publisher.close()
    assert samples.totals == {"events": 30, "answers": 10, "dead_letters": 2}
    assert samples.errors == ["older", "newer"]
    assert 0.25 in samples.series["lag_s"]
    assert samples.series["memory_mb.pipeline"][-1] > 10.0
    assert "10 answers" in soak.progress(samples) and "2 errors" in soak.progress(samples)
