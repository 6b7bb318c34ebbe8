"""Nothing that a data set names leads to this machine or its network, whatever the detour; TLS is what it should be."""

from __future__ import annotations

import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.download import web as http
from pipelines.download.addresses import WebProblem, private_address
from pipelines.download.pictures import Limits, fetch_images
from pipelines.download.web import open_url
from pipelines.errors import InputError
from tests.helpers.download_cases import DATA, HERE, SHA256, get, picture, reason
from tests.helpers.http_server import Page, Request, WebServer, web_fixture  # noqa: F401

PUBLIC = ["93.184.216.34", "8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8"]
PRIVATE = [
    *("127.0.0.1", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1"),
    *("::1", "::", "fe80::1", "fe80::1%2", "fc00::1", "ff02::1", "::ffff:127.0.0.1", "2002:7f00:1::", "64:ff9b::a00:1"),
]


@pytest.mark.parametrize("address", PUBLIC)
def test_addresses_of_the_internet_are_public(address: str) -> None:
    assert private_address(address) is None


@pytest.mark.parametrize("address", PRIVATE)
def test_special_addresses_are_not(address: str) -> None:
    assert private_address(address) == f"is at {address}, an address of a private network"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "169.254.169.254", "10.1.2.3", "db.internal", "0"])
def test_private_addresses_are_refused(tmp_path: Path, web: WebServer, host: str) -> None:
    port = web.host.split(":")[1]
    answer = reason(tmp_path, f"http://{host}:{port}/a", Limits(delay=0, attempts=1))
    assert "private network" in answer and not web.asked


def _resolve_to_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    resolve = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, *rest, **more: resolve("127.0.0.1", *rest, **more))


def test_a_name_that_means_a_private_address_is_refused(
    tmp_path: Path, web: WebServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    web.put("/a", picture())
    monkeypatch.setenv("no_proxy", "*")
    _resolve_to_loopback(monkeypatch)
    url = f"http://pictures.example:{web.host.split(':')[1]}/a"
    assert reason(tmp_path, url, Limits(delay=0)) == "is at 127.0.0.1, an address of a private network"
    assert not web.asked
    assert isinstance(fetch_images([url], tmp_path, limits=HERE)[url], Path)


def test_a_private_host_hears_not_even_the_beginning_of_tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")
    _resolve_to_loopback(monkeypatch)
    heard: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def listen() -> None:
            connection, _ = listener.accept()
            heard.append(connection.recv(100))

        thread = threading.Thread(target=listen)
        thread.start()
        url = f"https://pictures.example:{listener.getsockname()[1]}/a"
        assert "an address of a private network" in reason(tmp_path, url, Limits(delay=0))
        thread.join(10)
    assert heard == [b""]


def test_a_redirect_to_a_private_address_is_refused(
    tmp_path: Path, web: WebServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For once, the server of the test counts as public."""
    monkeypatch.setenv("no_proxy", "*")
    _resolve_to_loopback(monkeypatch)
    monkeypatch.setattr(http, "private_address", lambda ip: None if ip == "127.0.0.1" else private_address(ip))
    url = web.put("/a", Page(status=302, headers={"Location": "http://169.254.169.254/latest/meta-data"}))
    assert (
        reason(tmp_path, url.replace("127.0.0.1", "public.example"), Limits(delay=0))
        == "is at 169.254.169.254, an address of a private network"
    )
    assert web.paths() == ["/a"]


def test_only_a_private_host_may_redirect_a_raw_file_to_another(
    tmp_path: Path, web: WebServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first connection of each download counts as one to the internet, then as what it is."""
    reached: list[str] = []

    def first_is_public(address: str) -> str | None:
        reached.append(address)
        return None if len(reached) == 1 else private_address(address)

    monkeypatch.setenv("no_proxy", "*")
    _resolve_to_loopback(monkeypatch)
    monkeypatch.setattr(http, "private_address", first_is_public)
    there = f"http://inner.example:{web.host.split(':')[1]}/b"
    url = web.put("/a", Page(status=302, headers={"Location": there})).replace("127.0.0.1", "public.example")
    web.put("/b", Page(DATA))
    with pytest.raises(InputError, match=r"is at 127\.0\.0\.1, an address of a private network"):
        get(tmp_path, url)
    assert web.paths() == ["/a"] and reached == ["127.0.0.1", "127.0.0.1"]
    assert get(tmp_path, url).sha256 == SHA256


@pytest.fixture
def forgetful() -> Iterator[None]:
    """Clear the settings read from the environment before and after a test."""
    http.tls.cache_clear()
    yield
    http.tls.cache_clear()


def test_a_proxy_may_be_private_but_what_it_is_asked_for_may_not(
    tmp_path: Path, web: WebServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", web.url(""))
    url = "http://pictures.example/a"
    web.put(url, picture())
    web.put("http://10.1.2.3/a", picture())
    limits = Limits(delay=0)
    assert isinstance(fetch_images([url], tmp_path, limits=limits)[url], Path)
    assert "private network" in reason(tmp_path, "http://10.1.2.3/a", limits)
    assert "private network" in reason(tmp_path, web.url("/a"), limits)
    assert web.paths() == [url]


@pytest.fixture
def certificate(tmp_path: Path, forgetful: None) -> Path:
    """A self-signed certificate of 127.0.0.1 with its key."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl makes the certificate")
    path = tmp_path / "both.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=test"
    command += " -addext subjectAltName=IP:127.0.0.1"
    subprocess.run([*command.split(), "-keyout", path, "-out", tmp_path / "cert.pem"], check=True, capture_output=True)
    path.write_bytes(path.read_bytes() + (tmp_path / "cert.pem").read_bytes())
    return path


def test_a_certificate_counts(tmp_path: Path, certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")
    with WebServer(certificate).running() as secure, WebServer().running() as plain:
        url = secure.put("/a", Page(DATA))
        with pytest.raises(InputError, match=r"has a certificate that is not trusted"):
            get(tmp_path, url)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        http.tls.cache_clear()
        assert get(tmp_path, url).sha256 == SHA256
        away = secure.put("/away", Page(status=302, headers={"Location": plain.put("/a", Page(DATA))}))
        with pytest.raises(InputError, match=r"redirects from https to .*, which is not encrypted"):
            get(tmp_path / "b", away)
        assert not plain.asked
        assert get(tmp_path / "c", plain.put("/up", Page(status=302, headers={"Location": url}))).sha256 == SHA256
        with (
            pytest.raises(WebProblem, match="took longer than 1 seconds"),
            open_url(secure.put("/slow", slow), seconds=1),
        ):
            pass


def slow(request: Request) -> None:
    for _ in range(1000):
        request.wfile.write(b"HTTP/1.1 200 OK\r\n" if request.requestline else b"X")
        request.requestline = ""
        time.sleep(0.02)
