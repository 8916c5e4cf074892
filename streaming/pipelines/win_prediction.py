"""Live match events in, explained win probability out.

match.events ─► validate ─► fold* (frames on the game clock, form) ─► model* ─► narrate* ─► match.insights
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from streaming import topics
from streaming.features import match
from streaming.features.catalogue import GROUPS, title_spec
from streaming.features.match_fold import MatchFold
from streaming.insights.narrator import Narrator
from streaming.pipeline import Pipeline
from streaming.state import Column, StateTable

STATE_FLOATS = 64
"""Room for a model's recurrent state per match; a smaller model leaves the rest at zero."""

Arrays = Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class Prediction:
    """One answer of the model for N frames of one title, and which weights gave it."""

    logit: npt.NDArray[np.float32]  # (N,), log-odds that camp A wins
    scores: npt.NDArray[np.float32]  # (N, G) in GROUPS order, 0 for a group that the title lacks
    weights: npt.NDArray[np.float32]  # (N, G)
    contributions: npt.NDArray[np.float32]  # (N, G), sum to the logit
    hidden: npt.NDArray[np.float32]  # (M, STATE_FLOATS), after these frames
    model_name: str
    model_version: str
    weight_hash: str


Predict = Callable[[str, Arrays], Prediction]
"""(title, request) to prediction. Request: features (N, F) float32 in the title's column order, NaN where unknown;
clock_s (N,) float32; match (N,) int64, row of hidden, rows of one match in time order; hidden (M, STATE_FLOATS)
float32.
Raises `streaming.pipeline.DependencyUnavailable` while the model cannot be reached."""

_IDLE_MS = 6 * 3600 * 1000
_TOLERANCE = 1e-4


class WinModel:
    """The model as a stage: one call per title and batch, the recurrent state kept here per match."""

    name = "model"

    def __init__(self, predict: Predict) -> None:
        self._predict = predict

    def new_state(self) -> StateTable:
        """Recurrent state per match, and the attempt it belongs to: a restarted match starts from zeros."""
        layout = {
            "attempt": Column(np.int32),
            "event_time_ms": Column(np.int64),
            "hidden": Column(np.float32, (STATE_FLOATS,)),
        }
        return StateTable(self.name, layout)

    def __call__(self, rows: pl.DataFrame, state: StateTable) -> pl.DataFrame:
        """Match frames to the same frames with logit, p, scores, weights, contributions and the model's name. A frame
        without a finite answer leaves with a `_reject`."""
        rows = rows.with_row_index("_order")
        titles = rows["title"].unique(maintain_order=True).to_list()
        parts = [rows if len(titles) == 1 else rows.filter(pl.col("title") == title) for title in titles]
        scored = [self._score(title, part, state) for title, part in zip(titles, parts, strict=True)]
        for _, advance in scored:  # only now, when no call can fail any more
            advance()
        _forget(rows, state)
        answered = scored[0][0] if len(scored) == 1 else pl.concat([frame for frame, _ in scored]).sort("_order")
        return answered.drop("_order")

    def _score(self, title: str, rows: pl.DataFrame, state: StateTable) -> tuple[pl.DataFrame, Callable[[], None]]:
        """Frames of one title with their answers, and how to move the state on."""
        runs = rows.select("match_id", "attempt", "frame", "event_time_ms").with_columns(
            pl.struct("match_id", "attempt").rank("dense").cast(pl.Int64).sub(1).alias("run")
        )
        first = runs.unique("run", keep="first").sort("run")
        last = runs.unique("run", keep="last").sort("run")
        ids = first["match_id"].to_list()
        slots = state.slots(ids)
        goes_on = (first["frame"].to_numpy() > 0) & (state["attempt"][slots] == first["attempt"].to_numpy())
        hidden = np.where(goes_on[:, None], state["hidden"][slots], np.float32(0))
        prediction = self._predict(
            title,
            {
                "features": rows.select(title_spec(title).features).to_numpy().astype(np.float32, copy=False),
                "clock_s": rows["clock_s"].to_numpy().astype(np.float32),
                "match": runs["run"].to_numpy(),
                "hidden": hidden,
            },
        )

        def advance() -> None:
            slots = state.slots(ids)  # runs are sorted by attempt: of two runs of one match the later one stays
            state["attempt"][slots] = last["attempt"].to_numpy()
            state["event_time_ms"][slots] = last["event_time_ms"].dt.epoch("ms").to_numpy()
            state["hidden"][slots] = prediction.hidden
            state.touch(ids)

        return _with_answers(rows, prediction), advance


def _with_answers(rows: pl.DataFrame, prediction: Prediction) -> pl.DataFrame:
    logit = prediction.logit.astype(np.float64)
    flags = rows["flags"]
    broken = np.abs(prediction.contributions.sum(axis=1, dtype=np.float64) - logit) > _TOLERANCE
    if broken.any():
        flags = pl.Series("flags", [_with_flag(f, b) for f, b in zip(flags, broken.tolist(), strict=True)], pl.String)
    columns: dict[str, Any] = {
        "logit": logit,
        "p": 1.0 / (1.0 + np.exp(-logit)),
        "flags": flags,
        "model_name": pl.lit(prediction.model_name),
        "model_version": pl.lit(prediction.model_version),
        "weight_hash": pl.lit(prediction.weight_hash),
    }
    for number, group in enumerate(GROUPS):
        columns[f"score_{group}"] = prediction.scores[:, number]
        columns[f"weight_{group}"] = prediction.weights[:, number]
        columns[f"contribution_{group}"] = prediction.contributions[:, number]
    frame = rows.with_columns(
        **{name: value if isinstance(value, pl.Expr) else pl.Series(name, value) for name, value in columns.items()}
    )
    if np.isfinite(logit).all():
        return frame
    reason = (
        pl.when(pl.col("logit").is_finite()).then(None).otherwise(pl.lit("Unscorable: the model gave no finite answer"))
    )
    return frame.with_columns(reason.alias("_reject"))


def _with_flag(flags: str, broken: bool) -> str:
    return f"{flags} contributions-broken".strip() if broken else flags


def _forget(rows: pl.DataFrame, state: StateTable) -> None:
    """Let go of matches that are over, and of those silent for hours: the fold starts such a match anew."""
    closed = rows.filter(pl.col("status") != "live")
    if closed.height:
        state.delete(closed["match_id"].to_list())
    now_ms = int(rows["event_time_ms"].dt.epoch("ms").to_numpy().max())
    state.delete(state.keys_where(state["event_time_ms"] < now_ms - _IDLE_MS))


def win_prediction(predict: Predict, narrator: Narrator | None = None) -> Pipeline:
    """Match events in, one explained win probability per match and frame out."""
    return Pipeline(
        name="win-prediction",
        source=topics.MATCH_EVENTS,
        transforms=(match.validate,),
        stages=(MatchFold(), WinModel(predict), narrator or Narrator()),
        sink=topics.MATCH_INSIGHTS,
    )
