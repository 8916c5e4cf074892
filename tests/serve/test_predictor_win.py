"""The win predictor: the contract of a request and its answer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch

from models._registry import config_to_json
from models.store import SHIPPED, BrokenModelError, ModelNotFoundError, ModelStore
from models.tsstn import TSSTN, TSSTNConfig
from serve.predictors.win import WinPredictor, load_win_predictor
from streaming.features.baseline import packaged_baselines
from streaming.features.catalogue import GROUPS, title_spec, titles
from streaming.features.match_fold import HERO_CLASSES

Request = dict[str, npt.NDArray[np.generic]]


@pytest.fixture(scope="module")
def predictor() -> WinPredictor:
    return load_win_predictor([str(SHIPPED)], "tsstn-lol@live")


def request_for(predictor: WinPredictor, rows: int, matches: int, seed: int = 0) -> Request:
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(rows, len(predictor.features))).astype(np.float32) * 5
    features[rng.random(features.shape) < 0.2] = np.nan
    return {
        "features": features,
        "clock_s": (30.0 * (np.arange(rows) // matches)).astype(np.float32),
        "match": (np.arange(rows) % matches).astype(np.int64),
        "hidden": np.zeros((matches, predictor.state_floats), np.float32),
    }


@pytest.mark.parametrize("title", titles())
def test_every_title_has_shipped_weights_that_answer_as_agreed(title: str) -> None:
    predictor = load_win_predictor([str(SHIPPED)], f"tsstn-{title}@live")
    answer = predictor.predict(request_for(predictor, rows=50, matches=8))
    assert answer["logit"].shape == (50,)
    for key in ("scores", "weights", "contributions"):
        assert answer[key].shape == (50, len(GROUPS))
    assert answer["hidden"].shape == (8, predictor.state_floats) and predictor.state_floats <= 64
    assert all(array.dtype == np.float32 and np.isfinite(array).all() for array in answer.values())
    np.testing.assert_allclose(answer["contributions"].sum(axis=1), answer["logit"], atol=1e-5)
    stored = ModelStore(SHIPPED).load(f"tsstn-{title}@live")
    assert (predictor.info.title, predictor.info.version) == (title, stored.version)
    assert len(predictor.info.weight_hash) == 12 and predictor.info.trained_on.startswith("simulator")


@pytest.mark.parametrize("title", titles())
def test_the_model_says_what_lead_in_gold_was_usual_where_it_learned(title: str) -> None:
    """Of other matches than the baseline's, but of the same simulator."""
    predictor, baseline = load_win_predictor([str(SHIPPED)], f"tsstn-{title}@live"), packaged_baselines()[title]
    request = request_for(predictor, rows=40, matches=1)
    clock_s = request["clock_s"].astype(np.float64)
    usual = np.interp(clock_s / 60, baseline.minutes, baseline.gold_spread)
    late = clock_s >= 600  # early on, the model takes no spread for less than a tenth of that over all time
    np.testing.assert_allclose(predictor.predict(request)["usual_gold"][late], usual[late], rtol=0.15)


def test_groups_that_the_title_lacks_are_zero() -> None:
    predictor = load_win_predictor([str(SHIPPED)], "tsstn-dota2@live")
    answer = predictor.predict(request_for(predictor, rows=5, matches=5))
    lane = GROUPS.index("lane")
    assert not answer["weights"][:, lane].any() and not answer["contributions"][:, lane].any()


def test_a_lead_in_everything_wins(predictor: WinPredictor) -> None:
    request = request_for(predictor, rows=1, matches=1)
    lead = {"gold": 8000, "xp": 8000, "kills": 10, "towers": 5, "dragons": 3, "barons": 1, "form": 0.5}
    request["features"] = np.array([[lead.get(name, 0) for name in predictor.features]], np.float32)
    request["clock_s"][:] = 1500
    assert predictor.predict(request)["logit"][0] > 2
    request["features"] = -request["features"]
    assert predictor.predict(request)["logit"][0] < -2


@pytest.mark.parametrize("minute", [10, 25])
@pytest.mark.parametrize("title", titles())
def test_a_lead_that_is_all_a_feed_tells_speaks_for_the_side_that_has_it(title: str, minute: int) -> None:
    """A poor feed may have any one feature; weights that never saw it alone may read it with the wrong sign. (Which
    class of hero did something says nothing of who wins.)"""
    predictor = load_win_predictor([str(SHIPPED)], f"tsstn-{title}@live")
    telling = [name for name in predictor.features if name not in HERO_CLASSES]
    by_gold = {"gold", "xp", "gold_spread"}
    for name in telling:
        request = request_for(predictor, rows=1, matches=1)
        lead = 1000.0 if name in by_gold else 1.0
        request["features"] = np.array([[lead if one == name else np.nan for one in predictor.features]], np.float32)
        request["clock_s"][:] = 60.0 * minute
        assert predictor.predict(request)["logit"][0] > 0, name


