"""Events of sessions folded into what is known of each: the keyed stage before the model.

    events (streaming.sessions.events, validated) ─► SessionFold ─► one row a view, with its session as it was then

- **When a session is over** (`limits.Limits`): after a pause, by its length, or where another user logs in. Order is
  that of arrival; an event that comes out of order counts as if it had come in time (`disordered`), one that is further
  behind its partition's time than the gap is `late`: it is counted, and neither remembered nor answered.
- **Who it is**: a session is of the user that any of its events names, from then on until it is over; what it bought
  before belongs to the user as well.
- **Floods** (`flooded`, `bots`): not remembered, not answered.
- **forget**: erases all that is remembered of a user in the partition: sessions, also what was done in them before the
  login, and history. A request is written to every partition (`forgetting`).

What comes out, and the state, hangs on the order of each partition's rows alone, however they are cut into batches.
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import blake2b

import numpy as np
import polars as pl

from streaming.event_time import Ints, watermarks
from streaming.features.runs import Bools
from streaming.pipeline import Facts
from streaming.sessions import memory
from streaming.sessions.basket import Basket
from streaming.sessions.bought import Bought
from streaming.sessions.cutting import Before, Cut, cut
from streaming.sessions.events import KINDS
from streaming.sessions.limits import MINUTE_MS, Limits
from streaming.sessions.memory import partition_key, session_key
from streaming.sessions.model import ACTS
from streaming.sessions.recent import Recent
from streaming.state import Slots, StateTable

ANSWERED = "view"
"""Kind of the events that are answered."""

ASKED_SCHEMA = pl.Schema(
    {
        "session_id": pl.String(),
        "event_time_ms": pl.Datetime("ms", "UTC"),
        "item_id": pl.String(),
        "session_start_ms": pl.Datetime("ms", "UTC"),
        "session_events": pl.Int32(),
        "unit": pl.String(),
        "items": pl.List(pl.String()),
        "kinds": pl.List(pl.Int8()),
        "times_ms": pl.List(pl.Int64()),
        "bought": pl.List(pl.String()),
        "basket": pl.List(pl.String()),
        "number": pl.UInt64(),
        "_partition": pl.Int32(),
        "_offset": pl.Int64(),
        "_ingest_time_ms": pl.Int64(),
        "_schema_id": pl.Int32(),
    }
)
"""What leaves: a view, the newest acts of its session with it as the last, what is bought already, and what lies in the
session's basket. `unit` is who counts as one in an experiment: the user that the session began as, else the session.
`number` is the view's own, a hash of its browser and of which event since the last pause it is: wherever the record
lies, and whenever it is read."""

_FROM_RECORD = ("_partition", "_offset", "_ingest_time_ms", "_schema_id")
_TOTALS = ("late", "disordered", "flooded", "bots", "sessions", "forgotten")
_KIND = {kind: number for number, kind in enumerate(KINDS)}


class SessionFold:
    """The stage.

    Args:
        limits: what a session is.
    """

    name = "sessions"

    def __init__(self, limits: Limits | None = None) -> None:
        self._limits = limits or Limits()

    def new_state(self) -> StateTable:
        """An empty table: `streaming.sessions.memory`."""
        return StateTable(self.name, memory.LAYOUT, partitioned=True)

    def facts(self, state: StateTable) -> Facts:
        """What was counted, since the state began."""
        # Only partitions have other than 0 there, and a slot that is let go of is emptied: free slots add nothing.
        return Facts({name: int(state[f"{name}_total"].sum()) for name in _TOTALS})

    def __call__(self, rows: pl.DataFrame, state: StateTable) -> pl.DataFrame:
        """Events in; `ASKED_SCHEMA` out, a row a view that is answered."""
        # Few queries to polars, here and below: each costs a tenth of a millisecond, however few the events.
        kinds = pl.Series("_kind", [_KIND[kind] for kind in rows["kind"].to_list()], pl.Int8)
        rows = rows.hstack([rows["event_time_ms"].to_physical().alias("_time_ms"), kinds])
        rows = rows.hstack([pl.Series("_watermark_ms", _advance(rows, state))])
        asked = [self._fold(part, state) for part in self._stretches(rows, state) if not part.is_empty()]
        for partition in rows["_partition"].unique().to_list():
            memory.forget_sessions_over(partition, self._limits.gap_ms, state)
        return pl.concat(asked) if asked else ASKED_SCHEMA.to_frame()

    def _stretches(self, rows: pl.DataFrame, state: StateTable) -> Iterator[pl.DataFrame]:
        """Events up to a request to forget, or to where a partition enters a day: users that were not seen for too long
        are forgotten there and nowhere else, so that what is known of one does not hang on how batches are cut."""
        is_request = rows["_kind"].to_numpy() == _KIND["forget"]
        day_ms = rows["_watermark_ms"].to_numpy() // memory.DAY_MS * memory.DAY_MS
        start = 0
        for position in np.flatnonzero(is_request | _enters_day(rows["_partition"].to_numpy(), day_ms, state)).tolist():
            yield rows[start:position]
            partition = int(rows.item(position, "_partition"))
            memory.forget_users_unseen(partition, int(day_ms[position]), self._limits.user_ms, state)
            if is_request[position]:
                memory.forget_user(partition, rows.item(position, "user_id"), state)
            start = position + int(is_request[position])
        yield rows[start:]

    def _fold(self, rows: pl.DataFrame, state: StateTable) -> pl.DataFrame:
        late = rows["_time_ms"].to_numpy() < rows["_watermark_ms"].to_numpy() - self._limits.gap_ms
        _count("late", late, rows, state)
        rows = (rows[np.flatnonzero(~late)] if late.any() else rows).with_row_index("_row")
        if rows.is_empty():
            return ASKED_SCHEMA.to_frame()
        rows, browsers = _by_browser(rows)
        browser = rows["_browser"].to_numpy()
        partition = rows["_partition"].to_numpy()[np.flatnonzero(np.diff(browser, prepend=-1))]
        slots = state.slots(browsers, partition)
        made = cut(
            browser,
            rows["_time_ms"].to_numpy(),
            rows["_watermark_ms"].to_numpy(),
            rows["user_id"],
            Before(**{name: state[name][slots] for name in Before.__dataclass_fields__}),
            self._limits,
        )
        counted = ~made.is_bot
        kind = rows["_kind"].to_numpy()
        acts = np.flatnonzero(counted & (kind < len(ACTS)))
        recent = Recent.of(made, rows, acts, slots, state)
        bought = Bought(made, rows, counted, slots, state)
        basket = Basket(made, rows, counted, slots, state)
        asked = np.flatnonzero(counted & (kind == _KIND[ANSWERED]))
        asked = asked[np.argsort(rows["_row"].to_numpy()[asked])]  # as they came
        out = _asked(made, rows, asked, recent, bought, basket)
        _note_totals(made, rows, slots, state)
        bought.remember()  # which asks whom sessions belonged to
        basket.remember()
        recent.remember(made.segment[made.runs.end - 1], slots, state)
        _remember(made, rows, counted, slots, state)
        state.touch(browsers)
        return out


def _enters_day(partition: Ints, day_ms: Ints, state: StateTable) -> Bools:
    """Rows (N,) before which their partition's time has entered a day."""
    enters = np.zeros(len(partition), bool)
    for number in np.unique(partition).tolist():
        mine = np.flatnonzero(partition == number)
        (at,) = state.slots([partition_key(number)], [number])
        enters[mine] = np.diff(day_ms[mine], prepend=state["day_ms"][at]) > 0
    return enters


