"""Pictures are fetched politely and within limits; each that fails says why, and none stops the run."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.download.pictures import Limits, Passing, fetch_images, image_path
from pipelines.errors import InputError
from pipelines.version import user_agent
from tests.conftest import ROOT
from tests.helpers.download_cases import HERE, JPEG, PNG, picture, reason
from tests.helpers.http_server import Page, Request, WebServer, unused_port, wait_until, web_fixture  # noqa: F401


def test_pictures_come_once_and_are_kept(tmp_path: Path, web: WebServer) -> None:
    urls = [web.put(f"/{number}", picture(PNG + bytes([number]))) for number in range(20)]
    told: list[tuple[int, int]] = []
    found = fetch_images([*urls, urls[0]], tmp_path, limits=HERE, progress=lambda *state: told.append(state))
    assert list(found) == urls and found == {url: image_path(tmp_path, url) for url in urls}
    assert [Path(found[url]).read_bytes()[-1] for url in urls] == list(range(20))
    assert told == [(number, 20) for number in range(1, 21)]
    assert sorted(web.paths()) == sorted(f"/{number}" for number in range(20))
    assert {headers["User-Agent"] for _, headers in web.asked} == {user_agent()}
    assert fetch_images(urls, tmp_path, limits=HERE) == found == fetch_images(urls, tmp_path, offline=True)
    assert len(web.asked) == 20


@pytest.mark.parametrize(
    "content",
    [PNG, JPEG, b"GIF89a", b"BM12", b"II*\0", b"MM\0*", b"RIFF1234WEBPVP8 ", b"\0\0\0\x20ftypavif"],
)
@pytest.mark.parametrize("kind", ["image/jpeg", "application/octet-stream", "", None])
def test_pictures_of_the_usual_kinds(tmp_path: Path, web: WebServer, content: bytes, kind: str | None) -> None:
    url = web.put("/a", Page(content, headers={} if kind is None else {"Content-Type": kind}))
    assert fetch_images([url], tmp_path, limits=HERE)[url] == image_path(tmp_path, url)


SMALL = replace(HERE, most_bytes=1000)


def _endless(request: Request) -> None:
    request.begin(200, {"Content-Type": "image/png"})
    while True:
        request.wfile.write(PNG)


def _dripping(request: Request) -> None:
    request.begin(200, {"Content-Type": "image/png", "Content-Length": "9999"})
    for _ in range(1000):
        request.wfile.write(b"x")
        time.sleep(0.02)


BAD: dict[str, tuple[Any, Limits, str]] = {
    "gone": (None, HERE, "answered 404 Not Found"),
    "busy": (Page(status=503), HERE, "answered 503 Service Unavailable"),
    "page": (Page(b"<html>", headers={"Content-Type": "text/html"}), HERE, "is of the type text/html, not an image"),
    "page in disguise": (picture(b"<html>"), HERE, "is not an image of a known kind"),
    "drawing": (Page(b"<svg/>", headers={"Content-Type": "image/svg+xml"}), HERE, "is not an image of a known kind"),
    "empty": (picture(b""), HERE, "is not an image of a known kind"),
    "too large": (picture(PNG + bytes(2000)), SMALL, "has 2,308 bytes; at most 1,000 are fetched"),
    "too large, unsaid": (picture(PNG + bytes(2000), declared=-1), SMALL, "has more than the 1,000 bytes"),
    "endless": (_endless, SMALL, "has more than the 1,000 bytes"),
    "broken off": (picture(cuts=[9, 9]), HERE, "broke off after 9 of 308 bytes"),
    "slow": (_dripping, replace(HERE, seconds=2, attempts=1), "took longer than 2 seconds"),
    "to a file": (
        Page(status=302, headers={"Location": "file:///etc/passwd"}),
        HERE,
        "is not an http or https address",
    ),
    "in a circle": (Page(status=302, headers={"Location": "/bad"}), HERE, "redirects in a circle"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_picture_has_a_reason_and_the_others_come(tmp_path: Path, web: WebServer, case: str) -> None:
    page, limits, expected = BAD[case]
    bad, good = web.url("/bad"), web.put("/good", picture())
    if page is not None:
        web.put("/bad", replace(page, cuts=list(page.cuts)) if isinstance(page, Page) else page)
    found = fetch_images([bad, good], tmp_path, limits=limits)
    assert expected in str(found[bad])
    assert isinstance(found[bad], Passing) == (case in ("busy", "broken off", "slow"))
    assert found[good] == image_path(tmp_path, good)


def test_what_is_gone_is_not_asked_for_again_but_trouble_is(tmp_path: Path, web: WebServer) -> None:
    gone, trouble = web.url("/gone"), web.put("/trouble", Page(status=500))
    first = fetch_images([gone, trouble], tmp_path, limits=HERE)
    assert isinstance(first[trouble], Passing) and not isinstance(first[gone], Passing)
    assert Counter(web.paths()) == {"/gone": 1, "/trouble": 2}
    web.put("/trouble", picture())
    second = fetch_images([gone, trouble], tmp_path, limits=HERE)
    assert not isinstance(second[gone], Passing)
    assert second == {gone: first[gone], trouble: image_path(tmp_path, trouble)}
    assert Counter(web.paths()) == {"/gone": 1, "/trouble": 3}


def test_redirects_are_followed_and_counted(tmp_path: Path, web: WebServer) -> None:
    for step in range(9):
        web.put(f"/{step}", Page(status=301, headers={"Location": f"/{step + 1}"}))
    web.put("/4", picture())
    assert reason(tmp_path, web.url("/0")) == "redirects more than 3 times"
    assert isinstance(fetch_images([web.url("/1")], tmp_path, limits=HERE)[web.url("/1")], Path)


def test_a_host_meets_few_at_a_time(tmp_path: Path, web: WebServer) -> None:
    lock, now, most = threading.Lock(), 0, 0

    def busy(request: Request) -> None:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        time.sleep(0.03)
        with lock:
            now -= 1
        picture().answer(request)

    urls = [web.put(f"/{number}", busy) for number in range(24)]
    found = fetch_images(urls, tmp_path, limits=replace(HERE, per_host=3))
    assert all(isinstance(result, Path) for result in found.values())
    assert 1 < most <= 3


def test_requests_to_a_host_keep_their_distance(tmp_path: Path, web: WebServer) -> None:
    starts: list[float] = []

    def timed(request: Request) -> None:
        starts.append(time.monotonic())
        picture().answer(request)

    began = time.monotonic()
    fetch_images([web.put(f"/{n}", timed) for n in range(6)], tmp_path, limits=replace(HERE, delay=0.1))
    assert len(starts) == 6 and max(starts) - began >= 0.5


def test_a_busy_host_is_given_the_time_it_asks_for(tmp_path: Path, web: WebServer) -> None:
    def busy(request: Request) -> None:
        web.put("/a", picture())
        Page(status=429, headers={"Retry-After": "1"}).answer(request)

    began = time.monotonic()
    url = web.put("/a", busy)
    assert isinstance(fetch_images([url], tmp_path, limits=HERE)[url], Path)
    assert time.monotonic() - began >= 1


def test_a_dead_host_is_soon_asked_no_more(tmp_path: Path, web: WebServer) -> None:
    port = unused_port()
    dead = [f"http://127.0.0.1:{port}/{number}" for number in range(100)]
    good = [web.put(f"/{number}", picture()) for number in range(30)]
    found = fetch_images([*dead, *good], tmp_path, limits=replace(HERE, give_up_after=6))
    assert all(isinstance(found[url], Path) for url in good)
    assert "cannot be reached (Connection refused)" in str(found[dead[0]])
    last = str(found[dead[-1]])
    assert last.startswith("is on a host that failed") and "in a row: it cannot be reached" in last
    assert all(isinstance(found[url], Passing) for url in dead)


def test_a_host_without_an_address_may_have_one_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    result = fetch_images(["http://example.org/a"], tmp_path, limits=HERE)["http://example.org/a"]
    assert isinstance(result, Passing) and "cannot be resolved" in result


def test_success_renews_the_trust_in_a_host(tmp_path: Path, web: WebServer) -> None:
    urls = [web.put(f"/{n}", picture() if n % 2 else Page(status=500)) for n in range(20)]
    found = fetch_images(urls, tmp_path, limits=replace(HERE, give_up_after=3, per_host=1))
    assert sum(isinstance(result, Path) for result in found.values()) == 10


def test_offline_nothing_is_asked(tmp_path: Path, web: WebServer) -> None:
    url = web.put("/a", picture())
    found = fetch_images([url], tmp_path, offline=True, limits=HERE)
    assert found == {url: "is not at hand, and nothing is fetched offline"} and not web.asked
    assert isinstance(found[url], Passing)


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path: Path, web: WebServer) -> None:
    (tmp_path / "images").write_text("a file")
    urls = [web.put(f"/{number}", picture()) for number in range(50)]
    with pytest.raises(InputError, match=r"Cannot write .*(in the way|not a folder)"):
        fetch_images(urls, tmp_path / "images", limits=HERE)


def test_a_failing_listener_ends_the_run(tmp_path: Path, web: WebServer) -> None:
    """As Ctrl-C does: what was not begun is not asked for."""

    def listen(done: int, total: int) -> None:
        raise KeyboardInterrupt

    urls = [web.put(f"/{number}", picture()) for number in range(100)]
    with pytest.raises(KeyboardInterrupt):
        fetch_images(urls, tmp_path, progress=listen, limits=replace(HERE, delay=0.1))
    assert len(web.asked) < 50


CHILD = """
import sys
from pathlib import Path
from pipelines.download.pictures import Limits, fetch_images
fetch_images(sys.argv[2:], Path(sys.argv[1]), limits=Limits(delay=0.1, per_host=1, allow_private=True))
"""


def test_killed_it_continues_with_what_is_missing(tmp_path: Path, web: WebServer) -> None:
    urls = [web.put(f"/{number}", picture(PNG + bytes([number]))) for number in range(60)]
    child = subprocess.Popen([sys.executable, "-c", CHILD, str(tmp_path), *urls], cwd=ROOT)
    wait_until(lambda: len(web.asked) >= 10)
    child.send_signal(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    had = [url for url in urls if image_path(tmp_path, url).exists()]
    assert 5 <= len(had) < 60
    web.asked.clear()
    found = fetch_images(urls, tmp_path, limits=HERE)
    assert len(web.asked) == 60 - len(had)
    assert [Path(found[url]).read_bytes()[-1] for url in urls] == list(range(60))


@settings(deadline=None)
@given(st.lists(st.text() | st.text().map("https://{}".format), max_size=5))
def test_addresses_that_are_none_have_a_reason(urls: list[str]) -> None:
    """Whatever an item has in place of an address: its file would be in the folder, and nothing is raised."""
    folder = Path("images")
    for url in urls:
        assert image_path(folder, url).parent.parent == folder and image_path(folder, url).name.isalnum()
    found = fetch_images(urls, folder, offline=True)
    assert set(found) == set(urls) and all(isinstance(result, str) for result in found.values())


@pytest.mark.parametrize("url", ["", "photo.jpg", "/etc/passwd", "file:///etc/passwd", "http://", "data:,", "\ud800"])
def test_what_is_no_address_is_said(tmp_path: Path, url: str) -> None:
    why = reason(tmp_path, url)
    assert why.startswith("is not ") and not isinstance(why, Passing)
    assert not list(tmp_path.iterdir())
