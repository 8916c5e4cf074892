"""All benchmarks, one after another, each in a process of its own; the README's table is made from what they print.

make bench                          everything (about 20 minutes), then the table in README.md is rewritten
make bench ARGS="codec latency"     only these; the table is left alone
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

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
BEGIN, END = "<!-- benchmarks: made by `make bench` -->", "<!-- end of benchmarks -->"

BENCHMARKS: dict[str, list[str]] = {
    "codec": ["bench_codec.py"],
    "transport": ["bench_transport.py"],
    "startup": ["bench_startup.py"],
    "latency": ["bench_pipeline.py", "latency"],
    "sustained": ["bench_pipeline.py", "sustained"],
    "memory": ["bench_pipeline.py", "memory"],
}


def run(name: str) -> dict[str, Any]:
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
        sys.exit(f"{name}: exit code {done.returncode}")
    result: dict[str, Any] = json.loads(done.stdout[done.stdout.index("{") :])
    sys.stderr.write(f"{name}: {time.monotonic() - began:.0f} s\n")
    return result


def machine() -> str:
    """The machine in words: cores, memory, processor."""
    memory_gb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    names = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    processor = names[0].partition(": ")[2] if names else platform.processor()
    return f"{os.cpu_count()} cores ({processor}), {memory_gb:.0f} GiB, no GPU, Python {platform.python_version()}"


def rows(results: dict[str, dict[str, Any]]) -> list[tuple[str, str, str]]:
    """(what, aim, measured) for every figure that the README states."""
    codec = results["codec"]["codec"]
    latency, sustained = results["latency"]["latency"], results["sustained"]["sustained"]
    memory = results["memory"]["memory"]
    startup, transport = results["startup"]["startup"], results["transport"]["transport"]
    ms = latency["latency_ms"]
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
            f"memory of all processes, {memory['minutes']:.0f} minutes at 20 batches/s",
            "+10 MB",
            f"{memory['growth_mb']:+.1f} MB of {memory['before_mb']:,.0f} MB",
        ),
        ("demo, warm start to first insight", "30 s", f"{startup['first_insight_s']:.1f} s"),
        ("`sightline --help`", "0.5 s", f"{startup['help_s']:.2f} s"),
        (
            "decode, 1,000-record polls of match.events, against fastavro to dicts to a frame",
            "10×",
            f"{codec['decode_match_events_ratio']:.0f}× ({codec['decode_match_events_rows_per_s']:,.0f} rows/s)",
        ),
        ("encode, fixed-width answers, against fastavro", "10×", f"{codec['encode_fixed_ratio']:.0f}×"),
        (
            "produce in transactions, columns against `send()`",
            "",
            f"{transport['columnar_records_per_s']:,.0f} against {transport['send_records_per_s']:,.0f} records/s",
        ),
    ]


def table(results: dict[str, dict[str, Any]]) -> str:
    lines = [f"Measured on {machine()}, {time.strftime('%Y-%m-%d', time.gmtime())}.", "", "| figure | aim | measured |"]
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
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of: {', '.join(BENCHMARKS)}")
    parser.add_argument("--json", type=Path, help="also write all results here; those already in it are kept")
    options = parser.parse_args()
    unknown = set(options.names) - set(BENCHMARKS)
    if unknown:
        parser.error(f"no benchmark {', '.join(sorted(unknown))}; there are: {', '.join(BENCHMARKS)}")
    results: dict[str, dict[str, Any]] = {}
    if options.json is not None and options.json.exists():
        results = json.loads(options.json.read_text())
    for name in options.names or BENCHMARKS:
        results[name] = run(name)
        if options.json is not None:
            options.json.write_text(json.dumps(results, indent=2) + "\n")
    sys.stdout.write(json.dumps(results, indent=2) + "\n")
    if all(name in results for name in BENCHMARKS):
        write_readme(table(results))


if __name__ == "__main__":
    main()
