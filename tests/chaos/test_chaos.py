"""The failure lab in its short form: a few quick scenarios here, all of them by `make chaos`. And the lab itself: it
must say when the invariant broke."""

from __future__ import annotations

import gc
import json
import socket
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from tests.chaos.experiment import Result, lines, markdown, perform, table
from tests.chaos.lab import BOTH, CONTINUOUS, MICRO_BATCH, Lab, LabBroker
from tests.chaos.proxy import Proxy
from tests.chaos.scenarios import SCENARIOS, Scenario
from tests.counting import AT_LEAST_ONCE, EXACTLY_ONCE
from tests.delivery import Verdict
from tests.waiting import PATIENCE_S

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # Ray Data reads deprecated settings of its own
    pytest.mark.filterwarnings("ignore:unclosed <socket"),  # kafka-python leaves those of refused connections
]
on_kafka = [pytest.mark.ray, pytest.mark.kafka]


@pytest.fixture(scope="module")
def broker(own_ray: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabBroker]:
    made = LabBroker(Path(tmp_path_factory.mktemp("chaos")))
    made.start()
    yield made
    made.stop()
    made.proxy.close()
    gc.collect()


SHORT = [
    ("worker-killed", CONTINUOUS, EXACTLY_ONCE),
    ("worker-killed", CONTINUOUS, AT_LEAST_ONCE),
    ("worker-killed", MICRO_BATCH, EXACTLY_ONCE),
    ("two-drivers", CONTINUOUS, EXACTLY_ONCE),
    ("two-drivers", MICRO_BATCH, EXACTLY_ONCE),
    ("epochs-turn-over", MICRO_BATCH, EXACTLY_ONCE),
]


@pytest.mark.parametrize(
    ("name", "runner", "delivery"),
    [
        pytest.param(
            *case, marks=[*on_kafka, *([pytest.mark.long] if AT_LEAST_ONCE in case else [])], id="-".join(case)
        )
        for case in SHORT
    ],
)
def test_the_invariant_holds(name: str, runner: str, delivery: str, broker: LabBroker, tmp_path: Path) -> None:
    result = perform(SCENARIOS[name], runner, broker, seed=1, folder=tmp_path, long=False, delivery=delivery)
    assert result.holds, result
    assert result.injected


@pytest.mark.parametrize("harm", [pytest.param("doubled", marks=on_kafka), pytest.param("lost", marks=on_kafka)])
def test_a_broken_invariant_is_told(harm: str, broker: LabBroker, tmp_path: Path) -> None:
    def break_it(lab: Lab) -> None:
        lab.inject("harm")
        with lab.running():
            lab.stream.feed(50)
        log, sink = lab.stream.log, lab.stream.pipeline.sink.name
        if harm == "doubled":
            first = next(records for records in log.all_of(sink) if len(records))
            log.append(sink, first.take(np.array([0])))
        else:
            lab.stream.feed(1)

    result = perform(Scenario("harm", "", BOTH, break_it), MICRO_BATCH, broker, 1, tmp_path, long=False)
    assert not result.holds
    assert f"1 {harm}" in result.words
    assert result.verdict is not None and result.verdict.records == 50 + (harm == "lost")


def test_a_scenario_that_does_not_come_to_its_end_is_told() -> None:
    stuck = Result("s", CONTINUOUS, 1, "", Verdict(5), "AssertionError: it is stuck", 1.0)
    unjudged = Result("s", CONTINUOUS, 1, "", None, "", 1.0)
    assert not stuck.holds and not unjudged.holds
    assert stuck.words == "BROKEN: AssertionError: it is stuck"
    assert table([stuck, unjudged]).row_count == 2
    assert json.dumps(lines([stuck, unjudged]))


def test_the_table_says_which_guarantee_was_on_trial_and_what_came_again() -> None:
    allowed = Result("s", CONTINUOUS, 1, "", Verdict(5, repeated=1_234), "", 1.0, AT_LEAST_ONCE)
    altered = Result("s", CONTINUOUS, 1, "", Verdict(5, repeated=3, altered=2), "", 1.0, AT_LEAST_ONCE)
    assert allowed.holds and not altered.holds
    assert altered.words == "BROKEN: 2 altered"
    with (console := Console(width=200)).capture() as told:
        console.print(table([allowed, altered]))
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in told.get().splitlines() if "│" in line]
    assert rows[0][2:] == ["at least once", "", "5", "0", "0", "1,234", "0", "1", "holds"]
    assert rows[1][2:] == ["at least once", "", "5", "0", "2", "3", "0", "1", "BROKEN"]
    assert [line["delivery"] for line in lines([allowed])] == [AT_LEAST_ONCE]
    told_as_text = markdown([allowed, altered], 7, long=True)
    assert "seed 7, the long form: 2 trials, 1 broken" in told_as_text
    assert f"| s | {CONTINUOUS} | at least once |  | 5 | 0 | 2 | 3 | 0 | 1 | BROKEN: 2 altered |" in told_as_text


def test_every_scenario_says_what_it_does() -> None:
    assert all(scenario.what and scenario.runners and scenario.deliveries for scenario in SCENARIOS.values())


def test_a_proxy_passes_on_is_slow_silent_and_refuses() -> None:
    proxy = Proxy()
    with socket.create_server(("127.0.0.1", 0)) as server:
        proxy.target = int(server.getsockname()[1])
        client = socket.create_connection(("127.0.0.1", proxy.port), timeout=PATIENCE_S)
        far, _ = server.accept()
        client.sendall(b"there")
        assert far.recv(10) == b"there"
        far.sendall(b"back")
        assert client.recv(10) == b"back"
        with proxy.silent():
            client.sendall(b"lost")
            far.settimeout(0.3)
            with pytest.raises(TimeoutError):
                far.recv(10)
        far.settimeout(PATIENCE_S)
        assert far.recv(10) == b""  # what was under way does not come later
        with proxy.refusing(), socket.create_connection(("127.0.0.1", proxy.port), timeout=PATIENCE_S) as refused:
            assert _is_over(refused)
        assert proxy.cuts == 1
        client.close()
        far.close()
    proxy.close()


def _is_over(connection: socket.socket) -> bool:
    try:
        return connection.recv(1) == b""
    except ConnectionError:
        return True
