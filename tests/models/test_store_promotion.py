"""Promotions need a verdict, rollbacks need a past; what cannot serve is never meant."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from models._registry import config_to_json
from models.store import (
    AliasMovedError,
    BadReference,
    BrokenModelError,
    ModelNotFoundError,
    ModelStore,
    NotApprovedError,
    promote,
    rollback,
)
from models.tsstn import TSSTN
from models.verdict import BadVerdict, Reason, Verdict
from tests.stored_models import SMALL, save_small, somebody_is_faster, verdict


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    """Versions 1 to 3 of m; live means 1."""
    store = ModelStore(tmp_path)
    for seed in range(3):
        save_small(store, seed=seed)
    store.set_alias("m", "live", 1)
    return store


def test_a_version_that_passed_against_what_is_live_is_promoted(store: ModelStore) -> None:
    store.record_verdict("m", 2, verdict(against="m@1"))
    move = promote(store, "m@2", expect=1, reason="better", who="ann")
    assert move is not None and (move.before, move.version, move.forced) == (1, 2, False)
    assert store.resolve("m") == ("m", 2) and store.history("m")[-1] == move
    assert (move.who, move.why) == ("ann", "better")


@pytest.mark.parametrize(
    ("judged", "said"),
    [
        (None, "no gate has judged it"),
        (verdict(passed=False), r"the gate refused it \(log-loss above the live model's, at most: 0.02, bound 0\)"),
        (verdict(against="m@3"), "the gate compared it with m@3, but live means m@1 now"),
        (verdict(against=""), "the gate compared it with nothing, but live means m@1 now"),
    ],
)
def test_what_the_gate_did_not_pass_needs_force_and_the_history_says_so(
    store: ModelStore, judged: Verdict | None, said: str
) -> None:
    with pytest.raises(NotApprovedError, match=f"m@2 does not become live: {said}; --force"):
        promote(store, "m@2", verdict=judged)
    assert store.verdict("m", 2) == judged, "a refusal is kept, too"
    assert store.resolve("m") == ("m", 1) and len(store.history("m")) == 1
    move = promote(store, "m@2", force=True, reason="the old one is wrong")
    assert move is not None and move.forced and move == store.history("m")[-1]
    assert move.why.startswith("the old one is wrong (against the gate: ") and store.resolve("m") == ("m", 2)


def test_force_is_not_blamed_where_the_gate_has_passed_it(store: ModelStore) -> None:
    move = promote(store, "m@2", verdict=verdict(), force=True, reason="sure")
    assert move is not None and not move.forced and move.why == "sure"


def test_a_candidate_needs_no_verdict_and_a_first_live_model_one_against_nothing(tmp_path: Path) -> None:
    store = ModelStore(tmp_path)
    save_small(store)
    assert promote(store, "m@1", alias="candidate") is not None
    with pytest.raises(NotApprovedError):
        promote(store, "m@1", verdict=verdict(against="m@7"))
    assert promote(store, "m@1", verdict=verdict(against="")) is not None


def test_a_promotion_to_what_is_meant_already_changes_nothing(store: ModelStore) -> None:
    assert promote(store, "m@1", expect=1) is None
    assert len(store.history("m")) == 1


def test_what_was_expected_and_is_not_so_is_told(store: ModelStore) -> None:
    store.record_verdict("m", 2, verdict())
    with pytest.raises(AliasMovedError, match="m@live means version 1 now, and not 3 as expected"):
        promote(store, "m@2", expect=3)
    with pytest.raises(AliasMovedError, match="m@candidate means nothing now, and not 1 as expected"):
        promote(store, "m@2", alias="candidate", expect=1)
    with pytest.raises(AliasMovedError, match="means version 1 now, and not 2"):
        rollback(store, "m", expect=2)
    assert len(store.history("m")) == 1


def test_who_promotes_on_an_old_look_is_told(store: ModelStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the look and the move, somebody else promotes."""
    for version in (2, 3):
        store.record_verdict("m", version, verdict())
    somebody_is_faster(monkeypatch, lambda: promote(store, "m@3"))
    with pytest.raises(AliasMovedError, match="m@live means version 3 now"):
        promote(store, "m@2")
    assert store.resolve("m") == ("m", 3)


