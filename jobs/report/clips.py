"""Reports of names in real clips of several cameras: one page, and a table for the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jobs.report.page import index_page, tables_section
from jobs.report.tables import console

Json = Mapping[str, Any]

WAYS = ("in turn", "at once")
COLUMNS = ("camera", "track", "person", "told as", "taken for", "score", "")


def clips_page(report: Json) -> str:
    """The page of a report of `jobs.evaluate_clips.evaluate_clips`."""
    tables = [
        {"caption": f"Clips {way}", "columns": list(COLUMNS), "rows": clip_rows(report[way]), "plot": ""}
        for way in WAYS
    ]
    return index_page("Names in real clips", "", [], [tables_section("", clip_facts(report), tables)])


def clip_facts(report: Json) -> list[str]:
    """What was judged and how, in sentences."""
    model = report["model"]
    sums = [
        f"Clips {way}: {report[way]['right']} tracks were taken for the right person of before, {report[way]['wrong']} "
        f"for a wrong one, {report[way]['missed']} for nobody though the person had been named in another camera."
        for way in WAYS
    ]
    return [
        f"{report['clips']} clips, {report['people']} people, boxes as labelled, no seed. In turn: a clip begins "
        f"{report['gap_s']:g} s after the one before it. At once: cameras that are said to see the same place.",
        f"Embedding: {model['name']}@{model['version']}, learned from {model['trained_on']}.",
        *sums,
    ]


def clip_rows(judged: Json) -> list[list[str]]:
    """A row a track, in the order in which they were named, as `COLUMNS`."""
    return [
        [
            str(track["camera"]),
            str(track["track"]),
            str(track["person"]),
            track["told"],
            "somebody new" if track["taken_for"] is None else str(track["taken_for"]),
            "" if track["score"] is None else f"{track['score']:.3f}",
            track["verdict"],
        ]
        for track in judged["tracks"]
    ]


def print_clips(report: Json) -> None:
    """The same as tables on stdout."""
    from rich.table import Table

    out = console()
    for sentence in clip_facts(report):
        out.print(sentence, markup=False, highlight=False)
    for way in WAYS:
        table = Table(*COLUMNS, title=f"Clips {way}")
        for row in clip_rows(report[way]):
            table.add_row(*row)
        out.print(table)
