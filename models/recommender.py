"""One columnar call: the clicks of many sessions in, ranked items with scores and reasons out. Knows no Serve.

Nothing of the size of sessions × items outlives a piece of 32 sessions. `tests/benchmarks/bench_sessions.py` says how
many sessions a second a core answers, with reasons and without.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from models.attribution.session_falls import SessionFalls
from models.attribution.session_reasons import strongest
from models.session_encoder import NO_ITEM
from models.session_model import SessionModel
from models.top_k import top_k_of

Ints = npt.NDArray[np.int64]
_QUERIES_AT_ONCE = 256
_CLICKS_TRIED = 10
"""Latest items of a session that are tried as reasons."""


class Recommendations(NamedTuple):
    """Of N sessions the k best items, best first; of equals the one that was clicked more in training.

    Attributes:
        items: (N, k) ids, str; "" where there are fewer.
        scores: (N, k) float32, probability of the next click; -inf there.
        reason_event: (N, k, r) int32, which click of the session as it was given, from 0; -1 for none.
        reason_share: (N, k, r) float32, of all that clicks did for the item, by falling size; 0 for none.
    """

    items: npt.NDArray[np.object_]
    scores: npt.NDArray[np.float32]
    reason_event: npt.NDArray[np.int32]
    reason_share: npt.NDArray[np.float32]


class SessionRecommender:
    """A loaded model and what it may offer. `recommend` is deterministic, and a session's answer does not depend on the
    sessions beside it.

    Args:
        model: in memory.
        reasons: r, clicks that are named for each item at most; 0 asks for none, which takes a fraction of the time.
    """

    def __init__(self, model: SessionModel, *, reasons: int = 2) -> None:
        if reasons < 0:
            raise ValueError(f"reasons={reasons}: must not be below 0")
        self._model, self._reasons = model, reasons
        self._falls = SessionFalls(model, most=_CLICKS_TRIED) if reasons else None
        self._ids = np.array(model.ids(), dtype=object)
        self._number: Mapping[str, int] = {each: number for number, each in enumerate(self._ids)}

    def knows(self, ids: Sequence[str]) -> npt.NDArray[np.bool_]:
        """Which of these items can be recommended, and counted as clicks."""
        return np.array([each in self._number for each in ids], bool)

    def offering(self, ids: Sequence[str]) -> npt.NDArray[np.bool_]:
        """Of all items of the model those that are among these: `offered` of `recommend`. Others are not known."""
        offered = np.zeros(len(self._ids), bool)
        offered[[number for each in ids if (number := self._number.get(each)) is not None]] = True
        return offered

    def recommend(
        self,
        item: npt.NDArray[np.object_],
        time_ms: npt.NDArray[np.int64],
        offsets: npt.NDArray[np.int64],
        k: int,
        *,
        offered: npt.NDArray[np.bool_] | None = None,
        repeats: bool = True,
    ) -> Recommendations:
        """What to offer in each session. Clicks on unknown items are skipped, as reasons too; a session without any
        other gets what the model expects of sessions at large.

        Args:
            item: (T,) ids of the clicks of all sessions, one session after another, oldest click first.
            time_ms: (T,) Unix time.
            offsets: (N + 1,): session i is `[offsets[i], offsets[i + 1])`, one click at least.
            k: items to each, at least 1.
            offered: (I,) as of `offering`; by default all.
            repeats: whether the item that was clicked last may be offered again.

        Raises:
            ValueError: shapes that do not fit, or a session without clicks.
        """
        if item.shape != time_ms.shape or item.ndim != 1:
            raise ValueError(f"item {item.shape} and time_ms {time_ms.shape} must both be (T,)")
        if not len(offsets) or offsets[0] != 0 or offsets[-1] != len(item) or (np.diff(offsets) < 1).any():
            raise ValueError(f"offsets must rise from 0 to {len(item)}, by one click at least for each session")
        if k < 1:
            raise ValueError(f"k={k}: must be at least 1")
        if offered is not None and offered.shape != (len(self._ids),):
            raise ValueError(f"offered {offered.shape} must be ({len(self._ids)},)")
        now_s = time_ms[offsets[1:] - 1] / 1000
        clicks, event = self._rows(item, offsets)
        shape = (len(now_s), k)
        found = Recommendations(
            np.full(shape, "", dtype=object),
            np.full(shape, -np.inf, np.float32),
            np.full((*shape, self._reasons), -1, np.int32),
            np.zeros((*shape, self._reasons), np.float32),
        )
        for start in range(0, len(now_s), _QUERIES_AT_ONCE):
            part = slice(start, start + _QUERIES_AT_ONCE)
            self._answer(clicks[part], event[part], now_s[part], offered, repeats, found, part)
        return found

    def _rows(self, item: npt.NDArray[np.object_], offsets: Ints) -> tuple[Ints, Ints]:
        """Item numbers (N, L) of the latest known clicks, and which clicks of their sessions these are (N, L)."""
        sessions, length = len(offsets) - 1, self._model.config.length
        number = np.fromiter((self._number.get(each, NO_ITEM) for each in item), np.int64, len(item))
        row = np.repeat(np.arange(sessions), np.diff(offsets))
        place = np.arange(len(item)) - offsets[row]
        known = number != NO_ITEM
        number, row, place = number[known], row[known], place[known]
        ends = np.searchsorted(row, np.arange(sessions), side="right")
        column = length - (ends[row] - np.arange(len(row)))
        kept = column >= 0
        clicks, event = np.full((2, sessions, length), NO_ITEM)
        clicks[row[kept], column[kept]] = number[kept]
        event[row[kept], column[kept]] = place[kept]
        return clicks, event

    def _answer(
        self,
        clicks: Ints,
        event: Ints,
        now_s: npt.NDArray[np.float64],
        offered: npt.NDArray[np.bool_] | None,
        repeats: bool,
        found: Recommendations,
        part: slice,
    ) -> None:
        count, k = len(clicks), found.items.shape[1]
        items, scores = np.empty((count, k), np.int64), np.empty((count, k), np.float32)
        asked = None if self._falls is None else self._falls.ask(clicks)
        for rows, piece in self._model.pieces(clicks, now_s, None if asked is None else asked.scored):
            if offered is not None:
                piece[:, ~offered] = -np.inf
            if not repeats:
                latest = np.flatnonzero(clicks[rows, -1] != NO_ITEM)
                piece[latest, clicks[rows, -1][latest]] = -np.inf
            best = top_k_of(torch.from_numpy(piece), k)
            items[rows], scores[rows] = best.items.numpy(), best.scores.numpy()
        there = items != NO_ITEM
        found.items[part][there] = self._ids[items[there]]
        found.scores[part] = scores
        if self._falls is not None and asked is not None:
            columns, falls = self._falls.of(asked, now_s, items, scores)
            named = strongest(falls, self._reasons)
            own, width = named.column != NO_ITEM, named.column.shape[2]
            row = np.arange(count)[:, None, None]
            clicked = np.maximum(columns[row, np.maximum(named.column, 0)], 0)
            found.reason_event[part][..., :width] = np.where(own, event[row, clicked], -1)
            found.reason_share[part][..., :width] = named.share
