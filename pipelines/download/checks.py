"""Files to download, and whether one is what it should be, or a web page that came in its place."""

from __future__ import annotations

import gzip
import re
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pipelines.io.files import sha256_of

Kind = Literal["gzip", "zip", "binary", "text"]
HEAD = 512
_MAGIC = {"gzip": b"\x1f\x8b", "zip": b"PK"}
_PAGE = re.compile(
    rb"(\xef\xbb\xbf)?\s*(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)?<(!doctype\s+html|html|head|body)\b", re.I | re.S
)
_DAMAGE = (EOFError, zlib.error, gzip.BadGzipFile, zipfile.BadZipFile, NotImplementedError, ValueError)


@dataclass(frozen=True)
class RemoteFile:
    """A file to fetch."""

    name: str
    """Its name in the folder that it comes into."""
    urls: tuple[str, ...]
    """Its addresses, in the order of trying."""
    sha256: str | None = None
    """Its hash in hexadecimal, where it is pinned."""
    bytes: int | None = None
    """Its size, where it is pinned."""
    kind: Kind = "binary"


class Unexpected(Exception):
    """A file is not the expected one; the reason is a phrase that follows its name."""


def verify(remote: RemoteFile, path: Path) -> str:
    """Return the SHA-256 of the file ``path``, which has the size, kind and hash of ``remote``.

    Raises:
        Unexpected: it has not.
        OSError: it cannot be read.
    """
    size = path.stat().st_size
    if remote.bytes not in (None, size):
        raise Unexpected(f"has {size:,} bytes, but {remote.bytes:,} are expected")
    check_head(path, remote.kind)
    sha256 = sha256_of(path)
    if remote.sha256 is not None and sha256 != remote.sha256.lower():
        raise Unexpected(f"has the SHA-256 {sha256}, but {remote.sha256} is expected")
    return sha256


def check_head(path: Path, kind: Kind) -> None:
    """Raise Unexpected if the first bytes of a file are not of this kind."""
    with path.open("rb") as file:
        head = file.read(HEAD)
    if not head:
        raise Unexpected("is empty")
    if _PAGE.match(head):
        raise Unexpected(f"is a web page, not {'data' if kind == 'binary' else kind}")
    if not head.startswith(_MAGIC.get(kind, b"")):
        raise Unexpected(f"is not {kind}")


def check_whole(path: Path, kind: Kind) -> None:
    """Raise Unexpected if a gzip or zip file is damaged or truncated; other kinds have no checksum to verify."""
    try:
        if kind == "gzip":
            with gzip.open(path) as file:
                while file.read(2**20):
                    pass
        elif kind == "zip":
            zipfile.ZipFile(path).close()
    except _DAMAGE as problem:
        raise Unexpected(f"is damaged or cut off ({problem})") from problem
