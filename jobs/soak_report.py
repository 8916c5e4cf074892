"""What a soak found: a verdict for each series, as JSON, as rows of a table, and as a plot."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jobs.slopes import Verdict, slope
from jobs.soak import PERIOD_S, Samples

LIMITS_PER_H: Mapping[str, float] = {"memory_mb": 10.0, "handles": 2.0, "threads": 2.0, "lag_s": 0.1}
"""Growth that is too much, by kind of series."""
NOT_JUDGED: Mapping[str, str] = {
    "memory_mb.broker": "a Java heap fills up to its limit",
    "answers_per_s": "as the matches are",
}
_UNITS = {"memory_mb": "MB", "handles": "", "threads": "", "lag_s": "s", "answers_per_s": "/s"}
_WARM_UP_SHARE, _LONGEST_WARM_UP_S = 0.25, 900.0  # two processes take turns at epochs, and grow in their second one
_LONGEST_BLOCK_S, _BLOCKS = 300.0, 12


def report(samples: Samples, failure: str, hours_wanted: float, events_per_s: float, epoch_s: float) -> dict[str, Any]:
    """The figures, and whether the soak passed: every judged series flat, no error, no dead letter, no early end.

    Args:
        samples: as `jobs.soak.soak` has them.
        failure: why it ended by itself; "" if it did not.
        hours_wanted: how long it was to be.
        events_per_s: the load that was asked for.
        epoch_s: of the pipeline: blocks hold two epochs where the run is long enough.
    """
    end_s = samples.times_s[-1] if samples.times_s else 0.0
    warm_up_s = min(_WARM_UP_SHARE * end_s, _LONGEST_WARM_UP_S)
    block_s = max(PERIOD_S, min(2 * epoch_s, _LONGEST_BLOCK_S, (end_s - warm_up_s) / _BLOCKS))
    times, columns = samples.after(warm_up_s)
    series = {}
    for name, values in columns.items():
        known = values[~np.isnan(values)]
        found = slope(times, values, block_s)
        limit = None if name in NOT_JUDGED else LIMITS_PER_H.get(name.partition(".")[0])
        series[name] = {
            "unit": _UNITS.get(name.partition(".")[0], ""),
            "first": round(float(known[0]), 3) if len(known) else None,
            "last": round(float(known[-1]), 3) if len(known) else None,
            "largest": round(float(known.max()), 3) if len(known) else None,
            "slope_per_h": None if found is None else round(found.per_h, 4),
            "interval_per_h": None if found is None else [round(found.low, 4), round(found.high, 4)],
            "limit_per_h": limit,
            "verdict": None if limit is None else str(Verdict.UNCLEAR if found is None else found.against(limit)),
        }
    faults = [failure] * bool(failure) + samples.errors
    if samples.totals.get("dead_letters"):
        faults.append(f"{samples.totals['dead_letters']:,} dead letters")
    judged = [entry["verdict"] for entry in series.values() if entry["verdict"] is not None]
    return {
        "passed": not faults and bool(judged) and all(verdict == Verdict.FLAT for verdict in judged),
        "hours": round(end_s / 3600, 3),
        "hours_wanted": hours_wanted,
        "events_per_s": events_per_s,
        "warm_up_s": round(warm_up_s),
        "block_s": round(block_s),
        "samples": len(samples.times_s),
        "totals": samples.totals,
        "faults": faults,
        "series": series,
    }


def rows(found: Mapping[str, Any]) -> list[tuple[str, str, str, str, str]]:
    """(series, first → last, slope and interval per hour, limit, verdict) of each series."""
    return [
        (
            name,
            f"{_number(x['first'])} → {_number(x['last'])} {x['unit']}".rstrip(),
            "" if x["slope_per_h"] is None else f"{x['slope_per_h']:+.2f} ({_interval(x['interval_per_h'])})",
            "" if x["limit_per_h"] is None else f"{x['limit_per_h']:g}",
            x["verdict"] or f"not judged: {NOT_JUDGED.get(name, '')}",
        )
        for name, x in found["series"].items()
    ]


def conclusion(found: Mapping[str, Any]) -> str:
    """The outcome in one line."""
    unclear = [name for name, x in found["series"].items() if x["verdict"] == Verdict.UNCLEAR]
    grows = [name for name, x in found["series"].items() if x["verdict"] == Verdict.GROWS]
    told = [f"grows: {', '.join(grows)}"] * bool(grows) + found["faults"]
    if unclear:
        told.append(f"unclear, run it longer: {', '.join(unclear)}")
    if not found["samples"]:
        told.append("nothing was measured")
    return f"{found['hours']:g} h: " + ("; ".join(told) if told else "nothing grows, nothing failed")


def plot(samples: Samples, found: Mapping[str, Any], path: Path) -> None:
    """One panel a kind of series, the warm-up shaded, into an SVG or PNG file."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    kinds = sorted({name.partition(".")[0] for name in samples.series})
    figure, panels = pyplot.subplots(len(kinds), 1, sharex=True, figsize=(9, 2.2 * len(kinds)), squeeze=False)
    minutes = [at_s / 60 for at_s in samples.times_s]
    for panel, kind in zip(panels[:, 0], kinds, strict=True):
        for name, values in sorted(samples.series.items()):
            if name.partition(".")[0] == kind:
                panel.plot(minutes, values, linewidth=1, label=name.partition(".")[2] or None)
        panel.axvspan(0, found["warm_up_s"] / 60, alpha=0.1, color="grey", linewidth=0)
        panel.set_ylim(bottom=0)
        panel.set_ylabel(kind)
        if any("." in name for name in samples.series if name.startswith(kind)):
            panel.legend(loc="lower left", fontsize="small", ncols=4, frameon=False)
    panels[-1, 0].set_xlabel("minutes")
    figure.suptitle(conclusion(found), fontsize="medium", wrap=True)
    figure.tight_layout()
    try:
        figure.savefig(path)
    finally:
        pyplot.close(figure)


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.2f}" if abs(value) < 10 else f"{value:,.0f}"


def _interval(bounds: tuple[float, float]) -> str:
    return f"{bounds[0]:+.2f} to {bounds[1]:+.2f}"
