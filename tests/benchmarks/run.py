"""All benchmarks, one after another, each in a process of its own; the README's table is made from what they print.

make bench                          everything (about 40 minutes), then the table in README.md is rewritten
make bench ARGS="codec latency"     only these; the table is left alone

A benchmark that fails does not stop the others: it is named at the end, the exit code is 1, and the table stays.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from jobs.runs.environment import machine_words

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
BEGIN, END = "<!-- benchmarks: made by `make bench` -->", "<!-- end of benchmarks -->"

BENCHMARKS: dict[str, list[str]] = {
    "codec": ["bench_codec.py"],
    "model": ["bench_model.py"],
    "dolls": ["bench_dolls.py"],
    "decode": ["bench_decode.py"],
    "cameras": ["bench_cameras.py"],
    "sightings": ["bench_sightings.py"],
    "reid": ["bench_reid.py"],
    "gallery": ["bench_gallery.py"],
    "top_k": ["bench_top_k.py"],
    "sessions": ["bench_sessions.py"],
    "clicks_micro_batch": ["bench_clicks.py"],
    "clicks_continuous": ["bench_clicks.py", "--workers", "1"],
    "transport": ["bench_transport.py"],
    "startup": ["bench_startup.py"],
    "restore": ["bench_restore.py"],
    "dataset": ["bench_dataset.py"],
    "training": ["bench_training.py"],
    "latency": ["bench_pipeline.py", "latency"],
    "sustained": ["bench_pipeline.py", "sustained"],
    "memory": ["bench_pipeline.py", "memory"],
    "swap": ["bench_swap.py"],
    "pages": ["bench_pages.py"],
    "reference_latency": ["bench_reference.py", "latency"],
    "reference_drain": ["bench_reference.py", "drain"],
    "overload": ["bench_overload.py"],
    "storm": ["bench_storm.py"],
    "restart": ["bench_recovery.py", "restart"],
    "failover": ["bench_recovery.py", "failover"],
    "continuous_latency": ["bench_reference.py", "latency", "--workers", "1"],
    "continuous_drain": ["bench_reference.py", "drain", "--workers", "1"],
    "by_hand_latency": ["bench_reference.py", "latency", "--by-hand"],
    "plain_latency": ["bench_reference.py", "latency", "--workers", "1", "--at-least-once"],
    "plain_drain": ["bench_reference.py", "drain", "--workers", "1", "--at-least-once"],
}
TOGETHER = {
    "reference": ("reference_latency", "reference_drain"),
    "continuous": ("continuous_latency", "continuous_drain"),
    "plain": ("plain_latency", "plain_drain"),
    "recovery": ("restart", "failover"),
    "shop": ("top_k", "sessions", "clicks_micro_batch", "clicks_continuous"),
}
"""Names for several."""


class Failed(RuntimeError):
    """A benchmark ended without a result; the message says how."""


def run(name: str) -> dict[str, Any]:
    """One benchmark's result. Raises `Failed`."""
    script, *arguments = BENCHMARKS[name]
    sys.stderr.write(f"{name} …\n")
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, str(HERE / script), *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode:
        raise Failed(f"exit code {done.returncode}")
    try:
        result: dict[str, Any] = json.loads(done.stdout[done.stdout.index("{") :])
    except ValueError as error:
        raise Failed(f"printed no JSON: {error}") from error
    result["measured"] = f"{time.strftime('%Y-%m-%d', time.gmtime())}, {machine_words()}"
    sys.stderr.write(f"{name}: {time.monotonic() - began:.0f} s\n")
    return result


def machine(gpu: str) -> str:
    """The machine in words, with its GPU."""
    return f"{machine_words()}, {gpu}, Python {platform.python_version()}"


