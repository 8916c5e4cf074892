"""Sentences: which situation, which wording, and what a broken template file says."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from streaming.features.catalogue import COUNTS, GROUPS, titles
from streaming.insights.commentary import Beat, Voice, clock, ending, leader, leading_group, parse_moment, situation
from streaming.insights.narrator import LANGUAGES, Narrator
from streaming.insights.wording import ENDINGS, SITUATIONS, TEMPLATES, TemplateError, load_wording

BEAT = Beat(
    situation="flip",
    title="lol",
    teams=("", "Lions"),
    side=0,
    clock_s=754.0,
    percent=61,
    was=52,
    since_s=600.0,
    low=25,
    low_clock_s=305.9,
    feature="towers",
    nth=2,
    group="tower",
    part=0.64,
)


@pytest.fixture(scope="module")
def english() -> Voice:
    return Voice.load(TEMPLATES / "en.toml")


@pytest.mark.parametrize(
    ("before", "now", "low", "leads_newly", "expected"),
    [
        (0.45, 0.53, 0.40, True, "flip"),
        (0.45, 0.53, 0.30, True, "comeback"),
        (0.40, 0.50, 0.10, False, "even"),
        (0.40, 0.519, 0.10, True, "even"),
        (0.50, 0.60, 0.45, False, "ahead"),
        (0.55, 0.70, 0.10, False, "extend"),
        (0.20, 0.35, 0.20, False, "recover"),
    ],
)
def test_situation(before: float, now: float, low: float, leads_newly: bool, expected: str) -> None:
    assert situation(before, now, low, leads_newly) == expected


def test_ending() -> None:
    assert [ending(0.9, 0.4), ending(0.9, 0.2), ending(0.4, 0.2)] == ["final", "final_comeback", "final_upset"]


def test_nobody_leads_within_two_points_of_even() -> None:
    assert [leader(p) for p in (0.48, 0.481, 0.5, 0.519, 0.52)] == [-1, 0, 0, 0, 1]


def test_the_leading_group_has_its_part_of_what_went_one_way() -> None:
    assert leading_group([0.1, 0.0, 0.3, -0.5, 0.0, 0.0, 0.0]) == ("tower", pytest.approx(0.75))
    assert leading_group([-0.1] * 7) == ("", 0.0)


def test_moment_with_and_without_a_count() -> None:
    assert parse_moment("A:towers") == ("towers", 0)
    assert parse_moment("B:dragons:2") == ("dragons", 2)


def test_the_clock_reads_as_on_screen() -> None:
    assert [clock(s) for s in (0.0, 59.9, 754.0, 3600.0, -5.0)] == ["0:00", "0:59", "12:34", "60:00", "0:00"]


def test_a_caster_would_say_it_so(english: Voice) -> None:
    sentence, wordings = english.say(BEAT, seed=0, last="")
    assert sentence == "Blue's second tower flips it: 61 %, up nine. Towers give two thirds of the swing."
    assert wordings == "flip.event.0 reason.swing.0"


def test_chinese_has_its_own_words() -> None:
    sentence, _ = Voice.load(TEMPLATES / "zh.toml").say(BEAT, seed=0, last="")
    assert sentence == "蓝方的第二座防御塔扭转局势：胜率61%，上升9个百分点。推塔贡献了其中的三分之二。"


def test_names_that_end_in_s(english: Voice) -> None:
    assert english.say(replace(BEAT, side=1), seed=0, last="")[0].startswith("Lions' second tower")


def test_without_an_event_or_a_group(english: Voice) -> None:
    sentence, _ = english.say(replace(BEAT, feature="", nth=0, group="", part=0.0), seed=0, last="")
    assert sentence == "The lead changes hands: Blue in front at 61 %, up nine."


def test_a_small_part_is_no_single_reason(english: Voice) -> None:
    assert english.say(replace(BEAT, part=0.2), seed=0, last="")[0].endswith("A bit of everything.")


@pytest.mark.parametrize(
    ("part", "words"), [(0.34, "a third"), (0.45, "half"), (0.62, "two thirds"), (0.95, "nearly all")]
)
def test_parts_are_said_in_words(english: Voice, part: float, words: str) -> None:
    assert f"give {words} of the swing" in english.say(replace(BEAT, part=part), seed=0, last="")[0]


def test_large_numbers_are_digits_and_far_ordinals_are_left_out(english: Voice) -> None:
    sentence, _ = english.say(replace(BEAT, was=30, nth=13), seed=0, last="")
    assert sentence.startswith("Blue's tower flips it: 61 %, up 31.")


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_wording_comes_twice_in_a_row(language: str) -> None:
    voice = Voice.load(TEMPLATES / f"{language}.toml")
    for kind in SITUATIONS:
        last, before = "", ""
        for seed in range(200):
            sentence, last = voice.say(replace(BEAT, situation=kind), seed * 2654435761, last)
            assert sentence != before
            before = sentence


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("title", titles())
def test_every_wording_of_every_situation_reads_clean(language: str, title: str) -> None:
    voice = Voice.load(TEMPLATES / f"{language}.toml")
    for kind in (*SITUATIONS, *ENDINGS):
        for seed in range(12):
            for feature in ("", *COUNTS):
                beat = replace(BEAT, situation=kind, title=title, feature=feature, group=GROUPS[seed % 7])
                sentence, _ = voice.say(beat, seed * 0x11111, "")
                assert not re.search(r"[{}_]|\bNone\b|  |\.\.", sentence), sentence
                assert len(sentence) <= 140, sentence


def _broken(folder: Path, old: str, new: str) -> Path:
    path = folder / "en.toml"
    text = (TEMPLATES / "en.toml").read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("old", "new", "key", "remedy"),
    [
        ("{owner} {event} flips", "{owner} {evnt} flips", "flip.event, line 1", "{event}"),
        ("Advantage {team}", "Advantage {event}", "flip.plain, line 3", "unknown word {event}"),
        ("{owner} {event} flips", "{owner {event} flips", "flip.event, line 1", "brace"),
        ("{owner} {event} flips", "{owner.__class__} flips", "flip.event, line 1", "unknown word"),
        ("{owner} {event} flips", "{owner!r} flips", "flip.event, line 1", "stands alone"),
        ("{owner} {event} flips", "{} flips", "flip.event, line 1", "unknown word {}"),
        ("[flip]", "[flop]", "flop", "did you mean flip?"),
        ("[even]\nevent", "[even]\nevents", "even.events", "did you mean event?"),
        ('"half"', "3", "fractions.0.5", "in quotes"),
        ('"0.5" =', '"1.5" =', "fractions.1.5", "up to 1"),
        ('gold = { name = "gold", gives', 'gold = { gives', "groups.gold", "{ name = "),
        ('plain = ["Remade', 'plain = [] # ["Remade', "void.plain", "at least one line"),
        ('percent = "{n} %"', "percent = 3", "grammar.percent", "in quotes"),
        ('percent = "{n} %"', "", "grammar.percent", "missing"),
        ('numbers = ["zero"', 'numbers = [0', "grammar.numbers", "list of words"),
        ("[void]", "[void", "not TOML", "line"),
    ],
)  # fmt: skip
def test_a_broken_file_names_file_key_and_remedy(tmp_path: Path, old: str, new: str, key: str, remedy: str) -> None:
    path = _broken(tmp_path, old, new)
    with pytest.raises(TemplateError) as failure:
        load_wording(path)
    message = str(failure.value)
    assert message.startswith(f"{path}: {key}") and remedy in message and "\n" not in message


def test_a_missing_file_says_where_to_get_one(tmp_path: Path) -> None:
    shutil.copy(TEMPLATES / "en.toml", tmp_path)
    with pytest.raises(TemplateError, match=r"zh\.toml: no such file; copy .*zh\.toml there"):
        Narrator(tmp_path)


def test_a_file_that_is_not_text(tmp_path: Path) -> None:
    (tmp_path / "en.toml").write_bytes(b"\xff\xfe[flip]")
    with pytest.raises(TemplateError, match="not UTF-8 at byte 0"):
        load_wording(tmp_path / "en.toml")


def test_a_crew_changes_one_line(tmp_path: Path) -> None:
    path = _broken(tmp_path, "{owner} {event} flips it: {percent}, up {points}.", "{team} turned it: {percent}!")
    assert Voice.load(path).say(replace(BEAT, group=""), seed=0, last="")[0] == "Blue turned it: 61 %!"
