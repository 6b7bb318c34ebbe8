"""Fetching a file: from several addresses, continued where it stopped, verified, whole or not at all."""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.download.addresses import WebProblem
from pipelines.download.checks import HEAD, RemoteFile, Unexpected, check_head, check_whole, verify
from pipelines.download.partial import Origin, Partial, parse_content_range
from pipelines.errors import InputError
from pipelines.io.files import read_problem, write_problem
from pipelines.io.locks import held

if TYPE_CHECKING:
    from pipelines.download.web import Answer

# So many new bytes are a success: after them, failures are counted from the first again.
_HEADWAY = 2**20
# Of a file of unknown size: free bytes that must be left, and after how many bytes they are looked at again.
_RESERVE, _LOOK = 2**28, 2**24


@dataclass(frozen=True)
class Patience:
    """Limits on asking servers."""

    attempts: int = 5
    """Failures at one address before the next is tried."""
    first_wait: float = 1
    """Seconds before the second attempt; doubled for each that follows, and varied by half."""
    longest_wait: float = 60
    timeout: float = 30
    """Seconds of silence after which a server is given up."""
    sleep: Callable[[float], None] = time.sleep

    def wait(self, failures: int, asked: float) -> float:
        """Return the seconds to wait after so many failures, when the server asked for ``asked``."""
        backoff = self.first_wait * 2 ** (failures - 1) * random.uniform(0.5, 1.5)
        return min(max(backoff, asked), self.longest_wait)


def fetch(
    remote: RemoteFile,
    folder: Path,
    *,
    offline: bool = False,
    progress: Callable[[int, int | None], None] = lambda done, total: None,
    on_progress: Callable[[str], None] = lambda line: None,
    patience: Patience = Patience(),
) -> Path:
    """Return the file ``folder/remote.name``: verified if it exists, downloaded if it does not.

    What has come of a file lies beside its place until it is whole, and the next call continues from there,
    whether this one failed, was interrupted or was killed. A file that changed on the server is begun anew.

    Args:
        offline: ask no server.
        progress: is told the bytes that have come, and how many there are if that is known.
        on_progress: called with a line on each failure that is followed by another attempt, there or elsewhere.

    Raises:
        InputError: the file is not what it should be, is not to be had, or cannot be written.
        LockedError: another process downloads it at this moment.
    """
    if remote.name in ("", ".", "..") or not remote.name.isprintable() or {"/", "\\"} & set(remote.name):
        raise InputError(f"{remote.name!r} cannot be the name of a downloaded file; expected one without a folder.")
    partial = Partial(folder / remote.name)
    path = partial.target
    try:
        if path.exists():
            _check_existing(remote, partial)
            return path
        if offline or not remote.urls:
            why = ", and offline nothing is downloaded" if remote.urls else ""
            raise InputError(f"{path} is missing{why}. {_by_hand(remote, folder)}.")
        folder.mkdir(parents=True, exist_ok=True)
        with held(folder / f".{path.name}.lock", str(path), passing=True):
            if path.exists():
                _check_existing(remote, partial)
            else:
                _Download(remote, partial, patience, progress, on_progress).run()
    except OSError as problem:
        raise write_problem(path, problem) from problem
    return path


def _by_hand(remote: RemoteFile, folder: Path) -> str:
    return f"Download {remote.name} from {' or '.join(remote.urls) or 'its publisher'} and put it into {folder}"


def _check_existing(remote: RemoteFile, partial: Partial) -> None:
    """Refuse a file at hand that is neither the pinned one nor the one that was once downloaded."""
    path, origin = partial.target, partial.origin()
    if not path.is_file():
        raise InputError(f"{path} is not a file; move it out of the way.")
    try:
        sha256 = verify(remote, path)
    except Unexpected as wrong:
        raise InputError(
            f"{path} {wrong}. Remove it to download it again, or put the right file in its place."
        ) from wrong
    except OSError as problem:
        raise read_problem(path, problem) from problem
    if origin is not None and origin.sha256 not in (None, sha256) and remote.sha256 is None:
        raise InputError(
            f"{path} is no longer the file that was downloaded from {origin.url}. Remove it to download it again, "
            f"or remove {partial.record.name} beside it to use it as it is."
        )


