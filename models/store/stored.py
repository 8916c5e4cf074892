"""A version that has passed every check, and the network that it holds. Nothing is ever unpickled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import numpy.typing as npt

from models.store.errors import BrokenModelError
from models.store.manifest import (
    CONFIG,
    METRICS,
    TRAINING_MATCHES,
    WEIGHTS,
    Manifest,
    from_json,
    read_checked,
    read_manifest,
)
from models.store.roots import Root

if TYPE_CHECKING:
    from torch import Tensor, nn

MARK = np.dtype("<u8")
_HASH_SHOWN = 12

M = TypeVar("M", bound="nn.Module")


@dataclass(frozen=True)
class StoredModel:
    """A version of any architecture in `models._registry`."""

    manifest: Manifest
    config: dict[str, Any]
    metrics: dict[str, Any]
    weights: dict[str, Tensor]
    path: str
    """The folder or URL where it lies."""
    training_matches: npt.NDArray[np.uint64]
    """Rising marks of the matches that it learned from (`jobs.overlap`); empty where the version does not say."""

    @property
    def name(self) -> str:
        """What the model is called, such as tsstn-lol."""
        return self.manifest.name

    @property
    def version(self) -> str:
        """Its number, as text."""
        return str(self.manifest.version)

    @property
    def weight_hash(self) -> str:
        """First 12 hex digits of the weights' sha256."""
        return self.manifest.sha256[WEIGHTS][:_HASH_SHOWN]

    def build(self) -> nn.Module:
        """The network with these weights, in evaluation mode.

        Raises:
            BrokenModelError: the weights do not fit the config, or are not finite.
        """
        from models._registry import build_with

        try:
            return build_with(self.config, self.weights)
        except (ValueError, RuntimeError, TypeError, OverflowError) as error:
            reason = " ".join(str(error).split())
            raise BrokenModelError(f"{self.path}: {WEIGHTS} and {CONFIG} do not fit: {reason}") from error

    def build_as(self, kind: type[M]) -> M:
        """As `build`, for one who can use only one kind of network, such as TSSTN.

        Raises:
            BrokenModelError: as `build`, or it is of another kind.
        """
        model = self.build()
        if not isinstance(model, kind):
            raise BrokenModelError(
                f"{self.path}: architecture {self.config.get('architecture')!r} is a {type(model).__name__}, "
                f"and what asks for it needs a {kind.__name__}; name another model"
            )
        return model


def read_files(root: Root, name: str, version: int) -> tuple[Manifest, dict[str, bytes]]:
    """Every file of a version that is there, by name, and each the one that was saved. Takes no torch.

    Raises:
        BrokenModelError: a file is missing or altered; the message names it.
    """
    manifest = read_manifest(root, name, version)
    return manifest, {file: read_checked(root, manifest, file) for file in manifest.sha256}


def read_version(root: Root, name: str, version: int) -> StoredModel:
    """Read and check every file of a version that is there.

    Raises:
        BrokenModelError: a file is missing, altered or unreadable; the message names it.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    manifest, contents = read_files(root, name, version)
    path = f"{name}/{version}"
    try:
        weights = load(contents[WEIGHTS])
    except (SafetensorError, KeyError) as error:  # KeyError: a kind of number that torch does not know
        raise BrokenModelError(f"{root.at(f'{path}/{WEIGHTS}')}: not a safetensors file: {error}") from error
    config, metrics = (from_json(root.at(f"{path}/{file}"), contents[file]) for file in (CONFIG, METRICS))
    marks = contents.get(TRAINING_MATCHES, b"")
    if len(marks) % MARK.itemsize:
        place = root.at(f"{path}/{TRAINING_MATCHES}")
        raise BrokenModelError(f"{place}: {len(marks)} bytes are no whole number of marks")
    return StoredModel(manifest, config, metrics, weights, root.at(path), np.frombuffer(marks, MARK).astype(np.uint64))


def weights_file(model: nn.Module) -> bytes:
    """The tensors of a network on any device, as they are stored."""
    from safetensors.torch import save

    return save({key: value.detach().cpu().contiguous() for key, value in model.state_dict().items()})


def marks_file(marks: npt.NDArray[np.uint64]) -> bytes:
    """Marks of any shape, as they are stored: rising, each once."""
    return np.unique(marks).astype(MARK).tobytes()
