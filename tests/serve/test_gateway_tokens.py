"""Tokens, their file, the rates and the origins: the pure parts of the door."""

import hashlib
import json
import logging
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve.gateway.access import Access
from serve.gateway.origins import from_elsewhere, is_loopback
from serve.gateway.rate_limit import RateLimit, site_of
from serve.gateway.sign_in import local_address
from serve.gateway.token_file import TokenFile, read_tokens
from serve.gateway.tokens import SCOPES, BadTokenFile, TokenBook, mint, sees

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def test_a_token_is_found_by_its_text_alone_and_its_text_is_not_kept() -> None:
    written, token = mint("studio", ["matches:read"], NOW)
    other, _ = mint("other", ["matches:read"], NOW)
    book = TokenBook().with_token(token)
    assert len(written) == 3 + 43 and written.startswith("sl_")
    assert book.find(written, NOW) == token
    assert written not in book.model_dump_json() and written[3:] not in repr(token)
    for wrong in (other, written[:-1], written + "A", written.upper(), " " + written, "sl_", "", "sl_" + "é" * 43):
        assert book.find(wrong, NOW) is None
    assert book.without("studio").find(written, NOW) is None


def test_its_hash_is_the_plain_sha256() -> None:
    written, token = mint("studio", ["matches:read"], NOW)
    assert token.sha256 == hashlib.sha256(written.encode()).hexdigest()


def test_a_token_ends_at_its_time_and_not_before() -> None:
    written, token = mint("studio", ["ops:read"], NOW, expires=NOW + timedelta(seconds=2))
    book = TokenBook(tokens=(token,))
    assert book.find(written, NOW + timedelta(seconds=1)) == token
    assert book.find(written, NOW + timedelta(seconds=2)) is None


def test_a_book_reads_back_and_holds_a_name_once() -> None:
    _, token = mint("studio", SCOPES, NOW, matches=("LCK/*",), expires=NOW + timedelta(days=1))
    book = TokenBook(tokens=(token,))
    assert TokenBook.parse(book.model_dump_json().encode(), "here") == book
    with pytest.raises(ValueError, match="two tokens are named 'studio'"):
        book.with_token(token)


@pytest.mark.parametrize(
    ("globs", "match_id", "seen"),
    [
        (("*",), "anything/at all", True),
        (("LCK/*",), "LCK/2026/1", True),
        (("LCK/*",), "LPL/2026/1", False),
        (("lck/*",), "LCK/2026/1", False),
        (("a", "sim-00?7"), "sim-0007", True),
        ((), "a", False),
    ],
)
def test_which_matches_a_pattern_names(globs, match_id, seen) -> None:
    assert sees(globs, match_id) is seen


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "tokens.json: Invalid JSON"),
        (b'{"version": 2}', "tokens.json: version: Input should be 1"),
        (b'{"tokens": [{"name": "x"}]}', r"tokens.json: tokens.0.sha256: Field required; `sightline tokens` writes"),
        (b'{"tokens": [], "more": 1}', "tokens.json: more: Extra inputs"),
        (b"\xff\xfe", "tokens.json: Invalid JSON"),
    ],
)
def test_a_file_that_is_none_is_refused_by_name(tmp_path, text, message) -> None:
    path = tmp_path / "tokens.json"
    path.write_bytes(text)
    path.chmod(0o600)
    with pytest.raises(BadTokenFile, match=message) as failure:
        read_tokens(path)
    assert str(failure.value).startswith(str(path)) and "\n" not in str(failure.value)


def test_a_wrong_hash_is_not_repeated_in_the_message(tmp_path) -> None:
    _, token = mint("studio", ["ops:read"], NOW)
    raw = json.loads(TokenBook(tokens=(token,)).model_dump_json())
    raw["tokens"][0]["sha256"] = "sl_written-by-mistake"
    path = tmp_path / "tokens.json"
    path.write_text(json.dumps(raw))
    path.chmod(0o600)
    with pytest.raises(BadTokenFile, match="sha256") as failure:
        read_tokens(path)
    assert "by-mistake" not in str(failure.value)


@pytest.mark.parametrize("mode", [0o604, 0o644, 0o602, 0o601])
def test_a_file_that_others_may_touch_is_refused(tmp_path, mode) -> None:
    path = tmp_path / "tokens.json"
    path.write_text(TokenBook().model_dump_json())
    path.chmod(mode)
    with pytest.raises(BadTokenFile, match=f"mode {mode:o} is open to every user of this machine; chmod 600"):
        read_tokens(path)
    path.chmod(0o640)  # a group may: that is how secrets are mounted into containers
    assert read_tokens(path) == TokenBook()


