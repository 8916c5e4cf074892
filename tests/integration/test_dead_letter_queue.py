"""Dead letters on a real broker: listed, shown, corrected, replayed once, skipped, exported."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from jobs import cli
from streaming.codec import PackagedRegistry, frame_prefix, load_schema, read_fields, write_fields
from streaming.kafka.admin import ensure_topics
from streaming.kafka.dead_letter_queue import REPLAYED, SKIPPED, DeadLetterQueue, Unreplayable
from streaming.kafka.dead_letters import STREAMS, dead_letter_output
from streaming.kafka.settings import KafkaSettings
from streaming.kafka.sink import KafkaSink
from streaming.kafka.source import KafkaSource
from streaming.records import Header, Records
from streaming.topics import Topic
from streaming.transport import Fenced, Output

pytestmark = pytest.mark.kafka

FIELDS = {
    "match_id": "m", "sequence": 3, "event_time_ms": 123, "title": "lol", "kind": "snapshot", "clock_s": 60.0,
}  # fmt: skip
PREFIX = frame_prefix(PackagedRegistry().id_of("match-events"))
GOOD = PREFIX + write_fields(load_schema("match-events"), FIELDS)
CUT = GOOD[:-20]


class Place:
    """A topic with three dead letters: a cut record, one without a frame, one that was too large to keep."""

    def __init__(self, kafka: str, prefix: str) -> None:
        self.settings = KafkaSettings(bootstrap_servers=kafka, max_record_bytes=65_536)
        self.topic = Topic(f"{prefix}.events", key="match_id", schema="match-events", partitions=2)
        ensure_topics(self.settings, [self.topic, self.topic.dead_letters, self.topic.dead_letter_marks])
        self.now_ms = time.time_ns() // 1_000_000
        self.queue = DeadLetterQueue(self.settings, self.topic)
        self.refuse("p")

    def refuse(self, pipeline: str) -> None:
        """The letters as a pipeline writes them."""
        letters = dead_letter_output(
            self.topic,
            1,
            Records.of([b"m", None, b"large"], [CUT, b"what", b"x" * 90_000], [7, 8, 9], [5, 6, 7]),
            ["CorruptRecord", "BadFraming", "CorruptRecord"],
            ["ends in the middle of a field", "no magic byte", "too large"],
            [10, None, None],
            pipeline,
            self.now_ms,
        )
        name = f"{self.topic.name}.{pipeline}"
        sink = KafkaSink(self.settings, name, name, self.topic.name)
        sink.open()
        sink.commit(answers=[], dead_letters=[letters], state=[], offsets={})
        sink.open()  # waits until the commit can be seen
        sink.close()

    def events(self) -> list[tuple[int, bytes | None, bytes | None]]:
        """(partition, key, value) of all that was replayed."""
        source = KafkaSource(self.settings, self.topic.name, "")
        ends, found = source.end_offsets(), []
        source.close()
        for partition, end in ends.items():
            position, reader = 0, source.open({partition: 0})
            while position < end:
                if (fetched := reader.poll(5.0, 100)) is not None:
                    position = fetched.range.end
                    records = fetched.records
                    pairs = zip(records.keys.to_pylist(), records.values.to_pylist(), strict=True)
                    found += [(partition, key, value) for key, value in pairs]
            reader.close()
        return found


@pytest.fixture
def place(kafka: str, topic_prefix: str) -> Place:
    return Place(kafka, topic_prefix)


def test_letters_say_where_they_came_from_and_why(place: Place) -> None:
    cut, unframed, large = place.queue.letters()
    assert (cut.error, cut.message, cut.topic) == (
        "CorruptRecord", "ends in the middle of a field", place.topic.name,
    )  # fmt: skip
    assert (cut.partition, cut.offset, cut.schema_id, cut.pipeline, cut.time_ms) == (1, 7, 10, "p", place.now_ms)
    assert (cut.key, cut.value, cut.is_whole, cut.done) == (b"m", CUT, True, None)
    assert (unframed.key, unframed.schema_id) == (None, None)
    assert (large.cut_from_bytes, large.is_whole) == (90_000, False)
    assert [cut.id, unframed.id, large.id] == ["0/0", "0/1", "0/2"]


def test_a_replay_goes_back_once_to_its_own_partition(place: Place) -> None:
    cut, unframed, _ = place.queue.letters()
    assert place.queue.replay([cut, unframed], {cut.id: GOOD}) == 2
    assert place.queue.replay([cut, unframed], {cut.id: GOOD}) == 0  # already done, whatever the letters say
    assert place.events() == [(1, b"m", GOOD), (1, None, b"what")]
    assert [letter.done for letter in place.queue.letters()] == [REPLAYED, REPLAYED, None]


def test_a_record_that_two_pipelines_refused_goes_back_once(place: Place) -> None:
    place.refuse("q")
    cut, unframed, _, same_cut, same_unframed, _ = place.queue.letters()
    assert place.queue.replay([cut, same_cut], {same_cut.id: GOOD}) == 2
    assert place.events() == [(1, b"m", GOOD)]
    assert place.queue.replay([unframed]) == place.queue.replay([same_unframed]) == 1  # the second time it is marked
    assert place.events() == [(1, b"m", GOOD), (1, None, b"what")]
    assert [letter.done for letter in place.queue.letters()] == [REPLAYED, REPLAYED, None] * 2


def test_of_other_programs_letters_that_are_alike_each_goes_back(place: Place) -> None:
    headers: list[list[Header]] = [[(f"{STREAMS}topic", place.topic.name.encode())]] * 2
    letters = Output(place.topic.dead_letters.name, Records.of([b"k"] * 2, [b"v"] * 2, headers=headers))
    sink = KafkaSink(place.settings, f"{place.topic.name}.other", f"{place.topic.name}.other", place.topic.name)
    sink.open()
    sink.commit(answers=[], dead_letters=[letters], state=[], offsets={})
    sink.open()  # waits until the commit can be seen
    sink.close()
    strange = [letter for letter in place.queue.letters() if not letter.pipeline]
    assert place.queue.replay(strange) == 2
    assert place.events() == [(0, b"k", b"v")] * 2


def test_what_is_not_whole_needs_a_value_and_nothing_is_sent_before(place: Place) -> None:
    letters = list(place.queue.letters())
    with pytest.raises(Unreplayable, match="was cut from 90000 bytes: give it a value, or skip it"):
        place.queue.replay(letters)
    stranger = replace(letters[0], topic="elsewhere")
    with pytest.raises(Unreplayable, match="came from elsewhere: skip it"):
        place.queue.replay([stranger])
    assert place.events() == []
    assert place.queue.skip(letters[2:]) == 1 and place.queue.skip(letters[2:]) == 0
    assert [letter.done for letter in place.queue.letters()] == [None, None, SKIPPED]


def test_two_replays_at_once_send_each_letter_once(place: Place) -> None:
    letters = list(place.queue.letters())[:2]
    start, sent, problems = threading.Barrier(2), [], []

    def replay() -> None:
        start.wait()
        try:
            sent.append(DeadLetterQueue(place.settings, place.topic).replay(letters))
        except Fenced as fenced:
            problems.append(fenced)

    threads = [threading.Thread(target=replay) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    place.queue.replay(letters)  # whatever the fenced one left undone
    assert sorted(place.events(), key=str) == [(1, None, b"what"), (1, b"m", CUT)]
    assert len(sent) + len(problems) == 2


@pytest.fixture
def sightline(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Iterator[Callable[..., tuple[int, str, str]]]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("streaming.topics.TOPICS", (place.topic, place.topic.dead_letters))
    where = "--topic", place.topic.name, "--set", f"kafka.bootstrap_servers={place.settings.bootstrap_servers}"

    def run(*arguments: str) -> tuple[int, str, str]:
        code = cli.main(["dlq", arguments[0], *where, *arguments[1:]])
        told = capsys.readouterr()
        return code, told.out, told.err

    yield run


def asked(run: Callable[..., tuple[int, str, str]], *arguments: str) -> Any:
    code, out, err = run(*arguments, "--json")
    assert code == 0, err
    return json.loads(out)


def test_a_letter_is_found_shown_corrected_and_replayed_by_commands(
    place: Place, sightline: Callable[..., tuple[int, str, str]]
) -> None:
    listed = asked(sightline, "ls")
    assert listed["counts"] == {"CorruptRecord": 2, "BadFraming": 1}
    first = listed["letters"][0]["id"]
    shown = asked(sightline, "show", first)
    assert shown["fields"]["match_id"] == "m" and shown["fields"]["clock_s"] == 60.0
    assert shown["fault"].endswith("ends in the middle of a field") and 5 < shown["fault_at_byte"] <= len(CUT)
    assert "m" in sightline("show", first)[1]
    Path("fields.json").write_text(json.dumps({**shown["fields"], "clock_s": 90.0}))
    assert asked(sightline, "replay", first, "--fields", "fields.json", "--dry-run")["replayed"] == 0
    assert asked(sightline, "replay", first, "--fields", "fields.json")["replayed"] == 1
    ((_, key, value),) = place.events()
    assert key == b"m" and value is not None
    assert read_fields(load_schema("match-events"), value[len(PREFIX) :]).fields["clock_s"] == 90.0
    code, _, err = sightline("replay", first)
    assert code == 2 and f"dead letter {first} was replayed already" in err


def test_letters_are_skipped_by_error_and_exported(sightline: Callable[..., tuple[int, str, str]]) -> None:
    assert asked(sightline, "skip", "--error", "BadFraming")["skipped"] == 1
    assert asked(sightline, "ls")["counts"] == {"CorruptRecord": 2}
    assert asked(sightline, "ls", "--done")["counts"] == {"CorruptRecord": 2, "BadFraming": 1}
    assert sightline("export", "letters.jsonl", "--done")[0] == 0
    lines = [json.loads(line) for line in Path("letters.jsonl").read_text().splitlines()]
    assert [base64.b64decode(line["value"]) for line in lines][:2] == [CUT, b"what"]
    assert [line["done"] for line in lines] == [None, SKIPPED, None]


def test_what_makes_no_sense_is_one_line_and_sends_nothing(
    place: Place, sightline: Callable[..., tuple[int, str, str]]
) -> None:
    for arguments, said in [
        (["replay"], "name ids, or --error NAME, or --all"),
        (["ls", "--topic", "store.metrics"], "--topic store.metrics: it has no dead letters; there are those of: "),
        (["replay", "0/0", "--all"], "name ids, or --error NAME, or --all"),
        (["replay", "0/99"], "no dead letter '0/99'"),
        (["show", "nothing"], "no dead letter 'nothing'"),
        (["replay", "--all", "--fields", "x.json"], "--fields corrects one letter: name its id"),
        (["replay", "0/0", "--fields", "x.json"], "--fields x.json"),
        (["replay", "--error", "CorruptRecord"], "was cut from 90000 bytes"),
    ]:
        code, out, err = sightline(*arguments)
        assert (code, out) == (2, "") and err.startswith("sightline: ") and said in err, arguments
    assert place.events() == []
