"""The whole of Sightline under steady load for hours, watched: does anything grow?

    demo's stack (broker, Ray, pipeline, gateway) ─► sampler, every 10 s ─► slopes ─► a verdict for each series

Caches are made small, so that they are full before the warm-up is over: what grows after that is a leak.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil

from jobs.slopes import Floats

if TYPE_CHECKING:
    from jobs.demo import Parts
    from jobs.settings import Settings

PERIOD_S = 10.0
SPEED = 20.0  # game seconds per second: matches come and go
_PROGRESS_S = 60.0
_LOOK_S = 1.0  # the pipeline says how it is once a second
_RATE_MATCHES, _RATE_S = 8, 60.0  # how much of the feed is looked at to know its rate
_GATEWAY = {"port": 0, "max_matches": 100, "max_points": 200, "max_points_total": 5_000, "max_events": 50}

Say = Callable[[str], None]


@dataclass
class Samples:
    """What was seen so far: one value of every series at each time, NaN where there was none."""

    times_s: list[float] = field(default_factory=list)
    series: dict[str, list[float]] = field(default_factory=dict)
    totals: dict[str, int] = field(default_factory=dict)  # events, answers, dead letters since the start
    errors: list[str] = field(default_factory=list)  # each once

    def add(self, at_s: float, values: Mapping[str, float]) -> None:
        """Another sample; a series that is new has been missing before."""
        for name in values.keys() - self.series.keys():
            self.series[name] = [float("nan")] * len(self.times_s)
        self.times_s.append(at_s)
        for name, column in self.series.items():
            column.append(values.get(name, float("nan")))

    def as_json(self) -> dict[str, list[float | None]]:
        """`times_s`, and every series, null where there was nothing."""
        columns = {"times_s": self.times_s, **self.series}
        return {name: [None if np.isnan(x) else round(x, 3) for x in values] for name, values in columns.items()}

    def after(self, start_s: float) -> tuple[Floats, dict[str, Floats]]:
        """Times from `start_s` on, (N,), and each series, (N,)."""
        times = np.array(self.times_s)
        late = times >= start_s
        return times[late], {name: np.array(column)[late] for name, column in sorted(self.series.items())}


def soak(hours: float, events_per_s: float, settings: Settings, say: Say) -> tuple[Samples, str]:
    """Run until the time is over, Ctrl-C, or a part ends by itself.

    Returns the samples, and why it ended early, "" where it did not. Raises as `run_demo` before there is any sample.
    """
    from jobs.demo import DemoOptions, run_demo
    from jobs.demo_parts import DemoFailed

    samples, failure = Samples(), ""
    options = DemoOptions(duration_s=hours * 3600, speed=SPEED, matches=matches_for(events_per_s))
    small = settings.model_copy(update={"gateway": settings.gateway.model_copy(update=_GATEWAY)})
    try:
        run_demo(options, small, say, lambda parts: sampling(parts, samples, say))
    except DemoFailed as ended:
        if not samples.times_s:
            raise
        failure = str(ended)
    return samples, failure


def matches_for(events_per_s: float) -> int:
    """How many matches on air make about so many events a second."""
    from jobs.demo import DemoOptions
    from streaming.simulators.feed import live_matches

    options = DemoOptions()
    feed = live_matches(options.titles, options.seed, concurrent=_RATE_MATCHES, speed=SPEED, epoch_ms=0)
    feed.take(0.0)  # what the first matches have behind them already
    return max(1, round(events_per_s / (len(feed.take(_RATE_S)) / _RATE_S) * _RATE_MATCHES))


@contextmanager
def sampling(parts: Parts, samples: Samples, say: Say, period_s: float = PERIOD_S) -> Iterator[None]:
    """Within the body, a thread adds to the samples."""
    over = threading.Event()
    thread = threading.Thread(target=_sample, args=(parts, samples, say, period_s, over), name="soak", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(period_s)


def _sample(parts: Parts, samples: Samples, say: Say, period_s: float, over: threading.Event) -> None:
    began = said = time.monotonic()
    with closing(StatusTail(parts)) as status:
        while not over.wait(period_s):
            values = usage(parts.pids)
            try:
                values |= status.look(samples)
            except Exception as failure:  # a soak is there to see what goes wrong, and goes on
                _note(samples, f"status: {failure}")
            if not samples.totals.get("answers"):
                began = time.monotonic()  # it has not begun to answer
                continue
            samples.add(time.monotonic() - began, values)
            if time.monotonic() - said >= _PROGRESS_S:
                said = time.monotonic()
                say(progress(samples))


class StatusTail:
    """The last word of the pipeline about itself."""

    def __init__(self, parts: Parts) -> None:
        from streaming.codec import Decoder, PackagedRegistry
        from streaming.kafka.source import KafkaSource
        from streaming.topics import PIPELINE_STATUS

        assert PIPELINE_STATUS.schema is not None
        self._decoder = Decoder(PIPELINE_STATUS.schema, PackagedRegistry())
        self._source = KafkaSource(parts.kafka, PIPELINE_STATUS.name, "")
        self._reader: Any = None
        self._earlier: set[str] | None = None  # errors of before the first answer: what it waited for at its start

    def look(self, samples: Samples) -> dict[str, float]:
        """Lag and rate as of now, if there is news; totals and errors go to the samples."""
        if self._reader is None:
            self._reader = self._source.open(self._source.end_offsets())
        values: dict[str, float] = {}
        fetched = self._reader.poll(_LOOK_S, 1_000)
        while fetched is not None:
            for row in self._decoder.decode(fetched.records).frame.to_dicts():
                values = {"lag_s": row["lag_s"], "answers_per_s": row["answers_per_s"]}
                samples.totals = {name: row[f"{name}_total"] for name in ("events", "answers", "dead_letters")}
                if self._earlier is None or not row["answers_total"]:
                    self._earlier = (self._earlier or set()).union(row["errors"])
                for error in reversed(row["errors"]):
                    if error not in self._earlier:
                        _note(samples, error)
            fetched = self._reader.poll(0.0, 1_000)
        return values

    def close(self) -> None:
        """Disconnect."""
        if self._reader is not None:
            self._reader.close()
        self._source.close()


def _note(samples: Samples, error: str) -> None:
    if error not in samples.errors:
        samples.errors.append(error)


def usage(pids: Mapping[str, int]) -> dict[str, float]:
    """Memory in MB, open handles and threads of each process, and of all below `pipeline` as `ray`."""
    groups: dict[str, list[psutil.Process]] = {}
    for name, pid in pids.items():
        try:
            root = psutil.Process(pid)
            groups[name] = [root]
            if name == "pipeline":
                groups["ray"] = root.children(recursive=True)
        except psutil.Error:
            continue
    values: dict[str, float] = {}
    for name, processes in groups.items():
        counted = [found for process in processes if (found := _of(process)) is not None]
        for kind, total in zip(("memory_mb", "handles", "threads"), map(sum, zip(*counted, strict=True)), strict=False):
            values[f"{kind}.{name}"] = float(total)
    return values


def _of(process: psutil.Process) -> tuple[float, int, int] | None:
    try:
        return _memory_mb(process), process.num_fds(), process.num_threads()
    except psutil.Error:  # it has ended meanwhile
        return None


def _memory_mb(process: psutil.Process) -> float:
    """Anonymous and shared pages, each counted once (PSS), without pages of files, which the kernel may drop; all that
    is resident (RSS) where the kernel does not tell."""
    try:
        lines = Path(f"/proc/{process.pid}/smaps_rollup").read_text("ascii").splitlines()
    except OSError:
        return float(process.memory_info().rss) / 2**20
    kept = [line.split()[1] for line in lines if line.startswith(("Pss_Anon:", "Pss_Shmem:"))]
    return sum(map(int, kept)) / 1024


def progress(samples: Samples) -> str:
    """How it goes, in a line."""
    now = {name: column[-1] for name, column in samples.series.items()}
    parts = sorted(name for name in now if name.startswith("memory_mb."))
    memory = ", ".join(f"{name.removeprefix('memory_mb.')} {now[name]:,.0f}" for name in parts)
    return (
        f"{samples.times_s[-1] / 60:.0f} min: {samples.totals['answers']:,} answers, "
        f"lag {now.get('lag_s', float('nan')):.2f} s, {samples.totals['dead_letters']:,} dead letters, "
        f"{len(samples.errors)} errors; MB: {memory}"
    )
