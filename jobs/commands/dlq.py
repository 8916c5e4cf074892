"""`sightline dlq`: dead letters, the records that a pipeline could not accept."""

from __future__ import annotations

import base64
import json
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobs.commands.console import (
    AsJson,
    Assignments,
    Brokers,
    emit_json,
    emit_table,
    kafka_settings,
    say,
    writable_file,
)
from jobs.errors import UsageProblem

if TYPE_CHECKING:
    from jobs.settings import Settings
    from streaming.codec import SchemaRegistry
    from streaming.kafka.dead_letter_queue import DeadLetter, DeadLetterQueue
    from streaming.topics import Topic

dlq = typer.Typer(no_args_is_help=True, help="Dead letters: look at them, correct and replay them, or let them be.")

Ids = Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="Such as 0/17; `sightline dlq ls` has them.")]
OfError = Annotated[str | None, typer.Option("--error", metavar="NAME", help="Those with this error.")]
Done = Annotated[bool, typer.Option("--done", help="Also those that were replayed or skipped.")]
OfTopic = Annotated[
    str, typer.Option("--topic", metavar="NAME", help="Whose records they were, such as person.sightings.")
]
Everything = Annotated[bool, typer.Option("--all", help="All that nothing was done about.")]

_SHOWN_BYTES = 256


@dlq.command(name="ls")
def ls(
    error: OfError = None,
    done: Done = False,
    last: Annotated[int, typer.Option(min=1, help="So many, the newest.")] = 20,
    topic: OfTopic = "match.events",
    brokers: Brokers = None,
    as_json: AsJson = False,
    assignments: Assignments = None,
) -> None:
    """List dead letters, and count them by error.

    Example: sightline dlq ls --error CorruptRecord --last 5
    """
    counts: Counter[str] = Counter()
    newest: deque[DeadLetter] = deque(maxlen=last)
    for letter in _matching(_queue(kafka_settings(assignments, brokers), topic), error, done):
        counts[letter.error] += 1
        newest.append(letter)
    if as_json:
        emit_json({"counts": dict(counts), "letters": [_told(letter) for letter in newest]})
        return
    rows = [
        (x.id, _time(x.time_ms), x.error, x.message[:80], f"{x.partition}/{x.offset}", x.done or "") for x in newest
    ]
    emit_table(("id", "refused (UTC)", "error", "message", "from", "done"), rows)
    said = ", ".join(f"{count:,} {name}" for name, count in counts.most_common())
    say(f"{counts.total():,} dead letters" + (f": {said}" if said else ""))


@dlq.command()
def show(
    id_: Annotated[str, typer.Argument(metavar="ID", help="Such as 0/17.")],
    topic: OfTopic = "match.events",
    brokers: Brokers = None,
    as_json: AsJson = False,
    assignments: Assignments = None,
) -> None:
    """Show one dead letter: why it was refused, the fields that can be read, and where reading ends.

    Example: sightline dlq show 0/17 --json | jq .fields > fields.json
    """
    settings = kafka_settings(assignments, brokers)
    (letter,) = _chosen(_queue(settings, topic), [id_], None, False, done=True)
    shown = _told(letter) | _read(letter, *_schemas(settings, topic))
    if as_json:
        emit_json(shown)
        return
    fields = shown.pop("fields")
    emit_table(("", ""), [(name, value) for name, value in shown.items() if value not in (None, "")])
    emit_table(("field", "value"), [(name, value) for name, value in fields.items() if value is not None])
    if letter.value is not None:
        typer.echo(_hexdump(letter.value[:_SHOWN_BYTES]))


@dlq.command()
def replay(
    ids: Ids = None,
    error: OfError = None,
    everything: Everything = False,
    fields: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Replay ONE letter with these fields, as `dlq show --json` has them."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be replayed, and stop.")] = False,
    topic: OfTopic = "match.events",
    brokers: Brokers = None,
    as_json: AsJson = False,
    assignments: Assignments = None,
) -> None:
    """Send dead letters back to the topic that they came from, once each.

    A letter whose fault is still there becomes a new dead letter.

    Example: sightline dlq replay 0/17 --fields fields.json
    """
    corrected: dict[str, bytes] = {}
    settings = kafka_settings(assignments, brokers)
    queue = _queue(settings, topic)
    letters = _chosen(queue, ids, error, everything)
    if fields is not None:
        if len(ids or ()) != 1:
            raise UsageProblem("--fields corrects one letter: name its id")
        corrected[letters[0].id] = _written(fields, *_schemas(settings, topic))
    replayed = 0 if dry_run else queue.replay(letters, corrected)
    _say_done("replayed", replayed, letters, dry_run, as_json)


@dlq.command()
def skip(
    ids: Ids = None,
    error: OfError = None,
    everything: Everything = False,
    topic: OfTopic = "match.events",
    brokers: Brokers = None,
    as_json: AsJson = False,
    assignments: Assignments = None,
) -> None:
    """Mark dead letters as not worth a replay; `ls` then leaves them out.

    Example: sightline dlq skip --error BadFraming
    """
    queue = _queue(kafka_settings(assignments, brokers), topic)
    letters = _chosen(queue, ids, error, everything)
    skipped = queue.skip(letters)
    _say_done("skipped", skipped, letters, False, as_json)


