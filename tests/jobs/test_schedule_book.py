"""The book: one acts, what is written holds as a whole, and a kill -9 at any point leaves it readable."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from jobs.schedule.book import FILE, KEPT, Book, BookBroken, Deposed, Lease
from jobs.schedule.decide import Plan
from jobs.schedule.runs import Anchor, Request, Run, State
from tests.waiting import PATIENCE_S

TERM_MS = 15_000


def run(number: int, state: State = State.SUCCEEDED, **more: object) -> Run:
    ended_ms = None if state.is_open else number
    made = Run(f"a-{number}", "a", "cron", number, state, 1, 0, number, ended_ms)
    return replace(made, **more)  # type: ignore[arg-type]


def acting(book: Book, owner: str = "me", now_ms: int = 0) -> Lease:
    lease = book.take_lease(owner, now_ms, TERM_MS)
    assert lease is not None
    return lease


def test_one_owner_has_the_lease_until_it_ends_or_is_left(tmp_path: Path) -> None:
    mine, yours = Book(tmp_path), Book(tmp_path)
    assert acting(mine) == Lease("me", 1, TERM_MS)
    assert yours.take_lease("you", TERM_MS - 1, TERM_MS) is None
    assert acting(mine, now_ms=10_000) == Lease("me", 1, 25_000)  # prolonged
    assert yours.take_lease("you", 24_999, TERM_MS) is None
    assert acting(yours, "you", 25_000) == Lease("you", 2, 40_000)
    assert mine.take_lease("me", 25_001, TERM_MS) is None
    yours.leave(Lease("you", 2, 0), 26_000)
    assert acting(mine, now_ms=26_000).fence == 3
    mine.close(), yours.close()


def test_a_lease_of_before_the_clock_was_set_back_holds_nobody_up(tmp_path: Path) -> None:
    book = Book(tmp_path)
    acting(book, "me", 10**9)
    assert book.take_lease("you", 10**9 - 100_000, TERM_MS) is None  # clocks that differ a little
    assert acting(book, "you", 10**6).fence == 2
    book.close()


@pytest.mark.parametrize("now_ms", [0, TERM_MS])
def test_who_slept_through_the_end_of_the_lease_can_write_nothing(tmp_path: Path, now_ms: int) -> None:
    book = Book(tmp_path)
    sleeper = acting(book)
    if now_ms < TERM_MS:
        book.leave(sleeper, 0)
        acting(book, "you")
    with pytest.raises(Deposed, match="another scheduler acts"):
        book.write(Plan(begun=[run(1)], anchors={"a": Anchor("x", "UTC", 1)}), sleeper, now_ms)
    assert not book.history() and not book.past().anchors
    book.close()


def test_what_is_written_is_read_back_in_another_process_of_the_same_folder(tmp_path: Path) -> None:
    book = Book(tmp_path)
    lease, request = acting(book), book.ask("a", 5)
    ends = {0: 10, 3: 2**40}
    done, on = run(1, topic="match.events", ends=ends), run(2, State.RUNNING, reason="«why»")
    anchors = {"a": Anchor("0 3 * * *", "Europe/Berlin", 7)}
    book.write(Plan(begun=[done, on], anchors=anchors), lease, 1)
    other = Book(tmp_path)
    past = other.past()
    assert (list(past.open), past.anchors, past.ended_ms, past.bases, past.asked) == (
        [on],
        anchors,
        {"a": 1},
        {("a", "match.events"): ends},
        [Request(request.number, "a", 5)],
    )
    ended = replace(on, state=State.FAILED, ended_ms=9)
    book.write(Plan(begun=[replace(done, state=State.RUNNING)], changed=[ended], taken=[request]), lease, 2)
    assert other.history() == [ended, done]  # newest first; the same cause is not written twice
    assert not other.past().open and not other.past().asked and other.identity == book.identity
    book.close(), other.close()


@pytest.mark.parametrize("used", [State.SUCCEEDED, State.REFUSED])
def test_the_latest_runs_are_kept_with_the_one_that_events_are_counted_from(tmp_path: Path, used: State) -> None:
    book = Book(tmp_path)
    base = run(0, used, topic="t", ends={0: 1})
    rest = [run(number, State.SKIPPED) for number in range(1, KEPT + 50)]
    book.write(Plan(begun=[base, run(1, State.RUNNING, run_id="a-on"), *rest]), acting(book), 1)
    kept = {each.run_id for each in book.history(count=10**6)}
    assert {"a-0", "a-on"} <= kept and len(kept) == KEPT + 2 and rest[-1].run_id in kept and "a-1" not in kept
    assert book.past().bases == {("a", "t"): {0: 1}}
    book.close()


def test_requests_do_not_pile_up(tmp_path: Path) -> None:
    book = Book(tmp_path)
    for _ in range(100):
        book.ask("a", 0)
    with pytest.raises(ValueError, match="100 requests wait already"):
        book.ask("a", 0)
    book.close()


def test_a_damaged_file_is_named_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"not a database at all, but long enough to be one" * 100)
    with pytest.raises(BookBroken, match=rf"{FILE}: file is not a database: .* move it away"):
        Book(tmp_path)


def test_a_file_of_a_later_version_is_left_alone(tmp_path: Path) -> None:
    Book(tmp_path).close()
    database = sqlite3.connect(tmp_path / FILE)
    database.execute("PRAGMA user_version = 9")
    database.close()
    with pytest.raises(BookBroken, match=r"another version of Sightline \(9\)"):
        Book(tmp_path)


WRITER = """
import sys
from pathlib import Path
from jobs.schedule.book import Book
from jobs.schedule.decide import Plan
from jobs.schedule.runs import Anchor, Run, State
book = Book(Path(sys.argv[1]))
lease = book.take_lease("me", 0, 10**12)
first = int(sys.argv[2])
for number in range(first, first + 10**6):
    runs = [Run(f"a-{number}-{part}", "a", "cron", number, State.SKIPPED, ended_ms=1) for part in range(5)]
    book.write(Plan(begun=runs, anchors={"a": Anchor("x", "UTC", number)}), lease, 1)
    print(number, flush=True)
"""


def test_killed_at_any_point_it_holds_all_that_was_said_to_be_written_and_nothing_by_halves(tmp_path: Path) -> None:
    told = -1
    for round_ in range(4):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path), str(told + 2)], stdout=subprocess.PIPE, text=True
        )
        assert writer.stdout is not None
        for _ in range(3 + round_):
            told = int(writer.stdout.readline())
        time.sleep(0.003 * round_)  # somewhere within the next writes
        writer.send_signal(signal.SIGKILL)
        told = max([told, *map(int, writer.stdout.read().split())])
        writer.wait(PATIENCE_S)
        writer.stdout.close()
        book = Book(tmp_path)
        anchor = book.past().anchors["a"].at_ms
        assert anchor in (told, told + 1)
        whole = [each.due_ms for each in book.history(count=10**6)]
        assert whole.count(anchor) == 5 and not [due for due in whole if due > anchor]
        assert all(whole.count(due) == 5 for due in set(whole) if due > min(whole))
        book.close()
