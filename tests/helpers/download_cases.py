"""Shared by the tests of downloads and of fetched pictures."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, NamedTuple

from pipelines.download.checks import RemoteFile
from pipelines.download.fetch import Patience, fetch
from pipelines.download.partial import Partial
from pipelines.download.pictures import Limits, fetch_images, image_path
from tests.helpers.http_server import Page

DATA = bytes(range(256)) * 400
SHA256 = hashlib.sha256(DATA).hexdigest()
HTML = b"\n<!DOCTYPE html><html><body>Please sign in</body></html>"
QUICK = Patience(attempts=3, first_wait=0, timeout=30, sleep=lambda _: None)
PNG = b"\x89PNG\r\n\x1a\n" + bytes(300)
JPEG = b"\xff\xd8\xff\xe0" + bytes(300)
HERE = Limits(delay=0, timeout=30, allow_private=True)


class Fetched(NamedTuple):
    """A file that was fetched, and the address that its record names."""

    path: Path
    sha256: str
    url: str | None


def get(folder: Path, *urls: str, patience: Patience = QUICK, **settings: Any) -> Fetched:
    """Fetch `a.bin`, a RemoteFile of these settings."""
    path = fetch(RemoteFile("a.bin", urls, **settings), folder, patience=patience)
    origin = Partial(path).origin()
    return Fetched(path, hashlib.sha256(path.read_bytes()).hexdigest(), origin.url if origin else None)


def picture(content: bytes = PNG, **settings: Any) -> Page:
    """A page with a picture."""
    return Page(content, headers={"Content-Type": "image/png", **settings.pop("headers", {})}, **settings)


def reason(folder: Path, url: str, limits: Limits = HERE) -> str:
    """Return the reason why there is no picture at ``url``."""
    result = fetch_images([url], folder, limits=limits)[url]
    assert isinstance(result, str) and not image_path(folder, url).exists()
    return result
