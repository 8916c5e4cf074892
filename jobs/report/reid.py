"""Reports of re-identification: one page, and tables for the terminal and the README."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jobs.report import plots
from jobs.report.page import index_page, tables_section
from jobs.report.tables import console

Json = Mapping[str, Any]


def reid_page(report: Json) -> str:
    """The page of a report of `jobs.reid.evaluate.evaluate_reid`."""
    from jobs.reid.intervals import MEASURES, RANKS, RULES

    words, tables = report["rows"], []
    for rule, meaning in RULES.items():
        figures = {row: found[rule] for row, found in report["figures"].items()}
        curves = {words[row]: found["cmc"] for row, found in figures.items()}
        tables.append(
            {
                "caption": f"{meaning[:1].upper()}{meaning[1:]}; with 95 % intervals over people",
                "columns": ["", *MEASURES.values(), "mAP above the histogram"],
                "rows": [
                    [
                        words[row],
                        *(_interval(found[measure]) for measure in MEASURES),
                        _apart(report["above_histogram"][row][rule]["map"]) if row in report["above_histogram"] else "",
                    ]
                    for row, found in figures.items()
                ],
                "plot": plots.curves(
                    curves,
                    across="rank",
                    upwards="found by then",
                    title=f"CMC to rank {RANKS}, {meaning}; the table above has ranks 1 and 5",
                ),
                "plot_caption": f"CMC to rank {RANKS}",
            }
        )
    tables.append(
        {
            "caption": "mAP of each fold, usual rule / across cameras",
            "columns": ["fold", "people", "epochs", "training loss", "training, s", *words.values()],
            "rows": [
                [
                    number,
                    fold["people"],
                    fold["epochs"],
                    f"{fold['train_loss']:.3f}",
                    f"{fold['train_s']:.0f}",
                    *(" / ".join(f"{value:.3f}" for value in fold["map"][row].values()) for row in words),
                ]
                for number, fold in enumerate(report["folds"], start=1)
            ],
            "plot": "",
        }
    )
    title = f"Finding people again: {report['data']['source']}"
    return index_page(title, "", [], [tables_section("", reid_facts(report), tables)])


def reid_facts(report: Json) -> list[str]:
    """What was judged and how, in sentences."""
    data, recipe, folds = report["data"], report["recipe"], report["folds"]
    network = recipe["network"]
    sizes = sorted({fold["people"] for fold in folds})
    between = f"{sizes[0]}" if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]}"
    return [
        f"{data['people']:,} people, {data['images']:,} crops, {data['cameras']} cameras ({data['source']}, "
        f"fingerprint {data['fingerprint']}).",
        f"{len(folds)} folds by person: a network is judged on {between} people whom it has never seen. Every crop "
        "of theirs is a query against all of theirs; figures are means over queries.",
        f"Network: {report['parameters']:,} parameters, crops of {network['height_px']} × {network['width_px']} px; "
        f"{recipe['optim']['epochs']} epochs, seed {recipe['seed']}, "
        + (f"from {recipe['weights']}." if recipe["weights"] else "from fresh weights."),
        "Average precision is the mean precision at each right image.",
        f"Intervals: 95 %, {report['resamples']:,} resamples of people, the same for all rows.",
    ]


def print_reid(report: Json) -> None:
    """The same as tables on stdout."""
    from rich.table import Table

    from jobs.reid.intervals import MEASURES, RULES

    out = console()
    for sentence in reid_facts(report):
        out.print(sentence, markup=False, highlight=False)
    for rule, meaning in RULES.items():
        table = Table("", *MEASURES.values(), "mAP above the histogram", title=meaning)
        for row, words in report["rows"].items():
            found = report["figures"][row][rule]
            apart = report["above_histogram"].get(row)
            cells = (_interval(found[measure]) for measure in MEASURES)
            table.add_row(words, *cells, _apart(apart[rule]["map"]) if apart else "")
        out.print(table)


def _interval(figure: Json) -> str:
    return f"{figure['value']:.3f} ({figure['low']:.3f}–{figure['high']:.3f})"


def _apart(figure: Json) -> str:
    return f"{figure['value']:+.3f} ({figure['low']:+.3f} to {figure['high']:+.3f})"
