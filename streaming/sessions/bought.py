"""What has been bought, as it was known at each event that is to be answered, and as it is after the batch.

A purchase belongs to its session, and to its user from when that is known: at once, or when the session logs in. Of
each only the newest are remembered, counted in the order in which they came to be known.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from streaming.features.runs import Bools, Ints
from streaming.sessions.cutting import Cut
from streaming.sessions.events import KINDS
from streaming.sessions.limits import KEEP_BOUGHT, KEEP_BOUGHT_BY_USER
from streaming.sessions.memory import SEPARATOR, user_key
from streaming.state import Slots, StateTable

_PURCHASE, _LOGIN = KINDS.index("purchase"), KINDS.index("login")
_BEFORE = -1  # in place of a row: before the batch
_OWNED = ("owner", "item", "at", "source")
_NOTHING = pl.Series("bought", [[]], pl.List(pl.String))
_NEWEST = pl.col("number").max()


class Bought:
    """Purchases of the sessions of a batch and of their users.

    Args:
        cut: the batch's events, sorted.
        rows: (N,) the same events: kind, item_id, items, `_kind`, `_partition`, and `_row`, their place in the batch.
        counted: (N,) events that are not a bot's.
        slots: (M,) of the browsers' state.
    """

    def __init__(self, cut: Cut, rows: pl.DataFrame, counted: Bools, slots: Slots, state: StateTable) -> None:
        self._cut, self._slots, self._state = cut, slots, state
        self._is_nothing = _is_nothing(cut, rows, counted, slots, state)
        if self._is_nothing:
            return
        self._rows = rows.select("_row", "_partition").with_columns(
            segment=pl.Series(cut.segment), user=pl.Series(cut.user.tolist(), dtype=pl.String),
            time_ms=pl.Series(cut.time_ms),
        )  # fmt: skip
        known = self._rows.filter(pl.Series(counted) & (pl.col("user") != ""))
        self._users = known.group_by("_partition", "user").agg(pl.col("time_ms").max()).sort("_partition", "user")
        keys = [user_key(*pair) for pair in self._users.select("_partition", "user").iter_rows()]
        self._users = self._users.with_columns(owner=pl.Series(keys, dtype=pl.String))
        known = known.join(self._users.select("_partition", "user", "owner"), on=["_partition", "user"])
        self._owner_of_row = known.select("_row", "owner")
        self._of_sessions = self._session_entries(rows, counted)
        self._of_users = self._user_entries(rows, counted, known)

    def lists(self, asked: Ints) -> pl.Series:
        """What was bought, as was known at each of these events (Q,): ids, sorted, without repeats."""
        if self._is_nothing:
            return _NOTHING.new_from_index(0, len(asked))
        questions = self._rows[asked].select("_row", "segment")
        by_session = self._found(questions, self._of_sessions, "segment", KEEP_BOUGHT)
        by_user = self._found(
            questions.join(self._owner_of_row, on="_row"), self._of_users, "owner", KEEP_BOUGHT_BY_USER
        )
        both = pl.concat([by_session, by_user])
        if both.is_empty():
            return _NOTHING.new_from_index(0, len(asked))
        lists = both.group_by("_row").agg(pl.col("item").unique().sort().alias("bought"))
        found = questions.select("_row").join(lists, on="_row", how="left", maintain_order="left")["bought"]
        return found.fill_null(_NOTHING)

    def remember(self) -> None:
        """Write what each browser's last session, and every user, has bought by now."""
        state = self._state
        if self._is_nothing:
            state["bought"][self._slots] = ""
            return
        last = self._cut.segment[self._cut.runs.end - 1]
        joined = dict(_joined(self._of_sessions, "segment", KEEP_BOUGHT).iter_rows())
        state["bought"][self._slots] = np.array([joined.get(segment, "") for segment in last.tolist()], dtype=object)
        users = self._users.join(_joined(self._of_users, "owner", KEEP_BOUGHT_BY_USER), on="owner")
        keys = users["owner"].to_list()
        at = state.slots(keys, users["_partition"].to_list())
        state["bought"][at] = np.array(users["item"].to_list(), dtype=object)
        state["seen_ms"][at] = np.maximum(state["seen_ms"][at], users["time_ms"].to_numpy())
        state.touch(keys)

    def _session_entries(self, rows: pl.DataFrame, counted: Bools) -> pl.DataFrame:
        """segment, item, source, number: in order, those remembered first."""
        cut, held = self._cut, self._state["bought"][self._slots]
        going = np.flatnonzero(cut.goes_on & (held != ""))
        before = pl.DataFrame(
            {"segment": cut.segment[cut.runs.first[going]], "item": pl.Series(held[going].tolist(), dtype=pl.String)}
        ).select("segment", pl.col("item").str.split(SEPARATOR), source=pl.lit(_BEFORE, pl.Int64))
        bought = (rows["kind"] == "purchase") & pl.Series(counted)
        new = self._rows.with_columns(item=rows["item_id"]).filter(bought)
        every = [before.explode("item"), new.select("segment", "item", pl.col("_row").cast(pl.Int64).alias("source"))]
        return _numbered(pl.concat(every), "segment", "source")

    def _user_entries(self, rows: pl.DataFrame, counted: Bools, known: pl.DataFrame) -> pl.DataFrame:
        """owner, item, at, source, number: in the order in which they came to be known to be the user's."""
        state, cut = self._state, self._cut
        there = [key for key in self._users["owner"].to_list() if key in state]
        texts = pl.Series("item", state["bought"][state.slots(there)].tolist(), pl.String)
        before = pl.DataFrame({"owner": pl.Series(there, dtype=pl.String), "item": texts.str.split(SEPARATOR)})
        before = before.explode("item").with_columns(at=pl.lit(_BEFORE, pl.Int64), source=pl.lit(_BEFORE, pl.Int64))

        going = np.flatnonzero(cut.goes_on)
        was_known = pl.DataFrame(
            {
                "segment": cut.segment[cut.runs.first[going]],
                "was_known": pl.Series((state["user"][self._slots[going]] != "").tolist(), dtype=pl.Boolean),
            }
        )
        joins = (
            known.group_by("segment", "owner")
            .agg(pl.col("_row").min().cast(pl.Int64).alias("at"))
            .join(was_known, on="segment", how="left")
            .with_columns(at=pl.when(pl.col("was_known").fill_null(False)).then(_BEFORE).otherwise("at"))
        )
        owned = self._of_sessions.join(joins.select("segment", "owner", "at"), on="segment")
        at_once = owned.filter((pl.col("source") >= pl.col("at")) & (pl.col("source") >= 0)).with_columns(at="source")
        at_login = owned.filter(pl.col("source") < pl.col("at")).filter(
            pl.col("number") > _NEWEST.over("segment") - KEEP_BOUGHT
        )
        said = rows.filter((pl.col("kind") == "login") & pl.Series(counted)).select("_row", item="items")
        told = said.explode("item").drop_nulls("item").join(self._owner_of_row, on="_row")
        told = told.with_columns(at=pl.col("_row").cast(pl.Int64), source=pl.col("_row").cast(pl.Int64))
        every = [part.select(*_OWNED) for part in (before, at_once, at_login, told)]
        return _numbered(pl.concat(every), "owner", "at", "source")

    @staticmethod
    def _found(questions: pl.DataFrame, entries: pl.DataFrame, owner: str, most: int) -> pl.DataFrame:
        """`_row, item` of what was known before each question."""
        at = "at" if "at" in entries.columns else "source"
        known = questions.join(entries, on=owner).filter(pl.col(at) < pl.col("_row"))
        return known.filter(pl.col("number") > _NEWEST.over("_row") - most).select("_row", "item")


