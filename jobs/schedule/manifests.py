"""Schedules as KubeRay manifests (ray.io/v1): a RayJob each, and a RayCronJob for cron times.

What Kubernetes cannot say is said in the head of the file: a RayCronJob has no overlap policy, no back-off, and no
starts by events or drift. `sightline schedule run` has them all, on Kubernetes too.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice, pairwise
from math import ceil
from typing import Any

from jobs.errors import UsageProblem
from jobs.schedule.cron import Cron
from jobs.schedule.definition import Schedule

_TTL_S = 600  # so long logs of a run can be read in its cluster
_LOOK_AHEAD = 500  # starts among which the shortest gap is sought
_FORBIDDEN = re.compile("[\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff]")
_SOME_DAY = datetime(2026, 1, 1, tzinfo=UTC)  # always the same, and so is what is written


@dataclass(frozen=True, slots=True)
class Image:
    """What runs in each pod.

    `workers` pods, and one for the head, each with these CPUs and this memory.
    """

    name: str
    ray_version: str
    workers: int = 1
    cpus: int = 2
    memory: str = "4Gi"


def manifests(name: str, schedule: Schedule, image: Image) -> Iterator[tuple[str, str]]:
    """File names and their YAML.

    Raises:
        UsageProblem: cron times that Kubernetes would read otherwise.
    """
    job = _job_spec(schedule, image)
    head = [f"Runs schedule {name!r} of the settings once it is no longer suspended:"]
    head.append(f'  kubectl patch rayjob {name} --type merge -p \'{{"spec":{{"suspend":false}}}}\'')
    unsaid = [cause for cause, there in (("events", schedule.events), ("drift", schedule.drift)) if there is not None]
    if unsaid:
        head.append(f"Kubernetes does not start it by {' or '.join(unsaid)}: `sightline schedule run` does.")
    # Applied with the rest of the folder, it must not begin to train.
    yield f"{name}.rayjob.yaml", _file("RayJob", name, {"suspend": True, **job}, head)
    times = schedule.times
    if times is None:
        return
    _check_readable(times)
    spec = {
        "schedule": times.expression,
        "timeZone": times.zone,
        "suspend": schedule.suspended,
        "jobTemplate": job,
    }
    yield f"{name}.raycronjob.yaml", _file("RayCronJob", name, spec, list(_differences(schedule, times)))


def _job_spec(schedule: Schedule, image: Image) -> dict[str, Any]:
    container = {
        "image": image.name,
        "resources": {
            "requests": {"cpu": image.cpus, "memory": image.memory},
            "limits": {"cpu": image.cpus, "memory": image.memory},
        },
    }
    limit = {} if schedule.time_limit_s is None else {"activeDeadlineSeconds": ceil(schedule.time_limit_s)}
    return {
        "entrypoint": shlex.join(["python", "-m", "jobs.cli", *schedule.words]),
        "backoffLimit": schedule.retries,
        **limit,
        "shutdownAfterJobFinishes": True,
        "ttlSecondsAfterFinished": _TTL_S,
        "rayClusterSpec": {
            "rayVersion": image.ray_version,
            "headGroupSpec": {
                "rayStartParams": {},
                "template": {"spec": {"containers": [{"name": "ray-head", **container}]}},
            },
            "workerGroupSpecs": [
                {
                    "groupName": "workers",
                    "replicas": image.workers,
                    "minReplicas": image.workers,
                    "maxReplicas": image.workers,
                    "rayStartParams": {},
                    "template": {"spec": {"containers": [{"name": "ray-worker", **container}]}},
                }
            ],
        },
    }


def _differences(schedule: Schedule, times: Cron) -> Iterator[str]:
    yield "RayCronJob is alpha: the operator needs the feature gate RayCronJob, and timeZone a KubeRay that knows it."
    gap_s = _shortest_gap_s(times)
    longest_s = None if schedule.time_limit_s is None else schedule.time_limit_s * (schedule.retries + 1)
    if longest_s is None or longest_s > gap_s:
        yield f"It knows no overlap policy: this schedule has {schedule.overlap!r}, and two runs may meet here."
        yield f"A time_limit_s of at most {gap_s / (schedule.retries + 1):g} s for each attempt would keep them apart."
    else:
        yield f"It knows no overlap policy ({schedule.overlap!r}); the time limit ends each run before the next begins."
    if schedule.retries:
        yield f"It retries at once, not after {schedule.back_off_s:g} s; and what a gate refused, too."
    yield "It leaves out a time that the clock leaps over in spring; `sightline schedule run` comes at the gap's end."


def _shortest_gap_s(times: Cron) -> float:
    ahead = islice(times.after(_SOME_DAY), _LOOK_AHEAD)
    return min(((after - before).total_seconds() for before, after in pairwise(ahead)), default=float("inf"))


def _check_readable(times: Cron) -> None:
    """Kubernetes reads fewer kinds of fields, and some of them in another way."""
    _, _, day, _, weekday = times.expression.upper().split()
    if "L" in day or re.search(r"[L#]", weekday.replace("JUL", "")):
        raise UsageProblem(f"cron {times.expression!r}: Kubernetes knows neither L nor #; use plain days")
    if re.search(r"\b7\b", weekday.partition("/")[0]):
        raise UsageProblem(f"cron {times.expression!r}: Kubernetes knows Sunday as 0 or SUN, not as 7")
    stepped = [field for field in (day, weekday) if field.startswith("*/")]
    if stepped and "*" not in (day, weekday):
        raise UsageProblem(
            f"cron {times.expression!r}: Kubernetes takes {stepped[0]} as a day among others, here both days must fit; "
            "leave one of the two days at *"
        )


def _file(kind: str, name: str, spec: Mapping[str, Any], head: list[str]) -> str:
    manifest = {
        "apiVersion": "ray.io/v1",
        "kind": kind,
        "metadata": {"name": name, "labels": {"app.kubernetes.io/part-of": "sightline"}},
        "spec": spec,
    }
    made = "Made by `sightline schedule manifests`; change the settings, not this file."
    lines = [*(f"# {line}" for line in (made, *head)), *_yaml(manifest, "")]
    return "\n".join(lines) + "\n"


def _yaml(value: Mapping[str, Any], indent: str) -> Iterator[str]:
    """Block style, from mappings, lists of mappings, and plain values."""
    for key, inner in value.items():
        if isinstance(inner, Mapping) and inner:
            yield f"{indent}{key}:"
            yield from _yaml(inner, f"{indent}  ")
        elif isinstance(inner, list):
            yield f"{indent}{key}:"
            for entry in inner:
                first, *rest = _yaml(entry, f"{indent}    ")
                yield f"{indent}  - {first.strip()}"
                yield from rest
        else:
            yield f"{indent}{key}: {_plain(inner)}"


def _plain(value: object) -> str:
    """As JSON has it, which is YAML, but for characters that YAML forbids in its text."""
    return _FORBIDDEN.sub(lambda found: f"\\u{ord(found[0]):04x}", json.dumps(value, ensure_ascii=False))
