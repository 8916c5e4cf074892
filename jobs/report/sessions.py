"""Reports of next-click prediction: one page, and tables for the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jobs.report import plots
from jobs.report.page import index_page, tables_section
from jobs.report.tables import console, gates_table

Json = Mapping[str, Any]
Table = tuple[str, list[str], list[list[str]]]
"""Caption, columns and rows."""


def sessions_page(report: Json) -> str:
    """The page of a report of `jobs.sessions.evaluate.evaluate_sessions`."""
    from jobs.sessions.judge import PLACES

    rows, next_clicks = report["rows"], []
    for caption, columns, lines, figures in _tables(report):
        recall = {row: figures[row]["recall"]["value"] for row in rows}
        best = sorted(rows, key=recall.__getitem__, reverse=True)
        shown = {rows[row]: figures[row]["curve"] for row in ["live", *(row for row in best if row != "live")]}
        plot = plots.curves(shown, across="k", upwards="Recall@k", title=f"Recall@1 to @{PLACES}: {caption}")
        next_clicks.append(
            {"caption": caption, "columns": columns, "rows": lines, "plot": plot, "plot_caption": f"Recall to {PLACES}"}
        )
    next_clicks += [_plain(table) for table in (_costs(report), _reasons(report))]
    sections = [
        tables_section("The next click", session_facts(report), next_clicks),
        tables_section("Items unseen in training", cold_facts(report), [_plain(table) for table in _cold(report)]),
    ]
    if told := apart_facts(report):
        sections.append(tables_section("Measured apart", told, []))
    return index_page(f"What to offer next: {report['data']['source']}", "", report["gates"], sections)


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
        f"All of it took {report['seconds'] / 60:.0f} minutes, {report['machine']}"
        + ("; some trainings went on from where an earlier run had left them." if report["went_on"] else "."),
    ]
    if data["left_out"]:
        told.append(f"Left out: {'; '.join(data['left_out'])}.")
    return told


def cold_facts(report: Json) -> list[str]:
    """The same of items unseen in training."""
    cold = report["cold_start"]
    trial, moments = cold["trial"], cold["moments"]
    return [
        f"A made-up shop (`streaming.simulators.shop`), {cold['seeds']} seeds, each with its own goods, shoppers and "
        f"trainings: {trial['items']:,} items of {trial['categories']} categories, {trial['sessions']:,} sessions of "
        f"{trial['days']} days, the last day judged. {trial['unseen']:.0%} of the items, drawn by the seed, were taken "
        "out of all days before it; what is known of them is their category.",
        f"Together {cold['train_clicks']:,} clicks to learn from, {cold['unseen_items']:,} unseen items, "
        f"{moments['of_unseen']:,} moments after clicks on them alone, {moments['to_unseen']:,} before a click on one.",
        "After clicks on unseen items alone, Recall@20 of what answers live, minus that of a rule without a model, "
        "popularity in the category of the latest click: {value:+.4f} ({low:+.4f} to {high:+.4f}).".format(
            **cold["above"]["category"]
        ),
        f"Intervals: 95 %, {report['resamples']:,} resamples of sessions.",
    ]


def apart_facts(report: Json) -> list[str]:
    """Where and when the benchmarks of the report were measured."""
    return [
        f"Benchmark {name}: {found.get('measured', 'where and when is not said')}."
        for name, found in report["measured"]["benchmarks"].items()
    ]


def print_sessions(report: Json) -> None:
    """The same as tables on stdout."""
    from rich.table import Table as Shown

    out = console()
    for sentence in (*session_facts(report), *cold_facts(report), *apart_facts(report)):
        out.print(sentence, markup=False, highlight=False)
    shown = [(caption, columns, lines) for caption, columns, lines, _ in _tables(report)]
    for caption, columns, lines in [*shown, _costs(report), _reasons(report), *_cold(report)]:
        table = Shown(*columns, title=caption)
        for line in lines:
            table.add_row(*map(str, line))
        out.print(table)
    out.print(gates_table(report["gates"]))
    out.print("a gate is missed" if not report["passed"] else "no gate is missed", highlight=False)


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


def _cold(report: Json) -> list[Table]:
    from jobs.sessions.cold_start import ASKED

    cold, measures = report["cold_start"], ("recall", "mrr")
    return [
        (
            f"{words}, {cold['moments'][kind]:,} moments",
            ["", "Recall@20", "MRR@20", "Recall@20 by seed"],
            [
                [
                    name,
                    *(_interval(cold["figures"][kind][row][measure]) for measure in measures),
                    ", ".join(f"{value:.3f}" for value in cold["figures"][kind][row]["recall"]["seeds"]),
                ]
                for row, name in cold["rows"].items()
            ],
        )
        for kind, words in ASKED.items()
    ]


def _plain(table: Table) -> dict[str, Any]:
    """Of a page, without a chart."""
    caption, columns, lines = table
    return {"caption": caption, "columns": columns, "rows": lines, "plot": ""}


def _costs(report: Json) -> Table:
    lines = [
        [
            words,
            f"{report['costs'][row]['train_s']:.0f}",
            f"{report['costs'][row]['clicks_per_s']:,}" if "clicks_per_s" in report["costs"][row] else "–",
            f"{report['costs'][row]['answers_per_s']:,}",
            "–" if report["unseen"][row] is None else f"{report['unseen'][row]:.3f}",
        ]
        for row, words in report["rows"].items()
    ]
    caption = "Costs on one core, and next clicks on items unseen in training"
    return (
        caption,
        ["", "training, s", "clicks/s learned from", "answers/s, judging included", "Recall@20 of the unseen"],
        lines,
    )


def _reasons(report: Json) -> Table:
    from jobs.sessions.deletion import WAYS

    found = report["reasons"]
    passed = found.get("passed", {})
    caption = f"Reasons by the deletion test, {found.get('items', 0):,} items of {found['answers']:,} answers"
    columns = ["the click that is named", "without it the score falls the most"]
    lines = [
        [words, "{:.1%} ({:.1%}–{:.1%})".format(passed[way], *found["intervals"][way])]
        for way, words in WAYS.items()
        if way in passed
    ]
    return caption, columns, lines


def _interval(figure: Json) -> str:
    return f"{figure['value']:.4f} ({figure['low']:.4f}–{figure['high']:.4f})"
