"""The page, the README's table and the words at the end of `sightline evaluate reproduce`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jobs.files import write_text
from jobs.report import plots
from jobs.report.page import index_page, section, tables_section
from jobs.report.tables import markdown_figures

Json = Mapping[str, Any]
BEGIN, END = "<!-- evaluation: made by sightline evaluate reproduce -->", "<!-- end of evaluation -->"
TITLES = {"lol": "League of Legends", "dota2": "Dota 2"}
_CURVES = 4


def reproduced_page(report: Json) -> str:
    """All sections on one page, the gates first."""
    sections = [
        section(report["lol"], "League of Legends: learned from the years to 2015, judged on 2016"),
        section(report["dota2"], "Dota 2: five folds by match"),
        tables_section(
            "What each choice is worth",
            [
                "TSSTN trained anew with one choice made otherwise, on validation matches: of League of Legends the "
                "second half of the years to 2015, of Dota 2 three folds of what the first of the five learns from. "
                "Difference: log-loss minus that of the default, with its interval over matches."
            ],
            [_choices_table(TITLES[name], of) for name, of in report["choices"].items()],
        ),
        tables_section(
            "Are the reasons true?",
            [
                "Fidelity at k: keep the k groups that a method names, level the others; share of frames at which the "
                "same camp stays ahead. Removal at k: level those k; mean change of the win probability. "
                "Dota 2, the first of five folds.",
            ],
            _fidelity_tables(report["fidelity"]),
        ),
        tables_section(
            "Does it weigh groups as the simulator does?",
            [agreement_words(title, found) for title, found in report["simulator"].items()],
            [],
        ),
    ]
    lead = f"Made by sightline evaluate reproduce in {report['seconds'] / 60:.0f} minutes."
    return index_page("Win prediction: every table", lead, report["gates"], sections)


def readme_table(report: Json) -> str:
    """Markdown for between the README's markers."""
    parts = []
    for name, title in TITLES.items():
        of = report[name]
        data = of["data"]
        parts += [
            f"{title}, professional matches; learned from {of['baselines_learned_from']}, "
            f"judged on {data['matches']:,} matches ({data['frames']:,} frames); form is of earlier results only.",
            "",
            markdown_figures(of),
            "",
        ]
    missed = [gate for gate in report["gates"] if not gate["passed"]]
    passed = len(report["gates"]) - len(missed)
    said = "; ".join(f"{gate['name']}: wanted {gate['wanted']}, got {gate['got']}" for gate in missed)
    parts.append(f"{passed} of {len(report['gates'])} gates passed" + (f". Missed: {said}." if missed else "."))
    return "\n".join(parts)


def has_markers(readme: Path) -> bool:
    """Whether this file has a place for the table."""
    if not readme.is_file():
        return False
    text = readme.read_text(encoding="utf-8")
    return BEGIN in text and END in text.partition(BEGIN)[2]


def rewrite_readme(readme: Path, report: Json) -> None:
    """Put the new table between the markers.

    Raises:
        ValueError: there are none.
    """
    if not has_markers(readme):
        raise ValueError(f"{readme}: no line {BEGIN} with {END} after it")
    before, _, rest = readme.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    write_text(readme, f"{before}{BEGIN}\n{readme_table(report)}\n{END}{after}")


def gate_lines(gates: Sequence[Json]) -> list[str]:
    """One line a gate, PASSED or MISSED first."""
    return [
        f"{'PASSED' if gate['passed'] else 'MISSED'}  {gate['name']}: wanted {gate['wanted']}, got {gate['got']}"
        for gate in gates
    ]


def agreement_words(title: str, found: Json) -> str:
    """What the simulator says of one title, in a sentence."""
    return (
        f"{title}: learned from {found['learned_from']}, compared on {found['matches']:,} other matches over "
        f"{found['minutes']} minutes: Spearman {found['weights']:.3f} between learned weights and true importance, "
        f"{found['contributions']:.3f} between contributions and true importance."
    )


def _choices_table(title: str, of: Json) -> dict[str, Any]:
    rows = []
    for row in of["rows"]:
        apart = row["difference"]
        rows.append(
            [
                row["words"],
                *(f"{row[measure]:.4f}" for measure in ("log_loss", "accuracy", "ece")),
                " ".join(f"{value:.4f}" for value in row["log_loss_by_run"]),
                f"{apart[0]:+.4f} ({apart[1]:+.4f} to {apart[2]:+.4f})" if apart else "",
            ]
        )
    learned = " or ".join(f"{matches:,}" for matches in of["learned_from"])
    how = f"{of['runs']} seeds" if of["same_matches"] else f"{of['runs']} folds, another seed in each"
    columns = ["choice", "log-loss", "accuracy", "ECE", f"log-loss of {how}", "difference"]
    caption = f"{title}: learned from {learned} matches, judged on {of['matches']:,}"
    return {"caption": caption, "columns": columns, "rows": rows, "plot": ""}


def _fidelity_tables(found: Json) -> list[dict[str, Any]]:
    rows = found["rows"]
    groups = len(rows[0]["fidelity"]["at"])
    own_first = sorted(rows, key=lambda row: (row["method"] != found["own"], -row["fidelity"]["area"]))[:_CURVES]
    tables = []
    for measure, caption, digits in (
        ("fidelity", "Fidelity at k, and its area; behind the best at k = 3; cost in plain forward passes", 3),
        ("removal", "Removal at k, and its area (the deletion curve)", 3),
    ):
        columns = ["method", *(f"k = {k}" for k in range(1, groups + 1)), "area", "behind at 3", "cost"]
        tables.append(
            {
                "caption": f"{caption}; {rows[0]['frames']:,} frames of {rows[0]['matches']:,} matches",
                "columns": columns,
                "rows": [
                    [
                        row["method"],
                        *(f"{value:.{digits}f}" for value in row[measure]["at"]),
                        f"{row[measure]['area']:.{digits}f}",
                        f"{100 * row['behind_best'][min(2, groups - 1)]:.1f} points",
                        f"{row['cost']:.2f}",
                    ]
                    for row in rows
                ],
                "plot": plots.curves(
                    {row["method"]: row[measure]["at"] for row in own_first},
                    across="k, groups",
                    upwards=measure,
                    title=f"{measure} over k; the table above has the figures",
                ),
                "plot_caption": f"{measure} over k",
            }
        )
    return tables