@dlq.command()
def export(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="One JSON object a line; - for stdout.")],
    error: OfError = None,
    done: Done = False,
    topic: OfTopic = "match.events",
    brokers: Brokers = None,
    assignments: Assignments = None,
) -> None:
    """Write dead letters to a file, their bytes in base64.

    Example: sightline dlq export letters.jsonl
    """
    from jobs.files import write_text

    writable_file(file, "FILE")
    queue, count = _queue(kafka_settings(assignments, brokers), topic), 0

    def lines() -> Iterator[str]:
        nonlocal count
        for letter in _matching(queue, error, done):
            raw = {name: base64.b64encode(getattr(letter, name) or b"").decode() for name in ("key", "value")}
            count += 1
            yield json.dumps(_told(letter) | raw, ensure_ascii=False) + "\n"

    if str(file) == "-":
        for line in lines():
            typer.echo(line, nl=False)
    else:
        write_text(file, lines())
    say(f"{count:,} dead letters" + ("" if str(file) == "-" else f" written to {file}"))


def _queue(settings: Settings, topic: str) -> DeadLetterQueue:
    from streaming.kafka.dead_letter_queue import DeadLetterQueue

    return DeadLetterQueue(settings.kafka.connection(), _known(topic))


def _known(name: str) -> Topic:
    """Raises UsageProblem for a topic whose records nobody refuses."""
    from streaming.topics import TOPICS

    refused = {topic.name: topic for topic in TOPICS if topic.dead_letters in TOPICS}
    if name not in refused:
        raise UsageProblem(f"--topic {name}: it has no dead letters; there are those of: {', '.join(refused)}")
    return refused[name]


def _schemas(settings: Settings, topic: str) -> tuple[SchemaRegistry, str]:
    """Where the schemas of a topic come from, and the name of its own."""
    schema = _known(topic).schema
    assert schema is not None
    return settings.registry.open(), schema


def _matching(queue: DeadLetterQueue, error: str | None, done: bool) -> Iterator[DeadLetter]:
    """Letters with this error, None: any; without `done` those only that nothing was done about."""
    for letter in queue.letters():
        if (done or letter.done is None) and error in (None, letter.error):
            yield letter


def _chosen(
    queue: DeadLetterQueue, ids: list[str] | None, error: str | None, everything: bool, *, done: bool = False
) -> list[DeadLetter]:
    if sum(map(bool, (ids, error, everything))) != 1:
        raise UsageProblem("name ids, or --error NAME, or --all")
    if not ids:
        return list(_matching(queue, error, done))
    wanted = set(ids)
    found = [letter for letter in queue.letters() if letter.id in wanted]
    if missing := sorted(wanted - {letter.id for letter in found}):
        raise UsageProblem(f"no dead letter {missing[0]!r}; `sightline dlq ls --done` lists what is there")
    if not done and (finished := [letter for letter in found if letter.done is not None]):
        raise UsageProblem(f"dead letter {finished[0].id} was {finished[0].done} already")
    return found


def _told(letter: DeadLetter) -> dict[str, Any]:
    told = {name: value for name, value in asdict(letter).items() if name not in ("key", "value")}
    key = None if letter.key is None else letter.key.decode(errors="replace")
    return told | {
        "time": _time(letter.time_ms),
        "key": key,
        "bytes": None if letter.value is None else len(letter.value),
    }


def _read(letter: DeadLetter, registry: SchemaRegistry, schema: str) -> dict[str, Any]:
    """The fields that can be read, by the schema that the record names; without a frame, by the packaged one."""
    from streaming.codec import UnknownSchema, UnusableSchema, load_schema, read_fields, unframed

    if letter.value is None:
        return {"fields": {}, "fault": "it has no value"}
    schema_id, record = unframed(letter.value)
    try:
        writer = load_schema(schema) if schema_id is None else registry.schema(schema_id)
        readable = read_fields(writer, record)
    except (UnknownSchema, UnusableSchema) as unknown:
        return {"fields": {}, "fault": str(unknown)}
    where = readable.at_byte + len(letter.value) - len(record)
    return {"fields": readable.fields, "fault": readable.fault, "fault_at_byte": where if readable.fault else None}


def _written(file: Path, registry: SchemaRegistry, schema: str) -> bytes:
    from streaming.codec import UnwritableFields, frame_prefix, load_schema, write_fields

    try:
        fields = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise UsageProblem(f"--fields {file}: {error}") from error
    if not isinstance(fields, dict):
        raise UsageProblem(f"--fields {file}: not a JSON object of fields")
    if isinstance(fields.get("fields"), dict) and "bytes" in fields:
        fields = fields["fields"]  # all that `dlq show --json` has printed
    try:
        return frame_prefix(registry.id_of(schema)) + write_fields(load_schema(schema), fields)
    except UnwritableFields as error:
        raise UsageProblem(f"--fields {file}: {error}") from error


def _say_done(word: str, count: int, letters: list[DeadLetter], dry_run: bool, as_json: bool) -> None:
    if as_json:
        emit_json({word: count, "dry_run": dry_run, "ids": [letter.id for letter in letters]})
    else:
        say(f"{len(letters):,} dead letters would be {word}" if dry_run else f"{count:,} dead letters {word}")


def _time(time_ms: int) -> str:
    try:
        return datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
    except (OverflowError, ValueError, OSError):  # by whoever wrote the header
        return str(time_ms)


def _hexdump(data: bytes) -> str:
    lines = []
    for start in range(0, len(data), 16):
        row = data[start : start + 16]
        text = "".join(chr(byte) if 32 <= byte < 127 else "·" for byte in row)
        lines.append(f"{start:5d}  {row.hex(' '):47s}  {text}")
    return "\n".join(lines)
