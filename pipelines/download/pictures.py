"""Pictures from the web: fetched in parallel yet politely, kept on disk, each within limits, none of them vital."""

from __future__ import annotations

import hashlib
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from pipelines.download.connections import WebProblem, time_limit
from pipelines.download.web import body, clean_url, declared_length, open_url
from pipelines.io.files import read_problem, write_bytes

_MAGIC = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF8", b"BM", b"II*\0", b"MM\0*")
# Servers of files often know no better type.
_UNTYPED = ("application/octet-stream", "binary/octet-stream", "text/plain")
# Answers that will be the same tomorrow; kept, so that a later run does not ask again.
_GONE = (404, 410)


@dataclass(frozen=True)
class Limits:
    """What is asked of servers, and what is taken from them."""

    workers: int = 16
    """Pictures fetched at one time."""
    per_host: int = 4
    """Of those, at most from one host."""
    delay: float = 0.1
    """Seconds from one request to a host to the next."""
    attempts: int = 2
    give_up_after: int = 20
    """Failures of a host in a row after which it is asked no more."""
    timeout: float = 20
    """Seconds of silence after which a request is given up."""
    seconds: float = 60
    """For one request in all."""
    longest_wait: float = 60
    """Seconds that a busy host can make the run wait for its sake."""
    most_bytes: int = 20 * 2**20
    redirects: int = 3
    allow_private: bool = False
    """Whether pictures may lie on this machine or in a private network."""


class Passing(str):
    """Why a picture is not there now, though it may be later: no network, a server in trouble, or nobody asked."""


def image_path(folder: Path, url: str) -> Path:
    """Where the picture of ``url`` is kept: named by a hash, since an address can hold anything."""
    name = hashlib.sha256(url.encode(errors="surrogatepass")).hexdigest()
    return folder / name[:2] / name


def fetch_images(
    urls: Iterable[str],
    folder: Path,
    *,
    offline: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
    limits: Limits = Limits(),
) -> dict[str, Path | str]:
    """Fetch pictures that are not in ``folder`` yet; url -> its file there, or the reason why there is none.

    A reason that a later run may not meet is of the class ``Passing``: ``offline``, a host without an address or given
    up, silence, a broken connection, and answers that a server is busy or in trouble. Any other is a plain str, and
    final: an answer such as 404, what is no picture or too large, and an address or certificate that is refused.

    Pictures appear whole or not at all, so an interrupted or killed run continues where it was. What a server says is
    gone is noted, as a file .reason, and not asked for again; what fails otherwise is, by the next run.

    Args:
        offline: ask no server.
        progress: is told how many addresses are dealt with, and of how many.

    Raises:
        InputError: ``folder`` cannot be written. A picture that cannot be had is no error.
    """
    run = _Run(folder, limits, progress, dict.fromkeys(urls, ""))
    hosts: dict[str, _Host] = {}
    for url in run.results:
        known = _kept(folder, url)
        if known is None and offline:
            known = Passing("is not at hand, and nothing is fetched offline")
        if known is None:
            try:
                hosts.setdefault(urlsplit(clean_url(url)).netloc, _Host()).urls.append(url)
            except WebProblem as problem:
                known = str(problem)
        if known is not None:
            run.finish(url, known)
    _fetch_all(run, list(hosts.values()))
    return run.results


def _kept(folder: Path, url: str) -> Path | str | None:
    """What an earlier run left: the picture or the reason why there is none."""
    path = image_path(folder, url)
    try:
        if path.exists():
            return path
        return path.with_suffix(".reason").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as problem:
        raise read_problem(path, problem) from problem


