"""Connections that are under control: they end in time, reach no private network unless allowed, follow nothing."""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from http.client import HTTPResponse
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from urllib.error import URLError
from urllib.parse import urlsplit

_TRANSLATED = IPv6Network("64:ff9b::/96")


class WebProblem(Exception):
    """Why an address gave nothing, as a phrase that follows the address.

    temporary: whether to ask again may help. status: the server's, where it gave one. wait: seconds it asked for.
    """

    def __init__(self, reason: str, *, temporary: bool = False, status: int | None = None, wait: float = 0) -> None:
        super().__init__(reason)
        self.temporary, self.status, self.wait = temporary, status, wait


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """End the connections that this thread opens in a ``with`` block when it takes longer than ``seconds``.

    A timeout of a socket is not enough: a server that sends a byte now and then never meets it.

    Raises:
        WebProblem: it took longer.
    """
    limit = _Limit()
    timer = threading.Timer(seconds, limit.expire)
    timer.daemon = True
    timer.start()
    _here.limit = limit
    try:
        yield
    except WebProblem:
        if not limit.expired:
            raise
    finally:
        _here.limit = None
        timer.cancel()
        limit.close()
    if limit.expired:
        raise WebProblem(f"took longer than {seconds:.0f} seconds", temporary=True)


class _Limit:
    """The connections to end when the time is up."""

    def __init__(self) -> None:
        self.expired = False
        self._sockets: list[socket.socket] = []
        self._lock = threading.Lock()

    def add(self, connection: socket.socket) -> None:
        with self._lock:
            if self.expired:
                raise TimeoutError
            # A duplicate, because TLS takes the original over.
            self._sockets.append(connection.dup())

    def expire(self) -> None:
        with self._lock:
            self.expired = True
            for connection in self._sockets:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        with self._lock:
            for connection in self._sockets:
                connection.close()


class _Here(threading.local):
    limit: _Limit | None = None


_here = _Here()


class _Plain(http.client.HTTPConnection):
    """A connection that ends in time and, if ``guarded``, speaks to no private address."""

    guarded = False

    def connect(self) -> None:
        super().connect()
        if _here.limit is not None:
            _here.limit.add(self.sock)
        # The address that was reached counts, not what the name meant a moment ago. A proxy is the user's own.
        if self.guarded and self.host not in _proxies():
            check_public(self.sock.getpeername()[0])


class _Secure(http.client.HTTPSConnection, _Plain):
    """The same with TLS, which begins after the checks."""


class _Handler(urllib.request.HTTPHandler, urllib.request.HTTPSHandler):
    def __init__(self, context: ssl.SSLContext, guarded: bool) -> None:
        super().__init__()
        self._tls, self._guarded = context, guarded

    def http_open(self, req: urllib.request.Request) -> HTTPResponse:
        return self.do_open(self._make(_Plain), req)

    def https_open(self, req: urllib.request.Request) -> HTTPResponse:
        return self.do_open(self._make(_Secure), req, context=self._tls)

    def _make(self, kind: type[_Plain]) -> Callable[..., _Plain]:
        def make(*args: object, **settings: object) -> _Plain:
            connection = kind(*args, **settings)  # type: ignore[arg-type]
            connection.guarded = self._guarded
            return connection

        return make


@cache
def opener(allow_private: bool) -> urllib.request.OpenerDirector:
    """An opener of http and https alone, that follows no redirect by itself."""
    made = urllib.request.OpenerDirector()
    made.add_handler(urllib.request.ProxyHandler())
    made.add_handler(_Handler(ssl.create_default_context(), not allow_private))
    made.add_handler(urllib.request.HTTPDefaultErrorHandler())
    made.add_handler(urllib.request.HTTPErrorProcessor())
    return made


@cache
def _proxies() -> frozenset[str | None]:
    addresses = urllib.request.getproxies().values()
    return frozenset(urlsplit(text if "://" in text else f"http://{text}").hostname for text in addresses)


def check_name(url: str) -> None:
    """Refuse the address of a host whose name says that it is private.

    Raises:
        WebProblem: it says so.
    """
    host = urlsplit(url).hostname or ""
    if host == "localhost" or host.endswith((".localhost", ".local", ".internal")):
        raise WebProblem(f"is on {host}, a machine of a private network")
    with suppress(ValueError):
        check_public(host)


def check_public(address: str) -> None:
    """Refuse an IP address that is not one of the public internet.

    Raises:
        WebProblem: it is this machine's, a private network's or otherwise special.
        ValueError: it is not an IP address.
    """
    ip = ip_address(address)
    if isinstance(ip, IPv6Address):
        # Addresses that stand for one of IPv4.
        inner = IPv4Address(int(ip) % 2**32) if ip in _TRANSLATED else ip.ipv4_mapped or ip.sixtofour
        ip = inner or ip
    if not ip.is_global or ip.is_multicast:
        raise WebProblem(f"is at {address}, an address of a private network")


def explain(problem: Exception) -> WebProblem:
    """The phrase for what a connection raised."""
    if isinstance(problem, URLError) and isinstance(problem.reason, Exception):
        problem = problem.reason
    if isinstance(problem, TimeoutError):
        return WebProblem("stopped answering", temporary=True)
    if isinstance(problem, ssl.SSLCertVerificationError):
        return WebProblem(f"has a certificate that is not trusted ({problem.verify_message})")
    if isinstance(problem, socket.gaierror):
        return WebProblem("has a host name that cannot be resolved", temporary=True)
    if isinstance(problem, (http.client.IncompleteRead, http.client.RemoteDisconnected, ConnectionResetError)):
        return WebProblem("broke the connection off", temporary=True)
    if isinstance(problem, OSError):
        return WebProblem(f"cannot be reached ({problem.strerror or problem})", temporary=True)
    if isinstance(problem, http.client.InvalidURL):
        return WebProblem("is not a valid address")
    return WebProblem(f"does not answer as a web server should ({str(problem)[:100] or type(problem).__name__})")
