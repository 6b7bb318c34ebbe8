"""Unpack an untrusted zip: only into its folder, within bounds of size and number, all or nothing."""

from __future__ import annotations

import shutil
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from pipelines.errors import InputError
from pipelines.io.files import atomic_folder
from pipelines.text import TABLE

MOST_FILES = 10_000
MOST_BYTES = 8 * 2**30
MOST_LEVELS = 32
_CHUNK = 2**20
_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError, struct.error)
_ENCRYPTED = 0x1


def extract_zip(archive: Path, folder: Path, *, most_files: int = MOST_FILES, most_bytes: int = MOST_BYTES) -> Path:
    """Unpack ``archive`` as ``folder``, which appears whole or not at all, in place of one that was there.

    Args:
        most_files: how many entries the archive may have.
        most_bytes: how large its files may be together, unpacked.

    Returns:
        ``folder``.

    Raises:
        InputError: the archive is damaged, encrypted or too large, an entry is a link or would lie elsewhere, or the
            folder cannot be written.
    """
    try:
        opened = zipfile.ZipFile(archive)
    except OSError as problem:
        raise InputError(f"Cannot read {archive}: {problem.strerror or problem}.") from problem
    except _DAMAGE as problem:
        if not _begins_as_zip(archive):
            raise InputError(
                f"{archive} is not a zip; expected a folder, or a zip of one. A table ({TABLE}) goes to --interactions."
            ) from problem
        raise _damaged(archive, problem) from problem
    with opened, atomic_folder(folder) as place:
        entries = opened.infolist()
        if len(entries) > most_files:
            raise InputError(f"{archive} has {len(entries):,} entries; at most {most_files:,} are unpacked.")
        size = sum(entry.file_size for entry in entries)
        free = shutil.disk_usage(place).free
        if size > most_bytes:
            raise InputError(f"{archive} unpacks to {size:,} bytes; at most {most_bytes:,} are unpacked.")
        if size > free:
            raise InputError(
                f"{archive} unpacks to {size:,} bytes and the disk of {folder.parent} has room for {free:,}; free some "
                "space and run the command again."
            )
        for entry in entries:
            _extract(archive, opened, entry, place)
    return folder


def _begins_as_zip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) == b"PK"


def _extract(archive: Path, opened: zipfile.ZipFile, entry: zipfile.ZipInfo, place: Path) -> None:
    parts = _parts(archive, entry)
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise InputError(f"{archive} holds {entry.filename!r}, a link or device; only files and folders are unpacked.")
    # The methods of the others put no bound on what one read unpacks.
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) or entry.flag_bits & _ENCRYPTED:
        raise InputError(f"{archive} compresses {entry.filename!r} unusually or encrypts it; zip it again plainly.")
    target = place.joinpath(*parts)
    try:
        if entry.filename.endswith(("/", "\\")):
            target.mkdir(parents=True, exist_ok=True)
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("xb") as file:
            for piece in _content(archive, opened, entry):
                file.write(piece)
    except (FileExistsError, NotADirectoryError) as problem:
        raise InputError(f"{archive} holds {entry.filename!r} twice, or as a file and a folder.") from problem


def _content(archive: Path, opened: zipfile.ZipFile, entry: zipfile.ZipInfo) -> Iterator[bytes]:
    """Yield the bytes of an entry: no more than the size that the archive declares."""
    try:
        with opened.open(entry) as source:
            while piece := source.read(_CHUNK):
                yield piece
    except (*_DAMAGE, OSError) as problem:
        raise _damaged(archive, problem) from problem


def _parts(archive: Path, entry: zipfile.ZipInfo) -> list[str]:
    """Return the folders and the name of an entry, none of which leads out of a folder."""
    # Some programs of Windows write its separators.
    path = entry.filename.replace("\\", "/")
    parts = [part for part in path.removesuffix("/").split("/") if part != "."]
    if not path.isprintable() or path[1:2] == ":" or any(part in ("", "..") for part in parts):
        raise InputError(
            f"{archive} holds an entry of the name {entry.filename[:100]!r}, which is not a plain path inside it; "
            "nothing was unpacked."
        )
    if len(parts) > MOST_LEVELS:
        raise InputError(f"{archive} nests {len(parts) - 1:,} folders; at most {MOST_LEVELS} are made.")
    return parts


def _damaged(archive: Path, problem: Exception) -> InputError:
    return InputError(f"{archive} is a damaged zip ({str(problem) or 'it ends too early'}); get it again.")
