"""Whether a file is what it should be: gzip, a zip, or at least not a web page that came in its place."""

from __future__ import annotations

import gzip
import re
import zipfile
import zlib
from pathlib import Path
from typing import Literal

from pipelines.io.files import read_problem

Kind = Literal["gzip", "zip", "binary", "text"]
HEAD = 512
_MAGIC = {"gzip": b"\x1f\x8b", "zip": b"PK"}
_PAGE = re.compile(
    rb"(\xef\xbb\xbf)?\s*(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)?<(!doctype\s+html|html|head|body)\b", re.I | re.S
)


class Unexpected(Exception):
    """What is wrong with a file, as a phrase that follows its name."""


def check_head(path: Path, kind: Kind) -> None:
    """Look at the first bytes of a file.

    Raises:
        Unexpected: they are not of this kind.
        InputError: the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            head = file.read(HEAD)
    except OSError as problem:
        raise read_problem(path, problem) from problem
    if not head:
        raise Unexpected("is empty")
    if _PAGE.match(head):
        raise Unexpected(f"is a web page, not {'data' if kind == 'binary' else kind}")
    if not head.startswith(_MAGIC.get(kind, b"")):
        raise Unexpected(f"is not {kind}")


def check_whole(path: Path, kind: Kind) -> None:
    """Look whether a file is damaged or cut off; gzip and zip tell, other kinds cannot.

    Raises:
        Unexpected: it is.
        InputError: the file cannot be read.
    """
    try:
        if kind == "gzip":
            with gzip.open(path) as file:
                while file.read(2**20):
                    pass
        elif kind == "zip":
            with zipfile.ZipFile(path):
                pass
    except (EOFError, zlib.error, gzip.BadGzipFile, zipfile.BadZipFile, NotImplementedError, ValueError) as problem:
        raise Unexpected(f"is damaged or cut off ({problem})") from problem
    except OSError as problem:
        raise read_problem(path, problem) from problem
