"""`sightline.control`: what was decided about things that run, told to whoever runs them.

A record is a hint to look at once; what holds lies in the model store, which is looked at now and then without it. So
nothing hangs on a record, nor on the right to write or read one.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import closing
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jobs.settings import Settings
    from models.store import AliasMove, ModelStore
    from streaming.kafka.settings import KafkaSettings
    from streaming.kafka.source import KafkaSource

log = logging.getLogger(__name__)

_SENT_S = 2.0
_POLL_S = 0.5
_AT_ONCE = 100
_RETRY_S = 2.0


def announce(settings: Settings, name: str, alias: str, move: AliasMove, moves: int) -> bool:
    """Say that an alias was moved, if a Kafka is set; whether a broker has it. Takes some seconds at most."""
    import polars as pl

    from streaming.codec import Encoder, load_schema
    from streaming.kafka.publisher import Publisher
    from streaming.topics import CONTROL

    assert CONTROL.schema is not None
    if settings.kafka.bootstrap_servers is None:
        return False
    now_ms = time.time_ns() // 1_000_000
    entity = f"{name}@{alias}"
    row = {"entity": entity, "time_ms": now_ms, "kind": move.kind, "version": move.version, "moves": moves}
    frame = pl.DataFrame([{**row, "who": move.who}]).with_columns(
        pl.col("time_ms").cast(pl.Datetime("ms", "UTC")), pl.col("version", "moves").cast(pl.Int32)
    )
    try:
        encoder = Encoder(load_schema(CONTROL.schema), settings.registry.open().id_of(CONTROL.schema))
        with closing(Publisher(settings.kafka.connection(), max_block_s=_SENT_S)) as publisher:
            publisher.send(CONTROL.name, [entity.encode()], encoder.encode(frame).to_pylist(), now_ms)
            publisher.flush(_SENT_S)
            return publisher.acknowledged == 1
    except Exception as failure:  # the alias has moved, heard or not
        log.warning("%s: nothing was written there: %s", CONTROL.name, failure)
        return False


def announce_move(settings: Settings, store: ModelStore, name: str, alias: str) -> bool:
    """`announce`, of the last move of an alias in the store's own root."""
    state, history = store.alias_state(name, alias), store.history(name, alias)
    return state is not None and bool(history) and announce(settings, name, alias, history[-1], state.moves)


def follow_control(kafka: KafkaSettings, nudge: Callable[[], None], over: threading.Event) -> None:
    """Until `over` is set, call `nudge` whenever something new lies on `sightline.control`. Nothing that goes wrong
    ends it."""
    from streaming.kafka.source import KafkaSource
    from streaming.topics import CONTROL

    said = ""
    while not over.is_set():
        try:
            with closing(KafkaSource(kafka, CONTROL.name, "")) as source:
                _follow(source, nudge, over)
        except Exception as failure:  # whatever it is: aliases are looked at without it
            if (why := str(failure)) != said:
                log.warning("%s is not followed for now: %s", CONTROL.name, why)
                said = why
            over.wait(_RETRY_S)


def _follow(source: KafkaSource, nudge: Callable[[], None], over: threading.Event) -> None:
    with closing(source.open(source.end_offsets())) as reader:
        nudge()  # something may have come while nobody read
        while not over.is_set():
            fetched = reader.poll(_POLL_S, _AT_ONCE)
            if fetched is not None and len(fetched.records):
                nudge()