@pytest.mark.parametrize("ref", ["m", "m@live", "m@0", "m@", "M@1", "../m@1"])
def test_only_an_exact_version_is_promoted(store: ModelStore, ref: str) -> None:
    with pytest.raises(BadReference):
        promote(store, ref)


def test_what_cannot_serve_is_not_promoted_even_by_force(store: ModelStore, tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError, match="m@9"):
        promote(store, "m@9", force=True, reason="now")
    (tmp_path / "m" / "2" / "weights.safetensors").unlink()
    with pytest.raises(BrokenModelError, match=r"weights.safetensors is missing"):
        promote(store, "m@2", force=True, reason="now")
    other = replace(SMALL, hidden=3)
    words = {"title": "", "trained_on": "", "data_fingerprint": "", "code_version": ""}
    store.save("m", SMALL.build(), config_to_json(other), metrics={}, **words)
    with pytest.raises(BrokenModelError, match=r"do not fit: layers\.\S+ has shape \(2,.*and the network has \(3,"):
        promote(store, "m@4", force=True, reason="now")
    assert store.resolve("m") == ("m", 1)


def test_weights_of_other_names_and_other_kinds_do_not_fit(tmp_path: Path) -> None:
    store = ModelStore(tmp_path)
    words = {"metrics": {}, "title": "", "trained_on": "", "data_fingerprint": "", "code_version": ""}
    store.save("m", torch.nn.Linear(1, 1), config_to_json(SMALL), **words)
    with pytest.raises(BrokenModelError, match=r"do not fit: there is no inputs.scale.scale, "):
        store.load("m@1").build()
    both = torch.nn.ModuleDict(
        {"layers": SMALL.build().layers, "inputs": SMALL.build().inputs, "odd": torch.nn.Linear(1, 1)}
    )
    store.save("m", both, config_to_json(SMALL), **words)
    with pytest.raises(BrokenModelError, match=r"do not fit: the network has no odd.bias, odd.weight"):
        store.load("m@2").build()
    save_small(store)
    with pytest.raises(BrokenModelError, match=r"architecture 'frame-mlp' is a FrameMLP, and .* needs a TSSTN"):
        store.load("m@3").build_as(TSSTN)


def test_a_rollback_leads_to_what_was_meant_before_and_never_forth(store: ModelStore) -> None:
    promote(store, "m@2", verdict=verdict(against="m@1"))
    promote(store, "m@3", verdict=verdict(against="m@2"))
    move = rollback(store, "m", reason="worse", who="ann")
    assert (move.kind, move.before, move.version, move.why, move.who) == ("rollback", 3, 2, "worse", "ann")
    assert store.resolve("m") == ("m", 2)
    assert rollback(store, "m").version == 1, "a second one goes further back"
    with pytest.raises(NotApprovedError, match="m@live has meant nothing before version 1"):
        rollback(store, "m")
    assert [move.version for move in store.history("m")] == [1, 2, 3, 2, 1]


def test_a_rollback_may_lead_to_a_model_that_ships(tmp_path: Path) -> None:
    shipped = ModelStore(tmp_path / "shipped")
    save_small(shipped)
    shipped.set_alias("m", "live", 1)
    store = ModelStore(tmp_path / "own", tmp_path / "shipped")
    with pytest.raises(NotApprovedError, match="nothing before version 1"):
        rollback(store, "m")
    save_small(store, seed=1)
    promote(store, "m@2", verdict=verdict(against="m@1"))
    assert store.resolve("m") == ("m", 2) and shipped.resolve("m") == ("m", 1)
    assert rollback(store, "m").version == 1
    assert store.load("m@live").path == str(tmp_path / "shipped" / "m" / "1")


