"""What to say about one frame of a match: facts in, a sentence per language out. Pure.

A `Beat` holds the facts, seen from the side that gained, or won. `situation`, `ending` and `leading_group` decide what
the line is about; `Voice` puts it into words. The choice among several wordings follows from match, attempt and frame
alone, except that no wording comes twice in a row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from streaming.features.catalogue import GROUPS
from streaming.insights.wording import ENDINGS, Wording, load_wording

EVEN_BAND = 0.02
"""Within 50 % ± this nobody is said to lead; a leader changes only across the whole band."""

FAR_BEHIND = 0.30
"""A side that was once this low and then leads or wins has come back."""


@dataclass(frozen=True, slots=True)
class Beat:
    """One thing worth saying. Probabilities are those of the side that the line is about, in whole per cent."""

    situation: str  # one of wording.SITUATIONS or wording.ENDINGS
    title: str
    teams: tuple[str, str]  # as the feed names them, A first; "" where it does not
    side: int  # whom the line is about: 0 for A, 1 for B
    clock_s: float
    percent: int
    was: int  # at the last line
    since_s: float  # when that was, game clock
    low: int  # the lowest so far
    low_clock_s: float
    feature: str = ""  # what the side gained, a name in catalogue.COUNTS; "" where no event stands behind it
    nth: int = 0  # the side's how-manyth of its kind; 0 where unknown
    group: str = ""  # the group with the largest part in it; "" where there is none
    part: float = 0.0  # that part, 0 to 1


def leader(p: float) -> int:
    """+1 where A leads, -1 where B does, 0 within the band around even."""
    return (p >= 0.5 + EVEN_BAND) - (p <= 0.5 - EVEN_BAND)


def situation(before: float, now: float, low: float, leads_newly: bool) -> str:
    """Which of `wording.SITUATIONS` holds for the side that gained; its probabilities at the last line and now, its
    lowest so far, and whether the other side was the last one said to lead.
    """
    match leader(now):
        case 0:
            return "even"
        case -1:
            return "recover"
    if leads_newly:
        return "comeback" if low <= FAR_BEHIND else "flip"
    return "extend" if leader(before) > 0 else "ahead"


def ending(now: float, low: float) -> str:
    """Which of `wording.ENDINGS` holds for the winner; its probability at the last frame, and its lowest."""
    if now < 0.5:
        return "final_upset"
    return "final_comeback" if low <= FAR_BEHIND else "final"


def leading_group(gains: Sequence[float]) -> tuple[str, float]:
    """The group with the largest part of what went one side's way, and that part, 0 to 1.

    Args:
        gains: (7,) in `GROUPS` order, log-odds, positive for the side the line is about.
    """
    positive = [max(float(gain), 0.0) for gain in gains]
    total = sum(positive)
    if not total > 0.0:
        return "", 0.0
    largest = max(range(len(positive)), key=positive.__getitem__)
    return GROUPS[largest], positive[largest] / total


def parse_moment(moment: str) -> tuple[str, int]:
    """What was gained, and the side's how-manyth it is: `A:towers` is ("towers", 0), `B:dragons:2` ("dragons", 2)."""
    _, feature, *nth = moment.split(":")
    return feature, int(nth[0]) if nth else 0


@dataclass(frozen=True)
class Voice:
    """Speaks one language."""

    wording: Wording

    @classmethod
    def load(cls, path: Path) -> Voice:
        """Raises `wording.TemplateError` where the file cannot be used."""
        return cls(load_wording(path))

    def say(self, beat: Beat, seed: int, last: str) -> tuple[str, str]:
        """The sentence for this beat, and which wordings it took.

        Args:
            beat: what to say.
            seed: decides among wordings; the same seed gives the same ones.
            last: the second item of this match's last line, or "".
        """
        kind = "event" if beat.feature and f"{beat.situation}.event" in self.wording.lines else "plain"
        pick = _Pick(self.wording, seed, frozenset(last.split()))
        sentences = [pick.line(f"{beat.situation}.{kind}").format_map(self._words(beat))]
        if reason := self._reason(beat):
            name, words = reason
            sentences.append(pick.line(name).format_map(words))
        return self.wording.grammar["between_sentences"].join(sentences), " ".join(pick.taken)

    def _words(self, beat: Beat) -> dict[str, str]:
        wording = self.wording
        names = [name or wording.side(beat.title, side) for side, name in enumerate(beat.teams)]
        event = wording.event(beat.title, beat.feature, beat.nth) if beat.feature else ""
        return {
            "team": names[beat.side],
            "other": names[1 - beat.side],
            "owner": wording.owner(names[beat.side]),
            "event": event,
            "Event": _capital(event),
            "percent": wording.percent(beat.percent),
            "points": wording.number(max(beat.percent - beat.was, 0)),
            "was": wording.percent(beat.was),
            "clock": clock(beat.clock_s),
            "since": clock(beat.since_s),
            "low": wording.percent(beat.low),
            "low_clock": clock(beat.low_clock_s),
        }

    def _reason(self, beat: Beat) -> tuple[str, dict[str, str]] | None:
        if not beat.group:
            return None
        fraction = self.wording.fraction(beat.part)
        over = beat.situation in ENDINGS
        if fraction is None:
            return None if over else ("reason.broad", {})
        name, gives = self.wording.groups[beat.group]
        return f"reason.{'final' if over else 'swing'}", {
            "group": name,
            "Group": _capital(name),
            "gives": gives,
            "fraction": fraction,
            "Fraction": _capital(fraction),
            "part": self.wording.percent(round(100 * beat.part)),
        }


class _Pick:
    """Chooses wordings by seed, steps over the ones in `last`, and remembers what it took."""

    def __init__(self, wording: Wording, seed: int, last: frozenset[str]) -> None:
        self._wording, self._seed, self._last = wording, seed, last
        self.taken: list[str] = []

    def line(self, name: str) -> str:
        lines = self._wording.lines[name]
        choice = (self._seed >> 4 * len(self.taken)) % len(lines)
        if f"{name}.{choice}" in self._last:
            choice = (choice + 1) % len(lines)
        self.taken.append(f"{name}.{choice}")
        return lines[choice]


def clock(clock_s: float) -> str:
    """Game clock as people read it: 754 s is `12:34`."""
    minutes, seconds = divmod(max(int(clock_s), 0), 60)
    return f"{minutes}:{seconds:02d}"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
