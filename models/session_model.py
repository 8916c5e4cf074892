"""What answers a session: an encoder, the sessions it remembers, and the ids of its items, stored as one model.

Jannach & Ludewig, "When Recurrent Neural Networks meet the Neighborhood for Session-based Recommendation" (RecSys
2017): the score of an item is a mixture of two distributions over the catalogue,

    p(i | s) = (1 - w) · softmax(encoder)_i + w · kNN(s, i) / Σ_j kNN(s, j)

and the encoder's alone where no remembered session shares an item with s. All that is needed to answer is in tensors.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from models.baselines.session_knn import VSTAN, NeighbourRule, SessionKNN
from models.baselines.session_memory import SessionMemory
from models.gru4rec import GRU4RecConfig
from models.layers.rows import PIECE, padded
from models.sasrec import SASRecConfig
from models.scorer import Scorer, exponentiate
from models.session_encoder import NO_ITEM, SessionEncoder, Tables
from models.two_tower import TwoTowerConfig

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Probabilities = npt.NDArray[np.float32]
EncoderConfig = GRU4RecConfig | SASRecConfig | TwoTowerConfig


class Scored(NamedTuple):
    """Sessions on their way through the encoder: those that are answered, and others that are scored beside them. A
    product has room for so many rows anyhow, and in a small batch those of both fit one."""

    states: Tensor  # (Q + V, D)
    log_totals: Floats  # (Q + V,) Σ exp(score) over all items, its logarithm: there when the last piece is


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
        self._scorer: tuple[Tables, Scorer] | None = None

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

    def probabilities(self, clicks: Ints, now_s: Floats) -> Probabilities:
        """Probabilities (Q, I) of the next click.

        Args:
            clicks: (Q, L) item numbers, the latest in the last column; `NO_ITEM` and what is unknown is skipped.
            now_s: (Q,) Unix time of the latest click.
        """
        found = np.empty((len(clicks), self.items), np.float32)
        for rows, piece in self.pieces(clicks, now_s):
            found[rows] = piece
        return found

    def pieces(
        self, clicks: Ints, now_s: Floats, scored: Scored | None = None
    ) -> Iterator[tuple[slice, Probabilities]]:
        """The same, some rows (n, I) after others and never all at once; the caller may change them.

        Args:
            clicks: (Q, L).
            now_s: (Q,).
            scored: of these and of V others after them, by `to_score`; None: of these alone.
        """
        clicks = self.trimmed(clicks)
        scored = scored or self.to_score(clicks)
        for rows, heard in self._heard(clicks, now_s):
            # The others are scored with the last.
            own = slice(rows.start, rows.stop if rows.stop < len(clicks) else len(scored.states))
            for part, piece, highest, powers in self._powers(scored.states[own]):
                at, count = slice(rows.start + part.start, rows.start + part.stop), rows.stop - rows.start
                scored.log_totals[at] = (highest + np.log(powers))[:, 0]
                if part.start < count:
                    mine = slice(part.start, min(part.stop, count))
                    answered = piece[: mine.stop - mine.start]
                    self._mix(answered, powers[: len(answered)], heard, mine)
                    yield slice(at.start, at.start + len(answered)), answered

    def to_score(self, clicks: Ints) -> Scored:
        """Sessions (Q, L) of `trimmed`, encoded."""
        return Scored(self.states(clicks), np.empty(len(clicks)))

    def _heard(self, clicks: Ints, now_s: Floats) -> Iterator[tuple[slice, _Heard]]:
        """What the neighbours of each session say, some sessions after others."""
        neighbours, share = self.neighbours(), self.config.memory
        if neighbours is None:
            nothing = np.empty(0, np.int64)
            yield slice(0, len(clicks)), _Heard(np.zeros(len(clicks)), nothing, nothing, np.empty(0, np.float32))
            return
        for rows, voters, votes in neighbours.votes(clicks, now_s):
            query = voters.query[votes.voter]
            total = np.bincount(query, votes.score, rows.stop - rows.start)
            heard = np.where(total > 0, share, 0.0)
            added = (votes.score * (heard / np.where(total > 0, total, 1))[query]).astype(np.float32)
            yield rows, _Heard(heard, query, votes.item, added)

    def _mix(self, piece: Probabilities, powers: Probabilities, heard: _Heard, rows: slice) -> None:
        """Powers of the encoder (n, I) and their sums (n, 1) become probabilities of the mixture."""
        piece *= (1 - heard.share[rows]).astype(np.float32)[:, None] / powers
        own = slice(*np.searchsorted(heard.query, (rows.start, rows.stop)))
        cell = (heard.query[own] - rows.start) * self.items + heard.item[own]
        np.add.at(piece.reshape(-1), cell, heard.added[own])

    def encoder_probabilities(self, clicks: Ints) -> Probabilities:
        """The encoder's part (Q, I)."""
        found = np.empty((len(clicks), self.items), np.float32)
        for rows, piece, _, total in self._powers(self.states(self.trimmed(clicks))):
            found[rows] = piece * (1 / total)
        return found

    def _powers(self, states: Tensor) -> Iterator[tuple[slice, Probabilities, Probabilities, Probabilities]]:
        """What the encoder's probabilities are in proportion to, (n, I), and `exponentiate` of its scores."""
        for rows, scores in self.scorer().pieces(states):
            yield rows, scores, *exponentiate(scores)

    def scorer(self) -> Scorer:
        """Of the encoder, made once for evaluation and kept until it is trained again; the model is left in evaluation
        mode."""
        self._evaluate()
        tables = self.encoder.tables()
        if self._scorer is None or self._scorer[0] is not tables:
            self._scorer = tables, Scorer(tables, self.encoder.sharpness)
        return self._scorer[1]

    def states(self, clicks: Ints) -> Tensor:
        """The encoder's states (Q, D) after the last click, computed in padded pieces of one size; the model is left in
        evaluation mode.

        Args:
            clicks: (Q, L) of `trimmed`.
        """
        self._evaluate()
        # Short sessions share pieces with short ones, and their steps; no row's answer depends on its piece.
        order = np.argsort((clicks != NO_ITEM).argmax(axis=1), kind="stable")
        rows = padded(torch.from_numpy(clicks[order]), NO_ITEM)
        found = torch.empty(len(clicks), self.encoder.dim)
        with torch.inference_mode():
            for start in range(0, len(clicks), PIECE):
                to = torch.from_numpy(order[start : start + PIECE])
                found[to] = self.encoder.encode(rows[start : start + PIECE])[: len(to)]
        return found

    def _evaluate(self) -> None:
        if self.training:
            self.eval()

    def trimmed(self, clicks: Ints) -> Ints:
        """The last `length` columns, always so many, with unknown items as `NO_ITEM`."""
        length = self.config.length
        clicks = np.where((clicks >= 0) & (clicks < self.items), clicks, NO_ITEM)[:, -length:]
        spare = length - clicks.shape[1]
        found: Ints = np.pad(clicks, ((0, 0), (spare, 0)), constant_values=NO_ITEM)
        return found


class _Heard(NamedTuple):
    """Votes of the neighbours of N sessions, by session."""

    share: Floats  # (N,) of the neighbours in the answer
    query: Ints  # (M,) session
    item: Ints  # (M,)
    added: Probabilities  # (M,)
