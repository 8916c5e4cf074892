"""Sentences: which situation, which reason, which wording, and what a broken wording file says."""

from __future__ import annotations

import re
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streaming.features.catalogue import COUNTS, GROUPS, titles
from streaming.insights.commentary import (
    Beat,
    Event,
    Reason,
    Turn,
    Voice,
    clock,
    ending,
    explain,
    leader,
    situation,
    team_names,
)
from streaming.insights.narrator import Narrator
from streaming.insights.wording import (
    ENDINGS,
    LANGUAGES,
    NOTICES,
    PACKAGED,
    SITUATIONS,
    TemplateError,
    load_wording,
)

TOWER_GAIN = (0.1, 0.1, 0.64, 0.08, 0.08, 0.0, 0.0)

BEAT = Beat(
    situation="flip",
    title="lol",
    teams=("", "Lions"),
    side=0,
    clock_s=754.0,
    percent=61,
    was=52,
    since_s=700.0,
    low=25,
    low_clock_s=305.9,
    event=Event("towers", nth=2),
    gains=TOWER_GAIN,
    stands=TOWER_GAIN,
)
TOWERS = Reason("swing", ("tower",), 0.64)
VOICES = {language: Voice(words) for language, words in load_wording().items()}
ENGLISH, CHINESE = VOICES["en"], VOICES["zh"]


def say(beat: Beat = BEAT, reason: Reason | None = TOWERS, voice: Voice = ENGLISH, seed: int = 0) -> str:
    return voice.say(beat, reason, seed)[0]


@pytest.mark.parametrize(
    ("was", "percent", "low", "leads_newly", "expected"),
    [
        (45, 55, 40, True, "flip"),
        (45, 54, 40, True, "narrow"),
        (45, 53, 30, True, "comeback"),
        (40, 50, 10, False, "even"),
        (40, 51, 10, True, "even"),
        (50, 60, 45, False, "ahead"),
        (51, 53, 45, False, "ahead"),
        (55, 70, 10, False, "extend"),
        (20, 35, 20, False, "recover"),
    ],
)
def test_situation(was: int, percent: int, low: int, leads_newly: bool, expected: str) -> None:
    assert situation(was, percent, low, 180.0, leads_newly) == expected


def test_a_comeback_takes_three_minutes() -> None:
    assert situation(45, 60, 20, 179.0, True) == "flip"


def test_ending() -> None:
    assert [ending(90, 40), ending(90, 20), ending(40, 20)] == ["final", "final_comeback", "final_upset"]


def test_nobody_leads_within_two_points_of_even() -> None:
    assert [leader(percent) for percent in (48, 49, 50, 51, 52)] == [-1, 0, 0, 0, 1]


@pytest.mark.parametrize(
    ("gains", "expected"),
    [
        ((0.6, 0.2, 0.2, 0, 0, 0, 0), Reason("swing", ("gold",), 0.6)),
        ((0.5, 0.3, 0.2, 0, 0, 0, 0), Reason("pair", ("gold", "kill"), 0.8)),
        ((0.4, 0.15, 0.15, 0.15, 0.15, 0, 0), Reason("swing", ("gold",), 0.4)),  # the second is below a fifth
        ((0.2, 0.2, 0.2, 0.2, 0.2, 0, 0), Reason("broad")),
        ((0.6, -0.3, 0, 0, 0, 0, 0), Reason("despite", ("gold", "kill"), 1.0)),
        ((0.6, -0.29, 0, 0, 0, 0, 0), Reason("swing", ("gold",), 1.0)),
        ((0.6, -0.15, -0.16, 0, 0, 0, 0), Reason("swing", ("gold",), 1.0)),  # nothing in particular was against it
        ((-0.1, 0, 0, 0, 0, 0, 0), None),
    ],
)
def test_the_reason_of_a_swing(gains: tuple[float, ...], expected: Reason | None) -> None:
    found = explain(replace(BEAT, gains=gains))
    assert (found and found.mark) == (expected and expected.mark)
    assert (found.part if found else 0.0) == pytest.approx(expected.part if expected else 0.0)


@pytest.mark.parametrize(
    ("percent", "situation", "kind"),
    [(60, "flip", "torn"), (61, "flip", "swing"), (40, "recover", "torn"), (55, "extend", "swing")],
)
def test_reasons_that_cancel_out_leave_the_model_torn(percent: int, situation: str, kind: str) -> None:
    beat = replace(BEAT, percent=percent, situation=situation, stands=(0.9, 0, -0.5, 0, 0, 0, 0))
    reason = explain(beat)
    assert reason is not None and reason.kind == kind
    assert kind != "torn" or reason.groups == ("gold", "tower")
    weak = explain(replace(beat, stands=(0.9, 0, -0.49, 0, 0, 0, 0)))
    assert weak is not None and weak.kind == "swing"