def _advance(rows: pl.DataFrame, state: StateTable) -> Ints:
    """The watermark of its partition before each row, (N,); the partitions move on."""
    time_ms, partition = rows["_time_ms"].to_numpy(), rows["_partition"].to_numpy()
    before = np.empty(rows.height, np.int64)
    for number in np.unique(partition).tolist():
        mine = np.flatnonzero(partition == number)
        (at,) = state.slots([partition_key(number)], [number])
        risen = watermarks(time_ms[mine], int(state["newest_ms"][at]), int(state["watermark_ms"][at]))
        before[mine] = risen[:-1]
        state["watermark_ms"][at], state["newest_ms"][at] = risen[-1], time_ms[mine[-1]]
        state.touch([partition_key(number)])
    return before


def _by_browser(rows: pl.DataFrame) -> tuple[pl.DataFrame, list[str]]:
    """Rows sorted by browser, then as they came, with `_browser` from 0; and the browsers' state keys."""
    number: dict[tuple[int, str], int] = {}
    pairs = zip(rows["_partition"].to_list(), rows["session_id"].to_list(), strict=True)
    numbers = np.array([number.setdefault(pair, len(number)) for pair in pairs], np.int64)
    order = np.argsort(numbers, kind="stable")
    return rows.hstack([pl.Series("_browser", numbers)])[order], [session_key(*pair) for pair in number]