def rows(results: dict[str, dict[str, Any]]) -> list[tuple[str, str, str]]:
    """(what, aim, measured) for every figure that the README states."""
    codec = results["codec"]["codec"]
    latency, sustained = results["latency"]["latency"], results["sustained"]["sustained"]
    memory = results["memory"]["memory"]
    alone = results["model"]["model"]["cpu"]["alone_ms"]["predictor"]
    startup, transport = results["startup"]["startup"], results["transport"]
    model = results["model"]["model"]
    race, drain = results["reference_latency"]["reference_latency"], results["reference_drain"]["reference_drain"]
    swift, gush = results["continuous_latency"]["continuous_latency"], results["continuous_drain"]["continuous_drain"]
    hand = results["by_hand_latency"]["by_hand_latency"]
    prompt, flood = results["plain_latency"]["plain_latency"], results["plain_drain"]["plain_drain"]
    ms, pages = latency["latency_ms"], results["pages"]["pages"]
    restore = results["restore"]["restore"]
    burst, storm = results["overload"]["overload"], results["storm"]["storm"]
    again, failover = results["restart"]["restart"], results["failover"]["failover"]
    dataset, swap = results["dataset"]["dataset"], results["swap"]["swap"]
    dolls, training = results["dolls"]["dolls"], results["training"]["training"]
    pictures, watched = results["decode"]["decode"], results["cameras"]["cameras"]
    reid, gallery = results["reid"]["reid"], results["gallery"]["gallery"]
    carried, sighted = watched[watched["best"]], results["sightings"]["sightings"]
    searched, shop = results["top_k"]["top_k"], results["sessions"]["sessions"]
    clicked = {name: results[f"clicks_{name}"][f"clicks_{name}"] for name in ("micro_batch", "continuous")}
    return [
        (
            f"event to insight at {latency['events_per_s']:,.0f} events/s, every event answered, p50 / p99",
            "150 / 400 ms",
            f"{ms['p50']:.0f} / {ms['p99']:.0f} ms",
        ),
        (
            f"sustained, {sustained['matches']} live matches, contributions on",
            "5,000 events/s",
            f"{sustained['answers_per_s']:,} events/s",
        ),
        (
            f"memory of all processes, {memory['minutes']:.0f} minutes at {memory['commits_per_s']:.0f} commits/s",
            "+10 MB",
            f"{memory['growth_mb']:+.1f} MB of {memory['before_mb']:,.0f} MB",
        ),
        (
            f"promotion and rollback at {swap['events_per_s']:,.0f} events/s, answers failed / lost / doubled",
            "0 / 0 / 0, each move changes the version once a partition",
            f"{swap['failed']} / {swap['lost']} / {swap['doubled']}, "
            + ("once" if swap["once_a_partition"] and not swap["of_another_version"] else "NOT once"),
        ),
        (
            "the same, p99 before / from the promotion on / from the rollback on",
            "1.5 times",
            f"{swap['latency_ms']['before']['p99']:.0f} / {swap['latency_ms']['promotion']['p99']:.0f} / "
            f"{swap['latency_ms']['rollback']['p99']:.0f} ms ({max(swap['p99_times'].values()):.2f} times)",
        ),
        (
            "the same, from the command to the first answer, by the new version / by the old one again",
            "5 s",
            f"{swap['first_answer_after_s']['promotion']:.1f} / {swap['first_answer_after_s']['rollback']:.1f} s",
        ),
        (
            f"reference workload, {race['frames_per_s']:.0f} frames/s, set time to receipt, p50 / p99",
            "",
            f"{race['latency_ms']['p50']:.0f} / {race['latency_ms']['p99']:.0f} ms",
        ),
        (
            f"reference workload, {drain['events']:,} preloaded, exactly once",
            "49,000 events/s",
            f"{drain['events_per_s']:,} events/s",
        ),
        (
            f"the same by the continuous runner, {swift['frames_per_s']:.0f} frames/s, exactly once, p50 / p99",
            "12 / 30 ms",
            f"{swift['latency_ms']['p50']:.0f} / {swift['latency_ms']['p99']:.0f} ms",
        ),
        (
            f"the same by a loop written by hand on kafka-python, {hand['frames_per_s']:.0f} frames/s, p50 / p99",
            "",
            f"{hand['latency_ms']['p50']:.0f} / {hand['latency_ms']['p99']:.0f} ms",
        ),
        (
            f"the same by the continuous runner, {gush['events']:,} preloaded, exactly once",
            "40,000 events/s",
            f"{gush['events_per_s']:,} events/s",
        ),
        (
            f"the same by the continuous runner, {prompt['frames_per_s']:.0f} frames/s, at least once, p50 / p99",
            "8 / 20 ms",
            f"{prompt['latency_ms']['p50']:.0f} / {prompt['latency_ms']['p99']:.0f} ms",
        ),
        (
            f"the same by the continuous runner, {flood['events']:,} preloaded, at least once",
            f"at most {1 / 0.85:.2f} times the rate of exactly once",
            f"{flood['events_per_s']:,} events/s ({flood['events_per_s'] / gush['events_per_s']:.2f} times)",
        ),
        *(
            (
                f"ten times the sustainable rate, {name.replace('_', '-')} runner: memory, time to recover",
                f"+{over['bound_mb']:.0f} MB",
                f"{over['growth_mb']:+.0f} MB, {over['recovery_s']:.0f} s after a backlog of {over['backlog']:,}",
            )
            for name, over in burst.items()
        ),
        *(
            (
                f"one bad record in ten, {name.replace('_', '-')} runner: rate of the good ones, bad ones spread / in "
                "clusters",
                "0.80 times that without",
                f"{stormy['spread']['ratio']:.2f} / {stormy['clustered']['ratio']:.2f} times",
            )
            for name, stormy in storm.items()
        ),
        (
            f"continuous runner started anew on a running Ray, {again['keys']:,} keys: first answer, median / worst",
            "5 s",
            f"{again['first_answer_s']['median']:.1f} / {again['first_answer_s']['worst']:.1f} s",
        ),
        (
            f"one of two workers killed at {failover['frames_per_s']:.0f} frames/s: answers of its partitions again, "
            "median / worst",
            "10 s",
            f"{failover['answers_again_s']['median']:.1f} / {failover['answers_again_s']['worst']:.1f} s",
        ),
        (
            "one frame alone with its contributions, one core, p50 / p99",
            "1 ms",
            f"{alone['p50']:.2f} / {alone['p99']:.2f} ms",
        ),
        (
            f"frames with contributions, {model['rows']:,} a batch, one core",
            "100,000 frames/s",
            f"{model['cpu']['frames_per_s']['predictor']:,} frames/s",
        ),
        (
            f"frames with contributions, {model['rows']:,} a batch, GPU",
            "",
            f"not measured: {model['gpu']['skipped']}"
            if "skipped" in model["gpu"]
            else f"{model['gpu']['frames_per_s']['predictor']:,} frames/s ({model['gpu']['device']})",
        ),
        (
            f"state restored at a start, {restore['keys']:,} keys, {restore['records'] // restore['keys']} versions of "
            "each uncompacted",
            "10 s",
            f"{max(restore[shape]['restore_s'] for shape in ('large', 'small')):.1f} s",
        ),
        (
            f"training set of {dataset['events']:,} events on a topic, {dataset['tasks']} partitions at a time",
            "200,000 events/s",
            f"{dataset['events_per_s']:,} events/s",
        ),
        (
            "training on one worker of Ray Train, against the same loop without Ray",
            "0.90 times",
            f"{training['ratio_to_alone']['ray']:.2f} times ({training['matches_per_s']['ray']:,} matches/s)",
        ),
        ("paper dolls, crops of 64 × 128 px, one core", "2,000 crops/s", f"{dolls['crops_per_s']:,} crops/s"),
        ("demo, warm start to first insight", "30 s", f"{startup['first_insight_s']:.1f} s"),
        ("`sightline --help`", "0.5 s", f"{startup['help_s']:.2f} s"),
        (
            f"wall of {pages['frames']['cards']} live cards, {pages['frames']['answers_per_s']:.0f} answers/s, drawn "
            "without a GPU",
            "60 frames/s",
            f"{pages['frames']['frames_per_s']:.0f} frames/s",
        ),
        (
            "first paint of the wall / of a match",
            "",
            f"{pages['wall']['first_paint_ms']} / {pages['match']['first_paint_ms']} ms",
        ),
        (
            "decode, 1,000-record polls of match.events, against fastavro to dicts to a frame",
            "10×",
            f"{codec['decode_match_events_ratio']:.0f}× ({codec['decode_match_events_rows_per_s']:,.0f} rows/s)",
        ),
        (
            f"camera frames of {pictures['size']} checked and decoded, one core, against simplejpeg alone",
            "85 %",
            f"{100 * pictures['ratio']:.0f} % ({pictures['frames_per_s']:,.0f} frames/s)",
        ),
        (
            f"cameras that one core carries: {watched['size']}, {watched['fps']} frames/s, "
            f"{watched['persons_a_frame']:.0f} people in each; detector {watched['best']}",
            "",
            f"{carried['cameras_a_core']:.1f}: {carried['ms_a_frame']:.0f} ms a frame ("
            + ", ".join(f"{part} {100 * share:.0f} %" for part, share in carried["share"].items())
            + ")",
        ),
        *(
            (
                f"frame to sighting, {sighted['cameras']} cameras of {sighted['size']} at {sighted['fps']} frames/s, "
                f"{how}, p50 / p95",
                "400 ms in the median",
                f"{sighted[name]['latency_ms']['p50']} / {sighted[name]['latency_ms']['p95']} ms, on average ("
                + ", ".join(f"{part} {ms:.0f}" for part, ms in sighted[name]["mean_ms_by_part"].items())
                + ")",
            )
            for name, how in (("boxes", "boxes sent along"), ("detected", f"detector {sighted['detector']}"))
        ),
        (
            f"crops embedded by {reid['model']}, {reid['crops']} a batch, one core, against the bare network",
            "",
            f"{reid['cpu']['crops_per_s']:,} crops/s ({100 * reid['cpu']['ratio']:.0f} %)",
        ),
        (
            "the same, GPU",
            "60 %",
            f"not measured: {reid['gpu']['skipped']}"
            if "skipped" in reid["gpu"]
            else f"{reid['gpu']['crops_per_s']:,} crops/s ({100 * reid['gpu']['ratio']:.0f} %)",
        ),
        *(
            (
                f"{gallery['queries']} looks of {size} numbers matched with {gallery['identities']:,} identities as "
                f"the pipeline does: all of them / the {asked['candidates']:,} of the last half hour, p50",
                "5 ms",
                f"{asked['match_ms']['p50']:.1f} / {asked['match_recent_ms']['p50']:.1f} ms",
            )
            for size, asked in gallery["dimensions"].items()
            if size != "512"
        ),
        *(
            (
                f"events of sessions, every view answered {how.replace('_', ' ')}, {shop['model']['items']:,} items: "
                "two processes / one core",
                "20,000 events/s",
                f"{made['two_processes_events_per_s']:,} / {made['events_per_core_s']:,} events/s, "
                f"{made['views_per_core_s']:,} answers/s a core ("
                + ", ".join(f"{part} {100 * share:.0f} %" for part, share in made["share"].items())
                + ")",
            )
            for how, made in ((how, shop[how]) for how in ("with_reasons", "without_reasons"))
        ),
        (
            f"GRU4Rec learning from {shop['model']['clicks']:,} clicks on {shop['model']['items']:,} items, one core",
            "20,000 clicks/s",
            f"{shop['model']['clicks_per_s']:,} clicks/s",
        ),
        *(
            (
                f"click to answer with reasons, {name.replace('_', '-')} runner, {one['events_per_s']:.0f} events/s, "
                "p50 / p95",
                aim,
                f"{one['latency_ms']['p50']:.0f} / {one['latency_ms']['p95']:.0f} ms",
            )
            for (name, one), aim in zip(clicked.items(), ("250 ms", "25 ms"), strict=True)
        ),
        *(
            (
                f"top {searched['k']} exactly over {searched['items']:,} × {searched['dim']}, one core, "
                f"{count} {'query' if count == '1' else 'queries'}, beside faiss Flat",
                "1.00 times its time",
                f"{one['ours_ms']:.0f} ms"
                + (
                    f" ({one['ours_ms'] / one['faiss_flat_ms']:.2f} times)"
                    if "faiss_flat_ms" in one
                    else " (faiss is not installed)"
                ),
            )
            for count, one in searched["queries"].items()
        ),
        ("encode, fixed-width answers, against fastavro", "10×", f"{codec['encode_fixed_ratio']:.0f}×"),
        (
            "produce in transactions, columns against `send()`",
            "",
            f"{transport['produce_columns']['records_per_s']:,} against "
            f"{transport['produce_send']['records_per_s']:,} records/s",
        ),
    ]