def test_few_groups_are_said_once_and_one_alone_is_no_reason() -> None:
    few = replace(BEAT, few=("gold", "lane"))
    reason = explain(few)
    assert reason == Reason("thin", ("gold", "lane"))
    assert say(few, reason).endswith("the model sees only gold and the minion count.")
    assert explain(replace(few, few_said=True)) == explain(BEAT)
    assert explain(replace(few, few=("gold",), few_said=True)) is None


@pytest.mark.parametrize("kind", ["final_upset", "final_unknown", "void", *NOTICES])
def test_where_no_group_can_be_the_reason_none_is_given(kind: str) -> None:
    assert explain(replace(BEAT, situation=kind)) is None


def test_the_edge_at_the_end_is_what_stood_not_what_changed() -> None:
    beat = replace(BEAT, situation="final", stands=(0.9, 0.1, -0.5, 0, 0, 0, 0))
    reason = explain(beat)
    assert reason is not None and (reason.kind, reason.groups) == ("final", ("gold",))
    assert reason.part == pytest.approx(0.9)


def test_two_reasons_that_sound_alike_have_one_mark() -> None:
    assert Reason("torn", ("gold", "hero")).mark == Reason("torn", ("hero", "gold"), 0.3).mark
    assert Reason("swing", ("gold",)).mark != Reason("final", ("gold",)).mark


def test_the_clock_reads_as_on_screen() -> None:
    assert [clock(s) for s in (0.0, 59.9, 754.0, 3600.0, -5.0)] == ["0:00", "0:59", "12:34", "60:00", "0:00"]


def test_a_caster_would_say_it_so() -> None:
    sentence, wordings = ENGLISH.say(BEAT, TOWERS, seed=0)
    assert sentence == "Blue's second tower flips it: 61 %, up nine. Towers give two thirds of the swing."
    assert wordings == "flip.event.0 reason.swing.0"


def test_chinese_has_its_own_words() -> None:
    assert say(voice=CHINESE) == "蓝方凭借第二座防御塔扭转局势：胜率61%，上升9个百分点。推塔贡献了其中的三分之二。"


def test_names_that_end_in_s() -> None:
    assert say(replace(BEAT, side=1)).startswith("Lions' second tower")


def test_without_an_event_or_a_reason() -> None:
    assert say(replace(BEAT, event=None), None) == "The lead changes hands: Blue in front at 61 %, up nine."


@pytest.mark.parametrize(
    ("part", "words"), [(0.34, "a third"), (0.45, "half"), (0.62, "two thirds"), (0.95, "nearly all")]
)
def test_parts_are_said_in_words(part: float, words: str) -> None:
    assert f"give {words} of the swing" in say(reason=replace(TOWERS, part=part))


@pytest.mark.parametrize(
    ("event", "title", "english", "chinese"),
    [
        (Event("inhibitors"), "lol", ("inhibitor", "an inhibitor", "that inhibitor"), "一座水晶"),
        (Event("inhibitors"), "dota2", ("barracks", "a barracks", "that barracks"), "一座兵营"),
        (Event("barons"), "lol", ("Baron", "Baron", "that Baron"), "大龙"),
        (Event("barons", nth=1), "hok", ("first Overlord", "the first Overlord", "that Overlord"), "第一个主宰"),
        (Event("dragons", nth=2), "lol", ("second dragon", "the second dragon", "that second dragon"), "第二条小龙"),
        (Event("dragons", nth=13), "lol", ("dragon", "a dragon", "that dragon"), "一条小龙"),
        (Event("kills", 3), "lol", ("run of kills", "a run of kills", "that run of kills"), "多个人头"),
        (Event("towers", 2), "lol", ("string of towers", "a string of towers", "that string of towers"), "多座防御塔"),
        (Event("marksman"), "hok", ("marksman", "marksman", "that marksman"), "marksman"),
    ],
)  # fmt: skip
def test_what_was_gained_in_three_places_of_a_sentence(
    event: Event, title: str, english: tuple[str, str, str], chinese: str
) -> None:
    found = [v.wording.event(title, event.feature, event.number, event.nth) for v in (ENGLISH, CHINESE)]
    assert tuple(found[0]) == english
    assert found[1].alone == chinese


def test_a_rise_over_a_long_time_says_since_when() -> None:
    long_ago = replace(BEAT, since_s=600.0)
    assert say(long_ago, None) == "Blue's second tower flips it: 61 %, up nine since 10:00."
    assert say(long_ago, None, voice=CHINESE).endswith("胜率61%，比10:00时上升9个百分点。")


