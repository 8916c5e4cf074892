"""Rights: what each role is allowed follows from the topics, is never more than that, and makes lines a shell reads."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import NoReturn

from streaming.kafka.acls import GROUP, ROLES, TOPIC, TRANSACTIONAL_ID, Right, commands, rights
from streaming.pipeline import Pipeline
from streaming.pipelines.win_prediction import win_prediction, win_prediction_shadow
from streaming.topics import (
    CAMERA_FRAMES,
    MATCH_EVENTS,
    MATCH_INSIGHTS,
    PERSON_SIGHTINGS,
    SESSION_RECOMMENDATIONS,
    STORE_ALERTS,
    USER_SESSIONS,
    Topic,
)

WIN = Pipeline("win-prediction", source=MATCH_EVENTS, transforms=(), stages=(), sink=MATCH_INSIGHTS)
STORE = Pipeline(
    "store",
    source=Topic("person.sightings", key="camera_id", schema="x"),
    transforms=(),
    stages=(),
    sink=Topic("store.metrics", key="zone_id", schema="y"),
)


def said(its: Sequence[Right]) -> set[str]:
    return {str(right) for right in its}


def test_a_run_reads_its_source_and_its_state_and_writes_what_it_makes() -> None:
    assert said(rights(WIN)["run"]) == {
        "Read on topic match.events",
        "Write on topic match.insights",
        "Write on topic match.events.dead-letters",
        "Describe on topic match.events.dead-letters.marks",
        "Read on topic sightline.state.win-prediction",
        "Write on topic sightline.state.win-prediction",
        "Write on topic sightline.status",
        "Read on topic sightline.control",
        "Read on group sightline.win-prediction",
        "Write on transactional-id sightline.win-prediction",
        "Write on transactional-id sightline.win-prediction.2",
    }


def test_a_shadow_has_a_group_and_state_of_its_own_and_writes_nothing_that_is_live() -> None:
    shadow, live = (said(rights(define(predict))["run"]) for define in (win_prediction_shadow, win_prediction))
    assert {text for text in shadow - live if not text.startswith("Describe")} == {
        "Write on topic match.insights.shadow",
        "Read on topic sightline.state.win-prediction-shadow",
        "Write on topic sightline.state.win-prediction-shadow",
        "Read on group sightline.win-prediction-shadow",
        "Write on transactional-id sightline.win-prediction-shadow",
        "Write on transactional-id sightline.win-prediction-shadow.2",
    }
    assert {text for text in shadow & live if text.startswith("Write")} == {"Write on topic sightline.status"}


def predict(*_: object) -> NoReturn:
    raise AssertionError("a definition is only read")


def test_who_shows_only_reads_and_who_feeds_only_writes() -> None:
    assert {right.operation for right in rights(WIN)["gateway"]} == {"Read"}
    assert said(rights(WIN)["feed"]) == {"Write on topic match.events"}


ALERTS = Pipeline("store-alerts", source=PERSON_SIGHTINGS, transforms=(), stages=(), sink=STORE_ALERTS)
FRAMES = Pipeline(
    "person-sightings", CAMERA_FRAMES, transforms=(), stages=(), sink=PERSON_SIGHTINGS, dead_letters=False
)
EVERY = (WIN, STORE, ALERTS, FRAMES)


def test_the_gateway_of_a_store_reads_its_topics_and_frames_only_where_they_are_shown() -> None:
    of_store = {f"Read on topic {name}" for name in ("store.metrics", "store.alerts", "person.sightings")}
    for pipeline in (ALERTS, FRAMES):
        shown = said(rights(pipeline)["gateway"])
        assert shown == said(rights(WIN)["gateway"]) | of_store
        assert said(rights(pipeline, show_frames=True)["gateway"]) - shown == {"Read on topic camera.frames"}
    assert rights(WIN, show_frames=True) == rights(WIN)


def test_the_gateway_of_a_shop_reads_its_topics_and_writes_what_shoppers_do_on_its_page() -> None:
    shop = Pipeline("shop", source=USER_SESSIONS, transforms=(), stages=(), sink=SESSION_RECOMMENDATIONS)
    assert said(rights(shop)["gateway"]) - said(rights(WIN)["gateway"]) == {
        "Read on topic item.catalogue",
        "Read on topic session.recommendations",
        "Read on topic user.sessions",
        "Write on topic user.sessions",
    }


def test_the_webhook_reads_alerts_and_writes_what_it_gives_up_and_the_operator_sends_those_back() -> None:
    assert said(rights(ALERTS)["webhook"]) == {
        "Read on topic store.alerts",
        "Write on topic store.alerts.dead-letters",
        "Write on topic sightline.status",
        "Read on group sightline.alert-webhook",
    }
    letters = {f"Read on topic {name}.dead-letters" for name in ("store.alerts", "person.sightings")}
    assert letters <= said(rights(ALERTS)["operator"])
    assert not any("webhook" in rights(pipeline) for pipeline in EVERY if pipeline is not ALERTS)


def test_where_no_letters_are_kept_nobody_has_a_right_to_any() -> None:
    its = [right for role in rights(FRAMES).values() for right in role if "dead-letters" in right.name]
    assert {right.operation for right in its} == {"Create", "Describe"}  # for whoever makes all topics
    assert "Write on transactional-id sightline.dlq.camera.frames" not in said(rights(FRAMES)["operator"])


def test_who_runs_a_shop_may_forget_users_and_judge_answers() -> None:
    shop = Pipeline("recommendations", USER_SESSIONS, transforms=(), stages=(), sink=SESSION_RECOMMENDATIONS)
    judged = {f"Read on topic {topic.name}" for topic in (USER_SESSIONS, SESSION_RECOMMENDATIONS)}
    assert judged | {"Write on topic user.sessions"} <= said(rights(shop)["operator"])
    assert not judged & said(rights(WIN)["operator"])


def test_no_role_is_given_what_includes_what_it_has_already() -> None:
    for its in (its for pipeline in EVERY for its in rights(pipeline).values()):
        assert len(said(its)) == len(its)
        seen = {right.name for right in its if right.operation in ("Read", "Write")}
        assert not seen & {right.name for right in its if right.operation == "Describe"}


def test_a_pipeline_has_no_right_to_what_is_anothers() -> None:
    for role in ("run", "feed"):
        mine, others = (said(rights(pipeline)[role]) for pipeline in (STORE, WIN))
        common = {"Write on topic sightline.status", "Read on topic sightline.control"} if role == "run" else set()
        assert {text for text in mine & others if not text.startswith("Describe")} == common
    assert "Read on topic person.sightings" in said(rights(STORE)["run"])
    assert "Read on group sightline.store" in said(rights(STORE)["run"])
    assert "Write on transactional-id sightline.dlq.person.sightings" in said(rights(STORE)["operator"])


def read_back(lines: Sequence[str]) -> dict[str, set[str]]:
    """What kafka-acls.sh would make of the lines: principal → rights."""
    found: dict[str, set[str]] = {}
    for line in lines:
        command, *words = shlex.split(line)
        options: dict[str, list[str]] = {}
        for name, value in zip(words, [*words[1:], ""], strict=True):
            if name.startswith("--"):
                options.setdefault(name, []).append(value)
        assert (command, options["--bootstrap-server"]) == ("kafka-acls.sh", ["broker:9092"])
        ((resource, (name,)),) = [
            (x, options[f"--{x}"]) for x in (TOPIC, GROUP, TRANSACTIONAL_ID) if f"--{x}" in options
        ]
        (principal,) = options["--allow-principal"]
        found.setdefault(principal, set()).update(f"{op} on {resource} {name}" for op in options["--operation"])
    return found


def test_the_shell_lines_say_the_same() -> None:
    needed: Mapping[str, Sequence[Right]] = rights(WIN)
    principals = {role: f"User:CN={role}'s own,O=A $B" for role in ROLES}
    lines = list(commands("broker:9092", principals, needed))
    assert read_back(lines) == {principals[role]: said(its) for role, its in needed.items()}
