"""Pictures from the web: fetched in parallel yet politely, kept on disk, each within limits, none of them vital."""

from __future__ import annotations

import hashlib
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from pipelines.download.addresses import WebProblem, clean_url
from pipelines.io.files import read_problem, write_bytes

_MAGIC = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF8", b"BM", b"II*\0", b"MM\0*")
# Servers of files often know no better type.
_UNTYPED = ("application/octet-stream", "binary/octet-stream", "text/plain")
# Answers that will be the same tomorrow; kept, so that a later run does not ask again.
_GONE = (404, 410)


@dataclass(frozen=True)
class Limits:
    """Limits on what is asked of servers and what is taken from them."""

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
    """Let pictures lie on this machine or in a private network."""


class Passing(str):
    """The reason why a picture is missing for now: no network, a server in trouble, or no request made."""


def image_path(folder: Path, url: str) -> Path:
    """Return the place of the picture of ``url``: named by a hash, since an address can hold anything."""
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
    results: dict[str, Path | str] = dict.fromkeys(urls, "")
    hosts: dict[str, _Host] = {}
    done = 0

    def finish(url: str, result: Path | str) -> None:
        nonlocal done
        results[url], done = result, done + 1
        progress(done, len(results))

    for url in results:
        known = _kept(folder, url)
        if known is None and offline:
            known = Passing("is not at hand, and nothing is fetched offline")
        if known is None:
            try:
                hosts.setdefault(urlsplit(clean_url(url)).netloc, _Host()).urls.append(url)
            except WebProblem as problem:
                known = str(problem)
        if known is not None:
            finish(url, known)
    with closing(_fetch_all(list(hosts.values()), limits)) as fetched:
        for url, answer in fetched:
            finish(url, _keep(image_path(folder, url), answer))
    return results


def _kept(folder: Path, url: str) -> Path | str | None:
    """Return what an earlier run left: the picture or the reason why there is none."""
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
    """The pictures to get from one host, and a record of its failures."""

    urls: deque[str] = field(default_factory=deque)
    lock: threading.Lock = field(default_factory=threading.Lock)
    next_start: float = 0
    failures: int = 0
    last_problem: str = ""

    def turn(self, delay: float) -> float:
        """Return the seconds to wait before the next request to the host may start."""
        with self.lock:
            now = time.monotonic()
            start = max(now, self.next_start)
            self.next_start = start + delay
            return start - now

    def note(self, problem: WebProblem | None, limits: Limits) -> None:
        """Record the end of a request; after temporary failures, back off from the host for longer each time."""
        with self.lock:
            if problem is None or not problem.temporary:
                self.failures = 0
                return
            self.failures, self.last_problem = self.failures + 1, str(problem)
            pause = max(problem.wait, limits.delay * 2 ** min(self.failures, 6))
            self.next_start = max(self.next_start, time.monotonic() + min(pause, limits.longest_wait))


def _fetch_all(hosts: list[_Host], limits: Limits) -> Generator[tuple[str, bytes | WebProblem]]:
    """Yield each address with its picture or why there is none, as they come; hosts take turns."""
    stop = threading.Event()
    # A host stands here once for each request that it may have at one time and has not.
    free = deque(host for number in range(limits.per_host) for host in hosts if len(host.urls) > number)
    running: dict[Future[bytes | WebProblem], tuple[str, _Host]] = {}
    with ThreadPoolExecutor(limits.workers) as pool:
        try:
            while free or running:
                while free and len(running) < limits.workers:
                    host = free.popleft()
                    if host.urls:
                        url = host.urls.popleft()
                        running[pool.submit(_fetch_one, url, host, limits, stop)] = url, host
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    url, host = running.pop(future)
                    free.append(host)
                    yield url, future.result()
        finally:
            stop.set()


def _fetch_one(url: str, host: _Host, limits: Limits, stop: threading.Event) -> bytes | WebProblem:
    for attempt in range(1, limits.attempts + 1):
        if host.failures >= limits.give_up_after:
            reason = f"is on a host that failed {host.failures} times in a row: it {host.last_problem}"
            return WebProblem(reason, temporary=True)
        if stop.wait(host.turn(limits.delay)):
            break
        try:
            picture = _get(url, limits)
        except WebProblem as problem:
            host.note(problem, limits)
            if not problem.temporary or attempt == limits.attempts:
                return problem
        else:
            host.note(None, limits)
            return picture
    return WebProblem("was not asked for, because the run was stopped", temporary=True)


def _keep(path: Path, answer: bytes | WebProblem) -> Path | str:
    """Write a picture, or the reason why there will never be one."""
    if isinstance(answer, bytes):
        write_bytes(path, answer)
        return path
    if answer.status in _GONE:
        write_bytes(path.with_suffix(".reason"), str(answer).encode())
    return Passing(answer) if answer.temporary else str(answer)


def _get(url: str, limits: Limits) -> bytes:
    """Return the picture at ``url``.

    Raises:
        WebProblem: there is none within the limits.
    """
    from pipelines.download.web import open_url  # slow to import; most pictures are at hand

    with open_url(
        url,
        timeout=limits.timeout,
        seconds=limits.seconds,
        redirects=limits.redirects,
        allow_private=limits.allow_private,
    ) as answer:
        kind = answer.content_type
        if kind and not kind.startswith("image/") and kind not in _UNTYPED:
            raise WebProblem(f"is of the type {kind}, not an image")
        if (answer.length or 0) > limits.most_bytes:
            raise WebProblem(f"has {answer.length:,} bytes; at most {limits.most_bytes:,} are fetched")
        picture = bytearray()
        for piece in answer.body():
            picture += piece
            if len(picture) > limits.most_bytes:
                raise WebProblem(f"has more than the {limits.most_bytes:,} bytes that are fetched at most")
    webp, avif = picture[:4] == b"RIFF" and picture[8:12] == b"WEBP", picture[4:12] in (b"ftypavif", b"ftypavis")
    if not (picture.startswith(_MAGIC) or webp or avif):
        raise WebProblem("is not an image of a known kind")
    return bytes(picture)
