"""A file that is being fetched: what has come so far, and of which version of the remote file it is."""

from __future__ import annotations

import os
import re
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pipelines.io.files import write_bytes

_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)", re.ASCII)


def parse_content_range(text: str | None) -> tuple[int, int, int | None] | None:
    """Return first byte, last byte and size (None for ``*``) of a Content-Range; None where it is not a sound one."""
    match = _RANGE.fullmatch((text or "").strip())
    if match is None:
        return None
    first, last = int(match[1]), int(match[2])
    total = None if match[3] == "*" else int(match[3])
    return (first, last, total) if first <= last and (total is None or last < total) else None


class Origin(BaseModel):
    """The version of a remote file and, once it is whole, its hash."""

    model_config = ConfigDict(frozen=True)

    url: str
    etag: str | None = None
    last_modified: str | None = None
    bytes: int | None = Field(default=None, ge=0)
    sha256: str | None = None

    def condition(self) -> str | None:
        """Return the value of an If-Range header: the strong ETag or the date; None where neither is known."""
        strong = self.etag if self.etag and self.etag.isascii() and not self.etag.startswith("W/") else None
        return strong or self.last_modified

    def contradicts(self, other: Origin) -> bool:
        """Return True if the two cannot be versions of one content; at another address only the size can tell."""
        keys = ("etag", "last_modified", "bytes") if self.url == other.url else ("bytes",)
        pairs = [(getattr(self, key), getattr(other, key)) for key in keys]
        return any(mine is not None and theirs is not None and mine != theirs for mine, theirs in pairs)


class Partial:
    """The part of ``target`` that has come, in ``.NAME.part`` beside it, and its origin in ``.NAME.origin.json``.

    Killed at any moment, the two fit together: the part is emptied before the origin changes, and only grows after.
    """

    def __init__(self, target: Path) -> None:
        self.target = target
        self.path = target.with_name(f".{target.name}.part")
        self.record = target.with_name(f".{target.name}.origin.json")

    def size(self) -> int:
        """Return how many bytes have come."""
        return self.path.stat().st_size if self.path.exists() else 0

    def origin(self) -> Origin | None:
        """Return where the bytes come from; None where that is not known."""
        try:
            return Origin.model_validate_json(self.record.read_bytes())
        except (FileNotFoundError, ValidationError):
            return None

    def usable(self, url: str | None) -> Origin | None:
        """Return the origin of what has come if it can be continued: from ``url`` alone unless that is None."""
        origin, size = self.origin(), self.size()
        if origin is None or not size or (origin.bytes is not None and size > origin.bytes):
            return None
        return origin if url in (None, origin.url) else None

    def begin(self, origin: Origin) -> None:
        """Start anew, with nothing, from ``origin``."""
        self.path.open("wb").close()
        self._note(origin)

    def discard(self) -> None:
        """Forget what has come."""
        self.path.unlink(missing_ok=True)

    def complete(self, origin: Origin) -> None:
        """Move the whole file to its place."""
        self._note(origin)
        with self.path.open("r+b") as file:
            os.fsync(file.fileno())
        self.path.replace(self.target)

    def _note(self, origin: Origin) -> None:
        write_bytes(self.record, origin.model_dump_json(indent=2).encode() + b"\n")
