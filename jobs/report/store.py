"""Reports of how people are told apart and counted in the made-up store: one page, and a table for the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jobs.report.page import index_page, tables_section
from jobs.report.tables import console, gates_table

Json = Mapping[str, Any]

COLUMNS = (
    "seed", "people", "told as", "boxes", "IDF1", "IDP", "IDR", "IDF1 at once", "HOTA", "crossings", "visits",
    "people at a time",
)  # fmt: skip
LINE_COLUMNS = ("seed", "line", "way", "told", "true", "true, however close")
ZONE_COLUMNS = ("seed", "zone", "person-seconds told", "true", "error")


def store_page(report: Json) -> str:
    """The page of a report of `jobs.evaluate_store.evaluate_store`."""
    tables = [
        {"caption": "By seed", "columns": list(COLUMNS), "rows": store_rows(report), "plot": ""},
        {"caption": "Crossings of lines", "columns": list(LINE_COLUMNS), "rows": line_rows(report), "plot": ""},
        {
            "caption": "How long people were in zones",
            "columns": list(ZONE_COLUMNS),
            "rows": zone_rows(report),
            "plot": "",
        },
    ]
    section = tables_section("What was judged", store_facts(report), tables)
    return index_page("People in a made-up store", "", report["gates"], [section])


def store_facts(report: Json) -> list[str]:
    """What was judged and how, in sentences."""
    model, trial = report["model"], report["trial"]
    seeds = ", ".join(str(found["seed"]) for found in report["trials"])
    facts = [
        f"{trial['cameras']} cameras, {trial['width_px']} × {trial['height_px']} px, {trial['fps']} frames a second, "
        f"{trial['duration_s']:.0f} s, up to {trial['people']} people. Some come again, half of them in other clothes: "
        f"one name is right for both visits. Seeds of people, clothes, walks and errors: {seeds}; rules were chosen on "
        "those below 104.",
        f"Embedding: {model['name']}@{model['version']}, learned from {model['trained_on']}. Boxes as of a detector "
        f"with jitter {trial['errors']['jitter']:g}, {trial['errors']['miss_share']:.0%} missed in full view, "
        f"{trial['errors']['false_per_frame']:g} false ones a frame; pictures are drawn, and JPEG.",
        "IDF1 is of the names that hold in the end; at once: of those that left with each frame.",
        "Errors of counts do not cancel: every way over every line and every window of 10 s counts for itself. "
        "A crossing is of who has stood clear of a line on the one side and then on the other, as the plan has it; the "
        "truth of who was over it by as little as a centimetre stands beside it. A visit is of who has come in by a "
        "door.",
    ]
    if report["clips"] is None:
        return [*facts, "Names across real clips were not judged: give their folder by --clips."]
    return [*facts, f"Real clips: {report['clips']['clips']} of {report['clips']['people']} people, no seed."]


def store_rows(report: Json) -> list[list[str]]:
    """A row a seed, as `COLUMNS`."""
    rows = []
    for found in report["trials"]:
        counts = found["counts"]
        crossed = [way for line in counts["lines"].values() for way in line.values()]
        rows.append(
            [
                str(found["seed"]),
                str(found["people"]),
                str(found["persons_told"]),
                f"{found['boxes']:,}",
                *(f"{found[name]:.3f}" for name in ("idf1", "idp", "idr", "idf1_as_told", "hota")),
                f"{sum(way['told'] for way in crossed)} of {sum(way['true'] for way in crossed)}",
                f"{counts['entered']['told']} of {counts['entered']['true']}",
                f"{counts['occupancy']['told']:.1f} of {counts['occupancy']['true']:.1f}, "
                f"off by {counts['occupancy_error']:.1%}",
            ]
        )
    return rows


def line_rows(report: Json) -> list[list[str]]:
    """A row for each seed, line and way, as `LINE_COLUMNS`."""
    return [
        [str(found["seed"]), line, way, *(str(counted[which]) for which in ("told", "true", "touching"))]
        for found in report["trials"]
        for line, ways in found["counts"]["lines"].items()
        for way, counted in ways.items()
    ]


def zone_rows(report: Json) -> list[list[str]]:
    """A row for each seed and zone, as `ZONE_COLUMNS`."""
    return [
        [
            str(found["seed"]), zone, f"{in_it['told']:,.0f}", f"{in_it['true']:,.0f}",
            f"{(in_it['told'] - in_it['true']) / max(in_it['true'], 1):+.1%}",
        ]
        for found in report["trials"]
        for zone, in_it in found["counts"]["zone_person_s"].items()
    ]  # fmt: skip


def print_store(report: Json) -> None:
    """The same as tables on stdout."""
    from rich.table import Table

    out = console()
    for sentence in store_facts(report):
        out.print(sentence, markup=False, highlight=False)
    out.print(gates_table(report["gates"]))
    table = Table(*COLUMNS)
    for row in store_rows(report):
        table.add_row(*row)
    out.print(table)
