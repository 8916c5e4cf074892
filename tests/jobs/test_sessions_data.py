"""Clicks: all layouts, whatever is wrong with them, what is a session, the split in time, and batches of an epoch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.errors import UsageProblem
from jobs.sessions.batches import session_parallel, whole_sessions
from jobs.sessions.clicks import ClickSet, SessionRules, load_clicks
from jobs.sessions.split import DAY_S, NO_ITEM, queries, split_last_day, whole
from tests.shop_sessions import walk_file

PREPROCESSED = "SessionId\tItemId\tTime\n2\tb\t20.5\n1\ta\t10\n1\tb\t11\n2\ta\t21\n2\tb\t22\n"
CHALLENGE = """1,2014-04-03T10:44:35.672Z,214821275,0
1,2014-04-03T10:45:01.674Z,214821371,S
2,2014-04-07T09:02:36.889Z,214821275,5
2,2014-04-07T09:01:00.000Z,214821023,0
"""
DIGINETICA = """sessionId;userId;itemId;timeframe;eventdate
1;NA;81766;526309;2016-05-09
1;NA;31331;1031018;2016-05-09
2;7;81766;0;2016-05-10
2;7;31331;1000;2016-05-10
"""


def written(folder: Path, text: str, name: str = "clicks.txt") -> str:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return str(path)


def shown(clicks: ClickSet) -> list[list[str]]:
    return [[clicks.items[each] for each in clicks.item[start:end].tolist()]
            for start, end in zip(clicks.starts, clicks.starts[1:], strict=False)]  # fmt: skip


def test_preprocessed_clicks_are_put_in_order(tmp_path: Path) -> None:
    clicks = load_clicks(written(tmp_path, PREPROCESSED))
    assert shown(clicks) == [["a", "b"], ["b", "a", "b"]]
    assert clicks.time_s.tolist() == [10, 11, 20.5, 21, 22] and clicks.session.tolist() == [0, 0, 1, 1, 1]
    for separator in ",;":
        assert shown(load_clicks(written(tmp_path, PREPROCESSED.replace("\t", separator)))) == shown(clicks)


def test_the_challenges_own_file_has_times_of_day_and_categories(tmp_path: Path) -> None:
    clicks = load_clicks(written(tmp_path, CHALLENGE))
    assert shown(clicks) == [["214821275", "214821371"], ["214821023", "214821275"]]
    assert clicks.time_s[0] == 1396521875.672
    assert clicks.content == {"214821275": ("category:5",), "214821371": ("category:S",)}
    three = "\n".join(line.rpartition(",")[0] for line in CHALLENGE.splitlines())
    assert load_clicks(written(tmp_path, three)).content == {}


def test_diginetica_has_content_in_files_beside_it(tmp_path: Path) -> None:
    path = written(tmp_path, DIGINETICA, "train-item-views.csv")
    clicks = load_clicks(path)
    assert shown(clicks) == [["81766", "31331"], ["81766", "31331"]] and clicks.content == {}
    assert clicks.time_s[:2].tolist() == [1462752000 + 526.309, 1462752000 + 1031.018]
    written(tmp_path, "itemId;categoryId\n81766;5\n", "product-categories.csv")
    written(tmp_path, "itemId;pricelog2;product.name.tokens\n81766;10;4875,776\n9;3;1\n", "products.csv")
    assert load_clicks(path).content == {"81766": ("category:5", "price:10", "title:4875", "title:776")}


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", "line 1: is of no layout"),
        ("user,what\n1,2\n", "line 1: is of no layout"),
        ("SessionId\tItemId\tTime\n", "line 2: there are no clicks"),
        (
            PREPROCESSED + "3\tc\tnoon\n",
            "line 7: no time: wanted seconds of Unix time, before 2100, not 'noon' (1 such lines)",
        ),
        (PREPROCESSED + "3\tc\tnan\n", "line 7: no time"),
        (PREPROCESSED + "3\tc\t-5\n", "line 7: no time"),
        (PREPROCESSED + "3\tc\n", "line 7: no time"),
        (PREPROCESSED + "3\t\t9\n", "line 7: no session or no item"),
        (PREPROCESSED + "3\tc\t9\t9\n", "line 7: 4 fields, not 3"),
        (CHALLENGE + "2,yesterday,1,0\n", "line 5: no time"),
        (DIGINETICA + "3;NA;5;1;9 May\n", "line 6: no time: wanted a timeframe in ms"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, text: str, wanted: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(UsageProblem) as problem:
        load_clicks(path)
    assert wanted in str(problem.value) and path in str(problem.value)


def test_what_was_bought_is_no_click(tmp_path: Path) -> None:
    with pytest.raises(UsageProblem, match="no views in it"):
        load_clicks(written(tmp_path, "2,2014-04-07T10:55:00.000Z,214536500,1046,1\n"))


def test_no_file_and_bytes_that_are_no_text(tmp_path: Path) -> None:
    with pytest.raises(UsageProblem, match="cannot be read: No such file"):
        load_clicks(str(tmp_path / "none.txt"))
    (tmp_path / "image").write_bytes(b"\xff\xd8\xff\xe0")
    with pytest.raises(UsageProblem, match="cannot be read as text"):
        load_clicks(str(tmp_path / "image"))


def test_strange_ids_are_ids(tmp_path: Path) -> None:
    strange = "SessionId\tItemId\tTime\n1\t🫖\t1\n1\t<script>\t2\n1\tمصباح\t3\n"
    assert shown(load_clicks(written(tmp_path, strange))) == [["🫖", "<script>", "مصباح"]]


def test_short_and_endless_sessions_are_left_out_and_told(tmp_path: Path) -> None:
    text = PREPROCESSED + "9\ta\t30\n" + "".join(f"8\tb\t{moment}\n" for moment in range(300))
    clicks = load_clicks(written(tmp_path, text))
    assert clicks.sessions == 2
    assert clicks.left_out == ("1 sessions of fewer than 2 clicks", "1 sessions of more than 200 clicks")
    with pytest.raises(UsageProblem, match="no session has 50 to 200 clicks"):
        load_clicks(written(tmp_path, text), SessionRules(min_clicks=50))


def test_a_pause_ends_a_session_where_the_rules_say_so(tmp_path: Path) -> None:
    text = "SessionId\tItemId\tTime\n" + "".join(f"1\t{item}\t{moment}\n" for item, moment in
                                                zip("abcd", (0, 5, 100, 105), strict=True))  # fmt: skip
    assert shown(load_clicks(written(tmp_path, text), SessionRules(gap_s=60))) == [["a", "b"], ["c", "d"]]
    assert shown(load_clicks(written(tmp_path, text))) == [["a", "b", "c", "d"]]


@pytest.mark.parametrize("rules", [SessionRules(min_clicks=1), SessionRules(max_clicks=1), SessionRules(gap_s=-1.0)])
def test_rules_that_make_no_sense_are_refused(tmp_path: Path, rules: SessionRules) -> None:
    with pytest.raises(UsageProblem, match="rules"):
        load_clicks(written(tmp_path, PREPROCESSED), rules)


def test_nothing_learned_ends_after_the_held_out_day_begins(tmp_path: Path) -> None:
    clicks = load_clicks(str(walk_file(tmp_path)))
    split = split_last_day(clicks)
    bar = clicks.time_s.max() - DAY_S
    assert split.train.time_s.max() < bar <= split.held_out.time_s[split.held_out.starts[1:] - 1].min()
    assert split.train.sessions + split.held_out.sessions == clicks.sessions
    assert len(split.train) + len(split.held_out) == len(clicks)
    counts = split.clicks
    assert (np.diff(counts) <= 0).all() and counts.min() >= 1
    ids = {split.train.items[each] for each in split.train.item.tolist()}
    assert set(split.train.items[: split.seen]) == ids and sorted(split.train.items) == sorted(clicks.items)
    assert whole(clicks).held_out.sessions == 0 and whole(clicks).seen == len(clicks.items)


def test_a_file_of_one_day_cannot_be_split(tmp_path: Path) -> None:
    with pytest.raises(UsageProblem, match="give data of more days"):
        split_last_day(load_clicks(written(tmp_path, PREPROCESSED)))


def test_queries_by_hand_and_by_the_papers_protocol(tmp_path: Path) -> None:
    day = [("1", "abab", 0.0), ("2", "aNb", 3 * DAY_S), ("3", "Na", 3 * DAY_S + 10)]
    text = "SessionId\tItemId\tTime\n" + "".join(
        f"{session}\t{item}\t{moment + at}\n" for session, items, moment in day for at, item in enumerate(items)
    )
    split = split_last_day(load_clicks(written(tmp_path, text)))
    assert split.train.items == ("a", "b", "N") and split.seen == 2
    every = queries(split, length=3)
    assert every.context.tolist() == [[-1, -1, 0], [-1, 0, 2], [-1, -1, 2]] and every.target.tolist() == [2, 1, 0]
    assert every.session.tolist() == [0, 0, 1] and every.now_s.tolist() == [3 * DAY_S, 3 * DAY_S + 1, 3 * DAY_S + 10]
    filtered = queries(split, "filtered", length=3)
    assert filtered.context.tolist() == [[-1, -1, 0]] and filtered.target.tolist() == [1] and filtered.sessions == 1


@given(seed=st.integers(0, 1000), lanes=st.integers(1, 9), sessions=st.integers(1, 12))
def test_session_parallel_batches_hold_every_session_whole_and_once(seed: int, lanes: int, sessions: int) -> None:
    chance = np.random.default_rng(seed)
    lengths = chance.integers(2, 6, sessions)
    total = int(lengths.sum())
    clicks = ClickSet("", np.repeat(np.arange(sessions), lengths), np.arange(total), np.arange(total) * 1.0,
                      tuple(map(str, range(total))), {})  # fmt: skip
    epoch = session_parallel(clicks, lanes, chance)
    pairs, begun = [], []
    for lane in range(epoch.clicks.shape[1]):
        for at in range(len(epoch.clicks)):
            item, target = epoch.clicks[at, lane], epoch.targets[at, lane]
            if epoch.fresh[at, lane]:
                begun.append(item)
            if target != NO_ITEM:
                pairs.append((item, target))
                assert epoch.clicks[at + 1, lane] == target and not epoch.fresh[at + 1, lane]
    starts = clicks.starts[:-1].tolist()
    assert sorted(begun) == starts
    assert sorted(pairs) == [(item, item + 1) for item in range(total) if item + 1 not in [*starts, total]]
    assert sorted(epoch.clicks[epoch.clicks != NO_ITEM].tolist()) == list(range(total))


def test_whole_sessions_are_aligned_to_the_right_and_cut_at_the_front() -> None:
    clicks = ClickSet("", np.array([0, 0, 0, 0, 1, 1]), np.array([5, 6, 7, 8, 1, 2]), np.arange(6.0), (), {})
    rows, targets = whole_sessions(clicks, 2)
    assert rows.tolist() == [[6, 7], [-1, 1]] and targets.tolist() == [[7, 8], [-1, 2]]