def test_large_numbers_are_digits() -> None:
    assert say(replace(BEAT, was=30)).startswith("Blue's second tower flips it: 61 %, up 31.")


def test_the_best_moment_at_the_end() -> None:
    beat = replace(BEAT, situation="final", event=None, turn=Turn(905.0, 23, Event("dragons", nth=3)))
    assert say(beat, None).endswith("Their best moment: the third dragon at 15:05, 23 points in one go.") or say(
        beat, None
    ).endswith("Their biggest swing: 23 points at 15:05, with the third dragon.")
    assert say(replace(beat, turn=Turn(905.0, 9, None)), None).endswith("Their biggest swing: nine points at 15:05.")


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_wording_comes_twice_in_a_row(language: str) -> None:
    for kind in SITUATIONS:
        recent, before = "", ""
        for seed in range(200):
            sentence, recent = VOICES[language].say(replace(BEAT, situation=kind), TOWERS, seed * 2654435761, recent)
            assert sentence != before
            before = sentence


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("title", titles())
def test_every_wording_of_every_situation_reads_clean(language: str, title: str) -> None:
    voice, lines = VOICES[language], 3
    reasons: list[Reason | None] = [
        None,
        Reason("broad"),
        *(Reason(kind, (group, "gold"), 0.6) for kind in ("swing", "pair", "despite", "torn") for group in GROUPS),
        Reason("thin", ("gold",)),
    ]
    for kind in (*SITUATIONS, *NOTICES, *ENDINGS):
        over = kind in ENDINGS
        for seed in range(lines):
            for feature in (None, *COUNTS):
                event = Event(feature, 1 + seed, is_cause=seed != 1) if feature else None
                for reason in [None, Reason("final", ("tower",), 0.6)] if over else reasons:
                    turn = Turn(61.0, 12, event) if over else None
                    beat = replace(BEAT, situation=kind, title=title, event=event, turn=turn)
                    sentence = voice.say(beat, reason, seed, "")[0]
                    assert not re.search(r"[{}_]|\bNone\b|  |\.\.|。。|\ba [aeiou]|\ban [^aeiou]", sentence), sentence
                    assert len(sentence) <= 200, sentence
                    assert language == "en" or not re.search(r"[,;:.!?] |[a-z]{3,}\.", sentence), sentence


# Names are data ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["{percent}", "{0.__class__}", "{{team}}", "%s", "{", "}{", "$team", "{team!r:>99}"])
def test_braces_in_a_team_name_are_only_said(name: str) -> None:
    for voice in VOICES.values():
        for seed in range(3):
            assert name in say(replace(BEAT, teams=(name, "Lions")), TOWERS, voice, seed)


@given(st.text(max_size=40), st.text(max_size=40))
def test_any_team_name_makes_one_clean_line(a: str, b: str) -> None:
    for side in (0, 1):
        sentence = say(replace(BEAT, teams=(a, b), side=side))
        assert sentence.isprintable() and sentence.endswith("Towers give two thirds of the swing.")


def test_names_are_made_fit_for_one_line() -> None:
    assert team_names(["  Red\n\tDragons ", "\u202eevil\u202c", "\x1b[31m", "\u200b"]) == [
        "Red Dragons", "evil", "[31m", "",
    ]  # fmt: skip


@pytest.mark.parametrize("teams", [("Lions", "Lions"), ("Red", ""), ("", "")])
def test_two_teams_never_have_one_name(teams: tuple[str, str]) -> None:
    one, other = (say(replace(BEAT, situation="recover", teams=teams, side=side), None, seed=2) for side in (0, 1))
    assert one.startswith("Red still in front") and "Blue" in one
    assert other.startswith("Blue still in front") and "Red" in other


# Wording files -------------------------------------------------------------------------------------------------------


