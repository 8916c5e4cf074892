"""The figures of the store's demo, for the person who watched."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def table(report: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Rows of name and words, of `StoreDemo.report`."""
    if "frames" not in report:
        return [("stopped", "before anything was sent")]
    frames, people, latency = report["frames"], report["people"], report["latency_ms"]
    truth = people["visitors_in_truth"]
    known = "" if truth is None else f"; {truth} in truth"
    rows = [
        ("frames", ", ".join(f"{frames[name]:,} {name}" for name in ("sent", "dropped", "answered"))),
        ("sightings", f"{report['sightings']:,}, and {report['corrections']:,} corrections"),
        ("visits", f"{people['visits_counted']} counted{known}"),
        ("names", f"{people['names']}"),
        ("alerts", f"{report['alerts']}"),
    ]
    if latency["p50"] is not None:
        rows.append(("frame to sighting", f"p50 {latency['p50']:.0f} ms, p99 {latency['p99']:.0f} ms"))
    return rows
