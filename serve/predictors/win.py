"""Win prediction as a plain class: arrays in, arrays out. Knows the model store, not Ray."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from models.layers.heroes import LineUp
from models.store import BrokenModelError, ModelStore, StoredModel
from models.tsstn import TSSTN
from streaming.features.catalogue import GOLD, GROUPS, title_spec

Arrays = Mapping[str, npt.NDArray[Any]]

SUM_TOLERANCE = 1e-4
"""How far contributions may miss their logit, in float32 at log-odds up to ±10."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ModelInfo:
    """Which weights answer, and what they were trained on, in words for viewers."""

    name: str
    version: str
    weight_hash: str
    trained_on: str
    title: str

    @property
    def exact(self) -> str:
        """NAME@VERSION."""
        return f"{self.name}@{self.version}"


class WinPredictor:
    """One loaded model. `predict` is deterministic: a row's answer does not depend on the rest of its batch.

    Not thread-safe, because `broken` is counted; one thread of torch serves it best, as frames are small.

    Args:
        stored: a version from the store.
        device: "cpu" or "cuda". Answers on the GPU differ from those on the CPU by at most 1e-4 in log-odds.

    Raises:
        BrokenModelError: the version was trained for other features than its title has now.
        RuntimeError: there is no such device.
    """

    def __init__(self, stored: StoredModel, device: str = "cpu") -> None:
        torch.set_num_threads(1)
        self._device = torch.device(device)
        self._model = stored.build_as(TSSTN).to(self._device)
        config, title = self._model.config, stored.manifest.title
        if config.features != title_spec(title).features:
            raise BrokenModelError(
                f"{stored.path}: trained for {', '.join(config.features)}, but {title} has "
                f"{', '.join(title_spec(title).features)}; train it again"
            )
        self._columns = np.array([GROUPS.index(group) for group in config.group_names])
        self.info = ModelInfo(
            stored.name, stored.version, stored.weight_hash, stored.manifest.trained_on, stored.manifest.title
        )
        self.features = config.features
        self._gold_by_slot = self._model.scale.scale.cpu().numpy()[:, [name == GOLD for name in self.features]].ravel()
        self.state_floats = self._model.state
        self.broken = 0  # rows so far whose contributions did not sum to their logit

    def predict(self, request: Arrays) -> dict[str, npt.NDArray[Any]]:
        """Win estimates for N frames of M matches.

        Args:
            request: features (N, F) float32 in `self.features` order, NaN = not known; clock_s (N,) float32;
                match (N,) int64, row of hidden, rows of one match in time order; hidden (M, H) float32, H =
                `self.state_floats`, zeros for a new match; and, if known, heroes (M, 2) str, the names of camp A's
                and camp B's heroes of each match joined by newlines, "" = unknown.

        Returns:
            logit (N,); scores, weights, contributions (N, 7) in GROUPS order, 0 for groups that the title lacks;
            usual_gold (N,), the root mean square of the lead in gold at each clock over what the model learned from,
            NaN where it knows none; hidden (M, H); all float32.

        Raises:
            ValueError: an array is missing or of the wrong shape; the message names it.
        """
        rows, matches = self._checked(request)
        estimate, hidden = self._model.step(
            self._tensor(request["features"], np.float32),
            self._tensor(request["clock_s"], np.float32),
            self._tensor(request["match"], np.int64),
            self._tensor(request["hidden"], np.float32),
            _line_ups(request["heroes"]) if "heroes" in request and self._model.heroes is not None else None,
        )
        answer = {"logit": estimate.logits.cpu().numpy()}
        for key, values in zip(("scores", "weights", "contributions"), estimate[1:], strict=True):
            answer[key] = np.zeros((rows, len(GROUPS)), np.float32)
            answer[key][:, self._columns] = values.cpu().numpy()
        answer["usual_gold"] = self._usual_gold(request["clock_s"])
        answer["hidden"] = hidden.cpu().numpy().reshape(matches, self.state_floats)
        self._check_sums(answer["contributions"], answer["logit"])
        return answer

    def _usual_gold(self, clock_s: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        if GOLD not in self.features:
            return np.full(len(clock_s), np.nan, np.float32)
        slots = self._model.scale.slot_of(torch.from_numpy(np.array(clock_s, np.float32)))
        usual: npt.NDArray[np.float32] = self._gold_by_slot[slots.numpy()]
        return usual

    def _check_sums(self, contributions: npt.NDArray[np.float32], logit: npt.NDArray[np.float32]) -> None:
        gap = np.abs(contributions.sum(axis=1, dtype=np.float64) - logit)
        broken = int(np.count_nonzero(~(gap <= SUM_TOLERANCE)))
        if broken:
            if not self.broken:
                _log.error("%s@%s: contributions miss the logit by %g", self.info.name, self.info.version, gap.max())
            self.broken += broken

    def _checked(self, request: Arrays) -> tuple[int, int]:
        """Rows and matches of a request of the right shapes."""
        if missing := [key for key in ("features", "clock_s", "match", "hidden") if key not in request]:
            raise ValueError(f"request lacks {', '.join(missing)}")
        rows, matches = len(request["clock_s"]), len(request["hidden"])
        wanted = {
            "features": (rows, len(self.features)),
            "clock_s": (rows,),
            "match": (rows,),
            "hidden": (matches, self.state_floats),
            "heroes": (matches, 2),
        }
        for key, shape in wanted.items():
            if key in request and request[key].shape != shape:
                raise ValueError(f"{key} must have shape {shape}, not {request[key].shape}")
        if rows and not (request["match"].min() >= 0 and request["match"].max() < matches):
            raise ValueError(f"match must lie in 0..{matches - 1}, the rows of hidden")
        return rows, matches

    def _tensor(self, values: npt.NDArray[Any], dtype: npt.DTypeLike) -> torch.Tensor:
        # A copy: what Ray hands over is read-only, which torch warns about. By numpy, which is quicker at it.
        return torch.from_numpy(np.array(values, dtype)).to(self._device)


def _line_ups(heroes: npt.NDArray[Any]) -> list[LineUp]:
    """Names of the heroes of camp A and of camp B, match by match."""
    return [(a.split("\n") if a else (), b.split("\n") if b else ()) for a, b in heroes.tolist()]


def load_win_predictor(store: Sequence[str], reference: str, device: str = "cpu") -> WinPredictor:
    """The predictor of "NAME@ALIAS" or "NAME@VERSION", from the first of these store folders that has it.

    Raises:
        ModelNotFoundError, BrokenModelError: as `ModelStore.load`.
    """
    return WinPredictor(ModelStore(*store).load(reference), device)
