"""A preparation with nothing to do, known by the sizes and times of its inputs, before any of them is read."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from pipelines.io.step_cache import WorkFolder, key_of, read_record, write_record

_RECORD = "unchanged.json"


def remember_inputs(work: WorkFolder, key: str, digest: str, given: Iterable[Path]) -> None:
    """Remember the state of the inputs from which a data set was prepared.

    Args:
        key: the key of the options.
        digest: the digest of the manifest.
        given: files and folders that options name, beside the files whose hashes were asked for.
    """
    folders = {path.absolute() for path in given if path.is_dir()} | {path.parent for path in work.inputs}
    files = {str(path): _state(path) for path in work.inputs}
    names = {str(path): _names(path) for path in folders - {work.path.absolute()}}
    write_record(work.path / _RECORD, {"key": key, "digest": digest, "files": files, "folders": names})


def recall_digest(work: WorkFolder, key: str) -> str | None:
    """Return the digest of the manifest that was prepared with the same key from inputs that are as they were."""
    about = read_record(work.path / _RECORD, work.reporter.line)
    if about.get("key") != key:
        return None
    same = all(_state(Path(path)) == state for path, state in about["files"].items())
    same = same and all(_names(Path(path)) == names for path, names in about["folders"].items())
    return str(about["digest"]) if same else None


def _state(path: Path) -> list[int] | None:
    """Return size and time of a file; None if there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return [status.st_size, status.st_mtime_ns]


def _names(folder: Path) -> str | None:
    """Return a digest of the names in a folder; None if there is no such folder."""
    is_folder = os.path.isdir(folder)  # noqa: PTH112 - unlike Path.is_dir, no error where the path is too long
    return key_of(sorted(path.name for path in folder.iterdir())) if is_folder else None
