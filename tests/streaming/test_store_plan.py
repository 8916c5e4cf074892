"""Plans and rules from tables: what is taken, and what is refused with which words."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streaming.store import plan as plans
from streaming.store import rules
from streaming.store.plan import PlanProblem, StorePlan, parse_plan
from streaming.store.rules import AfterHours, Crowding, parse_rules
from tests.store_walks import PLAN, plan

SQUARE = [[0, 0], [4, 0], [4, 3], [0, 3]]


def example_of(module: Any) -> dict[str, Any]:
    """The TOML in a module's docstring."""
    lines = [line[4:] for line in module.__doc__.splitlines() if line.startswith("    ")]
    return tomllib.loads("\n".join(line for line in lines if " = parse_" not in line))


def test_the_documented_plan_and_rules_can_be_used() -> None:
    documented = parse_plan(example_of(plans))
    assert [zone.name for zone in documented.zone] == ["till", "shelf"]
    assert (documented.floor.columns, documented.floor.rows) == (40, 24) if documented.floor else False
    found = parse_rules(example_of(rules)["rule"], documented)
    assert {rule.kind for rule in found} == set(rules.KINDS) - {"camera_covered"}


def zones(*tables: dict[str, Any]) -> dict[str, Any]:
    return {"camera": [{"name": "cam-1"}], "zone": list(tables)}


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (zones({"name": "a", "polygon": [[0, 0], [4, 4], [4, 0], [0, 4]]}), "zone a: its polygon crosses itself"),
        (zones({"name": "a", "polygon": [[0, 0], [4, 4]]}), "zone a: its polygon has 2 corners"),
        (zones({"name": "a", "polygon": [[0, 0], [4, 4], [2]]}), "zone[0] a: polygon[2] has 1 values, not 2"),
        (zones({"name": "a", "polygon": [[0, 0], [4, 4], [2, "x"]]}), "not a number"),
        (zones({"name": "a", "polygon": [[0, 0], [4, 4], [2, 1e400]]}), "not a number"),
        (zones({"name": "a", "polygon": [[0, 0], [4, 4], [2, 10**400]]}), "not a number"),
        (zones({"name": "a", "polygon": [[0, n] for n in range(300)]}), "more than 200 corners"),
        (zones({"name": "a", "polygon": SQUARE}, {"name": "a", "polygon": SQUARE}), "name 'a' is there twice"),
        (zones({"name": "store", "polygon": SQUARE}), "it is reserved"),
        (zones({"name": "", "polygon": SQUARE}), "a name has 1 to 64 bytes"),
        (zones({"name": "a/b", "polygon": SQUARE}), "neither / nor >"),
        (zones({"name": "a", "kind": "pool", "polygon": SQUARE}), "kind 'pool' is not one of area, queue"),
        (zones({"name": "a", "camera": "cam-9", "polygon": SQUARE}), "zone a: there is no camera 'cam-9'"),
        (zones({"name": "a"}), "polygon is missing"),
        (zones({"name": "a", "polygon": SQUARE, "colour": "red"}), "there is no 'colour'"),
        ({"camera": []}, "there is no camera"),
        ({"camera": [{"name": "a"}, {"name": "a"}]}, "camera 'a' is there twice"),
        ({"camera": [{"name": "a", "width_px": 10}]}, "give both width_px and height_px"),
        ({**PLAN, "line": [{"name": "l", "start": [1, 1], "end": [1, 1]}]}, "line l: start and end are the same"),
        ({**PLAN, "line": [{"name": "l", "start": [1, 1], "end": [1, 2], "band": 0}]}, "line l: band is 0"),
        ({**PLAN, "funnel": [{"name": "f", "zones": ["till", "moon"]}]}, "funnel f: there is no zone 'moon'"),
        ({**PLAN, "funnel": [{"name": "f", "zones": ["till"]}]}, "has 1 zones"),
        ({**PLAN, "time_zone": "Mars/Olympus"}, "time_zone 'Mars/Olympus' is not one"),
        ({**PLAN, "floor": {"width_m": 1000, "depth_m": 1000, "cell_m": 0.1}}, "raise cell_m"),
        ({**PLAN, "gone_s": 1.0}, "gone_s is 1, not from 2"),
        ({**PLAN, "zone": "till"}, "not a list"),
        ({**PLAN, "line": [{"name": "l", "start": [1, 1], "end": [1, 2], "entrance": 1}]}, "is 1, not true or false"),
        ([], "plan is [], not a table"),
    ],
)  # fmt: skip
def test_a_bad_plan_is_refused_with_the_thing_and_the_reason(table: Any, said: str) -> None:
    with pytest.raises(PlanProblem) as problem:
        parse_plan(table)
    assert said in str(problem.value)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["camera", "zone", "line", "funnel", "floor", "name", "polygon"]), inner)
        ),
        max_leaves=8,
    )
)
def test_whatever_the_table_it_is_a_plan_or_a_plan_problem(table: Any) -> None:
    try:
        assert isinstance(parse_plan(table), StorePlan)
    except PlanProblem as problem:
        assert str(problem)


def rule(**fields: Any) -> dict[str, Any]:
    return {"name": "r", "kind": "crowding", **fields}


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (rule(kind="party"), "kind 'party' is not one of crowding"),
        (rule(zone="till"), "people is missing"),
        (rule(zone="moon", people=3), "rule r: there is no zone 'moon'"),
        (rule(zone="till", people=0), "rule r: people is 0"),
        (rule(zone="till", people=3, clear_below=4), "clear_below is 4, not from 1 to 3"),
        (rule(zone="till", people=2.5), "not a whole number"),
        (rule(kind="line", line="till"), "there is no line 'till'"),
        (rule(kind="line", line="door", direction="up"), "direction 'up' is not one of in, out, both"),
        (rule(kind="after_hours", opens="9", closes="20:00"), "opens is '9', not a time such as 09:00"),
        (rule(kind="after_hours", opens="09:00", closes="24:00"), "closes is '24:00'"),
        (rule(kind="after_hours", opens="09:00", closes="09:00"), "opens and closes at 09:00"),
        (rule(kind="loitering", zone="till", limit_s=-1), "limit_s is -1"),
        (rule(kind="camera_down", quiet_s=-1), "quiet_s is -1"),
        ("rule", "kind None is not one of"),
    ],
)
def test_a_bad_rule_is_refused(table: Any, said: str) -> None:
    with pytest.raises(PlanProblem) as problem:
        parse_rules([table], plan())
    assert said in str(problem.value)


def test_rules_have_names_of_their_own() -> None:
    with pytest.raises(PlanProblem, match="'r' is there twice"):
        parse_rules([rule(zone="till", people=2)] * 2, plan())


def test_crowding_is_over_below_its_own_number_unless_another_is_given() -> None:
    assert Crowding("r", "crowding", zone="till", people=5).calm_below == 5
    assert Crowding("r", "crowding", zone="till", people=5, clear_below=3).calm_below == 3


@pytest.mark.parametrize(
    ("opens", "closes", "minute", "is_closed"),
    [
        ("09:00", "20:00", 9 * 60 - 1, True),
        ("09:00", "20:00", 9 * 60, False),
        ("09:00", "20:00", 20 * 60 - 1, False),
        ("09:00", "20:00", 20 * 60, True),
        ("18:00", "02:00", 60, False),
        ("18:00", "02:00", 2 * 60, True),
    ],
)
def test_closed_is_outside_of_the_hours_past_midnight_too(
    opens: str, closes: str, minute: int, is_closed: bool
) -> None:
    assert AfterHours("r", "after_hours", opens=opens, closes=closes).is_closed_at(minute) is is_closed
