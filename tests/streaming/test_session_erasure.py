"""A user asks to be forgotten: afterwards no state, changelog or snapshot holds anything of theirs, and no topic does
once its retention has passed; a search of all bytes shows it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from streaming.codec import PackagedRegistry
from streaming.pipelines.recommendations import recommendations
from streaming.records import Records
from streaming.runners.flow import Flow
from streaming.sessions.forgetting import forgetting
from streaming.sessions.settings import Offer
from streaming.testing import MemoryLog, lanes
from streaming.topics import DAY_MS, USER_SESSIONS
from tests.pipelines_on_log import OnLog
from tests.shop_feed import START_MS, Fixed, catalogue_of, event, event_records, feed, item

PARTITIONS = 2
MINE = [
    b"ann",
    b"cookie-of-hers",
    b"laptop-of-hers",
    b"before-she-said",
    b"only-she-saw",
    b"only-she-bought",
    b"a secret",
]
"""What must not be found: her name, her browsers, items that nobody else looked at, words that she typed."""
THEIRS = [b"bob", b"cookie-of-his", b"only-he-saw"]

EVENTS = [
    event("cookie-of-hers", 0, item="before-she-said"),
    event("cookie-of-hers", 1, "login", user_id="ann", items=["only-she-bought"]),
    event("cookie-of-hers", 2, item="only-she-saw"),
    event("cookie-of-hers", 3, "search", text="a secret"),
    event("laptop-of-hers", 4, "purchase", "only-she-bought", user_id="ann"),
    event("laptop-of-hers", 5, item="only-she-saw"),
    event("cookie-of-his", 6, "purchase", "only-he-saw", user_id="bob"),
    event("cookie-of-his", 7, item="only-he-saw"),
    event("", 8, item="only-she-saw", user_id="ann"),  # refused, and so a dead letter
]
LATER = [event("cookie-of-his", 20 + n, item="only-he-saw") for n in range(3)]


def world() -> OnLog:
    """Up to before the request, in commits of two records and with a restart after each."""
    log = MemoryLog()
    log.create(USER_SESSIONS.name, PARTITIONS)
    log.append(USER_SESSIONS.name, event_records(feed(EVENTS)))
    pipeline = recommendations({"live": Fixed("x", "y")}, catalogue_of(item("x"), item("y")), Offer(places=2))
    return OnLog(pipeline, log, START_MS).run([2] * len(EVENTS), restarts=True)


def asked(on_log: OnLog) -> None:
    for output in forgetting("ann", "request-1", START_MS + 10_000, PARTITIONS, PackagedRegistry()):
        on_log.log.append(output.topic, output.records, output.partition)
    on_log.log.append(USER_SESSIONS.name, event_records(feed(LATER)))
    on_log.run([2] * 6, restarts=True)
    assert on_log.is_done


def state_records(on_log: OnLog) -> Records:
    """The changelog as it was written."""
    return Records.joined([Records.of([], []), *(out.records for commit in on_log.commits for out in commit.state)])


def compacted(records: Records) -> Records:
    """The last record of every key, tombstones removed: what Kafka makes of it in the end."""
    last = dict(zip(records.keys.to_pylist(), records.values.to_pylist(), strict=True))
    kept = {key: value for key, value in last.items() if value is not None}
    return Records.of(list(kept), list(kept.values()))


def bytes_of(records: Records) -> bytes:
    return b"\0".join(part or b"" for column in (records.keys, records.values) for part in column.to_pylist())


def memory_of(flow: Flow) -> bytes:
    """Everything that tables hold, free slots included."""
    found = []
    for table in flow.tables.values():
        found.append("\0".join(table.keys()).encode())
        for name, column in table.layout.items():
            values = table[name]
            found.append("\0".join(map(str, values)).encode() if column.is_text else values.tobytes())
    return b"\0".join(found)


def places(on_log: OnLog) -> Iterator[tuple[str, bytes]]:
    """Wherever state lies."""
    log = compacted(state_records(on_log))
    yield "changelog", bytes_of(log)
    yield "memory", memory_of(on_log.flow)
    fresh = Flow(on_log.pipeline, PackagedRegistry(), clock=lambda: START_MS, reread=on_log.read)
    fresh.restore(lanes([log]))
    yield "restored", memory_of(fresh)


def in_topics(on_log: OnLog) -> Iterator[tuple[str, Records]]:
    for partition in range(PARTITIONS):
        yield USER_SESSIONS.name, on_log.log.records(USER_SESSIONS.name, partition)
    for commit in on_log.commits:
        for out in (*commit.answers, *commit.dead_letters):
            yield out.topic, out.records


def held(data: bytes, secrets: list[bytes]) -> set[bytes]:
    return {secret for secret in secrets if secret in data}


def test_no_state_holds_anything_of_who_asked_and_everything_of_who_did_not() -> None:
    on_log = world()
    for where, data in places(on_log):
        assert held(data, MINE) == set(MINE), where  # the search finds it
    asked(on_log)
    for where, data in places(on_log):
        assert held(data, MINE) == set(), where
        assert held(data, THEIRS) == set(THEIRS), where


def test_the_changelog_has_a_tombstone_for_every_row_that_was_there() -> None:
    on_log = world()
    before = {key for key in compacted(state_records(on_log)).keys.to_pylist() if held(key, MINE)}
    assert len(before) >= 3
    written = len(state_records(on_log))
    asked(on_log)
    after = state_records(on_log)
    news = dict(zip(after.keys.to_pylist()[written:], after.values.to_pylist()[written:], strict=True))
    assert {key for key, value in news.items() if value is None} == before


def test_topics_forget_when_their_retention_has_passed() -> None:
    on_log = world()
    asked(on_log)
    topics = dict.fromkeys((topic for topic, _ in in_topics(on_log)), b"")
    for topic, records in in_topics(on_log):
        topics[topic] += bytes_of(records)
    assert set(topics) == {"user.sessions", "session.recommendations", "user.sessions.dead-letters"}
    assert all(held(data, MINE) for data in topics.values())  # until then they hold it
    source, sink = on_log.pipeline.source, on_log.pipeline.sink
    assert {source.retention_ms, source.dead_letters.retention_ms, sink.retention_ms} == {7 * DAY_MS}
    for partition in range(PARTITIONS):
        request = on_log.log.records(source.name, partition)
        kinds = [b"forget" in value for value in request.values.to_pylist()]
        assert kinds.count(True) == 1, "every partition was told"
        on_log.log.expire(source.name, partition, int(request.offsets[kinds.index(True)]) + 1)
        assert not held(bytes_of(on_log.log.records(source.name, partition)), MINE)


def test_a_restart_from_before_the_request_forgets_again() -> None:
    on_log = world()
    commits, at = list(on_log.commits), list(on_log.at)
    asked(on_log)
    on_log.commits, on_log.at = commits, at  # as of a copy of the changelog
    on_log.flow = on_log.started()
    assert held(memory_of(on_log.flow), MINE)
    on_log.run([2] * 6)
    assert not held(memory_of(on_log.flow), MINE)


def test_a_late_request_is_obeyed() -> None:
    on_log = world()
    far = event_records(feed([event("cookie-of-his", 86_400 + n, item="only-he-saw") for n in range(2)]))
    for partition in range(PARTITIONS):
        on_log.log.append(USER_SESSIONS.name, far, partition)
    asked(on_log)
    assert not held(memory_of(on_log.flow), MINE)


@pytest.mark.parametrize(("user", "said"), [("", "user_id is empty"), ("a\nb", "user_id has a control character")])
def test_a_request_of_nobody_is_refused(user: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        forgetting(user, "request-1", START_MS, 1, PackagedRegistry())
