"""HTTP with suspicion: what a server may do is bounded, and whatever goes wrong is one phrase."""

from __future__ import annotations

import http.client
import importlib.metadata
import re
import time
import urllib.request
from collections.abc import Iterator, Mapping
from functools import cache
from http.client import HTTPResponse
from urllib.error import HTTPError
from urllib.parse import quote, urljoin, urlsplit, urlunsplit

from pipelines.download.connections import WebProblem, check_name, explain, opener

CHUNK = 2**18
_REDIRECTS = (301, 302, 303, 307, 308)
_TOO_BUSY = (408, 425, 429)
# Fewer bytes than this in the time after which a silent server is given up count as silence too.
_SILENCE = 1024
_HOST = re.compile(r"[0-9a-z._-]+|[0-9a-f:.]+", re.ASCII)
_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)", re.ASCII)


def open_url(
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    timeout: float = 30,
    redirects: int = 5,
    allow_private: bool = True,
) -> HTTPResponse:
    """Ask for ``url`` and follow its redirects; the answer is of status 200, or 206 if ``headers`` have a Range.

    Args:
        timeout: seconds of silence after which the server is given up.
        redirects: how many are followed.
        allow_private: whether the host may be this machine or one of a private network.

    Raises:
        WebProblem: there is no such answer.
    """
    headers, seen = dict(headers or {}), set()
    for _ in range(redirects + 1):
        url = clean_url(url)
        if not allow_private:
            check_name(url)
        seen.add(url)
        request = urllib.request.Request(url, headers={"User-Agent": user_agent(), **headers})
        try:
            response: HTTPResponse = opener(allow_private).open(request, timeout=timeout)
        except HTTPError as answer:
            answer.close()
            if answer.code not in _REDIRECTS:
                raise _refusal(answer) from None
            url = redirected(url, answer.headers.get("Location"))
            if url in seen:
                raise WebProblem("redirects in a circle") from None
            continue
        except (OSError, http.client.HTTPException, ValueError) as problem:
            raise explain(problem) from problem
        if response.status == 200 or (response.status == 206 and "Range" in headers):
            return response
        response.close()
        raise WebProblem(f"answered {response.status} {response.reason} instead of a file", status=response.status)
    raise WebProblem(f"redirects more than {redirects} times")


def body(response: HTTPResponse, *, timeout: float, trust_length: bool = True, before: int = 0) -> Iterator[bytes]:
    """The bytes of an answer as they come, no more than it declares.

    Args:
        timeout: seconds in which next to nothing comes, after which the server is given up.
        trust_length: False looks behind the declared end as well.
        before: bytes of the file that came before those of this answer, for what is said of the whole.

    Raises:
        WebProblem: the connection breaks or stalls, fewer bytes come than declared, or more.
    """
    length = declared_length(response)
    # http.client closes at the declared end; whether more follows can be seen only from before it.
    end = None if length is None else max(length - (not trust_length), 0)
    done, mark, since = 0, 0, time.monotonic()
    try:
        while end is None or done < end:
            piece = response.read1(CHUNK if end is None else min(CHUNK, end - done))
            if not piece:
                break
            done += len(piece)
            yield piece
            if (now := time.monotonic()) - since > timeout:
                if done - mark < _SILENCE:
                    raise TimeoutError
                mark, since = done, now
        if done == end and length != end:
            last = response.fp.read(1)
            done += len(last)
            yield last
            if last and _more(response):
                raise WebProblem(f"sends more than the {before + done:,} bytes that it announces")
    except (OSError, http.client.HTTPException, ValueError) as problem:
        raise explain(problem) from problem
    if length is not None and done < length:
        raise WebProblem(f"broke off after {before + done:,} of {before + length:,} bytes", temporary=True)


def _more(response: HTTPResponse) -> bool:
    try:
        return bool(response.fp.peek(1))
    except TimeoutError:
        return False


def declared_length(response: HTTPResponse) -> int | None:
    """The Content-Length of an answer; None where it has none that counts."""
    text = response.headers.get("Content-Length", "")
    if response.headers.get("Transfer-Encoding") or not re.fullmatch(r"\d{1,18}", text, re.ASCII):
        return None
    return int(text)


def parse_content_range(text: str | None) -> tuple[int, int, int | None] | None:
    """First byte, last byte and total size (None for ``*``) of a Content-Range; None where it is not a sound one."""
    match = _RANGE.fullmatch((text or "").strip())
    if match is None:
        return None
    first, last = int(match[1]), int(match[2])
    total = None if match[3] == "*" else int(match[3])
    return (first, last, total) if first <= last and (total is None or last < total) else None


def clean_url(url: str) -> str:
    """``url`` as it can be sent: an http or https address, escaped where it must be, without a fragment.

    Raises:
        WebProblem: it is no such address.
    """
    try:
        parts = urlsplit(url.strip())
        host, port = (parts.hostname or "").encode("idna").decode(), parts.port
    except ValueError as problem:
        raise WebProblem("is not a valid address") from problem
    if parts.scheme not in ("http", "https"):
        raise WebProblem(f"is not an http or https address but {parts.scheme or 'without a scheme'}")
    if not _HOST.fullmatch(host) or "@" in parts.netloc:
        raise WebProblem("is not a valid address")
    place = (f"[{host}]" if ":" in host else host) + (f":{port}" if port is not None else "")
    path, query = (quote(part, safe="%/:=&?~+!$,;'@()*[]|") for part in (parts.path or "/", parts.query))
    return urlunsplit((parts.scheme, place, path, query, ""))


def redirected(url: str, location: str | None) -> str:
    """Where a redirect of ``url`` leads.

    Raises:
        WebProblem: nowhere, to another kind of address, or from https to http.
    """
    if not location:
        raise WebProblem("redirects to nowhere")
    try:
        target = clean_url(urljoin(url, location))
    except (WebProblem, ValueError) as problem:
        raise WebProblem(f"redirects to {location[:200]!r}, which is not an http or https address") from problem
    if url.startswith("https:") and not target.startswith("https:"):
        raise WebProblem(f"redirects from https to {target}, which is not encrypted")
    return target


@cache
def user_agent() -> str:
    """How the program names itself to servers."""
    try:
        return f"mmssl/{importlib.metadata.version('mmssl')}"
    except importlib.metadata.PackageNotFoundError:
        return "mmssl"


def _refusal(answer: HTTPError) -> WebProblem:
    wait = answer.headers.get("Retry-After", "")
    return WebProblem(
        f"answered {answer.code} {answer.reason}".rstrip(),
        temporary=answer.code >= 500 or answer.code in _TOO_BUSY,
        status=answer.code,
        wait=float(wait) if re.fullmatch(r"\d{1,6}", wait, re.ASCII) else 0,
    )
