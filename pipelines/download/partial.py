"""A file that is being fetched: what has come so far, and of which version of the remote file it is."""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pipelines.io.files import read_problem, write_bytes, write_problem


class Origin(BaseModel):
    """Where a file comes from, which version of it, and, once it is whole, its hash."""

    model_config = ConfigDict(frozen=True)

    url: str
    etag: str | None = None
    last_modified: str | None = None
    bytes: int | None = Field(default=None, ge=0)
    sha256: str | None = None

    def condition(self) -> str | None:
        """What an If-Range header should say: the strong ETag or the date; None where the server gave neither."""
        strong = self.etag if self.etag and not self.etag.startswith("W/") else None
        return strong or self.last_modified

    def contradicts(self, other: Origin) -> bool:
        """Whether the two cannot be versions of one content; at another address only the size can tell."""
        keys = ("etag", "last_modified", "bytes") if self.url == other.url else ("bytes",)
        pairs = [(getattr(self, key), getattr(other, key)) for key in keys]
        return any(mine is not None and theirs is not None and mine != theirs for mine, theirs in pairs)


class Partial:
    """The half of ``target`` that has come, in ``.NAME.part`` beside it, and its origin in ``.NAME.origin.json``.

    Killed at any moment, the two fit together: the half is emptied before the origin changes, and only grows after.
    """

    def __init__(self, target: Path) -> None:
        self.target = target
        self.path = target.with_name(f".{target.name}.part")
        self.record = target.with_name(f".{target.name}.origin.json")

    def size(self) -> int:
        """How many bytes have come."""
        try:
            return self.path.stat().st_size
        except FileNotFoundError:
            return 0
        except OSError as problem:
            raise read_problem(self.path, problem) from problem

    def origin(self) -> Origin | None:
        """Where the bytes come from; None where that is not known."""
        try:
            return Origin.model_validate_json(self.record.read_bytes())
        except (FileNotFoundError, ValidationError):
            return None
        except OSError as problem:
            raise read_problem(self.record, problem) from problem

    def usable(self, url: str | None) -> Origin | None:
        """The origin of what has come, if it can be continued; from ``url`` alone unless that is None."""
        origin, size = self.origin(), self.size()
        if origin is None or not size or (origin.bytes is not None and size > origin.bytes):
            return None
        return origin if url in (None, origin.url) else None

    def begin(self, origin: Origin) -> None:
        """Start anew, with nothing, from ``origin``."""
        try:
            self.path.open("wb").close()
        except OSError as problem:
            raise write_problem(self.target, problem) from problem
        self._note(origin)

    def discard(self) -> None:
        """Forget what has come."""
        self.path.unlink(missing_ok=True)

    def complete(self, origin: Origin) -> None:
        """Make the whole file appear in its place.

        Raises:
            InputError: it cannot be written.
        """
        self._note(origin)
        try:
            with self.path.open("r+b") as file:
                os.fsync(file.fileno())
            self.path.replace(self.target)
        except OSError as problem:
            raise write_problem(self.target, problem) from problem

    def _note(self, origin: Origin) -> None:
        write_bytes(self.record, origin.model_dump_json(indent=2).encode() + b"\n")
