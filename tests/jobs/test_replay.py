"""What `sightline replay` makes of its options: where the past is cut, up to when it is whole, and by which pipeline it
is answered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.camera_book import MODE, to_toml
from jobs.errors import SettingsError
from jobs.files import write_text
from jobs.pipelines import PERSON_SIGHTINGS, STORE_ALERTS, STORE_METRICS, holding
from jobs.replay import _cuts, _pipeline, _until_ms
from jobs.settings import Settings, load_settings
from streaming.cameras.definition import Camera
from streaming.pipelines.person_sightings import CROP_PX, PersonEmbedding
from streaming.topics import DAY_MS

NOW_MS = 1_790_000_000_000
EXAMPLE = Path(__file__).parents[2] / "deploy" / "store.example.toml"


class TimedLog:
    """A source as far as a plan asks it: the times of each partition's records, the earliest first."""

    topic = "timed"

    def __init__(self, *partitions: Sequence[int]) -> None:
        self._times = [np.sort(np.asarray(times, np.int64)) for times in partitions]
        self.asked = 0

    def beginning_offsets(self) -> Mapping[int, int]:
        return dict.fromkeys(range(len(self._times)), 0)

    def end_offsets(self) -> Mapping[int, int]:
        return {p: len(times) for p, times in enumerate(self._times)}

    def offsets_at(self, time_ms: int) -> Mapping[int, int]:
        self.asked += 1
        return {p: int(np.searchsorted(times, time_ms)) for p, times in enumerate(self._times)}

    def earliest_ms(self, since_ms: int = 0) -> int | None:
        later = [int(times[times >= since_ms][0]) for times in self._times if (times >= since_ms).any()]
        return min(later, default=None)


def cut(log: Any, first: Any = None, last: Any = None, most: int = 1_000_000) -> list[Mapping[int, int]]:
    return _cuts(log, first, last, most)


def test_the_past_is_cut_each_minute_and_a_silence_however_long_is_passed_over() -> None:
    log = TimedLog([0, 30_000, 59_999, 60_000], [10, 90 * DAY_MS])
    assert cut(log) == [{0: 0, 1: 0}, {0: 3, 1: 1}, {0: 4, 1: 1}, {0: 4, 1: 2}, {0: 4, 1: 2}]


def test_where_there_is_more_in_a_minute_than_is_held_it_is_cut_shorter_and_longer_again() -> None:
    busy = range(0, 60_000, 100)
    log = TimedLog(busy, [*busy, *range(60_000, 3_600_000, 10_000)])
    cuts = cut(log, most=300)
    held = [sum(end.values()) - sum(start.values()) for start, end in pairwise(cuts)]
    assert max(held) <= 300 and sum(held) == 1_554
    assert all(abs(each[0] - each[1]) <= 1 for each in cuts[:4]), "at the same time in both partitions"
    assert len(cuts) < 70 and log.asked < 80


@given(
    st.lists(st.lists(st.integers(0, 500_000), max_size=40), min_size=1, max_size=3),
    st.integers(1, 30),
    st.integers(0, 500_000),
    st.integers(0, 500_000),
)
def test_cuts_rise_from_the_first_bound_to_the_last_and_part_no_second_from_itself(
    partitions: list[list[int]], most: int, first: int, last: int
) -> None:
    log = TimedLog(*partitions)
    cuts = cut(log, first, last, most)
    assert cuts[0] == log.offsets_at(first)
    assert cuts[-1] == {p: max(cuts[0][p], end) for p, end in log.offsets_at(last).items()}
    for start, end in pairwise(cuts):
        assert all(start[p] <= end[p] for p in start)
        times = [time for p, mine in enumerate(partitions) for time in sorted(mine)[start[p] : end[p]]]
        assert len(times) <= most or max(times) - min(times) < 1_000


def test_what_a_range_holds_is_known_up_to_its_time_or_to_now_and_not_beyond_offsets() -> None:
    assert _until_ms(None, NOW_MS) == NOW_MS
    assert _until_ms(NOW_MS - 5, NOW_MS) == NOW_MS - 5
    assert _until_ms(NOW_MS + DAY_MS, NOW_MS) == NOW_MS, "nobody knows of tomorrow"
    assert _until_ms({0: 7}, NOW_MS) is None


def settings(tmp_path: Path, **store: Any) -> Settings:
    named = {f"store.{name}": (value, "--set") for name, value in store.items()}
    return load_settings({"home": (tmp_path / "home", "--set"), **named}).settings


@pytest.mark.parametrize("name", [STORE_METRICS, STORE_ALERTS])
def test_counts_and_alerts_are_by_the_plan_that_is_set_and_without_one_that_is_said(name: str, tmp_path: Path) -> None:
    with _pipeline(name, settings(tmp_path, plan=EXAMPLE)) as pipeline:
        assert pipeline.name == name
    with pytest.raises(SettingsError, match=r"store\.plan is not set"), _pipeline(name, settings(tmp_path)):
        pass


def test_sightings_are_replayed_by_one_model_seal_nothing_and_are_kept_no_longer_than_their_cameras_may(
    tmp_path: Path,
) -> None:
    door = Camera.model_validate({"id": "door", "source": "x.mp4", "purpose": "test", "retention_days": 2})
    write_text(tmp_path / "cameras.toml", to_toml([door]), MODE)
    given = settings(tmp_path, cameras=tmp_path / "cameras.toml", embedding="reid-small@1")
    with _pipeline(PERSON_SIGHTINGS, given) as pipeline:
        assert pipeline.sink.retention_ms == 2 * DAY_MS
        assert holding(pipeline, given).batch == given.store.max_batch_frames
        embed = next(stage for stage in pipeline.stages if isinstance(stage, PersonEmbedding))
        found = embed._embed(np.zeros((1, *CROP_PX, 3), np.uint8))  # type: ignore[call-arg]  # noqa: SLF001
        assert (found.model_name, found.model_version) == ("reid-small", "1")
    assert not given.keys_folder.exists()
