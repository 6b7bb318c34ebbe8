"""Files and folders that appear whole or not at all: written beside their place, then moved into it."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipelines.errors import InputError

_ADVICE = {
    errno.ENOSPC: "the disk is full; free some space and run the command again",
    errno.EDQUOT: "the disk quota is used up; free some space and run the command again",
    errno.EACCES: "permission is denied; choose a folder you can write to",
    errno.EPERM: "permission is denied; choose a folder you can write to",
    errno.EROFS: "the file system is read-only; choose another folder",
    errno.ENOENT: "no folder can be made there; choose another folder",
    errno.ENOTDIR: "a part of the path is a file, not a folder; choose another folder",
    errno.EEXIST: "a file of that name is in the way; choose another folder",
}


def write_problem(path: Path, problem: OSError) -> InputError:
    """The sentence for a failed write to ``path``."""
    advice = _ADVICE.get(problem.errno or 0, problem.strerror or str(problem))
    return InputError(f"Cannot write {path}: {advice}.")


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; move it there on success, remove it on failure.

    Raises:
        InputError: the file cannot be written (full disk, permission, read-only file system).
    """
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=path.suffix, dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        temporary.chmod(0o666 & ~_umask())
        yield temporary
        with temporary.open("r+b") as written:  # Windows flushes only what is open for writing
            os.fsync(written.fileno())
        temporary.replace(path)
    except OSError as problem:
        raise write_problem(path, problem) from problem
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder beside ``path``; moved into its place on success, removed on failure.

    Raises:
        InputError: the folder cannot be written.
    """
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
        temporary.chmod(0o777 & ~_umask())
        yield temporary
        _replace_folder(temporary, path)
    except OSError as problem:
        raise write_problem(path, problem) from problem
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)


def _replace_folder(new: Path, path: Path) -> None:
    if not path.exists():
        new.replace(path)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{path.name}.old.", dir=path.parent)) / path.name
    path.replace(old)
    try:
        new.replace(path)
    except OSError:
        old.replace(path)
        raise
    finally:
        shutil.rmtree(old.parent, ignore_errors=True)


def remove_leftovers(path: Path) -> None:
    """Remove what a killed process left beside ``path``, which no other process may be writing at this moment.

    Raises:
        InputError: it cannot be removed.
    """
    left = re.compile(rf"\.{re.escape(path.name)}\.(old\.)?[a-z0-9_]{{8}}(\..*)?")
    try:
        for other in path.parent.iterdir() if path.parent.is_dir() else ():
            if left.fullmatch(other.name):
                shutil.rmtree(other) if other.is_dir() else other.unlink()
    except OSError as problem:
        raise write_problem(path, problem) from problem


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_bytes(path: Path, data: bytes | memoryview) -> None:
    """Write ``data`` to ``path``, whole or not at all."""
    with atomic_file(path) as temporary:
        temporary.write_bytes(data)


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as indented JSON, whole or not at all."""
    write_bytes(path, (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode())


def read_problem(path: Path, problem: OSError) -> InputError:
    """The sentence for a failed read of ``path``."""
    if isinstance(problem, FileNotFoundError):
        return InputError(f"Cannot read {path}: there is no such file.")
    return InputError(f"Cannot read {path}: {problem.strerror or problem}.")
