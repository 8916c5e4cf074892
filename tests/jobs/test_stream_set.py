"""Training sets from the stream: what is in them depends on the events up to each frame, and on nothing else."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jobs.datasets import padded
from jobs.stream_set.content import content_digest
from jobs.stream_set.partition import SchemaChanged, Tally, fold_partition, read_tally
from streaming.codec import Decoder, Encoder, PackagedRegistry, Schema, load_schema
from streaming.features.catalogue import FEATURES
from streaming.features.labels import LabelRule
from streaming.features.match_fold import fold_events
from streaming.pipelines.win_prediction import TRANSFORMS
from streaming.records import OffsetRange, Records
from streaming.simulators.match import simulate
from streaming.testing import MemoryLog, MemorySource
from streaming.transport import OffsetsExpired
from tests.counting import encoded
from tests.stream_sets import ANY, TOPIC, log_of, set_of

MATCHES = 12  # of 16 teams, so that the last ones are between teams with a form
SEEN = ["match_id", "attempt", "frame", "clock_s", "event_time_ms", "team_a", "team_b", "heroes_a", "flags", *FEATURES]


def bytes_of(frames: pl.DataFrame) -> str:
    return content_digest(frames.select(SEEN).sort("match_id", "attempt", "frame"))


@pytest.fixture(scope="module")
def events() -> pl.DataFrame:
    """Two seasons at the same time; the stream's order is that of event time."""
    parts = [simulate(title, MATCHES, seed=5).events for title in ("lol", "dota2")]
    return pl.concat(parts).sort("event_time_ms", maintain_order=True)


