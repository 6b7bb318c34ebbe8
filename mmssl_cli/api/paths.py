"""Paths as arguments."""

from __future__ import annotations

from os import PathLike, fspath
from pathlib import Path

from pipelines.errors import UsageError


def path_of(given: str | PathLike[str], argument: str) -> Path:
    """Return a path given as text or path, with ``~`` resolved.

    Raises:
        UsageError: ``argument`` is neither, or empty.
    """
    if not isinstance(given, str | PathLike) or not fspath(given):
        raise UsageError(f"{argument} cannot be {given!r}: expected a path.")
    return Path(given).expanduser()
