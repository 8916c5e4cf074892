"""The simulated matches: exact odds, plausible play, and event frames that the pipeline accepts."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from streaming.features.catalogue import GROUPS
from streaming.features.match import EVENT_SCHEMA, validate
from streaming.simulators.engine import chance_of_a, sigmoid
from streaming.simulators.league import found_league
from streaming.simulators.match import TRUTH_SCHEMA, Simulated, simulate, simulated_league
from streaming.simulators.titles import SIMULATED_TITLES, Patch, at_minutes

TITLES = tuple(SIMULATED_TITLES)


@pytest.fixture(scope="module")
def seasons() -> dict[str, Simulated]:
    return {title: simulate(title, 1200, seed=5) for title in TITLES}


def outcomes(simulated: Simulated) -> pl.DataFrame:
    ends = simulated.events.filter(kind="end")
    return ends.select("match_id", a_won=pl.col("side") == "A", end_s="clock_s")


def at_minute(simulated: Simulated, minute: float, feature: str) -> pl.DataFrame:
    """The last stated value at or before a minute, for the matches that are still on then."""
    stated = simulated.events.filter((pl.col("kind") == "snapshot") & (pl.col("clock_s") <= minute * 60))
    last = stated.group_by("match_id").agg(pl.col(feature).last())
    return last.join(outcomes(simulated).filter(pl.col("end_s") > minute * 60), on="match_id")


odds = st.floats(-6, 6)
stakes = st.floats(0.01, 3)


@given(odds, stakes, stakes)
def test_a_prize_leaves_the_win_probability_unchanged_on_average(log_odds: float, up: float, down: float) -> None:
    p = sigmoid(np.array([log_odds]))
    to_a = chance_of_a(p, np.array([up]), np.array([down]))
    assert 0.0 <= to_a[0] <= 1.0
    after = to_a * sigmoid(np.array([log_odds + up])) + (1 - to_a) * sigmoid(np.array([log_odds - down]))
    assert after[0] == pytest.approx(p[0], abs=1e-9)


def test_even_stakes_in_an_even_match_are_a_coin_toss() -> None:
    half = np.array([0.5])
    assert chance_of_a(half, np.array([0.7]), np.array([0.7]))[0] == pytest.approx(0.5)


@pytest.mark.parametrize("title", TITLES)
def test_the_generators_probability_is_calibrated(seasons: dict[str, Simulated], title: str) -> None:
    """One frame a match at each of some clocks: in bins of p, the share of wins is p, within 4 standard errors."""
    won = outcomes(seasons[title]).select("match_id", "a_won")
    median_s = float(outcomes(seasons[title])["end_s"].median() or 0)
    for share in (0.0, 0.3, 0.6, 0.9):
        frames = seasons[title].truth.filter(pl.col("clock_s") <= max(share * median_s, 60))
        still_on = seasons[title].truth.filter(pl.col("clock_s") > share * median_s)["match_id"].unique()
        frames = (
            frames.group_by("match_id", maintain_order=True).last().filter(pl.col("match_id").is_in(still_on.implode()))
        )
        frame = frames.join(won, on="match_id").with_columns(p=1 / (1 + (-pl.col("logit")).exp()))
        bins = (
            frame.with_columns(bin=(pl.col("p") * 8).floor())
            .group_by("bin")
            .agg(pl.len(), pl.col("p", "a_won").mean(), sd=(pl.col("p") * (1 - pl.col("p"))).mean().sqrt())
        )
        error = (bins["a_won"] - bins["p"]).abs() / (bins["sd"] / bins["len"].sqrt())
        assert error.max() < 4.0, f"{title} at {share} of its length: {bins}"
        log_loss = -np.log(np.where(frame["a_won"], frame["p"], 1 - frame["p"])).mean()
        entropy = -(frame["p"] * frame["p"].log() + (1 - frame["p"]) * (1 - frame["p"]).log()).mean()
        assert log_loss == pytest.approx(entropy, abs=0.035)


@pytest.mark.parametrize("title", TITLES)
def test_contributions_sum_to_the_logit_and_importances_to_one(seasons: dict[str, Simulated], title: str) -> None:
    truth = seasons[title].truth
    assert truth.schema == TRUTH_SCHEMA
    total = truth.select(pl.sum_horizontal(f"contribution_{group}" for group in GROUPS)).to_series()
    assert (total - truth["logit"]).abs().max() < 1e-4
    shares = truth.select(pl.sum_horizontal(f"importance_{group}" for group in GROUPS)).to_series()
    np.testing.assert_allclose(shares, 1.0, atol=1e-9)
    early, late = (
        truth.filter(pl.col("clock_s").is_between(low, low + 120)).mean().row(0, named=True)
        for low in (60, 600 if title == "hok" else 1500)
    )
    assert early["importance_form"] > 0.4 > late["importance_form"]
    assert late["importance_tower"] > early["importance_tower"]


def test_the_truth_ends_before_the_winner_is_drawn(seasons: dict[str, Simulated]) -> None:
    last = seasons["lol"].truth.group_by("match_id").agg(pl.col("clock_s").max())
    gap = last.join(outcomes(seasons["lol"]), on="match_id").select(pl.col("end_s") - pl.col("clock_s")).to_series()
    assert gap.min() >= 40 - 1  # the shortest last push, less the second that a snapshot may be late
    p = seasons["lol"].truth.filter(pl.col("clock_s") > 0)["logit"].abs()
    assert p.max() < 12


@pytest.fixture(scope="module")
def lol_frames() -> dict[int, pl.DataFrame]:
    """Gold leads of 3,600 matches of three leagues at some minutes."""
    leagues = [simulate("lol", 1200, seed=seed) for seed in (5, 6, 7)]
    return {
        minute: pl.concat([at_minute(league, minute, "gold") for league in leagues])
        for minute in (5, 10, 15, 20, 25, 30)
    }


def test_lol_gold_predicts_as_on_professional_matches(lol_frames: dict[int, pl.DataFrame]) -> None:
    """AUC of the gold lead alone; 7,620 professional matches give .73, .79, .85, .92."""
    for minute, wanted in ((10, 0.73), (15, 0.79), (20, 0.85), (30, 0.92)):
        frame = lol_frames[minute]
        assert roc_auc_score(frame["a_won"], frame["gold"]) == pytest.approx(wanted, abs=0.03), f"minute {minute}"


def test_lol_gold_leads_spread_as_on_professional_matches(lol_frames: dict[int, pl.DataFrame]) -> None:
    """Standard deviations of 4,068 professional matches of 2014 to 2016, by minutes played."""
    for minute, wanted in ((5, 544), (10, 1262), (15, 2574), (20, 4238), (25, 6064), (30, 7240)):
        assert lol_frames[minute]["gold"].std() == pytest.approx(wanted, rel=0.15), f"minute {minute}"


PLAUSIBLE = {  # title → mean and spread of the length in minutes, then totals a match of both camps
    "lol": (
        (34, 7),
        {"kills": (20, 32), "towers": (8, 14), "dragons": (3, 6), "barons": (0.8, 2.2), "heralds": (1, 2)},
    ),
    "dota2": ((38, 11), {"kills": (45, 62), "towers": (9, 14), "roshans": (1.2, 2.4), "teamfights": (4, 8)}),
    "hok": ((15, 4), {"kills": (20, 36), "towers": (6, 14), "dragons": (3, 6), "barons": (0.8, 2.5)}),
}


@pytest.mark.parametrize("title", TITLES)
def test_lengths_and_counts_are_plausible(seasons: dict[str, Simulated], title: str) -> None:
    minutes = outcomes(seasons[title])["end_s"] / 60
    (mean, spread), totals = PLAUSIBLE[title]
    assert minutes.mean() == pytest.approx(mean, abs=2)
    assert minutes.std() == pytest.approx(spread, rel=0.25)
    scores = seasons[title].events.filter(kind="score")
    for subject, (low, high) in totals.items():
        assert low <= scores.filter(subject=subject).height / len(minutes) <= high, subject
    towers = scores.filter(subject="towers").group_by("match_id", "side").len()
    assert towers["len"].max() <= SIMULATED_TITLES[title].structures.per_side


@pytest.mark.parametrize("title", TITLES)
def test_the_winner_has_the_towers_and_an_inhibitor_that_winning_takes(
    seasons: dict[str, Simulated], title: str
) -> None:
    scores = seasons[title].events.filter(kind="score").join(outcomes(seasons[title]), on="match_id")
    by_winner = scores.filter((pl.col("side") == "A") == pl.col("a_won"))
    for subject, least in (("towers", SIMULATED_TITLES[title].structures.to_win), ("inhibitors", 1)):
        taken = by_winner.filter(subject=subject).group_by("match_id").agg(pl.col("count").sum())
        # A push that catches the defence out may leave a tower standing.
        assert (taken["count"] >= least).sum() > 0.95 * outcomes(seasons[title]).height, subject


@pytest.mark.parametrize("title", TITLES)
def test_events_are_valid_and_in_order(seasons: dict[str, Simulated], title: str) -> None:
    events = seasons[title].events
    assert events.schema == EVENT_SCHEMA
    assert validate(events)["_reject"].null_count() == len(events)
    assert (events["sequence"] == events.select(pl.int_range(pl.len()).over("match_id")).to_series()).all()
    assert events["event_time_ms"].is_sorted()  # matches follow one another
    per_match = events.group_by("match_id", maintain_order=True).agg(
        first=pl.col("kind").first(), last=pl.col("kind").last(), sorted=pl.col("clock_s").diff().min() >= 0
    )
    assert set(per_match["first"]) == {"start"} and set(per_match["last"]) == {"end"} and per_match["sorted"].all()
    steps = events.filter(kind="snapshot").select(pl.col("clock_s").diff().over("match_id")).to_series().drop_nulls()
    wanted = SIMULATED_TITLES[title].snapshot_s
    assert steps.min() >= wanted - 1 and steps.max() <= wanted + 1


def test_honor_of_kings_names_five_classes_a_side_at_the_start(seasons: dict[str, Simulated]) -> None:
    classes = SIMULATED_TITLES["hok"].class_weights
    line_ups = seasons["hok"].events.filter(pl.col("subject").is_in(list(classes)))
    assert set(line_ups["clock_s"]) == {0.0}
    assert set(line_ups.group_by("match_id", "side").agg(pl.col("count").sum())["count"]) == {5.0}
    lanes = seasons["hok"].events["lane_mid"].drop_nulls()
    assert lanes.is_between(-1, 1).all() and 0.1 < (lanes.std() or 0) < 0.7


def test_teams_keep_their_strength_so_form_can_be_learnt() -> None:
    season = simulate("dota2", 1200, seed=3)
    starts = season.events.filter(kind="start").join(outcomes(season), on="match_id")
    wins = {
        team: float(
            pl.concat([starts.filter(team_a=team)["a_won"], ~starts.filter(team_b=team)["a_won"]]).mean()  # type: ignore[arg-type]
        )
        for team in season.league.teams
    }
    assert np.corrcoef([wins[team] for team in season.league.teams], season.league.skill)[0, 1] > 0.85


def test_the_same_seed_gives_the_same_matches_and_another_does_not() -> None:
    one, again, other = (simulate("hok", 20, seed=seed) for seed in (1, 1, 2))
    assert one.events.equals(again.events) and one.truth.equals(again.truth)
    assert not one.events["gold"].equals(other.events["gold"])


def test_a_season_goes_on_with_the_same_teams_and_new_matches() -> None:
    league = simulated_league("lol", seed=1)
    start, more = (simulate("lol", 10, seed=1, league=league, first=first) for first in (0, 10))
    assert not set(start.events["match_id"]) & set(more.events["match_id"])
    assert set(more.events["team_a"].drop_nulls()) <= set(league.teams)
    assert simulate("lol", 10, seed=1).events.equals(start.events)


def test_fixtures_never_pair_a_team_with_itself_nor_twice_in_a_round() -> None:
    league = found_league("test", 7, 0.5, np.random.default_rng(0))
    pairs = league.fixtures(30, np.random.default_rng(1))
    assert pairs.shape == (30, 2)
    for round_start in range(0, 30, 3):
        teams = pairs[round_start : round_start + 3].ravel()
        assert len(set(teams)) == len(teams)
    assert league.skill.mean() == pytest.approx(0) and league.skill.std() == pytest.approx(0.5)
    assert len(set(league.teams)) == 7


def test_curves_are_straight_between_knots_and_level_outside() -> None:
    values = at_minutes(((0, 1.0), (10, 3.0)), np.array([-5.0, 0.0, 5.0, 10.0, 99.0]))
    np.testing.assert_allclose(values, [1, 1, 2, 3, 3])


def test_bad_requests_are_refused() -> None:
    with pytest.raises(KeyError, match="no simulated title 'chess'; there are: lol, dota2, hok"):
        simulate("chess", 1, seed=0)
    with pytest.raises(ValueError, match="cannot simulate 0 matches"):
        simulate("lol", 0, seed=0)
    with pytest.raises(ValueError, match="2 to 22 teams, not 1"):
        found_league("test", 1, 0.5, np.random.default_rng(0))


@pytest.mark.parametrize("title", TITLES)
def test_a_patch_scales_leads_in_gold_and_nothing_that_decides(title: str) -> None:
    """The same draws: every match takes the same course, with the same odds, and gold is worth the more."""
    usual, scarce = (simulate(title, 30, seed=4, patch=patch) for patch in (Patch(), Patch("scarce gold", gold=0.2)))
    assert outcomes(scarce).equals(outcomes(usual))
    np.testing.assert_allclose(scarce.truth["logit"], usual.truth["logit"], atol=1e-3)
    stated = [each.events.filter(kind="snapshot")["gold"].to_numpy() for each in (usual, scarce)]
    np.testing.assert_allclose(stated[1], 0.2 * stated[0], atol=0.5 + 0.2 * 0.5 + 0.01)  # both are rounded
    assert np.abs(stated[0]).max() > 1_000
    assert scarce.events["patch"].drop_nulls().unique().to_list() == ["scarce gold"]
    assert usual.events["patch"].drop_nulls().unique().to_list() == ["simulated"]
