"""What to say about one frame of a match: facts in, a sentence per language out. Pure.

A `Beat` holds the facts, seen from the side that gained, or won. `situation`, `ending` and `explain` decide what the
line is about and which reason it gives; `Voice` puts both into words. The choice among several wordings follows from
match, attempt and frame alone, except that the wordings of the last lines are left out.

Probabilities are compared as they are said, in whole per cent, so that no line contradicts its own number.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from streaming.features.catalogue import GROUPS
from streaming.insights.wording import ENDINGS, Wording

EVEN_BAND = 2
"""A side leads from this many points above 50 %; between 49 and 51 % nobody does."""

CLEAR_BAND = 5
"""A lead of fewer points than this is by a hair."""

FAR_BEHIND, COMEBACK_S = 30, 180.0
"""A side that was once this low, per cent, and then wins has come back; one that leads, if that was so long ago."""

TORN_BAND, TORN_LOGIT = 10, 0.5
"""Within 50 % ± this band, reasons of this much log-odds on either side leave the model torn."""

MAIN_PART, NEXT_PART, ANY_PART = 0.55, 0.2, 0.29
"""Parts of a swing: one group from the first on is its reason; two that reach it together, the second with the second
part at least, are so too; else one with the third part; else there is no single reason."""

LONG_AGO_S = 90.0
"""A rise over a longer time than this is said with the time of the line that it is counted from."""

RECENT = 8
"""So many wordings of a match's last lines are not used again if there is another one."""

UNNAMED = frozenset({"degraded", "restored", "final_upset", "final_unknown", "void"})
"""Situations for which groups are no reason."""

ReasonKind = Literal["swing", "pair", "broad", "despite", "torn", "thin", "final"]


@dataclass(frozen=True, slots=True)
class Event:
    """What a side gained, as far as the frames tell."""

    feature: str  # a name in catalogue.COUNTS
    number: int = 1  # how many at once
    nth: int = 0  # the side's how-manyth of its kind; 0 where unknown
    is_cause: bool = True  # whether its own group made a good part of the change


@dataclass(frozen=True, slots=True)
class Turn:
    """The largest swing to the winner in one frame."""

    clock_s: float
    points: int
    event: Event | None


@dataclass(frozen=True, slots=True)
class Beat:
    """One thing worth saying. Probabilities are those of the side that the line is about, in whole per cent, 0 to 100;
    log-odds are positive for it."""

    situation: str  # one of wording.SITUATIONS, wording.NOTICES or wording.ENDINGS
    title: str
    teams: tuple[str, str]  # as the feed names them, A first; "" where it does not
    side: int  # whom the line is about: 0 for A, 1 for B
    clock_s: float
    percent: int
    was: int  # at the last line
    since_s: float  # when that was, game clock
    low: int  # the lowest so far
    low_clock_s: float
    event: Event | None = None
    gains: tuple[float, ...] = (0.0,) * len(GROUPS)  # (7,) in GROUPS order, log-odds since the last line
    stands: tuple[float, ...] = (0.0,) * len(GROUPS)  # (7,) log-odds as they are now
    few: tuple[str, ...] | None = None  # the groups that the feed fills, where they are few
    few_said: bool = False  # whether a line said so before
    turn: Turn | None = None  # at an end


@dataclass(frozen=True, slots=True)
class Reason:
    """Why, in a form that `Voice` can say."""

    kind: ReasonKind
    groups: tuple[str, ...] = ()  # heaviest first; of `torn` and `despite` the second speaks for the other side
    part: float = 0.0  # of the first, 0 to 1

    @property
    def mark(self) -> str:
        """The same for two reasons that would sound alike."""
        return ".".join((self.kind, *sorted(self.groups)))


def leader(percent: int) -> int:
    """+1 where the side with this probability leads, -1 where the other does, 0 between."""
    return (percent >= 50 + EVEN_BAND) - (percent <= 50 - EVEN_BAND)