def _is_nothing(cut: Cut, rows: pl.DataFrame, counted: Bools, slots: Slots, state: StateTable) -> bool:
    """Whether nobody here has bought anything, as far as is known. So it is with most batches of a few events, and to
    find that out by joins takes longer than all else that is done with one."""
    kind = rows["_kind"].to_numpy()
    logins = rows["items"].gather(np.flatnonzero(counted & (kind == _LOGIN)))
    if (counted & (kind == _PURCHASE)).any() or logins.list.len().sum():
        return False
    if (cut.goes_on & (state["bought"][slots] != "")).any():
        return False
    known = np.flatnonzero(counted & (cut.user != ""))
    users = set(zip(rows["_partition"].gather(known).to_list(), cut.user[known].tolist(), strict=True))
    return not any(user_key(*pair) in state for pair in users)


def _numbered(entries: pl.DataFrame, owner: str, *order: str) -> pl.DataFrame:
    """Sorted, and numbered for each owner."""
    return entries.sort(*order, maintain_order=True).with_columns(number=pl.int_range(pl.len()).over(owner))


def _joined(entries: pl.DataFrame, owner: str, most: int) -> pl.DataFrame:
    """owner, item: the newest ids of each, as one text."""
    newest = entries.filter(pl.col("number") > _NEWEST.over(owner) - most)
    return newest.group_by(owner, maintain_order=True).agg(pl.col("item").str.join(SEPARATOR))
