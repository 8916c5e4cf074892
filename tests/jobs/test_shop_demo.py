"""The shop's demo, part by part, and all of it in memory: stock, training, street, tally, report."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from jobs.sessions.clicks import load_clicks
from jobs.settings import load_settings
from jobs.shop_demo import tally, training
from jobs.shop_demo.demo import ShopDemo, ShopDemoOptions
from jobs.shop_demo.report import kept, table
from jobs.shop_demo.stock import Lap, Size, Stock, from_file, made_up, moved
from jobs.shop_demo.street import Street, Writing
from jobs.topic_rows import with_places
from streaming.codec import Decoder, PackagedRegistry
from streaming.experiments import figures, outcomes
from streaming.importers.problem import ImportProblem
from streaming.pipelines.recommendations import recommendations
from streaming.records import Records
from streaming.sessions.covisits import Covisits
from streaming.sessions.settings import parse_offer
from streaming.testing import MemoryLog
from streaming.topics import ITEM_CATALOGUE, SESSION_RECOMMENDATIONS, USER_SESSIONS, Topic
from tests.pipelines_on_log import OnLog
from tests.shop_feed import apply, catalogue_of
from tests.shop_sessions import DAY_S, walk_file
from tests.waiting import wait_until

SIZE = Size(items=80, categories=6, shoppers=40, past_sessions=200, sessions_per_hour=400, changes_per_hour=3_000.0)
NOW_MS = 1_790_000_000_000
FLOOD_PER_MIN = 120


@cache
def stock() -> Stock:
    return made_up(3, SIZE)


@cache
def laps() -> tuple[Lap, Lap]:
    made = stock().laps()
    return next(made), next(made)


def test_a_made_up_shop_is_the_same_again_and_its_past_ends_where_its_present_begins() -> None:
    past = moved(stock(), NOW_MS).past["event_time_ms"].to_physical()
    assert NOW_MS - 6 * DAY_S * 1000 < past.min() < past.max() < NOW_MS  # type: ignore[operator]  # of integers
    assert made_up(3, SIZE).past.equals(stock().past) and not made_up(4, SIZE).past.equals(stock().past)
    one, other = laps()
    assert not set(one.events["session_id"]) & set(other.events["session_id"])
    assert set(one.changes["item_id"]) - set(stock().items["item_id"]), "new items among them"  # type: ignore[index]


def test_of_a_file_the_sessions_of_the_last_day_are_the_present(tmp_path: Path) -> None:
    found = from_file(Path(walk_file(tmp_path)))
    (lap,) = found.laps()
    assert not set(found.past["session_id"]) & set(lap.events["session_id"])
    ends = pl.concat([found.past, lap.events.select(found.past.columns)]).group_by("session_id").agg(
        pl.col("event_time_ms").max()
    )  # fmt: skip
    last = ends["event_time_ms"].to_physical().max()
    of_day = ends.filter(pl.col("event_time_ms").to_physical() >= last - round(DAY_S * 1000))  # type: ignore[operator]
    assert set(of_day["session_id"]) == set(lap.events["session_id"])
    assert (found.simulated, found.has_content, lap.reactions) == (False, False, None)
    assert training.models_of(found) == (training.CLICKS,)


def test_a_file_without_a_past_or_without_clicks_is_refused(tmp_path: Path) -> None:
    (tmp_path / "one.txt").write_text("SessionId\tItemId\tTime\n1\t2\t1400000000\n1\t3\t1400000009\n")
    with pytest.raises(ImportProblem, match=r"one\.txt.*all sessions end together"):
        from_file(tmp_path / "one.txt")
    (tmp_path / "none.txt").write_text("a,b\n1,2\n")
    with pytest.raises(ImportProblem, match=r"none\.txt"):
        from_file(tmp_path / "none.txt")


def test_the_past_is_a_file_that_training_reads_with_its_categories(tmp_path: Path) -> None:
    training.write_past(moved(stock(), NOW_MS), tmp_path / "past.csv")
    read = load_clicks(str(tmp_path / "past.csv"))
    names = dict(stock().items.select("item_id", "category").iter_rows())
    assert read.content == {item: (f"category:{names[item]}",) for item in read.items}
    assert read.time_s.max() * 1000 <= NOW_MS and len(read) > 0.8 * stock().past.height
    words = training.train_words(training.CONTENT, tmp_path / "past.csv", small=True)
    assert words[:3] == ["jobs.cli", "train", "session-two-tower"] and "encoder.dim=48" in words
    assert "encoder.dim=48" not in training.train_words(training.CONTENT, tmp_path / "past.csv", small=False)


class Sent:
    """A publisher that keeps what it is given."""

    def __init__(self) -> None:
        self.records: dict[str, list[Records]] = {}

    def send(self, topic: str, keys: list[bytes], values: list[bytes]) -> None:
        now_ms = round(datetime.now(UTC).timestamp() * 1000)
        made = Records.of(keys, values, timestamps_ms=[now_ms] * len(keys))
        self.records.setdefault(topic, []).append(made)

    def rows(self, topic: Topic) -> pl.DataFrame:
        return rows_of(topic, Records.joined(list(self.records[topic.name])))  # while others may come


def rows_of(topic: Topic, records: Records, partition: int = 0) -> pl.DataFrame:
    assert topic.schema is not None
    return with_places(Decoder(topic.schema, PackagedRegistry()), partition, records)


@pytest.fixture
def sent() -> Sent:
    return Sent()


@pytest.fixture
def street(sent: Sent) -> Iterator[Street]:
    """An hour within a minute, in which a slow machine does all that a test does with the shoppers of one."""
    made = Street(stock(), 60.0, Writing(sent))  # type: ignore[arg-type]  # all that is used of a publisher
    yield made
    made.stop()


def test_on_the_street_everything_happens_in_its_order_and_now(street: Street, sent: Sent) -> None:
    began_ms = datetime.now(UTC).timestamp() * 1000
    street.start()
    wait_until(lambda: len(sent.records.get(USER_SESSIONS.name, [])) > 10)
    street.stop()
    events, items = sent.rows(USER_SESSIONS), sent.rows(ITEM_CATALOGUE)
    (first, _), planned = laps(), laps()[0].events
    told = min(events.height, planned.height)  # who is slow to stop it sees the beginning of the next hour
    assert events["item_id"].head(told).to_list() == planned["item_id"].head(told).to_list()
    at_ms = events["event_time_ms"].to_physical()
    assert at_ms.is_sorted() and at_ms[0] > began_ms - 60_000
    assert first.changes is not None
    told = min(items.height, first.changes.height)
    assert items["item_id"].head(told).to_list() == first.changes["item_id"].head(told).to_list()
    assert items["changed_ms"].to_physical().min() > began_ms - 60_000  # type: ignore[operator]  # of integers


def test_shoppers_see_what_they_are_offered_and_answers_to_their_clicks_are_shown_to_nobody(
    street: Street, sent: Sent
) -> None:

    def people() -> pl.Series:
        sessions = sent.rows(USER_SESSIONS)["session_id"] if USER_SESSIONS.name in sent.records else pl.Series([""])
        return sessions.filter((sessions != "") & ~sessions.str.contains("bot"))

    street.start()
    wait_until(lambda: len(people()) > 0)
    person = people()[0]
    shown = pl.DataFrame(
        {
            "session_id": [person] * 40,
            "answer_id": [f"{n:016x}" for n in range(40)],
            "event_time_ms": pl.Series([datetime.now(UTC)] * 40).dt.cast_time_unit("ms").dt.replace_time_zone("UTC"),
            "items": [stock().items["item_id"].head(20).to_list()] * 40,
        }
    )

    def back() -> pl.DataFrame:
        return sent.rows(USER_SESSIONS).filter(pl.col("answer_id").is_not_null())

    street.show(shown)
    wait_until(lambda: back().filter(kind="impression").height == 40)
    wait_until(lambda: back().filter(kind="view").height > 3)
    clicks = back().filter(kind="view")
    told = clicks.select("session_id", "event_time_ms", answer_id=pl.lit("again"), items=[["i000001"]] * 1)
    street.show(told)
    street.show(shown.with_columns(answer_id=pl.lit("later")))
    wait_until(lambda: "later" in back()["answer_id"])
    assert "again" not in back()["answer_id"]


def test_the_clicks_of_a_file_come_to_an_end(tmp_path: Path, sent: Sent) -> None:
    found = from_file(Path(walk_file(tmp_path)))
    street = Street(found, 100_000.0, Writing(sent))  # type: ignore[arg-type]
    street.start()
    wait_until(lambda: street.has_ended)
    (lap,) = found.laps()
    assert sent.rows(USER_SESSIONS).height == lap.events.height
    street.show(pl.DataFrame({"session_id": [], "event_time_ms": []}))  # nobody knows what would have been clicked
    street.stop()


def test_all_of_it_in_memory_keeps_what_is_promised() -> None:
    """Views, answers, what shoppers make of them, and the catalogue that changes meanwhile, without Kafka and Ray."""
    lap, log, catalogue = laps()[0], MemoryLog(), catalogue_of()
    log.create(USER_SESSIONS.name, 2)
    sent = Sent()
    writing = Writing(sent)  # type: ignore[arg-type]
    writing.items(stock().items)
    offer = parse_offer(
        {"places": 6, "candidates": 30, "explore": 0.2,
         "experiment": {"name": "t", "arm": [{"name": "a"}, {"name": "b", "diversity": 1.0}]}}
    )  # fmt: skip
    made = OnLog(recommendations({"live": Covisits(stock().past)}, catalogue, offer), log, NOW_MS)
    assert lap.changes is not None and lap.reactions is not None
    cuts = [*range(0, 1_600, 200), 1_600]
    for number, (start, end) in enumerate(pairwise(cuts)):
        writing.items(lap.changes[number * 40 : number * 40 + 40])
        for records in sent.records.pop(ITEM_CATALOGUE.name):
            apply(catalogue, records)
        before = len(made.answers())
        writing.events(lap.events[start:end])
        log.append(USER_SESSIONS.name, sent.records.pop(USER_SESSIONS.name)[0])
        made.process(10_000)
        answers = rows_of(SESSION_RECOMMENDATIONS, Records.joined(made.answers()[before:]))
        back = Sent()
        Writing(back).events(lap.reactions(answers))  # type: ignore[arg-type]
        for records in back.records.get(USER_SESSIONS.name, []):
            log.append(USER_SESSIONS.name, records)
        made.process(10_000)
    events = pl.concat([rows_of(USER_SESSIONS, log.records(USER_SESSIONS.name, part), part) for part in range(2)])
    answers = rows_of(SESSION_RECOMMENDATIONS, Records.joined(made.answers()))
    items = rows_of(ITEM_CATALOGUE, catalogue_records(stock().items, lap, len(cuts) - 1))
    report = {
        "views": tally.answered(events, answers, FLOOD_PER_MIN),
        "reasons": tally.reasons(answers),
        "catalogue": tally.withdrawn(answers, items),
        "arms": figures(outcomes(answers, events)),
    }
    assert kept(report), report
    assert report["views"]["answered"] > 800 and report["catalogue"]["withdrawn"] > 10
    assert [arm.arm for arm in report["arms"]] == ["a", "b"] and all(arm.clicks > 20 for arm in report["arms"])
    assert not kept(report | {"catalogue": tally.withdrawn(answers, items.with_columns(withdrawn=True))})


def catalogue_records(items: pl.DataFrame, lap: Lap, waves: int) -> Records:
    """What lies on the topic after so many waves of changes."""
    sent = Sent()
    writing = Writing(sent)  # type: ignore[arg-type]
    assert lap.changes is not None
    writing.items(items)
    writing.items(lap.changes[: waves * 40])
    joined = Records.joined(sent.records[ITEM_CATALOGUE.name])
    return Records(joined.keys, joined.values, pl.int_range(len(joined), eager=True).to_numpy(), joined.timestamps_ms)


def at(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)


def event(
    offset: int, session: str = "s", item: str = "a", kind: str = "view", ms: int | None = None
) -> dict[str, Any]:
    row = {"session_id": session, "kind": kind, "item_id": item, "event_time_ms": at(ms if ms is not None else offset)}
    return row | {"_partition": 0, "_offset": offset, "items": []}


def answer(offset: int, items: tuple[str, ...] = ("b",), **more: Any) -> dict[str, Any]:
    row = {"answer_id": f"{offset}", "source_partition": 0, "source_offset": offset, "items": list(items)}
    reasons = {"reason_of": list(range(len(items))), "reason_kinds": ["view"] * len(items)}
    return row | reasons | {"catalogue_offset": 0, "emit_time_ms": at(0)} | more


def frame(*rows: dict[str, Any]) -> pl.DataFrame:
    places = {"_partition": pl.Int32, "source_partition": pl.Int32}
    return pl.DataFrame(list(rows), infer_schema_length=None, schema_overrides=places)


def test_a_view_without_an_answer_and_one_with_two_are_found_and_a_bot_needs_none() -> None:
    events = frame(event(0), event(1, kind="cart"), event(2), event(3), *(event(n, "bot") for n in range(4, 14)))
    answers = frame(answer(0), answer(3), answer(3), answer(99), answer(4))
    found = tally.answered(events, answers, flood_per_min=9)
    assert found == {"sent": 13, "answered": 3, "of_bots": 9, "missing": 1, "doubled": 1}
    assert tally.answered(events, answers, flood_per_min=10)["missing"] == 10


def test_an_item_without_a_reason_is_found_and_the_first_reason_counts() -> None:
    several = {"reason_of": [0, 0, 1], "reason_kinds": ["cart", "view", "popular"]}
    answers = frame(answer(0, ("b", "c"), **several), answer(1, ("b", "c"), reason_of=[1], reason_kinds=["new"]))
    found = tally.reasons(answers)
    assert (found["items"], found["without"]) == (4, 1)
    assert found["kinds"] == {"cart": 1, "new": 1, "popular": 1} and found["popular"] == 1


def change(offset: int, item: str, ms: int, *, in_stock: bool = True, withdrawn: bool = False) -> dict[str, Any]:
    state = {"in_stock": in_stock, "withdrawn": withdrawn, "changed_ms": at(ms)}
    return {"item_id": item, "_offset": offset} | state


def test_what_was_taken_out_before_what_an_answer_knew_may_not_be_offered() -> None:
    items = pl.DataFrame([change(0, "b", 0), change(1, "c", 0), change(2, "b", 50, withdrawn=True),
                          change(3, "c", 60, in_stock=False), change(4, "b", 70)])  # fmt: skip
    knew = {
        number: frame(answer(0, ("b", "c"), catalogue_offset=number, emit_time_ms=at(90))) for number in range(2, 6)
    }
    wrong = {number: tally.withdrawn(its, items)["offered_all_the_same"] for number, its in knew.items()}
    assert wrong == {2: 0, 3: 1, 4: 2, 5: 1}
    assert tally.withdrawn(knew[2], items)["unknown_for_ms"] == 40, "of the change that it did not know of"
    assert tally.withdrawn(knew[5], items)["unknown_for_ms"] == 0
    assert tally.withdrawn(frame(answer(0, ("never",), catalogue_offset=5)), items)["offered_all_the_same"] == 1


def test_the_next_click_counts_where_it_is_on_another_item() -> None:
    events = frame(event(0, item="a"), event(1, item="a"), event(2, item="b"), event(3, item="c"), event(4, "t", "b"))
    answers = frame(*(answer(offset, ("b", "d")) for offset in range(5)))
    assert tally.next_clicks(events, answers) == {"clicks": 2, "offered": 1, "share": 0.5}
    assert tally.next_clicks(events[4:], answers)["share"] is None


def test_the_table_says_what_was_kept_and_a_demo_that_was_stopped_early_says_so() -> None:
    arm = {"arm": "", "clicks": 3, "answers": 12, "against_first": None}
    report = {
        "views": {"sent": 1_200, "answered": 1_100, "of_bots": 100, "missing": 0, "doubled": 0},
        "reasons": {"items": 9_000, "without": 0, "kinds": {"view": 8_000, "popular": 1_000}},
        "catalogue": {"withdrawn": 4, "sold_out": 7, "offered_all_the_same": 0},
        "arms": [arm, arm | {"arm": "b", "against_first": {"difference": 0.1, "p": 0.02}}],
        "next_click": {"share": 0.541, "clicks": 5_132},
        "latency_ms": {"p50": 20.0, "p99": 90.0},
    }
    said = dict(table(report))
    assert said["views"] == "1,200: 1,100 answered, 100 of bots not"
    assert said["arm -"] == "3 clicks on 12 answers shown, 0.250 each" and said["arm b"].endswith("+0.100, p 0.020")
    assert kept(report) and kept({"source": "x"})
    for section, name in (("views", "missing"), ("views", "doubled"), ("reasons", "without"),
                          ("catalogue", "offered_all_the_same")):  # fmt: skip
        assert not kept(report | {section: {**report[section], name: 1}})  # type: ignore[dict-item]
    assert table({"source": "x"}) == [("stopped", "before anything was sent")]


def test_bots_are_told_as_fast_as_the_shop_goes_and_only_where_content_is_known_is_there_a_test(tmp_path: Path) -> None:
    settings = load_settings({"home": (str(tmp_path), "--set")}).settings
    fast = ShopDemo(ShopDemoOptions(speed=60.0), stock(), settings, tmp_path, lambda words: None, 0.0)
    shop = fast._changed(settings).shop  # noqa: SLF001
    assert (shop.gap_s, shop.flood_per_min) == (settings.shop.gap_s, 7_200)
    assert set(shop.recommenders) == {"live", "content"} and shop.by_content == "session-two-tower@live"
    clicks = from_file(Path(walk_file(tmp_path)))
    of_file = ShopDemo(ShopDemoOptions(), clicks, settings, tmp_path, lambda words: None, 0.0)
    shop = of_file._changed(settings).shop  # noqa: SLF001
    assert (shop.recommenders, shop.by_content, shop.offer) == ({"live": "session-gru4rec@live"}, None, None)
    assert shop.flood_per_min == 7_200, "a file is replayed sixty times as fast"
