"""The newest rows of a table, so many at most."""

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from serve.gateway.shop.window import Window


@given(st.lists(st.integers(0, 12), max_size=30), st.integers(1, 20))
def test_a_window_keeps_the_newest_rows_and_no_more(sizes: list[int], most: int) -> None:
    window, number = Window(most), 0
    for size in sizes:
        window.add(rows_at(range(number, number + size)))
        number += size
        kept = window.rows()
        held = [] if kept is None else kept["event_time_ms"].dt.timestamp("ms").to_list()
        assert len(held) == len(window) <= most
        assert held == list(range(number - len(held), number))
        assert len(held) == number or window.dropped_ms == number - len(held) - 1


def test_a_window_forgets_by_time() -> None:
    window = Window(100)
    window.add(rows_at(range(10)))
    window.forget(7)
    kept = window.rows()
    assert kept is not None and kept["event_time_ms"].dt.timestamp("ms").to_list() == [7, 8, 9]
    window.forget(10)
    assert window.rows() is None


def rows_at(times_ms: range) -> pl.DataFrame:
    return pl.DataFrame({"event_time_ms": list(times_ms)}, schema={"event_time_ms": pl.Int64}).cast(
        pl.Datetime("ms", "UTC")
    )
