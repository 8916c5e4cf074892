"""The dead letters of a topic, read back: which there are, why, and what was done about them.

    queue = DeadLetterQueue(settings, MATCH_EVENTS)
    letters = [letter for letter in queue.letters() if letter.error == "CorruptRecord"]
    queue.replay(letters, {letters[0].id: corrected})     # back to match.events, and marked, in one transaction
    queue.skip(letters[1:])

Of a record that several pipelines refused there are several letters; it goes back once, for all of them.

A letter stays where it is until its topic's retention ends. What was done about it lies in a compacted topic of marks,
key `PARTITION/OFFSET` of the letter; the mark and the replayed record are one transaction, and a second replay at the
same time is fenced, so that no record goes back twice.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from streaming.kafka.dead_letters import OURS, STREAMS
from streaming.kafka.settings import KafkaSettings
from streaming.kafka.sink import KafkaSink, commits_group
from streaming.kafka.source import KafkaSource
from streaming.records import Header, Records
from streaming.topics import Topic
from streaming.transport import Output

REPLAYED, SKIPPED = "replayed", "skipped"
_POLL_S, _POLL_RECORDS = 1.0, 1000
_COMMIT_LETTERS = 500


def transactional_id(topic: Topic) -> str:
    """Under which letters of this topic are replayed and marked."""
    return f"sightline.dlq.{topic.name}"


class Unreplayable(ValueError):
    """A dead letter that cannot go back as it is; the message says why, and what can be done."""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One refused record, and why."""

    id: str  # PARTITION/OFFSET on the topic of dead letters
    time_ms: int  # when it was refused
    error: str
    message: str
    topic: str  # where it came from
    partition: int
    offset: int
    pipeline: str
    schema_id: int | None
    key: bytes | None
    value: bytes | None
    cut_from_bytes: int | None  # the value's own length, where it was too large to keep
    done: str | None = None  # REPLAYED, SKIPPED, or nothing yet

    @property
    def is_whole(self) -> bool:
        """Whether the value is as it came."""
        return self.cut_from_bytes is None and self.value is not None


class DeadLetterQueue:
    """What a topic's pipelines could not accept. Letters written by other programs are read as far as they say."""

    def __init__(self, settings: KafkaSettings, topic: Topic) -> None:
        self._settings, self._topic = settings, topic

    def letters(self) -> Iterator[DeadLetter]:
        """All letters that lie there now, by partition and offset, with what was done about them.

        Raises:
            LookupError: there is no such topic.
            TransportUnavailable: the cluster is away.
        """
        done = self._marks()
        for partition, records in self._read(self._topic.dead_letters.name):
            headers = records.headers or [()] * len(records)
            for row in range(len(records)):
                letter = _letter(partition, records, row, dict(headers[row]))
                yield replace(letter, done=done.get(letter.id))

    def replay(self, letters: Sequence[DeadLetter], corrected: Mapping[str, bytes] | None = None) -> int:
        """Send letters back to where they came from, and mark them; those done already are left out, and those whose
        record another pipeline's letter has brought back are marked alone.

        Args:
            letters: of this queue.
            corrected: values to send in place of the letters' own, by id.

        Returns how many letters are marked now that were not before.

        Raises:
            Unreplayable: a letter without a corrected value is not whole, or came from another topic; nothing was sent.
            Fenced: someone else replays or skips letters of this topic.
            CommitRefused, TransportUnavailable: of the rest, nothing was sent.
        """
        corrected = corrected or {}
        for letter in letters:
            if letter.topic != self._topic.name:
                raise Unreplayable(f"dead letter {letter.id} came from {letter.topic or 'nowhere'}: skip it")
            if letter.id not in corrected and not letter.is_whole:
                lost = "has no value" if letter.value is None else f"was cut from {letter.cut_from_bytes} bytes"
                raise Unreplayable(f"dead letter {letter.id} {lost}: give it a value, or skip it")
        return self._finish(letters, REPLAYED, corrected)

    def skip(self, letters: Sequence[DeadLetter]) -> int:
        """Mark letters as not worth a replay; returns how many were not marked before. Raises as `replay`."""
        return self._finish(letters, SKIPPED, {})

    def _finish(self, letters: Sequence[DeadLetter], mark: str, corrected: Mapping[str, bytes]) -> int:
        name = self._topic.dead_letters.name
        id_ = transactional_id(self._topic)
        sink = KafkaSink(self._settings, id_, commits_group(id_), name)
        finished = 0
        try:
            sink.open()  # ends what another one left unfinished, so that the marks below are all there are
            done = self._marks()
            open_ = [letter for letter in letters if letter.id not in done]
            goes = self._going(open_, corrected) if mark == REPLAYED else frozenset()
            for start in range(0, len(open_), _COMMIT_LETTERS):
                part = open_[start : start + _COMMIT_LETTERS]
                sink.commit(
                    answers=_originals(self._topic.name, [x for x in part if x.id in goes], corrected),
                    dead_letters=[],
                    state=[Output(self._topic.dead_letter_marks.name, _marks(part, mark))],
                    offsets={},
                )
                finished += len(part)
            if finished:
                sink.open()  # a commit returns before everyone can see it, an opening waits for that
        finally:
            sink.close()
        return finished

    def _going(self, letters: Sequence[DeadLetter], corrected: Mapping[str, bytes]) -> frozenset[str]:
        """Ids of letters, one a record that has not gone back yet: a corrected one where there is one."""
        gone = {_record(letter) for letter in self.letters() if letter.done == REPLAYED}
        first: dict[_Record, str] = {}
        for letter in sorted(letters, key=lambda letter: letter.id not in corrected):
            if _record(letter) not in gone:
                first.setdefault(_record(letter), letter.id)
        return frozenset(first.values())

    def _marks(self) -> dict[str, str]:
        found: dict[str, str] = {}
        for _, records in self._read(self._topic.dead_letter_marks.name):
            for key, value in zip(records.keys.to_pylist(), records.values.to_pylist(), strict=True):
                if key is not None and value is not None:
                    found[key.decode(errors="replace")] = value.decode(errors="replace")
        return found

    def _read(self, topic: str) -> Iterator[tuple[int, Records]]:
        """All records between the topic's beginning and its end as it is now, partition by partition."""
        source = KafkaSource(self._settings, topic, "")
        try:
            begins, ends = source.beginning_offsets(), source.end_offsets()
        finally:
            source.close()
        for partition, end in ends.items():
            position = begins[partition]
            if position >= end:
                continue
            reader = source.open({partition: position})
            try:
                while position < end:
                    fetched = reader.poll(_POLL_S, _POLL_RECORDS)
                    if fetched is not None:
                        position = fetched.range.end
                        yield partition, fetched.records
            finally:
                reader.close()