def test_a_file_that_is_missing_or_huge_is_refused(tmp_path) -> None:
    with pytest.raises(BadTokenFile, match="no such file or directory; make one with `sightline tokens create`"):
        read_tokens(tmp_path / "none.json")
    path = tmp_path / "tokens.json"
    path.write_bytes(b" " * ((1 << 20) + 1))
    path.chmod(0o600)
    with pytest.raises(BadTokenFile, match="above 1,048,576 bytes"):
        read_tokens(path)


def test_a_running_gateway_follows_its_file(tmp_path, caplog) -> None:
    path, now_s = tmp_path / "tokens.json", [0.0]

    def write(text: str) -> None:
        draft = tmp_path / "draft"
        draft.write_text(text)
        draft.chmod(0o600)
        draft.replace(path)

    _, token = mint("studio", ["ops:read"], NOW)
    full, empty = TokenBook(tokens=(token,)), TokenBook()
    write(full.model_dump_json())
    file = TokenFile(path, clock=lambda: now_s[0])
    assert file.book() == full
    write(empty.model_dump_json())
    now_s[0] = 0.9
    assert file.book() == full  # it looks once a second
    now_s[0] = 1.0
    assert file.book() == empty
    write(full.model_dump_json())
    now_s[0] = 2.0
    assert file.book() == full
    write("oops")
    now_s[0] = 3.0
    with caplog.at_level(logging.ERROR):
        assert file.book() == full
    assert "Invalid JSON" in caplog.text and "go on to hold" in caplog.text
    path.unlink()
    now_s[0] = 4.0
    assert file.book() == empty  # gone: nothing is open, least of all everything


def test_who_is_known() -> None:
    written, token = mint("studio", ["matches:read"], NOW, matches=("LCK/*",), expires=NOW + timedelta(days=1))
    books, now = [TokenBook(tokens=(token,))], [NOW]
    access = Access(lambda: books[-1], lambda: now[0])
    visitor = access.visitor(written, "10.0.0.1")
    assert (visitor.client, visitor.may("matches:read"), visitor.may("ops:read")) == ("token studio", True, False)
    assert visitor.sees("LCK/1") and not visitor.sees("LPL/1") and access.holds(visitor)
    stranger = access.visitor(None, "10.0.0.1")
    assert not stranger.known and not stranger.sees("LCK/1") and not access.holds(stranger)
    now[0] = NOW + timedelta(days=1)
    assert not access.holds(visitor) and not access.visitor(written, "10.0.0.1").known
    now[0] = NOW
    books.append(TokenBook())
    assert not access.holds(visitor)
    everybody = Access(None).visitor(None, "10.0.0.1")
    assert everybody.scopes == SCOPES and everybody.sees("LPL/1") and Access(None).holds(everybody)


def test_a_bucket_gives_its_burst_then_its_rate() -> None:
    now_s = [0.0]
    limit = RateLimit(per_s=2.0, burst=3, clock=lambda: now_s[0])
    assert [limit.wait_s("a") for _ in range(4)] == [0.0, 0.0, 0.0, 0.5]
    assert limit.wait_s("b") == 0.0  # another client has its own
    now_s[0] = 0.25
    assert limit.wait_s("a") == 0.25
    now_s[0] = 0.5
    assert [limit.wait_s("a") for _ in range(2)] == [0.0, 0.5]
    now_s[0] = 100.0  # full again, and no fuller
    assert [limit.wait_s("a") for _ in range(4)] == [0.0, 0.0, 0.0, 0.5]


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.floats(0.0, 3.0)), max_size=80),
    st.floats(0.5, 20.0),
    st.integers(1, 5),
)
def test_no_client_ever_gets_more_than_burst_and_rate(asked, per_s, burst) -> None:
    now_s = [0.0]
    limit = RateLimit(per_s, burst, clock=lambda: now_s[0])
    given_at: dict[str, list[float]] = {"a": [], "b": [], "c": []}
    for client, pause_s in asked:
        now_s[0] += pause_s
        if (wait_s := limit.wait_s(client)) == 0.0:
            given_at[client].append(now_s[0])
        else:
            assert 0.0 < wait_s <= 1.0 / per_s + 1e-9
    for times in given_at.values():
        for first in range(len(times)):
            for last in range(first, len(times)):
                assert last - first + 1 <= burst + (times[last] - times[first]) * per_s + 1e-6


