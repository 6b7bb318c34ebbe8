"""Addresses, byte ranges and the problems of connections."""

from __future__ import annotations

import errno
import ssl

import httpcore2
import httpx2
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipelines.download.addresses import WebProblem, clean_url, redirected
from pipelines.download.partial import parse_content_range
from pipelines.download.web import explain


@settings(deadline=None)
@given(st.integers(0, 10**17), st.integers(0, 10**17), st.one_of(st.none(), st.integers(0, 10**17)))
def test_content_ranges_are_read_or_refused(first: int, last: int, total: int | None) -> None:
    sound = first <= last and (total is None or last < total)
    text = f"bytes {first}-{last}/{'*' if total is None else total}"
    assert parse_content_range(text) == ((first, last, total) if sound else None)


@settings(deadline=None)
@given(st.text(st.sampled_from("bytes 0123456789-+/*٣_\n")))
def test_a_content_range_is_never_misread(text: str) -> None:
    span = parse_content_range(f"bytes {text}")
    if span is not None:
        first, last, total = span
        assert 0 <= first <= last and (total is None or last < total)
        numbers = text.strip().replace("/", "-").split("-")
        assert [number.isascii() and int(number) for number in numbers[:2]] == [first, last]


@settings(deadline=None)
@given(st.text())
@example("\u2024")  # a host of one dot, once it is normalised
def test_any_address_is_cleaned_or_refused(text: str) -> None:
    for url in (text, f"http://{text}", f"https://a.example/{text}"):
        try:
            cleaned = clean_url(url)
        except WebProblem:
            continue
        assert cleaned.isascii() and cleaned.isprintable() and " " not in cleaned
        assert cleaned.startswith(("http://", "https://")) and clean_url(cleaned) == cleaned


@pytest.mark.parametrize(
    ("given_url", "sent"),
    [
        ("http://A.example", "http://a.example/"),
        ("http://a.example/ü b%20c?q=é#part", "http://a.example/%C3%BC%20b%20c?q=%C3%A9"),
        ("https://bücher.example:8080/51%2BbC.jpg", "https://xn--bcher-kva.example:8080/51%2BbC.jpg"),
        ("http://[::1]/", "http://[::1]/"),
    ],
)
def test_addresses_are_escaped_where_they_must_be(given_url: str, sent: str) -> None:
    assert clean_url(given_url) == sent


def test_a_redirect_may_not_leave_encryption() -> None:
    assert redirected("http://a.example/x", "https://b.example/") == "https://b.example/"
    assert redirected("https://a.example/x/y", "z?q=1") == "https://a.example/x/z?q=1"
    with pytest.raises(WebProblem, match=r"redirects from https to http://b.example/, which is not encrypted"):
        redirected("https://a.example/x", "http://b.example/")


def _raised(cause: Exception) -> httpx2.ConnectError:
    """As httpx2 raises what the system raised."""
    problem = httpx2.ConnectError(str(cause))
    problem.__cause__ = httpcore2.ConnectError(cause)
    return problem


def test_a_certificate_that_is_not_trusted() -> None:
    problem = ssl.SSLCertVerificationError(1, "certificate verify failed")
    problem.verify_message = "self-signed certificate"
    told = explain(_raised(problem))
    assert str(told) == "has a certificate that is not trusted (self-signed certificate)" and not told.temporary


def test_no_problem_of_a_connection_goes_unexplained() -> None:
    unreachable = OSError(errno.EHOSTUNREACH, "No route to host")
    assert "cannot be reached (No route to host)" in str(explain(_raised(unreachable)))
    assert explain(httpx2.ReadTimeout("timed out")).temporary and str(explain(TimeoutError())) == "stopped answering"
    assert "its proxy says 403 Forbidden" in str(explain(httpx2.ProxyError("403 Forbidden")))
    assert not explain(ValueError("nonsense")).temporary