_Record = str | tuple[int, int, bytes | None, bytes | None]


def _record(letter: DeadLetter) -> _Record:
    """What a letter is about. One that is not a pipeline's of ours may not say where its record lay: it is about a
    record of its own, since two that are alike may both be wanted."""
    return (letter.partition, letter.offset, letter.key, letter.value) if letter.pipeline else letter.id


def _letter(partition: int, records: Records, row: int, headers: Mapping[str, bytes]) -> DeadLetter:
    def told(name: str) -> str:
        return headers.get(name, b"").decode(errors="replace")

    def number(name: str) -> int | None:
        text = told(name)
        return int(text) if text.isdecimal() and len(text) < 19 else None

    at = number(f"{OURS}time_ms")
    return DeadLetter(
        id=f"{partition}/{records.offsets[row]}",
        time_ms=int(records.timestamps_ms[row]) if at is None else at,
        error=told(f"{STREAMS}exception"),
        message=told(f"{STREAMS}message"),
        topic=told(f"{STREAMS}topic"),
        partition=number(f"{STREAMS}partition") or 0,
        offset=number(f"{STREAMS}offset") or 0,
        pipeline=told(f"{OURS}pipeline"),
        schema_id=number(f"{OURS}schema_id"),
        key=records.keys[row].as_py(),
        value=records.values[row].as_py(),
        cut_from_bytes=number(f"{OURS}value_bytes"),
    )


def _originals(topic: str, letters: Sequence[DeadLetter], corrected: Mapping[str, bytes]) -> list[Output]:
    """The records as they were, each for its own partition, in the order of their letters."""
    outputs = []
    for partition in dict.fromkeys(letter.partition for letter in letters):
        here = [letter for letter in letters if letter.partition == partition]
        headers: list[list[Header]] = [[(f"{OURS}dead_letter", letter.id.encode())] for letter in here]
        records = Records.of(
            [letter.key for letter in here],
            [corrected.get(letter.id, letter.value) for letter in here],
            timestamps_ms=[_now_ms()] * len(here),
            headers=headers,
        )
        outputs.append(Output(topic, records, partition))
    return outputs


def _marks(letters: Sequence[DeadLetter], mark: str) -> Records:
    keys = [letter.id.encode() for letter in letters]
    return Records.of(keys, [mark.encode()] * len(keys), timestamps_ms=[_now_ms()] * len(keys))


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