def situation(was: int, percent: int, low: int, low_for_s: float, leads_newly: bool) -> str:
    """Which of `wording.SITUATIONS` holds for the side that gained.

    Args:
        was: its probability at the last line.
        percent: now.
        low: the lowest so far.
        low_for_s: how long ago that was, game clock.
        leads_newly: whether the other side was the last one said to lead.
    """
    match leader(percent):
        case 0:
            return "even"
        case -1:
            return "recover"
    if leads_newly and low <= FAR_BEHIND and low_for_s >= COMEBACK_S:
        return "comeback"
    if leads_newly:
        return "narrow" if percent < 50 + CLEAR_BAND else "flip"
    return "extend" if leader(was) > 0 else "ahead"


def ending(percent: int, low: int) -> str:
    """Which of `wording.ENDINGS` holds for the winner; its probability at the last frame, and its lowest."""
    if percent < 50:
        return "final_upset"
    return "final_comeback" if low <= FAR_BEHIND else "final"


def explain(beat: Beat) -> Reason | None:
    """The reason that the line gives, or None where there is none to give."""
    if beat.situation in UNNAMED:
        return None
    if beat.few and not beat.few_said and beat.situation not in ENDINGS:
        return Reason("thin", beat.few)
    if beat.few and len(beat.few) == 1:
        return None  # there is no other reason
    if beat.situation in ENDINGS:
        group, part = _heaviest(beat.stands)
        return Reason("final", (group,), part) if part >= ANY_PART else None
    if _is_torn(beat):
        return Reason("torn", (_heaviest(beat.stands)[0], _heaviest([-stand for stand in beat.stands])[0]))
    return _explain_swing(beat.gains)


def _is_torn(beat: Beat) -> bool:
    if abs(beat.percent - 50) > TORN_BAND or beat.situation == "extend":
        return False
    up = sum(stand for stand in beat.stands if stand > 0)
    down = -sum(stand for stand in beat.stands if stand < 0)
    return min(up, down) >= TORN_LOGIT


def _explain_swing(gains: Sequence[float]) -> Reason | None:
    first, part = _heaviest(gains)
    if not first:
        return None
    losses = [-gain for gain in gains]
    if part >= MAIN_PART:
        up, down = sum(max(gain, 0.0) for gain in gains), sum(max(loss, 0.0) for loss in losses)
        against, against_part = _heaviest(losses)
        if down >= up / 2 and against_part >= MAIN_PART:
            return Reason("despite", (first, against), part)
        return Reason("swing", (first,), part)
    second, next_part = _heaviest([0.0 if group == first else gain for group, gain in zip(GROUPS, gains, strict=True)])
    next_part *= 1.0 - part
    if next_part >= NEXT_PART and part + next_part >= MAIN_PART:
        return Reason("pair", (first, second), part + next_part)
    return Reason("swing", (first,), part) if part >= ANY_PART else Reason("broad")


def _heaviest(gains: Sequence[float]) -> tuple[str, float]:
    """The group with the largest part of what went one side's way, and that part, 0 to 1; ("", 0) if nothing did.

    Args:
        gains: (7,) in `GROUPS` order, log-odds, positive for the side.
    """
    positive = [max(float(gain), 0.0) for gain in gains]
    total = sum(positive)
    if not total > 0.0:
        return "", 0.0
    largest = max(range(len(positive)), key=positive.__getitem__)
    return GROUPS[largest], positive[largest] / total


