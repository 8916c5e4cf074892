"""Work that evaluations share: fit one predictor on some matches, ask it about others; many such trials on all cores.

Trials are independent and seeded, so their order and the number of processes change no figure.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, fields
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jobs.datasets import MatchSet

MOST_WORKERS = 4
"""More processes than this gain little: a handful of networks take most of the time."""

_sets: dict[str, MatchSet] = {}
"""In a worker process: the sets that trials name."""


@dataclass(frozen=True)
class Trial:
    """One piece of work.

    Attributes:
        key: of its result.
        words: what a person reads when it is done.
        work: a function of a module, called as work(sets, *arguments).
        arguments: its arguments after the sets; plain values.
    """

    key: tuple[str, ...]
    words: str
    work: Callable[..., Any]
    arguments: tuple[Any, ...] = ()


def cores() -> int:
    """Processes that pay on this machine."""
    return min(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1, MOST_WORKERS)


def run_trials(
    trials: Sequence[Trial],
    sets: Mapping[str, MatchSet],
    *,
    workers: int,
    on_done: Callable[[Trial, int, int], None] = lambda trial, done, of: None,
) -> dict[tuple[str, ...], Any]:
    """Every trial's result, by key.

    Args:
        trials: keys differ. The long ones should come first.
        sets: by the names that trials use.
        workers: processes; with 0 all runs in this one.
        on_done: told after every trial, with how many are done of how many.

    Raises:
        Whatever a trial raises; the others are then given up.
    """
    results: dict[tuple[str, ...], Any] = {}
    for trial, result in _here(trials, sets) if workers == 0 else _elsewhere(trials, sets, workers):
        results[trial.key] = result
        on_done(trial, len(results), len(trials))
    return results


def _here(trials: Sequence[Trial], sets: Mapping[str, MatchSet]) -> Iterator[tuple[Trial, Any]]:
    for trial in trials:
        yield trial, _alone(trial, sets)


def _elsewhere(trials: Sequence[Trial], sets: Mapping[str, MatchSet], workers: int) -> Iterator[tuple[Trial, Any]]:
    plain = {name: _to_plain(matches) for name, matches in sets.items()}
    # Fresh processes: torch's threads do not survive a fork.
    pool = ProcessPoolExecutor(workers, get_context("spawn"), initializer=_begin, initargs=(plain,))
    try:
        pending = {pool.submit(_work, trial): trial for trial in trials}
        for future in as_completed(pending):
            yield pending[future], future.result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _begin(plain: dict[str, dict[str, Any]]) -> None:
    import torch

    from jobs.children import ending_with_parent

    if (end_with_parent := ending_with_parent()) is not None:
        end_with_parent()  # a pool's idle workers would outlive a parent that is killed
    torch.set_num_threads(1)
    _sets.update({name: _from_plain(values) for name, values in plain.items()})


def _work(trial: Trial) -> Any:
    return _alone(trial, _sets)


def _alone(trial: Trial, sets: Mapping[str, MatchSet]) -> Any:
    """Run on one thread: several to a process, on cores that other processes use, mostly wait for each other."""
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    with threadpool_limits(1):
        return trial.work(sets, *trial.arguments)


def _to_plain(matches: MatchSet) -> dict[str, Any]:
    """Arrays instead of tensors, which would travel through shared memory that not every machine has enough of."""
    import torch

    values = {field.name: getattr(matches, field.name) for field in fields(matches)}
    return {name: value.numpy() if isinstance(value, torch.Tensor) else value for name, value in values.items()}


def _from_plain(values: Mapping[str, Any]) -> MatchSet:
    import numpy as np
    import torch

    from jobs.datasets import MatchSet

    made: dict[str, Any] = {
        name: torch.from_numpy(value) if isinstance(value, np.ndarray) else value for name, value in values.items()
    }
    return MatchSet(**made)
