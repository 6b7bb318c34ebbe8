"""HTTP from untrusted servers: answers bounded in time and size, every failure described in one phrase."""

from __future__ import annotations

import math
import re
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import cache, partial
from typing import Any, cast

import httpx2

from pipelines.download.addresses import WebProblem, clean_url, private_address, private_name, redirected
from pipelines.version import user_agent

_REDIRECTS = (301, 302, 303, 307, 308)
_TOO_BUSY = (408, 425, 429)
_READ = 2**16
# Fewer bytes than this in the time after which a silent server is given up count as silence too.
_SILENCE = 1024
_ERRORS = (OSError, ValueError, ImportError, httpx2.HTTPError, httpx2.InvalidURL)
_NUMBER = re.compile(r"\d{1,18}", re.ASCII)


class Answer:
    """The answer to a request, its body still to come, and the connection that brings it.

    The connection ends at a deadline, since a server that sends a byte now and then never meets a timeout. It leads
    to no private address if it is ``public_only``; ``private`` is a phrase on the address if it leads to one.
    """

    response: httpx2.Response

    def __init__(
        self, url: str, timeout: float, seconds: float, deadline: float, *, public_only: bool, exact: bool
    ) -> None:
        self.host, self.timeout, self.seconds, self.deadline = httpx2.URL(url).raw_host, timeout, seconds, deadline
        self.public_only, self.exact = public_only, exact
        self.private: str | None = None
        self._largest_read = 1 if exact else _READ  # so that nothing of the body comes with the head
        self._direct, self._received, self._ended, self._begun = True, 0, False, False

    def trace(self, event: str, info: dict[str, Any]) -> None:
        """Check a step of the connection, as the ``trace`` extension of httpx2; an exception ends the connection."""
        if event == "connection.connect_tcp.started":
            self._direct = info["host"].encode() == self.host  # a proxy is the user's own, wherever it is
        elif event.endswith(("connect_tcp.complete", "start_tls.complete")):
            stream = info["return_value"]
            # The address that was reached counts, not what the name meant a moment ago.
            self.private = private_address(stream.get_extra_info("server_addr")[0]) if self._direct else None
            if self.private and self.public_only:
                stream.close()
                raise WebProblem(self.private)
            stream.read = partial(self._read, stream.read)

    def _read(self, read: Callable[[int, float], bytes], max_bytes: int, timeout: float) -> bytes:
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        data = read(min(max_bytes, self._largest_read), min(timeout, left))
        self._received, self._ended = self._received + len(data), not data
        return data

    def begin(self, response: httpx2.Response, deadline: float) -> None:
        """Take the head of the answer; the body has to end at ``deadline``."""
        if not self._received:
            raise WebProblem("cannot be asked safely: this version of httpx2 does not tell of its connections")
        self.response, self.deadline, self._begun = response, deadline, True
        self._received, self._largest_read = 0, _READ

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Turn the errors of a ``with`` block into phrases."""
        try:
            yield
        except _ERRORS as problem:
            if time.monotonic() >= self.deadline:
                raise WebProblem(f"took longer than {self.seconds:.0f} seconds", temporary=True) from problem
            # A server that sends anything but HTTP before it hangs up is no web server.
            if self._ended and (self._begun or not self._received):
                raise WebProblem("broke the connection off", temporary=True) from problem
            raise explain(problem) from problem

    @property
    def length(self) -> int | None:
        """The declared number of bytes; None where none that counts is declared."""
        headers = self.response.headers
        text = headers.get("Content-Length", "") if "Transfer-Encoding" not in headers else ""
        return int(text) if _NUMBER.fullmatch(text) else None

    @property
    def content_type(self) -> str:
        """Type and subtype without parameters; empty where it declares none."""
        return self.response.headers.get("Content-Type", "").partition(";")[0].strip().lower()

    def body(self, before: int = 0) -> Iterator[bytes]:
        """Yield the bytes as they come.

        Args:
            before: bytes of the file that came before those of this answer, for what is said of the whole.

        Raises:
            WebProblem: the connection breaks or stalls, fewer bytes come than declared, or more.
        """
        length, done, mark, since = self.length, 0, 0, time.monotonic()
        try:
            with self.explained():
                # Unlike iter_raw(), it does not close the connection at the end of the body.
                for piece in cast(httpx2.SyncByteStream, self.response.stream):
                    done += len(piece)
                    yield piece
                    if (now := time.monotonic()) - since > self.timeout:
                        if done - mark < _SILENCE:
                            raise TimeoutError
                        mark, since = done, now
        except WebProblem as problem:
            if length is None or not self._ended:
                raise
            whole = f"{before + done:,} of {before + length:,} bytes"
            raise WebProblem(f"broke off after {whole}", temporary=True) from problem
        if self.exact and length is not None and self._goes_on(length):
            raise WebProblem(f"sends more than the {before + length:,} bytes that it announces")

    def _goes_on(self, length: int) -> bool:
        """Return True if more bytes follow the declared ones."""
        try:
            stream = self.response.extensions["network_stream"]
            return self._received > length or stream.read(1, min(self.timeout, 1)) != b""
        except Exception:  # of the core of httpx2: a connection that stays open, or breaks
            return False


@contextmanager
def open_url(
    url: str,
    headers: Mapping[str, str] | None = None,
    *,
    timeout: float = 30,
    seconds: float = 120,
    head_only: bool = False,
    redirects: int = 5,
    allow_private: bool = True,
    exact: bool = False,
) -> Iterator[Answer]:
    """Ask for ``url`` and follow its redirects; the answer is of status 200, or 206 if ``headers`` have a Range.

    Args:
        timeout: seconds of silence after which the server is given up.
        seconds: for all of it, or for what comes before the body if ``head_only``.
        redirects: how many are followed.
        allow_private: let the host be this machine or one of a private network; only such a host may redirect to
            another one.
        exact: look behind the declared end of the body as well.

    Raises:
        WebProblem: there is no such answer.
    """
    deadline, seen = time.monotonic() + seconds, set()
    sent = {"User-Agent": user_agent(), "Accept-Encoding": "identity", "Connection": "close", **(headers or {})}
    for _ in range(redirects + 1):
        url = clean_url(url)
        private = private_name(url)
        if private and not allow_private:
            raise WebProblem(private)
        seen.add(url)
        answer = Answer(url, timeout, seconds, deadline, public_only=not allow_private, exact=exact)
        with ExitStack() as stack:
            with answer.explained():
                client = stack.enter_context(httpx2.Client(verify=tls(), timeout=timeout))
                request = client.stream("GET", url, headers=sent, extensions={"trace": answer.trace})
                response = stack.enter_context(request)
            status = response.status_code
            if status == 200 or (status == 206 and "Range" in sent):
                answer.begin(response, math.inf if head_only else deadline)
                yield answer
                return
            if status not in _REDIRECTS:
                raise _refusal(response)
            url = redirected(url, response.headers.get("Location"))
            if url in seen:
                raise WebProblem("redirects in a circle")
            allow_private = allow_private and bool(private or answer.private)
    raise WebProblem(f"redirects more than {redirects} times")


def _refusal(response: httpx2.Response) -> WebProblem:
    """Return the phrase for an answer that is no file."""
    status, wait = response.status_code, response.headers.get("Retry-After", "")
    return WebProblem(
        f"answered {status} {response.reason_phrase}".rstrip() + (" instead of a file" if status < 300 else ""),
        temporary=status >= 500 or status in _TOO_BUSY,
        status=status,
        wait=float(wait) if _NUMBER.fullmatch(wait) else 0,
    )


@cache
def tls() -> ssl.SSLContext:
    """Return the certificates to trust: the system's, or those of $SSL_CERT_FILE."""
    return httpx2.create_ssl_context()


def explain(problem: Exception) -> WebProblem:
    """Return the phrase for what a connection raised."""
    # httpx2 raises from what its core raises, which holds what the system raised.
    inner = (problem.__cause__ or problem).args[:1]
    cause = inner[0] if inner and isinstance(inner[0], Exception) else problem
    if isinstance(problem, (TimeoutError, httpx2.TimeoutException)):
        return WebProblem("stopped answering", temporary=True)
    if isinstance(cause, ssl.SSLCertVerificationError):
        return WebProblem(f"has a certificate that is not trusted ({cause.verify_message})")
    if isinstance(cause, socket.gaierror):
        return WebProblem("has a host name that cannot be resolved", temporary=True)
    if isinstance(cause, (ConnectionResetError, BrokenPipeError)):
        return WebProblem("broke the connection off", temporary=True)
    if isinstance(cause, OSError):
        return WebProblem(f"cannot be reached ({cause.strerror or cause})", temporary=True)
    if isinstance(problem, httpx2.ProxyError):
        return WebProblem(f"cannot be reached (its proxy says {problem})", temporary=True)
    return WebProblem(f"does not answer as a web server should ({str(problem)[:100] or type(problem).__name__})")
