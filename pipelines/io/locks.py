"""A lock on a file or folder: one process writes it at a time, and the system releases it should that process die."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout, lock_descriptor

from pipelines.errors import MmsslError
from pipelines.io.files import write_problem

# A listing holds the lock for an instant to see whether it is free; a writer outlasts that.
_PATIENCE = 0.3
# Offset of the process id: Windows locks the first byte, and lets no other process read it.
_PID = 1


class LockedError(MmsslError):
    """Another process holds a lock."""


@contextmanager
def held(path: Path, what: str, *, passing: bool = False) -> Iterator[None]:
    """Hold the lock file ``path`` of ``what`` (named in the error) for the length of a ``with`` block.

    Args:
        passing: remove the file in the end.

    Raises:
        LockedError: another process holds it; the sentence names that process.
        InputError: the file cannot be written.
    """
    lock = FileLock(path, timeout=_PATIENCE, poll_interval=0.02, fallback_to_soft=False, on_acquired=_write_pid)
    try:
        lock.acquire()
    except Timeout:
        raise LockedError(f"{what} is being written by {_holder(path)}; wait until it ends, or stop it.") from None
    except OSError as problem:
        raise write_problem(path, problem) from problem
    try:
        yield
    finally:
        with suppress(OSError):  # as on Windows, where releasing the lock removes the file
            path.unlink() if passing else os.truncate(path, 0)
        lock.release()


def is_held(path: Path) -> bool:
    """Return True if some process holds the lock file ``path`` at this moment."""
    try:
        # Some network file systems lock only what is open for writing.
        with path.open("r+b" if os.access(path, os.W_OK) else "rb") as file:
            for _ in range(3):  # another listing holds it for an instant only
                if lock_descriptor(file.fileno(), blocking=False):
                    return False
                time.sleep(0.005)
            return True
    except OSError:
        return False


def _write_pid(handle: int) -> None:
    os.ftruncate(handle, 0)
    os.write(handle, b" " * _PID + f"{os.getpid()}\n".encode())


def _holder(path: Path) -> str:
    """Return a name for the process that holds the lock."""
    pid = ""
    with suppress(OSError), path.open("rb") as file:
        file.seek(_PID)
        pid = file.read(20).decode(errors="replace").strip()
    return f"process {pid}" if pid.isdecimal() else "another process"