@dataclass
class _Host:
    """The pictures to get from one host, and how it behaves."""

    urls: deque[str] = field(default_factory=deque)
    lock: threading.Lock = field(default_factory=threading.Lock)
    next_start: float = 0
    failures: int = 0
    last_problem: str = ""

    def turn(self, delay: float) -> float:
        """Seconds to wait before the next request to the host may start."""
        with self.lock:
            now = time.monotonic()
            start = max(now, self.next_start)
            self.next_start = start + delay
            return start - now

    def note(self, problem: WebProblem | None, limits: Limits) -> None:
        """Hear how a request ended: a host in trouble is left in peace for a while, the longer the worse it is."""
        with self.lock:
            if problem is None or not problem.temporary:
                self.failures = 0
                return
            self.failures, self.last_problem = self.failures + 1, str(problem)
            pause = max(problem.wait, limits.delay * 2 ** min(self.failures, 6))
            self.next_start = max(self.next_start, time.monotonic() + min(pause, limits.longest_wait))


class _Run:
    """What the threads share."""

    def __init__(
        self, folder: Path, limits: Limits, progress: Callable[[int, int], None], results: dict[str, Path | str]
    ) -> None:
        self.folder, self.limits, self.results = folder, limits, results
        self.stop = threading.Event()
        self._progress, self._done, self._lock = progress, 0, threading.Lock()

    def finish(self, url: str, result: Path | str) -> None:
        """Note what became of ``url``."""
        with self._lock:
            self.results[url] = result
            self._done += 1
            self._progress(self._done, len(self.results))

    def keep(self, path: Path, content: bytes) -> None:
        """Write a file, one at a time."""
        with self._lock:
            write_bytes(path, content)


def _fetch_all(run: _Run, hosts: list[_Host]) -> None:
    """Empty the queues of the hosts, each in as many threads as it may have, the first thread of each before others."""
    with ThreadPoolExecutor(run.limits.workers) as pool:
        threads = [
            pool.submit(_drain, run, host)
            for number in range(run.limits.per_host)
            for host in hosts
            if len(host.urls) > number
        ]
        try:
            for thread in as_completed(threads):
                thread.result()
        except BaseException:
            run.stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _drain(run: _Run, host: _Host) -> None:
    while not run.stop.is_set():
        try:
            url = host.urls.popleft()
        except IndexError:
            return
        run.finish(url, _fetch_one(run, host, url))


def _fetch_one(run: _Run, host: _Host, url: str) -> Path | str:
    limits, path = run.limits, image_path(run.folder, url)
    for attempt in range(1, limits.attempts + 1):
        if host.failures >= limits.give_up_after:
            return Passing(f"is on a host that failed {host.failures} times in a row: it {host.last_problem}")
        if run.stop.wait(host.turn(limits.delay)):
            break
        try:
            picture = _get(url, limits)
        except WebProblem as problem:
            host.note(problem, limits)
            if problem.status in _GONE:
                run.keep(path.with_suffix(".reason"), str(problem).encode())
            if not problem.temporary or attempt == limits.attempts:
                return Passing(problem) if problem.temporary else str(problem)
        else:
            host.note(None, limits)
            run.keep(path, picture)
            return path
    return Passing("was not asked for, because the run was stopped")


def _get(url: str, limits: Limits) -> bytes:
    """The picture at ``url``.

    Raises:
        WebProblem: there is none within the limits.
    """
    with (
        time_limit(limits.seconds),
        open_url(
            url, timeout=limits.timeout, redirects=limits.redirects, allow_private=limits.allow_private
        ) as response,
    ):
        kind = response.headers.get_content_type()
        if "Content-Type" in response.headers and not kind.startswith("image/") and kind not in _UNTYPED:
            raise WebProblem(f"is of the type {kind}, no picture")
        if (declared_length(response) or 0) > limits.most_bytes:
            raise WebProblem(f"has {declared_length(response):,} bytes; at most {limits.most_bytes:,} are fetched")
        picture = bytearray()
        for piece in body(response, timeout=limits.timeout):
            picture += piece
            if len(picture) > limits.most_bytes:
                raise WebProblem(f"has more than the {limits.most_bytes:,} bytes that are fetched at most")
    webp, avif = picture[:4] == b"RIFF" and picture[8:12] == b"WEBP", picture[4:12] in (b"ftypavif", b"ftypavis")
    if not (picture.startswith(_MAGIC) or webp or avif):
        raise WebProblem("is no picture of a known kind")
    return bytes(picture)
