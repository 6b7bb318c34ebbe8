"""A download that stopped, for whatever reason, is continued, unless the file has changed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from pipelines.errors import InputError
from tests.conftest import ROOT
from tests.helpers.download_cases import DATA, SHA256, get
from tests.helpers.http_server import Page, Request, WebServer, wait_until, web_fixture  # noqa: F401


def test_a_download_that_breaks_off_is_continued(tmp_path: Path, web: WebServer) -> None:
    page = Page(DATA, headers={"ETag": '"v1"'}, cuts=[1000, 500])
    assert get(tmp_path, web.put("/a", page)).sha256 == SHA256
    assert web.ranges() == [None, "bytes=1000-", "bytes=1500-"]
    assert web.asked[1][1]["If-Range"] == '"v1"'


def test_a_later_call_continues_what_an_earlier_one_left(tmp_path: Path, web: WebServer) -> None:
    page = Page(DATA, headers={"Last-Modified": "Wed, 21 Oct 2015 07:28:00 GMT"}, cuts=[1000, 0, 0])
    url = web.put("/a", page)
    sentence = r"broke off after 1,000 of 102,400 bytes.*or try again later: 1,000 bytes are kept and continued"
    with pytest.raises(InputError, match=sentence):
        get(tmp_path, url)
    assert not (tmp_path / "a.bin").exists()
    assert get(tmp_path, url).sha256 == SHA256
    assert web.ranges()[-1] == "bytes=1000-"


@pytest.mark.parametrize("honest", [True, False])
def test_a_file_that_changes_meanwhile_is_begun_anew(tmp_path: Path, web: WebServer, honest: bool) -> None:
    """With If-Range a server sends the new version whole; one that ignores it is found out by its ETag."""
    url = web.put("/a", Page(b"x" * len(DATA), headers={"ETag": '"v1"'}, cuts=[1000, 0, 0]))
    with pytest.raises(InputError):
        get(tmp_path, url)

    def careless(request: Request) -> None:
        del request.headers["If-Range"]
        Page(DATA, headers={"ETag": '"v2"'}).answer(request)

    web.put("/a", Page(DATA, headers={"ETag": '"v2"'}) if honest else careless)
    assert get(tmp_path, url).sha256 == SHA256
    assert web.ranges()[3:] == (["bytes=1000-"] if honest else ["bytes=1000-", None])


@pytest.mark.parametrize("headers", [{}, {"ETag": 'W/"v1"'}])
def test_without_a_sound_validator_the_size_must_agree(tmp_path: Path, web: WebServer, headers: dict[str, str]) -> None:
    url = web.put("/a", Page(b"x" * 5000, headers=headers, cuts=[1000, 0, 0]))
    with pytest.raises(InputError):
        get(tmp_path, url)
    web.put("/a", Page(DATA, headers=headers))
    assert get(tmp_path, url).sha256 == SHA256
    assert web.ranges()[3:] == ["bytes=1000-", None] and "If-Range" not in web.asked[3][1]


def test_a_shrunken_file_is_begun_anew(tmp_path: Path, web: WebServer) -> None:
    url = web.put("/a", Page(DATA, cuts=[1000, 0, 0]))
    with pytest.raises(InputError):
        get(tmp_path, url)
    web.put("/a", Page(b"small"))
    assert get(tmp_path, url).path.read_bytes() == b"small"


def test_a_server_that_ignores_ranges_sends_it_all_again(tmp_path: Path, web: WebServer) -> None:
    assert get(tmp_path, web.put("/a", Page(DATA, ranges=False, cuts=[1000]))).sha256 == SHA256
    assert web.ranges() == [None, "bytes=1000-"]


@pytest.mark.parametrize("span", ["bytes 0-1/5", "bytes 1001-102399/102400", "nonsense", "bytes 1000-102399/102401"])
def test_another_part_than_asked_for_is_not_taken(tmp_path: Path, web: WebServer, span: str) -> None:
    url = web.put("/a", Page(DATA, cuts=[1000, 0, 0]))
    with pytest.raises(InputError):
        get(tmp_path, url)
    web.put("/a", Page(DATA, headers={"Content-Range": span}))
    assert get(tmp_path, url).sha256 == SHA256
    assert web.ranges()[3:] == ["bytes=1000-", None]


def test_what_one_mirror_began_is_continued_there_first(tmp_path: Path, web: WebServer) -> None:
    slow = web.put("/slow", Page(DATA, cuts=[1000, 0, 0]))
    with pytest.raises(InputError, match="1,000 bytes are kept"):
        get(tmp_path, web.url("/first"), slow)
    web.put("/first", Page(b"x" * len(DATA)))
    assert get(tmp_path, web.url("/first"), slow).sha256 == SHA256
    assert web.paths()[-1] == "/slow" and web.ranges()[-1] == "bytes=1000-"


@pytest.mark.parametrize("pinned", [True, False])
def test_parts_of_two_mirrors_are_joined_only_under_a_pinned_hash(tmp_path: Path, web: WebServer, pinned: bool) -> None:
    one = web.put("/one", Page(DATA, headers={"ETag": '"one"'}, cuts=[1000, 0, 0]))
    two = web.put("/two", Page(DATA, headers={"ETag": '"two"'}))
    assert get(tmp_path, one, two, sha256=SHA256.upper() if pinned else None).sha256 == SHA256
    assert web.ranges()[-1] == ("bytes=1000-" if pinned else None)


def test_wrongly_joined_parts_are_fetched_again_whole(tmp_path: Path, web: WebServer) -> None:
    one = web.put("/one", Page(b"x" * len(DATA), cuts=[1000, 0, 0]))
    two = web.put("/two", Page(DATA))
    assert get(tmp_path, one, two, sha256=SHA256).path.read_bytes() == DATA
    assert web.ranges()[3:] == ["bytes=1000-", None]


def test_headway_renews_the_patience(tmp_path: Path, web: WebServer) -> None:
    big = os.urandom(7 * 2**20)
    page = Page(big, cuts=[2**20 + 5] * 6)
    assert get(tmp_path, web.put("/a", page)).path.read_bytes() == big
    web.put("/b", Page(big, ranges=False, cuts=[2**20 + 5] * 9))
    with pytest.raises(InputError, match="broke off"):
        get(tmp_path / "b", web.url("/b"))


@pytest.mark.parametrize("record", [b"", b"{", b'{"url": 3}', b'{"url": "x", "bytes": -1}'])
def test_a_damaged_record_begins_anew(tmp_path: Path, web: WebServer, record: bytes) -> None:
    (tmp_path / ".a.bin.part").write_bytes(b"wrong")
    (tmp_path / ".a.bin.origin.json").write_bytes(record)
    assert get(tmp_path, web.put("/a", Page(DATA))).sha256 == SHA256
    assert web.ranges() == [None]


CHILD = """
import sys
from pathlib import Path
from pipelines.download.checks import RemoteFile
from pipelines.download.fetch import fetch
fetch(RemoteFile("a.bin", (sys.argv[1],)), Path(sys.argv[2]))
"""


def test_killed_again_and_again_it_continues(tmp_path: Path, web: WebServer) -> None:
    """Each process is killed once a part has come; the next asks for the rest alone, and the last ends it."""
    steps = [0, 3000, 40_000]
    page = Page(DATA, headers={"ETag": '"v1"'}, cuts=list(steps), hang=threading.Event())
    url, had = web.put("/a", page), 0
    part = tmp_path / ".a.bin.part"
    for number, step in enumerate(steps, start=1):
        child = subprocess.Popen([sys.executable, "-c", CHILD, url, str(tmp_path)], cwd=ROOT)
        had += step
        wait_until(lambda: len(web.asked) == number and part.exists() and part.stat().st_size == had)  # noqa: B023
        child.send_signal(signal.SIGKILL)
        assert child.wait() == -signal.SIGKILL
        assert not (tmp_path / "a.bin").exists()
    assert get(tmp_path, url).path.read_bytes() == DATA
    assert web.ranges() == [None, None, "bytes=3000-", "bytes=43000-"]


@pytest.mark.parametrize("step", ["pipelines.download.partial.Partial.complete", "pathlib.Path.replace"])
def test_killed_at_the_very_end_it_asks_no_server_again(
    tmp_path: Path, web: WebServer, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    url = web.put("/a", Page(DATA))

    class Killed(BaseException):
        pass

    replace = Path.replace

    def kill(self: Path, *rest: Path) -> Path:
        if step.endswith("complete") or self.name.endswith(".part"):
            raise Killed
        return replace(self, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(step, kill)
        with pytest.raises(Killed):
            get(tmp_path, url)
    assert not (tmp_path / "a.bin").exists()
    assert get(tmp_path, url).sha256 == SHA256
    assert len(web.asked) == 1
