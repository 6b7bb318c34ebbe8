"""A download ends whole and verified, or says in a sentence what to do."""

from __future__ import annotations

import gzip
import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from pipelines.download.checks import RemoteFile
from pipelines.download.fetch import Patience, fetch
from pipelines.errors import InputError, MmsslError
from pipelines.io.locks import held
from pipelines.version import user_agent
from tests.helpers.download_cases import DATA, HTML, QUICK, SHA256, Fetched, get
from tests.helpers.http_server import Page, Request, Script, WebServer, unused_port, web_fixture  # noqa: F401


def test_a_file_comes_whole_and_is_then_at_hand(tmp_path: Path, web: WebServer) -> None:
    url = web.put("/a", Page(DATA))
    fetched = get(tmp_path / "deep" / "raw", url)
    assert fetched == Fetched(tmp_path / "deep" / "raw" / "a.bin", SHA256, url)
    assert fetched.path.read_bytes() == DATA
    assert not (fetched.path.parent / ".a.bin.part").exists()
    assert web.asked[0][1]["User-Agent"] == user_agent() and user_agent().startswith("mmssl")
    assert get(fetched.path.parent, url) == fetched
    assert fetch(RemoteFile("a.bin", ()), fetched.path.parent, offline=True) == fetched.path
    assert len(web.asked) == 1


def _chunked(body: bytes, whole: bool) -> Script:
    def script(request: Request) -> None:
        request.begin(200, {"Transfer-Encoding": "chunked"})
        request.wfile.write(b"%x\r\n%s\r\n" % (len(body), body) + (b"0\r\n\r\n" if whole else b"ff\r\nhal"))

    return script


def test_a_file_of_unknown_length(tmp_path: Path, web: WebServer) -> None:
    assert get(tmp_path, web.put("/a", Page(DATA, declared=-1))).sha256 == SHA256
    assert get(tmp_path / "b", web.put("/b", _chunked(DATA, whole=True))).sha256 == SHA256
    with pytest.raises(InputError, match="broke the connection off"):
        get(tmp_path / "c", web.put("/c", _chunked(DATA, whole=False)))


def test_mirrors_are_tried_in_order(tmp_path: Path, web: WebServer) -> None:
    closed = f"http://127.0.0.1:{unused_port()}/a"
    gone, html, good = web.url("/gone"), web.put("/html", Page(HTML)), web.put("/good", Page(gzip.compress(DATA)))
    lines: list[str] = []
    remote = RemoteFile("a.bin", (closed, gone, html, good), kind="gzip")
    fetch(remote, tmp_path, patience=QUICK, on_progress=lines.append)
    assert lines[-2:] == [
        f"{gone} answered 404 Not Found; trying the next address",
        f"{html} sends a file that is a web page, not gzip; trying the next address",
    ]
    assert web.paths() == ["/gone", "/html", "/good"]
    with pytest.raises(InputError) as caught:
        get(tmp_path / "b", closed, gone)
    assert f"{closed} cannot be reached (Connection refused); {gone} answered 404" in str(caught.value)


def test_waits_grow_and_heed_the_server(tmp_path: Path, web: WebServer) -> None:
    waits: list[float] = []
    lines: list[str] = []
    patience = Patience(attempts=4, first_wait=1, longest_wait=50, timeout=5, sleep=waits.append)
    remote = RemoteFile("a.bin", (web.put("/a", Page(status=503)),))
    with pytest.raises(InputError, match="answered 503"):
        fetch(remote, tmp_path, patience=patience, on_progress=lines.append)
    assert [0.5 <= waits[0] <= 1.5, 1 <= waits[1] <= 3, 2 <= waits[2] <= 6, len(waits)] == [True, True, True, 3]
    assert lines[0].startswith(f"{remote.urls[0]} answered 503 Service Unavailable; asking again in ")
    web.put("/a", Page(status=429, headers={"Retry-After": "30"}))
    with pytest.raises(InputError, match="answered 429"):
        fetch(remote, tmp_path, patience=patience)
    assert waits[3:] == [30, 30, 30]
    assert Patience().wait(20, 1e9) == 60


def test_what_cannot_get_better_is_not_asked_again(tmp_path: Path, web: WebServer) -> None:
    with pytest.raises(InputError, match="404"):
        get(tmp_path, web.url("/gone"))
    with pytest.raises(InputError, match="SHA-256"):
        get(tmp_path, web.put("/a", Page(DATA)), sha256="0" * 64)
    assert len(web.asked) == 2


def test_a_full_disk_is_said_and_what_came_is_kept(tmp_path: Path, web: WebServer) -> None:
    """/dev/full is a disk without room."""
    (tmp_path / ".a.bin.part").symlink_to("/dev/full")
    with pytest.raises(InputError, match=rf"Cannot write {tmp_path}/a.bin: the disk is full"):
        get(tmp_path, web.put("/a", Page(DATA)), web.put("/b", Page(DATA)))
    assert web.paths() == ["/a"]