def test_two_calls_with_the_state_handed_on_are_one_call(predictor: WinPredictor) -> None:
    request = request_for(predictor, rows=60, matches=6)
    whole = predictor.predict(request)
    first = predictor.predict({**request, **{k: request[k][:25] for k in ("features", "clock_s", "match")}})
    rest = {k: request[k][25:] for k in ("features", "clock_s", "match")}
    second = predictor.predict({**rest, "hidden": first["hidden"]})
    for key in ("logit", "scores", "weights", "contributions"):
        assert np.array_equal(np.concatenate([first[key], second[key]]), whole[key])
    assert np.array_equal(second["hidden"], whole["hidden"])


def test_line_ups_reach_a_model_that_knows_heroes(tmp_path: Path) -> None:
    groups = tuple(title_spec("dota2").groups.items())
    config = TSSTNConfig(groups=groups, hidden=4, state=3, hero_dim=1, heroes=(("axe", ""), ("zeus", "")))
    store = ModelStore(tmp_path)
    words = dict.fromkeys(("trained_on", "data_fingerprint", "code_version"), "")
    torch.manual_seed(0)
    store.save("tsstn-dota2", config.build(), config_to_json(config), metrics={}, title="dota2", **words)
    predictor = load_win_predictor([str(tmp_path)], "tsstn-dota2@1")
    request = request_for(predictor, rows=3, matches=3)
    request["features"][:] = np.nan
    assert not predictor.predict(request)["logit"].any()
    request["heroes"] = np.array([["Axe\nZeus", "Axe"], ["Axe", "Axe\nZeus"], ["", ""]], object)
    logit = predictor.predict(request)["logit"]
    assert logit[0] != 0 and logit[2] == 0
    np.testing.assert_allclose(logit[1], -logit[0], atol=1e-6)
    request["heroes"] = request["heroes"][:2]
    with pytest.raises(ValueError, match=r"heroes must have shape \(3, 2\), not \(2, 2\)"):
        predictor.predict(request)


def test_no_rows_are_no_answers(predictor: WinPredictor) -> None:
    answer = predictor.predict(request_for(predictor, rows=0, matches=3))
    assert answer["logit"].shape == (0,) and answer["contributions"].shape == (0, 7)
    assert answer["hidden"].shape == (3, predictor.state_floats)


def test_read_only_arrays_are_taken(predictor: WinPredictor) -> None:
    request = request_for(predictor, rows=4, matches=2)
    for array in request.values():
        array.flags.writeable = False
    assert np.isfinite(predictor.predict(request)["logit"]).all()


@pytest.mark.parametrize(
    ("key", "change", "message"),
    [
        ("features", lambda a: a[:, :-1], r"features must have shape \(4, 13\), not \(4, 12\)"),
        ("match", lambda a: a[:-1], r"match must have shape \(4,\)"),
        ("hidden", lambda a: a[:, :3], "hidden must have shape"),
        ("match", lambda a: a + 2, r"match must lie in 0\.\.1"),
        ("match", lambda a: a - 1, r"match must lie in 0\.\.1"),
    ],
)
def test_a_wrong_request_names_the_array(predictor: WinPredictor, key: str, change: object, message: str) -> None:
    request = request_for(predictor, rows=4, matches=2)
    request[key] = change(request[key])  # type: ignore[operator]
    with pytest.raises(ValueError, match=message):
        predictor.predict(request)


def test_an_incomplete_request_names_what_it_lacks(predictor: WinPredictor) -> None:
    request = request_for(predictor, rows=4, matches=2)
    del request["clock_s"]
    with pytest.raises(ValueError, match="request lacks clock_s"):
        predictor.predict(request)


def test_reasons_that_do_not_add_up_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    predictor = load_win_predictor([str(SHIPPED)], "tsstn-lol@live")
    step = TSSTN.step

    def lying(self: TSSTN, *args: torch.Tensor) -> object:
        estimate, hidden = step(self, *args)
        return estimate._replace(logits=estimate.logits + torch.tensor([0.0, 0.5, torch.nan])), hidden

    predictor.predict(request_for(predictor, rows=3, matches=3))
    assert predictor.broken == 0
    monkeypatch.setattr(TSSTN, "step", lying)
    predictor.predict(request_for(predictor, rows=3, matches=3))
    assert predictor.broken == 2


def test_weights_for_other_features_than_the_title_has_are_refused(tmp_path: Path) -> None:
    config = TSSTNConfig(groups=(("gold", ("gold",)),), hidden=2, state=2)
    store = ModelStore(tmp_path)
    store.save(
        "tsstn-lol",
        config.build(),
        config_to_json(config),
        metrics={},
        title="lol",
        trained_on="",
        data_fingerprint="",
        code_version="",
    )
    with pytest.raises(BrokenModelError, match=r"trained for gold, but lol has gold, xp, .*train it again"):
        load_win_predictor([str(tmp_path)], "tsstn-lol@1")


def test_a_missing_model_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError, match="sightline train win-tsstn"):
        load_win_predictor([str(tmp_path), str(SHIPPED)], "tsstn-chess@live")


@pytest.mark.gpu
def test_the_gpu_answers_as_the_cpu_does(predictor: WinPredictor) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device here")
    on_gpu = load_win_predictor([str(SHIPPED)], "tsstn-lol@live", "cuda")
    request = request_for(predictor, rows=200, matches=20)
    ours, theirs = predictor.predict(request), on_gpu.predict(request)
    for key, values in ours.items():
        np.testing.assert_allclose(theirs[key], values, atol=1e-4)
