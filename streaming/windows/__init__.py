"""Aggregates by key and window of event time: the keyed stage for counting things over time.

    rows ─► WindowStage ─► one row a window when it closes, again when it is corrected; rows that came too late

    dwell = WindowStage(
        "occupancy", key="zone_id", event_time="event_time_ms", windows=Sliding(size_s=300, every_s=60),
        aggregates=[Aggregate("people", "count"), Aggregate("dwell_s", "mean", "dwell_s")],
        lateness_s=10, corrections=Corrections(horizon_s=600, every_s=60),
    )

**What closes a window.** Every partition has a watermark (`streaming.event_time`). A row counts in all windows that it
falls into, ends exclusive. A window closes at the row that takes the watermark of its own partition to its end plus
`lateness_s`, and leaves as one row with that row's `_partition`, `_offset`, `_ingest_time_ms` and `_schema_id`. Other
partitions do not matter, nor does the order of rows within the lateness; so what comes out, and the state, is the same
however the stream is cut into batches and partitions interleaved. Rows of a key must share a partition.

**Late rows.** A row is late for a window that has closed (for sessions: when it is more than `lateness_s` behind the
watermark, `streaming.windows.session`). It is counted in the fact `late`, and then

- without corrections it goes aside: it leaves as a row of its own, `late` true, with the figures of that one row and
  the window that it missed, so that whoever keeps the sums can add it. It does not go to dead letters: it is a good
  record that came late, a replay would only make it later, and a device that was offline for an hour would bury there
  what really needs a person. A pipeline that wants it there sets `_reject` where `late` is true in its next stage.
- with `Corrections` it is counted after all, and the window is issued again, whole, with `revision` one higher. Beyond
  the horizon it goes aside. Sessions are not corrected: a late row may join two that were issued apart.

The latest revision of (key, window_start_ms, window_end_ms) holds; those three and `revision` name an issue, for a late
row `_partition` and `_offset` in place of the latter.

**Bad clocks.** An event time more than `ahead_s` after the time at which the record reached the log cannot be true: the
row is rejected, and moves nothing. Within that, a single row ahead of its neighbours moves no watermark. Log times are
the broker's or bounded by it (`message.timestamp.after.max.ms`, an hour since Kafka 4).

**Silence.** Without rows no watermark moves. The live runners call `tick` about once a second with the wall clock and
the partitions that they have answered to the end (`streaming.runners.ticking`). There event time goes on with the wall
clock from where the rows left it, `idle_s` behind: in a live feed, a quiet window closes at its end + `lateness_s` +
`idle_s`, by the wall clock, or a second later. A tick moves a watermark no further than the windows need that it
closes, so it makes late no more than it must, and with nothing open it writes nothing. How far ticks have taken a
partition is state, hence logged: after a crash they are as binding as rows.

*What ticks do to determinism*: a tick is not on the source log. A replay ticks by the times at which the log got its
records (`streaming.runners.log_time`), a second apart like a live run that keeps up, and so closes what that closed. By
where ticks fall within their second, or when a run lags, windows may differ in when they are issued (`_offset` and its
companions) and in `closed_by` ("data" or "tick"). Their figures are the same unless rows of the window arrive after a
tick has closed it in one of the runs: there they are late, and in time in the other. With corrections, the figures of
the last revision are the same even then, within the horizon.

**Size.** What is kept is a fixed number of values for each open window, never rows; a row that falls into n sliding
windows costs n times as much.
"""

from streaming.windows.definition import Aggregate, Corrections, Session, Sliding, Tumbling, Windows
from streaming.windows.stage import WindowStage

__all__ = ["Aggregate", "Corrections", "Session", "Sliding", "Tumbling", "WindowStage", "Windows"]
