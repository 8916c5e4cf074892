"""The page of a shadow: what a candidate said beside the live model, and which matches it was furthest apart on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from jobs.report.page import index_page, tables_section
from jobs.shadow.diff import BEYOND

Json = Mapping[str, Any]

LARGEST_COLUMNS = ("match", "clock", "live", "shadow", "apart", "event")
SUMMARY_COLUMNS = (
    "title", "live", "shadow", "frames", "matches", "mean apart", f"beyond {BEYOND:g}",
    "ended", "log-loss live", "log-loss shadow", "difference", "95 % interval",
)  # fmt: skip


def shadow_page(report: Json) -> str:
    """HTML of a report of `sightline models shadow --json`."""
    lead = (
        f"{report['shadow']['answers']:,} answers of {report['shadow']['topic']} and {report['live']['answers']:,} of "
        f"{report['live']['topic']}, to events of {report['source_topic']} "
        f"{'from ' + report['since'] + ' ' if report['since'] else ''}until {report['until']}."
    )
    caption = "Probabilities of the same frames, and log-loss in nats where the match has ended"
    summary = {"caption": caption, "columns": SUMMARY_COLUMNS, "rows": [summary_row(pair) for pair in report["pairs"]]}
    sections = [tables_section("All versions that met", uncompared(report), [{**summary, "plot": ""}])]
    for pair in report["pairs"]:
        title = f"{pair['shadow']} in the shadow of {pair['live']}"
        rows = [largest_row(apart, report["source_topic"]) for apart in pair["largest"]]
        caption = "The frame of each match on which they are furthest apart"
        sections.append(
            tables_section(title, [], [{"caption": caption, "columns": LARGEST_COLUMNS, "rows": rows, "plot": ""}])
        )
    return index_page("Shadow", lead, [], sections)


def summary_row(pair: Json) -> tuple[str, ...]:
    """The figures of one pair, by `SUMMARY_COLUMNS`."""
    told = (
        pair["title"], pair["live"], pair["shadow"], f"{pair['frames']:,}", f"{pair['matches']:,}",
        f"{pair['mean_abs']:.4f}", f"{pair['beyond']:.1%}",
    )  # fmt: skip
    if (outcome := pair["outcome"]) is None:
        return (*told, "0", *["–"] * 4)
    value, interval = "–", "–"
    if outcome["difference"] is not None:
        apart, low, high = outcome["difference"]
        value, interval = f"{apart:+.4f}", f"{low:+.4f} – {high:+.4f}"
    losses = (f"{outcome['live_log_loss']:.4f}", f"{outcome['shadow_log_loss']:.4f}")
    return (*told, f"{outcome['matches']:,}", *losses, value, interval)


def largest_row(apart: Json, source_topic: str) -> tuple[str, ...]:
    """One frame, by `LARGEST_COLUMNS`."""
    minutes, seconds = divmod(round(apart["clock_s"]), 60)
    return (
        apart["match_id"], f"{minutes}:{seconds:02}", f"{apart['live_p']:.3f}", f"{apart['shadow_p']:.3f}",
        f"{apart['shadow_p'] - apart['live_p']:+.3f}",
        f"{source_topic}/{apart['source_partition']}/{apart['source_offset']}",
    )  # fmt: skip


def uncompared(report: Json) -> Sequence[str]:
    """The answers without another to be compared with, in sentences."""
    said = {
        "same_weights": "Frames answered by the same weights, live and in shadow",
        "live_only": "Live answers without one in shadow",
        "shadow_only": "Answers in shadow without a live one",
        "behind": "Live answers after the last in shadow, which is behind or has ended",
    }
    return [f"{words}: {report[name]:,}." for name, words in said.items() if report[name]]