def test_too_little_room_is_said_beforehand(tmp_path: Path, web: WebServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=102_399))
    with pytest.raises(InputError, match=r"102,400 bytes are missing and the disk of .* has room for 102,399"):
        get(tmp_path, web.put("/a", Page(DATA)))
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=102_400))
    assert get(tmp_path, web.url("/a")).sha256 == SHA256


def test_a_file_of_unknown_size_never_fills_the_disk(
    tmp_path: Path, web: WebServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipelines.download.fetch._LOOK", 2**15)
    free = iter([2**30, 2**30, 2**28 - 1])  # beforehand, at the first byte, and after the next 32 KiB
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=next(free)))
    with pytest.raises(InputError, match=r"does not say how large it is, .* what came is removed"):
        get(tmp_path, web.put("/a", _chunked(DATA, whole=True)))
    assert not (tmp_path / ".a.bin.part").exists() and not (tmp_path / "a.bin").exists()


def test_a_folder_that_cannot_be_made(tmp_path: Path, web: WebServer) -> None:
    (tmp_path / "raw").write_text("a file")
    with pytest.raises(InputError, match=r"Cannot write .*(in the way|not a folder)"):
        get(tmp_path / "raw", web.put("/a", Page(DATA)))


def test_offline_says_what_to_fetch_and_where_to_put_it(tmp_path: Path, web: WebServer) -> None:
    remote = RemoteFile("a.bin", (web.put("/a", Page(DATA)), "https://b.example/a"))
    with pytest.raises(InputError) as caught:
        fetch(remote, tmp_path, offline=True)
    expected = f"Download a.bin from {remote.urls[0]} or https://b.example/a and put it into {tmp_path}."
    assert expected in str(caught.value) and not web.asked and not list(tmp_path.iterdir())
    with pytest.raises(InputError, match=r"Download a.bin from its publisher"):
        get(tmp_path)


def test_a_file_put_there_by_hand_is_verified(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(DATA)
    assert get(tmp_path, "http://a.example/", sha256=SHA256, bytes=len(DATA)) == Fetched(path, SHA256, None)
    for settings, sentence in [
        ({"bytes": 1}, "has 102,400 bytes, but 1 are expected"),
        ({"sha256": "0" * 64}, "has the SHA-256"),
        ({"kind": "gzip"}, "is not gzip"),
    ]:
        with pytest.raises(InputError, match=rf"{path} {sentence}.*put the right file in its place"):
            get(tmp_path, "http://a.example/", **settings)
    path.write_bytes(HTML)
    with pytest.raises(InputError, match="is a web page"):
        get(tmp_path)
    path.unlink()
    path.mkdir()
    with pytest.raises(InputError, match="is not a file"):
        get(tmp_path)


def test_a_downloaded_file_is_verified_ever_after(tmp_path: Path, web: WebServer) -> None:
    url = web.put("/a", Page(DATA))
    get(tmp_path, url)
    (tmp_path / "a.bin").write_bytes(DATA[:-1] + b"!")
    with pytest.raises(InputError, match=r"no longer the file that was downloaded from .*remove \.a\.bin\.origin"):
        get(tmp_path, url)
    (tmp_path / ".a.bin.origin.json").unlink()
    assert get(tmp_path, url).url is None


@pytest.mark.parametrize("name", ["", "..", "a/b", "/etc/passwd", "a\\b", "a\nb", "a\0b"])
def test_a_name_that_is_no_file_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="cannot be the name of a downloaded file"):
        fetch(RemoteFile(name, ("http://a.example/",)), tmp_path)


def test_a_name_too_long_for_the_disk(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="File name too long"):
        fetch(RemoteFile("a" * 300, ("http://a.example/",)), tmp_path)


def test_progress_tells_what_has_come_and_of_how_much(tmp_path: Path, web: WebServer) -> None:
    told: list[tuple[int, int | None]] = []
    remote = RemoteFile("a.bin", (web.put("/a", Page(DATA, cuts=[1000])),))
    fetch(remote, tmp_path, progress=lambda *state: told.append(state), patience=QUICK)
    assert told[0] == (0, len(DATA)) and told.count((1000, len(DATA))) == 2 and told[-1] == (len(DATA), len(DATA))
    assert told == sorted(told)
    told.clear()
    fetch(RemoteFile("b.bin", (web.put("/b", Page(DATA, declared=-1)),)), tmp_path, progress=lambda *s: told.append(s))
    assert told[0] == (0, None) and told[-1] == (len(DATA), None)


def test_a_second_process_is_told_who_downloads(tmp_path: Path, web: WebServer) -> None:
    url = web.put("/a", Page(DATA))
    with (
        held(tmp_path / ".a.bin.lock", "it"),
        pytest.raises(MmsslError, match=rf"a\.bin is being written by process {os.getpid()}"),
    ):
        get(tmp_path, url)
    assert not web.asked and get(tmp_path, url).sha256 == SHA256
    assert not list(tmp_path.glob(".*.lock"))
    with pytest.raises(MmsslError):
        fetch(RemoteFile("b.bin", (web.url("/gone"),)), tmp_path, patience=QUICK)
    assert not list(tmp_path.glob(".*.lock"))
