"""What whole matches sound like, held fast: a change of one line of commentary shows as a difference here.

    GOLDEN=write pytest tests/integration/test_golden_commentary.py      takes what it is now; then read the difference

`golden/simulated_*.json` holds every sentence of simulated matches, judged by a plain sum of leads, so that it changes
with narrator, wording or simulator only. `golden/replayed.json` is about real matches, which may not be copied into
this repository: of each it holds when a line came (game clock), which wordings it took (their keys, such as
"flip.event.0"), the top reason, and a hash of the sentences, and so neither names nor events nor any value of the data.
It is made with the shipped model and names its weights: new weights need a new file.
"""

from __future__ import annotations

import hashlib
import json
import os
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from models.store import SHIPPED, ModelStore
from serve.predictors.win import WinPredictor
from streaming.features.catalogue import GROUPS, title_spec
from streaming.features.match_fold import MatchFold
from streaming.importers import import_matches
from streaming.insights.commentary import clock
from streaming.insights.narrator import Narrator
from streaming.insights.wording import PACKAGED
from streaming.pipelines.win_prediction import STATE_FLOATS, Arrays, Predict, Prediction, WinModel
from streaming.simulators.match import simulate

GOLDEN = Path(__file__).parent / "golden"
WORTH = {
    "gold": 1 / 2500, "kills": 0.05, "teamfights": 0.05, "towers": 0.15, "inner_towers": 0.1, "inhibitors": 0.4,
    "dragons": 0.15, "barons": 0.5, "heralds": 0.1, "roshans": 0.4, "minions": 0.005, "lane_top": 0.2, "lane_mid": 0.2,
    "lane_bot": 0.2, "level": 0.05, "form": 1.0,
}  # fmt: skip
"""Log-odds for a lead of one."""


def by_leads(title: str, request: Arrays) -> Prediction:
    """A model without weights: every lead counts what it is worth."""
    features = title_spec(title).features
    contributions = np.zeros((len(request["clock_s"]), len(GROUPS)), np.float32)
    for column, feature in enumerate(features):
        group = next(i for i, g in enumerate(GROUPS) if feature in title_spec(title).groups.get(g, ()))
        contributions[:, group] += np.nan_to_num(request["features"][:, column]) * np.float32(WORTH.get(feature, 0.0))
    logit = contributions.sum(axis=1)
    return Prediction(logit, contributions, contributions, contributions, request["hidden"], "leads", "1", "0" * 12)


def shipped(predictor: WinPredictor) -> Predict:
    """The shipped model in this process, without Ray."""

    def predict(title: str, request: Arrays) -> Prediction:
        width, padded = predictor.state_floats, request["hidden"]
        reply = predictor.predict({**request, "hidden": padded[:, :width]})
        hidden = np.zeros((len(padded), STATE_FLOATS), np.float32)
        hidden[:, :width] = reply["hidden"]
        return Prediction(
            logit=reply["logit"],
            scores=reply["scores"],
            weights=reply["weights"],
            contributions=reply["contributions"],
            hidden=hidden,
            model_name=predictor.info.name,
            model_version=predictor.info.version,
            weight_hash=predictor.info.weight_hash,
        )

    return predict


def scored(events: pl.DataFrame, predict: Predict) -> pl.DataFrame:
    """Event rows through fold and model."""
    fold, model = MatchFold(), WinModel(predict)
    rows = events.with_columns(
        _partition=pl.lit(0, pl.Int32),
        _offset=pl.int_range(pl.len(), dtype=pl.Int64),
        _ingest_time_ms=pl.col("event_time_ms").dt.epoch("ms"),
        _schema_id=pl.lit(1, pl.Int32),
    )
    return model(fold(rows, fold.new_state()), model.new_state())


def lines(frames: pl.DataFrame, wording: Path | None = None) -> list[dict[str, Any]]:
    """The insights that say something."""
    narrator = Narrator(wording)
    return narrator(frames, narrator.new_state()).filter(pl.col("commentary_en").is_not_null()).to_dicts()


def keys_for_words(folder: Path) -> Path:
    """The packaged wording with every line replaced by its own key."""
    text = PACKAGED.read_text(encoding="utf-8")
    for sections in tomllib.loads(text).values():
        for section, lists in sections.items():
            for name, said in lists.items() if section != "grammar" else ():
                for number, line in enumerate(said) if isinstance(said, list) else ():
                    assert f'"{line}"' in text
                    text = text.replace(f'"{line}"', f'"{section}.{name}.{number}"', 1)
    path = folder / "keys.toml"
    path.write_text(text, encoding="utf-8")
    return path


def compare(name: str, made: Any) -> None:
    """Against the file, or into it."""
    path = GOLDEN / f"{name}.json"
    if os.environ.get("GOLDEN") == "write":
        path.write_text(json.dumps(made, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    assert made == json.loads(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize(("title", "seed"), [("lol", 1), ("dota2", 3), ("hok", 5)])
def test_a_simulated_match_sounds_as_it_did(title: str, seed: int) -> None:
    said = lines(scored(simulate(title, 1, seed).events, by_leads))
    assert len(said) > 5
    compare(f"simulated_{title}", [[clock(row["clock_s"]), row["commentary_en"], row["commentary_zh"]] for row in said])


@pytest.mark.data
def test_replayed_matches_sound_as_they_did(data_dir: Path, tmp_path: Path) -> None:
    predictor = WinPredictor(ModelStore(SHIPPED).load("tsstn-lol@live"))
    keys = keys_for_words(tmp_path)
    made: dict[str, Any] = {"weights": predictor.info.weight_hash, "matches": []}
    for path in sorted((data_dir / "moba" / "riot_timelines").glob("*.json")):
        frames = scored(import_matches(path, any_map=True).events, shipped(predictor))
        said, keyed = lines(frames), lines(frames, keys)
        sentences = "\n".join(row[f"commentary_{language}"] for language in ("en", "zh") for row in said)
        said_when = [f"{clock(row['clock_s'])} {row['commentary_en']} {row['top_reason']}" for row in keyed]
        made["matches"].append({"lines": said_when, "sha256": hashlib.sha256(sentences.encode()).hexdigest()})
    if os.environ.get("GOLDEN") != "write":
        golden = json.loads((GOLDEN / "replayed.json").read_text(encoding="utf-8"))
        assert golden["weights"] == made["weights"], (
            "the shipped model is another: read its commentary, then take it with "
            "GOLDEN=write pytest tests/integration/test_golden_commentary.py"
        )
    compare("replayed", made)