def _asked(made: Cut, rows: pl.DataFrame, asked: Ints, recent: Recent, bought: Bought, basket: Basket) -> pl.DataFrame:
    session = rows["session_id"].gather(asked)
    places = zip(session.to_list(), made.run_ms[asked].tolist(), made.run_events[asked].tolist(), strict=True)
    hashes = [blake2b(f"{name}/{run_ms}/{event}".encode(), digest_size=8).digest() for name, run_ms, event in places]
    unit = pl.Series("unit", made.unit[asked].tolist(), pl.String)
    columns = {
        "session_id": session,
        **{name: rows[name].gather(asked) for name in ("event_time_ms", "item_id", *_FROM_RECORD)},
        "session_start_ms": pl.Series(made.start_ms[asked]),
        "session_events": pl.Series(made.events[asked]),
        "unit": unit.zip_with(unit != "", session),
        **recent.lists(asked),
        "bought": bought.lists(asked),
        "basket": basket.lists(asked),
        "number": pl.Series(np.frombuffer(b"".join(hashes), ">u8").astype(np.uint64)),
    }
    cast = {name: column if column.dtype == ASKED_SCHEMA[name] else column.cast(ASKED_SCHEMA[name])
            for name, column in columns.items()}  # fmt: skip
    return pl.DataFrame({name: cast[name] for name in ASKED_SCHEMA})


def _note_totals(made: Cut, rows: pl.DataFrame, slots: Slots, state: StateTable) -> None:
    """Before the sessions are remembered anew: a run turns into a bot's once."""
    _count("disordered", made.disordered, rows, state)
    _count("flooded", made.is_bot, rows, state)
    _count("sessions", made.begins, rows, state)
    was_bot = np.concatenate([[False], made.is_bot[:-1]])
    was_bot[made.runs.first] = state["is_bot"][slots]
    _count("bots", made.is_bot & (~was_bot | made.begins_run), rows, state)


def _count(name: str, marked: Bools, rows: pl.DataFrame, state: StateTable) -> None:
    if not marked.any():
        return
    partitions, counts = np.unique(rows["_partition"].to_numpy()[marked], return_counts=True)
    for partition, count in zip(partitions.tolist(), counts.tolist(), strict=True):
        state[f"{name}_total"][state.slots([partition_key(partition)], [partition])] += count


def _remember(made: Cut, rows: pl.DataFrame, counted: Bools, slots: Slots, state: StateTable) -> None:
    """Write how each browser's last session stands."""
    last = made.runs.end - 1
    for name in ("run_ms", "run_events", "minute_events", "is_bot", "start_ms", "events", "user", "unit"):
        state[name][slots] = getattr(made, name)[last]
    state["last_ms"][slots] = made.time_ms[last]
    state["minute_ms"][slots] = made.time_ms[last] // MINUTE_MS * MINUTE_MS
    browser = made.runs.group
    goes_on = made.goes_on & (made.segment[last] == made.segment[made.runs.first])
    here = counted & (made.segment == made.segment[last][browser])
    kinds = rows["_kind"].to_numpy()
    dwell = np.where(here & (kinds == _KIND["dwell"]), rows["dwell_s"].fill_null(0.0).to_numpy(), 0.0)
    # Added one by one, in order: a sum of floats must not hang on where the batch was cut.
    total = np.where(goes_on, state["dwell_s"][slots], 0.0)
    np.add.at(total, browser, dwell)
    state["dwell_s"][slots] = total
    for kind in ("search", "question"):
        said = np.where(goes_on, state[kind][slots], "")
        its = np.flatnonzero(here & (kinds == _KIND[kind]))
        said[browser[its]] = rows["text"].gather(its).to_list()  # of several the last
        state[kind][slots] = said
