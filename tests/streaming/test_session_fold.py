"""Sessions: against a plain loop over events, by hand, and however batches are cut."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from streaming.sessions.folding import SessionFold
from streaming.sessions.limits import KEEP, Limits
from streaming.simulators.shop import VisitSettings, make_goods, make_shoppers, visits
from streaming.state import StateTable
from streaming.testing import Changelog, every_row
from tests.shop_feed import START_MS, arrived, event, feed

LIMITS = Limits(gap_s=60, max_length_s=200, max_events=6, flood_per_min=9, user_s=24 * 3600)
Row = dict[str, Any]


def fold(rows: pl.DataFrame, limits: Limits = LIMITS, cuts: Sequence[int] = ()) -> tuple[pl.DataFrame, StateTable]:
    stage = SessionFold(limits)
    state = stage.new_state()
    bounds = [0, *sorted(cuts), rows.height]
    parts = [stage(rows[a:b], state) for a, b in pairwise(bounds) if b > a]
    return pl.concat(parts), state


def facts(state: StateTable) -> dict[str, int]:
    return {name: count for name, count in SessionFold().facts(state).totals.items() if count}


# --- a plain loop over events ------------------------------------------------------------------------------------


@dataclass
class Browser:
    """What a plain loop remembers of one browser."""

    last_ms: int
    run_ms: int
    run_events: int = 0
    minute: tuple[int, int] = (-1, 0)
    is_bot: bool = False
    user: str = ""
    start_ms: int = 0
    events: int = 0
    unit: str = ""
    acts: list[tuple[str, int, int]] = field(default_factory=list)
    bought: list[str] = field(default_factory=list)
    basket: set[str] = field(default_factory=set)


@dataclass
class Plainly:
    """One event after another, one partition."""

    limits: Limits
    browsers: dict[str, Browser] = field(default_factory=dict)
    users: dict[str, list[str]] = field(default_factory=dict)
    watermark_ms: int = -1
    newest_ms: int = -1
    answers: list[Row] = field(default_factory=list)

    def take(self, row: Row) -> None:
        time_ms, before_ms = row["event_time_ms"], self.watermark_ms
        self.watermark_ms = max(self.watermark_ms, min(time_ms, self.newest_ms))
        self.newest_ms = time_ms
        if row["kind"] == "forget":
            gone = [n for n, b in self.browsers.items() if row["user_id"] in (b.user, b.unit)]
            for name in gone:
                del self.browsers[name]
            self.users.pop(row["user_id"], None)
        elif time_ms >= before_ms - self.limits.gap_ms:
            self._fold(row, before_ms)

    def _fold(self, row: Row, watermark_ms: int) -> None:
        limits, time_ms = self.limits, row["event_time_ms"]
        b = self.browsers.get(row["session_id"])
        now_ms = time_ms if b is None else max(time_ms, b.last_ms)
        new_run = b is None or max(now_ms, watermark_ms) - b.last_ms > limits.gap_ms
        if new_run or b is None:
            b = self.browsers[row["session_id"]] = Browser(last_ms=now_ms, run_ms=now_ms)
        before_ms, b.last_ms = b.last_ms, now_ms
        b.run_events += 1
        minute = now_ms // 60_000
        b.minute = (minute, b.minute[1] + 1 if b.minute[0] == minute else 1)
        b.is_bot = b.is_bot or b.minute[1] > limits.flood_per_min
        said = row["user_id"] or b.user
        length = limits.max_length_ms
        too_long = (now_ms - b.run_ms) // length != (before_ms - b.run_ms) // length
        if new_run or (b.run_events - 1) % limits.max_events == 0 or too_long or (b.user and said != b.user):
            b.start_ms, b.events, b.unit, b.acts, b.bought, b.basket = now_ms, 0, said, [], [], set()
            b.user = ""
        joins, b.user = said != b.user, said
        b.events += 1
        if b.is_bot:
            return
        if joins:
            self.users.setdefault(said, []).extend(b.bought)
        known = set(b.bought) | set(self.users.get(b.user, []) if b.user else [])
        if row["kind"] == "login":
            self.users.setdefault(said, []).extend(row["items"])
        if row["kind"] in ("view", "cart", "purchase"):
            b.acts = [*b.acts, (row["item_id"], ["view", "cart", "purchase"].index(row["kind"]), now_ms)][-KEEP:]
        if row["kind"] == "cart":
            b.basket.add(row["item_id"])
        if row["kind"] in ("remove", "purchase"):
            b.basket.discard(row["item_id"])
        if row["kind"] == "purchase":
            b.bought.append(row["item_id"])
            if b.user:
                self.users.setdefault(b.user, []).append(row["item_id"])
        if row["kind"] == "view":
            items, kinds, times = zip(*b.acts, strict=True)
            self.answers.append(
                {"session_id": row["session_id"], "session_start_ms": b.start_ms, "session_events": b.events,
                 "unit": b.unit or row["session_id"], "items": list(items), "kinds": list(kinds),
                 "times_ms": list(times), "bought": sorted(known), "basket": sorted(b.basket)}
            )  # fmt: skip


EVENTS = st.lists(
    st.tuples(
        st.sampled_from("abc"),
        st.integers(-70, 90),  # seconds since the event before
        st.sampled_from(
            ["view", "view", "view", "cart", "cart", "remove", "purchase", "login", "dwell", "search", "forget"]
        ),
        st.sampled_from([None, None, None, "ann", "bob"]),
        st.sampled_from(["x", "y", "z"]),
    ),
    min_size=1,
    max_size=60,
)


def written(events: list[tuple[str, int, str, str | None, str]]) -> list[Row]:
    rows, second = [], 0
    for session, pause_s, kind, user, item in events:
        second = max(0, second + (pause_s if abs(pause_s) > 20 else 1))
        who = user or "ann" if kind in ("login", "forget") else user
        more = {"login": {"items": [item]}, "search": {"text": item}, "dwell": {"dwell_s": 1.0}}.get(kind, {})
        has_item = kind in ("view", "cart", "remove", "purchase", "dwell")
        rows.append(event(session, second, kind, item if has_item else None, user_id=who, **{"items": [], **more}))
    return rows


@given(EVENTS)
@settings(max_examples=150, deadline=None)
def test_what_comes_out_is_what_a_plain_loop_over_events_says(events: Any) -> None:
    rows = written(events)
    plainly = Plainly(LIMITS)
    for row in rows:
        plainly.take(row)
    out, _ = fold(feed(rows))
    said = out.with_columns(pl.col("session_start_ms").to_physical()).select(
        "session_id", "session_start_ms", "session_events", "unit", "items", "kinds", "times_ms", "bought", "basket"
    )
    assert said.to_dicts() == plainly.answers


@given(EVENTS, st.lists(st.integers(1, 59), max_size=5), st.data())
@settings(max_examples=100, deadline=None)
def test_neither_cuts_nor_restarts_nor_other_partitions_change_anything(
    events: Any, cuts: list[int], data: st.DataObject
) -> None:
    rows = written(events)
    for row in rows:
        row["_partition"] = (
            data.draw(st.integers(0, 1)) if row["kind"] == "forget" else "abc".index(row["session_id"]) % 2
        )
    whole, state = fold(feed(rows))
    cuts = sorted({cut for cut in cuts if cut < len(rows)})
    pieces, at, log = [], SessionFold(LIMITS).new_state(), Changelog()
    for a, b in zip([0, *cuts], [*cuts, len(rows)], strict=True):
        pieces.append(SessionFold(LIMITS)(feed(rows)[a:b], at))
        log.drain(at)
        at = SessionFold(LIMITS).new_state()
        log.restore(at)
    assert pl.concat(pieces).equals(whole)
    assert every_row(at).equals(every_row(state))
    apart = [fold(part)[0] for part in feed(rows).partition_by("_partition", maintain_order=True)]
    order = ["_partition", "_offset"]
    assert pl.concat(apart).sort(order).equals(whole.sort(order))


# --- by hand ----------------------------------------------------------------------------------------------------


def test_a_pause_ends_a_session_and_who_it_was() -> None:
    rows = [event("a", 0, item="x", user_id="ann"), event("a", 60, item="y"), event("a", 121, item="z")]
    out, state = fold(feed(rows))
    assert out["items"].to_list() == [["x"], ["x", "y"], ["z"]]
    assert out["unit"].to_list() == ["ann", "ann", "a"]
    assert out["session_events"].to_list() == [1, 2, 1]
    assert facts(state) == {"sessions": 2}


def test_an_event_out_of_order_counts_as_if_in_time_and_one_too_late_does_not() -> None:
    rows = [event("a", 100, item="x"), event("b", 101, item="x"), event("a", 70, item="y"), event("a", 20, item="z")]
    out, state = fold(feed(rows))
    assert out["items"].to_list() == [["x"], ["x"], ["x", "y"]]
    assert out["times_ms"][2].to_list() == [START_MS + 100_000] * 2
    assert facts(state) == {"sessions": 2, "late": 1, "disordered": 1}


def test_a_flood_is_neither_remembered_nor_answered_until_it_has_paused() -> None:
    limits = Limits(flood_per_min=10)
    rows = [event("bot", n * 0.01, item=f"i{n}") for n in range(30)]
    rows += [event("a", 1, item="x"), event("bot", 1900, item="y")]
    out, state = fold(feed(rows), limits, cuts=[7, 15])
    assert out.filter(session_id="bot").height == 11
    assert out.filter(session_id="bot")["items"].list.last().to_list()[-1] == "y"
    assert facts(state) == {"sessions": 3, "flooded": 20, "bots": 1}


def test_a_session_of_100_000_clicks_stays_small_and_is_cut() -> None:
    views = pl.DataFrame([event("a", 0, item="x", items=[])]).drop("items")
    rows = pl.concat([views] * 100_000).with_columns(
        event_time_ms=START_MS + pl.int_range(pl.len()) * 1_000, item_id="i" + pl.int_range(pl.len()).cast(pl.String)
    )
    events = rows.with_columns(
        pl.col("event_time_ms").cast(pl.Datetime("ms", "UTC")),
        *(pl.lit(None, pl.String).alias(name) for name in ("user_id", "text", "answer_id")),
        items=pl.lit([], pl.List(pl.String)),
        dwell_s=pl.lit(None, pl.Float64),
    )
    out, state = fold(arrived(events), Limits(), cuts=range(0, 100_000, 5_000))
    assert out["items"].list.len().max() == KEEP
    assert facts(state) == {"sessions": 203}, "cut every 500 events, and every 8 hours"
    assert every_row(state)["key"].to_list() == ["@partition/0", "s/0/a"]
    state.drain()
    assert state.size_bytes < 3_000
    fast = [event("b", n / 100, item="x") for n in range(1_000)]
    _, flooded = fold(feed(fast), Limits())
    assert facts(flooded) == {"sessions": 2, "flooded": 880, "bots": 1}


def test_a_login_takes_along_what_was_bought_before_it_and_another_user_begins_anew() -> None:
    rows = [
        event("a", 0, "purchase", "x"),
        event("a", 1, "login", user_id="ann", items=["old"]),
        event("b", 2, item="y", user_id="ann"),
        event("a", 3, item="z"),
        event("a", 4, item="w", user_id="bob"),
    ]
    out, _ = fold(feed(rows))
    assert out["bought"].to_list() == [["old", "x"], ["old", "x"], []]
    assert out["items"].to_list() == [["y"], ["x", "z"], ["w"]]
    assert out["unit"].to_list() == ["ann", "a", "bob"]


def test_what_was_bought_is_known_in_later_batches_in_which_nobody_buys() -> None:
    rows = feed([
        event("s", 0, "purchase", "x"), event("s", 1, item="a"), event("s", 2, item="b"),
        event("t", 3, "login", user_id="ann", items=["old"]), event("t", 4, item="a"), event("t", 70, item="a"),
    ])  # fmt: skip
    out, state = fold(rows, cuts=range(1, 6))
    assert out["bought"].to_list() == [["x"], ["x"], ["old"], []]  # whoever comes after a pause is nobody
    whole, its = fold(rows)
    assert out.equals(whole) and every_row(state).equals(every_row(its))


def test_a_user_who_was_not_seen_for_long_is_forgotten() -> None:
    day_s = 24 * 3600
    rows = [event("a", 0, "purchase", "x", user_id="ann")]
    rows += [event("b", n * day_s / 2, item="y") for n in range(1, 8)]
    rows += [event("a", 3.5 * day_s + 1, item="z", user_id="ann")]
    assert fold(feed(rows))[0]["bought"].to_list()[-1] == []
    long = Limits(user_s=10 * day_s)
    assert fold(feed(rows), long)[0]["bought"].to_list()[-1] == ["x"]


def test_what_else_was_done_is_there_for_who_comes_next() -> None:
    rows = [
        event("a", 0, "search", text="red shoes 👟"),
        event("a", 1, item="x"),
        event("a", 2, "dwell", "x", dwell_s=4.5),
        event("a", 3, "question", text="هل يناسب؟"),
        event("a", 4, "search", text="blue"),
        event("a", 5, "impression", answer_id="0-1", items=["y"]),
    ]
    _, state = fold(feed(rows))
    (slot,) = state.slots(["s/0/a"], [0])
    assert (state["search"][slot], state["question"][slot], state["dwell_s"][slot]) == ("blue", "هل يناسب؟", 4.5)


# --- a shop's worth of events --------------------------------------------------------------------------------------


def test_bots_of_the_simulator_are_found_and_shoppers_are_not_taken_for_them() -> None:
    goods = make_goods(500, seed=1)
    made = visits(goods, make_shoppers(goods, 200, seed=1), sessions=800, seed=1,
                  settings=VisitSettings(hours=2, bots=0.02))  # fmt: skip
    rows = arrived(made.events)
    out, state = fold(rows, Limits(), cuts=range(0, rows.height, 1_000))
    assert facts(state)["bots"] == made.truth["is_bot"].sum() == 16
    views = made.events.filter(kind="view").join(made.truth, on="session_id").filter(~pl.col("is_bot")).height
    answered = out.join(made.truth, on="session_id").filter(~pl.col("is_bot")).height
    assert answered == views
