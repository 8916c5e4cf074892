"""What answers a session: an encoder, the sessions it remembers, and the ids of its items, stored as one model.

Jannach & Ludewig, "When Recurrent Neural Networks meet the Neighborhood for Session-based Recommendation" (RecSys
2017): the score of an item is a mixture of two distributions over the catalogue,

    p(i | s) = (1 - w) · softmax(encoder)_i + w · kNN(s, i) / Σ_j kNN(s, j)

and the encoder's alone where no remembered session shares an item with s. All that is needed to answer is in tensors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from models.baselines.session_knn import VSTAN, NeighbourRule, SessionKNN, SessionMemory
from models.gru4rec import GRU4RecConfig
from models.layers.rows import PIECE, padded
from models.sasrec import SASRecConfig
from models.session_encoder import NO_ITEM, SessionEncoder
from models.two_tower import TwoTowerConfig

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
EncoderConfig = GRU4RecConfig | SASRecConfig | TwoTowerConfig


@dataclass(frozen=True)
class SessionModelConfig:
    """A session model; see `SessionModel`.

    Attributes:
        encoder: of the sessions.
        id_bytes: that the ids of all items take in UTF-8.
        length: clicks of a session that count, the latest.
        memory: w, the share of the remembered sessions in an answer.
        sessions: that are remembered.
        clicks: of these.
        rule: of their votes.
    """

    encoder: EncoderConfig
    id_bytes: int
    length: int = 20
    memory: float = 0.0
    sessions: int = 0
    clicks: int = 0
    rule: NeighbourRule = field(default=VSTAN)

    def __post_init__(self) -> None:
        if min(self.id_bytes, self.sessions, self.clicks) < 0 or self.length < 1:
            raise ValueError(f"SessionModel: sizes must not be below 0, length at least 1: {self}")
        if not 0 <= self.memory < 1:
            raise ValueError(f"SessionModel: memory={self.memory} must be at least 0 and below 1")

    def build(self) -> SessionModel:
        """A model with fresh weights that remembers nothing and whose items have no ids."""
        return SessionModel(self)


class SessionModel(nn.Module):
    """Clicks to a distribution over the catalogue. A row's answer does not depend on the rows beside it."""

    id_text: Tensor
    id_ends: Tensor
    memory_session: Tensor
    memory_item: Tensor
    memory_ended_s: Tensor

    def __init__(self, config: SessionModelConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder: SessionEncoder = config.encoder.build()
        self.items = self.encoder.items
        self.register_buffer("id_text", torch.zeros(config.id_bytes, dtype=torch.uint8))
        self.register_buffer("id_ends", torch.zeros(self.items, dtype=torch.int64))
        self.register_buffer("memory_session", torch.zeros(config.clicks, dtype=torch.int64))
        self.register_buffer("memory_item", torch.zeros(config.clicks, dtype=torch.int64))
        self.register_buffer("memory_ended_s", torch.zeros(config.sessions, dtype=torch.float64))
        self._neighbours: SessionKNN | None = None

    def set_ids(self, ids: Sequence[str]) -> None:
        """Name the items.

        Raises:
            ValueError: not one id an item, or other bytes than the config says.
        """
        encoded = [each.encode() for each in ids]
        text = b"".join(encoded)
        if len(encoded) != self.items or len(text) != self.config.id_bytes:
            raise ValueError(
                f"{len(encoded)} ids of {len(text)} bytes, and the config has {self.items} of {self.config.id_bytes}"
            )
        self.id_text.copy_(torch.frombuffer(bytearray(text), dtype=torch.uint8) if text else self.id_text)
        self.id_ends.copy_(torch.tensor([len(each) for each in encoded]).cumsum(0))

    def ids(self) -> tuple[str, ...]:
        """Names of the items.

        Raises:
            ValueError: what is stored is no list of ids.
        """
        ends, text = self.id_ends.tolist(), self.id_text.numpy().tobytes()
        starts = [0, *ends[:-1]]
        if any(start > end for start, end in zip(starts, ends, strict=True)) or ends[-1] != len(text):
            raise ValueError("id_ends must rise to the number of bytes of id_text")
        try:
            return tuple(text[start:end].decode() for start, end in zip(starts, ends, strict=True))
        except UnicodeDecodeError as error:
            raise ValueError(f"id_text is not UTF-8 in the bounds of id_ends: {error}") from None

    def remember(self, session: Ints, item: Ints, ended_s: Floats) -> None:
        """Keep past sessions, as of `SessionMemory`."""
        for buffer, values in (
            (self.memory_session, session),
            (self.memory_item, item),
            (self.memory_ended_s, ended_s),
        ):
            buffer.copy_(torch.from_numpy(values))
        self._neighbours = None

    def neighbours(self) -> SessionKNN | None:
        """The procedure over the remembered sessions; None where none count.

        Raises:
            ValueError: what is stored are no sessions.
        """
        if not (self.config.memory and self.config.clicks):
            return None
        if self._neighbours is None:
            session, item = self.memory_session.numpy(), self.memory_item.numpy()
            ended_s = self.memory_ended_s.numpy()
            rising = np.diff(session, prepend=0) >= 0
            if not rising.all() or session[-1] >= len(ended_s) or not ((item >= 0) & (item < self.items)).all():
                raise ValueError("the remembered sessions must rise, and have items of the catalogue alone")
            memory = SessionMemory(session, item, ended_s, self.items)
            self._neighbours = SessionKNN(memory, self.config.rule)
        return self._neighbours

    def probabilities(self, clicks: Ints, now_s: Floats) -> npt.NDArray[np.float32]:
        """Probabilities (Q, I) of the next click.

        Args:
            clicks: (Q, L) item numbers, the latest in the last column; `NO_ITEM` and what is unknown is skipped.
            now_s: (Q,) Unix time of the latest click.
        """
        clicks = self._trimmed(clicks)
        found = self.encoder_probabilities(clicks)
        neighbours, share = self.neighbours(), self.config.memory
        if neighbours is None:
            return found
        votes = neighbours.scores(clicks, now_s)
        total = votes.sum(axis=1, keepdims=True)
        heard = share * (total > 0)
        mixed = (1 - heard) * found + heard * votes / np.where(total > 0, total, 1)
        single: npt.NDArray[np.float32] = mixed.astype(np.float32)
        return single

    def encoder_probabilities(self, clicks: Ints) -> npt.NDArray[np.float32]:
        """The encoder's part (Q, I), computed in padded pieces of one size; the model is left in evaluation mode."""
        if self.training:
            self.eval()
        if not len(clicks):
            return np.empty((0, self.items), np.float32)
        clicks = self._trimmed(clicks)
        # Short sessions share pieces with short ones, and their steps; no row's answer depends on its piece.
        order = np.argsort((clicks != NO_ITEM).argmax(axis=1), kind="stable")
        rows = padded(torch.from_numpy(clicks[order]), NO_ITEM)
        vectors, biases = self.encoder.tables()
        with torch.inference_mode():
            pieces = [
                ((self.encoder.encode(piece) @ vectors.T + biases) * self.encoder.sharpness).softmax(dim=1)
                for piece in torch.split(rows, PIECE)
            ]
        found = np.empty((len(clicks), self.items), np.float32)
        found[order] = torch.cat(pieces)[: len(clicks)].numpy()
        return found

    def _trimmed(self, clicks: Ints) -> Ints:
        """The last `length` columns, always so many, with unknown items as `NO_ITEM`."""
        length = self.config.length
        clicks = np.where((clicks >= 0) & (clicks < self.items), clicks, NO_ITEM)[:, -length:]
        spare = length - clicks.shape[1]
        found: Ints = np.pad(clicks, ((0, 0), (spare, 0)), constant_values=NO_ITEM)
        return found
