"""Match sets: from events to padded tensors, and fair splits."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from jobs.datasets import MatchSet, frames_to_matches, load_matches, split_by_match, split_by_time
from jobs.errors import UsageProblem
from streaming.features.match import events_frame
from streaming.features.match_fold import fold_events
from streaming.importers import ImportProblem

SOURCE = "simulator:lol?matches=12&seed=3"


@pytest.fixture(scope="module")
def simulated() -> MatchSet:
    return load_matches(SOURCE)


def event(match: str, sequence: int, kind: str, clock_s: float, year: int = 2015, **more: object) -> dict[str, object]:
    time = dt.datetime(year, 5, 1, tzinfo=dt.UTC) + dt.timedelta(seconds=clock_s)
    return {
        "match_id": match,
        "sequence": sequence,
        "event_time_ms": int(time.timestamp() * 1000),
        "title": "lol",
        "clock_s": clock_s,
        "kind": kind,
        **more,
    }


def two_matches() -> MatchSet:
    """`late` of 2016, won by B, two minutes; `early` of 2015, won by A, one minute; `open` has no winner."""
    rows = [
        event("late", 0, "snapshot", 0, 2016, gold=0.0),
        event("late", 1, "snapshot", 60, 2016, gold=-300.0),
        event("late", 2, "snapshot", 120, 2016, gold=-800.0),
        event("late", 3, "end", 121, 2016, side="B"),
        event("early", 0, "snapshot", 0, gold=0.0),
        event("early", 1, "snapshot", 60, gold=100.0),
        event("early", 2, "end", 90, side="A"),
        event("open", 0, "snapshot", 0, gold=5.0),
    ]
    return frames_to_matches(fold_events(events_frame(rows)), "lol", "by hand")


def test_matches_of_a_patch_by_name_or_the_newest() -> None:
    matches = replace(two_matches(), patches=("9.1", "9.2"))
    assert matches.of_patch("9.1").match_ids == ("early",) and matches.of_patch("latest").match_ids == ("late",)
    assert matches.of_patch("") is matches
    with pytest.raises(UsageProblem, match=r"by hand: no matches of patch 9.3; its patches: 9.1, 9.2"):
        matches.of_patch("9.3")
    assert two_matches().patches == ("", "")


@given(st.integers(2, 40), st.floats(0, 1))
def test_a_split_by_time_holds_out_the_latest(count: int, share: float) -> None:
    one = two_matches()
    matches = replace(one.take(torch.arange(count) % 2), match_ids=tuple(map(str, range(count))))
    train, held_out = split_by_time(matches, share=share)
    assert train.match_ids + held_out.match_ids == matches.match_ids
    assert len(train) and abs(len(held_out) - share * count) <= 1


def test_frames_become_padded_matches_in_order_of_time() -> None:
    matches = two_matches()
    assert matches.match_ids == ("early", "late")
    assert matches.won.tolist() == [1.0, 0.0] and matches.year.tolist() == [2015, 2016]
    assert matches.mask.tolist() == [[True, True, False], [True, True, True]]
    assert matches.clock_s.tolist() == [[0, 60, 0], [0, 60, 120]]
    gold = matches.spec.features.index("gold")
    assert matches.features[1, :, gold].tolist() == [0, -300, -800]
    assert matches.features[0, 2].isnan().all()
    assert matches.features[..., matches.spec.features.index("kills")].isnan().all()
    assert matches.frames == 5


def test_the_frame_that_the_end_makes_is_not_learned_from() -> None:
    assert two_matches().clock_s.max() == 120


def test_years_cut_a_set_in_time() -> None:
    matches = two_matches()
    assert matches.of_years(until=2015).match_ids == ("early",)
    assert matches.of_years(since=2016).match_ids == ("late",)
    assert matches.of_years() is matches
    with pytest.raises(UsageProblem, match="no matches since 2017; its years: 2015, 2016"):
        matches.of_years(since=2017)


def test_a_taken_set_is_no_longer_than_its_longest_match() -> None:
    early = two_matches().take(torch.tensor([0]))
    assert early.features.shape[:2] == (1, 2) and early.match_ids == ("early",)


def test_a_split_shares_no_match_and_is_the_same_for_the_same_seed(simulated: MatchSet) -> None:
    split = split_by_match(simulated, share=0.25, seed=1)
    ours, theirs = set(split.train.match_ids), set(split.held_out.match_ids)
    assert len(theirs) == 3 and not ours & theirs and ours | theirs == set(simulated.match_ids)
    assert split_by_match(simulated, share=0.25, seed=1).held_out.match_ids == split.held_out.match_ids
    assert split_by_match(simulated, share=0.25, seed=2).held_out.match_ids != split.held_out.match_ids


def test_one_match_cannot_be_split(simulated: MatchSet) -> None:
    with pytest.raises(UsageProblem, match="two are needed"):
        split_by_match(simulated.take(torch.tensor([0])), share=0.5, seed=0)


def test_the_simulator_is_a_source_like_any_other(simulated: MatchSet) -> None:
    assert simulated.title == "lol" and len(simulated) == 12
    assert simulated.source == "simulator lol, 12 matches, seed 3"
    assert not simulated.features[simulated.mask].isnan().all(dim=0).any()


def test_the_fingerprint_is_that_of_the_content(simulated: MatchSet) -> None:
    assert load_matches(SOURCE).fingerprint == simulated.fingerprint
    assert load_matches("simulator:lol?matches=12&seed=4").fingerprint != simulated.fingerprint


@pytest.mark.parametrize(
    ("source", "title", "message"),
    [
        ("simulator:chess", None, "no simulated title 'chess'; there are"),
        ("simulator:lol?matches=many", None, "matches=many is not understood"),
        ("simulator:lol?matches=0", None, "matches must lie in 1..100,000"),
        ("simulator:lol?matches=1000000000", None, "matches must lie in 1..100,000"),
        ("simulator:lol?games=5", None, "games=5 is not understood"),
        (SOURCE, "dota2", "no matches of title dota2; it holds lol"),
    ],
)
def test_a_wrong_source_says_what_is_wrong(source: str, title: str | None, message: str) -> None:
    with pytest.raises(UsageProblem, match=message):
        load_matches(source, title)


def test_a_missing_file_is_an_import_problem(tmp_path: Path) -> None:
    with pytest.raises(ImportProblem, match="no such file"):
        load_matches(str(tmp_path / "gone.parquet"))


@pytest.mark.data
def test_the_gold_table_comes_in_whole(data_dir: Path) -> None:
    matches = load_matches(str(data_dir / "moba" / "lol_pro_2014_2016_gold.parquet"))
    assert (len(matches), matches.frames) == (4068, 152_581)
    judged = matches.of_years(since=2016)
    assert (len(judged), judged.frames) == (2494, 92_378)
