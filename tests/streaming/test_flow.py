"""The stateful half of a pipeline without Kafka, Ray or a model: batches in, one commit out."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import polars as pl
import pytest

from streaming.changelog import Lanes
from streaming.codec import Decoder, Encoder, PackagedRegistry, load_schema
from streaming.pipeline import DependencyUnavailable
from streaming.pipelines.win_prediction import Arrays, Prediction, win_prediction, win_prediction_shadow
from streaming.records import OffsetRange, Records
from streaming.runners.batch import Batch
from streaming.runners.flow import Commit, Flow
from streaming.runners.preprocess import preprocess
from streaming.simulators.match import simulate
from streaming.state import StateLimits, StateTable, StateTooLarge
from streaming.testing import every_row, lanes
from streaming.transport import TransportUnavailable

NOW_MS = 1_700_000_000_000


def predict(title: str, request: Arrays) -> Prediction:
    """Gold decides: a lead of 3,000 is one logit. The state counts frames, so that a lost state shows."""
    gold = np.nan_to_num(request["features"][:, 0])
    contributions = np.zeros((len(gold), 7), np.float32)
    contributions[:, 0] = gold / 3_000
    hidden = request["hidden"] + np.bincount(request["match"], minlength=len(request["hidden"]))[:, None]
    return Prediction(contributions[:, 0], contributions, contributions, contributions, hidden, "fake", "1", "0" * 12)


def flow(model: object = predict, **options: object) -> Flow:
    settings = {"clock": lambda: NOW_MS, "reread": reread} | options
    return Flow(win_prediction(model), PackagedRegistry(), **settings)  # type: ignore[arg-type]


def batches(size: int, extra: bytes | None = None) -> list[Batch]:
    """One simulated match on partition 0, `size` records a batch; `extra` is a record at the end."""
    events = simulate("lol", matches=1, seed=5).events
    registry = PackagedRegistry()
    values = Encoder(load_schema("match-events"), registry.id_of("match-events")).encode(events).to_pylist()
    values += [extra] if extra is not None else []
    decoder = Decoder("match-events", registry)
    made = []
    for start in range(0, len(values), size):
        chunk = values[start : start + size]
        offsets = range(start, start + len(chunk))
        records = Records.of([b"m"] * len(chunk), chunk, list(offsets), [NOW_MS - 100] * len(chunk))
        made.append(
            preprocess(
                [(OffsetRange(0, start, start + len(chunk)), records)], decoder, win_prediction(predict).transforms
            )
        )
    return made


def changelog(commits: list[Commit]) -> Lanes:
    """Of one partition."""
    return lanes([Records.joined([out.records for commit in commits for out in commit.state])])


def answers(commits: list[object]) -> pl.DataFrame:
    decoder = Decoder("match-insights", PackagedRegistry())
    frames = [decoder.decode(out.records).frame for commit in commits for out in commit.answers]  # type: ignore[attr-defined]
    return pl.concat(frames)


def test_answers_do_not_depend_on_how_the_stream_was_cut() -> None:
    whole, pieces = flow(), flow()
    at_once = answers([whole.process(batches(10_000))])
    in_pieces = answers([pieces.process([batch]) for batch in batches(7)])
    assert at_once.equals(in_pieces)
    for name, table in whole.tables.items():
        assert every_row(table).equals(every_row(pieces.tables[name])), name


def test_a_restart_from_the_changelog_goes_on_as_if_nothing_had_happened() -> None:
    made = batches(20)
    uninterrupted = flow()
    expected = answers([uninterrupted.process([batch]) for batch in made])

    first, second = flow(), flow()
    before = [first.process([batch]) for batch in made[:4]]
    second.restore(changelog(before))
    after = [second.process([batch]) for batch in made[4:]]
    assert answers([*before, *after]).equals(expected)


def test_a_model_that_is_away_is_waited_for_and_the_rows_are_counted_once() -> None:
    calls, reasons = [], []

    def flaky(title: str, request: Arrays) -> Prediction:
        calls.append(title)
        if len(calls) < 3:
            raise DependencyUnavailable("the model is away")
        return predict(title, request)

    patient = flow(flaky, on_wait=reasons.append)
    assert answers([patient.process(batches(10_000))]).equals(answers([flow().process(batches(10_000))]))
    assert reasons == ["the model is away", "the model is away", ""]


def test_a_record_that_cannot_be_decoded_is_a_dead_letter_and_the_rest_is_answered() -> None:
    made = batches(10_000, extra=b"\x00\x00\x00\x00\x01nonsense")
    commit = flow().process(made)
    (letter,) = commit.dead_letters
    assert letter.topic == "match.events.dead-letters"
    assert letter.records.values.to_pylist() == [b"\x00\x00\x00\x00\x01nonsense"]
    ((record, reason),) = commit.rejected
    assert record == f"match.events/0/{made[0].ranges[0].end - 1}"
    assert reason.startswith("CorruptRecord: ")
    assert commit.answered > 10
    assert commit.offsets == {0: made[0].ranges[0].end}


def test_a_shadow_says_what_the_live_one_would_and_writes_no_dead_letter() -> None:
    made = batches(10_000, extra=b"\x00\x00\x00\x00\x01nonsense")
    live = flow(lost_at(4)).process(made)
    pipeline = win_prediction_shadow(lost_at(4))  # type: ignore[arg-type]
    shadow = Flow(pipeline, PackagedRegistry(), clock=lambda: NOW_MS, reread=reread).process(made)
    assert [out.topic for out in shadow.answers] == ["match.insights.shadow"]
    assert answers([shadow]).equals(answers([live]))
    assert {out.topic for out in shadow.state} == {"sightline.state.win-prediction-shadow"}
    assert shadow.rejected == live.rejected and len(shadow.rejected) == 2
    assert (len(live.dead_letters), shadow.dead_letters) == (2, [])
    assert shadow.offsets == live.offsets


def lost_at(*clocks_s: float) -> object:
    """A model that has no answer for the frames at these clocks."""

    def lost(title: str, request: Arrays) -> Prediction:
        fine = predict(title, request)
        logit = np.where(np.isin(np.floor(request["clock_s"] / 30), clocks_s), np.nan, fine.logit).astype(np.float32)
        return dataclasses.replace(fine, logit=logit)

    return lost


def reread(partition: int, offsets: Sequence[int]) -> Records:
    return Records.of([b"m"] * len(offsets), [b"bytes at %d" % offset for offset in offsets], list(offsets))


def test_frames_the_model_cannot_answer_are_dead_letters_with_their_records_read_in_one_go() -> None:
    asked = []

    def noting(partition: int, offsets: Sequence[int]) -> Records:
        asked.append((partition, len(offsets)))
        return reread(partition, offsets)

    commit = flow(lost_at(3, 7, 11), reread=noting).process(batches(10_000))
    (letter,) = commit.dead_letters
    assert asked == [(0, 3)]
    assert letter.records.values.to_pylist() == [
        b"bytes at %d" % int(record.rpartition("/")[2]) for record, _ in commit.rejected
    ]
    assert {reason for _, reason in commit.rejected} == {"Unscorable: the model gave no finite answer"}
    assert commit.answered == flow().process(batches(10_000)).answered - 3


def test_a_log_that_is_away_is_waited_for_when_a_refused_record_is_read_again() -> None:
    reasons: list[str] = []

    def away_at_first(partition: int, offsets: Sequence[int]) -> Records:
        if len(reasons) < 2:
            raise TransportUnavailable("the log is away")
        return reread(partition, offsets)

    commit = flow(lost_at(3), reread=away_at_first, on_wait=reasons.append).process(batches(10_000))
    assert len(commit.rejected) == 1
    assert reasons == ["the log is away", "the log is away", ""]


def test_a_run_that_stops_does_not_wait_for_the_log() -> None:
    def away(partition: int, offsets: Sequence[int]) -> Records:
        raise TransportUnavailable("the log is away")

    with pytest.raises(DependencyUnavailable, match="the log is away"):
        flow(lost_at(3), reread=away, keep_waiting=lambda: False).process(batches(10_000))


class RefuseTwice:
    """Makes two rows of each, and refuses both with a reason of their own."""

    name = "twice"

    def new_state(self) -> StateTable:
        return StateTable(self.name, {})

    def __call__(self, rows: pl.DataFrame, state: StateTable) -> pl.DataFrame:
        parts = [rows.with_columns(_reject=pl.lit(f"Refused: {number}")) for number in ("first", "second")]
        return pl.concat(parts)


def test_two_rows_of_one_record_make_one_dead_letter() -> None:
    pipeline = dataclasses.replace(win_prediction(predict), stages=(RefuseTwice(),))  # type: ignore[arg-type]
    made = batches(10)[:1]
    commit = Flow(pipeline, PackagedRegistry(), clock=lambda: NOW_MS, reread=reread).process(made)
    assert [reason for _, reason in commit.rejected] == ["Refused: first"] * made[0].rows.height
    assert sum(len(letter.records) for letter in commit.dead_letters) == made[0].rows.height


def test_late_and_repeated_events_and_broken_answers_are_counted_once() -> None:
    def broken(title: str, request: Arrays) -> Prediction:
        fine = predict(title, request)
        return dataclasses.replace(fine, logit=fine.logit + 1)

    made, running = batches(20), flow(broken)
    first = running.process(made)
    assert first.counts["contributions-broken"] == first.answered
    assert (first.counts.get("late", 0), first.counts.get("repeated", 0)) == (0, 0)
    again = running.process(made[-1:])  # the log's last 20 records once more
    assert again.counts.get("late", 0) + again.counts.get("repeated", 0) == made[-1].rows.height
    resumed = flow(broken)
    resumed.restore(changelog([first, again]))
    assert resumed.process(made[-1:]).counts.get("repeated", 0) <= made[-1].rows.height  # not those before the restart


def test_a_stage_that_keeps_too_much_stops_the_run_before_anything_is_handed_out() -> None:
    small = flow(limits=StateLimits(max_keys=2))
    with pytest.raises(
        StateTooLarge, match=r"stage fold keeps \d+ keys, and 2 are allowed: raise pipeline.state_max_k"
    ):
        small.process(batches(10_000))
    light = flow(limits=StateLimits(max_bytes=100))
    with pytest.raises(StateTooLarge, match=r"stage fold keeps [\d,]+ bytes, and 100 are allowed"):
        light.process(batches(10_000))


def test_a_changelog_of_more_than_may_be_kept_is_refused() -> None:
    written = [flow().process(batches(10_000))]
    with pytest.raises(StateTooLarge, match="stage fold keeps"):
        flow(limits=StateLimits(max_keys=2)).restore(changelog(written))


@pytest.mark.parametrize("name", ["", "a/b", "a@b"])
def test_a_stage_name_that_a_changelog_key_cannot_hold_is_refused(name: str) -> None:
    stage = RefuseTwice()
    stage.name = name
    with pytest.raises(ValueError, match="needs a name without / and @"):
        dataclasses.replace(win_prediction(predict), stages=(stage,))  # type: ignore[arg-type]
