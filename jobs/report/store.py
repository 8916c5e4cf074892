"""Reports of how people are told apart and counted in the made-up store: one page, and a table for the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jobs.report.page import index_page, tables_section

Json = Mapping[str, Any]

COLUMNS = ("seed", "people", "told as", "boxes", "IDF1", "IDP", "IDR", "IDF1 at once", "HOTA", "crossings", "visits")


def store_page(report: Json) -> str:
    """The page of a report of `jobs.evaluate_store.evaluate_store`."""
    table = {"caption": "By seed", "columns": list(COLUMNS), "rows": store_rows(report), "plot": ""}
    return index_page("People in a made-up store", "", [], [tables_section("", store_facts(report), [table])])


def store_facts(report: Json) -> list[str]:
    """What was judged and how, in sentences."""
    model, trial = report["model"], report["trial"]
    return [
        f"{trial['cameras']} cameras, {trial['width_px']} × {trial['height_px']} px, {trial['fps']} frames a second, "
        f"{trial['duration_s']:.0f} s, up to {trial['people']} people. Some come again, half of them in other clothes: "
        "one name is right for both visits.",
        f"Embedding: {model['name']}@{model['version']}, learned from {model['trained_on']}. Boxes as of a detector "
        f"with jitter {trial['errors']['jitter']:g}, {trial['errors']['miss_share']:.0%} missed in full view, "
        f"{trial['errors']['false_per_frame']:g} false ones a frame; pictures are drawn, and JPEG.",
        "IDF1 is of the names that hold in the end; at once: of those that left with each frame.",
        *(
            f"{'Passed' if gate['passed'] else 'Missed'}: {gate['name']}: wanted {gate['wanted']}, got {gate['got']}."
            for gate in report["gates"]
        ),
    ]


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
            ]
        )
    return rows


def print_store(report: Json) -> None:
    """The same as a table on stdout."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    for sentence in store_facts(report):
        console.print(sentence, markup=False, highlight=False)
    table = Table(*COLUMNS)
    for row in store_rows(report):
        table.add_row(*row)
    console.print(table)
