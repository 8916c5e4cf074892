"""Training and evaluation sets: whole matches as padded tensors, from any source of match events.

    load_matches("shared/data/moba/lol_pro_2014_2016_gold.parquet")     any format that `streaming.importers` reads
    load_matches("week-47")                                             a set of `sightline dataset build`
    load_matches("simulator:lol?matches=4000&seed=7")                   simulated on the spot

Events go through the same fold as in the live pipeline, so that a model learns from exactly what it will see. Splits
are by match and by time, never by row.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple
from urllib.parse import parse_qsl

import numpy as np
import numpy.typing as npt
import polars as pl
import torch
from torch import Tensor

from jobs.errors import UsageProblem
from streaming.features.catalogue import TitleSpec, title_spec

SIMULATOR = "simulator:"
_MOST_SIMULATED = 100_000
LATEST = "latest"
LineUps = tuple[tuple[str, ...], tuple[str, ...]]
"""Names of the heroes of camp A and of camp B."""


@dataclass(frozen=True)
class MatchSet:
    """Finished matches of one title, in order of their start; B matches, at most T frames, F features of the title."""

    title: str
    source: str  # in words, such as "simulator lol, 4,000 matches, seed 7"
    match_ids: tuple[str, ...]
    features: Tensor  # (B, T, F) float32, camp A minus camp B, NaN = not known
    clock_s: Tensor  # (B, T) float32, 0 in the padding
    mask: Tensor  # (B, T) bool, True for real frames
    won: Tensor  # (B,) float32, 1 if camp A won
    year: Tensor  # (B,) int64, UTC year of the first frame
    teams: tuple[tuple[str, str], ...] = ()  # names of A and B, "" = unknown; made so for all if not given
    heroes: tuple[LineUps, ...] = ()  # names of A's and of B's, () = unknown; made so for all if not given
    patches: tuple[str, ...] = ()  # of the game, "" = unknown; made so for all if not given
    skipped: tuple[str, ...] = ()  # what the source held that could not be used, one sentence each

    def __post_init__(self) -> None:
        unknown: dict[str, object] = {"teams": ("", ""), "heroes": ((), ()), "patches": ""}
        for name, value in unknown.items():
            given = getattr(self, name)
            if not given:
                object.__setattr__(self, name, (value,) * len(self.match_ids))
            elif len(given) != len(self.match_ids):
                raise ValueError(f"{self.source}: {name} of {len(given)} matches, but {len(self.match_ids)} match ids")

    def __len__(self) -> int:
        return len(self.match_ids)

    @property
    def frames(self) -> int:
        """Number of real frames."""
        return int(self.mask.sum())

    @property
    def spec(self) -> TitleSpec:
        """Names of the feature columns, by group."""
        return title_spec(self.title)

    def take(self, matches: Tensor) -> MatchSet:
        """These matches, by position (int64) or as a bool mask (B,)."""
        positions = torch.nonzero(matches).squeeze(1) if matches.dtype == torch.bool else matches
        longest = int(self.mask[positions].sum(dim=1).max()) if len(positions) else 0
        return MatchSet(
            title=self.title,
            source=self.source,
            match_ids=tuple(self.match_ids[i] for i in positions.tolist()),
            features=self.features[positions, :longest],
            clock_s=self.clock_s[positions, :longest],
            mask=self.mask[positions, :longest],
            won=self.won[positions],
            year=self.year[positions],
            teams=tuple(self.teams[i] for i in positions.tolist()),
            heroes=tuple(self.heroes[i] for i in positions.tolist()),
            patches=tuple(self.patches[i] for i in positions.tolist()),
            skipped=self.skipped,
        )

    def of_patch(self, patch: str) -> MatchSet:
        """Matches of one patch: of this name, of that of the newest match for "latest", of all for "".

        Raises:
            UsageProblem: none is left; the message names the patches that there are.
        """
        if not patch:
            return self
        wanted = self.patches[-1] if patch == LATEST else patch
        keep = torch.tensor([each == wanted for each in self.patches])
        if not keep.any():
            there = ", ".join(sorted(set(self.patches) - {""})) or "unknown"
            raise UsageProblem(f"{self.source}: no matches of patch {patch}; its patches: {there}")
        return self.take(keep)

    def of_years(self, *, since: int | None = None, until: int | None = None) -> MatchSet:
        """Matches of these years, both ends included; None leaves an end open.

        Raises:
            UsageProblem: none is left; the message gives the years that there are.
        """
        if since is None and until is None:
            return self
        keep = torch.ones(len(self), dtype=torch.bool)
        if since is not None:
            keep &= self.year >= since
        if until is not None:
            keep &= self.year <= until
        if not keep.any():
            there = ", ".join(str(year) for year in sorted(set(self.year.tolist())))
            asked = [f"{word} {year}" for word, year in (("since", since), ("until", until)) if year is not None]
            raise UsageProblem(f"{self.source}: no matches {' '.join(asked)}; its years: {there}")
        return self.take(keep)

    @cached_property
    def fingerprint(self) -> str:
        """First 16 hex digits of a digest over everything that a model can learn from."""
        digest = hashlib.sha256("\n".join((self.title, *self.spec.features, *self.match_ids)).encode())
        for tensor in (self.features, self.clock_s, self.mask, self.won):
            digest.update(tensor.contiguous().numpy().tobytes())
        digest.update(json.dumps(self.heroes).encode())
        return digest.hexdigest()[:16]

    @cached_property
    def marks(self) -> npt.NDArray[np.uint64]:
        """Two marks of every match, (B, 2), by which it is recognised in another set: `jobs.overlap`."""
        from jobs.overlap import match_marks

        return match_marks(self)


class Split(NamedTuple):
    """Two sets without a match in common."""

    train: MatchSet
    held_out: MatchSet


def frame_outcomes(matches: MatchSet) -> npt.NDArray[np.float64]:
    """Who won, 1 for A, for every real frame."""
    return matches.won[:, None].expand_as(matches.mask)[matches.mask].double().numpy()


def frame_clocks(matches: MatchSet) -> npt.NDArray[np.float64]:
    """Game clock in seconds of every real frame."""
    return matches.clock_s[matches.mask].double().numpy()


def frame_matches(matches: MatchSet) -> npt.NDArray[np.int64]:
    """Position of the match that every real frame belongs to."""
    return matches.mask.nonzero()[:, 0].numpy()


def split_by_match(matches: MatchSet, *, share: float, seed: int) -> Split:
    """Hold out a random share of the matches, at least one; the same seed gives the same split.

    Raises:
        UsageProblem: there are fewer than two matches.
    """
    if len(matches) < 2:
        raise UsageProblem(f"{matches.source}: {len(matches)} finished match(es) cannot be split, two are needed")
    order = torch.randperm(len(matches), generator=torch.Generator().manual_seed(seed))
    held_out = min(max(round(share * len(matches)), 1), len(matches) - 1)
    return Split(matches.take(order[held_out:].sort().values), matches.take(order[:held_out].sort().values))


def split_by_time(matches: MatchSet, *, share: float) -> Split:
    """Hold out the latest share of the matches, at least one: what a gate may judge on after a training on the others.

    Raises:
        UsageProblem: there are fewer than two matches.
    """
    if len(matches) < 2:
        raise UsageProblem(f"{matches.source}: {len(matches)} finished match(es) cannot be split, two are needed")
    first = len(matches) - min(max(round(share * len(matches)), 1), len(matches) - 1)
    return Split(matches.take(torch.arange(first)), matches.take(torch.arange(first, len(matches))))


def load_matches(source: str, title: str | None = None) -> MatchSet:
    """Finished matches of a file, a folder or the simulator.

    Args:
        source: a path in a format that `streaming.importers.import_matches` reads, the folder of a training set
            (`jobs.stream_set`), or "simulator:TITLE?matches=N&seed=N".
        title: which title to take; needed only where the source has several.

    Raises:
        ImportProblem: the path cannot be read (`streaming.importers`).
        BrokenSet: a training set is not what its manifest says.
        UsageProblem: no such simulator, no finished match, or the title is left open.
    """
    from jobs.stream_set.manifest import is_set

    skipped: tuple[str, ...] = ()
    if source.startswith(SIMULATOR):
        events, words = _simulated(source)
    elif is_set(Path(source)):
        return _from_stream(Path(source), title)
    else:
        from streaming.importers import import_matches

        imported = import_matches(Path(source))
        events, words = imported.events, Path(source).name
        skipped = tuple(f"left out {problem}" for problem in imported.skipped)
    chosen = _chosen(source, sorted(events["title"].unique().to_list()), title)

    from streaming.features.match_fold import fold_events

    return frames_to_matches(fold_events(events.filter(title=chosen)), chosen, words, skipped)


def _chosen(source: str, present: list[str], title: str | None) -> str:
    chosen = title or (present[0] if len(present) == 1 else None)
    if chosen is None:
        raise UsageProblem(f"{source}: holds matches of {', '.join(present) or 'no title'}; choose one with --title")
    if chosen not in present:
        raise UsageProblem(f"{source}: no matches of title {chosen}; it holds {', '.join(present) or 'none'}")
    return chosen


def _from_stream(folder: Path, title: str | None) -> MatchSet:
    """A title of a training set; of a match that was played twice under one id the last attempt counts."""
    from jobs.stream_set.manifest import read_files, read_manifest

    manifest = read_manifest(folder)
    chosen = _chosen(str(folder), sorted(manifest.matches), title)
    frames = pl.concat(read_files(folder, manifest, chosen)).sort("began_ms", maintain_order=True)
    for number in ("attempt", "began_ms"):
        frames = frames.filter(pl.col(number) == pl.col(number).max().over("match_id"))
    return padded(frames.with_columns(won=pl.col("winner") == "A"), chosen, folder.name)


def frames_to_matches(frames: pl.DataFrame, title: str, source: str, skipped: tuple[str, ...] = ()) -> MatchSet:
    """Pad match frames (columns of `streaming.features.match_fold`) to a `MatchSet`.

    Of a restarted match the last attempt counts. Matches without a winner are left out and counted in the result's
    `skipped`, after what the caller skipped; the frames that `end` makes are left out, since the answer must be known
    before. Frames may lack the columns of line-ups, which then are unknown.

    Raises:
        UsageProblem: no match has both a frame and a winner.
    """
    frames = frames.filter(pl.col("attempt") == pl.col("attempt").max().over("match_id"))
    winners = frames.filter(pl.col("winner").is_not_null()).select("match_id", won=pl.col("winner") == "A")
    live = frames.filter(pl.col("status") == "live").join(winners, on="match_id", maintain_order="left")
    if live.is_empty():
        raise UsageProblem(f"{source}: no finished match of title {title}, nothing to learn from or to judge")
    if unfinished := frames["match_id"].n_unique() - live["match_id"].n_unique():
        skipped += (
            f"left out {unfinished:,} match(es) of {source} without a winner or without a frame before the end",
        )
    return padded(live, title, source, skipped)


def padded(live: pl.DataFrame, title: str, source: str, skipped: tuple[str, ...] = ()) -> MatchSet:
    """Frames of finished matches of one title, at least one, in their order within each match, as a `MatchSet`.

    Args:
        live: the columns of a match frame that there is something to learn from, and `won`, whether camp A did.
        title: of all.
        source: in words.
        skipped: for the result.
    """
    named = [name for name in ("heroes_a", "heroes_b") if name in live.columns]
    matches = live.group_by("match_id", maintain_order=True).agg(
        pl.col("won").first(),
        pl.col("event_time_ms").first(),
        pl.col("team_a", "team_b", "patch", *named).last(),
        frames=pl.len(),
    )
    matches = matches.sort("event_time_ms", maintain_order=True).with_row_index("row")
    place = live.select("match_id", column=pl.int_range(pl.len()).over("match_id")).join(
        matches.select("match_id", "row"), on="match_id", maintain_order="left"
    )
    row, column = place["row"].to_numpy(), place["column"].to_numpy()
    names = title_spec(title).features
    shape = (matches.height, int(matches["frames"].to_numpy().max()))
    features = np.full((*shape, len(names)), np.nan, np.float32)
    features[row, column] = live.select(names).to_numpy()
    clock_s = np.zeros(shape, np.float32)
    clock_s[row, column] = live["clock_s"].to_numpy()
    mask = np.zeros(shape, bool)
    mask[row, column] = True
    return MatchSet(
        title=title,
        source=source,
        match_ids=tuple(matches["match_id"].to_list()),
        features=torch.from_numpy(features),
        clock_s=torch.from_numpy(clock_s),
        mask=torch.from_numpy(mask),
        won=torch.from_numpy(matches["won"].to_numpy().astype(np.float32)),
        year=torch.from_numpy(matches["event_time_ms"].dt.year().to_numpy().astype(np.int64)),
        teams=tuple((a or "", b or "") for a, b in matches.select("team_a", "team_b").iter_rows()),
        heroes=_line_ups(matches),
        patches=tuple(patch or "" for patch in matches["patch"]),
        skipped=skipped,
    )


def _line_ups(matches: pl.DataFrame) -> tuple[LineUps, ...]:
    if not {"heroes_a", "heroes_b"} <= set(matches.columns):
        return ()
    return tuple((tuple(a or ()), tuple(b or ())) for a, b in matches.select("heroes_a", "heroes_b").iter_rows())


def _simulated(source: str) -> tuple[pl.DataFrame, str]:
    """Events of "simulator:TITLE?matches=N&seed=N", and the source in words."""
    from streaming.simulators.match import simulate
    from streaming.simulators.titles import SIMULATED_TITLES

    title, _, query = source.removeprefix(SIMULATOR).partition("?")
    if title not in SIMULATED_TITLES:
        raise UsageProblem(f"{source}: no simulated title {title!r}; there are: {', '.join(SIMULATED_TITLES)}")
    numbers = {"matches": 1000, "seed": 0}
    for key, value in parse_qsl(query, keep_blank_values=True):
        if key not in numbers or not re.fullmatch("[0-9]{1,12}", value):
            raise UsageProblem(f"{source}: {key}={value} is not understood; write simulator:lol?matches=4000&seed=7")
        numbers[key] = int(value)
    if not 1 <= numbers["matches"] <= _MOST_SIMULATED:
        raise UsageProblem(f"{source}: matches must lie in 1..{_MOST_SIMULATED:,}")
    words = f"simulator {title}, {numbers['matches']:,} matches, seed {numbers['seed']}"
    return simulate(title, numbers["matches"], numbers["seed"]).events, words
