"""One attempt to bring a file from one address, continuing what an earlier attempt left."""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPResponse
from pathlib import Path

from pipelines.download.checks import HEAD, Kind, Unexpected, check_head, check_whole
from pipelines.download.connections import WebProblem, time_limit
from pipelines.download.partial import Origin, Partial
from pipelines.download.progress import Meter
from pipelines.download.web import body, declared_length, open_url, parse_content_range
from pipelines.errors import InputError
from pipelines.io.files import sha256_of, write_problem


@dataclass(frozen=True)
class RemoteFile:
    """A file to fetch."""

    name: str
    """What it is called in the folder it comes into."""
    urls: tuple[str, ...]
    """Where it lies, in the order of trying."""
    sha256: str | None = None
    """Its hash in hexadecimal, where it is pinned."""
    bytes: int | None = None
    """Its size, where it is pinned."""
    kind: Kind = "binary"


@dataclass(frozen=True)
class Patience:
    """How long and how often servers are asked."""

    attempts: int = 5
    """Failures at one address before the next is tried."""
    first_wait: float = 1
    """Seconds before the second attempt; doubled for each that follows, and varied by half."""
    longest_wait: float = 60
    timeout: float = 30
    """Seconds of silence after which a server is given up."""
    sleep: Callable[[float], None] = time.sleep

    def wait(self, failures: int, asked: float) -> float:
        """Seconds to wait after so many failures, when the server asked for ``asked``."""
        backoff = self.first_wait * 2 ** (failures - 1) * random.uniform(0.5, 1.5)
        return min(max(backoff, asked), self.longest_wait)


@dataclass(frozen=True)
class Download:
    """A file on its way: what, to where, how patiently, and who is told."""

    remote: RemoteFile
    partial: Partial
    patience: Patience
    meter: Meter
    report: Callable[[str], None]


def verify(remote: RemoteFile, path: Path) -> str:
    """The SHA-256 of the file ``path``, which has the size, kind and hash that ``remote`` says.

    Raises:
        Unexpected: it has not.
        InputError: it cannot be read.
    """
    size = path.stat().st_size
    if remote.bytes not in (None, size):
        raise Unexpected(f"has {size:,} bytes, but {remote.bytes:,} are expected")
    check_head(path, remote.kind)
    sha256 = sha256_of(path)
    if remote.sha256 is not None and sha256 != remote.sha256.lower():
        raise Unexpected(f"has the SHA-256 {sha256}, but {remote.sha256} is expected")
    return sha256


def attempt(job: Download, url: str) -> None:
    """Ask ``url`` for what is missing of the file, and put it into its place once nothing is.

    Raises:
        WebProblem: it is not whole yet, or not what it should be (then nothing is kept).
        InputError: it cannot be written.
    """
    remote, partial = job.remote, job.partial
    # A pinned hash tells whether parts from two addresses belong together; nothing else does.
    origin = partial.usable(None if remote.sha256 else url)
    had = partial.size() if origin is not None else 0
    try:
        if origin is None or had != origin.bytes:
            response, origin = _ask(job, url, origin)
            with response:
                _append(job, response, origin)
        size = partial.size()
        if origin.bytes not in (None, size):
            raise WebProblem(f"broke off after {size:,} of {origin.bytes:,} bytes", temporary=True)
        sha256 = verify(remote, partial.path)
        if remote.sha256 is None:
            check_whole(partial.path, remote.kind)
    except Unexpected as wrong:
        partial.discard()
        # What was put together from parts may be right when it comes in one.
        raise WebProblem(f"sends a file that {wrong}", temporary=had > 0) from wrong
    partial.complete(origin.model_copy(update={"sha256": sha256, "bytes": size}))


def _ask(job: Download, url: str, begun: Origin | None) -> tuple[HTTPResponse, Origin]:
    """The answer that continues what has ``begun`` or starts anew, and the version that it is of."""
    headers = {}
    if begun is not None:
        headers["Range"] = f"bytes={job.partial.size()}-"
        if begun.url == url and (condition := begun.condition()):
            headers["If-Range"] = condition
    try:
        # Of the answer's head, which a server can send a byte at a time; the body has its own watch.
        with time_limit(4 * job.patience.timeout):
            response = open_url(url, headers=headers, timeout=job.patience.timeout)
    except WebProblem as problem:
        if problem.status == 416 and begun is not None:
            job.partial.discard()
            raise WebProblem("has changed since the download began", temporary=True) from problem
        raise
    try:
        return response, _accept(job, url, begun, response)
    except BaseException:
        response.close()
        raise


def _accept(job: Download, url: str, begun: Origin | None, response: HTTPResponse) -> Origin:
    """The version that is being sent, after making room for it if it starts anew."""
    partial, continued = job.partial, response.status == 206
    span = parse_content_range(response.headers.get("Content-Range"))
    total = declared_length(response) if not continued else span and span[2]
    etag, date = response.headers.get("ETag"), response.headers.get("Last-Modified")
    found = Origin(url=url, etag=etag, last_modified=date, bytes=total)
    if continued and (begun is None or span is None or span[0] != partial.size() or begun.contradicts(found)):
        partial.discard()
        raise WebProblem("has changed since the download began, or sends another part of it", temporary=True)
    if total is not None and job.remote.bytes not in (None, total):
        raise WebProblem(f"has {total:,} bytes, but {job.remote.bytes:,} are expected")
    if job.remote.kind == "binary" and response.headers.get_content_type() == "text/html":
        raise WebProblem("sends a web page, not data")
    if continued and begun is not None:
        return begun
    partial.begin(found)
    return found


def _append(job: Download, response: HTTPResponse, origin: Origin) -> None:
    remote, partial, done = job.remote, job.partial, job.partial.size()
    total = origin.bytes if origin.bytes is not None else remote.bytes
    _check_space(partial, (total or 0) - done)
    job.meter.start(done, total)
    unseen = done < HEAD
    # A pin or the format tells when a file that a server calls whole is not; else its connection may.
    trust = remote.sha256 is not None or remote.bytes is not None or remote.kind in ("gzip", "zip")
    try:
        with partial.path.open("ab") as file:
            for piece in body(response, timeout=job.patience.timeout, trust_length=trust, before=done):
                file.write(piece)
                file.flush()
                done += len(piece)
                if total is not None and done > total:
                    raise Unexpected(f"has more than the {total:,} bytes that are expected")
                if unseen and done >= HEAD:
                    unseen = False
                    check_head(partial.path, remote.kind)
                job.meter.update(done, total)
    except OSError as problem:
        raise write_problem(partial.target, problem) from problem


def _check_space(partial: Partial, missing: int) -> None:
    folder = partial.target.parent
    free = shutil.disk_usage(folder).free
    if missing > free:
        raise InputError(
            f"Cannot download {partial.target.name}: {missing:,} bytes are missing and the disk of {folder} has room "
            f"for {free:,}; free some space and run the command again."
        )
