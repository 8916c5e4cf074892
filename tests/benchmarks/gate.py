"""The README's table of the model on real matches: `python tests/benchmarks/gate.py GOLD_TABLE`.

Trains on the gold table's matches up to 2015 and judges on 2016, as `sightline evaluate gate-lol` does.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
BEGIN, END = "<!-- evaluation: made by tests/benchmarks/gate.py -->", "<!-- end of evaluation -->"
NAMES = {
    "tsstn": "TSSTN",
    "minute_regression_gold_form": "logistic regression per minute, gold and form",
    "minute_regression_gold": "logistic regression per minute, gold",
    "gold_sign": "who has more gold",
}


def table(report: dict[str, Any]) -> str:
    """Markdown rows from the command's JSON."""
    data = report["data"]
    lines = [
        f"League of Legends professional matches, trained on {report['baselines_learned_from']}, judged on "
        f"{data['matches']:,} matches ({data['frames']:,} minutes) since {data['since']}; form is known from earlier "
        "results only.",
        "",
        "| | log-loss | accuracy | AUC | ECE |",
        "| --- | --- | --- | --- | --- |",
    ]
    for key, name in NAMES.items():
        figures = report["overall"][key]
        lines.append(
            "| " + " | ".join([name, *(f"{figures[m]:.4f}" for m in ("log_loss", "accuracy", "auc", "ece"))]) + " |"
        )
    return "\n".join(lines)


def main(gold_table: str) -> None:
    """Measure, and rewrite the table."""
    command = [sys.executable, "-m", "jobs.cli", "evaluate", "gate-lol", "--data", gold_table, "--json", "-"]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    readme = ROOT / "README.md"
    before, _, rest = readme.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    text = table(json.loads(done.stdout[done.stdout.index("{") :]))
    readme.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
