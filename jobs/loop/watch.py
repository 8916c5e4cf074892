"""Looking on while the loop runs, with no more than anybody may read: answers, status, schedule, model store."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from pathlib import Path

import polars as pl

from jobs.loop.story import ANSWER_SCHEMA, Seen, Step, Story
from jobs.schedule.book import FILE, Book
from jobs.schedule.runs import Run
from jobs.schedule.sensors import KafkaSensors
from models.store import SHIPPED, ModelStore
from streaming.codec import Decoder, PackagedRegistry, load_schema
from streaming.kafka.settings import KafkaSettings
from streaming.kafka.source import KafkaSource
from streaming.topics import MATCH_INSIGHTS

_LOOK_S = 1.0


class Answers:
    """A thread that reads all answers, as any consumer would."""

    def __init__(self, kafka: KafkaSettings) -> None:
        whole = load_schema("match-insights")
        read = whole | {"fields": [each for each in whole["fields"] if each["name"] in ANSWER_SCHEMA]}
        self._decoder = Decoder(read, PackagedRegistry())
        self._parts: list[pl.DataFrame] = [ANSWER_SCHEMA.to_frame()]
        self._source = KafkaSource(kafka, MATCH_INSIGHTS.name, "")
        self._over, self._lock = threading.Event(), threading.Lock()
        self._latest_s = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="answers", daemon=True)
        self._thread.start()

    def frame(self) -> pl.DataFrame:
        """All so far."""
        with self._lock:
            self._parts = [pl.concat(self._parts)]
            return self._parts[0]

    def wait_still(self) -> None:
        """Until no more come."""
        while time.monotonic() - self._latest_s < 2 * _LOOK_S:
            time.sleep(_LOOK_S / 4)

    def close(self) -> None:
        """Read no more."""
        self._over.set()
        self._thread.join(10.0)
        self._source.close()

    def _run(self) -> None:
        with closing(self._source.open(self._source.beginning_offsets())) as reader:
            while not self._over.is_set():
                fetched = reader.poll(_LOOK_S / 4, 10_000)
                if fetched is not None and len(fetched.records):
                    frame = self._decoder.decode(fetched.records).frame
                    with self._lock:
                        self._parts.append(frame.select(ANSWER_SCHEMA.names()).cast(ANSWER_SCHEMA))
                    self._latest_s = time.monotonic()


class Watch:
    """A thread that looks around, tells the story, and says when it is over."""

    def __init__(
        self,
        story: Story,
        kafka: KafkaSettings,
        home: Path,
        answers: Answers,
        schedule: str,
        tell: Callable[[Step], None],
        patience_s: float,
    ) -> None:
        self._story, self._home, self._answers, self._schedule = story, home, answers, schedule
        self._tell, self._patience_s = tell, patience_s
        self._sensors = KafkaSensors(kafka, PackagedRegistry, (), alarms=True)
        self._store = ModelStore(home / "models", SHIPPED)
        self._ended: set[str] = set()  # runs whose end was told
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="story", daemon=True)
        self.why = ""
        """Why it did not come to its end; "" where it did."""

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        if self._story.waits_for and not self.why:
            self.why = f"it was stopped while it waited for: {self._story.waits_for}"
        self._over.set()
        self._thread.join(10.0)
        self._sensors.close()

    def is_over(self) -> bool:
        """Nothing more will come."""
        return bool(self.why) or not self._story.waits_for

    def _run(self) -> None:
        book: Book | None = None
        deadline_s = time.monotonic() + self._patience_s
        try:
            while not self._over.wait(_LOOK_S):
                book = book or self._book()
                with suppress(ConnectionError, LookupError):  # not there for a moment, or not yet
                    seen = self._seen(book)
                    self._tell_ended(seen.runs)
                    for step in self._story.look(seen, time.monotonic()):
                        self._tell(step)
                        deadline_s = time.monotonic() + self._patience_s
                if self._story.waits_for and time.monotonic() > deadline_s:
                    self.why = f"{self._story.waits_for} did not come within {self._patience_s:.0f} s"
                    return
        except Exception as problem:  # else nobody would ever hear that it is over
            self.why = f"{type(problem).__name__}: {problem}"
        finally:
            if book is not None:
                book.close()

    def _tell_ended(self, runs: Sequence[Run]) -> None:
        """A refusal is no step of the story, but whoever watches should know why it takes another run."""
        for run in runs:
            if not run.state.is_open and run.run_id not in self._ended:
                self._ended.add(run.run_id)
                self._tell(Step("job", time.monotonic(), f"{run.run_id} {run.state}: {run.reason}"))

    def _seen(self, book: Book | None) -> Seen:
        name = f"tsstn-{self._story.cast.title}"
        _, version = self._store.resolve(f"{name}@live")
        runs = list(reversed(book.history(self._schedule))) if book is not None else []
        alerts = self._sensors.look().alerts.get("win-prediction", ())
        return Seen(self._answers.frame(), alerts, runs, str(version), self._store.verdict(name, version))

    def _book(self) -> Book | None:
        folder = self._home / "schedule"
        return Book(folder) if (folder / FILE).exists() else None