def test_clients_beyond_the_bound_are_forgotten_least_recent_first() -> None:
    limit = RateLimit(per_s=1.0, burst=1, max_clients=2, clock=lambda: 0.0)
    assert [limit.wait_s(client) for client in ("a", "b", "a")] == [0.0, 0.0, 1.0]
    assert limit.wait_s("c") == 0.0 and len(limit) == 2  # b goes: a was seen after it
    assert limit.wait_s("a") == 1.0
    assert limit.wait_s("b") == 0.0 and len(limit) == 2


@pytest.mark.parametrize(
    ("host", "site"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("", ""),
        ("a.sock", "a.sock"),
    ],
)
def test_one_client_is_one_site(host, site) -> None:
    assert site_of(host) == site


@pytest.mark.parametrize(
    ("host", "inside"),
    [
        ("localhost:8600", True), ("127.0.0.1:8600", True), ("127.9.9.9", True), ("[::1]:8600", True), ("::1", False),
        ("LOCALHOST", True), ("app.localhost:1", True), ("evil.example", False), ("127.0.0.1.evil.example", False),
        ("localhost.evil.example", False), ("evil.example:127.0.0.1", False), ("user@evil.example", False),
        ("10.0.0.1", False), ("0.0.0.0", False), ("", False), ("[", False), ("[::1", False),
    ],
)  # fmt: skip
def test_which_hosts_are_this_machine(host, inside) -> None:
    assert is_loopback(host) is inside


@pytest.mark.parametrize(
    ("method", "headers", "foreign"),
    [
        ("GET", {}, False),  # a program
        ("GET", {"origin": "http://here:1"}, False),
        ("GET", {"origin": "https://studio.example"}, False),  # allowed
        ("GET", {"origin": "https://studio.example.evil"}, True),
        ("GET", {"origin": "http://elsewhere"}, True),
        ("GET", {"origin": "null"}, True),
        ("GET", {"origin": "http://[x"}, True),
        ("GET", {"sec-fetch-site": "none", "sec-fetch-mode": "navigate"}, False),
        ("GET", {"sec-fetch-site": "same-origin", "sec-fetch-mode": "cors"}, False),
        ("GET", {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}, False),  # a link
        ("GET", {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"}, True),  # an <img> elsewhere
        ("GET", {"sec-fetch-site": "same-site", "sec-fetch-mode": "cors"}, True),  # another port
        ("POST", {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}, True),  # a form elsewhere
        ("POST", {"origin": "null", "sec-fetch-site": "same-origin"}, True),
        ("POST", {"origin": "http://here:1", "sec-fetch-site": "same-origin"}, False),
    ],
)
def test_which_requests_a_page_from_elsewhere_makes(method, headers, foreign) -> None:
    assert from_elsewhere(method, {"host": "here:1"} | headers, ("https://studio.example",)) is foreign


def test_without_a_host_no_origin_is_the_same() -> None:
    assert from_elsewhere("GET", {"origin": "http://"}, ())


@pytest.mark.parametrize(
    ("written", "address"),
    [
        ("/ops", "/ops"),
        ("/overlay/LCK%2F1?w=2&h=%20x", "/overlay/LCK%2F1?w=2&h=%20x"),
        ("//elsewhere.example/x", "/elsewhere.example/x"),
        ("/\\elsewhere.example", "/%5Celsewhere.example"),
        ("https://elsewhere.example", "/https://elsewhere.example"),
        ("\t//elsewhere.example", "/%09//elsewhere.example"),
        ("javascript:alert(1)", "/javascript:alert(1)"),
        ("", "/"),
        ('/"><script>', "/%22%3E%3Cscript%3E"),
        ("/x?\r\nset-cookie: a", "/x?%0D%0Aset-cookie:%20a"),
    ],
)
def test_an_address_to_go_to_is_always_here(written, address) -> None:
    assert local_address(written) == address


@given(st.text(max_size=40))
def test_no_text_leads_elsewhere(written) -> None:
    address = local_address(written)
    assert address.startswith("/") and not address.startswith("//")
    assert not set(address) & set('\\<>"\r\n\t ') and address.isascii()
