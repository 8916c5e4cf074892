"""Looks, sealed with the key of their track and day.

    day (4 bytes, big-endian, 0 for none) │ AES-SIV of D little-endian float32 (RFC 5297): 16 bytes more than they

What is authenticated beside the day is the network that made the look: to another one it is nothing, and does not open.

AES-SIV is deterministic: the same look of the same track and day is the same bytes, so state stays a function of what
was read, whatever the batches and restarts; it authenticates, so that no other bytes open; and it needs no nonce that
two workers could use twice. That two looks are equal can be seen, which happens where one was not updated.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from streaming.privacy.keyring import day_of
from streaming.privacy.seal import Looks, Sealed, TrackName

_DAY_BYTES, _TAG_BYTES = 4, 16
_MOST_HELD = 32_768
"""Tracks whose look is remembered open, the last of each: all that a busy day compares at once."""


class TrackKeys(Protocol):
    """Where keys come from: `streaming.privacy.folder`."""

    def key(self, camera: str, track_id: int, day: int) -> bytes | None:
        """None where there is none, or no longer."""

    def erase(self, tracks: Sequence[TrackName]) -> None:
        """No key of these tracks, of any day, is ever had again."""

    def version(self) -> object:
        """Another one when a key may have gone."""


class KeyedSeal:
    """`streaming.privacy.seal.Seal` by keys that can be destroyed. Of each stage its own: it remembers the look of a
    track that it sealed or opened last."""

    def __init__(self, keys: TrackKeys) -> None:
        self._keys = keys
        self._ciphers: dict[tuple[TrackName, int], AESSIV | None] = {}
        self._opened: dict[TrackName, tuple[bytes, Looks]] = {}  # with day and tag
        self._version: object = None
        self._network = b""

    def of_network(self, weight_hash: str) -> None:
        """Looks are of this network from now on; those of another do not open."""
        if weight_hash.encode() != self._network:
            self._network = weight_hash.encode()
            self._opened.clear()

    def __reduce__(self) -> tuple[Callable[..., KeyedSeal], tuple[TrackKeys]]:
        return type(self), (self._keys,)  # what was opened stays in the process

    def width(self, dimensions: int) -> int:
        """Day, tag and the floats."""
        return _DAY_BYTES + _TAG_BYTES + 4 * dimensions

    def seal(self, looks: Looks, tracks: Sequence[TrackName], at_ms: int) -> Sealed:
        """(N, D) to (N, width), with the keys of the day of `at_ms`; zeros for zeros, and where there is no key."""
        self._look_at_keys()
        day = day_of(at_ms)
        sealed = np.zeros((len(looks), self.width(looks.shape[1])), np.uint8)
        if not 0 < day < 1 << (8 * _DAY_BYTES):
            return sealed
        head = day.to_bytes(_DAY_BYTES, "big")
        for row in np.flatnonzero((looks != 0).any(axis=1)).tolist():
            cipher = self._cipher(tracks[row], day)
            if cipher is not None:
                body = cipher.encrypt(looks[row].astype("<f4").tobytes(), [head, self._network])
                sealed[row] = np.frombuffer(head + body, np.uint8)
                self._hold(tracks[row], head + body, looks[row].astype(np.float32))
        return sealed

    def open(self, sealed: Sealed, tracks: Sequence[TrackName]) -> Looks:
        """(N, width) to (N, D); zeros for zeros, where the key is gone, and for what was not sealed with it."""
        self._look_at_keys()
        looks = np.zeros((len(sealed), (sealed.shape[1] - _DAY_BYTES - _TAG_BYTES) // 4), np.float32)
        for row in np.flatnonzero(sealed.any(axis=1)).tolist():
            raw = sealed[row].tobytes()
            tag, look = self._opened.get(tracks[row], (b"", None))
            if tag != raw[: len(tag)] or look is None:
                look = self._open(raw, tracks[row])
            if look is not None:
                looks[row] = look
        return looks

    def forget(self, tracks: Sequence[TrackName]) -> None:
        """Nobody ever opens a look of these tracks again."""
        self._keys.erase(tracks)
        self._look_at_keys()

    def _look_at_keys(self) -> None:
        """What was derived from keys goes with them."""
        if (version := self._keys.version()) != self._version:
            self._version = version
            self._ciphers.clear()
            self._opened.clear()

    def _open(self, raw: bytes, track: TrackName) -> Looks | None:
        head = raw[:_DAY_BYTES]
        cipher = self._cipher(track, int.from_bytes(head, "big"))
        if cipher is None:
            return None
        try:
            look = np.frombuffer(cipher.decrypt(raw[_DAY_BYTES:], [head, self._network]), "<f4").astype(np.float32)
        except InvalidTag:
            return None
        self._hold(track, raw, look)
        return look

    def _cipher(self, track: TrackName, day: int) -> AESSIV | None:
        if (track, day) not in self._ciphers:
            if len(self._ciphers) >= _MOST_HELD:
                self._ciphers.clear()
            key = self._keys.key(*track, day)
            self._ciphers[track, day] = None if key is None else AESSIV(key)
        return self._ciphers[track, day]

    def _hold(self, track: TrackName, raw: bytes, look: Looks) -> None:
        if len(self._opened) >= _MOST_HELD:
            self._opened.clear()
        self._opened[track] = raw[: _DAY_BYTES + _TAG_BYTES], look
