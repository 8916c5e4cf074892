"""Clicks from files: each layout by hand, what is wrong with a file, the real ones, and the pace at which they come."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from streaming.importers import ImportProblem
from streaming.importers.sessions import DIGINETICA, YOOCHOOSE, import_sessions
from streaming.sessions.covisits import Covisits
from streaming.sessions.events import EVENT_SCHEMA, validate_events
from streaming.sessions.feed import SessionFeed
from streaming.sessions.folding import SessionFold
from streaming.sessions.items import ITEM_SCHEMA, validate_items
from streaming.sessions.recommending import RecommendStage
from streaming.simulators.feed import Pacer
from tests.shop_feed import START_MS, apply, arrived, catalogue_of, event, feed, item_values

CLICKS = "SessionId\tItemId\tTime\n3\t214\t1396437466.94\n3\t215\t1396437470.0\n4\t214\t1396437468.5\n"
PUBLISHED = "1,2014-04-07T10:51:09.277Z,214536502,0\n2,2014-04-07T10:54:09.868Z,214536500,S\n"
BUYS = "2,2014-04-07T10:55:00.000Z,214536500,1046,1\n"
VIEWS = "sessionId;userId;itemId;timeframe;eventdate\n1;NA;81766;526309;2016-05-09\n1;7;31331;1031018;2016-05-09\n"
PURCHASES = "sessionId;userId;timeframe;eventdate;ordernumber;itemId\n1;7;2000000;2016-05-09;16421;31331\n"
PRODUCTS = "itemId;pricelog2;product.name.tokens\n31331;10;1,2,3\n"
CATEGORIES = "itemId;categoryId\n81766;1096\n31331;1096\n"


def written(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        (folder / f"{name}.csv").write_text(text, "utf-8")
    return folder


def test_the_processed_yoochoose_layout(tmp_path: Path) -> None:
    found = import_sessions(written(tmp_path, clicks=CLICKS) / "clicks.csv")
    assert (found.format, found.sessions) == (YOOCHOOSE, 2)
    rows = found.events.select("session_id", "kind", "item_id", pl.col("event_time_ms").to_physical()).rows()
    assert rows == [
        ("3", "view", "214", 1396437466940),
        ("4", "view", "214", 1396437468500),
        ("3", "view", "215", 1396437470000),
    ]
    assert found.items["item_id"].to_list() == ["214", "215"]


def test_the_published_yoochoose_layout_with_buys(tmp_path: Path) -> None:
    found = import_sessions(written(tmp_path, clicks=PUBLISHED, buys=BUYS))
    assert found.events.select("session_id", "kind", "item_id").rows() == [
        ("1", "view", "214536502"),
        ("2", "view", "214536500"),
        ("2", "purchase", "214536500"),
    ]
    assert found.events["event_time_ms"].to_physical().to_list() == [1396867869277, 1396868049868, 1396868100000]


def test_the_challenges_category_is_the_items_the_last_that_is_said(tmp_path: Path) -> None:
    again = PUBLISHED + "3,2014-04-08T10:51:09.277Z,214536500,7\n3,2014-04-08T10:51:10.277Z,214536500,0\n"
    found = import_sessions(written(tmp_path, clicks=again))
    assert found.items.select("item_id", "category").rows() == [("214536502", ""), ("214536500", "7")]


def test_sessions_and_items_of_the_published_layout_may_have_names_that_are_no_numbers(tmp_path: Path) -> None:
    (tmp_path / "past.csv").write_text("s1,2026-11-18T10:37:30.652Z,i3,Home > rugs\ns1,2026-11-18T10:38:00.000Z,i4,0\n")
    events = import_sessions(tmp_path / "past.csv").events
    assert events["item_id"].to_list() == ["i3", "i4"]


def test_parquet_and_headers_in_another_spelling_are_the_same(tmp_path: Path) -> None:
    import_file = written(tmp_path, clicks=CLICKS) / "clicks.csv"
    wanted = import_sessions(import_file).events
    pl.read_csv(import_file, separator="\t").write_parquet(tmp_path / "clicks.parquet")
    (tmp_path / "spelled.txt").write_text(CLICKS.replace("SessionId\tItemId\tTime", '"session_id"\titem_id\ttime'))
    for name in ("clicks.parquet", "spelled.txt"):
        assert import_sessions(tmp_path / name).events.equals(wanted)


def test_the_diginetica_layout_with_its_items(tmp_path: Path) -> None:
    found = import_sessions(
        written(tmp_path, views=VIEWS, purchases=PURCHASES, products=PRODUCTS, categories=CATEGORIES)
    )
    day_ms = 1462752000000
    assert found.format == DIGINETICA
    rows = found.events.select("kind", "user_id", "item_id", pl.col("event_time_ms").to_physical() - day_ms).rows()
    assert rows == [
        ("view", None, "81766", 526309),
        ("view", "7", "31331", 1031018),
        ("purchase", "7", "31331", 2000000),
    ]
    assert found.items.select("item_id", "category", "price").rows() == [
        ("81766", "1096", None),
        ("31331", "1096", 1024),
    ]


def test_whatever_is_imported_is_believed(tmp_path: Path) -> None:
    for name, text in {"one": CLICKS, "two": PUBLISHED, "three": VIEWS}.items():
        found = import_sessions(written(tmp_path, **{name: text}) / f"{name}.csv")
        assert (found.events.schema, found.items.schema) == (EVENT_SCHEMA, ITEM_SCHEMA)
        assert validate_events(arrived(found.events))["_reject"].null_count() == found.events.height
        items = found.items.with_columns(_ingest_time_ms=pl.col("changed_ms").to_physical())
        assert validate_items(items)["_reject"].null_count() == items.height


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "line 1: is of no layout that is known: it is empty"),
        ("a,b\n1,2\n", "line 1: is of no layout that is known: 'a,b'"),
        (CLICKS + "5\t1\tsoon\n", "line 5: no time: wanted seconds of Unix time, before 2100, not 'soon'"),
        (CLICKS + "5\t1\t1e12\n", "line 5: no time: wanted seconds of Unix time, before 2100, not '1e12'"),
        (
            PUBLISHED + "3,yesterday,1,0\n",
            "line 3: no time: wanted a time such as 2014-04-03T10:44:35.672Z, before 2100, not 'yesterday'",
        ),
        (VIEWS + "2;NA;1;5;09.05.2016\n", "line 4: no time: wanted a timeframe in ms and a date such as 2016-05-09"),
        (CATEGORIES, "no clicks in it"),
    ],
)
def test_a_file_that_cannot_be_imported_says_where_and_why(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ImportProblem) as problem:
        import_sessions(written(tmp_path, it=text) / "it.csv")
    assert said in str(problem.value) and str(tmp_path) in str(problem.value)


def test_two_layouts_in_a_folder_and_a_file_that_is_not_there_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ImportProblem, match="both diginetica and yoochoose are in it"):
        import_sessions(written(tmp_path, one=CLICKS, two=VIEWS))
    with pytest.raises(ImportProblem, match="cannot be read: No such file"):
        import_sessions(tmp_path / "gone.csv")


# --- pace ----------------------------------------------------------------------------------------------------------


def test_a_feed_hands_out_what_is_due_restamped() -> None:
    events = feed([event("s", second, item="x") for second in (100, 101, 110)]).select(EVENT_SCHEMA.names())
    made = SessionFeed(events, speed=10.0, epoch_ms=5_000)
    assert made.next_due_s == 0.0
    assert made.take(0.05)["event_time_ms"].to_physical().to_list() == [5_000]
    assert made.next_due_s == pytest.approx(0.1)
    assert made.take(2.0)["event_time_ms"].to_physical().to_list() == [5_100, 6_000]
    assert made.next_due_s is None and made.take(9.0).is_empty()


def test_a_pacer_waits_for_it() -> None:
    now = [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    events = feed([event("s", second, item="x") for second in (0, 60, 120)]).select(EVENT_SCHEMA.names())
    chunks = list(Pacer(SessionFeed(events, speed=60.0, epoch_ms=START_MS), clock=lambda: now[0], sleep=sleep))
    assert [chunk.height for chunk in chunks] == [1, 1, 1]
    assert now[0] == pytest.approx(2.0)


def test_a_feed_that_stands_still_or_goes_back_is_refused() -> None:
    events = feed([event("s", 1, item="x"), event("s", 0, item="x")]).select(EVENT_SCHEMA.names())
    with pytest.raises(ValueError, match="speed above 0, not 0"):
        SessionFeed(events, speed=0.0, epoch_ms=0)
    with pytest.raises(ValueError, match="order of their times"):
        SessionFeed(events, speed=1.0, epoch_ms=0)


@pytest.mark.data
def test_the_real_clicks_run_through_from_end_to_end(data_dir: Path) -> None:
    found = import_sessions(data_dir / "session" / "yoochoose_clicks_train.txt")
    assert (found.events.height, found.sessions) == (70_278, 17_794)
    catalogue = catalogue_of()
    apply(catalogue, item_values(found.items))
    fold, stage = SessionFold(), RecommendStage({"live": Covisits(found.events)}, catalogue)
    sessions, state = fold.new_state(), stage.new_state()
    rows = arrived(found.events)
    assert validate_events(rows)["_reject"].null_count() == rows.height
    answers = 0
    for part in rows.iter_slices(5_000):
        said = stage(fold(part, sessions), state)
        answers += said.height
        assert said["items"].list.len().min() == 20 and not said["items"].list.contains(said["item_id"]).any()
    facts = fold.facts(sessions).totals
    assert answers == 70_278 - facts["late"] - facts["flooded"]
    assert facts["bots"] == 0 and facts["sessions"] >= found.sessions
