"""Reports of AIFL: gates, the table of rows, checks of the AS-GAN, pictures; for a page and for the terminal."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

from jobs.report.page import index_page, tables_section
from jobs.report.tables import console, gates_table

Json = Mapping[str, Any]

FIGURES = {
    "changed_clothes_rank1": "rank-1, changed clothes",
    "changed_clothes_map": "mAP, changed clothes",
    "same_clothes_rank1": "rank-1, same clothes",
    "standard_rank1": "rank-1, standard",
    "redressed_drop": "drop, dressed anew by the AS-GAN",
    "redressed_by_simulator_drop": "drop, in another outfit",
    "look_alike_rank1": "rank-1 among look-alikes",
    "probe_apparel": "probe, clothes",
    "probe_identity": "probe, identity",
    "train_s": "training, s",
}
GAN_FIGURES = {
    "obedience": "cos(E_a(x̃), z), mean",
    "obedience_5th_percentile": "the same, 5th percentile",
    "obedience_without_dressing": "the same of x, not dressed anew",
    "histogram_agrees_with_donor": "torso's colour histogram nearer to the donor's than to its own before (chance: .5)",
    "locality": "mean change where α ≤ ½, of 1",
    "painted_share": "share of the picture with α > ½",
    "identity_unedited": "rank-1 by heads alone, not dressed anew",
    "identity_agreement": "rank-1 of x̃ by heads alone, of that",
    "variety": "distance of pairs of 16 outfits on one person (features of the baseline)",
    "variety_of_the_truth": "the same distance of true outfits",
    "frechet": "Fréchet distance to real crops (features of the baseline)",
    "frechet_of_stargan": "the same of a StarGAN trained on the same crops",
    "frechet_of_the_truth": "the same of the same people in other outfits, drawn",
    "train_s": "training, s",
}
NOT_RUN = "not run"
_CAPTIONS = {
    "dolls.png": "Paper dolls: a person a row, three outfits, each seen by four cameras",
    "dressed.png": "Dressed anew: donors above; on the left the person, and where clothes are painted",
    "wardrobe.png": "The wardrobe: one typical crop of each group of apparel embeddings, the largest group first",
}


def aifl_page(report: Json, pictures: Mapping[str, bytes]) -> str:
    """The page of a report of `jobs.reid.aifl_evaluate.evaluate_aifl`, with PNG pictures by name within it."""
    tables: list[Json] = [
        {"caption": caption, "columns": columns, "rows": lines, "plot": ""}
        for caption, columns, lines in _tables(report)
    ]
    for name, content in pictures.items():
        encoded = base64.b64encode(content).decode()
        image = f'<img alt="{_CAPTIONS[name]}" style="max-width:100%" src="data:image/png;base64,{encoded}">'
        tables.append({"caption": name, "columns": [], "rows": [], "plot": image, "plot_caption": _CAPTIONS[name]})
    section = tables_section("Paper dolls", aifl_facts(report), tables)
    return index_page("The same person in other clothes", "", report["gates"], [section])


def aifl_facts(report: Json) -> list[str]:
    """What was judged and how, in sentences."""
    study = report["study"]
    network, seeds = study["aifl"]["network"], report["seeds"]
    return [
        f"{seeds} seed{'s' * (seeds > 1)}, each with its own dolls, networks and chance. "
        + ("" if seeds > 1 else "One seed says nothing of the spread. ")
        + f"{study['people']} people to learn from, in one outfit each, {study['strangers']} strangers, "
        f"{study['judged']} others to judge, in {study['outfits']} outfits by {study['cameras']} cameras "
        f"(those for {'reporting' if study['part'] == 'report' else 'choosing'}).",
        f"Crops of {network['height_px']} × {network['width_px']} px; {study['aifl']['optim']['epochs']} epochs; "
        f"AS-GAN {study['gan']['optim']['steps']:,} steps of {study['gan']['optim']['batch']}.",
        "Every crop is a query against all others, without the same person in the same camera. A query that is dressed "
        "anew looks for the images in the clothes that it wore.",
    ]


def print_aifl(report: Json) -> None:
    """The same as tables on stdout."""
    from rich.table import Table

    out = console()
    for sentence in aifl_facts(report):
        out.print(sentence, markup=False, highlight=False)
    for caption, columns, lines in _tables(report):
        table = Table(*columns, title=caption)
        for line in lines:
            table.add_row(*line)
        out.print(table)
    out.print(gates_table(report["gates"]))


def _tables(report: Json) -> list[tuple[str, list[str], list[list[str]]]]:
    """Caption, columns and rows of each table."""
    from jobs.reid.intervals import MEASURES, RULES

    tables = [
        (
            "People never seen; mean over seeds ± standard deviation",
            ["", *FIGURES.values()],
            [[words, *_row(report["figures"].get(row))] for row, words in report["rows"].items()],
        ),
        (
            "The AS-GAN",
            ["", "found"],
            [[words, _cell(report["gan"].get(figure))] for figure, words in GAN_FIGURES.items()],
        ),
    ]
    if (real := report["real"]) is not None:
        for rule, meaning in RULES.items():
            lines = [
                [report["rows"][row], *(_interval(figures[rule][measure]) for measure in MEASURES)]
                for row, figures in real["figures"].items()
            ]
            apart = real["above_baseline"][rule]
            lines.append(["AIFL above the baseline", *(_interval(apart[measure], "+") for measure in MEASURES)])
            caption = f"{real['source']}: {real['people']} people in {real['folds']} folds, {real['epochs']} epochs; "
            tables.append((f"{caption}{meaning}; 95 % intervals over people", ["", *MEASURES.values()], lines))
    return tables


def _row(figures: Json | None) -> list[str]:
    if figures is None:
        return [NOT_RUN, *[""] * (len(FIGURES) - 1)]
    return [_cell(figures.get(figure)) for figure in FIGURES]


def _interval(figure: Json, sign: str = "") -> str:
    return f"{figure['value']:{sign}.3f} ({figure['low']:{sign}.3f} to {figure['high']:{sign}.3f})"


def _cell(figure: Json | None) -> str:
    if figure is None:
        return NOT_RUN
    return f"{figure['mean']:.3f}" + (f" ± {figure['sd']:.3f}" if len(figure["each"]) > 1 else "")
