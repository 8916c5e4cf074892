"""What recommendations are held to: each gate with what is wanted and what was found, missed ones among them.

Some figures come out of the evaluation itself, some out of files that other commands write: the benchmarks, which need
a quiet machine, and demos. A gate whose file is not given is neither passed nor missed, and says which one it lacks.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jobs.errors import UsageProblem
from jobs.gate_row import gate_row
from jobs.sessions.judge import MEASURES, REPEATS

Json = Mapping[str, Any]
Found = tuple[str, bool | None]
"""In words, and whether it is enough; None: nothing to compare with."""

CLICKS_PER_S, EVENTS_PER_S = 20_000, 20_000
CATALOGUE_S = 5.0
_EVERY = "all"  # protocol
_WITHOUT_CONTENT = ("popularity", "random")


@dataclass(frozen=True)
class Aim:
    """A gate on a figure of a benchmark."""

    name: str
    wanted: str
    benchmark: str  # of `tests/benchmarks/run.py`
    read: Callable[[Json], Found]


def _events(found: Json) -> Found:
    made = found["with_reasons"]
    share = ", ".join(f"{part} {100 * part_share:.0f} %" for part, part_share in made["share"].items())
    told = (
        f"{made['two_processes_events_per_s']:,} events/s of two processes, {made['events_per_core_s']:,} of one core, "
        f"{found['model']['items']:,} items; of one core's time: {share}"
    )
    return told, made["two_processes_events_per_s"] >= EVENTS_PER_S


def _learning(found: Json) -> Found:
    model = found["model"]
    told = f"{model['clicks_per_s']:,} clicks/s, {model['clicks']:,} clicks on {model['items']:,} items"
    return told, model["clicks_per_s"] >= CLICKS_PER_S


def _click_to_answer(most_ms: float) -> Callable[[Json], Found]:
    def read(found: Json) -> Found:
        p50, p95 = found["latency_ms"]["p50"], found["latency_ms"]["p95"]
        told = f"p50 {p50:.0f} ms, p95 {p95:.0f} ms; {found['answers']:,} answers, {found['events_per_s']:.0f} events/s"
        return told, p50 <= most_ms

    return read


def _top_k(found: Json) -> Found:
    each = found["queries"]
    told = [
        f"{one['ours_ms']:.0f} ms for {count}"
        + (f" ({one['ours_ms'] / one['faiss_flat_ms']:.2f} times)" if "faiss_flat_ms" in one else "")
        for count, one in each.items()
    ]
    words = f"{found['items']:,} × {found['dim']}, queries at a time: {', '.join(told)}"
    if not all("faiss_flat_ms" in one for one in each.values()):
        return f"{words}; faiss is not installed there", None
    return f"{words}; faiss {found['faiss']}", all(one["ours_ms"] <= one["faiss_flat_ms"] for one in each.values())


AIMS = (
    Aim("Training of GRU4Rec on the benchmark's shop, one core", f"{CLICKS_PER_S:,} clicks/s", "sessions", _learning),
    Aim(
        "Events of sessions, every view answered with reasons, two cores",
        f"{EVENTS_PER_S:,} events/s, or where the time goes",
        "sessions",
        _events,
    ),
    Aim("Click to answer, Ray Data runner", "p50 250 ms", "clicks_micro_batch", _click_to_answer(250)),
    Aim("Click to answer, continuous runner", "p50 25 ms", "clicks_continuous", _click_to_answer(25)),
    Aim("Exact top 20 on one core", "no slower than faiss Flat", "top_k", _top_k),
)
BENCHMARKS = tuple(dict.fromkeys(aim.benchmark for aim in AIMS))


def gates_of(report: Json) -> list[dict[str, Any]]:
    """All gates of a report of `jobs.sessions.evaluate.evaluate_sessions`: name, wanted, got, passed.

    `passed` is None where nothing was measured.
    """
    return [
        *(_against_baselines(report, each) for each in report["differences"]),
        *_cold(report["cold_start"]),
        _own_training(report),
        _reasons(report["reasons"]),
        *(_apart(aim, report["measured"]["benchmarks"]) for aim in AIMS),
        *_demos(report["measured"]["demos"]),
    ]


def read_figures(path: Path, option: str) -> dict[str, Any]:
    """A JSON file of figures.

    Raises:
        UsageProblem: it cannot be read, or is none.
    """
    try:
        found = json.loads(path.read_bytes())
    except OSError as error:
        raise UsageProblem(f"{option} {path}: cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise UsageProblem(f"{option} {path}: no JSON: {error}") from None
    if not isinstance(found, dict):
        raise UsageProblem(f"{option} {path}: holds no figures by name")
    return found


def read_benchmarks(path: Path) -> dict[str, Any]:
    """Those figures of a file of `tests/benchmarks/run.py --json` that gates are about.

    Raises:
        UsageProblem: as `read_figures`, or they are not what that command writes.
    """
    found = read_figures(path, "--benchmarks")
    own = {name: found[name] for name in BENCHMARKS if name in found}
    for aim in AIMS:
        try:
            _apart(aim, own)
        except (AttributeError, KeyError, TypeError, ValueError, ZeroDivisionError) as error:
            raise UsageProblem(
                f"--benchmarks {path}: {aim.benchmark} is not as `make bench` has it ({type(error).__name__}: {error});"
                f' measure it again: make bench ARGS="{aim.benchmark} --json {path}"'
            ) from None
    return own


def read_demo(path: Path) -> dict[str, Any]:
    """The figures that `sightline demo --shop --report` wrote.

    Raises:
        UsageProblem: as `read_figures`, or they are not what that command writes.
    """
    found = read_figures(path, "--demo")
    try:
        _demo(found)
    except (KeyError, TypeError, ValueError) as error:
        raise UsageProblem(
            f"--demo {path}: not as `sightline demo --shop --report` has it, or of a demo that was stopped before "
            f"anything was answered ({type(error).__name__}: {error})"
        ) from None
    return found


def _gate(name: str, wanted: str, found: Found) -> dict[str, Any]:
    return gate_row(name, wanted, *found)


def _against_baselines(report: Json, found: Json) -> dict[str, Any]:
    protocol, repeats, measure = found["protocol"], found["repeats"], found["measure"]
    judged = "every next click" if protocol == _EVERY else "the papers' protocol"
    figures = report["figures"][protocol][repeats]
    live, best = figures["live"][measure], figures[found["best"]][measure]
    got = (
        f"{live['value']:.4f} ({live['low']:.4f} to {live['high']:.4f}), "
        f"{report['rows'][found['best']]} {best['value']:.4f}: {_signed(found['difference'])}"
    )
    name = f"{MEASURES[measure]}, {judged}, {REPEATS[repeats]}"
    return _gate(name, "the best baseline", (got, found["difference"]["value"] >= 0))


def _cold(found: Json) -> list[dict[str, Any]]:
    """Above what knows nothing of such a session, beyond chance."""
    figures, rows = found["figures"]["of_unseen"], found["rows"]
    mine = figures["cold_start"]["recall"]
    return [
        _gate(
            f"Sessions of items unseen in training, Recall@20, above {rows[other]}",
            "above it, the whole interval",
            (
                f"{mine['value']:.4f} ({mine['low']:.4f} to {mine['high']:.4f}), {rows[other]} "
                f"{figures[other]['recall']['value']:.4f}: {_signed(apart)}",
                apart["low"] > 0,
            ),
        )
        for other, apart in found["above"].items()
        if other in _WITHOUT_CONTENT
    ]


def _own_training(report: Json) -> dict[str, Any]:
    rate = report["costs"]["live"]["clicks_per_s"]
    told = f"{rate:,} clicks/s, {report['split']['train_clicks']:,} clicks on {report['split']['train_items']:,} items"
    return _gate("Training of GRU4Rec on these clicks, one core", f"{CLICKS_PER_S:,} clicks/s",
                 (told, rate >= CLICKS_PER_S))  # fmt: skip


def _reasons(found: Json) -> dict[str, Any]:
    name, wanted = "Reasons: without the click that is named first, the item's score falls the most", "every item"
    if "passed" not in found:
        return _gate(name, wanted, ("not measured: no session of the last day has clicks on two items", None))
    share, (low, high) = found["passed"]["served"], found["intervals"]["served"]
    told = f"{share:.1%} ({low:.1%} to {high:.1%}) of {found['items']:,} items of {found['answers']:,} answers"
    return _gate(name, wanted, (told, share == 1.0))


def _apart(aim: Aim, benchmarks: Json) -> dict[str, Any]:
    if aim.benchmark not in benchmarks:
        return _gate(aim.name, aim.wanted, (f"not measured: --benchmarks, with {aim.benchmark} in it", None))
    return _gate(aim.name, aim.wanted, aim.read(benchmarks[aim.benchmark][aim.benchmark]))


def _demos(demos: Sequence[Json]) -> list[dict[str, Any]]:
    gates = [gate for demo in demos for gate in _demo(demo)]
    act = "A change of the catalogue is known to every answer"
    if not any(gate["name"].startswith(act) for gate in gates):
        gates.append(_gate(f"{act} within", f"{CATALOGUE_S:.0f} s",
                           ("not measured: --demo, of a made-up shop", None)))  # fmt: skip
    return gates


def _demo(found: Json) -> list[dict[str, Any]]:
    views, reasons, catalogue, source = found["views"], found["reasons"], found["catalogue"], found["source"]
    once = f"{views['answered']:,} of {views['sent']:,}, {views['of_bots']:,} of bots not; {views['doubled']:,} doubled"
    gates = [
        _gate(f"Demo, {source}: views answered once", "all", (once, not views["missing"] and not views["doubled"])),
        _gate(
            f"Demo, {source}: items offered without a reason",
            "0",
            (f"{reasons['without']:,} of {reasons['items']:,}", not reasons["without"]),
        ),
    ]
    if (changes := catalogue["records"] - found["items"]) > 0:
        late_s, anyway = catalogue["unknown_for_ms"] / 1000, catalogue["offered_all_the_same"]
        gates += [
            _gate(f"Demo, {source}: offered though withdrawn or sold out", "0", (f"{anyway:,}", not anyway)),
            _gate(
                "A change of the catalogue is known to every answer within",
                f"{CATALOGUE_S:.0f} s",
                (f"{late_s:.2f} s at most, {changes:,} changes", late_s <= CATALOGUE_S),
            ),
        ]
    return gates


def _signed(difference: Json) -> str:
    return "{value:+.4f} ({low:+.4f} to {high:+.4f})".format(**difference)
