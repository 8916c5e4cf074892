"""ByteTrack: every box counts, the doubtful ones only for tracks that are known.

Source: Zhang et al., "ByteTrack: Multi-Object Tracking by Associating Every Detection Box", ECCV 2022, Algorithm 1,
with the order of the authors' code: believed tracks take from the good boxes; what is left of those seen a moment ago
takes from the doubtful ones; tracks on trial take from the good ones that are still free; the rest begin tracks.

Departures: time is in seconds, not in frames, since frames are dropped; a track is on trial until it has been seen
`confirm_hits` times (there: twice), with gaps of at most `trial_s`; and boxes are compared with a margin that grows
with the time since the track was seen: at 5 frames a second somebody who walks is half a body further in the next one,
and nothing is known yet of a new track's speed. At 30 the margin is a twentieth of a box.
Overlap says which boxes may be a track's, and motion which of them is the likeliest: in a crowd the best overlap is
often the neighbour's (`Motion.strangeness`).
Where boxes come with looks (embeddings), a box that looks like somebody else is not a track's, however well it lies
(after BoT-SORT, Aharon et al., 2022, eq. 11-13, without its mixture): people who hide one another keep their ids.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from streaming.tracking.association import Floats, Ints, assign, overlaps
from streaming.tracking.looks import Looks, has_look, unit
from streaming.tracking.motion import Motion

UNSEEN = 0

_NEWEST = 0.1  # weight of a look in a track's mean
_MARGIN_PER_S, _MOST_MARGIN = 1.5, 0.4  # shares of the sides of a box
_MOST_STRANGE = 5.0  # an edge that is hidden costs 3: one may be, not two
_LOOK_WEIGHT, _LEAST_COSINE, _USUAL_COSINE = 3.0, -0.2, 0.5
_VAGUE_WEIGHT = 0.5  # of the volume of what would fit a track that was not seen for a while
_ENOUGH, _LEAST_WORTH = 11.0, 0.01  # so that a pair that may be is always worth more than none


@dataclass(slots=True)
class Tracks:
    """N tracks of one camera, by ascending id."""

    track_id: Ints  # (N,) counts up from 1 over the life of the camera
    hits: npt.NDArray[np.int32]  # (N,) how often it was seen, up to `confirm_hits`
    seen_ms: Ints  # (N,) when last
    missed: npt.NDArray[np.bool_]  # (N,) it was not in the last frame
    motion: Motion  # as of `seen_ms`
    look: Looks  # (N, D) running mean, unit length; zeros where none was seen

    @classmethod
    def none(cls, dimensions: int = 0) -> Tracks:
        """No tracks."""
        ints = np.empty(0, dtype=np.int64)
        motion = Motion(np.empty((0, 4, 2)), np.empty((0, 4, 3)))
        return cls(
            ints,
            np.empty(0, dtype=np.int32),
            ints,
            np.empty(0, dtype=np.bool_),
            motion,
            np.empty((0, dimensions), np.float32),
        )

    def __len__(self) -> int:
        return len(self.track_id)

    def take(self, chosen: npt.NDArray[np.bool_] | Ints) -> Tracks:
        """Some of them."""
        motion = Motion(self.motion.mean[chosen], self.motion.cov[chosen])
        fields = (self.track_id[chosen], self.hits[chosen], self.seen_ms[chosen], self.missed[chosen])
        return Tracks(*fields, motion, self.look[chosen])

    def and_new(self, first_id: int, boxes: Floats, looks: Looks, now_ms: int) -> Tracks:
        """With a new track for each of these boxes, (K, 4) with looks (K, D)."""
        new, begun = np.arange(first_id, first_id + len(boxes)), Motion.begin(boxes)
        return Tracks(
            np.concatenate([self.track_id, new]),
            np.concatenate([self.hits, np.ones(len(new), dtype=np.int32)]),
            np.concatenate([self.seen_ms, np.full(len(new), now_ms)]),
            np.concatenate([self.missed, np.zeros(len(new), dtype=np.bool_)]),
            Motion(*(np.concatenate(both) for both in zip(self.motion, begun, strict=True))),
            np.concatenate([self.look, looks]),
        )


class Step(NamedTuple):
    """What one frame of M boxes made of the tracks."""

    tracks: Tracks  # those on trial with them
    confirmed: Ints  # (M,) whose each box is; `UNSEEN` where it is nobody's, or of a track on trial
    on_trial: Ints  # (M,) of which track on trial each box is; else `UNSEEN`


@dataclass(frozen=True)
class ByteTrack:
    """The rules. `step` is a function of its arguments alone.

    Raises:
        ValueError: a threshold is out of range, or in disorder with another.
    """

    good_score: float = 0.5  # a box of this score or more may begin a track
    least_score: float = 0.1  # a box below it is nothing
    min_iou: float = 0.2  # of a believed track and a good box, both with their margins
    min_iou_doubtful: float = 0.5  # of a believed track and a doubtful box
    min_iou_trial: float = 0.2  # of a track on trial and a good box
    min_cosine: float = 0.3  # of the looks of a track and its box
    confirm_hits: int = 3
    trial_s: float = 0.5  # a track on trial may be out of sight so long
    lost_s: float = 3.0  # and a believed one so long

    def __post_init__(self) -> None:
        if not 0 <= self.least_score <= self.good_score <= 1:
            raise ValueError(f"scores: 0 ≤ least {self.least_score} ≤ good {self.good_score} ≤ 1 does not hold")
        for name in ("min_iou", "min_iou_doubtful", "min_iou_trial"):
            if not 0 < getattr(self, name) <= 1:
                raise ValueError(f"{name} is {getattr(self, name)}, not above 0 and up to 1")
        if not -1 <= self.min_cosine < 1:
            raise ValueError(f"min_cosine is {self.min_cosine}, not from -1 to below 1")
        if self.confirm_hits < 1:
            raise ValueError(f"confirm_hits is {self.confirm_hits}; a track must be seen at least once")
        if not 0 < self.trial_s <= self.lost_s:
            raise ValueError(f"gaps: 0 < trial_s {self.trial_s} ≤ lost_s {self.lost_s} does not hold")

    def step(
        self, tracks: Tracks, next_id: int, now_ms: int, boxes: Floats, scores: Floats, looks: Looks | None = None
    ) -> Step:
        """One frame: the tracks after it, and whose each box is.

        Args:
            tracks: as the frame before left them.
            next_id: the first id that no track has had.
            now_ms: when the frame was taken; later than the one before.
            boxes: (M, 4), corners in px, in an order of their own: which of two equally good matches is taken
                depends on it.
            scores: (M,)
            looks: (M, D) of unit length, zeros where there is none; None for none at all.
        """
        if not len(tracks) and not len(boxes):
            return Step(tracks, np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64))
        if looks is None:
            looks = np.zeros((len(boxes), tracks.look.shape[1]), np.float32)
        tracks = tracks.take(now_ms - tracks.seen_ms <= 1000 * self.lost_s)
        elapsed_s = (now_ms - tracks.seen_ms) / 1000
        margin = np.minimum(_MARGIN_PER_S * elapsed_s, _MOST_MARGIN)
        expected = tracks.motion.after(elapsed_s)
        where, believed = expected.boxes, tracks.hits >= self.confirm_hits
        good = np.flatnonzero(scores >= self.good_score)
        doubtful = np.flatnonzero((scores >= self.least_score) & (scores < self.good_score))
        owner = np.full(len(boxes), -1)
        known = has_look(tracks.look)[:, None] & has_look(looks)[None, :]
        strange = known & (tracks.look @ looks.T < self.min_cosine)

        alike = np.where(known, np.clip(tracks.look @ looks.T, _LEAST_COSINE, 1.0) - _USUAL_COSINE, 0.0)
        strangeness, vagueness = expected.strangeness(boxes)

        def match(candidates: Ints, offered: Ints, min_iou: float) -> tuple[Ints, Ints]:
            if not len(candidates) or not len(offered):
                return candidates, offered
            pair = np.ix_(candidates, offered)
            near = overlaps(where[candidates], boxes[offered], margin[candidates]) >= min_iou
            near &= (strangeness[pair] < _MOST_STRANGE) & ~strange[pair]
            likely = _LOOK_WEIGHT * alike[pair] - strangeness[pair] - _VAGUE_WEIGHT * vagueness[pair]
            found = assign(np.where(near, np.maximum(likely + _ENOUGH, _LEAST_WORTH), 0.0), _LEAST_WORTH)
            owner[offered[found.columns]] = candidates[found.rows]
            return candidates[found.rows_left], offered[found.columns_left]

        left, good = match(np.flatnonzero(believed), good, self.min_iou)
        match(left[~tracks.missed[left]], doubtful, self.min_iou_doubtful)
        _, good = match(np.flatnonzero(~believed), good, self.min_iou_trial)

        seen = np.flatnonzero(owner >= 0)
        mine = owner[seen]
        update = Motion(expected.mean[mine], expected.cov[mine]).measured(boxes[seen])
        mean, cov = tracks.motion.mean.copy(), tracks.motion.cov.copy()
        mean[mine], cov[mine] = update
        hits, seen_ms, missed = tracks.hits.copy(), tracks.seen_ms.copy(), np.ones(len(tracks), dtype=np.bool_)
        hits[mine] = np.minimum(hits[mine] + 1, self.confirm_hits)
        seen_ms[mine], missed[mine] = now_ms, False

        look = tracks.look.copy()
        fresh = has_look(looks[seen])
        look[mine[fresh]] = _blend(look[mine[fresh]], looks[seen[fresh]])

        begun = Tracks(tracks.track_id, hits, seen_ms, missed, Motion(mean, cov), look)
        begun = begun.and_new(next_id, boxes[good], looks[good], now_ms)
        owner[good] = len(tracks) + np.arange(len(good))
        owned = owner >= 0
        ids, is_told = np.full(len(boxes), UNSEEN), np.zeros(len(boxes), dtype=np.bool_)
        ids[owned] = begun.track_id[owner[owned]]
        is_told[owned] = begun.hits[owner[owned]] >= self.confirm_hits
        alive = (begun.hits >= self.confirm_hits) | (now_ms - begun.seen_ms <= 1000 * self.trial_s)
        return Step(begun.take(alive), np.where(is_told, ids, UNSEEN), np.where(is_told, UNSEEN, ids))


def _blend(means: Looks, looks: Looks) -> Looks:
    """Means with one more look each, unit length."""
    blended = np.where(has_look(means)[:, None], (1 - _NEWEST) * means + _NEWEST * looks, looks)
    return unit(blended.astype(np.float32))
