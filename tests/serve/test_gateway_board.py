"""The board: what it keeps of the topics, in which order it says it, and that it never outgrows its bounds."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve.gateway.board import Board
from serve.gateway.match import Match
from serve.gateway.position import Mark, Position
from serve.gateway.rows import answer_rows, event_rows, report_rows
from serve.gateway.settings import GatewaySettings
from serve.gateway.testing import T0_MS, Row, event_row, frame_of, insight_row, status_row
from streaming.features.match import validate


def board_of(**settings) -> Board:
    return Board(GatewaySettings(**settings), T0_MS)


def tell(board: Board, *rows: Row, partition: int = 0, start: int = 0) -> set[str]:
    offsets = np.arange(start, start + len(rows), dtype=np.int64)
    return board.apply_insights(answer_rows(frame_of(rows), partition, offsets), T0_MS)


def log(board: Board, *rows: Row, partition: int = 0, start: int = 0, at_ms: int = T0_MS) -> set[str]:
    offsets = np.arange(start, start + len(rows), dtype=np.int64)
    return board.apply_events(event_rows(frame_of(rows), partition, offsets), at_ms, T0_MS)


def held(board: Board) -> int:
    """Answers held in all matches together."""
    return sum(len(match.answers) for match in board.changed_since(0))


def told(match: Match, position: Position | None = None, at_once: int = 64) -> list[tuple[str, str]]:
    """All messages a client at this position gets, pulled in pieces: (event, id of the row or its kind)."""
    position, out = position or Position(), []
    while messages := match.after(position, at_once):
        for message in messages:
            out.append((message.event, getattr(message.data, "id", "")))
            position = message.position
    return out


# --- what is kept


def test_an_answer_is_told_whole() -> None:
    board = board_of()
    row = insight_row(
        "m1", 4, 0.625, delta_p=0.125, contribution_gold=0.5, contribution_form=-0.25, change_tower=0.0625,
        score_kill=1, weight_wild=0.75, top_reason="tower", key_moment=True, moment="A:towers",
        commentary_en="Up.", commentary_zh="涨", flags="late kills-fell", emit_time_ms=T0_MS + 7,
    )  # fmt: skip
    assert tell(board, row, partition=2, start=41) == {"m1"}
    detail = board.detail(board.get("m1"), now_ms=T0_MS + 9)
    (point,) = detail.curve
    assert (point.id, point.frame, point.clock_s, point.event_time_ms) == ("2-41", 4, 120.0, T0_MS + 120_000)
    assert (point.p, point.delta_p, point.top_reason, point.moment) == (0.625, 0.125, "tower", "A:towers")
    assert (point.contributions.gold, point.contributions.form, point.changes.tower) == (0.5, -0.25, 0.0625)
    assert (point.scores.kill, point.weights.wild, point.weights.gold) == (1.0, 0.75, 0.0)
    assert point.flags == detail.flags == ["late", "kills-fell"]
    assert (detail.commentary_en, detail.commentary_zh, detail.key_moment) == ("Up.", "涨", True)
    assert (detail.title_name, detail.sides, detail.teams) == (
        "League of Legends", ("Blue", "Red"), ("Northwind", "Sundogs"),
    )  # fmt: skip
    assert detail.groups == ["gold", "kill", "tower", "wild", "lane", "hero", "form"]
    assert (detail.last_id, detail.result, detail.time_ms) == ("2-41", None, T0_MS + 9)
    assert detail.spark == [(120.0, 0.625)]


def test_the_last_sentence_stays_until_there_is_a_new_one() -> None:
    board = board_of()
    tell(board, insight_row("m1", 0, commentary_en="Even."), insight_row("m1", 1))
    assert board.summaries()[0].commentary_en == "Even."


def test_weights_in_use_say_what_they_were_trained_on_once_the_pipeline_has() -> None:
    board = board_of()
    tell(board, insight_row("m1", 0))
    assert board.summaries()[0].model.trained_on == ""
    board.apply_status(report_rows(frame_of([status_row(T0_MS)])))
    assert board.summaries()[0].model.model_dump() == {
        "name": "tsstn-lol", "version": "1", "weight_hash": "abc", "trained_on": "simulator",
    }  # fmt: skip


def test_a_title_without_a_file_is_shown_under_its_own_name() -> None:
    board = board_of()
    tell(board, insight_row("m1", 0, title="chess"))
    summary = board.summaries()[0]
    assert (summary.title_name, summary.sides) == ("chess", ("A", "B"))


def test_records_read_again_change_nothing() -> None:
    board = board_of()
    tell(board, insight_row("m1", 0), insight_row("m1", 1))
    assert tell(board, insight_row("m1", 0), insight_row("m1", 1)) == set()
    assert log(board, event_row("m1", 1)) == {"m1"}
    assert log(board, event_row("m1", 1)) == set()
    assert len(board.get("m1").answers) == 2 and len(board.get("m1").events) == 1


def test_an_event_the_feed_repeats_is_logged_once() -> None:
    board = board_of()
    log(board, event_row("m1", 1), event_row("m1", 1), event_row("m1", 2))
    assert [event.sequence for event in board.get("m1").events] == [1, 2]


def test_a_restarted_match_begins_anew() -> None:
    board = board_of()
    tell(board, insight_row("m1", 0, 0.9), insight_row("m1", 1, 0.95))
    log(board, event_row("m1", 0, "start"), event_row("m1", 1))
    log(board, event_row("m1", 2, "start"), start=2)
    tell(board, insight_row("m1", 0, 0.5, attempt=1), start=2)
    detail = board.detail(board.get("m1"), T0_MS)
    assert [point.p for point in detail.curve] == [0.5] and detail.attempt == 1
    assert [event.id for event in detail.events] == ["0-2"]
    assert held(board) == 1


def test_a_pipeline_that_answers_again_from_the_start_replaces_its_answers() -> None:
    board = board_of()
    tell(board, *(insight_row("m1", frame, 0.5) for frame in range(4)))
    tell(board, insight_row("m1", 2, 0.7), start=4)
    assert [(answer.frame, answer.p) for answer in board.get("m1").answers] == [(0, 0.5), (1, 0.5), (2, 0.7)]
    assert held(board) == 3


def test_events_in_words() -> None:
    board = board_of()
    rows = [
        event_row("m1", 0, "start", team_a="Northwind", team_b="Sundogs"),
        event_row("m1", 1),
        event_row("m1", 2, subject="kills", side="B", count=3),
        event_row("m1", 3, subject="barons"),
        event_row("m1", 4, subject="inhibitors", side="B"),
        event_row("m1", 5, subject="mage"),  # a hero's role is no news
        event_row("m1", 6, "snapshot"),
        event_row("m1", 7, "end", side="B"),
        event_row("m2", 8, "remake"),
    ]
    log(board, *rows)
    assert [entry.text for entry in board.detail(board.get("m1"), T0_MS).events] == [
        "Northwind – Sundogs: the match starts",
        "Northwind takes a dragon",
        "Sundogs gets 3 kills",
        "Northwind takes Baron",
        "Sundogs takes an inhibitor",
        "Sundogs wins",
    ]
    assert board.detail(board.get("m2"), T0_MS).events[0].text == "The match is remade and does not count"


def test_a_match_is_known_from_its_start_on_before_any_answer() -> None:
    board = board_of()
    log(board, event_row("m1", 0, "start", team_a="X", team_b="Y", league="L", patch="1", origin="simulated"))
    summary = board.summaries()[0]
    assert (summary.teams, summary.league, summary.state) == (("X", "Y"), "L", "simulated")
    assert (summary.p, summary.clock_s, summary.delta_p, summary.spark) == (None, None, None, [])


def test_the_result_names_the_three_biggest_swings() -> None:
    board = board_of()
    swings = [0.0, 0.125, -0.25, 0.0625, -0.5]
    rows = [insight_row("m1", frame, 0.5, delta_p=swing, top_reason="gold") for frame, swing in enumerate(swings)]
    rows[1] |= {"moment": "B:dragons"}  # not what moved it to A
    rows[2] |= {"commentary_en": "Red answers, up 30 since 0:00.", "moment": "B:dragons"}
    tell(board, *rows)
    assert board.get("m1").result() is None
    tell(board, insight_row("m1", 5, 0.01, status="ended", winner="B", delta_p=0.0), start=5)
    result = board.get("m1").result()
    assert (result.winner, result.team) == ("B", "Sundogs")
    assert [swing.model_dump() for swing in result.swings] == [
        {
            "clock_s": 120.0,
            "p": 0.5,
            "delta_p": -0.5,
            "moment": "",
            "top_reason": "gold",
            "text": "Sundogs up 50 points: gold",
        },
        {
            "clock_s": 60.0,
            "p": 0.5,
            "delta_p": -0.25,
            "moment": "B:dragons",
            "top_reason": "gold",
            "text": "Sundogs up 25 points: dragon",
        },
        {
            "clock_s": 30.0,
            "p": 0.5,
            "delta_p": 0.125,
            "moment": "B:dragons",
            "top_reason": "gold",
            "text": "Northwind up 12 points: gold",
        },
    ]


def test_a_remade_match_has_a_result_without_winner() -> None:
    board = board_of()
    tell(board, insight_row("m1", 0, status="void"))
    assert board.get("m1").result().model_dump() == {"winner": None, "team": None, "swings": []}


def test_a_long_curve_is_thinned_for_the_spark_but_keeps_its_newest_point() -> None:
    board = board_of()
    tell(board, *(insight_row("m1", frame, frame / 1000) for frame in range(121)))
    spark = board.summaries()[0].spark
    assert len(spark) == 41 and spark[-1] == (3600.0, 0.12) and spark[0] == (0.0, 0.0)


# --- order and filters


def test_closest_and_biggest_swing_first_finished_ones_after_all() -> None:
    board = board_of()
    tell(board, insight_row("even", 0, 0.49, delta_p=0.01))
    tell(board, insight_row("won", 0, 0.95, delta_p=-0.3), start=1)
    tell(board, insight_row("over", 0, 0.5, status="ended", title="dota2"), start=2)
    log(board, event_row("silent", 0, "start"))
    assert [match.id for match in board.summaries()] == ["even", "won", "silent", "over"]
    assert [match.id for match in board.summaries(order="swing")] == ["won", "even", "silent", "over"]
    assert [match.id for match in board.summaries(status="ended")] == ["over"]
    assert [match.id for match in board.summaries(title="dota2")] == ["over"]
    assert board.summaries(league="none") == []


def test_changes_are_found_by_revision_newest_first() -> None:
    board = board_of()
    for name in "abc":
        tell(board, insight_row(name, 0))
    before = board.revision
    tell(board, insight_row("a", 1), start=9)
    log(board, event_row("d", 0, subject="mage"))  # nothing to tell, but a match that nobody knew
    assert [match.id for match in board.changed_since(before)] == ["d", "a"]
    assert list(board.changed_since(board.revision)) == []


# --- what a client gets


def test_a_client_gets_answers_after_their_events_and_the_result_last() -> None:
    board = board_of()
    log(board, event_row("m1", 0, "start"), event_row("m1", 31), event_row("m1", 40), partition=1, start=5)
    tell(board, insight_row("m1", 0), insight_row("m1", 1), insight_row("m1", 2, status="ended", winner="A"), start=3)
    match = board.get("m1")
    assert told(match) == [
        ("event", "1-5"), ("insight", "0-3"), ("insight", "0-4"), ("event", "1-6"), ("event", "1-7"),
        ("insight", "0-5"), ("result", ""),
    ]  # fmt: skip
    assert match.after(match.position, 9) == []
    assert str(match.position) == "0-5.1-7.r"


def test_a_match_that_is_restarted_after_its_end_has_a_second_result() -> None:
    board = board_of()
    tell(board, insight_row("m1", 0, status="ended", winner="A"))
    position = board.get("m1").position
    tell(board, insight_row("m1", 0, attempt=1, status="ended", winner="B"), start=1)
    assert told(board.get("m1"), position) == [("insight", "0-1"), ("result", "")]


@given(
    events=st.lists(st.integers(0, 400), max_size=12),
    frames=st.integers(0, 12),
    ended=st.booleans(),
    cut=st.integers(0, 40),
    at_once=st.integers(1, 5),
)
def test_resuming_anywhere_loses_nothing_and_doubles_nothing(events, frames, ended, cut, at_once) -> None:
    board = board_of()
    if events:
        log(board, *(event_row("m1", n, event_time_ms=T0_MS + 1000 * s) for n, s in enumerate(events)), start=7)
    rows = [insight_row("m1", frame) for frame in range(frames)]
    if ended and rows:
        rows[-1] |= {"status": "ended", "winner": "A"}
    if rows:
        tell(board, *rows, start=3)
    if (match := board.get("m1")) is None:
        return
    whole = told(match, at_once=at_once)
    assert len(whole) == len(set(whole)) == len(events) + frames + (ended and frames > 0)
    seen = match.after(Position(), limit=100)[:cut]
    position = Position.parse(str(seen[-1].position)) if seen else Position()  # as it comes back from the client
    assert match.missed(position) is None
    rest = [(message.event, getattr(message.data, "id", "")) for message in seen] + told(match, position, at_once)
    assert rest == whole


@pytest.mark.parametrize(
    ("position", "why"),
    [
        ("0-0", "older than what is kept"),
        ("0-99", "not on this log"),
        ("1-5", "not on this log"),
        ("0-5.0-9", "not on this log"),
        ("0-2", None),
        ("0-5", None),
    ],
)
def test_a_position_that_cannot_be_served_without_a_gap_is_known(position: str, why: str | None) -> None:
    board = board_of(max_points=3)
    tell(board, *(insight_row("m1", frame) for frame in range(6)))  # 0..2 are dropped
    reason = board.get("m1").missed(Position.parse(position))
    assert reason is None if why is None else why in reason


# --- what the pipeline refuses

REFUSED = [
    {"side": None},
    {"side": "C"},
    {"subject": "wards"},
    {"subject": None},
    {"count": 0.0},
    {"count": 1e9},
    {"count": 0.5},
    {"clock_s": float("nan")},
    {"clock_s": 1e9},
    {"title": "chess"},
    {"sequence": -1},
    {"match_id": ""},
    {"match_id": "@reserved"},
    {"match_id": "é" * 65},
    {"kind": "end", "side": None},
    {"kind": "nonsense"},
    {"kind": "start", "team_a": "x" * 129},
]


@pytest.mark.parametrize("bad", REFUSED, ids=str)
def test_what_the_pipeline_refuses_makes_no_line_and_no_match(bad: Row) -> None:
    board = board_of()
    row = event_row("m1", 1) | bad
    assert validate(frame_of([row]))["_reject"][0] is not None
    log(board, row)
    assert len(board) == 0
    log(board, event_row("m1", 0, "start"), event_row("m1", 2) | bad, event_row("m1", 3), start=1)
    assert [event.sequence for event in board.get("m1").events] == [0, 3]
    assert [match.id for match in board.changed_since(0)] == ["m1"]


def test_a_score_of_nobody_is_not_credited_to_camp_a() -> None:
    board = board_of()
    log(board, event_row("m1", 0, "start"), event_row("m1", 1, side=None), event_row("m1", 2, side="B"))
    texts = [entry.text for entry in board.detail(board.get("m1"), T0_MS).events]
    assert texts == ["Blue – Red: the match starts", "Red takes a dragon"]


def test_a_flood_of_ids_that_are_none_costs_no_match_its_place() -> None:
    board = board_of(max_matches=3)
    tell(board, insight_row("m1", 0), insight_row("m2", 0))
    for number in range(20):
        log(board, event_row(f"@junk{number}", 1), event_row(f"junk{number}", 1, side=None), start=2 * number)
    assert len(board) == 2
    for number in range(20):  # well-formed, and never answered
        log(board, event_row(f"quiet{number}", 1), start=100 + number)
    assert len(board) == 3 and "m1" in board and "m2" in board and "quiet19" in board


@pytest.mark.parametrize(
    "bad",
    [{"p": float("nan")}, {"p": 1.5}, {"p": float("-inf")}, {"clock_s": float("inf")}, {"match_id": ""}],
    ids=str,
)
def test_an_answer_that_is_no_probability_at_no_time_is_not_shown(bad: Row) -> None:
    rows = [insight_row("m1", 0), insight_row("m1", 1) | bad, insight_row("m1", 2, contribution_gold=float("inf"))]
    made = answer_rows(frame_of(rows), 0, np.array([7, 8, 9]))
    assert [row.answer.mark.offset for row in made] == [7, 9]
    assert made[1].answer.family("contribution")["gold"] == 0.0


# --- degraded answers


def test_answers_of_the_baseline_are_degraded_and_say_why() -> None:
    board = board_of()
    tell(board, insight_row("m1", 0, flags="late degraded", model_version="3+baseline"))
    summary = board.summaries()[0]
    assert (summary.state, summary.causes, summary.model.version) == ("degraded", ["baseline"], "3+baseline")
    board.tick(T0_MS + 9000)
    assert (board.summaries()[0].state, board.summaries()[0].causes) == ("delayed", ["baseline"])
    (message,) = [m for m in board.get("m1").after(Position(), 9) if m.event == "insight"]
    assert message.data.causes == ["baseline"]
    tell(board, insight_row("m1", 1, emit_time_ms=T0_MS + 9000, model_version="3"), start=1)
    board.tick(T0_MS + 9000)
    assert (board.summaries()[0].state, board.summaries()[0].causes) == ("live", [])


# --- bounds


def test_curves_logs_and_matches_are_bounded() -> None:
    board = board_of(max_points=5, max_events=4, max_matches=3)
    for number in range(10):
        name = f"m{number}"
        tell(board, *(insight_row(name, frame) for frame in range(8)), start=8 * number)
        log(board, *(event_row(name, sequence) for sequence in range(9)), start=9 * number)
    assert len(board) == 3 and held(board) == 15
    match = board.get("m9")
    assert [answer.frame for answer in match.answers] == [3, 4, 5, 6, 7]
    assert [event.sequence for event in match.events] == [5, 6, 7, 8]
    assert len(match.sequences) == 4


def test_finished_matches_go_first_oldest_first() -> None:
    board = board_of(max_matches=3)
    tell(board, insight_row("live", 0))
    tell(board, insight_row("over1", 0, status="ended"), start=1)
    tell(board, insight_row("over2", 0, status="void"), start=2)
    tell(board, insight_row("new1", 0), start=3)
    assert "over1" not in board and "over2" in board
    tell(board, insight_row("new2", 0), start=4)
    assert "over2" not in board and "live" in board
    tell(board, insight_row("new3", 0), start=5)
    assert "live" not in board  # none is over: the one unheard of longest


def test_answers_are_bounded_in_all_matches_together() -> None:
    board = board_of(max_points_total=10)
    for number in range(5):
        tell(board, *(insight_row(f"m{number}", frame) for frame in range(4)), start=4 * number)
    assert held(board) == 8 and [match in board for match in ("m2", "m3", "m4")] == [False, True, True]


def test_matches_unheard_of_for_the_kept_time_are_forgotten() -> None:
    board = board_of(history_s=100)
    tell(board, insight_row("m1", 0))
    board.tick(T0_MS + 99_000)
    assert "m1" in board
    board.tick(T0_MS + 101_000)
    assert "m1" not in board and held(board) == 0


def test_time_alone_changes_the_state_of_running_matches_only() -> None:
    board = board_of()
    tell(board, insight_row("m1", 0), insight_row("m2", 0, status="ended"))
    assert board.tick(T0_MS + 1000) == set()
    assert board.tick(T0_MS + 6000) == {"m1"}
    assert board.get("m1").fresh == ("delayed", 6.0, ()) and board.get("m2").fresh == ("ended", 0.0, ())
    assert board.tick(T0_MS + 6400) == set() and board.tick(T0_MS + 7100) == {"m1"}


# --- positions


@given(
    st.builds(
        Position,
        st.none() | st.builds(Mark, st.integers(0, 999_999), st.integers(0, 10**18)),
        st.none() | st.builds(Mark, st.integers(0, 999_999), st.integers(0, 10**18)),
    ),
    st.booleans(),
)
def test_a_position_reads_back_as_written(position: Position, result_seen: bool) -> None:
    if position.answer is not None and result_seen:
        position = position.after_result()
    if position != Position():
        assert Position.parse(str(position)) == position


@pytest.mark.parametrize(
    "written", ["", "x", "1", "1-", "-1-2", "1-2-3", "1-2.", ".r", "1-2.r.3-4", "١-٢", "1-2\n", "9" * 30]
)
def test_what_is_no_position_is_refused_in_one_line(written: str) -> None:
    with pytest.raises(ValueError, match="is not a position such as") as refused:
        Position.parse(written)
    assert "\n" not in str(refused.value)