@dataclass(frozen=True)
class _Download:
    """A download in progress."""

    remote: RemoteFile
    partial: Partial
    patience: Patience
    progress: Callable[[int, int | None], None]
    on_progress: Callable[[str], None]

    def run(self) -> None:
        """Bring the whole file into its place from the first address that gives it."""
        begun, problems = self.partial.origin(), []
        # The part that has arrived is one address's version; starting from another would discard it.
        urls = sorted(self.remote.urls, key=lambda url: begun is None or url != begun.url)
        for url in urls:
            try:
                return self._ask_until_whole(url)
            except WebProblem as problem:
                problems.append(f"{url} {problem}")
                if url != urls[-1]:
                    self.on_progress(f"{problems[-1]}; trying the next address")
        kept = self.partial.size()
        later = "try again later" + (f": {kept:,} bytes are kept and continued" if kept else "")
        advice = f"{_by_hand(self.remote, self.partial.target.parent)}, or {later}."
        raise InputError(f"Cannot download {self.remote.name}: {'; '.join(problems)}. {advice}")

    def _ask_until_whole(self, url: str) -> None:
        failures, highest = 0, self.partial.size()
        while True:
            try:
                return self._attempt(url)
            except WebProblem as problem:
                failures, size = failures + 1, self.partial.size()
                if size >= highest + _HEADWAY:
                    failures, highest = 1, size
                if not problem.temporary or failures >= self.patience.attempts:
                    raise
                wait = self.patience.wait(failures, problem.wait)
                self.on_progress(f"{url} {problem}; asking again in {wait:.0f} s")
                self.patience.sleep(wait)

    def _attempt(self, url: str) -> None:
        """Ask ``url`` for what is missing of the file, and put it into its place once nothing is.

        Raises:
            WebProblem: it is not whole yet, or not what it should be (then nothing is kept).
        """
        remote, partial = self.remote, self.partial
        # A pinned hash tells whether parts from two addresses belong together; nothing else does.
        origin = partial.usable(None if remote.sha256 else url)
        had = partial.size() if origin is not None else 0
        try:
            if origin is None or had != origin.bytes:
                origin = self._receive(url, origin)
            size = partial.size()
            if origin.bytes not in (None, size):
                raise WebProblem(f"broke off after {size:,} of {origin.bytes:,} bytes", temporary=True)
            sha256 = verify(remote, partial.path)
            if remote.sha256 is None:
                check_whole(partial.path, remote.kind)
        except Unexpected as wrong:
            partial.discard()
            # A file assembled from parts may be right when it arrives in one piece.
            raise WebProblem(f"sends a file that {wrong}", temporary=had > 0) from wrong
        partial.complete(origin.model_copy(update={"sha256": sha256, "bytes": size}))

    def _receive(self, url: str, begun: Origin | None) -> Origin:
        """Append what ``url`` sends to what has ``begun``, or start anew; return the version that it is of."""
        from pipelines.download.web import open_url  # slow to import; most files are at hand

        headers = {}
        if begun is not None:
            headers["Range"] = f"bytes={self.partial.size()}-"
            if begun.url == url and (condition := begun.condition()):
                headers["If-Range"] = condition
        # A pin or the format tells when a file that a server calls whole is not; else only what follows it does.
        exact = self.remote.sha256 is None and self.remote.bytes is None and self.remote.kind in ("binary", "text")
        timeout = self.patience.timeout
        try:
            with open_url(url, headers, timeout=timeout, seconds=4 * timeout, head_only=True, exact=exact) as answer:
                origin = self._accept(url, begun, answer)
                self._append(answer, origin)
                return origin
        except WebProblem as problem:
            if problem.status != 416 or begun is None:
                raise
            self.partial.discard()
            raise WebProblem("has changed since the download began", temporary=True) from problem

    def _accept(self, url: str, begun: Origin | None, answer: Answer) -> Origin:
        """Return the version that is being sent, after making room for it if it starts anew."""
        continued, headers = answer.response.status_code == 206, answer.response.headers
        span = parse_content_range(headers.get("Content-Range"))
        total = answer.length if not continued else span and span[2]
        found = Origin(url=url, etag=headers.get("ETag"), last_modified=headers.get("Last-Modified"), bytes=total)
        if continued and (begun is None or not span or span[0] != self.partial.size() or begun.contradicts(found)):
            self.partial.discard()
            raise WebProblem("has changed since the download began, or sends another part of it", temporary=True)
        if total is not None and self.remote.bytes not in (None, total):
            raise WebProblem(f"has {total:,} bytes, but {self.remote.bytes:,} are expected")
        if self.remote.kind == "binary" and answer.content_type == "text/html":
            raise WebProblem("sends a web page, not data")
        if continued and begun is not None:
            return begun
        self.partial.begin(found)
        return found

    def _append(self, answer: Answer, origin: Origin) -> None:
        done = self.partial.size()
        total = origin.bytes if origin.bytes is not None else self.remote.bytes
        self._check_space((total or 0) - done)
        seen = -_LOOK
        self.progress(done, total)
        unseen = done < HEAD
        with self.partial.path.open("ab") as file:
            for piece in answer.body(before=done):
                if total is None and done >= seen + _LOOK:
                    self._check_reserve()
                    seen = done
                file.write(piece)
                file.flush()
                done += len(piece)
                if total is not None and done > total:
                    raise Unexpected(f"has more than the {total:,} bytes that are expected")
                if unseen and done >= HEAD:
                    unseen = False
                    check_head(self.partial.path, self.remote.kind)
                self.progress(done, total)

    def _check_reserve(self) -> None:
        """Refuse to fill the disk with what has no known end."""
        folder = self.partial.target.parent
        if shutil.disk_usage(folder).free < _RESERVE:
            self.partial.discard()
            raise InputError(
                f"Cannot download {self.remote.name}: the server does not say how large it is, and {folder} "
                f"has room for less than {_RESERVE:,} bytes; what came is removed. Free some space first."
            )

    def _check_space(self, missing: int) -> None:
        folder = self.partial.target.parent
        free = shutil.disk_usage(folder).free
        if missing > free:
            raise InputError(
                f"Cannot download {self.remote.name}: {missing:,} bytes are missing and the disk of {folder} has room "
                f"for {free:,}; free some space and run the command again."
            )