def table(results: dict[str, dict[str, Any]]) -> str:
    gpu = results["model"]["model"]["gpu"].get("device", "no GPU")
    lines = [
        f"Measured on {machine(gpu)}, {time.strftime('%Y-%m-%d', time.gmtime())}.",
        "",
        "| figure | aim | measured |",
    ]
    lines += ["| --- | --- | --- |", *(f"| {what} | {aim} | {figure} |" for what, aim, figure in rows(results))]
    return "\n".join(lines)


def write_readme(text: str) -> None:
    readme = ROOT / "README.md"
    before, _, rest = readme.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    if not after:
        sys.exit(f"README.md has no place for the table: {BEGIN} … {END}")
    readme.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of: {', '.join((*BENCHMARKS, *TOGETHER))}")
    parser.add_argument("--json", type=Path, help="also write all results here; those already in it are kept")
    options = parser.parse_args()
    wanted = [name for given in options.names for name in TOGETHER.get(given, (given,))] or list(BENCHMARKS)
    unknown = set(wanted) - set(BENCHMARKS)
    if unknown:
        parser.error(f"no benchmark {', '.join(sorted(unknown))}; there are: {', '.join((*BENCHMARKS, *TOGETHER))}")
    results: dict[str, dict[str, Any]] = {}
    if options.json is not None and options.json.exists():
        results = json.loads(options.json.read_text())
    failed: dict[str, str] = {}
    for name in wanted:
        try:
            results[name] = run(name)
        except Failed as failure:
            failed[name] = str(failure)
            results.pop(name, None)  # an older figure would pass for a new one
        if options.json is not None:
            options.json.write_text(json.dumps(results, indent=2) + "\n")
    sys.stdout.write(json.dumps(results, indent=2) + "\n")
    if failed:
        sys.exit("\n".join(f"{name} failed: {reason}" for name, reason in failed.items()))
    if all(name in results for name in BENCHMARKS):
        write_readme(table(results))


if __name__ == "__main__":
    main()
