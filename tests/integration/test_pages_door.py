"""The door in a real browser: a token in an address, a token typed, and a link from another site."""

import pytest

from serve.gateway.testing import Site
from serve.gateway.tokens import TokenBook, mint, utc_now

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def doors(tmp_path_factory):
    """A gateway with a token, another site, and the token."""
    written, token = mint("crew", ["matches:read", "ops:read"], utc_now())
    path = tmp_path_factory.mktemp("door") / "tokens.json"
    path.write_text(TokenBook(tokens=(token,)).model_dump_json())
    path.chmod(0o600)
    with Site(tokens=path) as site, Site() as elsewhere:
        site.play("m1", frames=3, seed=1)
        yield site, f"http://localhost:{elsewhere.port}/docs", written  # localhost is another site than 127.0.0.1


def test_an_overlay_opens_with_a_token_that_no_address_keeps(doors, page) -> None:
    site, _, token = doors
    page.goto(site.url(f"/overlay/m1?token={token}&w=800"))
    page.wait_for_selector("[data-p]")  # it draws: its streams and files came with the cookie, and the policy let them
    assert page.url == site.url("/overlay/m1?w=800") and token not in page.content()
    (cookie,) = page.context.cookies()
    assert (cookie["value"], cookie["httpOnly"], cookie["sameSite"]) == (token, True, "Strict")


def test_a_person_types_the_token_and_a_link_from_elsewhere_finds_it(doors, page) -> None:
    site, elsewhere, token = doors
    page.goto(site.url("/ops"))
    page.fill("input[type=password]", "sl_wrong")
    page.click("button")
    page.wait_for_selector("text=This is no token that holds")
    page.fill("input[type=password]", token)
    page.click("button")
    page.wait_for_selector("#page h1")
    assert page.url == site.url("/ops")
    follow_link(page, elsewhere, site.url("/ops"))
    page.wait_for_selector("#page h1")  # Strict cookies are held back from such a link: our own page leads on


def test_a_link_from_elsewhere_may_bring_the_token(doors, page) -> None:
    site, elsewhere, token = doors
    follow_link(page, elsewhere, site.url(f"/ops?token={token}"))
    page.wait_for_selector("#page h1")
    assert page.url == site.url("/ops")


def follow_link(page, start: str, to: str) -> None:
    page.goto(start)
    page.evaluate("to => { document.body.innerHTML = ''; document.body.append(document.createElement('a')) }", to)
    page.evaluate("to => { const a = document.querySelector('a'); a.href = to; a.textContent = 'here' }", to)
    page.click("a")
