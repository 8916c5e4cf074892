"""Reports of next-click prediction: one page, and tables for the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jobs.report import plots
from jobs.report.page import index_page, tables_section

Json = Mapping[str, Any]


def sessions_page(report: Json) -> str:
    """The page of a report of `jobs.sessions.evaluate.evaluate_sessions`."""
    from jobs.sessions.judge import PLACES

    rows, tables = report["rows"], []
    for caption, columns, lines, figures in _tables(report):
        recall = {row: figures[row]["recall"]["value"] for row in rows}
        best = sorted(rows, key=recall.__getitem__, reverse=True)
        shown = {rows[row]: figures[row]["curve"] for row in ["live", *(row for row in best if row != "live")]}
        plot = plots.curves(shown, across="k", upwards="Recall@k", title=f"Recall@1 to @{PLACES}: {caption}")
        tables.append(
            {"caption": caption, "columns": columns, "rows": lines, "plot": plot, "plot_caption": f"Recall to {PLACES}"}
        )
    tables += [
        {"caption": caption, "columns": columns, "rows": lines, "plot": ""}
        for caption, columns, lines in (_gates(report), _costs(report), _reasons(report))
    ]
    return index_page(f"What to offer next: {report['data']['source']}", "", [],
                      [tables_section("", session_facts(report), tables)])  # fmt: skip


def session_facts(report: Json) -> list[str]:
    """What was judged and how, in sentences."""
    data, split = report["data"], report["split"]
    every, filtered = split["judged"]["all"], split["judged"]["filtered"]
    told = [
        f"{data['clicks']:,} clicks in {data['sessions']:,} sessions on {data['items']:,} items ({data['source']}, "
        f"fingerprint {data['fingerprint']}).",
        f"Learned from {split['train_clicks']:,} clicks in {split['train_sessions']:,} sessions on "
        f"{split['train_items']:,} items; judged on the last 24 hours, {every['clicks']:,} next clicks in "
        f"{every['sessions']:,} sessions, of which {every['repeats']:,} repeat the last item and {every['unseen']:,} "
        f"are on items unseen in training. The papers' protocol leaves {filtered['clicks']:,}.",
        f"{split['content']:,} items have content. Of equal scores the item with more clicks in training comes first.",
        f"Figures of what is learned are means over {report['seeds']} seeds. Intervals: 95 %, {report['resamples']:,} "
        "resamples of sessions, the same for all rows.",
        "Without repeats, a next click on the last item is not judged, and that item takes no place of a list.",
    ]
    if data["left_out"]:
        told.append(f"Left out: {'; '.join(data['left_out'])}.")
    return told


def print_sessions(report: Json) -> None:
    """The same as tables on stdout."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    for sentence in session_facts(report):
        console.print(sentence, markup=False, highlight=False)
    shown = [(caption, columns, lines) for caption, columns, lines, _ in _tables(report)]
    for caption, columns, lines in [*shown, _gates(report), _costs(report), _reasons(report)]:
        table = Table(*columns, title=caption)
        for line in lines:
            table.add_row(*map(str, line))
        console.print(table)
    console.print("passed" if report["passed"] else "a gate is missed", highlight=False)


def _tables(report: Json) -> list[tuple[str, list[str], list[list[str]], Json]]:
    """Caption, columns and rows of each way to judge, and its figures."""
    from jobs.sessions.evaluate import PROTOCOLS
    from jobs.sessions.judge import MEASURES, REPEATS

    tables = []
    for protocol, judged in PROTOCOLS.items():
        for repeats, meaning in REPEATS.items():
            figures = report["figures"][protocol][repeats]
            lines = [
                [
                    words,
                    *(_interval(figures[row][measure]) for measure in MEASURES),
                    f"{figures[row]['coverage']:.3f}",
                    f"{figures[row]['popularity']:.3f}",
                ]
                for row, words in report["rows"].items()
            ]
            columns = ["", *MEASURES.values(), "coverage", "popularity"]
            tables.append((f"{meaning[:1].upper()}{meaning[1:]}; {judged}", columns, lines, figures))
    return tables


def _gates(report: Json) -> tuple[str, list[str], list[list[str]]]:
    from jobs.sessions.judge import MEASURES, REPEATS

    lines = [
        [
            f"{MEASURES[gate['measure']]}, {gate['protocol']}, {REPEATS[gate['repeats']]}",
            report["rows"][gate["best"]],
            "{value:+.4f} ({low:+.4f} to {high:+.4f})".format(**gate["difference"]),
            "passed" if gate["passed"] else "missed",
        ]
        for gate in report["gates"]
    ]
    return "The live model against the best baseline", ["", "best baseline", "live above it", ""], lines


def _costs(report: Json) -> tuple[str, list[str], list[list[str]]]:
    lines = [
        [
            words,
            f"{report['costs'][row]['train_s']:.0f}",
            f"{report['costs'][row]['answers_per_s']:,}",
            "–" if report["unseen"][row] is None else f"{report['unseen'][row]:.3f}",
        ]
        for row, words in report["rows"].items()
    ]
    caption = "Costs on one core, and next clicks on items unseen in training"
    return caption, ["", "training, s", "answers/s, judging included", "Recall@20 of the unseen"], lines


def _reasons(report: Json) -> tuple[str, list[str], list[list[str]]]:
    from jobs.sessions.deletion import WAYS

    found = report["reasons"]
    passed = found.get("passed", {})
    caption = f"Reasons by the deletion test, {found.get('items', 0):,} items of {found['answers']:,} answers"
    columns = ["the click that is named", "without it the score falls the most"]
    return caption, columns, [[words, f"{passed[way]:.1%}"] for way, words in WAYS.items() if way in passed]


def _interval(figure: Json) -> str:
    return f"{figure['value']:.4f} ({figure['low']:.4f}–{figure['high']:.4f})"