def test_a_rollback_to_what_is_broken_or_unknown_changes_nothing(store: ModelStore, tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError, match="there is no m@candidate"):
        rollback(store, "m", alias="candidate")
    promote(store, "m@2", verdict=verdict())
    (tmp_path / "m" / "1" / "config.json").write_text("{}")
    with pytest.raises(BrokenModelError, match=r"config.json is not the file that was saved"):
        rollback(store, "m")
    assert store.resolve("m") == ("m", 2)


def test_a_rollback_needs_no_torch(store: ModelStore, tmp_path: Path) -> None:
    """Somebody waits for it, and torch takes seconds."""
    promote(store, "m@2", verdict=verdict())
    script = (
        "import sys; from models.store import ModelStore, rollback; rollback(ModelStore(sys.argv[1]), 'm'); "
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert store.resolve("m") == ("m", 1)


def test_a_verdict_is_kept_beside_the_version_and_can_be_renewed(store: ModelStore, tmp_path: Path) -> None:
    before = sorted((tmp_path / "m" / "2").iterdir())
    assert store.verdict("m", 2) is None
    for judged in (verdict(passed=False), verdict()):
        store.record_verdict("m", 2, judged)
        assert store.verdict("m", 2) == judged and store.verdict("m", 1) is None
    assert sorted((tmp_path / "m" / "2").iterdir()) == before
    (tmp_path / "m" / "verdicts" / "2.json").write_text('{"passed": true}')
    with pytest.raises(
        BrokenModelError, match=r"verdicts/2.json: a verdict has keys \['passed'\].*judge the version again"
    ):
        promote(store, "m@2")
    with pytest.raises(ModelNotFoundError):
        store.record_verdict("m", 9, verdict())


FIGURES = st.one_of(st.none(), st.floats(allow_nan=False, allow_infinity=False))


@given(st.lists(st.tuples(st.text(), FIGURES, FIGURES, st.booleans()), max_size=4), st.text(), st.text())
def test_a_verdict_survives_json(lines: list[tuple[str, float | None, float | None, bool]], a: str, b: str) -> None:
    reasons = tuple(Reason(*line) for line in lines)
    passed = bool(reasons) and all(reason.passed for reason in reasons)
    judged = Verdict(passed, a, reasons, b, "now")
    assert Verdict.from_json(json.loads(json.dumps(judged.to_json(), allow_nan=False))) == judged


def test_a_figure_that_is_none_comes_back_as_not_known() -> None:
    judged = Verdict(False, "", (Reason("x", math.nan, math.inf, False),), "", "")
    assert Verdict.from_json(judged.to_json()).reasons == (Reason("x", None, None, False),)


GOOD = verdict().to_json()


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        ({**GOOD, "extra": 1}, "keys"),
        ({**GOOD, "passed": 1}, "passed must be bool, not '1'"),
        ({**GOOD, "against": None}, "against must be str"),
        ({**GOOD, "reasons": {}}, "reasons must be a list of objects"),
        ({**GOOD, "reasons": [1]}, "reasons must be a list of objects"),
        ({**GOOD, "reasons": []}, "cannot pass without reasons"),
        ({**GOOD, "reasons": [{**GOOD["reasons"][0], "passed": False}]}, "with one that did not pass"),
        ({**GOOD, "reasons": [{**GOOD["reasons"][0], "figure": "1"}]}, "figure must be a finite number or null"),
        ({**GOOD, "reasons": [{**GOOD["reasons"][0], "bound": math.inf}]}, "bound must be a finite number or null"),
        ({**GOOD, "reasons": [{"passed": True}]}, "a reason has keys"),
    ],
)
def test_what_is_no_verdict_is_told(raw: dict[str, object], said: str) -> None:
    with pytest.raises(BadVerdict, match=said):
        Verdict.from_json(raw)
