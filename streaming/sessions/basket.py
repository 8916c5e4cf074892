"""What lies in a session's basket, as it was at each event that is to be answered, and as it is after the batch.

What is put in lies there until it is taken out or bought, or the session is over. So a basket is no larger than a
session may be long (`limits.Limits.max_events`).
"""

from __future__ import annotations

import numpy as np
import polars as pl

from streaming.features.runs import Bools, Ints
from streaming.sessions.cutting import Cut
from streaming.sessions.events import KINDS
from streaming.sessions.memory import SEPARATOR
from streaming.state import Slots, StateTable

_PUT_IN, _BOUGHT, _TAKEN_OUT = (KINDS.index(kind) for kind in ("cart", "purchase", "remove"))
_BEFORE = -1  # in place of an event: before the batch
_EMPTY = pl.Series("basket", [[]], pl.List(pl.String))


class Basket:
    """Baskets of the sessions of a batch.

    Args:
        cut: the batch's events, sorted.
        rows: (N,) the same events: item_id, `_kind`.
        counted: (N,) events that are not a bot's.
        slots: (M,) of the browsers' state.
    """

    def __init__(self, cut: Cut, rows: pl.DataFrame, counted: Bools, slots: Slots, state: StateTable) -> None:
        self._cut, self._slots, self._state = cut, slots, state
        kind = rows["_kind"].to_numpy()
        going = np.flatnonzero(cut.goes_on & (state["basket"][slots] != ""))
        # As with what is bought: most batches of a few events have no basket, and joins take longer than all else.
        self._is_empty = not len(going) and not (counted & (kind == _PUT_IN)).any()
        if self._is_empty:
            return
        held = pl.Series("item", state["basket"][slots[going]].tolist(), pl.String).str.split(SEPARATOR)
        before = pl.DataFrame({"segment": cut.segment[cut.runs.first[going]], "item": held}).explode("item")
        before = before.with_columns(at=pl.lit(_BEFORE, pl.Int64), is_in=pl.lit(True))
        moves = np.flatnonzero(counted & np.isin(kind, (_PUT_IN, _BOUGHT, _TAKEN_OUT)))
        new = pl.DataFrame(
            {
                "segment": cut.segment[moves],
                "item": rows["item_id"].gather(moves),
                "at": moves.astype(np.int64),
                "is_in": kind[moves] == _PUT_IN,
            }
        )
        # segment, item, at, is_in, number: in order, those remembered first.
        self._moves = pl.concat([before, new]).with_row_index("number")

    def lists(self, asked: Ints) -> pl.Series:
        """What lay in the basket at each of these events (Q,): ids, sorted."""
        if self._is_empty:
            return _EMPTY.new_from_index(0, len(asked))
        questions = pl.DataFrame({"segment": self._cut.segment[asked], "asked": asked.astype(np.int64)})
        known = questions.join(self._moves, on="segment").filter(pl.col("at") < pl.col("asked"))
        lists = _inside(known, "asked").group_by("asked").agg(pl.col("item").sort().alias("basket"))
        found = questions.select("asked").join(lists, on="asked", how="left", maintain_order="left")["basket"]
        return found.fill_null(_EMPTY)

    def remember(self) -> None:
        """Write what lies in the basket of each browser's last session now."""
        if self._is_empty:
            self._state["basket"][self._slots] = ""
            return
        joined = _inside(self._moves, "segment").sort("number").group_by("segment", maintain_order=True)
        by_segment = dict(joined.agg(pl.col("item").str.join(SEPARATOR)).iter_rows())
        last = self._cut.segment[self._cut.runs.end - 1]
        self._state["basket"][self._slots] = np.array([by_segment.get(s, "") for s in last.tolist()], dtype=object)


def _inside(moves: pl.DataFrame, of: str) -> pl.DataFrame:
    """The last move of each item, where that put it in."""
    return moves.sort("number").group_by(of, "item", maintain_order=True).last().filter("is_in")
