"""The shop's demo as a user sees it: a made-up shop by both runners, and clicks of a file, from broker to report."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.demo_process import Demo, running
from tests.shop_sessions import walk_file
from tests.waiting import PATIENCE_S

pytestmark = [pytest.mark.kafka, pytest.mark.ray, pytest.mark.long]

DATA = Path(os.environ.get("SIGHTLINE_DATA", Path(__file__).parents[3] / "shared" / "data")) / "session"


def offered_to_a_visitor(url: str) -> dict[str, Any]:
    """Who looks at an item on the page is offered others."""
    (item,) = httpx.get(f"{url}/api/v1/shop/items", params={"limit": 1}).json()["items"]
    look = {"session_id": "visitor", "kind": "view", "item_id": item["item_id"]}
    assert httpx.post(f"{url}/api/v1/shop/events", json=look).status_code == 201
    follow = httpx.stream("GET", f"{url}/api/v1/shop/events", params={"session": "visitor"}, timeout=PATIENCE_S)
    with follow as stream:
        lines = stream.iter_lines()
        while next(lines) != "event: offer":
            pass
        data = next(line for line in lines if line.startswith("data:"))
    offer: dict[str, Any] = json.loads(data.removeprefix("data:"))
    assert offer["item_id"] == item["item_id"]
    return offer


def report_of(demo: Demo) -> dict[str, Any]:
    report: dict[str, Any] = json.loads(demo.report.read_text())
    return report


@pytest.mark.parametrize("runner", ["micro_batch", "continuous"])
def test_a_made_up_shop_is_answered_with_reasons_and_clicks_flow_back(tmp_path: Path, runner: str) -> None:
    with running(tmp_path, "--shop", "--for", "40s", "--set", f"pipeline.runner={runner}") as demo:
        url = demo.said(r"open (http\S+)/shop")
        demo.said(r"first answer: after ([0-9.]+) s")
        shop = httpx.get(f"{url}/api/v1/shop").json()
        assert shop["origin"] == "simulated" and shop["items"] > 500
        offer = offered_to_a_visitor(url)
        assert len(offer["items"]) == 8 and all(item["why_en"] for item in offer["items"])
        demo.ends()
    report = report_of(demo)
    assert report["views"]["answered"] > 100 and report["views"]["missing"] == report["views"]["doubled"] == 0
    assert report["reasons"]["items"] > 500 and report["reasons"]["without"] == 0
    assert report["catalogue"]["records"] > 600 and report["catalogue"]["offered_all_the_same"] == 0
    assert [arm["arm"] for arm in report["arms"]] == ["clicks", "content"]
    assert all(arm["clicks"] > 0 for arm in report["arms"])
    assert set(report["models"]) == {"session-gru4rec", "session-two-tower"}
    assert not list((tmp_path / "home").glob("demo-*")), "nothing is left"


def test_clicks_of_a_file_are_streamed_to_their_end(tmp_path: Path) -> None:
    with running(tmp_path, "--shop", "--replay", str(walk_file(tmp_path)), "--speed", "10000") as demo:
        demo.said(r"(the clicks are over)")
    report = report_of(demo)
    assert report["views"]["sent"] == report["views"]["answered"] > 100
    assert report["arms"] == [] and set(report["models"]) == {"session-gru4rec"}


@pytest.mark.skipif(not DATA.is_dir(), reason=f"no real clicks in {DATA}")
def test_what_people_really_clicked_next_was_offered_about_as_often_as_the_evaluation_says(tmp_path: Path) -> None:
    clicks = DATA / "yoochoose_clicks_train.txt"
    with running(tmp_path, "--shop", "--replay", str(clicks), "--speed", "600", "--for", "70s") as demo:
        demo.ends()
    report = report_of(demo)
    assert report["views"]["sent"] == report["views"]["answered"] > 2_000
    assert report["next_click"]["clicks"] > 500
    # .538 of the whole day, evaluated without a stream; far more would be a leak.
    assert 0.45 < report["next_click"]["share"] < 0.62
