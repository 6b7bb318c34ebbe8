"""A lock on a file or folder: one process writes it at a time, and the system lets go of it should that process die."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipelines.errors import MmsslError
from pipelines.io.files import write_problem


class LockedError(MmsslError):
    """Another process holds a lock."""


# A listing holds the lock for an instant to see whether it is free; a writer outlasts that.
_PATIENCE = 0.3


@contextmanager
def held(path: Path, what: str, *, passing: bool = False) -> Iterator[None]:
    """Hold the lock file ``path`` of ``what`` (named in the error) for the length of a ``with`` block.

    Args:
        passing: remove the file in the end.

    Raises:
        LockedError: another process holds it; the sentence names that process.
        InputError: the file cannot be written.
    """
    handle = _opened(path, what)
    try:
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        try:
            yield
        finally:
            os.ftruncate(handle, 0)
            if passing:
                path.unlink(missing_ok=True)
    finally:
        os.close(handle)


def _opened(path: Path, what: str) -> int:
    """The lock file, open and locked."""
    while True:
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError as problem:
            raise write_problem(path, problem) from problem
        try:
            _acquire(handle, what)
            if path.exists() and os.path.samestat(path.stat(), os.fstat(handle)):
                return handle
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)  # its holder removed it in the meantime: the lock is now another file


def is_held(path: Path) -> bool:
    """Whether some process holds the lock file ``path`` at this moment."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False


def _acquire(handle: int, what: str) -> None:
    give_up = time.monotonic() + _PATIENCE
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > give_up:
                break
        time.sleep(0.02)
    pid = os.pread(handle, 20, 0).decode(errors="replace").strip()
    holder = f"process {pid}" if pid.isdigit() else "another process"
    raise LockedError(f"{what} is being written by {holder}; wait until it ends, or stop it.")
