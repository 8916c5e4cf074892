"""What recommendations are held to: gates on figures of other commands, missed ones and those never measured too."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from jobs.errors import UsageProblem
from jobs.report.page import index_page
from jobs.sessions.aims import AIMS, BENCHMARKS, gates_of, read_benchmarks, read_demo

INTERVAL = {"value": 0.5, "low": 0.4, "high": 0.6, "seeds": [0.5]}
MADE = {
    "two_processes_events_per_s": 1_500,
    "events_per_core_s": 1_400,
    "views_per_core_s": 900,
    "share": {"decode": 0.02, "model": 0.98},
}
BENCH: dict[str, Any] = {
    "sessions": {
        "sessions": {
            "model": {"items": 48_598, "clicks": 400_000, "clicks_per_s": 25_083, "sessions": 100_000},
            "with_reasons": MADE,
            "without_reasons": MADE,
        },
        "measured": "2026-11-23, 2 cores",
    },
    "clicks_micro_batch": {
        "clicks_micro_batch": {"events_per_s": 100, "answers": 2_400, "latency_ms": {"p50": 110.9, "p95": 190.0}}
    },
    "clicks_continuous": {
        "clicks_continuous": {"events_per_s": 100, "answers": 2_400, "latency_ms": {"p50": 73.6, "p95": 120.0}}
    },
    "top_k": {
        "top_k": {
            "items": 1_000_000, "dim": 128, "k": 20, "faiss": "1.15.1",
            "queries": {"1": {"ours_ms": 21.0, "faiss_flat_ms": 16.0}, "8": {"ours_ms": 45.0, "faiss_flat_ms": 127.0}},
        }
    },
}  # fmt: skip
DEMO: dict[str, Any] = {
    "source": "a made-up shop",
    "items": 600,
    "views": {"sent": 1_000, "answered": 990, "of_bots": 10, "missing": 0, "doubled": 0},
    "reasons": {"items": 19_800, "without": 0},
    "catalogue": {"records": 660, "withdrawn": 20, "sold_out": 9, "offered_all_the_same": 0, "unknown_for_ms": 840},
}


def report(benchmarks: dict[str, Any] | None = None, demos: tuple[dict[str, Any], ...] = ()) -> dict[str, Any]:
    """As much of an evaluation as its gates are about."""
    rows = {"live": "live", "stan": "STAN"}
    above = {"protocol": "all", "repeats": "with", "measure": "recall", "best": "stan"}
    return {
        "rows": rows,
        "figures": {"all": {"with": {row: {"recall": INTERVAL} for row in rows}}},
        "differences": [above | {"difference": {"value": -0.001, "low": -0.002, "high": 0.001}}],
        "cold_start": {
            "rows": {"cold_start": "live", "popularity": "popularity"},
            "figures": {"of_unseen": {"cold_start": {"recall": INTERVAL}, "popularity": {"recall": INTERVAL}}},
            "above": {"popularity": {"value": 0.1, "low": -0.01, "high": 0.2}},
        },
        "costs": {"live": {"clicks_per_s": 20_000}},
        "split": {"train_clicks": 53_254, "train_items": 6_000},
        "reasons": {
            "answers": 300, "items": 1_500,
            "passed": {"served": 0.983}, "intervals": {"served": [0.97, 0.99]},
        },
        "measured": {"benchmarks": benchmarks or {}, "demos": list(demos)},
    }  # fmt: skip


def verdicts(made: dict[str, Any]) -> dict[str, tuple[str, bool | None]]:
    return {gate["name"]: (gate["got"], gate["passed"]) for gate in gates_of(made)}


def test_what_was_measured_elsewhere_is_judged_by_its_figures() -> None:
    found = {name: passed for name, (_, passed) in verdicts(report(BENCH, (DEMO,))).items()}
    assert found == {
        "Recall@20, every next click, repeats of the last item count": False,
        "Sessions of items unseen in training, Recall@20, above popularity": False,  # the interval has 0 in it
        "Training of GRU4Rec on these clicks, one core": True,
        "Reasons: without the click that is named first, the item's score falls the most": False,
        "Training of GRU4Rec on the benchmark's shop, one core": True,
        "Events of sessions, every view answered with reasons, two cores": False,
        "Click to answer, Ray Data runner": True,
        "Click to answer, continuous runner": False,
        "Exact top 20 on one core": False,  # of one query, though not of eight
        "Demo, a made-up shop: views answered once": True,
        "Demo, a made-up shop: items offered without a reason": True,
        "Demo, a made-up shop: offered though withdrawn or sold out": True,
        "A change of the catalogue is known to every answer within": True,
    }


def test_words_say_where_the_time_goes_and_how_much_slower_it_is() -> None:
    found = verdicts(report(BENCH))
    assert "1,500 events/s of two processes" in found[AIMS[1].name][0] and "model 98 %" in found[AIMS[1].name][0]
    assert "21 ms for 1 (1.31 times), 45 ms for 8 (0.35 times); faiss 1.15.1" in found["Exact top 20 on one core"][0]


def test_a_gate_without_its_file_is_there_and_says_what_it_lacks() -> None:
    without = verdicts(report())
    for aim in AIMS:
        assert without[aim.name] == (f"not measured: --benchmarks, with {aim.benchmark} in it", None)
    act = "A change of the catalogue is known to every answer within"
    assert without[act] == ("not measured: --demo, of a made-up shop", None)
    real = deepcopy(DEMO) | {"source": "clicks.txt", "items": 660}  # whose catalogue does not change
    assert verdicts(report(demos=(real,)))[act][1] is None
    no_faiss = deepcopy(BENCH)
    for one in no_faiss["top_k"]["top_k"]["queries"].values():
        del one["faiss_flat_ms"]
    got, passed = verdicts(report(no_faiss))["Exact top 20 on one core"]
    assert "faiss is not installed" in got and passed is None


@pytest.mark.parametrize(
    ("part", "value"),
    [
        (("views", "missing"), 1),
        (("views", "doubled"), 1),
        (("reasons", "without"), 1),
        (("catalogue", "offered_all_the_same"), 1),
        (("catalogue", "unknown_for_ms"), 5_001),
    ],
)
def test_a_demo_that_broke_a_promise_is_missed(part: tuple[str, str], value: int) -> None:
    broken = deepcopy(DEMO)
    broken[part[0]][part[1]] = value
    kept, lost = verdicts(report(demos=(DEMO,))), verdicts(report(demos=(broken,)))
    assert [name for name in kept if kept[name][1] != lost[name][1]] and False in [gate[1] for gate in lost.values()]


def test_the_page_says_missed_and_nothing_of_what_was_not_measured() -> None:
    gates = [
        {"name": name, "wanted": "", "got": "", "passed": passed}
        for name, passed in (("held", True), ("lost", False), ("unknown", None))
    ]
    page = index_page("A page", "", gates, [])
    lines = [line for line in page.splitlines() if line.startswith(("<tr><td>", "<td"))]
    assert [line.count("MISSED") for line in lines] == [0, 0, 0, 1, 0, 0]
    assert lines[5] == "<td></td></tr>" and "passed" in lines[1]


def test_files_of_benchmarks_and_demos_are_read(tmp_path: Path) -> None:
    bench, demo = tmp_path / "bench.json", tmp_path / "demo.json"
    bench.write_text(json.dumps(BENCH | {"codec": {"codec": {}}}))
    demo.write_text(json.dumps(DEMO))
    assert read_benchmarks(bench) == BENCH and set(BENCH) == set(BENCHMARKS)
    assert read_demo(demo) == DEMO


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "no JSON"),
        ("[1]", "holds no figures by name"),
        ('{"top_k": 3}', 'top_k is not as `make bench` has it .* make bench ARGS="top_k --json'),
        ('{"sessions": {"sessions": {"model": {"clicks_per_s": "many"}}}}', "sessions is not as"),
    ],
)
def test_a_file_of_something_else_is_refused(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "bench.json"
    path.write_text(text)
    with pytest.raises(UsageProblem, match=said):
        read_benchmarks(path)
    with pytest.raises(UsageProblem, match=r"--demo .*bench\.json"):
        read_demo(path)
    with pytest.raises(UsageProblem, match=r"--demo .*: cannot be read: No such file"):
        read_demo(tmp_path / "none.json")
