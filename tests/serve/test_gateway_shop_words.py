"""Reasons of offers as a shopper would say them."""

from hypothesis import given
from hypothesis import strategies as st

from serve.gateway.shop.words import MAX_TITLE_CHARS, Cause, reason_words


def test_reasons_in_words() -> None:
    cup, pan = Cause("the <b>cup</b>", is_latest=True, share=0.7), Cause("{a} pan", share=0.3)
    assert plain(reason_words([])) == "Many others look at this now."
    assert plain(reason_words([cup])) == "Because you just looked at the <b>cup</b>."
    assert plain(reason_words([pan])) == "Because you looked at {a} pan."
    assert plain(reason_words([cup, pan])) == "Because you looked at the <b>cup</b> and {a} pan."
    assert plain(reason_words([cup, pan._replace(share=0.1)])) == "Because you just looked at the <b>cup</b>."
    assert plain(reason_words([cup._replace(same_item=True), pan])) == "You looked at this before."
    assert plain(reason_words([pan._replace(kind="cart"), cup])) == "Because you put {a} pan in your basket."
    assert plain(reason_words([pan._replace(kind="cart", same_item=True), cup])) == "You put this in your basket."
    assert plain(reason_words([pan._replace(kind="purchase"), cup])) == "Because you bought {a} pan."
    assert plain(reason_words([Cause("", "new", share=0.0)])).startswith("Something new")
    assert plain(reason_words([Cause("水壶")], "zh")) == "因为您看过水壶。"


def plain(sentence: str) -> str:
    return sentence.replace("\u2068", "").replace("\u2069", "")


@given(st.text())
def test_a_title_keeps_its_direction_to_itself_and_is_not_endless(title: str) -> None:
    said = reason_words([Cause(title + "\u2069\u202e" + title)])
    inside = said.removeprefix("Because you looked at \u2068").removesuffix("\u2069.")
    assert not set("\u2066\u2067\u2068\u2069\u202a\u202b\u202c\u202d\u202e") & set(inside)
    assert len(inside) <= MAX_TITLE_CHARS
