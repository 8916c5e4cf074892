from __future__ import annotations

from pathlib import Path

import pytest

from streaming.features import catalogue
from streaming.features.catalogue import COUNTS, FEATURES, FORM, GROUPS, LEVELS, title_spec, titles


def test_there_are_three_titles() -> None:
    assert titles() == ("dota2", "hok", "lol")


def test_features_are_levels_then_counts_then_form_without_repeats() -> None:
    assert (*LEVELS, *COUNTS, FORM) == FEATURES
    assert len(set(FEATURES)) == len(FEATURES) == 25


@pytest.mark.parametrize("title", titles())
def test_a_title_orders_its_features_by_group_and_names_what_is_scored(title: str) -> None:
    spec = title_spec(title)
    assert spec.features == tuple(name for group in GROUPS for name in spec.groups.get(group, ()))
    assert len(set(spec.features)) == len(spec.features)
    assert spec.groups["form"] == (FORM,)
    assert set(spec.subjects) <= set(spec.features) & set(COUNTS)
    heroes = set(spec.groups["hero"])
    assert set(spec.features) & set(COUNTS) - heroes == set(spec.subjects), "each counted feature has a caster's word"
    assert spec.grid_s > 0
    assert len(set(spec.sides)) == 2


def test_an_unknown_title_lists_the_known_ones() -> None:
    with pytest.raises(KeyError, match="unknown title 'chess'; known: dota2, hok, lol"):
        title_spec("chess")


def test_a_file_with_unknown_names_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "go.toml").write_text(
        'name = "Go"\nsides = ["Black", "White"]\ngrid_s = 30\n[groups]\nko = ["stones"]\n[subjects]\n',
        encoding="utf-8",
    )
    monkeypatch.setattr(catalogue, "_TITLES", tmp_path)
    titles.cache_clear()
    try:
        with pytest.raises(ValueError, match=r"go\.toml: unknown groups or features: ko, stones"):
            title_spec("go")
    finally:
        titles.cache_clear()
