"""What the tests of downloads share."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from pipelines.download import Fetched, Patience, RemoteFile, fetch

DATA = bytes(range(256)) * 400
SHA256 = hashlib.sha256(DATA).hexdigest()
HTML = b"\n<!DOCTYPE html><html><body>Please sign in</body></html>"
QUICK = Patience(attempts=3, first_wait=0, timeout=5, sleep=lambda _: None)


def get(folder: Path, *urls: str, patience: Patience = QUICK, **settings: Any) -> Fetched:
    """Fetch `a.bin`, a RemoteFile of these settings."""
    return fetch(RemoteFile("a.bin", urls, **settings), folder, patience=patience)
