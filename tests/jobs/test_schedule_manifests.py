"""Schedules as KubeRay manifests: their fields are those of the custom resources, and mean what the schedule says."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.errors import UsageProblem
from jobs.schedule.definition import Schedule
from jobs.schedule.manifests import Image, manifests
from jobs.settings import load_settings

ROOT = Path(__file__).parents[2]
IMAGE = Image("registry.example.com/sightline:1", "2.60.0", workers=2)

# Of ray.io/v1, as KubeRay 1.6 documents them: field → type, or the fields within.
CONTAINERS = [{"name": str, "image": str, "resources": {"requests": dict, "limits": dict}}]
POD = {"spec": {"containers": CONTAINERS}}
WORKERS = {
    "groupName": str, "replicas": int, "minReplicas": int, "maxReplicas": int, "rayStartParams": dict, "template": POD,
}  # fmt: skip
JOB = {
    "entrypoint": str, "suspend": bool, "backoffLimit": int, "activeDeadlineSeconds": int,
    "shutdownAfterJobFinishes": bool, "ttlSecondsAfterFinished": int,
    "rayClusterSpec": {
        "rayVersion": str, "headGroupSpec": {"rayStartParams": dict, "template": POD}, "workerGroupSpecs": [WORKERS],
    },
}  # fmt: skip
METADATA = {"name": str, "labels": dict}
KINDS = {
    "RayJob": {"apiVersion": str, "kind": str, "metadata": METADATA, "spec": JOB},
    "RayCronJob": {
        "apiVersion": str,
        "kind": str,
        "metadata": METADATA,
        "spec": {"schedule": str, "timeZone": str, "suspend": bool, "jobTemplate": JOB},
    },
}


def check_fields(value: Any, fields: Any, place: str = "") -> None:
    if isinstance(fields, type):
        assert type(value) is fields, f"{place} is {value!r}"
    elif isinstance(fields, list):
        assert value, place
        for entry in value:
            check_fields(entry, fields[0], f"{place}[]")
    else:
        assert set(value) <= set(fields), f"{place}: {set(value) - set(fields)}"
        for name, inner in value.items():
            check_fields(inner, fields[name], f"{place}.{name}")


def parsed(schedule: Schedule, name: str = "nightly") -> dict[str, Any]:
    found = {}
    for file, text in manifests(name, schedule, IMAGE):
        manifest = yaml.safe_load(text)
        assert file == f"{name}.{manifest['kind'].lower()}.yaml" and manifest["metadata"]["name"] == name
        assert manifest["apiVersion"] == "ray.io/v1"
        check_fields(manifest, KINDS[manifest["kind"]])
        found[manifest["kind"]] = manifest["spec"]
    return found


def made(**more: Any) -> Schedule:
    return Schedule(**{"command": "train win-tsstn --data 'a b.parquet'", "cron": "0 3 * * *", **more})


def test_what_the_schedule_says_is_in_the_manifests() -> None:
    specs = parsed(made(zone="Europe/Berlin", retries=2, time_limit_s=90.5))
    job, cron = specs["RayJob"], specs["RayCronJob"]
    assert shlex.split(job["entrypoint"]) == ["python", "-m", "jobs.cli", "train", "win-tsstn", "--data", "a b.parquet"]
    assert (job["backoffLimit"], job["activeDeadlineSeconds"], job["shutdownAfterJobFinishes"]) == (2, 91, True)
    assert job.pop("suspend") is True  # applied with the folder, it must not begin to train
    assert cron == {"schedule": "0 3 * * *", "timeZone": "Europe/Berlin", "suspend": False, "jobTemplate": job}
    assert job["rayClusterSpec"]["workerGroupSpecs"][0]["replicas"] == 2
    assert "activeDeadlineSeconds" not in parsed(made())["RayJob"]
    assert parsed(made(suspended=True))["RayCronJob"]["suspend"] is True


def test_without_cron_times_there_is_a_job_alone_which_says_what_starts_it() -> None:
    ((file, text),) = manifests("drifting", Schedule(command="train", drift="win-prediction", events=5), IMAGE)
    assert file == "drifting.rayjob.yaml" and "does not start it by events or drift" in text


def head(**more: Any) -> str:
    text = dict(manifests("a", made(**more), IMAGE))["a.raycronjob.yaml"]
    return " ".join(line.removeprefix("# ") for line in text.splitlines() if line.startswith("#"))


def test_what_kubernetes_cannot_do_is_said() -> None:
    assert "no overlap policy: this schedule has 'skip', and two runs may meet" in head()
    # A day is 23 hours long when the clock goes forward: 82,800 s for one attempt, 41,400 s for each of two.
    assert "A time_limit_s of at most 41400 s" in head(retries=1, zone="Europe/Berlin")
    assert "at most 43200 s" in head(retries=1)
    assert "ends each run before the next begins" in head(time_limit_s=43_200, retries=1)
    assert "two runs may meet" in head(time_limit_s=43_201, retries=1)
    assert "It retries at once, not after 60 s" in head(retries=1)


@pytest.mark.parametrize(
    ("cron", "says"),
    [
        ("0 3 L * *", "neither L nor #"),
        ("0 3 * * 5L", "neither L nor #"),
        ("0 3 * * MON#1", "neither L nor #"),
        ("0 3 * * 7", "not as 7"),
        ("0 3 * * 5-7", "not as 7"),
        ("0 3 */2 * MON", "leave one of the two days at *"),
    ],
)
def test_times_that_kubernetes_would_read_otherwise_are_refused(cron: str, says: str) -> None:
    with pytest.raises(UsageProblem, match=says.replace("*", r"\*")):
        list(manifests("a", made(cron=cron), IMAGE))


def test_july_is_no_last_day() -> None:
    assert parsed(made(cron="0 3 1 JUL MON"))["RayCronJob"]["schedule"] == "0 3 1 JUL MON"


@settings(max_examples=25)
@given(st.text(st.characters(codec="utf-8"), min_size=1).filter(lambda text: text.strip()))
def test_any_words_come_through_yaml_and_the_shell(text: str) -> None:
    words = shlex.join(["train", text])
    specs = parsed(made(command=words))
    assert shlex.split(specs["RayJob"]["entrypoint"])[3:] == ["train", text]


def test_those_in_deploy_are_made_from_the_example_there() -> None:
    """`sightline --config deploy/schedules.example.toml schedule manifests --out deploy/kuberay`."""
    schedules = load_settings(config=ROOT / "deploy" / "schedules.example.toml").settings.schedule
    folder = ROOT / "deploy" / "kuberay"
    image = Image("sightline:0.1.0", "2.60.0")
    made = {file: text for name, each in schedules.items() for file, text in manifests(name, each, image)}
    assert made == {path.name: path.read_text("utf-8") for path in folder.iterdir()}
