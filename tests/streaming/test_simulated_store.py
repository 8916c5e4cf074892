"""The made-up store's floor: people walk it lawfully, and the truth about them adds up."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from streaming.simulators.store.plan import Box, FloorPlan, Line, Spot, Zone, supermarket
from streaming.simulators.store.presets import store
from streaming.simulators.store.routes import Routes
from streaming.simulators.store.traffic import Traffic, draw_intents
from streaming.simulators.store.truth import crossings, occupancy, stays
from streaming.simulators.store.walks import POSITIONS_SCHEMA, STEP_S, VISITS_SCHEMA, Walks, walk

PLAN = supermarket(2, 4.0, 1)
TRAFFIC = Traffic(
    duration_s=400,
    arrivals_per_min=5,
    people=12,
    return_share=0.4,
    away_s=20,
    loiterer_share=0.2,
    new_clothes_share=1.0,
)


@pytest.fixture(scope="module")
def walks() -> Walks:
    return walk(PLAN, TRAFFIC, seed=3)


def positions(*rows: tuple[int, int, float, float]) -> pl.DataFrame:
    """Made by hand, from (visit, step, x, y)."""
    made = pl.DataFrame(rows, schema=["visit", "step", "x_m", "y_m"], orient="row")
    return made.with_columns(
        time_s=pl.col("step") * STEP_S,
        person_id=pl.col("visit"),
        outfit=0,
        heading_rad=0.0,
        gait_rad=0.0,
        speed_mps=1.0,
        activity=pl.lit("walk"),
    ).select(pl.col(name).cast(kind) for name, kind in POSITIONS_SCHEMA.items())


def bare_plan(**parts: object) -> FloorPlan:
    place = Spot(1.0, 1.0, 0.0)
    plain = FloorPlan(10.0, 10.0, (), (), (), place, place, (place,), ((place,),))
    return replace(plain, **parts)


def test_the_same_seed_walks_the_same_way_and_another_does_not() -> None:
    short = replace(TRAFFIC, duration_s=60, arrivals_per_min=20)
    first, again, other = (walk(PLAN, short, seed) for seed in (3, 3, 4))
    assert len(first.positions) > 1000
    assert again.visits.equals(first.visits)
    assert again.positions.equals(first.positions)
    assert not other.positions.equals(first.positions)


def test_the_tables_are_as_declared(walks: Walks) -> None:
    assert walks.visits.schema == VISITS_SCHEMA
    assert walks.positions.schema == POSITIONS_SCHEMA
    assert walks.positions["step"].is_sorted()


def test_nobody_is_in_a_shelf_or_a_wall(walks: Walks) -> None:
    x_m, y_m = (walks.positions[name].to_numpy() for name in ("x_m", "y_m"))
    assert PLAN.is_free(x_m, y_m, margin_m=0.2).all()


def test_nobody_jumps(walks: Walks) -> None:
    moves = walks.positions.sort("visit", "step").select(
        pl.col("x_m", "y_m", "step").diff().over("visit").name.suffix("_moved")
    )
    assert moves.drop_nulls()["step_moved"].eq(1).all()
    paces = moves.drop_nulls().select((pl.col("x_m_moved") ** 2 + pl.col("y_m_moved") ** 2).sqrt() / STEP_S).to_series()
    assert float(paces.max() or 0) < 2.5  # metres a second


def test_people_keep_apart_most_of_the_time(walks: Walks) -> None:
    now = walks.positions.filter(pl.col("step") % 10 == 0).select("step", "visit", "x_m", "y_m")
    pairs = now.join(now, on="step").filter(pl.col("visit") < pl.col("visit_right"))
    apart = pairs.select(
        ((pl.col("x_m") - pl.col("x_m_right")) ** 2 + (pl.col("y_m") - pl.col("y_m_right")) ** 2).sqrt()
    ).to_series()
    assert (apart < 0.3).sum() < 0.02 * len(now)


def test_who_left_went_in_and_out_by_the_door_once(walks: Walks) -> None:
    door = crossings(PLAN, walks.positions).filter(line="door")
    ways = door.group_by("visit").agg(pl.col("direction").cast(pl.String)).sort("visit")
    gone = walks.visits.filter(pl.col("left_s").is_not_null())["visit"].implode()
    assert len(walks.visits.filter(pl.col("left_s").is_not_null())) > 10
    assert ways.filter(pl.col("visit").is_in(gone))["direction"].to_list() == [["in", "out"]] * gone.item().len()


def test_what_went_in_and_not_out_is_what_is_inside(walks: Walks) -> None:
    net = crossings(PLAN, walks.positions).filter(line="door")["direction"].value_counts()
    counts = dict(net.iter_rows())
    inside = walks.positions.filter(pl.col("step") == pl.col("step").max(), pl.col("y_m") < PLAN.depth_m - 0.8)
    assert counts["in"] - counts["out"] == len(inside)


def test_stays_add_up_to_the_occupancy(walks: Walks) -> None:
    counted = occupancy(PLAN, walks.positions)
    stayed = stays(PLAN, walks.positions)
    assert (stayed["left_s"] > stayed["entered_s"]).all()
    for zone in PLAN.zones:
        of_zone = stayed.filter(zone=zone.name)
        assert (of_zone["left_s"] - of_zone["entered_s"]).sum() / STEP_S == pytest.approx(counted[zone.name].sum())
        gaps = of_zone.sort("visit", "entered_s").select(
            (pl.col("entered_s") - pl.col("left_s").shift(1).over("visit")).drop_nulls()
        )
        assert (gaps.to_series() > 0).all()
    assert (stayed["zone"] == "queue-1").sum() > 5


def test_one_pays_at_a_time_and_in_the_order_of_the_queue(walks: Walks) -> None:
    served = walks.visits.drop_nulls("paid_s").sort("served_s")
    assert len(served) > 5
    assert (served["served_s"] >= served["queued_s"]).all()
    assert (served["served_s"].shift(-1) >= served["paid_s"]).drop_nulls().all()
    assert served["queued_s"].is_sorted()


def test_shoppers_who_left_have_paid_and_loiterers_have_not(walks: Walks) -> None:
    gone = walks.visits.filter(pl.col("left_s").is_not_null())
    assert gone["loiters"].any()
    assert gone.filter(pl.col("loiters"))["paid_s"].is_null().all()
    assert gone.filter(~pl.col("loiters"))["paid_s"].is_not_null().all()


@pytest.mark.parametrize("changes", [0.0, 1.0])
def test_a_person_comes_back_as_the_same_person_in_the_same_or_other_clothes(changes: float) -> None:
    busy = replace(TRAFFIC, duration_s=140, arrivals_per_min=12, people=4, away_s=10, new_clothes_share=changes)
    visits = walk(PLAN, busy, seed=5).visits
    back = (
        visits.group_by("person_id", maintain_order=True)
        .agg("outfit", "arrived_s", "left_s")
        .filter(pl.col("outfit").list.len() > 1)
    )
    assert len(back) > 2
    for outfits, arrived_s, left_s in back.select("outfit", "arrived_s", "left_s").iter_rows():
        assert len(set(outfits)) == (len(outfits) if changes else 1)
        assert all(after >= before + busy.away_s for after, before in zip(arrived_s[1:], left_s, strict=False))
    assert visits["person_id"].n_unique() <= busy.people
    owners = visits.group_by("outfit").agg(pl.col("person_id").n_unique())
    assert owners["person_id"].eq(1).all()


def test_arrivals_are_as_many_as_the_rate_says() -> None:
    counts = [len(draw_intents(PLAN, TRAFFIC, np.random.default_rng(seed)).arrives_s) for seed in range(200)]
    mean = TRAFFIC.arrivals_per_min * TRAFFIC.duration_s / 60
    assert np.mean(counts) == pytest.approx(mean, abs=4 * np.sqrt(mean / 200))
    assert np.var(counts) == pytest.approx(mean, rel=0.4)  # Poisson: the variance is the mean


def test_a_store_to_which_nobody_comes_has_empty_tables() -> None:
    empty = walk(PLAN, Traffic(duration_s=2, arrivals_per_min=1e-9), seed=1)
    assert empty.visits.is_empty()
    assert empty.positions.is_empty()
    assert crossings(PLAN, empty.positions).is_empty()
    assert stays(PLAN, empty.positions).is_empty()
    assert occupancy(PLAN, empty.positions)["entrance"].to_list() == [0]


def test_crossings_by_hand() -> None:
    """The line goes up from (5, 6) to (5, 2): its right is the side of larger x."""
    plan = bare_plan(lines=(Line("gate", 5.0, 6.0, 5.0, 2.0),))
    seen = positions(
        *[(0, 0, 4.5, 3.0), (0, 1, 5.5, 3.0), (0, 2, 4.5, 3.0)],  # in and out
        *[(1, 0, 4.5, 1.0), (1, 1, 5.5, 1.0)],  # past its end
        *[(2, 0, 4.0, 7.0), (2, 1, 6.0, 3.0)],  # aslant, at y = 5
        *[(3, 0, 4.0, 4.0), (3, 1, 4.9, 4.0)],  # not quite
    )
    found = crossings(plan, seen).select("visit", pl.col("direction").cast(pl.String), "time_s")
    assert found.rows() == [(0, "in", 0.1), (2, "in", 0.1), (0, "out", 0.2)]


def test_who_was_never_clear_of_a_line_has_not_crossed_it_but_who_comes_or_goes_there_has() -> None:
    plan = bare_plan(lines=(Line("gate", 5.0, 6.0, 5.0, 2.0),))
    seen = positions(
        *[(0, step, x, 3.0) for step, x in enumerate((4.0, 4.9, 5.1, 5.2, 4.9, 4.0))],  # along it
        *[(1, step, x, 3.0) for step, x in enumerate((4.9, 5.1, 5.6))],  # appears right before it
        *[(2, step, x, 3.0) for step, x in enumerate((5.8, 5.1, 4.9))],  # and is gone right behind it
        *[(3, step, x, 3.0) for step, x in enumerate((4.0, 4.9, 5.1, 4.9, 5.1, 5.6))],  # trembles, and goes in
        *[(4, step, x, 1.0) for step, x in enumerate((4.0, 5.1, 6.0))],  # past its end
    )
    strict = crossings(plan, seen, 0.3).select("visit", pl.col("direction").cast(pl.String), pl.col("time_s").round(6))
    assert strict.sort("visit").rows() == [(1, "in", 0.1), (2, "out", 0.2), (3, "in", 0.4)]
    assert crossings(plan, seen)["visit"].value_counts().sort("visit").rows() == [(0, 2), (1, 1), (2, 1), (3, 3)]


def test_what_is_not_observed_any_more_ends_no_visit() -> None:
    plan = bare_plan(lines=(Line("gate", 5.0, 6.0, 5.0, 2.0),))
    seen = positions(
        *[(0, step, x, 3.0) for step, x in enumerate((4.0, 4.8, 5.2, 5.8))],  # not clear of it by then
        *[(1, step, x, 3.0) for step, x in enumerate((4.0, 4.8, 5.2))],  # gone, not only out of sight
        *[(2, step, x, 3.0) for step, x in enumerate((4.0, 4.8, 5.4, 5.8))],
    )
    assert crossings(plan, seen, 0.3, until_s=0.3)["visit"].sort().to_list() == [1, 2]
    assert crossings(plan, seen, 0.3)["visit"].sort().to_list() == [0, 1, 2]


def test_stays_by_hand() -> None:
    plan = bare_plan(zones=(Zone("a", 0, 0, 2, 2), Zone("b", 2, 0, 4, 2)))
    seen = positions((0, 0, 1, 1), (0, 1, 2, 1), (0, 2, 2.5, 1), (0, 3, 1, 1), (0, 4, 5, 1), (1, 4, 1, 1))
    found = stays(plan, seen).select("zone", "visit", pl.col("entered_s", "left_s").round(6))
    assert found.rows() == [("a", 0, 0.0, 0.1), ("b", 0, 0.1, 0.3), ("a", 0, 0.3, 0.4), ("a", 1, 0.4, 0.5)]
    assert occupancy(plan, seen).select("a", "b").rows() == [(1, 0), (0, 1), (0, 1), (1, 0), (1, 0)]


@pytest.mark.parametrize("cameras", [2, 8, 16])
def test_the_presets_have_cameras_within_the_store_and_ways_everywhere(cameras: int) -> None:
    made = store(cameras)
    assert len(made.cameras) == cameras
    for camera in made.cameras:
        assert 0 < camera.x_m < made.plan.width_m
        assert 0 < camera.y_m < made.plan.depth_m
    Routes(made.plan, (made.plan.way_in, made.plan.way_out, *made.plan.spots, *sum(made.plan.queues, ())))


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: store(3), "2, 8 and 16"),
        (lambda: supermarket(0), "gondola"),
        (lambda: supermarket(2, 4.0, 9), "checkouts"),
        (lambda: bare_plan(spots=()), "spot"),
        (lambda: bare_plan(queues=()), "queue"),
        (lambda: bare_plan(boxes=(Box("b", "shelf", 2, 2, 11, 3, 1),)), "'b'"),
        (lambda: bare_plan(boxes=(Box("b", "shelf", 0.5, 0.5, 2, 2, 1),)), r"\(1.00, 1.00\)"),
        (lambda: bare_plan(zones=(Zone("z", 0, 0, 1, 1),) * 2), "'z'"),
        (lambda: Traffic(duration_s=0), "duration_s"),
        (lambda: Traffic(arrivals_per_min=float("nan")), "arrivals_per_min"),
        (lambda: Traffic(return_share=1.5), "return_share"),
    ],
)
def test_what_cannot_be_is_refused_by_name(build: object, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        build()  # type: ignore[operator]


def test_a_place_behind_walls_is_an_error() -> None:
    walled = (Box("n", "wall", 6, 6, 9, 6.2, 2), Box("s", "wall", 6, 8.8, 9, 9, 2))
    walled += (Box("w", "wall", 6, 6.2, 6.2, 8.8, 2), Box("e", "wall", 8.8, 6.2, 9, 8.8, 2))
    plan = bare_plan(boxes=walled, spots=(Spot(7.5, 7.5, 0.0),))
    with pytest.raises(ValueError, match="no way leads"):
        walk(plan, Traffic(duration_s=1), seed=0)
