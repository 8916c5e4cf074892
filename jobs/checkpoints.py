"""Checkpoints of a training: one file, whole or not there, from which every worker goes on.

The file is safetensors: tensors by name, and all else as JSON in its metadata. It appears under its name by a rename,
so that a worker killed in the middle of writing leaves the one before. Only rank 0 reads and writes it; the others get
its bytes over torch.distributed, so that all go on from the same epoch even where they do not see the same disk.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.distributed
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

FILE = "checkpoint.safetensors"
_PROGRESS = "progress"
_NONE, _UNREADABLE = -1, -2  # in place of a size


class CheckpointError(RuntimeError):
    """A checkpoint cannot be written, read or used; the message says which, why, and what to do."""


class Checkpoint(NamedTuple):
    """Where a training stands."""

    tensors: dict[str, Tensor]
    progress: dict[str, Any]  # JSON values


class Checkpoints:
    """The one checkpoint of a run, which each new one replaces. All workers call every method together.

    Args:
        folder: of the run; exists.
        subject: digest of what is trained on what. One of another subject is refused.
        rank: number of this worker.
        world: number of workers.
    """

    def __init__(self, folder: Path, subject: str, *, rank: int = 0, world: int = 1) -> None:
        self.path, self._subject, self._rank, self._world = folder / FILE, subject, rank, world

    def latest(self) -> Checkpoint | None:
        """The last one, None where there is none.

        Raises:
            CheckpointError: it cannot be read, is not whole, or is of another recipe or data.
        """
        data, reason = None, ""
        if self._rank == 0:
            try:
                data = self.path.read_bytes()
            except FileNotFoundError:
                pass
            except OSError as error:
                reason = f"cannot be read: {error.strerror}"
        data = self._from_first(data, reason)
        return None if data is None else self._parsed(data)

    def keep(self, checkpoint: Checkpoint) -> None:
        """Replace the last one.

        Raises:
            CheckpointError: there is no room, or the folder cannot be written; the last one is still there.
        """
        problem = ""
        if self._rank == 0:
            problem = self._written(checkpoint)
        if self._world > 1:  # else the others would wait for one who has given up
            failed = torch.tensor([bool(problem)])
            torch.distributed.broadcast(failed, src=0)
            problem = problem or ("worker 0 could not write a checkpoint" if failed.item() else "")
        if problem:
            raise CheckpointError(problem)

    def forget(self) -> None:
        """Remove the file: the training is over."""
        for path in (self.path, self._draft):
            path.unlink(missing_ok=True)

    @property
    def _draft(self) -> Path:
        return self.path.with_suffix(".part")

    def _written(self, checkpoint: Checkpoint) -> str:
        """What went wrong, in words."""
        progress = {**checkpoint.progress, "subject": self._subject}
        data = save(_storable(checkpoint.tensors), {_PROGRESS: json.dumps(progress)})
        try:
            with self._draft.open("wb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
            self._draft.replace(self.path)
        except OSError as error:
            with suppress(OSError):
                self._draft.unlink()
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            why = "no space left" if full else str(error.strerror)
            return (
                f"{self.path}: no checkpoint could be written: {why}; "
                f"{'make room' if full else 'make the folder writable'}, then go on with --resume"
            )
        return ""

    def _from_first(self, data: bytes | None, reason: str) -> bytes | None:
        """What rank 0 has read, on all workers."""
        if self._world > 1:
            size = torch.tensor([_UNREADABLE if reason else _NONE if data is None else len(data)])
            torch.distributed.broadcast(size, src=0)
            length = int(size)
            if length == _UNREADABLE:
                reason = reason or "cannot be read by worker 0"
            elif length != _NONE:
                payload = torch.empty(length, dtype=torch.uint8)
                if data is not None:
                    payload = torch.frombuffer(bytearray(data), dtype=torch.uint8)
                torch.distributed.broadcast(payload, src=0)
                data = payload.numpy().tobytes()
        if reason:
            raise CheckpointError(f"{self.path}: {reason}; train anew without --resume")
        return data

    def _parsed(self, data: bytes) -> Checkpoint:
        try:
            tensors = load(data)
            header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
            progress = json.loads(header["__metadata__"][_PROGRESS])
            subject = progress.pop("subject")
        except (SafetensorError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise CheckpointError(
                f"{self.path}: not a whole checkpoint ({error}); train anew without --resume"
            ) from None
        if subject != self._subject:
            raise CheckpointError(f"{self.path}: of another recipe or other data; train anew without --resume")
        return Checkpoint(tensors, progress)


def optimiser_state(optimiser: torch.optim.Optimizer) -> tuple[dict[str, Tensor], list[Any]]:
    """Its moments as tensors by "NUMBER.NAME", and its parameter groups as JSON values."""
    state = optimiser.state_dict()
    tensors = {f"{number}.{name}": value for number, kept in state["state"].items() for name, value in kept.items()}
    return tensors, state["param_groups"]


def restore_optimiser(optimiser: torch.optim.Optimizer, tensors: Mapping[str, Tensor], groups: list[Any]) -> None:
    """Set an optimiser of the same parameters to what `optimiser_state` gave."""
    state: dict[int, dict[str, Tensor]] = {}
    for place, value in tensors.items():
        number, _, name = place.partition(".")
        state.setdefault(int(number), {})[name] = value
    optimiser.load_state_dict({"state": state, "param_groups": groups})


def below(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Those whose names begin with "PREFIX/", without it."""
    start = f"{prefix}/"
    return {name.removeprefix(start): value for name, value in tensors.items() if name.startswith(start)}


def under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same with "PREFIX/" before each name."""
    return {f"{prefix}/{name}": value for name, value in tensors.items()}


def generators_of(world: int) -> Tensor:
    """State of torch's own generator on each worker, (world, N) uint8."""
    own = torch.get_rng_state()
    if world == 1:
        return own[None]
    states = [torch.empty_like(own) for _ in range(world)]
    torch.distributed.all_gather(states, own)
    return torch.stack(states)


def _storable(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copies that share no memory, which safetensors asks for."""
    return {name: value.detach().clone().contiguous() for name, value in tensors.items()}