def _changed(folder: Path, old: str, new: str) -> Path:
    path = folder / "ours.toml"
    text = PACKAGED.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("old", "new", "key", "remedy"),
    [
        ("{owner} {event} flips", "{owner} {evnt} flips", "en.flip.event, line 1", "{event}"),
        ("Advantage {team}", "Advantage {event}", "en.flip.plain, line 3", "unknown word {event}"),
        ("{owner} {event} flips", "{owner {event} flips", "en.flip.event, line 1", "brace"),
        ("{owner} {event} flips", "{owner.__class__} flips", "en.flip.event, line 1", "unknown word"),
        ("{owner} {event} flips", "{owner[0]} flips", "en.flip.event, line 1", "unknown word"),
        ("{owner} {event} flips", "{owner!r} flips", "en.flip.event, line 1", "alone"),
        ("{owner} {event} flips", "{owner:>{points}} flips", "en.flip.event, line 1", "alone"),
        ("{owner} {event} flips", "{} flips", "en.flip.event, line 1", "unknown word {}"),
        ("{owner} {event} flips", "{0} flips", "en.flip.event, line 1", "unknown word {0}"),
        ("{owner} {event} flips", "{owner}\\n{event} flips", "en.flip.event, line 1", "one line"),
        ("[en.flip]", "[en.flop]", "en.flop", "did you mean flip?"),
        ("[en.even]\nevent", "[en.even]\nevents", "en.even.events", "did you mean event?"),
        ('"half"', "3", "en.fractions.0.5", "in quotes"),
        ('"0.5" =', '"1.5" =', "en.fractions.1.5", "up to 1"),
        ('gold = { name = "gold", gives', "gold = { gives", "en.groups.gold", "{ name = "),
        ('gold = { name = "gold", gives = "Gold gives" }\n', "", "en.groups.gold", "missing"),
        ("[en.groups.lol]\n", "[en.groups.chess]\n", "en.groups.chess", "unknown name"),
        ("Blue = ", "Bleu = ", "zh.sides.Bleu", "did you mean Blue?"),
        ('roshans = { one = "Roshan"', 'roshan = { one = "Roshan"', "en.subjects.any.roshan", "did you mean roshans?"),
        ('{ one = "kill", an', "{ an", "en.subjects.any.kills", "`one` is needed"),
        ('"肉山", counter', '"肉山", conter', "zh.subjects.any.roshans.conter", "did you mean counter?"),
        ('plain = ["Remade', 'plain = [] # ["Remade', "en.void.plain", "at least one line"),
        ('plain = ["Remade', '# plain = ["Remade', "en.void.plain", "missing"),
        ('percent = "{n} %"', "percent = 3", "en.grammar.percent", "in quotes"),
        ('percent = "{n} %"', "", "en.grammar.percent", "missing; copy it from"),
        ('numbers = ["zero"', "numbers = [0", "en.grammar.numbers", "list of words"),
        ("[en.void]", "[en.void", "not TOML", "line"),
    ],
)
def test_a_broken_file_names_file_key_and_remedy(tmp_path: Path, old: str, new: str, key: str, remedy: str) -> None:
    path = _changed(tmp_path, old, new)
    with pytest.raises(TemplateError) as failure:
        load_wording(path)
    message = str(failure.value)
    assert message.startswith(f"{path}: {key}") and remedy in message and "\n" not in message, message


def test_a_missing_language_says_what_to_copy(tmp_path: Path) -> None:
    path = tmp_path / "english.toml"
    path.write_text(PACKAGED.read_text(encoding="utf-8").partition("[zh.grammar]")[0], encoding="utf-8")
    with pytest.raises(TemplateError, match=r"english\.toml: zh: missing; copy \[zh\] and what is below it from"):
        load_wording(path)


def test_an_unknown_language_is_not_silently_ignored(tmp_path: Path) -> None:
    path = _changed(tmp_path, "[zh.void]", "[ko.void]")
    with pytest.raises(TemplateError, match="ko: unknown name; known here: en, zh"):
        load_wording(path)


def test_a_missing_file_says_where_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(TemplateError, match=r"gone\.toml: no such file; copy .*wording\.toml there"):
        Narrator(tmp_path / "gone.toml")


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(TemplateError, match="cannot be read"):
        load_wording(tmp_path)


def test_a_file_that_is_not_text(tmp_path: Path) -> None:
    (tmp_path / "ours.toml").write_bytes(b"\xff\xfe[flip]")
    with pytest.raises(TemplateError, match="not UTF-8 at byte 0"):
        load_wording(tmp_path / "ours.toml")


def test_a_crew_changes_one_line(tmp_path: Path) -> None:
    path = _changed(tmp_path, "{owner} {event} flips it: {percent}, {rise}.", "{team} turned {{it}}: {percent}!")
    assert say(reason=None, voice=Voice(load_wording(path)["en"])) == "Blue turned {it}: 61 %!"


def test_a_file_saved_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    path = tmp_path / "ours.toml"
    path.write_text(PACKAGED.read_text(encoding="utf-8"), encoding="utf-8-sig")
    assert load_wording(path) == load_wording()


def test_every_word_that_may_be_used_is_explained_in_the_file() -> None:
    text = PACKAGED.read_text(encoding="utf-8")
    explained = set(re.findall(r"\{(\w+)\}", "\n".join(line for line in text.splitlines() if line.startswith("#"))))
    used = set(re.findall(r"\{(\w+)\}", str({k: v for k, v in tomllib.loads(text)["en"].items() if k != "grammar"})))
    assert used <= explained, used - explained
