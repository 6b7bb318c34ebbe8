"""Files and folders that appear whole or not at all: written beside their place, then moved into it."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from os import PathLike
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
    """Return the sentence for a failed write to ``path``."""
    advice = _ADVICE.get(problem.errno or 0, problem.strerror or str(problem))
    return InputError(f"Cannot write {path}: {advice}.")


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; move it there on success, remove it on failure.

    Raises:
        InputError: the file cannot be written (full disk, permission, read-only file system).
    """
    temporary = _beside(path, path.suffix)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.touch(exist_ok=False)
        yield temporary
        with temporary.open("r+b") as written:  # Windows flushes only what is open for writing
            os.fsync(written.fileno())
        temporary.replace(path)
    except OSError as problem:
        raise write_problem(path, problem) from problem
    finally:
        with suppress(OSError):
            temporary.unlink()


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder beside ``path``; moved into its place on success, removed on failure.

    Raises:
        InputError: the folder cannot be written.
    """
    temporary = _beside(path)
    try:
        temporary.mkdir(parents=True)
        yield temporary
        _replace_folder(temporary, path)
    except OSError as problem:
        raise write_problem(path, problem) from problem
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _beside(path: Path, suffix: str = "", *, before: str = "") -> Path:
    """Return a new name beside ``path``, of the form that ``remove_leftovers`` knows; no data set has a ``~``."""
    return path.with_name(f".{path.name}~{before}{secrets.token_hex(4)}{suffix}")


def _replace_folder(new: Path, path: Path) -> None:
    if not path.exists():
        new.replace(path)
        return
    old = _beside(path, before="old.")
    path.replace(old)
    try:
        new.replace(path)
    except BaseException:
        if not path.exists():
            old.replace(path)
        raise
    with suppress(OSError):
        _remove(old)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def remove_leftovers(path: Path) -> None:
    """Remove what a killed process left beside ``path``, which no other process may be writing at this moment.

    Raises:
        InputError: it cannot be removed.
    """
    left = re.compile(rf"\.{re.escape(path.name)}~(old\.)?[a-z0-9_]{{8}}(\..*)?")
    try:
        for other in path.parent.iterdir() if path.parent.is_dir() else ():
            if left.fullmatch(other.name):
                _remove(other)
    except OSError as problem:
        raise write_problem(path, problem) from problem


def expanded(path: str | PathLike[str]) -> Path:
    """Return a path with the home folder for ``~``; that of an unknown user stays as it is."""
    return Path(os.path.expanduser(path))  # noqa: PTH111 (Path.expanduser raises RuntimeError for an unknown user)


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_bytes(path: Path, data: bytes | memoryview) -> None:
    """Write ``data`` to ``path``, whole or not at all."""
    with atomic_file(path) as temporary:
        temporary.write_bytes(data)


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as indented JSON, whole or not at all."""
    write_bytes(path, (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode())


def no_file(path: Path) -> str:
    """Return the beginning of a sentence on a path that should be a file and is none."""
    return f"{path} is a folder, not a file" if path.is_dir() else f"There is no file {path}"


def no_folder(path: Path) -> str:
    """Return the beginning of a sentence on a path that should be a folder and is none."""
    return f"{path} is a file, not a folder" if path.is_file() else f"There is no folder {path}"


def read_problem(path: Path, problem: OSError) -> InputError:
    """Return the sentence for a failed read of ``path``."""
    if isinstance(problem, FileNotFoundError):
        return InputError(f"Cannot read {path}: there is no such file.")
    return InputError(f"Cannot read {path}: {problem.strerror or problem}.")
