"""Whatever a server does, the answer is one sentence and no file."""

from __future__ import annotations

import gzip
import io
import threading
import time
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from pipelines.download.fetch import Patience
from pipelines.errors import InputError
from tests.helpers.download_cases import DATA, HTML, SHA256, get
from tests.helpers.http_server import Page, Request, Script, WebServer, web_fixture  # noqa: F401


def redirect(location: str, status: int = 302) -> Page:
    return Page(status=status, headers={"Location": location})


def _silent(request: Request) -> None:
    time.sleep(2)


def _dripping(request: Request) -> None:
    request.begin(200, {"Content-Length": "100000"})
    while True:
        request.wfile.write(b"x")
        time.sleep(0.02)


def _dripping_head(request: Request) -> None:
    while True:
        request.wfile.write(b"HTTP/1.1 200 OK\r\nX-a: b\r\n" if request.requestline else b"X-a: b")
        request.requestline = ""
        time.sleep(0.02)


def _wordy(request: Request) -> None:
    """One byte more than it announces, all in one piece."""
    request.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n" + DATA[:5001])


def _not_http(request: Request) -> None:
    request.wfile.write(b"SSH-2.0-OpenSSH_9.0\r\n")


GZIPPED = gzip.compress(DATA)
ZIPPED = io.BytesIO()
with zipfile.ZipFile(ZIPPED, "w") as _archive:
    _archive.writestr("a", DATA)

BAD: dict[str, tuple[Page | Script, dict[str, object], str]] = {
    "longer than true": (Page(DATA, declared=len(DATA) + 9), {}, r"broke off after 102,400 of 102,409 bytes"),
    "shorter than true": (Page(DATA, declared=5000), {}, r"sends more than the 5,000 bytes that it announces"),
    "a byte shorter": (_wordy, {}, r"sends more than the 5,000 bytes that it announces"),
    "gzip shorter": (Page(GZIPPED, declared=100), {"kind": "gzip"}, "damaged or cut off"),
    "zip shorter": (Page(ZIPPED.getvalue(), declared=9000), {"kind": "zip"}, "damaged or cut off"),
    "other size than pinned": (Page(DATA), {"bytes": 7}, r"has 102,400 bytes, but 7 are expected"),
    "more than pinned": (Page(DATA, declared=-1), {"bytes": 7}, r"has more than the 7 bytes that are expected"),
    "less than pinned": (Page(b"abc", declared=-1), {"bytes": 7}, r"has 3 bytes, but 7 are expected"),
    "wrong checksum": (Page(DATA), {"sha256": "0" * 64}, rf"has the SHA-256 {SHA256}, but 0{{64}} is expected"),
    "breaks off": (Page(DATA, cuts=[10] * 9), {}, r"broke off after"),
    "hangs up": (lambda request: None, {}, "broke the connection off"),
    "html for gzip": (Page(HTML), {"kind": "gzip"}, "is a web page, not gzip"),
    "html for zip": (Page(HTML), {"kind": "zip"}, "is a web page, not zip"),
    "html for binary": (Page(HTML), {"kind": "binary"}, "is a web page, not data"),
    "html for text": (Page(b"<html>"), {"kind": "text"}, "is a web page, not text"),
    "said to be html": (Page(DATA, headers={"Content-Type": "text/html; charset=utf-8"}), {}, "sends a web page"),
    "json for gzip": (Page(b'{"error": 1}'), {"kind": "gzip"}, "is not gzip"),
    "empty": (Page(), {}, "is empty"),
    "no content": (Page(status=204), {}, "answered 204 No Content instead"),
    "part unasked": (Page(DATA, status=206), {}, "answered 206"),
    "not found": (Page(status=404), {}, "answered 404 Not Found"),
    "busy": (Page(status=503), {}, "answered 503 Service Unavailable"),
    "to a file": (redirect("file:///etc/passwd"), {}, "redirects to 'file:///etc/passwd', which is not an http"),
    "to ftp": (redirect("ftp://127.0.0.1/a"), {}, "which is not an http or https address"),
    "to nonsense": (redirect("http://[oops"), {}, "which is not an http or https address"),
    "to nowhere": (Page(status=301), {}, "redirects to nowhere"),
    "to itself": (redirect("/bad"), {}, "redirects in a circle"),
    "silent": (_silent, {"patience": Patience(attempts=1, timeout=0.2)}, "stopped answering"),
    "dripping": (_dripping, {"patience": Patience(attempts=1, timeout=0.2)}, "stopped answering"),
    "dripping head": (_dripping_head, {"patience": Patience(attempts=1, timeout=0.5)}, "took longer than 2 seconds"),
    "not http": (_not_http, {}, "does not answer as a web server should"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_server_is_answered_with_a_sentence(tmp_path: Path, web: WebServer, case: str) -> None:
    page, settings, sentence = BAD[case]
    url = web.put("/bad", replace(page, cuts=list(page.cuts)) if isinstance(page, Page) else page)
    with pytest.raises(InputError, match=sentence) as caught:
        get(tmp_path, url, **settings)
    assert str(caught.value).startswith(f"Cannot download a.bin: {url} ")
    assert f"Download a.bin from {url} and put it into {tmp_path}, or try again later" in str(caught.value)
    assert not (tmp_path / "a.bin").exists()


def test_a_stream_without_end_ends_at_what_was_announced(tmp_path: Path, web: WebServer) -> None:
    def endless(request: Request) -> None:
        request.begin(200, {})
        while True:
            request.wfile.write(DATA)

    with pytest.raises(InputError, match="has more than the 1,000,000 bytes"):
        get(tmp_path, web.put("/a", endless), bytes=1_000_000)
    assert not (tmp_path / ".a.bin.part").exists()


def test_a_connection_that_stays_open_is_not_waited_for(tmp_path: Path, web: WebServer) -> None:
    over = threading.Event()

    def stays(request: Request) -> None:
        request.begin(200, {"Content-Length": str(len(DATA)), "Connection": "keep-alive"})
        request.wfile.write(DATA)
        over.wait(60)

    began = time.monotonic()
    assert get(tmp_path, web.put("/a", stays)).sha256 == SHA256
    assert time.monotonic() - began < 15
    over.set()


def test_many_redirects_are_too_many(tmp_path: Path, web: WebServer) -> None:
    for step in range(9):
        web.put(f"/{step}", redirect(f"/{step + 1}"))
    with pytest.raises(InputError, match="redirects more than 5 times"):
        get(tmp_path, web.url("/0"))
    web.put("/7", Page(DATA))
    assert get(tmp_path, web.url("/3")).sha256 == SHA256


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://a/", "data:,x", "a.jpg", "http://", "http://u:p@a/"])
def test_other_addresses_are_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(InputError, match=r"is not (a valid|an http or https) address"):
        get(tmp_path, url)
