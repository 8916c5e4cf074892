"""Fit the guard's baseline of a title: python -m jobs.fit_baseline lol [--matches 6000] [--seed 1] [--out FILE]

The matches are simulated; some 10 s for 6,000 of them.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from streaming.features import baseline
from streaming.features.match_fold import fold_events
from streaming.simulators.match import simulate
from streaming.simulators.titles import SIMULATED_TITLES

SAMPLE_S = {"lol": 300.0, "dota2": 300.0, "hok": 120.0}


def main(argv: Sequence[str] | None = None) -> None:
    """Fit, and write the file."""
    args = _parser().parse_args(argv)
    events = simulate(args.title, args.matches, args.seed).events
    fitted = baseline.fit_baseline(
        fold_events(events),
        title=args.title,
        trained_on=f"simulator {args.title}, {args.matches:,} matches, seed {args.seed}",
        sample_s=SAMPLE_S[args.title],
    )
    fitted.save(args.out or Path(baseline.__file__).parent / "titles" / f"{args.title}.baseline.json")
    sys.stdout.write(f"{args.title}: {len(fitted.minutes)} minutes fitted on {fitted.trained_on}\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m jobs.fit_baseline", description=__doc__.splitlines()[0])
    parser.add_argument("title", choices=sorted(SIMULATED_TITLES))
    parser.add_argument("--matches", type=int, default=6_000, help="how many to simulate")
    parser.add_argument("--seed", type=int, default=1, help="of the simulator")
    parser.add_argument("--out", type=Path, help="file to write; the packaged one by default")
    return parser


if __name__ == "__main__":
    main()
