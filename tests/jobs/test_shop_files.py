"""What the pipeline of recommendations is made of: settings, the file of the offer, and its rights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from jobs.errors import SettingsError, UsageProblem
from jobs.pipelines import outline
from jobs.settings import Settings, load_settings, to_toml
from jobs.shop import limits_of, read_offer
from streaming.kafka.acls import rights
from streaming.sessions.limits import Limits
from streaming.sessions.settings import Offer

EXAMPLE = Path(__file__).parents[2] / "deploy" / "offer.example.toml"


def settings(**given: Any) -> Settings:
    return load_settings({f"shop.{name}": (value, "--set") for name, value in given.items()}).settings


def test_what_is_not_set_is_as_the_stream_has_it() -> None:
    shop = settings().shop
    assert (read_offer(shop), limits_of(shop)) == (Offer(), Limits())
    assert shop.recommenders == {"live": "session-gru4rec@live"}


def test_the_example_is_an_offer_with_a_test_of_two_arms() -> None:
    shop = settings(offer=EXAMPLE, recommenders={"content": "session-two-tower@live"}).shop
    offer = read_offer(shop)
    assert [arm.name for arm in offer.arms] == ["clicks", "content"] and offer.explore > 0
    assert shop.recommenders["live"] == "session-gru4rec@live", "which is there without being named"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[experiment", "not TOML"),
        ("places = 0", "places"),
        ("shelves = 3", "shelves"),
        ('[experiment]\nname = "t"\n[[experiment.arm]]\nname = "a"', "two arms"),
        (EXAMPLE.read_text("utf-8"), "answered by 'content', and shop.recommenders has live: set --set shop.recommend"),
    ],
)
def test_an_offer_that_cannot_be_is_named_with_its_file(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "offer.toml"
    path.write_text(text)
    with pytest.raises(UsageProblem, match=said) as problem:
        read_offer(settings(offer=path).shop)
    assert str(path) in str(problem.value)
    with pytest.raises(UsageProblem, match=r"shop\.offer: .*gone\.toml: cannot be read"):
        read_offer(settings(offer=tmp_path / "gone.toml").shop)


def test_limits_that_make_no_sense_are_said_by_their_name() -> None:
    with pytest.raises(SettingsError, match=r"shop\.flood_per_min"):
        settings(flood_per_min=0)
    assert limits_of(settings(gap_s=60, max_events=9).shop) == Limits(gap_s=60, max_events=9)


def test_they_are_read_back_from_a_file_of_their_own(tmp_path: Path) -> None:
    given = settings(offer=EXAMPLE, recommenders={"other": "m@3"}, by_content="session-two-tower@2", gap_s=30)
    (tmp_path / "s.toml").write_text(to_toml(given))
    assert load_settings(config=tmp_path / "s.toml").settings.shop == given.shop


def test_a_run_reads_the_catalogue_and_who_feeds_writes_it() -> None:
    given = rights(outline("recommendations"))
    assert "Read on topic item.catalogue" in {str(right) for right in given["run"]}
    assert {str(right) for right in given["feed"]} == {
        "Write on topic user.sessions", "Write on topic item.catalogue",
    }  # fmt: skip
    assert "Write on topic item.catalogue" not in {str(right) for right in given["run"]}