@dataclass(frozen=True)
class Voice:
    """Speaks one language."""

    wording: Wording

    def say(self, beat: Beat, reason: Reason | None, seed: int, recent: str = "") -> tuple[str, str]:
        """The sentence or two for this beat.

        Args:
            beat: what to say.
            reason: why; None to leave that out.
            seed: decides among wordings; the same seed gives the same ones.
            recent: the second item of this match's last line, or "".

        Returns:
            The line, and the wordings that it and the last lines took, newest last.
        """
        pick = _Pick(self.wording, seed, recent.split())
        words = self._words(beat)
        sentences = [pick.line(f"{beat.situation}.{self._list(beat)}").format_map(words)]
        if reason:
            sentences.append(pick.line(f"reason.{reason.kind}").format_map(words | self._reason(beat, reason)))
        if beat.turn:
            name = "reason.turn" if beat.turn.event else "reason.turn_plain"
            sentences.append(pick.line(name).format_map(words | self._turn(beat, beat.turn)))
        return self.wording.grammar["between_sentences"].join(sentences), " ".join(pick.taken[-RECENT:])

    def _list(self, beat: Beat) -> str:
        if beat.event is None or f"{beat.situation}.event" not in self.wording.lines:
            return "plain"
        return "event" if beat.event.is_cause else "after"

    def _words(self, beat: Beat) -> dict[str, str]:
        wording = self.wording
        sides = [wording.side(beat.title, side) for side in (0, 1)]
        names = [name or side for name, side in zip(team_names(beat.teams), sides, strict=True)]
        if names[0] == names[1]:
            names = sides
        points = max(_shown(beat.percent) - _shown(beat.was), 0)
        is_long_ago = beat.clock_s - beat.since_s > LONG_AGO_S
        return {
            "team": names[beat.side],
            "other": names[1 - beat.side],
            "owner": wording.owner(names[beat.side]),
            **self._event(beat.title, beat.event),
            "percent": wording.percent(beat.percent),
            "rise": wording.rise(points, clock(beat.since_s), is_long_ago=is_long_ago),
            "points": wording.number(points),
            "was": wording.percent(beat.was),
            "clock": clock(beat.clock_s),
            "since": clock(beat.since_s),
            "low": wording.percent(beat.low),
            "low_clock": clock(beat.low_clock_s),
        }

    def _event(self, title: str, event: Event | None) -> dict[str, str]:
        if event is None:
            return {}
        subject, alone, that = self.wording.event(title, event.feature, event.number, event.nth)
        return {
            "event": subject,
            "an_event": alone,
            "An_event": _capital(alone),
            "that_event": that,
            "That_event": _capital(that),
        }

    def _reason(self, beat: Beat, reason: Reason) -> dict[str, str]:
        names = [self.wording.group(beat.title, group) for group in reason.groups]
        if reason.kind == "thin":
            return {"known": self.wording.grammar["and"].join(name for name, _ in names)}
        if not names:
            return {}
        (name, gives), fraction = names[0], self.wording.fraction(reason.part)
        return {
            "group": name,
            "Group": _capital(name),
            "gives": gives,
            "second": names[-1][0],
            "against": names[-1][0],
            "fraction": fraction,
            "Fraction": _capital(fraction),
        }

    def _turn(self, beat: Beat, turn: Turn) -> dict[str, str]:
        return {
            "turn_clock": clock(turn.clock_s),
            "turn_points": self.wording.number(turn.points),
            **self._event(beat.title, turn.event),
        }


class _Pick:
    """Chooses wordings by seed, those not used of late first, and remembers what it took."""

    def __init__(self, wording: Wording, seed: int, recent: list[str]) -> None:
        self._wording, self._seed = wording, seed
        self.taken = recent

    def line(self, name: str) -> str:
        lines = self._wording.lines[name]
        used = {wording: age for age, wording in enumerate(self.taken)}  # larger is newer
        first = self._seed % len(lines)
        turns = [(first + i) % len(lines) for i in range(len(lines))]
        choice = min(turns, key=lambda i: used.get(f"{name}.{i}", -1))
        self.taken = [*self.taken, f"{name}.{choice}"]
        return lines[choice]


def team_names(teams: Sequence[str]) -> list[str]:
    """Names fit for one line: no control characters, no line breaks, no direction marks, single spaces."""
    return [re.sub(r"\s+", " ", "".join(c if c.isprintable() else " " for c in name)).strip() for name in teams]


def clock(clock_s: float) -> str:
    """Game clock as people read it: 754 s is `12:34`."""
    minutes, seconds = divmod(max(int(clock_s), 0), 60)
    return f"{minutes}:{seconds:02d}"


def _shown(percent: int) -> int:
    """0 and 100 % are said as "under 1 %" and "over 99 %": they are as good as those for a difference."""
    return min(max(percent, 1), 99)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