@pytest.fixture(scope="module")
def whole(events: pl.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> pl.DataFrame:
    return set_of(log_of(events), tmp_path_factory.mktemp("whole"))


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def test_the_set_has_what_the_pipelines_fold_says(events: pl.DataFrame, whole: pl.DataFrame) -> None:
    """Of all partitions read side by side as one, form across partitions included, bit for bit."""
    folded = fold_events(events).filter(pl.col("status") == "live")
    assert bytes_of(whole) == bytes_of(folded)
    assert (whole["form"].fill_nan(0.0) != 0.0).any()
    winners = events.filter(pl.col("kind") == "end").select("match_id", "side")
    assert set(whole.select("match_id", "winner").unique().iter_rows()) == set(winners.iter_rows())


def test_training_gets_the_same_tensors_as_from_the_importers(events: pl.DataFrame, whole: pl.DataFrame) -> None:
    from jobs.datasets import frames_to_matches

    theirs = frames_to_matches(fold_events(events.filter(title="lol")), "lol", "importer")
    ours = padded(whole.filter(title="lol").with_columns(won=pl.col("winner") == "A"), "lol", "stream")
    assert ours.match_ids == theirs.match_ids and ours.heroes == theirs.heroes and ours.teams == theirs.teams
    for name in ("features", "clock_s", "mask", "won", "year"):
        mine, other = getattr(ours, name), getattr(theirs, name)
        assert torch.equal(mine.nan_to_num(-1.0), other.nan_to_num(-1.0)) and mine.dtype == other.dtype
    assert ours.fingerprint == theirs.fingerprint


@settings(max_examples=4, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(chunk=st.integers(100, 5_000), flush=st.integers(1, 2_000), partitions=st.sampled_from([1, 3, 4]))
def test_how_it_is_cut_does_not_matter(
    events: pl.DataFrame, whole: pl.DataFrame, chunk: int, flush: int, partitions: int
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        made = set_of(log_of(events, partitions), Path(folder), chunk_records=chunk, flush_rows=flush)
    assert bytes_of(made) == bytes_of(whole)
    if partitions == 3:
        assert content_digest(made) == content_digest(whole)


def test_the_same_offsets_are_the_same_content(events: pl.DataFrame, whole: pl.DataFrame, folder: Path) -> None:
    again = set_of(log_of(events), folder, chunk_records=10_000, flush_rows=1_000_000)
    assert content_digest(again) == content_digest(whole)


def test_a_frame_knows_nothing_of_what_comes_after_it(events: pl.DataFrame, whole: pl.DataFrame) -> None:
    """Cut the stream after any frame, or go on with rubbish: what was before stays the same, byte for byte."""
    rng = np.random.default_rng(0)
    ends = events.filter(pl.col("kind") == "end")
    for cut_ms in rng.choice(whole["event_time_ms"].to_physical().to_numpy(), 4, replace=False).tolist():
        moment = pl.lit(cut_ms).cast(pl.Datetime("ms", "UTC"))
        before, after = (
            events.filter(which) for which in (pl.col("event_time_ms") <= moment, pl.col("event_time_ms") > moment)
        )
        poisoned = after.filter(pl.col("kind") != "end").with_columns(
            gold=pl.lit(rng.normal(0, 1e5)).clip(-1e6, 1e6),
            count=pl.lit(float(rng.integers(1, 50))),
            side=pl.when(pl.col("kind") == "score").then(pl.lit("B")),
            heroes_a=pl.lit(["nobody"]),
        )
        closing = ends.filter(pl.col("event_time_ms") > moment)
        futures = {
            "cut": closing,
            "poisoned": pl.concat([poisoned, closing]).sort("event_time_ms", maintain_order=True),
        }
        seen = whole.filter(pl.col("event_time_ms") <= moment)
        for future in futures.values():
            with tempfile.TemporaryDirectory() as folder:
                made = set_of(log_of(pl.concat([before, future])), Path(folder))
            assert bytes_of(made.filter(pl.col("event_time_ms") <= moment)) == bytes_of(seen)


def test_only_results_up_to_the_delay_are_labels(events: pl.DataFrame, folder: Path) -> None:
    ends = events.filter(pl.col("kind") == "end").sort("event_time_ms")
    fourth_ms = int(ends["event_time_ms"].to_physical()[3])
    until_ms = fourth_ms - 60_000  # the fourth match of the two titles is in its last minute
    for delay_ms, known in ((59_000, 3), (60_001, 4)):
        rule = LabelRule(None, until_ms, until_ms + delay_ms)
        made = set_of(log_of(events), folder / str(delay_ms), rule)
        assert made["match_id"].n_unique() == known
        assert int(made["event_time_ms"].to_physical().max() or 0) < until_ms


def test_a_match_belongs_to_one_window_at_most(events: pl.DataFrame, folder: Path) -> None:
    middle_ms = int(events["event_time_ms"].to_physical().to_numpy()[len(events) // 2])
    first = set_of(log_of(events), folder / "first", LabelRule(None, middle_ms, middle_ms + 7_200_000))
    second = set_of(log_of(events), folder / "second", LabelRule(middle_ms, None, None))
    assert not set(first["match_id"]) & set(second["match_id"])
    assert set(first["match_id"]) | set(second["match_id"]) == set(events["match_id"])


def test_a_match_joined_under_way_is_left_out(events: pl.DataFrame, folder: Path) -> None:
    late = events.filter(title="lol").slice(40)
    made = set_of(log_of(late, 1), folder)
    assert made["match_id"].n_unique() == MATCHES - 1
    tally = read_tally(folder / "0")
    assert tally is not None and tally.left_out == {"not seen from the beginning": 1}


def folding(
    log: MemoryLog, folder: Path, schemas: Mapping[int, Schema] | None = None, chunk_records: int = 500
) -> Iterator[Tally]:
    source = MemorySource(log, TOPIC.name, "")
    wanted = OffsetRange(0, 0, source.end_offsets()[0])
    assert TOPIC.schema is not None
    decoder = Decoder(TOPIC.schema, schemas or PackagedRegistry())
    return fold_partition(wanted, source, decoder, TRANSFORMS, ANY, folder, chunk_records=chunk_records)


def fold_all(log: MemoryLog, folder: Path, schemas: Mapping[int, Schema] | None = None) -> None:
    list(folding(log, folder, schemas))


def changed_in_the_middle(events: pl.DataFrame, change: dict[str, object]) -> tuple[MemoryLog, dict[int, Schema]]:
    """A log whose second half is written by a schema with this field, and both schemas."""
    assert TOPIC.schema is not None
    schema = load_schema(TOPIC.schema)
    assert isinstance(schema, dict)
    kept = [field for field in schema["fields"] if field["name"] != change["name"]]
    later = {**schema, "fields": [*kept, change]}
    half = len(events) // 2
    log = log_of(events.head(half), 1)
    column = pl.lit("?").alias(str(change["name"]))
    log.append(TOPIC.name, encoded(events.tail(-half).with_columns(column), Encoder(later, 7)), partition=0)
    return log, {1: schema, 7: later}


def test_a_schema_that_grew_in_the_middle_of_the_range_changes_nothing(events: pl.DataFrame, folder: Path) -> None:
    log, schemas = changed_in_the_middle(events, {"name": "weather", "type": "string"})
    fold_all(log_of(events, 1), folder / "0"), fold_all(log, folder / "1", schemas)
    tally = read_tally(folder / "1")
    assert tally is not None and tally.schema_ids == {"1": len(events) // 2, "7": len(events) - len(events) // 2}
    before, after = (pl.read_ipc(folder / name / "0*.arrow").drop("schema_id") for name in ("0", "1"))
    assert after.equals(before) and after.height == tally.rows > 0


def test_a_schema_that_no_longer_fits_stops_it_in_the_middle_of_the_range(events: pl.DataFrame, folder: Path) -> None:
    log, schemas = changed_in_the_middle(events, {"name": "clock_s", "type": "string"})
    said = (
        rf"match\.events/0, offset {len(events) // 2}: IncompatibleSchema: schema 7: .*clock_s.*choose a range without"
    )
    with pytest.raises(SchemaChanged, match=said):
        fold_all(log, folder / "0", schemas)
    assert read_tally(folder / "0") is None


def test_offsets_that_expire_while_they_are_read_stop_it(events: pl.DataFrame, folder: Path) -> None:
    log = log_of(events.head(50), 1)
    steps = folding(log, folder / "0", chunk_records=10)
    assert next(steps).records == 10
    log.expire(TOPIC.name, 0, 40)
    with pytest.raises(OffsetsExpired, match=r"match\.events/0: offset \d0 is gone, the log now starts at 40"):
        list(steps)
    assert read_tally(folder / "0") is None


def test_a_schema_that_cannot_be_read_stops_it_with_the_offset(events: pl.DataFrame, folder: Path) -> None:
    log = log_of(events.head(50), 1)
    value = bytearray(encoded(events.head(1)).values[0].as_py())
    value[1:5] = (999_999).to_bytes(4, "big")
    log.append(TOPIC.name, Records.of([b"m"], [bytes(value)]), partition=0)
    with pytest.raises(SchemaChanged, match=r"match\.events/0, offset 50: UnknownSchema.*999999"):
        fold_all(log, folder / "0")
    assert read_tally(folder / "0") is None


def test_a_corrupt_record_is_counted_and_left_out(events: pl.DataFrame, folder: Path) -> None:
    log = log_of(events.filter(title="lol"), 1)
    log.append(TOPIC.name, Records.of([b"m"], [b"no frame"]), partition=0)
    fold_all(log, folder / "0")
    tally = read_tally(folder / "0")
    assert tally is not None and tally.rejected == {"BadFraming": 1}
    assert tally.records == len(events.filter(title="lol")) + 1
