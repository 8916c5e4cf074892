"""The stateful half of a pipeline without Kafka, Ray or a model: batches in, one commit out."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from streaming.codec import Decoder, Encoder, PackagedRegistry, load_schema
from streaming.pipeline import DependencyUnavailable
from streaming.pipelines.win_prediction import Arrays, Prediction, win_prediction
from streaming.records import OffsetRange, Records
from streaming.runners.batch import Batch
from streaming.runners.epoch import preprocess
from streaming.runners.flow import Flow, StateLayoutChanged
from streaming.simulators.match import simulate

NOW_MS = 1_700_000_000_000


def predict(title: str, request: Arrays) -> Prediction:
    """Gold decides: a lead of 3,000 is one logit. The state counts frames, so that a lost state shows."""
    gold = np.nan_to_num(request["features"][:, 0])
    contributions = np.zeros((len(gold), 7), np.float32)
    contributions[:, 0] = gold / 3_000
    hidden = request["hidden"] + np.bincount(request["match"], minlength=len(request["hidden"]))[:, None]
    return Prediction(contributions[:, 0], contributions, contributions, contributions, hidden, "fake", "1", "0" * 12)


def flow(model: object = predict, **options: object) -> Flow:
    settings = {"clock": lambda: NOW_MS, "reread": lambda partition, offset: Records.of([], [])} | options
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
        assert table.snapshot().equals(pieces.tables[name].snapshot()), name


def test_a_restart_from_the_changelog_goes_on_as_if_nothing_had_happened() -> None:
    made = batches(20)
    uninterrupted = flow()
    expected = answers([uninterrupted.process([batch]) for batch in made])

    first, second = flow(), flow()
    before = [first.process([batch]) for batch in made[:4]]
    second.restore([out.records for commit in before for out in commit.state])
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


def test_a_frame_the_model_cannot_answer_is_a_dead_letter_with_its_record() -> None:
    def lost(title: str, request: Arrays) -> Prediction:
        fine = predict(title, request)
        return Prediction(
            np.where(np.arange(len(fine.logit)) == 3, np.nan, fine.logit).astype(np.float32),
            fine.scores, fine.weights, fine.contributions, fine.hidden, "fake", "1", "0" * 12,
        )  # fmt: skip

    def reread(partition: int, offset: int) -> Records:
        return Records.of([b"m"], [b"bytes at %d" % offset], [offset])

    commit = flow(lost, reread=reread).process(batches(10_000))
    (letter,) = commit.dead_letters
    ((record, reason),) = commit.rejected
    assert letter.records.values.to_pylist() == [b"bytes at %d" % int(record.rpartition("/")[2])]
    assert reason == "Unscorable: the model gave no finite answer"
    assert commit.answered == flow().process(batches(10_000)).answered - 1


def test_state_of_another_layout_is_refused_with_the_remedy() -> None:
    key, value = b"model/m", b"\x00\x40\x00\x00\x01rest"
    with pytest.raises(StateLayoutChanged, match=r"state\.win-prediction: 1 rows of stage model .* offset 7"):
        flow().restore([Records.of([key], [value], [7])])
