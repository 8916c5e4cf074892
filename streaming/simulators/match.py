"""Simulated matches as event frames, with the truth about them.

    simulated = simulate("lol", matches=2000, seed=1)
    simulated.events   an event frame: match by match in the order of play, as the importers make them
    simulated.truth    what no feed says: the exact log-odds and what each feature group adds to them

What is random and why the log-odds are exact: `streaming.simulators.engine`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from streaming.features.catalogue import GROUPS
from streaming.importers.assembly import END, LINE_UP, SCORE, SNAPSHOT, START, assemble, one_after_another
from streaming.simulators.engine import STEP_S, Floats, Ints, MatchEngine, Played
from streaming.simulators.league import League, found_league
from streaming.simulators.titles import FIRST_PATCH, SIMULATED_TITLES, Patch, SimulatedTitle

SEASON_START_MS = 1_704_067_200_000  # 2024-01-01 00:00 UTC
BREAK_S = 300.0  # between two matches of a season
TEAMS = 16

TRUTH_SCHEMA = pl.Schema(
    {"match_id": pl.String(), "clock_s": pl.Float64(), "logit": pl.Float64()}
    | {f"contribution_{group}": pl.Float64() for group in GROUPS}
    | {f"importance_{group}": pl.Float64() for group in GROUPS}
)


@dataclass(frozen=True)
class Simulated:
    """Matches of one season.

    `truth` has a row for every snapshot up to the moment at which the winner is drawn:

        logit           log-odds that camp A wins, given everything so far; exact
        contribution_G  what group G adds to it: the seven sum to `logit`
        importance_G    how far group G moves the log-odds at this clock (root mean square over the matches on air),
                        as a share of all groups: what a model's weights by game time should resemble
    """

    events: pl.DataFrame  # columns of match-events.avsc; sorted by match, then sequence
    truth: pl.DataFrame  # columns of TRUTH_SCHEMA
    league: League


def simulated_league(title: str, seed: int, teams: int = TEAMS) -> League:
    """The league that `simulate` with this seed plays in.

    Raises:
        KeyError: no such simulated title; the message lists those there are.
    """
    spec = _spec(title)
    return found_league(f"Simulated {title} league", teams, spec.skill_spread, np.random.default_rng([seed, 0]))


def simulate(
    title: str,
    matches: int,
    seed: int,
    *,
    league: League | None = None,
    first: int = 0,
    start_ms: int = SEASON_START_MS,
    patch: Patch = FIRST_PATCH,
) -> Simulated:
    """Play `matches` matches of a season, one after the other.

    Args:
        title: lol, dota2 or hok.
        matches: how many.
        seed: the same seed gives the same matches, whatever else runs.
        league: the teams; by default `simulated_league(title, seed)`.
        first: number of the first match, for a season that goes on: it enters the match ids and the draws.
        start_ms: event time of the first match's start, UTC.
        patch: which they are played in.

    Raises:
        KeyError: no such simulated title; the message lists those there are.
        ValueError: `matches` is not positive.
    """
    spec = patch.applied_to(_spec(title))
    if matches < 1:
        raise ValueError(f"cannot simulate {matches} matches: 1 or more are needed")
    league = league or simulated_league(title, seed)
    rng = np.random.default_rng([seed, 1, first])
    pairs = league.fixtures(matches, rng)
    line_ups = _line_ups(spec, matches, rng)
    gap = league.skill[pairs[:, 0]] - league.skill[pairs[:, 1]]
    played = MatchEngine(spec, gap, {name: heroes[0] - heroes[1] for name, heroes in line_ups.items()}, rng).play()

    ids = [f"{title}-sim-{seed}-{first + i:06d}" for i in range(matches)]
    match, step, clock_s = _snapshot_clocks(spec, played, rng)
    parts = [
        _starts(league, pairs, patch),
        _line_up_scores(line_ups),
        _scores(played),
        _snapshots(spec, played, match, step, clock_s, rng),
        _ends(played),
    ]
    times_ms = one_after_another(played.end_s, first_ms=start_ms, gap_s=BREAK_S)
    events = assemble(parts, title=title, match_ids=ids, start_ms=times_ms)
    return Simulated(events, _truth(played, ids, match, step, clock_s), league)


def _spec(title: str) -> SimulatedTitle:
    try:
        return SIMULATED_TITLES[title]
    except KeyError:
        raise KeyError(f"no simulated title {title!r}; there are: {', '.join(SIMULATED_TITLES)}") from None


def _line_ups(spec: SimulatedTitle, matches: int, rng: np.random.Generator) -> dict[str, Floats]:
    """Heroes of each class, (2, matches) per class, five a side: one of each class but one, then one hero swapped for
    any class in half the line-ups."""
    classes = tuple(spec.class_weights)
    if not classes:
        return {}
    heroes = np.ones((2, matches, len(classes)))
    side, match = np.indices((2, matches))
    heroes[side, match, rng.integers(len(classes), size=(2, matches))] = 0
    swaps = rng.random((2, matches)) < 0.5
    leaves = (heroes * rng.random(heroes.shape)).argmax(axis=-1)  # one of those present
    joins = rng.integers(len(classes), size=(2, matches))
    heroes[side[swaps], match[swaps], leaves[swaps]] -= 1
    heroes[side[swaps], match[swaps], joins[swaps]] += 1
    return {name: heroes[:, :, i] for i, name in enumerate(classes)}


def _starts(league: League, pairs: npt.NDArray[np.int64], patch: Patch) -> pl.DataFrame:
    teams = pl.Series(league.teams)
    return pl.DataFrame({"match": np.arange(len(pairs))}).with_columns(
        order=pl.lit(START),
        clock_s=pl.lit(0.0),
        team_a=teams.gather(pairs[:, 0]),
        team_b=teams.gather(pairs[:, 1]),
        league=pl.lit(league.name),
        patch=pl.lit(patch.name),
        origin=pl.lit("simulated"),
    )


def _line_up_scores(line_ups: dict[str, Floats]) -> pl.DataFrame:
    rows = []
    for name, heroes in line_ups.items():
        for side, counts in zip("AB", heroes, strict=True):
            (match,) = np.nonzero(counts)
            rows.append(
                pl.DataFrame({"match": match, "count": counts[match]}).with_columns(
                    order=pl.lit(LINE_UP), clock_s=pl.lit(0.0), side=pl.lit(side), subject=pl.lit(name)
                )
            )
    return pl.concat(rows) if rows else pl.DataFrame()


def _scores(played: Played) -> pl.DataFrame:
    scores = played.scores
    return pl.DataFrame(
        {
            "match": scores.match,
            "clock_s": scores.clock_s,
            "side": np.where(scores.is_a, "A", "B"),
            "subject": scores.subject,
        }
    ).with_columns(order=pl.lit(SCORE))


def _ends(played: Played) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "match": np.arange(len(played.end_s)),
            "clock_s": played.end_s,
            "side": np.where(played.a_won, "A", "B"),
        }
    ).with_columns(order=pl.lit(END))


def _snapshot_clocks(spec: SimulatedTitle, played: Played, rng: np.random.Generator) -> tuple[Ints, Ints, Floats]:
    """Which (match, step) the feed reports, and at what clock: every `snapshot_s`, each match with its own offset, and
    up to a second after the step, before anything of the next step happens."""
    every = round(spec.snapshot_s / STEP_S)
    steps, matches = played.contributions.shape[:2]
    offset = rng.integers(every, size=matches)
    reported = (np.arange(steps)[:, None] % every == offset) & (np.arange(steps)[:, None] * STEP_S + 1 < played.end_s)
    step, match = np.nonzero(reported)
    late_s = np.round(rng.random(len(step)) * 0.9, 1)
    return match.astype(np.int64), step.astype(np.int64), step * STEP_S + late_s


def _snapshots(
    spec: SimulatedTitle, played: Played, match: Ints, step: Ints, clock_s: Floats, rng: np.random.Generator
) -> pl.DataFrame:
    columns: dict[str, npt.NDArray[np.floating]] = {
        feature: values[step, match].astype(np.float64) for feature, values in played.leads.items()
    }
    minute = step * STEP_S / 60.0
    noise = {name: _slow_noise(played, rng)[step, match] for name in spec.derived}
    if "xp" in noise:
        columns["xp"] = np.round(spec.xp_per_gold * columns["gold"] + noise["xp"] * 25 * minute**1.3)
    if "gold_spread" in noise:
        columns["gold_spread"] = np.round(0.05 * columns["gold"] + noise["gold_spread"] * 35 * minute)
    if "participation" in noise:
        columns["participation"] = np.round(np.clip(0.1 * noise["participation"], -0.6, 0.6), 3)
    for name in ("gold", "level", "minions"):
        if name in columns:
            columns[name] = np.round(columns[name]) + 0.0  # no −0
    for name in ("lane_top", "lane_mid", "lane_bot"):
        if name in columns:
            columns[name] = np.round(np.clip(columns[name], -1.0, 1.0), 3)
    return pl.DataFrame({"match": match, "clock_s": clock_s} | columns).with_columns(order=pl.lit(SNAPSHOT))


def _slow_noise(played: Played, rng: np.random.Generator) -> Floats:
    """AR(1) over steps with a memory of a few minutes and unit variance, (S + 1, M); it says nothing of the outcome."""
    noise = rng.standard_normal(played.contributions.shape[:2])
    memory = 0.95
    for step in range(1, len(noise)):
        noise[step] = memory * noise[step - 1] + np.sqrt(1 - memory**2) * noise[step]
    return noise


def _truth(played: Played, ids: list[str], match: Ints, step: Ints, clock_s: Floats) -> pl.DataFrame:
    steps = np.arange(len(played.contributions))
    on_air = steps[:, None] <= played.decided_step  # (S + 1, M)
    squares = np.einsum("smg,sm->sg", played.contributions.astype(np.float64) ** 2, on_air.astype(np.float64))
    size = np.sqrt(squares / np.maximum(on_air.sum(axis=1, keepdims=True), 1))  # (S + 1, groups)
    share = size / np.maximum(size.sum(axis=1, keepdims=True), 1e-12)
    known = step <= played.decided_step[match]
    order = np.lexsort((step[known], match[known]))
    match, step, clock_s = match[known][order], step[known][order], clock_s[known][order]
    parts = played.contributions[step, match].astype(np.float64)
    return pl.DataFrame(
        {"match_id": pl.Series(ids).gather(match), "clock_s": clock_s, "logit": parts.sum(axis=1)}
        | {f"contribution_{group}": parts[:, i] for i, group in enumerate(GROUPS)}
        | {f"importance_{group}": share[step, i] for i, group in enumerate(GROUPS)},
        schema=TRUTH_SCHEMA,
    )
