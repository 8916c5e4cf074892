"""The figures of the shop's demo, for the person who watched."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def kept(report: Mapping[str, Any]) -> bool:
    """Whether every view of a shopper was answered once, every item has its reason, and nothing was offered that could
    not be had."""
    if "views" not in report:
        return True
    views, reasons, catalogue = report["views"], report["reasons"], report["catalogue"]
    return not any((views["missing"], views["doubled"], reasons["without"], catalogue["offered_all_the_same"]))


def table(report: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Rows of name and words, of `ShopDemo.report`."""
    if "views" not in report:
        return [("stopped", "before anything was sent")]
    views, reasons, catalogue = report["views"], report["reasons"], report["catalogue"]
    bots = f", {views['of_bots']:,} of bots not" if views["of_bots"] else ""
    kinds = ", ".join(f"{kind} {count:,}" for kind, count in reasons["kinds"].items())
    rows = [
        ("views", f"{views['sent']:,}: {views['answered']:,} answered{bots}"),
        ("of those", f"{views['missing']:,} missing, {views['doubled']:,} doubled"),
        ("offered", f"{reasons['items']:,} items, {reasons['without']:,} without a reason ({kinds})"),
        ("withdrawn, sold out", f"{catalogue['withdrawn']:,} and {catalogue['sold_out']:,} times"),
        ("offered all the same", f"{catalogue['offered_all_the_same']:,}"),
    ]
    rows += [(f"arm {_named(arm)}", _arm(arm)) for arm in report["arms"]]
    if (share := report["next_click"]["share"]) is not None:
        rows.append(("next click offered", f"{share:.1%} of {report['next_click']['clicks']:,} on another item"))
    latency = report["latency_ms"]
    if latency["p50"] is not None:
        rows.append(("click to answer", f"p50 {latency['p50']:.0f} ms, p99 {latency['p99']:.0f} ms"))
    return rows


def _named(arm: Mapping[str, Any]) -> str:
    return arm["arm"] or "-"


def _arm(arm: Mapping[str, Any]) -> str:
    against = arm["against_first"]
    shown = f"{arm['clicks']:,} clicks on {arm['answers']:,} answers shown, {arm['clicks'] / arm['answers']:.3f} each"
    return shown if against is None else f"{shown}; {against['difference']:+.3f}, p {against['p']:.3f}"
