"""Fetching a file: continued where it stopped, from several addresses, verified, whole or not there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pipelines.download.attempt import Download, Patience, RemoteFile, attempt, verify
from pipelines.download.checks import Unexpected
from pipelines.download.connections import WebProblem
from pipelines.download.partial import Partial
from pipelines.download.progress import Meter, Progress, Transfer
from pipelines.errors import InputError
from pipelines.io.files import read_problem, write_problem
from pipelines.io.locks import held

__all__ = ["Fetched", "Patience", "Progress", "RemoteFile", "Transfer", "fetch"]

# So many new bytes are a success: after them, failures are counted from the first again.
_HEADWAY = 2**20


@dataclass(frozen=True)
class Fetched:
    """A file that is there and verified; ``url`` is None where it was put there by hand."""

    path: Path
    sha256: str
    bytes: int
    url: str | None


def fetch(
    remote: RemoteFile,
    folder: Path,
    *,
    offline: bool = False,
    progress: Progress = lambda _: None,
    report: Callable[[str], None] = lambda _: None,
    patience: Patience | None = None,
) -> Fetched:
    """The file ``folder/remote.name``: verified if it is there, downloaded if it is not.

    What has come of a file lies beside its place until it is whole, and the next call continues from there,
    whether this one failed, was interrupted or was killed. A file that changed on the server is begun anew.

    Args:
        offline: ask no server.
        progress: is told how the transfer goes.
        report: is told in a line of each failure that is followed by another attempt, there or at the next address.

    Raises:
        InputError: the file is not what it should be, is not to be had, or cannot be written.
        MmsslError: another process downloads it at this moment.
    """
    if remote.name in ("", ".", "..") or not remote.name.isprintable() or {"/", "\\"} & set(remote.name):
        raise InputError(f"{remote.name!r} cannot be the name of a downloaded file; expected one without a folder.")
    partial = Partial(folder / remote.name)
    if _is_there(partial.target):
        return _verified(remote, partial)
    if offline or not remote.urls:
        why = "is not there, and offline nothing is downloaded" if remote.urls else "is not there"
        raise InputError(f"{partial.target} {why}. {_by_hand(remote, folder)}.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise write_problem(folder, problem) from problem
    with held(folder / f".{remote.name}.lock", str(partial.target), passing=True):
        if not _is_there(partial.target):
            job = Download(remote, partial, patience or Patience(), Meter(remote.name, progress), report)
            _download(job)
    origin = partial.origin()
    if origin is None or origin.sha256 is None or origin.bytes is None:
        return _verified(remote, partial)
    return Fetched(partial.target, origin.sha256, origin.bytes, origin.url)


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError as problem:
        raise read_problem(path, problem) from problem


def _by_hand(remote: RemoteFile, folder: Path) -> str:
    source = " or ".join(remote.urls) or "its publisher"
    return f"Download {remote.name} from {source} and put it into {folder}"


def _verified(remote: RemoteFile, partial: Partial) -> Fetched:
    """The file that is there already, if it is the pinned one, or the one that was once downloaded."""
    path, origin = partial.target, partial.origin()
    if not path.is_file():
        raise InputError(f"{path} is not a file; move it out of the way.")
    try:
        sha256 = verify(remote, path)
    except Unexpected as wrong:
        raise InputError(
            f"{path} {wrong}. Remove it to download it again, or put the right file in its place."
        ) from wrong
    if origin is None or origin.sha256 is None:
        return Fetched(path, sha256, path.stat().st_size, None)
    if origin.sha256 != sha256 and remote.sha256 is None:
        raise InputError(
            f"{path} is no longer the file that was downloaded from {origin.url}. Remove it to download it again, "
            f"or remove {partial.record.name} beside it to use it as it is."
        )
    return Fetched(path, sha256, path.stat().st_size, origin.url if origin.sha256 == sha256 else None)


def _download(job: Download) -> None:
    """Bring the whole file into its place from the first address that gives it."""
    begun, problems = job.partial.origin(), []
    # What has come is of one address's version; to begin with another would throw it away.
    urls = sorted(job.remote.urls, key=lambda url: begun is None or url != begun.url)
    for number, url in enumerate(urls, start=1):
        try:
            return _from_address(job, url)
        except WebProblem as problem:
            problems.append(f"{url} {problem}")
            if number < len(urls):
                job.report(f"{problems[-1]}; trying the next address")
    kept = job.partial.size()
    later = f"try again later: {kept:,} bytes are kept and continued" if kept else "try again later"
    advice = f"{_by_hand(job.remote, job.partial.target.parent)}, or {later}."
    raise InputError(f"Cannot download {job.remote.name}: {'; '.join(problems)}. {advice}")


def _from_address(job: Download, url: str) -> None:
    failures, highest = 0, job.partial.size()
    while True:
        try:
            return attempt(job, url)
        except WebProblem as problem:
            failures, size = failures + 1, job.partial.size()
            if size >= highest + _HEADWAY:
                failures, highest = 1, size
            if not problem.temporary or failures >= job.patience.attempts:
                raise
            wait = job.patience.wait(failures, problem.wait)
            job.report(f"{url} {problem}; asking again in {wait:.0f} s")
            job.patience.sleep(wait)
